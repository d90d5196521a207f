"""People: their accounts and sessions, what they did, and what they choose from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "users",
        sa.Column(
            "name", sa.Text(), nullable=False, comment="what is written beside every decision"
        ),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column(
            "password_hash", sa.Text(), comment="argon2; null: signs in elsewhere, or not at all"
        ),
        sa.Column("oidc_subject", sa.Text(), comment="issuer and subject, once signed in so"),
        sa.Column(
            "blur", sa.Boolean(), server_default="true", nullable=False, comment="hides images"
        ),
        sa.Column(
            "grey", sa.Boolean(), server_default="true", nullable=False, comment="shows no colours"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the account was made",
        ),
        sa.Column(
            "disabled_at",
            sa.DateTime(timezone=True),
            comment="from then on nobody signs in with it",
        ),
        sa.CheckConstraint("role IN ('moderator', 'lead', 'admin')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
        sa.UniqueConstraint("oidc_subject", name=op.f("uq_users_oidc_subject")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it happened",
        ),
        sa.Column("actor", sa.Text(), nullable=False, comment="a user, platform:NAME, or cli:NAME"),
        sa.Column(
            "action", sa.Text(), nullable=False, comment="such as case.claimed, session.failed"
        ),
        sa.Column("subject", sa.Text(), comment="what it was done to, such as case:ID"),
        sa.Column("details", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("address", sa.Text(), comment="where the request came from"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        comment="append-only",
    )
    op.create_index("ix_audit_log_created_at", "audit_log", ["created_at"])
    for name in ("actor", "action", "subject"):
        op.create_index(f"ix_audit_log_{name}", "audit_log", [name, "id"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it was drawn",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
        comment="of this installation; who copies them can foretell what is drawn by lot",
    )
    op.create_table(
        "policy_reasons",
        sa.Column(
            "policy", sa.Text(), nullable=False, comment="default: every policy without its own"
        ),
        sa.Column(
            "reasons",
            postgresql.JSONB(),
            nullable=False,
            comment="[{key, label}], in the order shown",
        ),
        sa.Column(
            "required_for",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="answers that need a reason",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="the last change; the audit log has all",
        ),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_policy_reasons")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.UUID(), nullable=False, comment="UUIDv7"),
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="a browser's cookie, or a tool's bearer token",
        ),
        sa.Column(
            "csrf",
            sa.Text(),
            nullable=False,
            comment="what a browser's forms carry beside the cookie",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when somebody signed in",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="the last request, to within a minute",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            comment="signed out, or ended with the account or its password",
        ),
        sa.CheckConstraint("kind IN ('browser', 'token')", name=op.f("ck_sessions_kind")),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name=op.f("fk_sessions_user_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sessions_token_sha256")),
    )
    op.create_index("ix_sessions_user_name", "sessions", ["user_name"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Take back."""
    for table in ("sessions", "policy_reasons", "secrets", "audit_log", "users"):
        op.drop_table(table)
