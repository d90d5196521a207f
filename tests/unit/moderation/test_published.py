"""Which calibration judges which submission follows from the history alone."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest

from moderation.curves import Platt
from moderation.errors import CalibrationRefused
from moderation.published import (
    Action,
    InForce,
    Publication,
    State,
    live_versions,
    place,
    published,
)
from moderation.types import DEFAULT_POLICY, Calibration

BASE = Calibration("base", "model-1", Platt(10, 0), 0.35)
KNOWN = {name: Calibration(name, "model-1", Platt(10, 0), 0.35) for name in ("A", "B", "C")}
IDS = [UUID(int=n * 7919) for n in range(20_000)]


def load(version: str) -> Calibration:
    """One of three calibrations; all others are refused."""
    if version not in KNOWN:
        raise CalibrationRefused(f"{version} cannot be read.")
    return KNOWN[version]


def entries(*rows: tuple[str, Action, State]) -> list[Publication]:
    """A history, written oldest first and returned newest first."""
    told = [
        Publication(n + 1, policy, action, state, "ann", "a test", datetime.now(UTC))
        for n, (policy, action, state) in enumerate(rows)
    ]
    return told[::-1]


def live(version: str | None, *, policy: str = DEFAULT_POLICY) -> tuple[str, Action, State]:
    """An entry that makes a version live."""
    return (policy, Action.PUBLISH, State(version))


def tried(
    version: str, share: float, *, over: str | None = None, policy: str = DEFAULT_POLICY
) -> tuple[str, Action, State]:
    """An entry with a candidate."""
    return (policy, Action.PUBLISH, State(over, version, share))


def test_without_publications_a_worker_keeps_what_it_was_started_with() -> None:
    """An empty history leaves every policy to the calibration file; without one, nothing is."""
    now, refusals = published([], load, BASE)
    assert (now.for_policy("ads").live, now.publication, refusals) == (BASE, None, [])
    with pytest.raises(CalibrationRefused, match="none is published"):
        published([], load, None)


def test_a_policy_has_its_own_or_the_defaults() -> None:
    """The newest entry of a policy is its state, and the default's serves all others."""
    rows = entries(live("A"), live("B", policy="ads"), live("C"))
    now, _ = published(rows, load, BASE)
    assert now.for_policy("ads") == InForce("ads", KNOWN["B"])
    assert now.for_policy("comments") == InForce(DEFAULT_POLICY, KNOWN["C"])
    assert now.publication == 3


def test_a_policy_that_gave_up_its_own_takes_part_in_the_defaults_trial() -> None:
    """After a rollback to nothing the default's candidate is tried on this policy too."""
    rows = entries(
        live("B", policy="ads"), ("ads", Action.ROLLBACK, State()), tried("C", 0.5, over="A")
    )
    now, _ = published(rows, load, BASE)
    assert now.for_policy("ads") == InForce(DEFAULT_POLICY, KNOWN["A"], KNOWN["C"], 0.5)


def test_a_policy_tries_a_candidate_against_the_defaults_live_one() -> None:
    """A candidate needs no live calibration of the same policy."""
    rows = entries(live("A"), tried("B", 0.0, policy="ads"))
    now, _ = published(rows, load, None)
    assert now.for_policy("ads") == InForce("ads", KNOWN["A"], KNOWN["B"], 0.0)
    assert now.for_policy("other").candidate is None


def test_the_same_version_as_the_defaults_is_a_policys_own_all_the_same() -> None:
    """What was published to a policy keeps it out of the default's trials."""
    rows = entries(live("A"), live("A", policy="ads"), tried("B", 0.5, over="A"))
    now, _ = published(rows, load, BASE)
    assert now.for_policy("ads") == InForce("ads", KNOWN["A"])


@pytest.mark.parametrize("bad", [live("broken"), tried("broken", 0.5, over="A")])
def test_what_cannot_be_used_changes_nothing(bad: tuple[str, Action, State]) -> None:
    """The last good state of that policy holds, others go on, and the refusal says why."""
    rows = entries(live("A"), bad, live("B", policy="ads"))
    now, refusals = published(rows, load, BASE)
    assert now.for_policy("x") == InForce(DEFAULT_POLICY, KNOWN["A"])
    assert now.for_policy("ads").live is KNOWN["B"]
    assert now.publication == 3
    assert [(refusal.publication.id, refusal.why) for refusal in refusals] == [
        (2, "broken cannot be read.")
    ]


def test_a_refusal_that_is_past_is_no_news() -> None:
    """Only the newest entry of a policy is reported."""
    now, refusals = published(entries(live("broken"), live("A")), load, BASE)
    assert (now.default.live, now.publication, refusals) == (KNOWN["A"], 2, [])


def test_no_way_back_keeps_what_was_there() -> None:
    """A worker without a file of its own does not lose its calibration to a rollback."""
    rows = entries(live("A"), (DEFAULT_POLICY, Action.ROLLBACK, State()))
    assert published(rows, load, BASE)[0].default.live is BASE
    now, refusals = published(rows, load, None)
    assert (now.default.live, now.publication) == (KNOWN["A"], 1)
    assert "CAPTIONGUARD_CALIBRATION_FILE" in refusals[0].why


def test_rolling_back_goes_on_going_back() -> None:
    """Each rollback undoes one more, and what is published in between comes on top."""

    def back(version: str | None) -> tuple[str, Action, State]:
        return (DEFAULT_POLICY, Action.ROLLBACK, State(version))

    rows = [live("A"), live("B"), tried("C", 0.1, over="B")]
    rows.append((DEFAULT_POLICY, Action.PROMOTE, State("C")))
    assert live_versions(entries(*rows)) == [None, "A", "B", "C"]
    rows.append(back("B"))
    assert live_versions(entries(*rows)) == [None, "A", "B"]
    rows.append(back("A"))
    assert live_versions(entries(*rows)) == [None, "A"]
    rows.append(live("B"))
    assert live_versions(entries(*rows)) == [None, "A", "B"]
    assert live_versions(entries(*rows, back("A"), back(None))) == [None]


@given(st.lists(st.sampled_from(["A", "B", "C", "back"]), max_size=30))
def test_rollbacks_are_as_many_as_changes(steps: Sequence[str]) -> None:
    """However somebody publishes and rolls back, the trail is that of a stack."""
    rows: list[tuple[str, Action, State]] = []
    stack: list[str | None] = [None]
    for step in steps:
        if step == "back":
            if len(stack) == 1:
                continue
            stack.pop()
            rows.append((DEFAULT_POLICY, Action.ROLLBACK, State(stack[-1])))
        elif step != stack[-1]:
            stack.append(step)
            rows.append(live(step))
    assert live_versions(entries(*rows)) == stack


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_candidate_decides_its_share(share: float) -> None:
    """Of 20,000 submissions the candidate decides a share that chance explains."""
    both = InForce("ads", KNOWN["A"], KNOWN["B"], share)
    decided = sum(both.decides(id_) is KNOWN["B"] for id_ in IDS)
    assert binomtest(decided, len(IDS), share).pvalue > 1e-4
    assert all(both.decides(id_) is KNOWN["A"] for id_ in IDS if place("B", id_) >= share)


def test_places_are_uniform_and_new_for_each_candidate() -> None:
    """No part of the traffic is tried more than another, nor the same part each time."""
    first, second = ([place(version, id_) for id_ in IDS] for version in ("A", "B"))
    assert kstest(first, "uniform").pvalue > 1e-4
    both = sum(x < 0.5 and y < 0.5 for x, y in zip(first, second, strict=True))
    assert binomtest(both, len(IDS), 0.25).pvalue > 1e-4
    assert first == [place("A", id_) for id_ in IDS], "the same wherever it is asked"


def test_a_shadow_decides_nothing() -> None:
    """At a share of 0 every submission is judged by the live calibration."""
    shadowed = InForce("ads", KNOWN["A"], KNOWN["B"], 0.0)
    assert all(shadowed.decides(id_) is KNOWN["A"] for id_ in IDS)
