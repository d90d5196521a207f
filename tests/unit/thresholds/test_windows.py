"""Which calibration a window is held against."""

import pytest

from moderation.store.history import Group
from moderation.types import Outcome
from tests.integration.traffic import NOW
from thresholds.windows import live_version


def _group(version: str, outcome: Outcome, verdicts: int) -> Group:
    return Group("m", version, outcome, verdicts, 0, NOW)


@pytest.mark.parametrize(
    ("groups", "version"),
    [
        ([], None),
        ([_group("c-1", Outcome.UNSCORABLE, 500)], None),
        # A candidate's share, and images that cannot be read, do not make a calibration live.
        (
            [
                _group("c-1", Outcome.PASS, 60),
                _group("c-2", Outcome.PASS, 70),
                _group("c-1", Outcome.FLAG, 20),
                _group("c-2", Outcome.UNSCORABLE, 500),
            ],
            "c-1",
        ),
    ],
)
def test_the_one_that_judged_most(groups: list[Group], version: str | None) -> None:
    """Of passes and flags together, whatever was published last."""
    assert live_version(groups) == version
