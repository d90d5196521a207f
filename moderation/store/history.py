"""The stored verdicts of a period as arrays, and what moderators decided on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, func, select

from moderation.curves import Floats
from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.store.review_tables import cases
from moderation.store.tables import submissions, verdicts
from moderation.types import Note, Outcome

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Parts of [-1, 1] that `histogram` counts in: 0.0001 wide, where cosines spread by 0.03 and more.
CELLS = 20_000

_CHUNK_BYTES = 2**20
# COPY's binary format: a header, rows that name the length of each field, a trailer of 2 bytes.
# Where no field is null all rows have the same length, as an array of numpy wants it.
_HEADER_BYTES = 19


@dataclass(frozen=True, slots=True)
class Period:
    """Verdicts stored at or after `since` and before `until`, of one policy or of all."""

    since: datetime
    until: datetime
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The verdicts of a period by one model, with one calibration, of one outcome.

    `truncated` of them saw only the beginning of their caption.
    """

    model: str
    calibration_version: str
    outcome: Outcome
    verdicts: int
    truncated: int
    first_at: datetime


@dataclass(frozen=True, slots=True)
class Scored:
    """Cosines of verdicts, (n,), and which of these were flagged."""

    cosines: Floats
    is_flagged: Bools


@dataclass(frozen=True, slots=True)
class Decided:
    """Verdicts that a moderator has decided on, (n,) each.

    `weights` are 1/π for a submission that came to review with probability π.
    """

    cosines: Floats
    is_flagged: Bools
    is_mismatch: Bools
    weights: Floats

    def __len__(self) -> int:
        return len(self.cosines)


def groups(connection: Connection, period: Period) -> list[Group]:
    """How many verdicts of which kind a period has, the largest group first."""
    kind = (verdicts.c.model, verdicts.c.calibration_version, verdicts.c.outcome)
    is_truncated = verdicts.c.notes.any_() == Note.CAPTION_TRUNCATED.value
    query = _within(
        period,
        select(
            *kind,
            func.count().label("verdicts"),
            func.count().filter(is_truncated).label("truncated"),
            func.min(verdicts.c.created_at).label("first_at"),
        ),
    )
    rows = connection.execute(query.group_by(*kind).order_by(func.count().desc(), *kind))
    return [
        Group(row[0], row[1], Outcome(row[2]), row.verdicts, row.truncated, row.first_at)
        for row in rows
    ]


def scored(connection: Connection, period: Period, *, model: str) -> Iterator[Scored]:
    """The verdicts of a model that have a score, some ten thousand at a time."""
    query = _within(period, select(verdicts.c.cosine, _WAS_FLAGGED)).where(_has_cosine_of(model))
    for cosines, is_flagged in _copied(connection, query, "f8", "?"):
        yield Scored(cosines, is_flagged)


def decided(connection: Connection, period: Period, *, model: str) -> Decided:
    """The scored verdicts of a model with what stands on their submission: match or mismatch.

    Of flagged and audited ones, which came to review with a known probability; an appeal
    overrules, but brings none of its own. A case counts once it is settled, and golden ones
    never do; `unsure` belongs to neither class, and leaves standing what stood.
    """
    drawn = (
        select(cases.c.submission_id, func.max(cases.c.inclusion_probability).label("probability"))
        .where(cases.c.route.in_(_DRAWN))
        .group_by(cases.c.submission_id)
        .subquery()
    )
    lateness = func.row_number().over(
        partition_by=verdicts.c.submission_id,
        order_by=(cases.c.resolved_at.desc(), cases.c.id.desc()),
    )
    each = (
        _within(
            period,
            select(
                verdicts.c.cosine,
                _WAS_FLAGGED.label("was_flagged"),
                cases.c.resolution,
                drawn.c.probability,
                lateness.label("lateness"),
            ),
        )
        .join(drawn, drawn.c.submission_id == verdicts.c.submission_id)
        .join(cases, cases.c.submission_id == verdicts.c.submission_id)
        .where(
            _has_cosine_of(model),
            cases.c.route.in_((*_DRAWN, Route.APPEAL)),
            cases.c.resolution.in_((Answer.MISMATCH, Answer.MATCH)),
        )
        .subquery()
    )
    query = select(
        each.c.cosine,
        each.c.was_flagged,
        each.c.resolution == Answer.MISMATCH,
        1 / each.c.probability,
    ).where(each.c.lateness == 1)
    columns = zip(*_copied(connection, query, "f8", "?", "?", "f8"), strict=True)
    return Decided(*(np.concatenate(parts) for parts in columns))


def histogram(
    connection: Connection, period: Period, *, model: str, calibration_version: str | None = None
) -> Ints:
    """How many cosines of a model lie in each of `CELLS` equal parts of [-1, 1].

    Those judged with one calibration, or with any.
    """
    # Rounding makes cosines of a little more than 1; they belong to the last part.
    number = func.least(func.greatest(func.width_bucket(verdicts.c.cosine, -1, 1, CELLS), 1), CELLS)
    query = _within(period, select(number, func.count())).where(_has_cosine_of(model))
    if calibration_version is not None:
        query = query.where(verdicts.c.calibration_version == calibration_version)
    counts = np.zeros(CELLS, np.int64)
    for cell, cosines in connection.execute(query.group_by(number)):
        counts[cell - 1] = cosines
    return counts


_DRAWN = (Route.FLAGGED, Route.AUDIT)
_WAS_FLAGGED = verdicts.c.outcome == Outcome.FLAG.value


def _has_cosine_of(model: str) -> ColumnElement[bool]:
    return (verdicts.c.model == model) & verdicts.c.cosine.is_not(None)


def _within(period: Period, query: Select[Any]) -> Select[Any]:
    query = query.select_from(verdicts).where(
        verdicts.c.created_at >= period.since, verdicts.c.created_at < period.until
    )
    if period.policy is None:
        return query
    return query.join(submissions, submissions.c.id == verdicts.c.submission_id).where(
        submissions.c.policy == period.policy
    )


def _copied(
    connection: Connection, query: Select[Any], *kinds: str
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Columns of a query without nulls, about a mebibyte at a time, and one chunk at least.

    COPY hands a million rows over in a second: a driver's rows of Python objects take ten.
    """
    row = _row(kinds)
    compiled = query.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    driver: Any = connection.connection.driver_connection
    rest = bytearray()

    def columns(rows: int) -> tuple[NDArray[Any], ...]:
        table = np.frombuffer(bytes(rest[: rows * row.itemsize]), row, rows)
        del rest[: rows * row.itemsize]
        return tuple(table[f"{i}"].astype(kind) for i, kind in enumerate(kinds))

    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY ({compiled}) TO STDOUT (FORMAT BINARY)", compiled.params) as copy,
    ):
        skip = _HEADER_BYTES
        for block in copy:
            rest += block[skip:]
            skip = max(skip - len(block), 0)
            if len(rest) > _CHUNK_BYTES:
                yield columns(_CHUNK_BYTES // row.itemsize)
        yield columns(len(rest) // row.itemsize)


def _row(kinds: tuple[str, ...]) -> np.dtype[Any]:
    """How COPY lays a row out: the number of fields, then length and value of each."""
    fields = [("fields", ">i2")]
    for name, kind in enumerate(kinds):
        fields += [(f"length {name}", ">i4"), (f"{name}", f">{kind}")]
    return np.dtype(fields)
