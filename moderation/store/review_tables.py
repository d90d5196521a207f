"""The desk's tables: people, cases, what they decide, and what the platform is told.

A person is known by a name that never changes. What is called append-only refuses every change
by a trigger, whoever tries.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    column,
    func,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from moderation.store.tables import metadata, now_column, submissions


def _time(name: str, comment: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), comment=comment)


users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True, comment="what is written beside every decision"),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, comment="argon2; null: signs in elsewhere, or not at all"),
    Column("oidc_subject", Text, unique=True, comment="issuer and subject, once signed in so"),
    Column("blur", Boolean, nullable=False, server_default="true", comment="hides images"),
    Column("grey", Boolean, nullable=False, server_default="true", comment="shows no colours"),
    now_column("created_at", "when the account was made"),
    _time("disabled_at", "from then on nobody signs in with it"),
    CheckConstraint("role IN ('moderator', 'lead', 'admin')", name="role"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("token_sha256", Text, nullable=False, unique=True),
    Column("user_name", Text, ForeignKey("users.name"), nullable=False),
    Column("kind", Text, nullable=False, comment="a browser's cookie, or a tool's bearer token"),
    Column("csrf", Text, nullable=False, comment="what a browser's forms carry beside the cookie"),
    now_column("created_at", "when somebody signed in"),
    now_column("seen_at", "the last request, to within a minute"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    _time("ended_at", "signed out, or ended with the account or its password"),
    CheckConstraint("kind IN ('browser', 'token')", name="kind"),
)
Index("ix_sessions_user_name", sessions.c.user_name)

cases = Table(
    "cases",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("submission_id", UUID, ForeignKey("submissions.id"), nullable=False),
    Column("policy", Text, nullable=False, comment="its submission's"),
    Column("route", Text, nullable=False, comment="why a moderator is to look"),
    Column(
        "inclusion_probability",
        Double,
        nullable=False,
        comment="with which a submission like this one becomes a case",
    ),
    now_column("created_at", "when the case was opened"),
    Column("state", Text, nullable=False, server_default="open"),
    Column("level", Text, nullable=False, server_default="moderator", comment="who may decide"),
    Column("blind", Boolean, nullable=False, server_default="false", comment="no score, no route"),
    Column("answers_wanted", SmallInteger, nullable=False, server_default="1"),
    now_column("due_at", "the earliest is next: age and priority in one"),
    now_column("available_at", "not given to anybody before"),
    Column("assigned_to", Text, ForeignKey("users.name"), comment="nobody else gets it"),
    Column("resolution", Text, comment="the answer that stands"),
    _time("resolved_at", "when it needed no more answers"),
    Column("copy_blob", Text, comment="our copy of the image, re-encoded, in the blob store"),
    Column("copy_problem", Text, comment="why there is none"),
    Column("copy_attempts", SmallInteger, nullable=False, server_default="0"),
    _time("copy_after", "no further try before"),
    CheckConstraint(
        "route IN ('flagged', 'unscorable', 'audit', 'golden', 'appeal')", name="route"
    ),
    CheckConstraint(
        "inclusion_probability > 0 AND inclusion_probability <= 1", name="inclusion_probability"
    ),
    CheckConstraint("state IN ('open', 'held', 'resolved')", name="state"),
    CheckConstraint("level IN ('moderator', 'lead')", name="level"),
    CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved"),
    CheckConstraint("state <> 'held' OR assigned_to IS NOT NULL", name="held_by_somebody"),
)
Index("ix_cases_submission_id", cases.c.submission_id)
# Partial: as small as what waits, whatever was decided before.
Index(
    "ix_cases_queue",
    cases.c.level,
    cases.c.due_at,
    cases.c.id,
    postgresql_where=cases.c.state == text("'open'"),
)
Index(
    "ix_cases_queue_of_policy",
    cases.c.policy,
    cases.c.level,
    cases.c.due_at,
    cases.c.id,
    postgresql_where=cases.c.state == text("'open'"),
)
Index(
    "ix_cases_assigned_to",
    cases.c.assigned_to,
    postgresql_where=text("state <> 'resolved' AND assigned_to IS NOT NULL"),
)
# What makes it impossible that a verdict opens two.
Index(
    "ix_cases_one_of_a_verdict",
    cases.c.submission_id,
    unique=True,
    postgresql_where=text("route IN ('flagged', 'unscorable', 'audit')"),
)
Index(
    "ix_cases_copy_blob",
    cases.c.copy_blob,
    cases.c.submission_id,
    postgresql_where=cases.c.copy_blob.is_not(None),
)
Index(
    "ix_cases_copies",
    cases.c.created_at,
    postgresql_where=text("copy_blob IS NULL AND copy_problem IS NULL"),
)

claims = Table(
    "claims",
    metadata,
    Column("id", UUID, primary_key=True, comment="the lease token: another one for each claim"),
    Column("case_id", UUID, ForeignKey("cases.id"), nullable=False),
    Column("user_name", Text, ForeignKey("users.name"), nullable=False),
    now_column("created_at", "when the case was taken"),
    Column("expires_at", DateTime(timezone=True), nullable=False, comment="unless it beats"),
    _time("ended_at", "when it was decided or given up, or somebody took over what had expired"),
    Column("ending", Text),
    CheckConstraint(
        "ending IN ('decided', 'released', 'skipped', 'held', 'assigned', 'expired')",
        name="ending",
    ),
    CheckConstraint("(ended_at IS NULL) = (ending IS NULL)", name="ended"),
)
# What makes it impossible that two people hold one case.
Index(
    "ix_claims_one_of_a_case",
    claims.c.case_id,
    unique=True,
    postgresql_where=claims.c.ended_at.is_(None),
)
Index("ix_claims_case_id", claims.c.case_id, claims.c.user_name)

decisions = Table(
    "decisions",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("case_id", UUID, ForeignKey("cases.id"), nullable=False),
    Column("answer", Text, nullable=False),
    Column("reason", Text, comment="of the policy's list"),
    Column("decided_by", Text, nullable=False, comment="the moderator"),
    now_column("created_at", "when it was decided"),
    Column("note", Text),
    Column(
        "level",
        Text,
        nullable=False,
        server_default="moderator",
        comment="the case's, when it was decided: a lead's answer stands",
    ),
    Column("claim_id", UUID, ForeignKey("claims.id"), unique=True, comment="a claim decides once"),
    Column("batch_id", UUID, comment="of those that were decided together"),
    CheckConstraint("answer IN ('mismatch', 'match', 'unsure', 'escalate')", name="answer"),
    CheckConstraint("level IN ('moderator', 'lead')", name="level"),
    comment="append-only; `standing_decisions` leaves out what was undone",
)
Index("ix_decisions_case_id", decisions.c.case_id)
Index("ix_decisions_created_at", decisions.c.created_at)

undone_decisions = Table(
    "undone_decisions",
    metadata,
    Column("decision_id", UUID, ForeignKey("decisions.id"), primary_key=True),
    Column("undone_by", Text, nullable=False),
    now_column("created_at", "when it was undone"),
    comment="append-only",
)

# The view of those that nobody has undone.
standing_decisions = table(
    "standing_decisions", *(column(each.name, each.type) for each in decisions.c)
)

case_notes = Table(
    "case_notes",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("case_id", UUID, ForeignKey("cases.id"), nullable=False),
    Column("user_name", Text, ForeignKey("users.name"), nullable=False),
    Column("text", Text, nullable=False),
    now_column("created_at", "when it was written"),
    comment="append-only",
)
Index("ix_case_notes_case_id", case_notes.c.case_id)

appeals = Table(
    "appeals",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("submission_id", UUID, ForeignKey("submissions.id"), nullable=False),
    Column("case_id", UUID, ForeignKey("cases.id"), nullable=False, unique=True),
    Column("statement", Text, nullable=False, comment="what the author says, by the platform"),
    now_column("created_at", "when the platform sent it"),
    comment="append-only",
)
Index("ix_appeals_submission_id", appeals.c.submission_id)

golden_answers = Table(
    "golden_answers",
    metadata,
    Column("submission_id", UUID, ForeignKey("submissions.id"), primary_key=True),
    Column("answer", Text, nullable=False, comment="the right one"),
    Column("why", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    now_column("created_at", "from then on it is mixed in"),
    _time("retired_at", "from then on it is not"),
    CheckConstraint("answer IN ('mismatch', 'match')", name="answer"),
)

policy_reasons = Table(
    "policy_reasons",
    metadata,
    Column("policy", Text, primary_key=True, comment="default: every policy without its own"),
    Column("reasons", JSONB, nullable=False, comment="[{key, label}], in the order shown"),
    Column("required_for", ARRAY(Text), nullable=False, comment="answers that need a reason"),
    now_column("updated_at", "the last change; the audit log has all"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("platform", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False, comment="signs what is sent; shown once"),
    Column("previous_secret", Text, comment="signs as well, for a while after a rotation"),
    _time("previous_until", "from then on it does not"),
    now_column("created_at", "when it was added"),
    _time("disabled_at", "from then on nothing is sent"),
    Column("disabled_why", Text),
)
Index("ix_webhook_endpoints_platform", webhook_endpoints.c.platform)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7; the same in every try"),
    Column("platform", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("submission_id", UUID, ForeignKey("submissions.id"), nullable=False),
    Column("case_id", UUID, ForeignKey("cases.id"), comment="whose decision it tells of"),
    # Not JSONB: the bytes are signed, and a replay is to be what was sent at first.
    Column("body", JSON, nullable=False),
    now_column("created_at", "when it happened"),
)
Index("ix_webhook_events_submission_id", webhook_events.c.submission_id)
Index(
    "ix_webhook_events_case_id",
    webhook_events.c.case_id,
    postgresql_where=webhook_events.c.case_id.is_not(None),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", UUID, primary_key=True, comment="UUIDv7"),
    Column("event_id", UUID, ForeignKey("webhook_events.id"), nullable=False),
    Column("endpoint_id", UUID, ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="begun, not ended"),
    now_column("due_at", "no further try before; while one is under way, until it counts as lost"),
    Column("last_status", Integer, comment="what the endpoint answered"),
    Column("last_problem", Text),
    now_column("created_at", "when it was put into the outbox"),
    _time("ended_at", "when it was delivered, given up or cancelled"),
    CheckConstraint("state IN ('pending', 'delivered', 'failed', 'cancelled')", name="state"),
)
# By endpoint first: however much waits for one, the next of another is found at once.
Index(
    "ix_webhook_deliveries_pending",
    webhook_deliveries.c.endpoint_id,
    webhook_deliveries.c.due_at,
    postgresql_where=webhook_deliveries.c.state == text("'pending'"),
)
Index(
    "ix_webhook_deliveries_failed",
    webhook_deliveries.c.endpoint_id,
    webhook_deliveries.c.ended_at,
    postgresql_where=webhook_deliveries.c.state == text("'failed'"),
)
Index("ix_webhook_deliveries_event_id", webhook_deliveries.c.event_id)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    now_column("created_at", "when it happened"),
    Column("actor", Text, nullable=False, comment="a user, platform:NAME, or cli:NAME"),
    Column("action", Text, nullable=False, comment="such as case.claimed, session.failed"),
    Column("subject", Text, comment="what it was done to, such as case:ID"),
    Column("details", JSONB, nullable=False, server_default="{}"),
    Column("address", Text, comment="where the request came from"),
    comment="append-only",
)
Index("ix_audit_log_created_at", audit_log.c.created_at)
# The newest of one's lines come first, page by page.
Index("ix_audit_log_actor", audit_log.c.actor, audit_log.c.id)
Index("ix_audit_log_action", audit_log.c.action, audit_log.c.id)
Index("ix_audit_log_subject", audit_log.c.subject, audit_log.c.id)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    now_column("created_at", "when it was drawn"),
    comment="of this installation; who copies them can foretell what is drawn by lot",
)

# Every submission with the same image, whether it came as a file or by its URL.
# Hashed, since a URL may be longer than an index takes; with the id, so that of thousands only the
# newest are read.
Index(
    "ix_submissions_image",
    func.hashtextextended(
        func.coalesce(submissions.c.image_blob, submissions.c.image_url), text("0")
    ),
    submissions.c.id,
)
