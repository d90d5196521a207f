"""Periods of time as people type them: 28d, 1h, 2026-10-01."""

import datetime as dt
import re

import typer

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(rf"(\d{{1,6}})([{''.join(_UNITS)}])")


def read_span(text: str) -> dt.timedelta:
    """A span such as 90m, 1h, 28d or 4w. Raises `typer.BadParameter`."""
    found = _SPAN.fullmatch(text.strip())
    span = dt.timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else dt.timedelta(0)
    if not span:
        raise typer.BadParameter(f"{text!r} is no span of time such as 90m, 1h, 28d or 4w")
    return span


def read_moment(text: str, *, now: dt.datetime) -> dt.datetime:
    """A date, a date and time, or a span before now; UTC where no zone is given.

    Raises `typer.BadParameter`.
    """
    try:
        if _SPAN.fullmatch(text.strip()):
            return now - read_span(text)
        moment = dt.datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is neither a span such as 28d nor a date such as 2026-10-01"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
