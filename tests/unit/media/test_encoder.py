"""The encoder of copies: the same JPEGs as ever, made in a process that can do nothing else."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from PIL import Image as Pillow

from moderation.errors import TemporaryFault
from moderation.media import encoder
from moderation.media.encoder import Encoder
from moderation.media.encoder_wire import LONGEST_SIDE_PX, PLACES
from moderation.types import Image, Pixels

NOISE = np.random.default_rng(3).integers(
    0, 256, (LONGEST_SIDE_PX, LONGEST_SIDE_PX, 3), dtype=np.uint8
)
# A real encoder process, whose encoding does something else once it is locked in.
SCRIPT = """
import os, signal, socket, struct, sys
from moderation.media import encoder_child
def attempt(pixels, height_px, width_px):
    if len(pixels) == 3:
        return b""  # the first one, before it is locked in
    try:
        ATTEMPT
    except (OSError, RuntimeError) as error:
        outcome = type(error).__name__.encode()
    else:
        outcome = b"done"
    return b"\\xff\\xd8" + outcome + b"\\xff\\xd9"
encoder_child.encode = attempt
encoder_child.main(sys.argv[1:])
os._exit(0)
"""


@pytest.fixture
def patient() -> Iterator[Encoder]:
    """An encoder that waits, since other work may load the machine."""
    made = Encoder(timeout_s=60)
    yield made
    made.close()


def _process() -> psutil.Process:
    (found,) = [p for p in psutil.Process().children() if "encoder_child" in " ".join(p.cmdline())]
    return found


def _expected(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels), "RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def test_a_jpeg_is_what_pillow_makes_of_the_pixels(patient: Encoder) -> None:
    """Byte for byte, so that equal pixels have been one blob always: also of parts of an array."""
    shapes = [NOISE, NOISE[:1, :1], NOISE[3:700:2, 9:1000:3], NOISE[:, :5, ::-1], NOISE[:77, ::-1]]
    for start in range(0, len(shapes), PLACES):
        turn = shapes[start : start + PLACES]
        made = patient.encode_all([Image(pixels) for pixels in turn])
        assert made == [_expected(pixels) for pixels in turn]


def test_the_largest_images_fit_together(patient: Encoder) -> None:
    """Noise, which makes the largest files, in every place: its memory is enough for that."""
    made = patient.encode_all([Image(NOISE)] * PLACES)
    assert made == [_expected(NOISE)] * PLACES


@pytest.mark.parametrize(
    "images",
    [
        [Image(NOISE[:2, :2])] * (PLACES + 1),
        [Image(np.zeros((LONGEST_SIDE_PX + 1, 1, 3), np.uint8))],
    ],
)
def test_what_has_no_room_is_refused(patient: Encoder, images: list[Image]) -> None:
    """Nothing is written beyond its place."""
    with pytest.raises(ValueError, match="room"):
        patient.encode_all(images)


def test_an_encoder_that_dies_is_replaced(patient: Encoder) -> None:
    """In the middle of its work, what it had is put off; between two turns nothing is lost."""
    image = Image(NOISE[:100, :100])
    patient.encode_all([image])
    patient.encode_all([image])
    first = _process()
    first.suspend()
    outcomes: list[bytes | TemporaryFault] = []
    asking = threading.Thread(target=lambda: outcomes.extend(patient.encode_all([image] * 2)))
    asking.start()
    asking.join(0.5)
    first.kill()
    asking.join(60)
    assert [type(outcome) for outcome in outcomes] == [TemporaryFault] * 2
    assert patient.encode_all([image]) == [_expected(image.pixels)]
    second = _process()
    second.kill()
    psutil.wait_procs([second], timeout=60)
    assert patient.encode_all([image]) == [_expected(image.pixels)]


def test_an_encoder_that_hangs_is_replaced() -> None:
    """After its time is up."""
    image = Image(NOISE[:100, :100])
    hasty = Encoder(timeout_s=5)
    try:
        hasty.start()
        hung = _process()
        hung.suspend()
        (outcome,) = hasty.encode_all([image])
        assert isinstance(outcome, TemporaryFault)
        assert "too long" in outcome.detail
        assert not hung.is_running()
        hasty.start()
        assert hasty.encode_all([image]) == [_expected(image.pixels)]
    finally:
        hasty.close()


def test_an_encoder_that_cannot_be_started_is_a_fault_that_may_pass(
    monkeypatch: pytest.MonkeyPatch, patient: Encoder
) -> None:
    """And nothing of the attempt is left."""
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere")
        (outcome,) = patient.encode_all([Image(NOISE[:9, :9])])
    assert isinstance(outcome, TemporaryFault)
    assert len(os.listdir("/proc/self/fd")) == before
    assert isinstance(patient.encode_all([Image(NOISE[:9, :9])])[0], bytes)


ATTEMPTS = {
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('/tmp/captionguard-encoder', 'w')",
    "open a socket": "socket.socket()",
    "fork": "os.fork() or os._exit(0)",
    "signal the parent": "os.kill(os.getppid(), 0)",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_encoder_can_do_nothing_else(
    monkeypatch: pytest.MonkeyPatch, patient: Encoder, name: str
) -> None:
    """With the first pixels it is locked in already."""
    monkeypatch.setattr(encoder, "_COMMAND", ("-c", SCRIPT.replace("ATTEMPT", ATTEMPTS[name])))
    report = patient.start()
    (outcome,) = patient.encode_all([Image(NOISE[:9, :9])])
    if not report.seccomp:
        pytest.skip("this kernel or container has no seccomp filters")
    assert outcome == b"\xff\xd8PermissionError\xff\xd9"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("raise MemoryError", "memory"),
        ("bytearray(2**30)", "memory"),
        ("return b'GIF89a'", "no JPEG"),
        ("return b'\\xff\\xd8 cut off'", "no JPEG"),
        ("os.write(0, struct.pack('>4I', *[2**32 - 1] * 4))", "does not fit"),
        ("os._exit(1)", "ended in the middle"),
    ],
)
def test_what_an_encoder_answers_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, patient: Encoder, what: str, words: str
) -> None:
    """Only what begins and ends as a JPEG is stored; its memory has a limit; the next is sound."""
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "_COMMAND", ("-c", SCRIPT.replace("ATTEMPT", what)))
        (outcome,) = patient.encode_all([Image(NOISE[:9, :9])])
    assert isinstance(outcome, TemporaryFault)
    assert words in outcome.detail
    patient.close()
    assert isinstance(patient.encode_all([Image(NOISE[:9, :9])])[0], bytes)


def test_an_encoder_gives_way_and_ends_with_its_parent_alone() -> None:
    """Verdicts go first; Ctrl-C in a terminal reaches it, and does not end it."""
    polite = Encoder(timeout_s=60, niceness=4)
    polite.start()
    process = _process()
    assert process.nice() == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 4)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    assert isinstance(polite.encode_all([Image(NOISE[:9, :9])])[0], bytes)
    polite.close()
    assert not process.is_running()


def test_an_encoder_loads_little() -> None:
    """Nothing of the net, and no numpy, whose threads would count against its memory."""
    script = "import sys, moderation.media.encoder_child; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", script],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )
    unwanted = {"numpy", "torch", "socket", "httpx", "PIL.EpsImagePlugin", "PIL.ImageShow"}
    assert unwanted.isdisjoint(ended.stdout.split())
