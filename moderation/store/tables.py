"""The pipeline's tables. Migrations make them; a test holds the two together."""

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def now_column(name: str, comment: str) -> Column[object]:
    """A time that the database sets."""
    return Column(
        name, DateTime(timezone=True), nullable=False, server_default=func.now(), comment=comment
    )


api_keys = Table(
    "api_keys",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("platform", Text, nullable=False, comment="whose submissions this key hands in"),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("hint", Text, nullable=False, comment="the key's first characters, to tell keys apart"),
    now_column("created_at", "when the key was made"),
    Column("revoked_at", DateTime(timezone=True)),
)

workers = Table(
    "workers",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("model", Text, nullable=False, comment="fingerprint of weights and preprocessing"),
    Column("calibration_version", Text, nullable=False),
    Column("publication", BigInteger, comment="the last publication that it acts on"),
    Column("metrics_url", Text),
    now_column("started_at", "when the process was ready"),
    now_column("beat_at", "renews the leases of all rows this worker holds"),
    Column(
        "holding",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="ids of the messages taken from Redis and not finished",
    ),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("platform", Text, nullable=False),
    Column("external_id", Text, comment="the platform's own id; unique for a platform"),
    Column("policy", Text, nullable=False, comment="the stream whose threshold applies"),
    Column("caption", Text, nullable=False),
    Column("image_blob", Text, comment="SHA-256 in the blob store"),
    Column("image_url", Text),
    now_column("created_at", "when the submission was accepted"),
    Column("message_id", Text, nullable=False, comment="the one message that may be worked on"),
    now_column("sent_at", "when that message was sent"),
    Column("lease_worker", UUID, comment="the worker that has it; as good as its last beat"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="times taken up"),
    Column("faults", Integer, nullable=False, server_default="0", comment="times put off"),
    Column("retry_at", DateTime(timezone=True), comment="waits so long after a temporary fault"),
    Column("done_at", DateTime(timezone=True), comment="when it got its verdict"),
    UniqueConstraint("platform", "external_id"),
    CheckConstraint("(image_blob IS NULL) <> (image_url IS NULL)", name="one_image"),
)
# Partial: these stay as small as the backlog, whatever the table grows to.
Index(
    "ix_submissions_pending",
    submissions.c.sent_at,
    submissions.c.message_id,
    postgresql_where=submissions.c.done_at.is_(None),
)
Index(
    "ix_submissions_oldest",
    submissions.c.created_at,
    postgresql_where=submissions.c.done_at.is_(None),
)
Index(
    "ix_submissions_retry",
    submissions.c.retry_at,
    postgresql_where=submissions.c.retry_at.is_not(None),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("submission_id", UUID, ForeignKey("submissions.id"), primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("cosine", Double),
    Column("score", Double),
    Column("threshold", Double, nullable=False),
    Column("calibration_version", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("notes", ARRAY(Text), nullable=False, server_default="{}"),
    now_column("created_at", "when the verdict was stored"),
    CheckConstraint("outcome IN ('pass', 'flag', 'unscorable')", name="outcome"),
    CheckConstraint("(outcome = 'unscorable') = (reason IS NOT NULL)", name="reason"),
    CheckConstraint("(outcome = 'unscorable') = (score IS NULL)", name="score"),
)

# Rows come in the order of time: the smallest index there is finds a period. Without
# `autosummarize` it knows nothing of the last fifth of a large table, which has the last hour.
Index(
    "ix_verdicts_created_at",
    verdicts.c.created_at,
    postgresql_using="brin",
    postgresql_with={"autosummarize": True},
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("version", Text, primary_key=True),
    Column("model", Text, nullable=False, comment="fingerprint of weights and preprocessing"),
    # Not JSONB, which sorts keys: read again, the file would have another version.
    Column("artifact", JSON, nullable=False, comment="the calibration file"),
    now_column("created_at", "when it was first published"),
    comment="append-only",
)

publications = Table(
    "publications",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("policy", Text, nullable=False, comment="default: every policy without its own"),
    Column("action", Text, nullable=False),
    Column(
        "live_version",
        Text,
        ForeignKey("calibrations.version"),
        comment="from now on; null: the default's, or what a worker was started with",
    ),
    Column("candidate_version", Text, ForeignKey("calibrations.version")),
    Column(
        "candidate_share",
        Double,
        comment="of the policy's submissions that it decides; 0: a shadow that is only counted",
    ),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    now_column("created_at", "when it was published"),
    CheckConstraint("action IN ('publish', 'promote', 'rollback', 'withdraw')", name="action"),
    CheckConstraint(
        "(candidate_version IS NULL) = (candidate_share IS NULL)", name="candidate_share_given"
    ),
    CheckConstraint("candidate_share >= 0 AND candidate_share < 1", name="candidate_share"),
    comment="append-only; the newest row of a policy is all of its state",
)
Index("ix_publications_policy", publications.c.policy, publications.c.id)

refused_messages = Table(
    "refused_messages",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("problem", Text, nullable=False, comment="what is wrong with it, for its sender"),
    Column("body", JSONB, nullable=False, comment="the message as it came, so that none is lost"),
    now_column("created_at", "when it was refused"),
)
