"""GPU decoders ahead of a pool: what they do not answer, whatever they do, others decode."""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from moderation.errors import SetupError, Unscorable
from moderation.media.decode import DecoderPool
from moderation.media.files import ImageFile
from moderation.media.gpu_decoders import GpuDecoders, batch_kind
from moderation.media.process import ChildFailedError, DecoderProcess
from moderation.media.wire import ANSWER, MAX_BATCH_IMAGES, MAX_IMAGES
from moderation.types import Framing, Image, Reason
from tests.unit.media.files import SUPPORTED, encode, noise, png

FRAMING = Framing(24, 24, "bicubic", "shortest", 0)
# The same process and the same arithmetic, without a GPU.
KIND = batch_kind("cpu")
PATIENCE_S = 120
JPEGS = [encode(noise(40 + n, 70 - n, n), "JPEG", quality=90) for n in range(20)]
OTHERS = [encode(noise(40, 30, seed), kind) for seed, kind in enumerate(SUPPORTED)]
BAD = [b"", b"text", png(9, 9, (b"IDAT", b"no deflate")), JPEGS[0][:200]]


def _pool(restarts: list[int] | None = None, timeout_s: float = 60) -> DecoderPool:
    count = [] if restarts is None else restarts
    return DecoderPool(1, FRAMING, 10**6, timeout_s, 2**30, on_restart=lambda: count.append(1))


def _files(data: list[bytes]) -> list[ImageFile]:
    return [ImageFile.of(each) for each in data]


def _decode(decoders: GpuDecoders, data: list[bytes]) -> list[bool] | None:
    """Whether each was answered, if a process was free."""
    files = _files(data)
    try:
        found = decoders.decode(files)
    finally:
        for file in files:
            file.close()
    return None if found is None else [answer is not None for answer in found]


def _until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture(scope="module")
def plain() -> Iterator[DecoderPool]:
    """A pool without anything ahead of it."""
    with _pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def ahead() -> Iterator[tuple[DecoderPool, GpuDecoders]]:
    """A pool with a batch decoder ahead of it."""
    with _pool() as pool:
        decoders = pool.open_ahead(KIND)
        decoders.start()
        pool.put_ahead(decoders)
        yield pool, decoders


def _check_equal(pool: DecoderPool, plain: DecoderPool, data: list[bytes]) -> None:
    """Each outcome is nearly that of Pillow: pixels within a little, reasons exactly."""
    answers = pool.decode_all(_files(data))
    for answer, expected in zip(answers, plain.decode_all(_files(data)), strict=True):
        if isinstance(expected.outcome, Image):
            assert isinstance(answer.outcome, Image)
            assert answer.outcome.notes == expected.outcome.notes
            assert answer.outcome.pixels.flags.owndata
            difference = np.abs(answer.outcome.pixels.astype(int) - expected.outcome.pixels)
            assert difference.mean() < 1
        else:
            assert isinstance(expected.outcome, Unscorable)
            assert isinstance(answer.outcome, Unscorable)
            assert answer.outcome.reason is expected.outcome.reason
            assert answer.outcome.detail == expected.outcome.detail


def test_jpegs_are_decoded_and_the_rest_is_handed_on(
    ahead: tuple[DecoderPool, GpuDecoders],
) -> None:
    """A batch decoder answers for sound JPEGs, and for nothing else."""
    data = [*JPEGS[:3], *OTHERS, *BAD, JPEGS[3]]
    expected = [True] * 3 + [kind == "JPEG" for kind in SUPPORTED] + [False] * 4 + [True]
    assert _decode(ahead[1], data) == expected


@pytest.mark.parametrize("count", [1, 3, 4, 20, MAX_BATCH_IMAGES, MAX_BATCH_IMAGES + 30])
def test_all_files_are_answered_in_order(
    ahead: tuple[DecoderPool, GpuDecoders], plain: DecoderPool, count: int
) -> None:
    """However many there are, each has its own picture, or its own reason."""
    data = ([*JPEGS, *OTHERS, *BAD] * 4)[:count]
    _check_equal(ahead[0], plain, data)


def test_no_files_have_no_answers(ahead: tuple[DecoderPool, GpuDecoders]) -> None:
    """Nothing asked, nothing answered."""
    assert ahead[0].decode_all([]) == []


def test_a_file_of_other_content_is_corrupt(ahead: tuple[DecoderPool, GpuDecoders]) -> None:
    """What is not what was stored is never decoded, by nobody."""
    hashes = [hashlib.sha256(data).digest() for data in JPEGS[:5]]
    hashes[2] = hashes[3]
    files = [ImageFile.of(d, sha256=h) for d, h in zip(JPEGS[:5], hashes, strict=True)]
    outcomes = [answer.outcome for answer in ahead[0].decode_all(files)]
    assert [isinstance(outcome, Image) for outcome in outcomes] == [True, True, False, True, True]
    assert isinstance(outcomes[2], Unscorable)
    assert outcomes[2].reason is Reason.IMAGE_CORRUPT


def test_it_is_locked_in(ahead: tuple[DecoderPool, GpuDecoders]) -> None:
    """What a Pillow decoder's report lacks here, a batch decoder's lacks, and no more."""
    report = ahead[0].start()
    with _pool() as pool:
        decoders = pool.open_ahead(KIND)
        assert decoders.start() == report
        decoders.close()


def test_a_pool_says_how_it_is_used_best() -> None:
    """More threads and larger calls with a batch decoder ahead; as before when it is taken away."""
    with _pool() as pool:
        assert (pool.threads, pool.at_once) == (1, MAX_IMAGES)
        decoders = pool.open_ahead(KIND)
        pool.put_ahead(decoders)
        assert (pool.threads, pool.at_once) == (2, MAX_BATCH_IMAGES)
        pool.take_away()
        assert (pool.threads, pool.at_once) == (1, MAX_IMAGES)


def test_no_file_stays_open(ahead: tuple[DecoderPool, GpuDecoders]) -> None:
    """After many turns as few files are open as before, in both processes."""
    ahead[0].decode_all(_files(JPEGS))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(12):
        answers = ahead[0].decode_all(_files([*JPEGS, *OTHERS, *BAD] * 3))
        assert len(answers) == 3 * (len(JPEGS) + len(OTHERS) + len(BAD))
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_does_not_know_our_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the environment a batch decoder gets which GPU is ours, and no credentials."""
    monkeypatch.setenv("CAPTIONGUARD_DATABASE_URL", "postgresql://user:secret@host/name")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert "secret" not in str(KIND.environment())
    assert KIND.environment()["CUDA_VISIBLE_DEVICES"] == "3"


# Runs in a real decoder, locked in, in the place of what reads pictures: files end as they say.
HOSTILE = """
import ctypes, os, signal, sys, time
if sys.argv[3] == "moderation.media.child":
    from moderation.media import child
    child.main(sys.argv[4:])
    os._exit(0)
from moderation.media import batch, gpu_child
read = batch.BatchDecoder.read
def dead(files, device):
    raise RuntimeError("CUDA error")
def slow(files, device):
    time.sleep(0.5)
    return batch.decode_together(files, device)
def hostile(self, files, frames, **options):
    if any(data.endswith(b"crash") for data in files):
        ctypes.string_at(0)
    if any(data.endswith(b"hang") for data in files):
        while True:
            pass
    if any(data.endswith(b"lie") for data in files):
        os.write(0, b"x")
        os._exit(0)
    if any(data.endswith(b"broken") for data in files):
        self._decode = dead
        self.failures += 1
        return ["it cannot be read"] * len(files)
    if any(data.endswith(b"slow") for data in files):
        self._decode = slow
        batch.MAX_PIXELS_AT_ONCE = 1
    if any(data.endswith(b"swap") for data in files):
        problems = read(self, files, frames, **options)
        frames[:] = frames.flip(-1).clone()
        return problems
    return read(self, files, frames, **options)
batch.BatchDecoder.read = hostile
gpu_child.main(sys.argv[4:])
os._exit(0)
"""


@pytest.fixture
def hostile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[DecoderPool, GpuDecoders, list[int]]]:
    """A batch decoder that some files take over, ahead of a pool, and how often it was replaced."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{HOSTILE}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    restarts: list[int] = []
    with _pool(restarts, timeout_s=4) as pool:
        decoders = pool.open_ahead(KIND)
        decoders.start()
        pool.put_ahead(decoders)
        yield pool, decoders, restarts


@pytest.mark.parametrize("attack", [b"crash", b"hang", b"lie", b"broken"])
def test_what_a_failed_decoder_owes_others_decode(
    hostile: tuple[DecoderPool, GpuDecoders, list[int]], plain: DecoderPool, attack: bytes
) -> None:
    """No post is lost to a crash, a time-out, a lie or a dead GPU; another process follows."""
    pool, decoders, restarts = hostile
    data = [*JPEGS[:6], JPEGS[6] + attack, *JPEGS[7:12]]
    _check_equal(pool, plain, data)
    assert restarts == [1]
    # Meanwhile others do its work; then it does it again.
    _check_equal(pool, plain, JPEGS)
    _until(lambda: _decode(decoders, JPEGS[:5]) == [True] * 5)
    assert restarts == [1]


def test_more_than_there_is_time_for_is_handed_on(
    hostile: tuple[DecoderPool, GpuDecoders, list[int]], plain: DecoderPool
) -> None:
    """A turn of large pictures is not a failure: others decode what is left of it."""
    pool, decoders, restarts = hostile
    data = [*JPEGS[:11], JPEGS[11] + b"slow"]
    answered = _decode(decoders, data)
    assert answered is not None
    assert set(answered) == {True, False}
    _check_equal(pool, plain, data)
    assert restarts == []


def test_closing_waits_for_a_start_under_way(
    hostile: tuple[DecoderPool, GpuDecoders, list[int]],
) -> None:
    """A pool that is closed while a decoder is replaced leaves no process behind."""
    pool, decoders, _ = hostile
    pool.decode_all(_files([JPEGS[0] + b"crash"] * 4))
    pool.close()
    assert _decode(decoders, JPEGS[:4]) is None
    with pytest.raises(RuntimeError, match="closed"):
        pool.decode_all(_files(JPEGS[:4]))


def test_after_failures_in_a_row_it_is_given_up(plain: DecoderPool) -> None:
    """A decoder that cannot be started again is not started for ever; that is logged, once."""
    starts: list[int] = []

    def start_one() -> DecoderProcess:
        starts.append(1)
        if len(starts) > 1:
            raise SetupError("there is no GPU any more")
        return DecoderProcess(FRAMING, 10**6, 60, 2**30, KIND)

    with _pool() as pool, capture_logs() as logs:
        decoders = GpuDecoders(start_one)
        decoders.start()
        pool.put_ahead(decoders)
        _kill(decoders)
        _check_equal(pool, plain, JPEGS)
        _until(lambda: any(line["event"] == "gpu_decoder_given_up" for line in logs))
        _check_equal(pool, plain, JPEGS)
    assert len(starts) == 3
    assert [line["event"] for line in logs].count("gpu_decoder_given_up") == 1


def _kill(decoders: GpuDecoders) -> None:
    """End the process that waits for work, as the kernel out of memory would."""
    child = decoders._free.get()
    child.kill()
    decoders._free.put(child)


def test_a_decoder_retires_after_many_images(plain: DecoderPool) -> None:
    """No process lives for ever; another one takes its place in the background."""
    starts: list[DecoderProcess] = []
    kind = batch_kind("cpu")

    def start_one() -> DecoderProcess:
        starts.append(DecoderProcess(FRAMING, 10**6, 60, 2**30, kind))
        starts[-1]._images_left = 10
        return starts[-1]

    with _pool() as pool:
        decoders = GpuDecoders(start_one)
        decoders.start()
        pool.put_ahead(decoders)
        _check_equal(pool, plain, JPEGS)
        _until(lambda: len(starts) == 2)
        assert not starts[0].is_alive()
        _until(lambda: _decode(decoders, JPEGS[:5]) is not None)


def test_one_that_does_not_start_says_why() -> None:
    """What the process found missing comes back in words, and nothing of it keeps running."""
    with _pool() as pool, pytest.raises(SetupError, match="device"):
        pool.open_ahead(batch_kind("no such device")).start()


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 9])
def test_a_batch_decoder_judges_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    """It decodes or hands on: a word of its own on a file is not believed."""
    _check_disbelieved(monkeypatch, tmp_path, status, is_batch=True)


def test_a_pillow_decoder_hands_nothing_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Behind it there is nobody: what it does not answer has failed."""
    _check_disbelieved(monkeypatch, tmp_path, 6, is_batch=False)


def _check_disbelieved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, *, is_batch: bool
) -> None:
    places = MAX_BATCH_IMAGES if is_batch else MAX_IMAGES
    impostor = tmp_path / "python"
    impostor.write_text(
        f"#!{sys.executable}\n"
        "import json, os, struct, time\n"
        "names = 'limits no_new_privileges unprivileged_user landlock seccomp'.split()\n"
        "hello = json.dumps(dict.fromkeys(names, True)).encode()\n"
        "os.write(0, struct.pack('>I', len(hello)) + hello)\n"
        "os.read(0, 10**6)\n"
        f"answer = struct.pack({ANSWER.format!r}, 1, {status}, 0, 24, 24, 0, 0, b'')\n"
        f"os.pwrite(1, answer, {places * 24 * 24 * 3})\n"
        "os.write(0, b'x')\n"
        "time.sleep(300)\n"
    )
    impostor.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(impostor))
    arguments = (FRAMING, 10**6, 60, 2**30)
    child = DecoderProcess(*arguments, KIND) if is_batch else DecoderProcess(*arguments)
    file = ImageFile.of(JPEGS[0])
    with pytest.raises(ChildFailedError, match="protocol"):
        child.decode([file])
    assert not child.is_alive()
    file.close()
