"""Who decodes: a GPU only where it proves right and faster; an operator is told what was found."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from moderation.errors import SetupError
from moderation.media.choosing import MAX_MEAN_DIFFERENCE, Likeness, compare, try_ahead
from moderation.media.decode import DecoderPool, open_decoder
from moderation.media.files import ImageFile
from moderation.media.gpu_decoders import batch_kind
from moderation.media.probes import draw_probes
from moderation.media.wire import MAX_BATCH_IMAGES, MAX_IMAGES
from moderation.settings import Settings
from moderation.types import Framing, Image

FRAMING = Framing(64, 64, "bicubic", "shortest", 0)
KIND = batch_kind("cpu")


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    """A pool that nothing is ahead of yet."""
    with DecoderPool(1, FRAMING, 10**7, 60, 2**30) as pool:
        yield pool


def _faster(pool: DecoderPool, files: Sequence[bytes]) -> float:
    return float(pool.at_once)


def _slower(pool: DecoderPool, files: Sequence[bytes]) -> float:
    return 1.0 / pool.at_once


def _try(
    pool: DecoderPool, measure: Callable[[DecoderPool, Sequence[bytes]], float], *, demanded: bool
) -> Mapping[str, Any]:
    with capture_logs() as logs:
        try_ahead(pool, pool.open_ahead(KIND), demanded=demanded, measure=measure)
    (line,) = logs
    assert line["event"] == "decode_device_chosen"
    return line


def _works(pool: DecoderPool) -> bool:
    answers = pool.decode_all([ImageFile.of(data) for data in draw_probes()[:6]])
    return all(isinstance(answer.outcome, Image) for answer in answers)


def test_one_that_is_right_and_faster_is_taken(pool: DecoderPool) -> None:
    """The line in the log tells what it was judged by."""
    line = _try(pool, _faster, demanded=False)
    assert line["device"] == "cuda"
    assert line["reason"] is None
    assert line["probes"] == line["read"] == len(draw_probes())
    assert 0 <= line["mean_difference"] < 0.5
    assert (line["without_per_s"], line["with_per_s"]) == (MAX_IMAGES, MAX_BATCH_IMAGES)
    assert pool.at_once == MAX_BATCH_IMAGES
    assert _works(pool)


def test_one_that_is_slower_is_taken_only_on_demand(pool: DecoderPool) -> None:
    """Where it does not help, the pool goes on as before, and the reason is logged."""
    line = _try(pool, _slower, demanded=False)
    assert (line["device"], line["reason"]) == ("cpu", "it is not faster")
    assert pool.at_once == MAX_IMAGES
    assert _works(pool)
    assert _try(pool, _slower, demanded=True)["device"] == "cuda"
    assert pool.at_once == MAX_BATCH_IMAGES


def test_a_trial_that_fails_is_no_reason_to_stop(pool: DecoderPool) -> None:
    """Whatever goes wrong is logged, and the pool goes on as before."""

    def fail(pool: DecoderPool, files: Sequence[bytes]) -> float:
        raise OSError("no descriptors are left")

    line = _try(pool, fail, demanded=False)
    assert (line["device"], line["reason"]) == ("cpu", "OSError: no descriptors are left")
    assert pool.at_once == MAX_IMAGES
    assert _works(pool)


def test_the_speed_is_measured(pool: DecoderPool) -> None:
    """Both figures are of work that was done here."""
    with capture_logs() as logs:
        try_ahead(pool, pool.open_ahead(KIND), demanded=True)
    assert logs[0]["without_per_s"] > 0
    assert logs[0]["with_per_s"] > 0


WRONG = {
    "swapped colours": "frames[:] = frames.flip(-1).clone()",
    "mirrored": "frames[:] = frames.flip(-2).clone()",
    "darker": "frames[:] = (frames.float() * 0.97).to(frames.dtype)",
    "shifted": "frames[:] = frames.roll(1, dims=2).clone()",
    "the next one's": "frames[:] = frames.roll(1, dims=0).clone()",
    "video's range": "frames[:] = (frames.float() * 219 / 255 + 16).to(frames.dtype)",
}


def _pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str) -> None:
    """Have a batch decoder that changes what it has read before it answers."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "if sys.argv[3] == 'moderation.media.child':\n"
        "    from moderation.media import child\n"
        "    child.main(sys.argv[4:])\n"
        "    os._exit(0)\n"
        "from moderation.media import batch, gpu_child\n"
        "read = batch.BatchDecoder.read\n"
        "def wrong(self, files, frames, **when):\n"
        "    problems = read(self, files, frames, **when)\n"
        f"    {change}\n"
        "    return problems\n"
        "batch.BatchDecoder.read = wrong\n"
        "gpu_child.main(sys.argv[4:])\n"
        "os._exit(0)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize("wrong", WRONG)
def test_one_that_shows_something_else_is_never_taken(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str
) -> None:
    """Not even on demand, however fast: an operator is told so."""
    _pretend(monkeypatch, tmp_path, WRONG[wrong])
    with pytest.raises(SetupError, match="differ from Pillow's"):
        _try(pool, _faster, demanded=True)
    assert pool.at_once == MAX_IMAGES
    assert _works(pool)


def test_one_that_reads_little_is_not_taken(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What hands everything on is right, and of no use."""
    few = "problems = [p if len(files) == 1 else 'no' for p in problems]"
    _pretend(monkeypatch, tmp_path, few)
    line = _try(pool, _faster, demanded=False)
    assert (line["device"], line["reason"]) == ("cpu", f"it reads 0 of {len(draw_probes())} probes")


def test_without_a_sandbox_none_is_taken(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that could reach more than a GPU is for an operator to demand."""
    _pretend(monkeypatch, tmp_path, "pass")
    program = tmp_path / "python"
    words = "gpu_child.main(sys.argv[4:])"
    code = program.read_text()
    program.write_text(
        code.replace(
            words,
            "lock = gpu_child.lock_down_for_gpu\n"
            "gpu_child.lock_down_for_gpu = lambda *a, **k: lock(*a, **k)._replace(seccomp=False)\n"
            + words,
        )
    )
    line = _try(pool, _faster, demanded=False)
    assert line["device"] == "cpu"
    assert "sandbox" in line["reason"]
    assert _try(pool, _faster, demanded=True)["device"] == "cuda"


def test_likeness_has_bounds() -> None:
    """Means and percentiles count, and how many were read."""
    assert Likeness(4, 4, 0.3, 2.0).problem is None
    assert Likeness(4, 2, 0.3, 2.0).problem is None
    assert Likeness(4, 1, 0.3, 2.0).problem == "it reads 1 of 4 probes"
    assert "differ" in str(Likeness(4, 4, MAX_MEAN_DIFFERENCE + 0.1, 2.0).problem)
    assert "differ" in str(Likeness(4, 4, 0.3, 99.0).problem)


def test_probes_are_of_every_kind() -> None:
    """They are JPEGs that Pillow reads, the same each time, and no two are equal."""
    probes = draw_probes()
    assert probes == draw_probes()
    assert len(set(probes)) == len(probes) <= MAX_BATCH_IMAGES
    assert any(b"\xff\xc2" in data for data in probes)  # progressive
    assert all(data.startswith(b"\xff\xd8") for data in probes)


Device = Literal["auto", "cpu", "cuda"]


def _setting(device: Device) -> Settings:
    return Settings(decode_processes=1, decode_device=device)


@pytest.mark.parametrize(
    ("device", "model_device"),
    [
        ("auto", None),
        ("cpu", None),
        ("cuda", None),
        ("auto", "cpu"),
        ("cpu", "cpu"),
        ("cpu", "cuda"),
    ],
)
def test_pillow_decodes_alone_where_nothing_else_is_wanted(
    device: Device, model_device: str | None
) -> None:
    """Without a model on a GPU, or against the setting, nothing is tried and nothing logged."""
    with (
        capture_logs() as logs,
        open_decoder(FRAMING, _setting(device), model_device=model_device) as pool,
    ):
        assert (pool.threads, pool.at_once) == (1, MAX_IMAGES)
    assert logs == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_auto_goes_on_and_says_why() -> None:
    """A GPU that is not there is no reason to stop."""
    with capture_logs() as logs, open_decoder(FRAMING, _setting("auto"), model_device="cuda") as p:
        assert p.at_once == MAX_IMAGES
        assert _works(p)
    assert [(line["event"], line["device"]) for line in logs] == [("decode_device_chosen", "cpu")]
    assert "torch sees no GPU" in logs[0]["reason"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_demanded_and_not_there_is_said() -> None:
    """An operator is told what is wrong, and what to do."""
    with pytest.raises(SetupError, match=r"torch sees no GPU.*Set it to auto"):
        open_decoder(FRAMING, _setting("cuda"), model_device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@pytest.mark.parametrize("side", [64, 224, 384])
def test_a_gpu_shows_what_pillow_shows(side: int) -> None:
    """Locked in, nvJPEG reads every probe, and its pictures are within the bounds."""
    framing = Framing(side, side, "bicubic", "shortest", 0)
    with DecoderPool(1, framing, 10**7, 60, 2**30) as pool:
        decoders = pool.open_ahead(batch_kind("cuda"))
        report = decoders.start()
        assert not report.missing
        likeness = compare(pool, decoders, draw_probes())
        decoders.close()
    assert likeness.problem is None
    assert likeness.read == likeness.probes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_a_gpu_decodes_turn_after_turn() -> None:
    """Files of all sizes, sound and broken ones, again and again: pictures stay the same."""
    probes = draw_probes()
    broken = probes[0][:500] + bytes(500) + probes[0][1000:]
    with DecoderPool(1, FRAMING, 10**7, 60, 2**30) as pool:
        decoders = pool.open_ahead(batch_kind("cuda"))
        decoders.start()
        pool.put_ahead(decoders)
        first: list[np.ndarray[Any, Any]] = []
        for turn in range(50):
            files = [ImageFile.of(data) for data in [*probes, broken, b"text"]]
            answers = pool.decode_all(files)
            pixels = [a.outcome.pixels for a in answers if isinstance(a.outcome, Image)]
            if turn == 0:
                first = pixels
            assert all(np.array_equal(a, b) for a, b in zip(first, pixels, strict=True))
