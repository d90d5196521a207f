"""A GPU computes the cosines of the CPU, also where lanes take turns on it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.scoring.engine import Engine
from moderation.scoring.model import ClipModel, load_model
from moderation.scoring.precision import MAX_DRIFT, Choice, choose_precision
from moderation.scoring.proof import try_replaying
from moderation.scoring.replay import CudaGraphs, Record, Run
from moderation.scoring.towers import Towers
from moderation.types import Image
from tests.unit.scoring.stock import (
    make_model,
    random_images,
    stock_captions,
    stock_images,
    tokens_of,
)
from tests.unit.threads import PATIENCE_S, all_at_once

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")

DEVICE = "cuda"
# TF32 and other orders of summing; a cosine is told to three digits.
TOLERANCES = {"fp32": 1e-3, "bf16": MAX_DRIFT}
CAPTIONS = [
    "a dog",
    "two red houses",
    "犬",
    "",
    "a caption of many more words than there are places",
]
IMAGES = 24


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    """A model with a context of several lengths."""
    return make_model(tmp_path_factory.mktemp("cuda"), is_wide=True, text={"context_length": 40})


@pytest.fixture(scope="module")
def on_gpu(on_cpu: ClipModel) -> ClipModel:
    """The same on the GPU."""
    return load_model(on_cpu.spec, device=DEVICE)


@pytest.fixture(scope="module", params=TOLERANCES)
def choice(request: pytest.FixtureRequest, on_gpu: ClipModel) -> Choice:
    """Towers in each precision."""
    return choose_precision(on_gpu, request.param)


def _captions(lengths: Sequence[int]) -> list[str]:
    return [" ".join(["red", "dog", "house"][n % 3] for n in range(length)) for length in lengths]


def test_the_gpu_computes(choice: Choice) -> None:
    """The weights are on the GPU, else the tests here would show nothing."""
    first = next(choice.towers.model.clip.parameters())
    assert first.device.type == DEVICE
    assert first.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[choice.precision]


@settings(max_examples=25)
@given(
    n_images=st.integers(1, 40),
    lengths=st.lists(st.integers(0, 45), min_size=1, max_size=40),
    seed=st.integers(0, 1000),
)
def test_cosines_are_the_cpus(
    on_cpu: ClipModel, choice: Choice, n_images: int, lengths: list[int], seed: int
) -> None:
    """For any batch of images and captions, stock open_clip on the CPU has the same cosines."""
    images = random_images(on_cpu, n_images, seed=seed)
    captions = _captions(lengths)
    texts = choice.towers.encode_captions(list(tokens_of(on_cpu, captions)))
    cosines = choice.towers.encode_images(images) @ texts.T
    expected = stock_images(on_cpu, images) @ stock_captions(on_cpu, captions).T
    np.testing.assert_allclose(cosines, expected, atol=TOLERANCES[choice.precision])


@settings(max_examples=10)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, IMAGES - 1), st.integers(0, len(CAPTIONS) - 1)),
        min_size=1,
        max_size=60,
    ),
    lanes=st.integers(1, 4),
    max_batch_items=st.integers(1, 30),
    precision=st.sampled_from(["fp32", "bf16"]),
)
def test_engines_cosines_are_the_cpus(
    on_cpu: ClipModel,
    on_gpu: ClipModel,
    pairs: list[tuple[int, int]],
    lanes: int,
    max_batch_items: int,
    precision: str,
) -> None:
    """With several lanes, each pair gets its own cosine, whatever is computed beside it."""
    images = random_images(on_cpu, IMAGES)
    stock = stock_images(on_cpu, images) @ stock_captions(on_cpu, CAPTIONS).T
    engine = Engine(
        on_gpu,
        max_batch_items=max_batch_items,
        lanes=lanes,
        precision="bf16" if precision == "bf16" else "fp32",
    )
    try:
        staged = [engine.score(str(i), partial(Image, images[i]), CAPTIONS[j]) for i, j in pairs]
        cosines = [future.result(PATIENCE_S).cosine for future in staged]
    finally:
        engine.close()
    expected = [float(stock[i, j]) for i, j in pairs]
    assert cosines == pytest.approx(expected, abs=TOLERANCES[precision])


RECORDS: dict[str, Callable[[], Record] | None] = {"computed": None, "replayed": CudaGraphs}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_lanes_do_not_mix_up_images(on_gpu: ClipModel, record: Callable[[], Record] | None) -> None:
    """Pinned copies of several lanes at once, each reused by the next, bring each its own."""
    towers = Towers(on_gpu, record=record)
    batches = [random_images(on_gpu, 32, seed=number) for number in range(4)]
    alone = [towers.encode_images(batch) for batch in batches]
    spread = min(float(np.abs(alone[0] - other)[2:].max()) for other in alone[1:])
    assert spread > 1e-2, "batches differ, else the test would show nothing"

    def encode(number: int) -> float:
        return max(
            float(np.abs(towers.encode_images(batches[number]) - alone[number]).max())
            for _ in range(200)
        )

    assert max(all_at_once([partial(encode, number) for number in range(4)])) < 1e-3


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_lanes_do_not_mix_up_captions(
    on_gpu: ClipModel, record: Callable[[], Record] | None
) -> None:
    """Captions of several lanes at once, each lane with other lengths, get their own vectors."""
    towers = Towers(on_gpu, record=record)
    batches = [list(tokens_of(on_gpu, _captions([words] * 20))) for words in (2, 12, 20, 40)]
    alone = [towers.encode_captions(batch) for batch in batches]

    def encode(number: int) -> float:
        return max(
            float(np.abs(towers.encode_captions(batches[number]) - alone[number]).max())
            for _ in range(100)
        )

    assert max(all_at_once([partial(encode, number) for number in range(4)])) < 1e-3


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipModel, Towers]:
    """A model of wide images and its towers on the GPU."""
    folder: Path = tmp_path_factory.mktemp("wide")
    model = make_model(folder, is_wide=True, vision={"image_size": [32, 64]})
    return model, Towers(load_model(model.spec, device=DEVICE))


def test_wide_images_are_the_cpus(wide: tuple[ClipModel, Towers]) -> None:
    """Height and width are not mixed up on the way to the GPU."""
    model, towers = wide
    images = random_images(model, 9)
    np.testing.assert_allclose(
        towers.encode_images(images), stock_images(model, images), atol=TOLERANCES["fp32"]
    )


@settings(max_examples=25)
@given(
    n_images=st.integers(1, 40),
    lengths=st.lists(st.integers(0, 45), min_size=1, max_size=40),
    seed=st.integers(0, 1000),
)
def test_replayed_cosines_are_the_cpus(
    on_cpu: ClipModel, replaying: Towers, n_images: int, lengths: list[int], seed: int
) -> None:
    """Filled up and replayed, any batch after any other has stock open_clip's cosines."""
    images = random_images(on_cpu, n_images, seed=seed)
    captions = _captions(lengths)
    texts = replaying.encode_captions(list(tokens_of(on_cpu, captions)))
    cosines = replaying.encode_images(images) @ texts.T
    expected = stock_images(on_cpu, images) @ stock_captions(on_cpu, captions).T
    np.testing.assert_allclose(cosines, expected, atol=TOLERANCES["bf16"])
    assert not replaying.faults


@pytest.fixture(scope="module")
def replaying(on_gpu: ClipModel) -> Towers:
    """Towers whose passes are recorded and replayed, whether that pays here or not."""
    return choose_precision(on_gpu, "bf16").towers.replaying(CudaGraphs)


def test_replaying_is_tried_when_a_model_is_loaded(choice: Choice) -> None:
    """Graphs compute what kernels one by one compute, and the choice says what was measured."""
    assert choice.replaying is not None
    assert choice.replaying.difference is not None, choice.replaying.why_not
    assert choice.replaying.why_not != "vectors differ"
    assert choice.replaying.replayed_cpu_s is not None
    assert choice.replaying.replayed_cpu_s > 0


def test_a_model_that_waits_for_the_gpu_is_computed(on_gpu: ClipModel) -> None:
    """Where a pass cannot be captured nothing is lost but speed, also for what comes after."""
    towers = Towers(on_gpu)
    images = random_images(on_gpu, 9)
    expected = towers.encode_images(images)

    def wait(module: object, arguments: tuple[torch.Tensor, ...]) -> None:
        float(arguments[0].sum())

    hook = on_gpu.clip.visual.register_forward_pre_hook(wait)
    try:
        found, replaying = try_replaying(towers, "fp32")
        assert found is towers
        assert not replaying.is_used
        assert replaying.why_not
        np.testing.assert_allclose(towers.encode_images(images), expected, atol=1e-3)
    finally:
        hook.remove()
    again = towers.replaying(CudaGraphs)
    np.testing.assert_allclose(again.encode_images(images), expected, atol=1e-3)
    assert not again.faults, "a capture that broke off is no obstacle to the next one"


def test_a_lane_records_while_others_compute(on_gpu: ClipModel) -> None:
    """Recording new shapes on some lanes disturbs neither them nor what others replay."""
    towers = Towers(on_gpu, record=CudaGraphs)
    batches = [random_images(on_gpu, count, seed=count) for count in (1, 5, 13, 20, 30, 40, 60, 90)]
    computing = Towers(on_gpu)
    alone = [computing.encode_images(batch) for batch in batches]

    def encode(number: int) -> float:
        order = [(number + step) % len(batches) for step in range(3 * len(batches))]
        return max(float(np.abs(towers.encode_images(batches[n]) - alone[n]).max()) for n in order)

    assert max(all_at_once([partial(encode, number) for number in range(4)])) < 1e-3
    assert not towers.faults


def test_recording_leaves_no_result(on_gpu: ClipModel) -> None:
    """A graph does on each replay what was recorded, with what its input holds then."""
    stream = torch.cuda.Stream(on_gpu.device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        given = torch.zeros(4, device=DEVICE)
        found = torch.zeros(4, device=DEVICE)

        def double() -> None:
            found.copy_(given * 2)

        replay: Run = CudaGraphs()(double)
        for value in (1.0, 2.0):
            given.fill_(value)
            replay()
            assert found.tolist() == [2 * value] * 4
