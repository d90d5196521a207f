"""What the simulation writes into the tables by itself, in bulk and with simulated times.

The rest is written by the product's own functions. Claims are left out: they say who may decide,
and no figure reads them.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import insert

from moderation.review.rules import Resolved, Wants
from moderation.simulation.reviewers import Decided, Opened
from moderation.simulation.traffic import Posts
from moderation.store.cases import Level, Route
from moderation.store.review_tables import secrets as secrets_table
from moderation.store.secrets import Name
from moderation.types import DEFAULT_POLICY

_COPY_SUBMISSIONS = (
    "COPY submissions (id, platform, policy, caption, image_blob, created_at, message_id, sent_at)"
    " FROM STDIN"
)
_COPY_DECISIONS = "COPY decisions (id, case_id, answer, decided_by, level, created_at) FROM STDIN"
_OPENED = text(
    """
    UPDATE cases SET created_at = posts.at, due_at = posts.at + (due_at - created_at)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:at AS timestamptz[])) AS posts (id, at)
    WHERE cases.submission_id = posts.id
    RETURNING cases.id, submission_id, route, answers_wanted, inclusion_probability
    """
)
_SETTLE = text(
    """
    UPDATE cases SET state = 'resolved', resolution = settled.answer, resolved_at = settled.at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:answers AS text[]), CAST(:at AS timestamptz[]))
        AS settled (id, answer, at)
    WHERE cases.id = settled.id
    """
)
_TO_LEADS = text("UPDATE cases SET level = 'lead' WHERE id = ANY(CAST(:ids AS uuid[]))")


def store_draws(connection: Connection, key: bytes) -> None:
    """Draw by this key, so that the same seed draws the same lots."""
    connection.execute(insert(secrets_table).values(name=Name.DRAWS.value, value=key))


def store_posts(connection: Connection, posts: Posts) -> None:
    """Submissions as the API stores them."""
    rows = zip(posts.ids, posts.at, strict=True)
    _copy(
        connection,
        _COPY_SUBMISSIONS,
        [(id_, "simulated", DEFAULT_POLICY, "", "0" * 64, at, "m", at) for id_, at in rows],
    )


def opened_cases(connection: Connection, posts: Posts) -> dict[UUID, Opened]:
    """Date the cases that these posts opened to when they came in; by submission."""
    found = connection.execute(_OPENED, {"ids": posts.ids, "at": posts.at})
    return {
        row.submission_id: Opened(
            row.id, Route(row.route), row.answers_wanted, row.inclusion_probability
        )
        for row in found
    }


def store_decided(connection: Connection, decided: Sequence[Decided], ids: Sequence[UUID]) -> None:
    """Decisions, under these ids, and what becomes of their cases."""
    _copy(
        connection,
        _COPY_DECISIONS,
        [
            (
                id_,
                each.case.opened.id,
                each.answer.value,
                each.decided_by,
                each.level.value,
                each.at,
            )
            for id_, each in zip(ids, decided, strict=True)
        ],
    )
    settled = [
        (each.case.opened.id, each.then.answer.value, each.at)
        for each in decided
        if isinstance(each.then, Resolved)
    ]
    for_leads = [
        each.case.opened.id
        for each in decided
        if isinstance(each.then, Wants) and each.then.level is Level.LEAD
    ]
    connection.execute(_TO_LEADS, {"ids": for_leads})
    connection.execute(
        _SETTLE,
        {
            "ids": [id_ for id_, _, _ in settled],
            "answers": [answer for _, answer, _ in settled],
            "at": [at for _, _, at in settled],
        },
    )


def analyse(database: Engine) -> None:
    """Let PostgreSQL count anew what its plans rest on."""
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("ANALYZE submissions, verdicts, cases, decisions")


def _copy(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
