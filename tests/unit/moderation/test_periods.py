"""Periods as people type them."""

import datetime as dt

import pytest
import typer

from moderation.periods import read_moment, read_span

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", dt.timedelta(minutes=90)),
        ("1h", dt.timedelta(hours=1)),
        ("28d", dt.timedelta(days=28)),
        ("4w", dt.timedelta(weeks=4)),
    ],
)
def test_spans(text: str, span: dt.timedelta) -> None:
    """A number and a unit; before now, as a moment."""
    assert read_span(text) == span
    assert read_moment(text, now=NOW) == NOW - span


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-01", dt.datetime(2026, 5, 1, tzinfo=dt.UTC)),
        ("2026-05-01T08:30", dt.datetime(2026, 5, 1, 8, 30, tzinfo=dt.UTC)),
        ("2026-05-01T08:30+02:00", dt.datetime(2026, 5, 1, 6, 30, tzinfo=dt.UTC)),
    ],
)
def test_dates(text: str, moment: dt.datetime) -> None:
    """Dates and times are UTC unless they say otherwise."""
    assert read_moment(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "0d", "-1d", "1.5d", "28", "2026-13-01", "999999w"])
def test_what_is_neither(text: str) -> None:
    """Anything else is a wrong use of the command, which says what would be right."""
    with pytest.raises(typer.BadParameter, match="such as"):
        read_moment(text, now=NOW)
