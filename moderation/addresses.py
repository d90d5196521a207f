"""Where the parts of one machine are found: a file in the data directory."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from moderation.errors import ServiceUnavailable
from moderation.settings import Settings

_FILE = "addresses.json"
_KEY_FILE = "api-key"
_PASSWORD_FILE = "desk-password"  # noqa: S105 - where one is kept


class Addresses(BaseModel):
    """What a running `captionguard up` tells the other commands."""

    model_config = ConfigDict(frozen=True)

    pid: int
    database_url: str
    redis_url: str
    api_url: str


def write_addresses(data_dir: Path, addresses: Addresses) -> None:
    """Replace the file at once; only its owner may read it."""
    _write_private(data_dir / _FILE, addresses.model_dump_json(indent=2) + "\n")


def read_addresses(data_dir: Path) -> Addresses | None:
    """What runs on this data directory, or None if nothing does."""
    try:
        return Addresses.model_validate_json((data_dir / _FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ServiceUnavailable(
            f"{data_dir / _FILE} is damaged; stop captionguard and start it again."
        ) from error


def remove_addresses(data_dir: Path) -> None:
    """Say that nothing runs any more."""
    (data_dir / _FILE).unlink(missing_ok=True)


def write_local_key(data_dir: Path, secret: str) -> None:
    """Keep this machine's own API key where only its owner may read it."""
    _write_private(data_dir / _KEY_FILE, secret + "\n")


def read_local_key(data_dir: Path) -> str | None:
    """Read this machine's own API key, if `captionguard up` has made one."""
    try:
        return (data_dir / _KEY_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def write_desk_password(data_dir: Path, password: str) -> Path:
    """Keep the password of this machine's own account where only its owner may read it."""
    path = data_dir / _PASSWORD_FILE
    _write_private(path, password + "\n")
    return path


def read_desk_password(data_dir: Path) -> str | None:
    """Read that password, if `captionguard up` has made the account."""
    try:
        return (data_dir / _PASSWORD_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def database_url(settings: Settings) -> str:
    """The PostgreSQL to use: the one that is set, else the running embedded one."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return _running(settings, "CAPTIONGUARD_DATABASE_URL").database_url


def redis_url(settings: Settings) -> str:
    """The Redis to use: the one that is set, else the running embedded one."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return _running(settings, "CAPTIONGUARD_REDIS_URL").redis_url


def api_url(settings: Settings) -> str:
    """The API to talk to: the one that is set, else the running one's."""
    if settings.api_url is not None:
        return settings.api_url.rstrip("/")
    return _running(settings, "CAPTIONGUARD_API_URL").api_url


def blob_url(settings: Settings) -> str:
    """Where images are kept: the store that is set, else a folder in the data directory."""
    return settings.blob_url or (settings.data_dir / "blobs").resolve().as_uri()


def _running(settings: Settings, variable: str) -> Addresses:
    addresses = read_addresses(settings.data_dir)
    if addresses is None:
        raise ServiceUnavailable(
            f"Nothing runs on the data directory {settings.data_dir}. Start `captionguard up` "
            f"there, point CAPTIONGUARD_DATA_DIR to one where it runs, or set {variable}."
        )
    return addresses


def _write_private(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    fresh.replace(path)
