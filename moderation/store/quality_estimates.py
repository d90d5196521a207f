"""Figures of live traffic as they were known on each day, so that pages need not measure."""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from functools import cache

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from moderation.quality.agreement import Agreement
from moderation.quality.figures import Figures, Quality, Scope
from moderation.store.quality_tables import quality_days, quality_estimates

# In columns of a primary key: of all of them together.
_ALL = ""


def keep(connection: Connection, figures: Figures) -> None:
    """Keep figures as those of their day of UTC, in place of what was kept of it before.

    In a transaction of the caller's, so that whoever reads sees all of the ones or of the others.
    """
    day = figures.at.astimezone(UTC).date()
    known = {
        "measured_at": figures.at,
        "lag_s": figures.lag.total_seconds(),
        "agreement": _agreements().dump_python(figures.agreement, mode="json"),
    }
    connection.execute(
        upsert(quality_days)
        .values(day=day, **known)
        .on_conflict_do_update(index_elements=["day"], set_=known)
    )
    connection.execute(delete(quality_estimates).where(quality_estimates.c.day == day))
    rows = [
        {
            "day": day,
            "window_days": scope.days,
            "policy": scope.policy or _ALL,
            "calibration_version": scope.calibration_version or _ALL,
            "document": quality.to_document(),
        }
        for scope, quality in figures.of.items()
    ]
    if rows:
        connection.execute(insert(quality_estimates), rows)


def newest(connection: Connection) -> Figures | None:
    """What was measured last; None before anything was."""
    # In one statement, so that it is all of one measurement.
    rows = connection.execute(_NEWEST).all()
    if not rows:
        return None
    known = rows[0]
    of = {
        Scope(row.window_days, row.policy or None, row.calibration_version or None): _quality(
            row.document
        )
        for row in rows
        if row.document is not None
    }
    agreement = _agreements().validate_python(known.agreement)
    return Figures(known.measured_at, timedelta(seconds=known.lag_s), of, agreement)


def by_day(connection: Connection, *, days: int, since: date) -> Sequence[tuple[date, Quality]]:
    """What a window of so many days was known to be on each day from `since` on, oldest first.

    Of all policies and calibrations together. Days on which nothing was measured are left out.
    """
    query = (
        select(quality_estimates.c.day, quality_estimates.c.document)
        .where(
            quality_estimates.c.day >= since,
            quality_estimates.c.window_days == days,
            quality_estimates.c.policy == _ALL,
            quality_estimates.c.calibration_version == _ALL,
        )
        .order_by(quality_estimates.c.day)
    )
    return [(row.day, _quality(row.document)) for row in connection.execute(query)]


_NEWEST = (
    select(
        quality_days,
        quality_estimates.c.window_days,
        quality_estimates.c.policy,
        quality_estimates.c.calibration_version,
        quality_estimates.c.document,
    )
    .join(quality_estimates, quality_estimates.c.day == quality_days.c.day, isouter=True)
    .where(
        quality_days.c.day
        == select(quality_days.c.day).order_by(quality_days.c.day.desc()).limit(1).scalar_subquery()
    )
)


def _quality(document: object) -> Quality:
    return _qualities().validate_python(document)


# Made when they are needed: every command would wait for them.
@cache
def _qualities() -> TypeAdapter[Quality]:
    return TypeAdapter(Quality)


@cache
def _agreements() -> TypeAdapter[Agreement]:
    return TypeAdapter(Agreement)
