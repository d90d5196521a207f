"""Many images at one wake-up of a decoder: each is as if decoded alone, whatever its neighbours."""

import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.decode import DecoderPool
from moderation.media.files import ImageFile
from moderation.media.wire import MAX_IMAGES
from moderation.types import Framing, Image, Reason
from tests.unit.media.files import SUPPORTED, animation, encode, noise, png, solid

FRAMING = Framing(8, 8, "bicubic", "squash", 0)
COLOURS = [(i * 5 % 256, i * 7 % 256, i * 11 % 256) for i in range(40)]
FILES = [encode(solid(colour), "PNG") for colour in COLOURS]
GARBAGE = png(9, 9, (b"IDAT", b"no deflate"))
BOMB = png(30_000, 30_000, (b"IDAT", b"x"))
PLAIN = (*[encode(noise(20, 30, seed), kind) for seed, kind in enumerate(SUPPORTED)], *FILES[:4])
BAD = (GARBAGE, b"", b"just some text", BOMB)


@pytest.fixture(scope="module")
def small() -> Iterator[DecoderPool]:
    """One decoder for small images, which all turns share."""
    with DecoderPool(1, FRAMING, 10**6, timeout_s=60, memory_bytes=2**30) as pool:
        yield pool


def _outcomes(pool: DecoderPool, files: list[bytes]) -> list[object]:
    """What becomes of each: the pixels and notes, or the reason and the detail."""
    answers = pool.decode_all([ImageFile.of(data) for data in files])
    assert len(answers) == len(files)
    return [_seen(answer.outcome) for answer in answers]


def _seen(outcome: Image | Unscorable | TemporaryFault) -> object:
    if isinstance(outcome, Image):
        return (outcome.pixels.tobytes(), outcome.notes)
    return (outcome.reason, outcome.detail)


def _alone(pool: DecoderPool, data: bytes) -> object:
    try:
        return _seen(pool.decode(data))
    except Unscorable as error:
        return _seen(error)


@pytest.mark.parametrize("count", [1, MAX_IMAGES - 1, MAX_IMAGES, MAX_IMAGES + 1, len(FILES)])
def test_each_file_has_its_own_picture_in_order(small: DecoderPool, count: int) -> None:
    """However many a decoder gets at once, pictures come back in the order of their files."""
    answers = small.decode_all([ImageFile.of(data) for data in FILES[:count]])
    images = [answer.outcome for answer in answers if isinstance(answer.outcome, Image)]
    assert [tuple(image.pixels[4, 4]) for image in images] == COLOURS[:count]
    assert all(image.pixels.flags.owndata and image.pixels.flags.writeable for image in images)


def test_no_files_have_no_answers(small: DecoderPool) -> None:
    """Nothing asked, nothing answered."""
    assert small.decode_all([]) == []


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(files=st.lists(st.sampled_from([*PLAIN, *BAD, animation("GIF")]), max_size=MAX_IMAGES + 4))
def test_together_is_as_alone(small: DecoderPool, files: list[bytes]) -> None:
    """Sound and bad files in any order give the pixels, notes and reasons that each gives alone."""
    assert _outcomes(small, files) == [_alone(small, data) for data in files]


# Runs in a real decoder, locked in, in the place of what reads a picture.
HOSTILE = """
import ctypes, os, signal, sys
from moderation.media import child
read_picture = child.read_picture
def read(data, framing, max_pixels):
    if data == b"crash":
        ctypes.string_at(0)
    if data == b"exit":
        os._exit(0)
    if data == b"hang":
        while True:
            pass
    if data == b"hang for ever":
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            pass
    if data == b"lie":
        os.write(0, b"x")
        os._exit(0)
    return read_picture(data, framing, max_pixels)
child.read_picture = read
child.main(sys.argv[4:])
"""


@pytest.fixture
def hostile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[DecoderPool, list[int]]]:
    """A decoder that some files take over, and how often it was replaced."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{HOSTILE}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    restarts: list[int] = []
    with DecoderPool(1, FRAMING, 10**6, 2, 2**30, on_restart=lambda: restarts.append(1)) as pool:
        pool.start()
        yield pool, restarts


def _check_only_hostile_fail(
    pool: DecoderPool, files: list[bytes], hostile: set[int], detail: str
) -> None:
    answers = pool.decode_all([ImageFile.of(data) for data in files])
    for place, answer in enumerate(answers):
        if place in hostile:
            assert isinstance(answer.outcome, Unscorable)
            assert answer.outcome.reason is Reason.IMAGE_DECODER_FAILED
            assert detail in answer.outcome.detail
        else:
            assert isinstance(answer.outcome, Image)
            assert tuple(answer.outcome.pixels[4, 4]) == COLOURS[place]


@pytest.mark.parametrize("place", [0, 7, MAX_IMAGES - 1, MAX_IMAGES + 2])
@pytest.mark.parametrize(
    ("attack", "detail"),
    [
        (b"crash", "ended in the middle"),
        (b"exit", "ended in the middle"),
        (b"hang", "longer than 2 s"),
    ],
)
def test_a_hostile_image_harms_no_neighbour(
    hostile: tuple[DecoderPool, list[int]], attack: bytes, detail: str, place: int
) -> None:
    """The image at which a decoder fails fails alone: those before it and after it are decoded."""
    pool, restarts = hostile
    files = FILES[: MAX_IMAGES + 4]
    files[place] = attack
    _check_only_hostile_fail(pool, files, {place}, detail)
    assert restarts == [1]


def test_a_decoder_that_stops_its_own_clock_is_ended(
    hostile: tuple[DecoderPool, list[int]],
) -> None:
    """The parent's patience ends too, also after answers that came in time."""
    pool, restarts = hostile
    files = [*FILES[:3], b"hang for ever", *FILES[4:6]]
    _check_only_hostile_fail(pool, files, {3}, "longer than 2 s")
    assert restarts == [1]


def test_several_hostile_images_fail_each_for_itself(
    hostile: tuple[DecoderPool, list[int]],
) -> None:
    """Also where they follow each other, first and last."""
    pool, restarts = hostile
    attacks = {0, 1, 5, 11}
    files = [b"crash" if place in attacks else data for place, data in enumerate(FILES[:12])]
    _check_only_hostile_fail(pool, files, attacks, "ended in the middle")
    assert restarts == [1] * 4


def test_a_decoder_that_says_too_early_that_all_is_done_is_not_believed(
    hostile: tuple[DecoderPool, list[int]],
) -> None:
    """What has no answer has failed; what had one before is kept, the rest is decoded anew."""
    pool, restarts = hostile
    _check_only_hostile_fail(pool, [*FILES[:5], b"lie", *FILES[6:9]], {5}, "protocol")
    assert restarts == [1]


def test_a_file_of_other_content_fails_alone(small: DecoderPool) -> None:
    """One blob that is not what was stored is corrupt; its neighbours are what they say."""
    hashes = [hashlib.sha256(data).digest() for data in FILES[:5]]
    hashes[2] = hashes[3]
    files = [ImageFile.of(d, sha256=h) for d, h in zip(FILES[:5], hashes, strict=True)]
    outcomes = [answer.outcome for answer in small.decode_all(files)]
    assert [isinstance(outcome, Image) for outcome in outcomes] == [True, True, False, True, True]
    assert isinstance(outcomes[2], Unscorable)
    assert "what was stored" in outcomes[2].detail


def test_a_file_that_cannot_be_read_may_be_tried_again(small: DecoderPool, tmp_path: Path) -> None:
    """A disk's fault is no fault of the image, nor of the decoder."""
    good = ImageFile.of(FILES[0])
    folder = ImageFile.open(str(tmp_path), sha256=bytes(32))
    bad, fine = (answer.outcome for answer in small.decode_all([folder, good]))
    assert isinstance(bad, TemporaryFault)
    assert bad.reason is Reason.IMAGE_UNREACHABLE
    assert isinstance(fine, Image)


def test_files_on_a_disk_are_decoded(small: DecoderPool, tmp_path: Path) -> None:
    """A decoder that may open nothing reads what it is handed."""
    files = []
    for place, data in enumerate(FILES[:3]):
        path = tmp_path / str(place)
        path.write_bytes(data)
        files.append(ImageFile.open(str(path), sha256=hashlib.sha256(data).digest()))
    images = [answer.outcome for answer in small.decode_all(files)]
    assert [tuple(i.pixels[4, 4]) for i in images if isinstance(i, Image)] == COLOURS[:3]


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_file_stays_open(hostile: tuple[DecoderPool, list[int]]) -> None:
    """After many turns, failed ones included, as few files are open as before."""
    pool, _ = hostile
    pool.decode_all([ImageFile.of(FILES[0])])
    before = _open_files()
    for turn in range(12):
        files = list(FILES[: MAX_IMAGES + 2])
        files[turn] = (b"crash", GARBAGE, b"lie")[turn % 3]
        pool.decode_all([ImageFile.of(data) for data in files])
    assert _open_files() == before


def test_no_file_stays_open_where_nothing_can_be_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files are closed also by a pool that cannot start a decoder or that is closed."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    before = _open_files()
    with DecoderPool(1, FRAMING, 10**6, 2, 2**30) as pool:
        answers = pool.decode_all([ImageFile.of(data) for data in FILES[:20]])
        assert all(isinstance(answer.outcome, TemporaryFault) for answer in answers)
    with pytest.raises(RuntimeError, match="closed"):
        pool.decode_all([ImageFile.of(data) for data in FILES[:20]])
    assert _open_files() == before


def test_a_decoder_keeps_no_file_open(small: DecoderPool) -> None:
    """However many it has read, it has room for the next turn."""
    for _ in range(4):
        answers = small.decode_all([ImageFile.of(data) for data in FILES])
        assert all(isinstance(answer.outcome, Image) for answer in answers)


def test_without_descriptors_images_are_put_off() -> None:
    """A decoder that cannot be started for want of them is no fault of an image."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with DecoderPool(1, FRAMING, 10**6, timeout_s=60, memory_bytes=2**30) as pool:
        files = [ImageFile.of(data) for data in FILES[:2]]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(f.descriptor for f in files) + 1, hard))
        try:
            answers = pool.decode_all(files)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert all(isinstance(answer.outcome, TemporaryFault) for answer in answers)
        assert _outcomes(pool, FILES[:2]) == [_alone(pool, data) for data in FILES[:2]]
