"""The first tables: submissions, verdicts, workers, keys, refused messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column(
            "platform", sa.Text(), nullable=False, comment="whose submissions this key hands in"
        ),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column(
            "hint",
            sa.Text(),
            nullable=False,
            comment="the key's first characters, to tell keys apart",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the key was made",
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_table(
        "refused_messages",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "problem", sa.Text(), nullable=False, comment="what is wrong with it, for its sender"
        ),
        sa.Column(
            "body",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the message as it came, so that none is lost",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it was refused",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_messages")),
    )
    op.create_table(
        "submissions",
        sa.Column("id", sa.UUID(), nullable=False, comment="UUIDv7"),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column(
            "external_id",
            sa.Text(),
            nullable=True,
            comment="the platform's own id; unique for a platform",
        ),
        sa.Column(
            "policy", sa.Text(), nullable=False, comment="the stream whose threshold applies"
        ),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("image_blob", sa.Text(), nullable=True, comment="SHA-256 in the blob store"),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the submission was accepted",
        ),
        sa.Column(
            "message_id", sa.Text(), nullable=False, comment="the one message that may be worked on"
        ),
        sa.Column(
            "sent_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when that message was sent",
        ),
        sa.Column(
            "lease_worker",
            sa.UUID(),
            nullable=True,
            comment="the worker that has it; as good as its last beat",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="times taken up",
        ),
        sa.Column(
            "faults", sa.Integer(), server_default="0", nullable=False, comment="times put off"
        ),
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="waits so long after a temporary fault",
        ),
        sa.Column(
            "done_at", sa.DateTime(timezone=True), nullable=True, comment="when it got its verdict"
        ),
        sa.CheckConstraint(
            "(image_blob IS NULL) <> (image_url IS NULL)", name=op.f("ck_submissions_one_image")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint(
            "platform", "external_id", name=op.f("uq_submissions_platform_external_id")
        ),
    )
    op.create_index(
        "ix_submissions_pending",
        "submissions",
        ["sent_at", "message_id"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_index(
        "ix_submissions_oldest",
        "submissions",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_index(
        "ix_submissions_retry",
        "submissions",
        ["retry_at"],
        unique=False,
        postgresql_where=sa.text("retry_at IS NOT NULL"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "model", sa.Text(), nullable=False, comment="fingerprint of weights and preprocessing"
        ),
        sa.Column("calibration_version", sa.Text(), nullable=False),
        sa.Column("metrics_url", sa.Text(), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the process was ready",
        ),
        sa.Column(
            "beat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="renews the leases of all rows this worker holds",
        ),
        sa.Column(
            "holding",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="ids of the messages taken from Redis and not finished",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "verdicts",
        sa.Column("submission_id", sa.UUID(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("cosine", sa.Double(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("calibration_version", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("notes", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the verdict was stored",
        ),
        sa.CheckConstraint(
            "(outcome = 'unscorable') = (reason IS NOT NULL)", name=op.f("ck_verdicts_reason")
        ),
        sa.CheckConstraint(
            "(outcome = 'unscorable') = (score IS NULL)", name=op.f("ck_verdicts_score")
        ),
        sa.CheckConstraint(
            "outcome IN ('pass', 'flag', 'unscorable')", name=op.f("ck_verdicts_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_verdicts_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_verdicts")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("verdicts")
    op.drop_table("workers")
    op.drop_index(
        "ix_submissions_oldest",
        table_name="submissions",
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.drop_index(
        "ix_submissions_retry",
        table_name="submissions",
        postgresql_where=sa.text("retry_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_submissions_pending",
        table_name="submissions",
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.drop_table("submissions")
    op.drop_table("refused_messages")
    op.drop_table("api_keys")
