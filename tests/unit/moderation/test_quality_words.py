"""What the figures say in words: what is known, how surely, and what to do where it is not."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.quality.figures import Quality
from moderation.quality.shares import Estimate, unknown_share
from moderation.quality.words import (
    AuditEffort,
    about,
    interval,
    percent,
    period_says,
    precision_says,
    reading_of,
    recall_says,
    says,
    says_without_counts,
)

_EFFORT = AuditEffort(budget_per_day=200, days=100)
_KNOWN = Estimate(0.62, 0.513, 0.718)


def a_quality(
    recall: Estimate = _KNOWN,
    *,
    precision: Estimate = Estimate(0.842, 0.791, 0.88),  # noqa: B008 - frozen
    audits: int = 1240,
    found_misses: int = 17,
) -> Quality:
    """A window of which as much is known as is said."""
    prevalence = Estimate(0.021, 0.0182, 0.0249) if recall.point else unknown_share("too few")
    return Quality(
        precision, recall, prevalence, Estimate(0.0199, 0.0197, 0.0201), Estimate(0.02, 0.01, 0.03),
        flags=2000, passes=98_000, audits=audits, answered_flags=1900, found_misses=found_misses,
    )  # fmt: skip


def too_few(found: int, *, audits: int = 900) -> Quality:
    """A window in which audits have found too few misses."""
    return a_quality(unknown_share("too few misses"), audits=audits, found_misses=found)


def test_known_figures_are_told_in_counts_of_posts() -> None:
    """Each figure is a sentence about so many posts; the ends are rounded outwards."""
    told = says(a_quality(), 28, _EFFORT)
    assert told[:3] == [
        "Of 100 posts that are flagged, about 84 are mismatches (likely between 79 and 88).",
        (
            "Of 100 mismatches that came in, about 62 were flagged (likely between 51 and 72); "
            "the others were passed."
        ),
        (
            "Of 1,000 posts that came in, about 21 are mismatches (likely between 18 and 25), "
            "flagged or not."
        ),
    ]
    assert told[3].startswith("This rests on 1,240 audits that found 17 misses; about ")
    assert told[3].endswith(" more in the same time would halve the interval of recall.")


@given(
    st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 3).map(sorted),
)
def test_words_never_say_more_than_the_figures(ends: list[float]) -> None:
    """The range in words holds the interval, whatever it is, and the point lies in the range."""
    lower, point, upper = ends
    told = recall_says(Estimate(point, lower, upper))
    found = re.match(r"Of ([\d,]+) .*about ([\d,]+) .*between ([\d,]+) and ([\d,]+)", told)
    assert found is not None
    parts, middle, low, high = (int(number.replace(",", "")) for number in found.groups())
    assert low <= parts * lower
    assert parts * upper <= high <= parts
    assert low <= middle <= high


def test_an_interval_below_a_hundredth_is_told_of_more_posts() -> None:
    """What would be 0 of 100 is told of 10,000."""
    told = precision_says(Estimate(0.9985, 0.9979, 0.999))
    assert told.startswith("Of 10,000 posts that are flagged, about 9,985")


@pytest.mark.parametrize(
    ("found", "days", "effort", "says_so"),
    [
        # 3 in 16.5 days are 5 in 27.5.
        (3, 28, AuditEffort(200, 16.5), "takes about 11 days more; answers to"),
        (4, 28, AuditEffort(200, 22.0), "takes about 6 days more"),
        (3, 28, AuditEffort(200, 100), "BUDGET_PER_DAY = 670 (now 200) would, if"),
        (1, 1, AuditEffort(200, 100), "a day will not find so many"),
        (0, 28, AuditEffort(200, 3), "5 are needed. Answers to audits that wait, or"),
        (1, 28, AuditEffort(0, 3), "There will be none, since CAPTIONGUARD_AUDIT_BUDGET_PER_DAY"),
    ],
)  # fmt: skip
def test_too_few_misses_say_what_makes_it_enough(
    found: int, days: int, effort: AuditEffort, says_so: str
) -> None:
    """How long it takes where the window still fills, which budget would do where it is full."""
    (told,) = [each for each in says(too_few(found), days, effort) if "not known" in each]
    assert says_so in told


def test_nobody_audits_is_said_so() -> None:
    """Without a budget and without an answer the setting is named."""
    told = says(too_few(0, audits=0), 28, AuditEffort(0, 0))
    assert "Nobody looks at what passes, since CAPTIONGUARD_AUDIT_BUDGET_PER_DAY is 0." in told[1]


def test_where_no_audit_is_answered_they_wait_or_began_later() -> None:
    """Not more audits help then, but answers or time."""
    unanswered = too_few(0, audits=0)
    assert "they wait at the desk, among the blind cases" in says(unanswered, 28, _EFFORT)[1]
    assert "audits began later" in says(unanswered, 28, AuditEffort(200, 0))[1]


def test_what_is_still_due_is_told_with_its_reason() -> None:
    """Where misses are found, but not enough is answered, the estimator's reason is shown."""
    few = a_quality(unknown_share("212 submissions have too few like them decided"))
    told = says(few, 28, _EFFORT)[1]
    assert "212 submissions have too few like them decided. More answers" in told


def test_those_who_decide_read_no_counts() -> None:
    """Neither audits nor misses, known or not: they would tell what an answer was about."""
    for found in (a_quality(), too_few(3), too_few(0, audits=0)):
        told = " ".join(says_without_counts(found))
        assert not re.search(r"audit|miss(es)?\b|17|1,240", told)
        assert "not known" in told or "62" in told


def test_the_period_says_why_the_newest_posts_are_left_out() -> None:
    """Whole hours by ingestion, until the lag before the measurement."""
    at = datetime(2026, 11, 22, 9, 20, tzinfo=UTC)
    told = period_says(at, timedelta(days=1), 28)
    assert told == (
        "Posts that came in from 24 October 10:00 to 21 November 10:00 UTC: those of the last 24 "
        "hours are left out, since answers need time."
    )


def test_no_period_ends_after_it_was_measured() -> None:
    """Without a lag the hour that is not over yet is counted until now."""
    at = datetime(2026, 11, 22, 9, 20, tzinfo=UTC)
    told = period_says(at, timedelta(0), 1)
    assert told == "Posts that came in from 21 November 10:00 to 22 November 09:20 UTC."


def test_likely_is_explained_where_it_is_said() -> None:
    """And nowhere else: without any figure there is no range."""
    unknown = a_quality(unknown_share("too few"), precision=unknown_share("no answers"))
    assert reading_of(says(unknown, 28, _EFFORT)) is None
    assert "19 hold the true figure" in str(reading_of(says(a_quality(), 28, _EFFORT)))


@pytest.mark.parametrize(
    ("share", "text"), [(0.8421, "84.2"), (0, "0.0"), (1, "100.0"), (0.99996, ">99.9"),
                        (0.00004, "<0.1"), (None, "–")],
)  # fmt: skip
def test_only_all_is_all_and_only_nothing_is_nothing(share: float | None, text: str) -> None:
    """Rounding makes neither out of a share."""
    assert percent(share) == text


def test_rare_things_have_a_digit_more() -> None:
    """A prevalence of two per cent is told to the hundredth."""
    assert interval(Estimate(0.021, 0.0182, 0.0249)) == "2.10 [1.82, 2.49]"
    assert interval(Estimate(0.842, 0.791, 0.88)) == "84.2 [79.1, 88.0]"
    assert interval(unknown_share("no")) == "–"


@pytest.mark.parametrize(
    ("number", "text"), [(0.2, "1"), (10.4, "11"), (85, "85"), (3720, "3,800"), (12_000, "12,000")]
)
def test_a_number_is_said_with_two_digits(number: float, text: str) -> None:
    """Rounded up: what is needed is never said too low."""
    assert about(number) == text
