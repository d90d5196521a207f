"""Published calibrations, and the cases and decisions that calibrations are made from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("calibrations", "publications", "decisions")


def upgrade() -> None:
    """Apply."""
    # In the order in which workers at work lock them: any other would end as a deadlock.
    op.execute("LOCK TABLE submissions IN SHARE ROW EXCLUSIVE MODE")
    # Before the workers, as it reads the whole table: meanwhile verdicts wait, and workers beat.
    op.create_index(
        "ix_verdicts_created_at",
        "verdicts",
        ["created_at"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": True},
    )
    op.add_column(
        "workers",
        sa.Column("publication", sa.BigInteger(), comment="the last publication that it acts on"),
    )
    op.create_table(
        "calibrations",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column(
            "model", sa.Text(), nullable=False, comment="fingerprint of weights and preprocessing"
        ),
        sa.Column(
            "artifact",
            sa.JSON(),
            nullable=False,
            comment="the calibration file",
        ),
        _now_column("created_at", "when it was first published"),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_calibrations")),
        comment="append-only",
    )
    op.create_table(
        "publications",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "policy", sa.Text(), nullable=False, comment="default: every policy without its own"
        ),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column(
            "live_version",
            sa.Text(),
            comment="from now on; null: the default's, or what a worker was started with",
        ),
        sa.Column("candidate_version", sa.Text()),
        sa.Column(
            "candidate_share",
            sa.Double(),
            comment="of the policy's submissions that it decides; 0: a shadow that is only counted",
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        _now_column("created_at", "when it was published"),
        sa.CheckConstraint(
            "action IN ('publish', 'promote', 'rollback', 'withdraw')",
            name=op.f("ck_publications_action"),
        ),
        sa.CheckConstraint(
            "(candidate_version IS NULL) = (candidate_share IS NULL)",
            name=op.f("ck_publications_candidate_share_given"),
        ),
        sa.CheckConstraint(
            "candidate_share >= 0 AND candidate_share < 1",
            name=op.f("ck_publications_candidate_share"),
        ),
        sa.ForeignKeyConstraint(
            ["live_version"], ["calibrations.version"], name=op.f("fk_publications_live_version")
        ),
        sa.ForeignKeyConstraint(
            ["candidate_version"],
            ["calibrations.version"],
            name=op.f("fk_publications_candidate_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publications")),
        comment="append-only; the newest row of a policy is all of its state",
    )
    op.create_index("ix_publications_policy", "publications", ["policy", "id"])
    op.create_table(
        "cases",
        sa.Column("id", sa.UUID(), nullable=False, comment="UUIDv7"),
        sa.Column("submission_id", sa.UUID(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False, comment="why a moderator is to look"),
        sa.Column(
            "inclusion_probability",
            sa.Double(),
            nullable=False,
            comment="with which a submission like this one becomes a case",
        ),
        _now_column("created_at", "when the case was opened"),
        sa.CheckConstraint(
            "route IN ('flagged', 'unscorable', 'audit', 'golden', 'appeal')",
            name=op.f("ck_cases_route"),
        ),
        sa.CheckConstraint(
            "inclusion_probability > 0 AND inclusion_probability <= 1",
            name=op.f("ck_cases_inclusion_probability"),
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_cases_submission_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
    )
    op.create_index("ix_cases_submission_id", "cases", ["submission_id"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.UUID(), nullable=False, comment="UUIDv7"),
        sa.Column("case_id", sa.UUID(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), comment="of the policy's list"),
        sa.Column("decided_by", sa.Text(), nullable=False, comment="the moderator"),
        _now_column("created_at", "when it was decided"),
        sa.CheckConstraint(
            "answer IN ('mismatch', 'match', 'unsure', 'escalate')",
            name=op.f("ck_decisions_answer"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_decisions_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        comment="append-only",
    )
    op.create_index("ix_decisions_case_id", "decisions", ["case_id"])
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME;
        END $$
        """
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Take back."""
    for table in ("decisions", "cases", "publications", "calibrations"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_change()")
    op.drop_index("ix_verdicts_created_at", table_name="verdicts")
    op.drop_column("workers", "publication")


def _now_column(name: str, comment: str) -> "sa.Column[object]":
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        server_default=sa.text("now()"),
        nullable=False,
        comment=comment,
    )
