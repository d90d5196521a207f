"""The files by which the commands of one machine find each other."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moderation import addresses
from moderation.addresses import Addresses
from moderation.errors import ServiceUnavailable
from moderation.settings import Settings

RUNNING = Addresses(
    pid=4711,
    database_url="postgresql://localhost/captionguard",
    redis_url="redis://localhost:6379/0",
    api_url="http://127.0.0.1:8080",
)
LOOKUPS: list[tuple[Callable[[Settings], str], str]] = [
    (addresses.database_url, "database_url"),
    (addresses.redis_url, "redis_url"),
    (addresses.api_url, "api_url"),
]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAPTIONGUARD_"):
            monkeypatch.delenv(name)


@pytest.fixture
def _careless_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Addresses come back as they were, from a folder that was not there before."""
    folder = tmp_path / "a" / "data folder"
    addresses.write_addresses(folder, RUNNING)
    assert addresses.read_addresses(folder) == RUNNING


def test_a_key_that_is_written_is_read(tmp_path: Path) -> None:
    """The machine's own key comes back without its line's end, and is None before."""
    assert addresses.read_local_key(tmp_path) is None
    addresses.write_local_key(tmp_path, "cg_secret")
    assert addresses.read_local_key(tmp_path) == "cg_secret"


@pytest.mark.usefixtures("_careless_umask")
def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    """The files hold passwords and a key: they are 0600, whatever the umask."""
    for _ in range(2):
        addresses.write_addresses(tmp_path, RUNNING)
        addresses.write_local_key(tmp_path, "cg_secret")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 2
    assert set(modes.values()) == {0o600}


@pytest.mark.usefixtures("_careless_umask")
def test_a_file_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    """Replacing a file that others could read leaves one that they cannot."""
    addresses.write_addresses(tmp_path, RUNNING)
    (path,) = tmp_path.iterdir()
    path.chmod(0o666)
    addresses.write_addresses(tmp_path, RUNNING)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """While the file is replaced again and again, each read finds one of the versions."""
    versions = [RUNNING, RUNNING.model_copy(update={"api_url": f"http://{'x' * 100_000}"})]
    addresses.write_addresses(tmp_path, versions[0])
    done = threading.Event()

    def write() -> None:
        for number in range(100):
            addresses.write_addresses(tmp_path, versions[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            assert addresses.read_addresses(tmp_path) in versions
    finally:
        writer.join()
    assert len(list(tmp_path.iterdir())) == 1


def test_removed_addresses_are_gone(tmp_path: Path) -> None:
    """After the end nothing is said to run, and ending twice is no fault."""
    addresses.write_addresses(tmp_path, RUNNING)
    addresses.remove_addresses(tmp_path)
    addresses.remove_addresses(tmp_path)
    assert addresses.read_addresses(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"pid": 4711}', b'{"pid": "x"}', b"\xff\xfe\x00", b"\x00" * 64],
)
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    """The message names the file and what to do, whatever the file holds."""
    addresses.write_addresses(tmp_path, RUNNING)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    with pytest.raises(ServiceUnavailable, match="damaged; stop captionguard and start") as caught:
        addresses.read_addresses(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("look_up", "name"), LOOKUPS)
def test_where_nothing_runs_it_is_said_what_to_do(
    tmp_path: Path, look_up: Callable[[Settings], str], name: str
) -> None:
    """The message names the folder, the command and the variable that would help."""
    with pytest.raises(ServiceUnavailable) as caught:
        look_up(Settings(data_dir=tmp_path))
    message = str(caught.value)
    for part in (str(tmp_path), "`captionguard up`", f"CAPTIONGUARD_{name.upper()}"):
        assert part in message


@pytest.mark.parametrize(("look_up", "name"), LOOKUPS)
def test_the_running_machine_is_found(
    tmp_path: Path, look_up: Callable[[Settings], str], name: str
) -> None:
    """Where nothing is set, the addresses of what runs are used."""
    addresses.write_addresses(tmp_path, RUNNING)
    assert look_up(Settings(data_dir=tmp_path)) == getattr(RUNNING, name)


@pytest.mark.parametrize(("look_up", "name"), LOOKUPS)
def test_what_is_set_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_up: Callable[[Settings], str], name: str
) -> None:
    """A variable beats what runs on this machine."""
    addresses.write_addresses(tmp_path, RUNNING)
    monkeypatch.setenv(f"CAPTIONGUARD_{name.upper()}", "scheme://elsewhere")
    assert look_up(Settings(data_dir=tmp_path)) == "scheme://elsewhere"


def test_paths_are_appended_to_the_api_url_as_it_is_set(tmp_path: Path) -> None:
    """A slash at the end of the API's URL does no harm."""
    assert addresses.api_url(Settings(data_dir=tmp_path, api_url="http://a/")) == "http://a"


def test_images_are_kept_in_the_data_directory_unless_set(tmp_path: Path) -> None:
    """Blobs lie in a folder of the data directory, or where the operator says."""
    settings = Settings(data_dir=tmp_path / "a folder")
    assert addresses.blob_url(settings) == (tmp_path / "a folder" / "blobs").as_uri()
    assert addresses.blob_url(Settings(data_dir=tmp_path, blob_url="s3://b/c")) == "s3://b/c"
