"""Figures in words: no rounding says all or none of what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.thresholds.report.labels import make_artifact, make_figures, make_labels
from thresholds.report import words
from thresholds.report.measure import measure


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.0001, "under 0.1 %"),
        (0.0312, "3.1 %"),
        (0.05, "5 %"),
        (0.0999, "10 %"),
        (0.634, "63 %"),
        (0.9876, "99 %"),
        (0.9949, "99.5 %"),
        (0.99999, "over 99.9 %"),
        (1, "100 %"),
        (None, "—"),
    ],
)
def test_shares(share: float | None, text: str) -> None:
    """Shares have decimals where these tell something apart."""
    assert words.percent(share).replace("\xa0", " ") == text


@given(st.floats(0, 1))
def test_only_all_is_all_and_only_none_is_none(share: float) -> None:
    """Nothing but 0 is said to be 0 %, and nothing but 1 to be 100 %."""
    text = words.percent(share).replace("\xa0", " ")
    assert (text == "0 %") == (share == 0)
    assert (text == "100 %") == (share == 1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1e-13, "0"),
        (0.7, "0.7"),
        (3.0, "3"),
        (9.94, "9.9"),
        (12.3, "12"),
        (1e6, "1,000,000"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    """Small counts have a decimal where it tells something, and large ones their thousands."""
    assert words.count(number) == text


@given(st.floats(0, 1e7))
def test_counts_are_close(number: float) -> None:
    """A count is off by half at most."""
    assert abs(float(words.count(number).replace(",", "")) - number) <= 0.5


def test_precision_names_its_prevalence() -> None:
    """The sentence has the figure per hundred, its range and the condition."""
    figures = make_figures()
    precision = figures.operating_point.precision
    assert precision is not None
    said = words.precision_says(figures).replace("\xa0", " ")
    assert said == (
        f"Of 100 flagged posts about {100 * precision.point:.0f} ({100 * precision.lower:.0f} to "
        f"{100 * precision.upper:.0f}) would be real mismatches if 10 % of posts are mismatched."
    )


def test_the_cost_adds_up() -> None:
    """Reviews that find a mismatch and those in vain are all reviews; more recall costs more."""
    figures = make_figures()
    rows = [row.cells for row in words.alternatives(figures)]
    assert sum(row.is_used for row in words.alternatives(figures)) == 1
    reviews = [float(row[-1].replace(",", "")) for row in rows]
    assert reviews == sorted(reviews)
    found = 100 * figures.operating_point.recall.point
    assert f"{words.count(found)} find a mismatch" in words.cost_says(figures)
    assert words.count(figures.operating_point.reviews.point - found) in words.cost_says(figures)


def test_one_kind_only_says_nothing_of_others() -> None:
    """With several kinds best and worst are named, with one only that there is one."""
    assert "Found worst: " in words.kinds_say(make_figures())
    labels = make_labels()
    labels.kinds[:] = "own"
    figures = measure(labels, make_artifact(), name="x", prevalence=0.1)
    assert "All mismatches of these labels are of one kind" in words.kinds_say(figures)
