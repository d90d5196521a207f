"""Live precision and recall: audits, counts of what came in, estimates."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _one_of_a_verdict("'flagged', 'unscorable', 'audit'")
    op.create_table(
        "audit_plans",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "floor",
            sa.Double(),
            nullable=False,
            comment="every pass is audited with this probability",
        ),
        sa.Column(
            "slope", sa.Double(), nullable=False, comment="times sqrt(q (1 - q)), q the posterior"
        ),
        sa.Column(
            "prevalence",
            sa.Double(),
            nullable=False,
            comment="of mismatches, that q was reckoned with",
        ),
        sa.Column(
            "budget", sa.Double(), nullable=False, comment="audits a day that this was made for"
        ),
        sa.Column(
            "passes", sa.Double(), nullable=False, comment="passes a day that this was made for"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="from then on workers draw by it",
        ),
        sa.CheckConstraint(
            "floor >= 0 AND floor <= 1 AND slope >= 0 AND slope < 'Infinity'",
            name=op.f("ck_audit_plans_probabilities"),
        ),
        sa.CheckConstraint(
            "prevalence > 0 AND prevalence < 1", name=op.f("ck_audit_plans_prevalence")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_plans")),
        comment="append-only; the newest is in force",
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_plans "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.create_table(
        "counted_hours",
        sa.Column(
            "hour",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="of ingestion, its start",
        ),
        sa.Column(
            "is_whole", sa.Boolean(), nullable=False, comment="over, and all of it has a verdict"
        ),
        sa.Column(
            "counted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it was counted last",
        ),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_counted_hours")),
    )
    op.create_table(
        "verdict_counts",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("calibration_version", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column(
            "bin",
            sa.SmallInteger(),
            nullable=False,
            comment="40 to 1 of match score; -1: no score",
        ),
        sa.Column("verdicts", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hour"], ["counted_hours.hour"], name=op.f("fk_verdict_counts_hour")
        ),
        sa.PrimaryKeyConstraint(
            "hour",
            "policy",
            "calibration_version",
            "outcome",
            "bin",
            name=op.f("pk_verdict_counts"),
        ),
        comment="of what came in an hour, so that four weeks need not be counted again and again",
    )
    op.create_table(
        "quality_days",
        sa.Column("day", sa.Date(), nullable=False, comment="of UTC, on which something was known"),
        sa.Column(
            "measured_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the day's last time",
        ),
        sa.Column("lag_s", sa.Double(), nullable=False, comment="windows end so long before"),
        sa.Column("agreement", sa.JSON(), nullable=False, comment="of people with each other"),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_quality_days")),
    )
    op.create_table(
        "quality_estimates",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("window_days", sa.SmallInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False, comment="empty: all of them together"),
        sa.Column(
            "calibration_version",
            sa.Text(),
            nullable=False,
            comment="empty: all of them together",
        ),
        sa.Column(
            "document", sa.JSON(), nullable=False, comment="the estimates with their intervals"
        ),
        sa.ForeignKeyConstraint(
            ["day"], ["quality_days.day"], name=op.f("fk_quality_estimates_day")
        ),
        sa.PrimaryKeyConstraint(
            "day",
            "window_days",
            "policy",
            "calibration_version",
            name=op.f("pk_quality_estimates"),
        ),
    )


def downgrade() -> None:
    """Take back."""
    _one_of_a_verdict("'flagged', 'unscorable'")
    op.drop_table("quality_estimates")
    op.drop_table("quality_days")
    op.drop_table("verdict_counts")
    op.drop_table("counted_hours")
    op.drop_table("audit_plans")


def _one_of_a_verdict(routes: str) -> None:
    op.drop_index("ix_cases_one_of_a_verdict", table_name="cases")
    op.create_index(
        "ix_cases_one_of_a_verdict",
        "cases",
        ["submission_id"],
        unique=True,
        postgresql_where=sa.text(f"route IN ({routes})"),
    )
