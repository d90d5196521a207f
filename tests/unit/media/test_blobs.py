"""The blob store: what is put is got back, and nothing else is."""

import hashlib
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moderation.errors import (
    InputRefused,
    ServiceUnavailable,
    SetupError,
    TemporaryFault,
    Unscorable,
)
from moderation.media.blobs import BlobStore, check_key
from moderation.media.files import ImageFile
from moderation.types import Reason

DATA = b"a picture of a dog"
KEY = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Return an empty store of each kind that needs no server."""
    locations: dict[str, str | Path] = {
        "folder": tmp_path / "a folder" / "blobs",
        "file": (tmp_path / "a folder").as_uri(),
        "memory": "memory://",
    }
    return BlobStore(locations[request.param], max_bytes=1000)


def _stored_file(folder: Path) -> Path:
    return folder / KEY[:2] / KEY[2:4] / KEY


def test_what_is_put_is_got_back(store: BlobStore) -> None:
    """A file comes back unchanged under the SHA-256 of its content."""
    assert store.put(DATA) == KEY
    assert store.get(KEY) == DATA


def _content(file: ImageFile) -> bytes:
    data = os.pread(file.descriptor, 2 * file.size_bytes, 0)
    file.close()
    return data


def test_what_is_put_can_be_opened(store: BlobStore) -> None:
    """A decoder gets the same bytes as a descriptor, and is told what hash they must have."""
    file = store.open(store.put(DATA))
    assert file.sha256 == bytes.fromhex(KEY)
    assert file.size_bytes == len(DATA)
    assert _content(file) == DATA


@pytest.mark.parametrize("key", [KEY, "../../etc/passwd", KEY.upper(), ""])
def test_what_is_not_there_cannot_be_opened(store: BlobStore, key: str) -> None:
    """Opening refuses what getting refuses."""
    with pytest.raises(Unscorable) as caught:
        store.open(key)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


def test_a_refused_file_does_not_stay_open(tmp_path: Path) -> None:
    """The limit on bytes holds, and costs no descriptor."""
    BlobStore(tmp_path, max_bytes=len(DATA)).put(DATA)
    store = BlobStore(tmp_path, max_bytes=len(DATA) - 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(Unscorable) as caught:
            store.open(KEY)
        assert caught.value.reason is Reason.IMAGE_TOO_MANY_BYTES
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_in_trouble_is_a_temporary_fault_of_opening_too(tmp_path: Path) -> None:
    """When the disk itself fails, the submission is tried again later."""
    store = BlobStore(tmp_path, max_bytes=1000)
    (tmp_path / KEY[:2]).write_text("a file where a folder should be")
    with pytest.raises(TemporaryFault) as caught:
        store.open(KEY)
    assert caught.value.reason is Reason.IMAGE_UNREACHABLE


def test_a_working_store_passes_its_check(store: BlobStore) -> None:
    """The health check of a store that works raises nothing, time after time."""
    store.check()
    store.check()


def test_a_missing_blob_is_not_found(store: BlobStore) -> None:
    """A key that nothing is stored under is a permanent fault of the submission."""
    with pytest.raises(Unscorable) as caught:
        store.get(KEY)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


def test_what_is_stored_is_not_written_again(tmp_path: Path) -> None:
    """Putting a file twice leaves the first one in its place."""
    store = BlobStore(tmp_path, max_bytes=1000)
    store.put(DATA)
    before = _stored_file(tmp_path).stat()
    store.put(DATA)
    after = _stored_file(tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_many_may_put_the_same_file_at_once(tmp_path: Path) -> None:
    """Concurrent writers of one file all succeed and leave just that file behind."""
    store = BlobStore(tmp_path, max_bytes=10_000_000)
    data = DATA * 50_000
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: store.put(data), range(24)))
    (key,) = keys
    assert store.get(key) == data
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [key]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A full disk is a fault that may pass, and no part of a file is taken for the whole."""
    script = (
        "import resource, sys\n"
        "from moderation.errors import TemporaryFault\n"
        "from moderation.media.blobs import BlobStore\n"
        "store = BlobStore(sys.argv[1], max_bytes=1000)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: store.put(b'a picture of a dog')\n"
        "except TemporaryFault: sys.exit(7)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=120)
    assert ended.returncode == 7
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert BlobStore(tmp_path, max_bytes=1000).put(DATA) == KEY


def test_a_new_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    """Other users of the machine cannot look into a blob folder that we made."""
    BlobStore(tmp_path / "new", max_bytes=1)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_large_files_are_neither_stored_nor_read(tmp_path: Path) -> None:
    """The limit on bytes holds in both directions."""
    small = BlobStore(tmp_path, max_bytes=len(DATA) - 1)
    with pytest.raises(Unscorable) as refused:
        small.put(DATA)
    BlobStore(tmp_path, max_bytes=len(DATA)).put(DATA)
    with pytest.raises(Unscorable) as caught:
        small.get(KEY)
    assert refused.value.reason is caught.value.reason is Reason.IMAGE_TOO_MANY_BYTES


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", KEY[:-1], KEY + "0", KEY.upper(), KEY + "\n", "g" * 64]
)
def test_only_keys_are_looked_up(tmp_path: Path, key: str) -> None:
    """What is not 64 lower-case hex digits never becomes a path."""
    with pytest.raises(InputRefused):
        check_key(key)
    with pytest.raises(Unscorable) as caught:
        BlobStore(tmp_path, max_bytes=1000).get(key)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


def test_a_key_passes() -> None:
    """A SHA-256 in lower-case hex is taken."""
    check_key(KEY)


def test_a_store_in_trouble_is_a_temporary_fault(tmp_path: Path) -> None:
    """When the store itself fails, the submission is tried again later."""
    store = BlobStore(tmp_path, max_bytes=1000)
    (tmp_path / KEY[:2]).write_text("a file where a folder should be")
    with pytest.raises(TemporaryFault) as caught:
        store.put(DATA)
    assert caught.value.reason is Reason.IMAGE_UNREACHABLE
    assert "\n" not in str(caught.value)


def test_a_bucket_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The health check says so when a bucket cannot be reached, and shows no credentials."""
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy-secret")
    monkeypatch.setenv("AWS_REGION", "nowhere-1")
    store = BlobStore("s3://bucket/prefix", max_bytes=1000)
    with pytest.raises(ServiceUnavailable) as caught:
        store.check()
    assert "dummy-secret" not in str(caught.value)


@pytest.mark.parametrize("location", ["ftp://host/x", "https://host/x", "az://container"])
def test_an_unusable_location_is_a_setup_error(location: str) -> None:
    """A location that cannot hold blobs is refused when the store is made."""
    with pytest.raises(SetupError):
        BlobStore(location, max_bytes=1000)


def test_a_folder_that_cannot_be_made_is_a_setup_error(tmp_path: Path) -> None:
    """A file in the folder's place is named as the problem."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="file"):
        BlobStore(tmp_path / "file" / "blobs", max_bytes=1000)
