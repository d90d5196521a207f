"""The pool of decoders: each gets its own picture back, and no image hurts its neighbours."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moderation.errors import SetupError, TemporaryFault, Unscorable
from moderation.media import decode, process
from moderation.media.decode import DecoderPool, sandbox_report
from moderation.media.files import ImageFile
from moderation.media.process import PILLOW
from moderation.media.wire import ANSWER, MAX_IMAGES
from moderation.types import Framing, Reason
from tests.unit.media.files import encode, png, solid

FRAMING = Framing(8, 8, "bicubic", "squash", 0)
RED = encode(solid("red"), "PNG")
GIB = 2**30


def _pool(
    processes: int = 1,
    timeout_s: float = 60,
    memory_bytes: int = GIB,
    on_restart: Callable[[], object] = lambda: None,
) -> DecoderPool:
    return DecoderPool(processes, FRAMING, 10**8, timeout_s, memory_bytes, on_restart)


def _children(parent: int | None = None) -> set[int]:
    """Return the live child processes of a process."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent_id = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended while we looked
        if int(parent_id) == (parent or os.getpid()) and state != "Z":
            found.add(int(stat.parent.name))
    return found


def _started(pool: DecoderPool) -> set[int]:
    """Start a pool and return the processes that this added."""
    before = _children()
    pool.start()
    return _children() - before


def _until(condition: Callable[[], bool]) -> None:
    """Wait for what must become true, for as long as a busy machine may take."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_threads_get_their_own_pictures_back() -> None:
    """Eight threads on three decoders: nobody is given another's picture."""
    colours = [(i * 3 % 256, i * 7 % 256, i * 11 % 256) for i in range(160)]
    with _pool(processes=3) as pool, ThreadPoolExecutor(8) as threads:
        images = list(threads.map(lambda c: pool.decode(encode(solid(c), "PNG")), colours))
    assert [tuple(image.pixels[4, 4]) for image in images] == colours


def test_processes_start_when_needed_and_end_on_closing() -> None:
    """A pool that nobody asks has no processes, and a closed one leaves none."""
    before = _children()
    pool = _pool(processes=2)
    assert _children() == before
    pool.decode(RED)
    assert len(_children() - before) == 1
    pool.start()
    assert len(_children() - before) == 2
    pool.close()
    pool.close()
    assert _children() == before
    with pytest.raises(RuntimeError, match="closed"):
        pool.decode(RED)


def test_a_decoder_killed_in_the_middle_costs_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image at work becomes unscorable, and the next one is decoded by a new process."""
    restarts: list[int] = []
    with _pool(on_restart=lambda: restarts.append(1)) as pool:
        (child,) = _started(pool)
        os.kill(child, signal.SIGSTOP)  # so that it cannot answer before it is killed
        send = process.DecoderProcess._send

        def send_and_kill(self: process.DecoderProcess, files: Sequence[ImageFile]) -> None:
            send(self, files)
            os.kill(child, signal.SIGKILL)

        with monkeypatch.context() as patch:
            patch.setattr(process.DecoderProcess, "_send", send_and_kill)
            with pytest.raises(Unscorable, match="ended in the middle") as caught:
                pool.decode(RED)
        assert caught.value.reason is Reason.IMAGE_DECODER_FAILED
        assert pool.decode(RED).pixels[0, 0].tolist() == [255, 0, 0]
    assert restarts == [1]


def test_a_decoder_that_ended_while_idle_costs_nothing() -> None:
    """A process that the system has ended in between is replaced without blaming an image."""
    restarts: list[int] = []
    with _pool(on_restart=lambda: restarts.append(1)) as pool:
        (child,) = _started(pool)
        os.kill(child, signal.SIGKILL)
        _until(lambda: child not in _children())
        assert pool.decode(RED).pixels[0, 0].tolist() == [255, 0, 0]
    assert restarts == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_to_all_does_not_end_decoders(number: signal.Signals) -> None:
    """Ctrl-C and service managers signal children too; images at work must still finish."""
    restarts: list[int] = []
    with _pool(on_restart=lambda: restarts.append(1)) as pool:
        (child,) = _started(pool)
        os.kill(child, number)
        assert pool.decode(RED).pixels[0, 0].tolist() == [255, 0, 0]
        assert child in _children()
    assert restarts == []


def test_a_decoder_that_takes_too_long_is_ended() -> None:
    """Out of time, an image is unscorable, its process is gone, and the next image is fine."""
    with _pool(timeout_s=2) as pool:
        (child,) = _started(pool)
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(Unscorable, match="longer than 2 s") as caught:
            pool.decode(RED)
        assert caught.value.reason is Reason.IMAGE_DECODER_FAILED
        assert child not in _children()
        assert pool.decode(RED).pixels[0, 0].tolist() == [255, 0, 0]


def test_memory_is_limited() -> None:
    """An image that needs more memory than a decoder may have fails alone."""
    with _pool(memory_bytes=2**28) as pool:
        with pytest.raises(Unscorable) as caught:
            pool.decode(png(9_000, 9_000, (b"IDAT", b"x")))
        assert caught.value.reason is Reason.IMAGE_DECODER_FAILED
        assert pool.decode(RED).pixels[0, 0].tolist() == [255, 0, 0]


def test_a_decoder_retires_after_some_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process lives for ever, so one that is taken over unnoticed does harm for a while."""
    monkeypatch.setattr(decode, "PILLOW", replace(PILLOW, images=3))
    restarts: list[int] = []
    with _pool(on_restart=lambda: restarts.append(1)) as pool:
        first = _started(pool)
        for _ in range(4):
            pool.decode(RED)
        assert first.isdisjoint(_children())
    assert restarts == []


def test_a_file_of_other_content_is_corrupt(pool: DecoderPool) -> None:
    """A blob that no longer has its key's hash is never scored, and one that has it is."""
    expected = hashlib.sha256(RED).hexdigest()
    assert pool.decode(RED, sha256=expected).pixels.size
    with pytest.raises(Unscorable) as caught:
        pool.decode(RED + b" ", sha256=expected)
    assert caught.value.reason is Reason.IMAGE_CORRUPT
    assert "what was stored" in caught.value.detail


def test_an_empty_file_is_corrupt(pool: DecoderPool) -> None:
    """No bytes are no image."""
    with pytest.raises(Unscorable) as caught:
        pool.decode(b"")
    assert caught.value.reason is Reason.IMAGE_CORRUPT


def test_closing_lets_the_image_at_work_finish() -> None:
    """Whoever has asked before the pool closes gets a picture or is told that it closed."""
    pool = _pool()
    outcomes: list[object] = []

    def ask() -> None:
        try:
            outcomes.append(pool.decode(RED).pixels.shape)
        except RuntimeError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    pool.close()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 8
    assert set(outcomes) <= {(8, 8, 3), "the DecoderPool is closed"}


def test_decoders_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """A parent that is killed, as the kernel out of memory does it, leaves no process behind."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from moderation.media.decode import DecoderPool\n"
        "from moderation.types import Framing\n"
        "pool = DecoderPool(2, Framing(8, 8, 'bicubic', 'squash', 0), 10, 60, 2**30)\n"
        "pool.start()\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        children = _children(parent.pid)
        parent.kill()
    assert len(children) == 2
    _until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_decoders_do_not_know_the_parents_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment, which holds credentials, is not handed on."""
    monkeypatch.setenv("CAPTIONGUARD_DATABASE_URL", "postgresql://user:secret@host/name")
    with _pool() as pool:
        (child,) = _started(pool)
        try:
            environment = Path(f"/proc/{child}/environ").read_bytes()
        except PermissionError:
            pytest.skip("only root may look into a locked process")
    assert b"secret" not in environment


def test_the_report_tells_what_protects() -> None:
    """The limits hold on every Linux; what else is missing is named."""
    report = sandbox_report()
    assert report.limits
    assert report.no_new_privileges
    assert set(report.missing) <= {"unprivileged_user", "landlock", "seccomp"}


def test_an_unknown_framing_is_refused_at_once() -> None:
    """A framing that no decoder knows is a mistake of the program and is named."""
    with pytest.raises(ValueError, match="resize mode"):
        DecoderPool(1, Framing(8, 8, "bicubic", "stretch", 0), 10, 1, GIB)
    with pytest.raises(ValueError, match="interpolation"):
        DecoderPool(1, Framing(8, 8, "nearest", "squash", 0), 10, 1, GIB)


PIXELS_BYTES = MAX_IMAGES * 8 * 8 * 3
DECODED = "answer(turn=1, status=0)"


def _pretend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: str, then: str = "pass"
) -> None:
    """Put a program in the decoder's place that greets well and then answers as told."""
    impostor = tmp_path / "python"
    impostor.write_text(
        f"#!{sys.executable}\n"
        "import json, os, struct, time\n"
        "def answer(turn, status, count=0, detail=b'', place=0, size=(8, 8)):\n"
        f"    fields = struct.pack({ANSWER.format!r}, turn, status, 0, *size, 0, count, detail)\n"
        f"    os.pwrite(1, fields, {PIXELS_BYTES} + place * {ANSWER.size})\n"
        "names = 'limits no_new_privileges unprivileged_user landlock seccomp'.split()\n"
        "hello = json.dumps(dict.fromkeys(names, True)).encode()\n"
        "os.write(0, struct.pack('>I', len(hello)) + hello)\n"
        "os.read(0, 10**6)\n"
        f"{answers}\n"
        "os.write(0, b'x')\n"
        f"{then}\n"
        "time.sleep(300)\n"
    )
    impostor.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(impostor))


@pytest.mark.parametrize(
    "answers",
    [
        "pass",
        "answer(turn=0, status=0)",
        "answer(turn=1, status=0, count=1)",
        "answer(turn=1, status=0, count=2**16 - 1)",
        "answer(turn=1, status=3, count=301)",
        "answer(turn=1, status=9)",
        "answer(turn=1, status=0, size=(0, 8))",
        "answer(turn=1, status=0, size=(8, 4))",
        "answer(turn=1, status=0, size=(4, 16))",
    ],
)
def test_a_lying_decoder_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: str
) -> None:
    """Answers that cannot be are noticed before anything is done with them."""
    _pretend(monkeypatch, tmp_path, answers)
    with _pool() as pool, pytest.raises(Unscorable, match="protocol") as caught:
        pool.decode(RED)
    assert caught.value.reason is Reason.IMAGE_DECODER_FAILED


@pytest.mark.parametrize("size", [0, 1, 10**6])
def test_a_decoder_cannot_take_shared_memory_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """Whoever reads memory that a file no longer has is killed; so the file keeps its size."""
    cut = f"try: os.ftruncate(1, {size})\nexcept OSError: {DECODED}"
    _pretend(monkeypatch, tmp_path, cut)
    with _pool() as pool:
        (child,) = _started(pool)
        image = pool.decode(RED)
        size_after = Path(f"/proc/{child}/fd/1").stat().st_size
    assert image.pixels.shape == (8, 8, 3)
    assert size_after == PIXELS_BYTES + MAX_IMAGES * ANSWER.size


def test_a_decoder_cannot_change_files_that_the_next_one_gets() -> None:
    """The bytes of an image are sealed, so that one decoder's end harms no neighbour."""
    file = ImageFile.of(RED)
    with pytest.raises(PermissionError):
        os.pwrite(file.descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(file.descriptor, 0)
    file.close()


def test_a_decoder_cannot_write_into_pixels_that_were_handed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a caller has got is out of the decoder's reach."""
    later = "time.sleep(0.2); os.pwrite(1, b'x' * 192, 0)"
    _pretend(monkeypatch, tmp_path, DECODED, later)
    with _pool() as pool:
        (child,) = _started(pool)
        pixels = pool.decode(RED).pixels
        shared = Path(f"/proc/{child}/fd/1")
        _until(lambda: shared.read_bytes()[:192] == b"x" * 192)
    assert not pixels.any()


def test_a_decoder_cannot_write_control_characters_into_our_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a detail only printable characters are handed on."""
    detail = r"b'a\n\x1b\xffbc'"
    _pretend(monkeypatch, tmp_path, f"answer(turn=1, status=3, count=6, detail={detail})")
    with _pool() as pool, pytest.raises(Unscorable) as caught:
        pool.decode(RED)
    assert caught.value.detail.isprintable()


def test_a_decoder_that_does_not_start_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An operator is told when decoders cannot start, and no image is blamed for it."""
    for executable in ("/bin/false", str(tmp_path / "missing")):
        monkeypatch.setattr(sys, "executable", executable)
        with _pool() as pool:
            with pytest.raises(SetupError):
                pool.start()
            with pytest.raises(TemporaryFault) as caught:
                pool.decode(RED)
            assert caught.value.reason is Reason.IMAGE_DECODER_FAILED


def test_pixels_are_the_callers_own(pool: DecoderPool) -> None:
    """A later image does not change the pixels of an earlier one."""
    first = pool.decode(RED).pixels
    kept = first.copy()
    pool.decode(encode(solid("blue"), "PNG"))
    assert np.array_equal(first, kept)
    assert first.flags.owndata
    assert first.flags.writeable
