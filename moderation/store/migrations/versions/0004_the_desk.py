"""The desk: cases, claims, and what becomes of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("undone_decisions", "case_notes", "appeals")
_COLUMNS_OF_CASES = (
    "policy",
    "state",
    "level",
    "blind",
    "answers_wanted",
    "due_at",
    "available_at",
    "assigned_to",
    "resolution",
    "resolved_at",
    "copy_blob",
    "copy_problem",
    "copy_attempts",
    "copy_after",
)


def upgrade() -> None:
    """Apply."""
    # In the order in which workers at work lock them: any other would end as a deadlock.
    op.execute("LOCK TABLE submissions IN SHARE ROW EXCLUSIVE MODE")
    op.create_index(
        "ix_submissions_image",
        "submissions",
        [sa.literal_column("hashtextextended(coalesce(image_blob, image_url), 0)"), "id"],
    )
    op.create_table(
        "golden_answers",
        sa.Column("submission_id", sa.UUID(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False, comment="the right one"),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="from then on it is mixed in",
        ),
        sa.Column("retired_at", sa.DateTime(timezone=True), comment="from then on it is not"),
        sa.CheckConstraint(
            "answer IN ('mismatch', 'match')", name=op.f("ck_golden_answers_answer")
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_golden_answers_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_golden_answers")),
    )
    op.create_table(
        "appeals",
        sa.Column("id", sa.UUID(), nullable=False, comment="UUIDv7"),
        sa.Column("submission_id", sa.UUID(), nullable=False),
        sa.Column("case_id", sa.UUID(), nullable=False),
        sa.Column(
            "statement", sa.Text(), nullable=False, comment="what the author says, by the platform"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the platform sent it",
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_appeals_case_id")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_appeals_submission_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appeals")),
        sa.UniqueConstraint("case_id", name=op.f("uq_appeals_case_id")),
        comment="append-only",
    )
    op.create_index("ix_appeals_submission_id", "appeals", ["submission_id"])
    op.create_table(
        "case_notes",
        sa.Column("id", sa.UUID(), nullable=False, comment="UUIDv7"),
        sa.Column("case_id", sa.UUID(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_notes_case_id")),
        sa.ForeignKeyConstraint(
            ["user_name"], ["users.name"], name=op.f("fk_case_notes_user_name")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_notes")),
        comment="append-only",
    )
    op.create_index("ix_case_notes_case_id", "case_notes", ["case_id"])
    op.create_table(
        "claims",
        sa.Column(
            "id", sa.UUID(), nullable=False, comment="the lease token: another one for each claim"
        ),
        sa.Column("case_id", sa.UUID(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the case was taken",
        ),
        sa.Column(
            "expires_at", sa.DateTime(timezone=True), nullable=False, comment="unless it beats"
        ),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            comment="when it was decided or given up, or somebody took over what had expired",
        ),
        sa.Column("ending", sa.Text()),
        sa.CheckConstraint(
            "ending IN ('decided', 'released', 'skipped', 'held', 'assigned', 'expired')",
            name=op.f("ck_claims_ending"),
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (ending IS NULL)", name=op.f("ck_claims_ended")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_claims_case_id")),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name=op.f("fk_claims_user_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
    )
    op.create_index("ix_claims_case_id", "claims", ["case_id", "user_name"])
    op.create_index(
        "ix_claims_one_of_a_case",
        "claims",
        ["case_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "undone_decisions",
        sa.Column("decision_id", sa.UUID(), nullable=False),
        sa.Column("undone_by", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it was undone",
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_undone_decisions_decision_id")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_undone_decisions")),
        comment="append-only",
    )
    op.add_column("cases", sa.Column("policy", sa.Text(), comment="its submission's"))
    op.execute(
        "UPDATE cases SET policy = submissions.policy FROM submissions "
        "WHERE submissions.id = cases.submission_id"
    )
    op.alter_column("cases", "policy", nullable=False)
    op.add_column("cases", sa.Column("state", sa.Text(), server_default="open", nullable=False))
    op.add_column(
        "cases",
        sa.Column(
            "level", sa.Text(), server_default="moderator", nullable=False, comment="who may decide"
        ),
    )
    op.add_column(
        "cases",
        sa.Column(
            "blind",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="no score, no route",
        ),
    )
    op.add_column(
        "cases", sa.Column("answers_wanted", sa.SmallInteger(), server_default="1", nullable=False)
    )
    op.add_column(
        "cases",
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="the earliest is next: age and priority in one",
        ),
    )
    op.add_column(
        "cases",
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="not given to anybody before",
        ),
    )
    op.add_column("cases", sa.Column("assigned_to", sa.Text(), comment="nobody else gets it"))
    op.add_column("cases", sa.Column("resolution", sa.Text(), comment="the answer that stands"))
    op.add_column(
        "cases",
        sa.Column(
            "resolved_at", sa.DateTime(timezone=True), comment="when it needed no more answers"
        ),
    )
    op.add_column(
        "cases",
        sa.Column(
            "copy_blob", sa.Text(), comment="our copy of the image, re-encoded, in the blob store"
        ),
    )
    op.add_column("cases", sa.Column("copy_problem", sa.Text(), comment="why there is none"))
    op.add_column(
        "cases", sa.Column("copy_attempts", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.add_column(
        "cases",
        sa.Column("copy_after", sa.DateTime(timezone=True), comment="no further try before"),
    )
    op.create_index(
        "ix_cases_assigned_to",
        "cases",
        ["assigned_to"],
        postgresql_where=sa.text("state <> 'resolved' AND assigned_to IS NOT NULL"),
    )
    op.create_index(
        "ix_cases_one_of_a_verdict",
        "cases",
        ["submission_id"],
        unique=True,
        postgresql_where=sa.text("route IN ('flagged', 'unscorable')"),
    )
    op.create_index(
        "ix_cases_copy_blob",
        "cases",
        ["copy_blob", "submission_id"],
        postgresql_where=sa.text("copy_blob IS NOT NULL"),
    )
    op.create_index(
        "ix_cases_copies",
        "cases",
        ["created_at"],
        postgresql_where=sa.text("copy_blob IS NULL AND copy_problem IS NULL"),
    )
    op.create_index(
        "ix_cases_queue",
        "cases",
        ["level", "due_at", "id"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "ix_cases_queue_of_policy",
        "cases",
        ["policy", "level", "due_at", "id"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_foreign_key(op.f("fk_cases_assigned_to"), "cases", "users", ["assigned_to"], ["name"])
    op.add_column("decisions", sa.Column("note", sa.Text()))
    op.add_column(
        "decisions",
        sa.Column(
            "level",
            sa.Text(),
            server_default="moderator",
            nullable=False,
            comment="the case's, when it was decided: a lead's answer stands",
        ),
    )
    op.add_column("decisions", sa.Column("claim_id", sa.UUID(), comment="a claim decides once"))
    op.add_column(
        "decisions", sa.Column("batch_id", sa.UUID(), comment="of those that were decided together")
    )
    op.create_check_constraint(
        op.f("ck_decisions_level"), "decisions", "level IN ('moderator', 'lead')"
    )
    op.create_index("ix_decisions_created_at", "decisions", ["created_at"])
    op.create_unique_constraint(op.f("uq_decisions_claim_id"), "decisions", ["claim_id"])
    op.create_foreign_key(
        op.f("fk_decisions_claim_id"), "decisions", "claims", ["claim_id"], ["id"]
    )
    op.create_table_comment(
        "decisions",
        "append-only; `standing_decisions` leaves out what was undone",
        existing_comment="append-only",
        schema=None,
    )
    op.create_check_constraint(
        op.f("ck_cases_state"), "cases", "state IN ('open', 'held', 'resolved')"
    )
    op.create_check_constraint(op.f("ck_cases_level"), "cases", "level IN ('moderator', 'lead')")
    # What was decided before there was a desk is settled by its last answer.
    op.execute(
        """
        UPDATE cases SET state = 'resolved', resolution = last.answer, resolved_at = last.created_at
        FROM (
            SELECT DISTINCT ON (case_id) case_id, answer, created_at FROM decisions
            ORDER BY case_id, created_at DESC, id DESC
        ) AS last
        WHERE last.case_id = cases.id
        """
    )
    op.create_check_constraint(
        op.f("ck_cases_resolved"), "cases", "(state = 'resolved') = (resolved_at IS NOT NULL)"
    )
    op.create_check_constraint(
        op.f("ck_cases_held_by_somebody"), "cases", "state <> 'held' OR assigned_to IS NOT NULL"
    )
    op.execute(
        """
        CREATE VIEW standing_decisions AS SELECT * FROM decisions WHERE NOT EXISTS (
            SELECT FROM undone_decisions WHERE undone_decisions.decision_id = decisions.id
        )
        """
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW standing_decisions")
    op.drop_table("undone_decisions")
    for column in ("note", "level", "claim_id", "batch_id"):
        op.drop_column("decisions", column)
    op.drop_index("ix_decisions_created_at", table_name="decisions")
    op.create_table_comment("decisions", "append-only")
    for table in (
        "claims",
        "case_notes",
        "appeals",
        "golden_answers",
    ):
        op.drop_table(table)
    op.drop_index("ix_cases_one_of_a_verdict", table_name="cases")
    for column in _COLUMNS_OF_CASES:
        op.drop_column("cases", column)
    op.drop_index("ix_submissions_image", table_name="submissions")
