"""Copies are made and stored beside a worker: files go over, and keys come back."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image as Pillow

from moderation.addresses import blob_url
from moderation.errors import TemporaryFault, Unscorable
from moderation.media.blobs import BlobStore
from moderation.media.copies import AT_ONCE
from moderation.media.copy_process import CopyProcess, Outcome
from moderation.media.files import ImageFile
from moderation.settings import Settings
from moderation.types import Reason
from tests.unit.media.files import encode

MEDIA = "moderation.media"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Patient ones, since other work may load the machine; the environment has secrets."""
    monkeypatch.setenv("CAPTIONGUARD_DATABASE_URL", "postgresql://me:secret@nowhere/x")
    monkeypatch.setenv("captionguard_redis_url", "redis://:secret@nowhere/0")
    monkeypatch.setenv("CAPTIONGUARD_DECODE_TIMEOUT_S", "not a number over there")
    return Settings(data_dir=tmp_path, decode_timeout_s=60)


@pytest.fixture
def maker(settings: Settings) -> Iterator[CopyProcess]:
    """A process that is started when first needed."""
    made = CopyProcess(settings)
    yield made
    made.close()


def _photo(shade: int) -> bytes:
    return encode(Pillow.new("RGB", (40, 30), (shade, 10, 10)), "PNG")


def _make(maker: CopyProcess, *data: bytes) -> list[Outcome]:
    return maker.make_all([ImageFile.of(each) for each in data])


def _family() -> list[psutil.Process]:
    """The process that makes copies, and what it has started; tests before may have their own."""
    (process,) = [p for p in psutil.Process().children() if f"{MEDIA}.copy_child" in p.cmdline()]
    return [process, *process.children()]


def _named(module: str) -> psutil.Process:
    (found,) = [p for p in _family() if f"{MEDIA}.{module}" in p.cmdline()]
    return found


def test_one_broken_file_keeps_none_of_the_others(maker: CopyProcess, settings: Settings) -> None:
    """Each has its key or its own fault, in order, and the same file is one copy."""
    store = BlobStore(blob_url(settings), max_bytes=10**6)
    first, broken, empty, again = _make(maker, _photo(10), b"no image", b"", _photo(10))
    assert isinstance(first, str)
    assert first == again
    copy = Pillow.open(io.BytesIO(store.get(first)))
    assert (copy.format, copy.size) == ("JPEG", (40, 30))
    assert [fault.reason for fault in (broken, empty) if isinstance(fault, Unscorable)] == [
        Reason.IMAGE_UNSUPPORTED,
        Reason.IMAGE_CORRUPT,
    ]
    assert _make(maker, _photo(10)) == [first]
    assert _make(maker) == []


def test_a_file_of_another_content_than_its_key_gets_no_copy(maker: CopyProcess) -> None:
    """The decoder looks, as for a verdict."""
    (outcome,) = maker.make_all([ImageFile.of(_photo(1), sha256=b"k" * 32)])
    assert isinstance(outcome, Unscorable)
    assert outcome.reason is Reason.IMAGE_CORRUPT


def test_a_store_in_trouble_is_a_fault_that_may_pass(
    maker: CopyProcess, settings: Settings
) -> None:
    """The copy is made when the disk is back, by the same process."""
    (folder := settings.data_dir / "blobs").write_text("a file where a folder should be")
    (failed,) = _make(maker, _photo(1))
    assert isinstance(failed, TemporaryFault)
    folder.unlink()
    (made,) = _make(maker, _photo(1))
    assert isinstance(made, str)


@pytest.mark.parametrize("module", ["copy_child", "encoder_child"])
def test_what_dies_in_the_middle_is_replaced(maker: CopyProcess, module: str) -> None:
    """What it had is put off, and made at the next try."""
    _make(maker, _photo(1))
    process = _named(module)
    process.suspend()
    outcomes: list[Outcome] = []
    asking = threading.Thread(target=lambda: outcomes.extend(_make(maker, _photo(2), _photo(3))))
    asking.start()
    asking.join(1)
    process.kill()
    asking.join(60)
    assert [type(outcome) for outcome in outcomes] == [TemporaryFault] * 2
    assert all(isinstance(key, str) for key in _make(maker, _photo(2), _photo(3)))


def test_all_that_it_started_ends_with_it(settings: Settings) -> None:
    """Closed, or killed by the kernel for want of memory; and no file stays open."""
    for end in ("close", "kill"):
        maker = CopyProcess(settings)
        assert len(_make(maker, *map(_photo, range(AT_ONCE)))) == AT_ONCE
        started = _family()
        assert len(started) == 3, "with a decoder and an encoder"
        if end == "kill":
            _named("copy_child").kill()
        else:
            maker.close()
        assert psutil.wait_procs(started, timeout=60)[1] == []
        maker.close()


def test_it_knows_nothing_of_our_servers(maker: CopyProcess) -> None:
    """Neither the database's password nor any other setting of ours, in capitals or not."""
    _make(maker, _photo(1))
    environment = _named("copy_child").environ()
    assert "secret" not in str(environment)
    assert not [name for name in environment if name.upper().startswith("CAPTIONGUARD_")]
    assert "PATH" in environment
