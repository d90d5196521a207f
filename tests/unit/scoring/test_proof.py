"""Passes are replayed where that is right and costs less, and else it is said why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest

from moderation.scoring import proof
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import choose_precision
from moderation.scoring.proof import measure, try_replaying
from moderation.scoring.replay import Record, Run
from moderation.scoring.towers import Towers
from tests.unit.scoring.stock import random_images, stock_images


def _again() -> Record:
    return lambda run: run


@contextmanager
def _measured(
    computed: tuple[float, float] = (1.0, 0.5), replayed: tuple[float, float] = (0.5, 0.1)
) -> Iterator[None]:
    times = iter([computed, replayed])
    with patch.object(proof, "measure", lambda _: next(times)):
        yield


def test_what_is_right_and_faster_is_used(model: ClipModel) -> None:
    """The towers that come back replay, and bring stock open_clip's vectors."""
    with _measured():
        towers, replaying = try_replaying(Towers(model), "fp32", _again)
    assert replaying.is_used
    assert replaying.why_not is None
    assert (replaying.computed_s, replaying.replayed_s) == (1.0, 0.5)
    assert (replaying.computed_cpu_s, replaying.replayed_cpu_s) == (0.5, 0.1)
    assert replaying.difference is not None
    assert 0 <= replaying.difference < 1e-5
    images = random_images(model, 5)
    np.testing.assert_allclose(towers.encode_images(images), stock_images(model, images), atol=1e-5)


@pytest.mark.parametrize(
    ("replayed", "is_used"),
    [
        ((0.5, 0.1), True),
        # A device that is full takes as long, and Python is spared.
        ((1.04, 0.1), True),
        ((1.2, 0.1), False),
        ((0.9, 0.5), False),
    ],
)
def test_it_must_cost_less(model: ClipModel, replayed: tuple[float, float], is_used: bool) -> None:
    """Replaying may not take longer, and must take less of the interpreter."""
    computing = Towers(model)
    with _measured(replayed=replayed):
        towers, replaying = try_replaying(computing, "fp32", _again)
    assert replaying.is_used is is_used
    assert (towers is computing) is not is_used
    assert (replaying.why_not is None) is is_used


def test_what_a_replay_before_has_left_is_found(model: ClipModel) -> None:
    """A recording that does nothing leaves what its warm-up computed, and is not used."""

    def record(run: Run) -> Run:
        run()
        return lambda: None

    computing = Towers(model)
    with _measured():
        towers, replaying = try_replaying(computing, "fp32", lambda: record)
    assert towers is computing
    assert replaying.why_not == "vectors differ"
    assert replaying.difference is not None
    assert replaying.difference > 1e-5


def test_vectors_that_are_no_numbers_differ(model: ClipModel) -> None:
    """Nothing is nearer to a vector than itself, so what cannot be compared is not used."""
    computing = Towers(model)
    broken = Towers(model, record=_again)

    def nowhere(pixels: list[object]) -> object:
        return np.full((len(pixels), 32), np.nan, dtype=np.float32)

    with (
        _measured(),
        patch.object(broken, "encode_images", nowhere),
        patch.object(Towers, "replaying", lambda *_: broken),
    ):
        towers, replaying = try_replaying(computing, "fp32", _again)
    assert towers is computing
    assert replaying.why_not == "vectors differ"


def _refuse(run: Run) -> Run:
    raise RuntimeError("operation not permitted when stream is capturing")


def _no_graphs() -> Record:
    raise AttributeError("no graphs on this device")


@pytest.mark.parametrize(
    ("record", "why"), [(lambda: _refuse, "not permitted"), (_no_graphs, "no graphs")]
)
def test_what_cannot_be_recorded_is_computed(model: ClipModel, record: object, why: str) -> None:
    """A model or a device that does not let passes be recorded is used without."""
    computing = Towers(model)
    with _measured():
        towers, replaying = try_replaying(computing, "fp32", record)  # type: ignore[arg-type]
    assert towers is computing
    assert not replaying.is_used
    assert replaying.why_not is not None
    assert why in replaying.why_not


def test_a_batch_is_measured(model: ClipModel) -> None:
    """Encoding takes time, on the clock and of the CPU."""
    took_s, cpu_s = measure(Towers(model))
    assert took_s > 0
    assert cpu_s > 0


def test_on_a_cpu_nothing_is_replayed(model: ClipModel) -> None:
    """There is nothing to record there, and it is not tried."""
    assert choose_precision(model, "fp32").replaying is None
