"""Tables of live precision and recall: which passes are audited, what came in, what is known."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    SmallInteger,
    Table,
    Text,
)

from moderation.store.tables import metadata, now_column

audit_plans = Table(
    "audit_plans",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("floor", Double, nullable=False, comment="every pass is audited with this probability"),
    Column("slope", Double, nullable=False, comment="times sqrt(q (1 - q)), q the posterior"),
    Column("prevalence", Double, nullable=False, comment="of mismatches, that q was reckoned with"),
    Column("budget", Double, nullable=False, comment="audits a day that this was made for"),
    Column("passes", Double, nullable=False, comment="passes a day that this was made for"),
    now_column("created_at", "from then on workers draw by it"),
    CheckConstraint(
        "floor >= 0 AND floor <= 1 AND slope >= 0 AND slope < 'Infinity'", name="probabilities"
    ),
    CheckConstraint("prevalence > 0 AND prevalence < 1", name="prevalence"),
    comment="append-only; the newest is in force",
)

counted_hours = Table(
    "counted_hours",
    metadata,
    Column("hour", DateTime(timezone=True), primary_key=True, comment="of ingestion, its start"),
    Column("is_whole", Boolean, nullable=False, comment="over, and all of it has a verdict"),
    now_column("counted_at", "when it was counted last"),
)

verdict_counts = Table(
    "verdict_counts",
    metadata,
    Column("hour", DateTime(timezone=True), ForeignKey("counted_hours.hour"), primary_key=True),
    Column("policy", Text, primary_key=True),
    Column("calibration_version", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("bin", SmallInteger, primary_key=True, comment="40 to 1 of match score; -1: no score"),
    Column("verdicts", BigInteger, nullable=False),
    comment="of what came in an hour, so that four weeks need not be counted again and again",
)

quality_days = Table(
    "quality_days",
    metadata,
    Column("day", Date, primary_key=True, comment="of UTC, on which something was known"),
    Column("measured_at", DateTime(timezone=True), nullable=False, comment="the day's last time"),
    Column("lag_s", Double, nullable=False, comment="windows end so long before"),
    Column("agreement", JSON, nullable=False, comment="of people with each other"),
)

quality_estimates = Table(
    "quality_estimates",
    metadata,
    Column("day", Date, ForeignKey("quality_days.day"), primary_key=True),
    Column("window_days", SmallInteger, primary_key=True),
    Column("policy", Text, primary_key=True, comment="empty: all of them together"),
    Column("calibration_version", Text, primary_key=True, comment="empty: all of them together"),
    Column("document", JSON, nullable=False, comment="the estimates with their intervals"),
)
