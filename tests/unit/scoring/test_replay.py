"""Passes that are recorded once and replayed bring each batch what computing it brings."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.scoring.model import ClipModel
from moderation.scoring.padding import padded
from moderation.scoring.replay import Recordings, Run
from moderation.scoring.towers import Towers
from tests.unit.scoring.stock import (
    make_model,
    random_images,
    stock_captions,
    stock_images,
    tokens_of,
)
from tests.unit.threads import all_at_once

CAPTIONS = [
    "a dog",
    "two red houses",
    "犬",
    "",
    "a caption of more words than fit into the places of the shortest tower there is",
]


class Recorder:
    """Stands in for a GPU's graphs: does the same again, on the buffers it was recorded with."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0
        self.breaks_at: int | None = None
        self.refuses = False

    def __call__(self, run: Run) -> Run:
        """Record a run, as documented: without its results being there afterwards."""
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            if self.replayed == self.breaks_at:
                raise RuntimeError("the graph is gone")
            run()

        return replay


@pytest.fixture(scope="module")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    """A model whose captions have several lengths."""
    folder = tmp_path_factory.mktemp("long")
    return make_model(folder, is_wide=True, text={"context_length": 40})


@pytest.fixture(scope="module")
def replaying(long_model: ClipModel) -> Towers:
    """Its towers, whose passes are replayed; they serve all tests, whatever came before."""
    return Towers(long_model, record=Recorder)


@settings(max_examples=30)
@given(count=st.integers(1, 50), seed=st.integers(0, 1000))
def test_images_are_open_clips(
    long_model: ClipModel, replaying: Towers, count: int, seed: int
) -> None:
    """For any batch after any other, vectors are those of stock open_clip, in order."""
    images = random_images(long_model, count, seed=seed)
    np.testing.assert_allclose(
        replaying.encode_images(images), stock_images(long_model, images), atol=1e-5
    )


@settings(max_examples=30)
@given(captions=st.lists(st.sampled_from(CAPTIONS), min_size=1, max_size=50))
def test_captions_are_open_clips(
    long_model: ClipModel, replaying: Towers, captions: list[str]
) -> None:
    """For any mixture of lengths after any other, vectors are stock open_clip's, in order."""
    np.testing.assert_allclose(
        replaying.encode_captions(list(tokens_of(long_model, captions))),
        stock_captions(long_model, captions),
        atol=1e-5,
    )


def test_a_batch_larger_than_the_buffers_is_whole(long_model: ClipModel) -> None:
    """What does not fit a lane at once goes in parts, of which none is lost or moved."""
    towers = Towers(long_model, record=Recorder)
    images = random_images(long_model, 600)
    expected = stock_images(long_model, images[:20])
    vectors = towers.encode_images(images)
    np.testing.assert_allclose(vectors[:20], expected, atol=1e-5)
    np.testing.assert_allclose(vectors[500:], towers.encode_images(images[500:]), atol=1e-5)
    captions = [CAPTIONS[number % 5] for number in range(600)]
    texts = towers.encode_captions(list(tokens_of(long_model, captions)))
    np.testing.assert_allclose(texts[595:], stock_captions(long_model, CAPTIONS), atol=1e-5)


def test_a_shape_is_recorded_once(long_model: ClipModel) -> None:
    """Batches that are filled up to the same size share a recording, and other ones do not."""
    recorder = Recorder()
    towers = Towers(long_model, record=lambda: recorder)
    for count in (17, 20, 24, 17):
        towers.encode_images(random_images(long_model, count))
    assert (recorder.recorded, recorder.replayed) == (1, 4)
    towers.encode_images(random_images(long_model, 25))
    assert recorder.recorded == 2


def test_towers_of_bf16_are_replayed_as_they_are(long_model: ClipModel) -> None:
    """Colours become the model's numbers, whichever these are, and vectors stay fp32."""
    halved = replace(long_model, clip=deepcopy(long_model.clip).to(torch.bfloat16))
    images = random_images(long_model, 12)
    vectors = Towers(halved, can_cut=True, record=Recorder).encode_images(images)
    assert vectors.dtype == np.float32
    computed = Towers(halved, can_cut=True).encode_images(images)
    assert float((vectors * computed).sum(axis=1).min()) > 1 - 1e-3


def test_lanes_do_not_mix_up_batches(long_model: ClipModel) -> None:
    """Threads that encode at once have buffers of their own, and as many as are needed."""
    recorders: list[Recorder] = []

    def record() -> Recorder:
        recorders.append(Recorder())
        return recorders[-1]

    towers = Towers(long_model, record=record)
    batches = [random_images(long_model, 9 + number, seed=number) for number in range(4)]
    tokens = [list(tokens_of(long_model, CAPTIONS[number:] * 3)) for number in range(4)]
    images = [towers.encode_images(batch) for batch in batches]
    texts = [towers.encode_captions(batch) for batch in tokens]
    assert len(recorders) == 1

    def encode(number: int) -> float:
        return max(
            max(
                float(np.abs(towers.encode_images(batches[number]) - images[number]).max()),
                float(np.abs(towers.encode_captions(tokens[number]) - texts[number]).max()),
            )
            for _ in range(20)
        )

    assert max(all_at_once([partial(encode, number) for number in range(4)])) < 1e-5
    assert len(recorders) <= 4


def test_what_cannot_be_recorded_is_computed(long_model: ClipModel) -> None:
    """A model that does not let itself be recorded gets its vectors, and it is told why."""
    recorder = Recorder()
    recorder.refuses = True
    towers = Towers(long_model, record=lambda: recorder)
    images = random_images(long_model, 5)
    for _ in range(3):
        np.testing.assert_allclose(
            towers.encode_images(images), stock_images(long_model, images), atol=1e-5
        )
    assert len(towers.faults) == 1, "not tried again with the same size"
    assert "not permitted" in towers.faults[0]


def test_a_replay_that_fails_is_computed(long_model: ClipModel) -> None:
    """A batch whose replay breaks gets its vectors, and so do all after it."""
    recorder = Recorder()
    recorder.breaks_at = 2
    towers = Towers(long_model, record=lambda: recorder)
    for seed in range(4):
        images = random_images(long_model, 5, seed=seed)
        np.testing.assert_allclose(
            towers.encode_images(images), stock_images(long_model, images), atol=1e-5
        )
    assert recorder.replayed == 2
    assert len(towers.faults) == 1


def test_a_fault_of_the_model_is_raised_and_over_with_it(long_model: ClipModel) -> None:
    """Where computing fails as well it is the batch's fault, and the next batch is right."""
    towers = Towers(long_model, record=Recorder)
    images = random_images(long_model, 3)
    visual = long_model.clip.visual

    def fail(*_: object) -> None:
        raise RuntimeError("device-side assert")

    hook = visual.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="device-side"):
            towers.encode_images(images)
    finally:
        hook.remove()
    np.testing.assert_allclose(
        towers.encode_images(images), stock_images(long_model, images), atol=1e-5
    )


def test_an_image_of_another_size_is_refused(long_model: ClipModel) -> None:
    """It is neither stretched nor cut to fit the buffer."""
    towers = Towers(long_model, record=Recorder)
    small = np.zeros((1, 32, 3), dtype=np.uint8)
    with pytest.raises(RuntimeError):
        towers.encode_images([*random_images(long_model, 2), small])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40)), max_size=40))
def test_recordings_are_bounded(runs: list[tuple[str, int]]) -> None:
    """No more shapes are recorded than allowed; the others are computed, for no row too many."""
    done: Counter[tuple[str, int]] = Counter()
    recorder = Recorder()
    faults: list[str] = []
    recordings = Recordings(recorder, faults.append, most_shapes=3)
    shapes: list[tuple[str, int]] = []

    def compute(name: str, rows: int) -> None:
        done[name, rows] += 1

    for name, count in runs:
        recordings.run(name, count, partial(compute, name))
        if (name, padded(count)) not in shapes:
            shapes.append((name, padded(count)))
    assert recorder.recorded == min(3, len(shapes))
    expected = Counter(
        (name, padded(count) if (name, padded(count)) in shapes[:3] else count)
        for name, count in runs
    )
    assert done == expected
    assert not faults
