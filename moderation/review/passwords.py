"""Passwords: what one has to be, and argon2 hashes of them."""

import functools
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from moderation.errors import InputRefused

MIN_CHARS = 12
MAX_CHARS = 1024
# The library's defaults are those of RFC 9106 for servers: 64 MiB and some 0.1 s a password.
_hasher = PasswordHasher()


def hash_password(password: str, *, name: str) -> str:
    """The hash of a new password; `InputRefused` for one that is too easy or too long."""
    if len(password) > MAX_CHARS:
        raise InputRefused(
            f"The password has more than {MAX_CHARS} characters; take a shorter one.",
            field="password",
        )
    normal = _normal(password)
    if normal is None or len(normal) < MIN_CHARS:
        raise InputRefused(
            f"The password needs at least {MIN_CHARS} characters; some unrelated words do well.",
            field="password",
        )
    if normal.casefold() == name.casefold():
        raise InputRefused("The password must not be the name itself.", field="password")
    return _hasher.hash(normal)


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether that is the password; takes as long where there is none, which tells nobody."""
    normal = _normal(password) if len(password) <= MAX_CHARS else None
    try:
        _hasher.verify(password_hash or _nobodys(), normal or "")
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None and normal is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than are used now."""
    return _hasher.check_needs_rehash(password_hash)


def rehash(password: str) -> str:
    """The hash, with the parameters of now, of a password that was right."""
    return _hasher.hash(_normal(password) or "")


def new_password() -> str:
    """A password that nobody guesses, in groups that can be typed."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


@functools.cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_urlsafe(32))


def _normal(password: str) -> str | None:
    # Keyboards send one letter as different code points; None for what is no text at all.
    normal = unicodedata.normalize("NFKC", password)
    try:
        normal.encode()
    except UnicodeEncodeError:
        return None
    return normal
