"""Strangers' URLs as text: what is accepted, and how one is shown in a message or a log."""

import re

import httpx

from moderation.errors import InputRefused
from moderation.media.addresses import is_public

MAX_URL_CHARS = 2048
_SCHEME_PORTS = {"http": 80, "https": 443}
# Below 1024 live mail, DNS, databases' old ports and other services that a request could upset.
_LOWEST_OPEN_PORT = 1024
_LAST_PORT = 65535
_SHOWN_CHARS = 120

# C parsers read 2130706433, 0x7f.1 and 127.1 as addresses; no name's last label is a number.
_NUMBER_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")
# Underscores are no part of host names by the book, but live hosts have them.
_LABEL = re.compile(r"[0-9A-Za-z_-]{1,63}")
_DOTTED_QUAD = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f\\]")


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Raise `InputRefused` if no worker would fetch `url`; looks nothing up.

    Checks the syntax, and the address where the host is one. A host name's addresses are
    checked when it is fetched, at the moment of connecting.
    """
    parse_url(url, allow_private=allow_private)


def parse_url(url: str, *, allow_private: bool, field: str = "image_url") -> httpx.URL:
    """Return `url` parsed, its host in ASCII; raise `InputRefused` as `check_url` says.

    `field` is where it was handed in, and gives the URL its name in the message.
    """
    try:
        return _parse(url, allow_private=allow_private)
    except _Refused as error:
        name = field.replace("_url", " URL")
        raise InputRefused(f"The {name}{error}", field=field) from error.__cause__


class _Refused(Exception):
    """The rest of a sentence that begins with the URL's name."""


def _parse(url: str, *, allow_private: bool) -> httpx.URL:
    if len(url) > MAX_URL_CHARS:
        raise _Refused(f" is longer than {MAX_URL_CHARS} characters.")
    if _CONTROL_OR_SPACE.search(url):
        raise _Refused(" has a space, backslash or control character; encode it.")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _Refused(" cannot be parsed.") from error
    if parsed.scheme not in _SCHEME_PORTS:
        raise _Refused(" must begin with http:// or https://.")
    if not host:
        raise _Refused(" names no host.")
    if parsed.userinfo:
        raise _Refused(" contains a user name or password; sign the URL instead.")
    port = port_of(parsed)
    if port not in _SCHEME_PORTS.values() and not _LOWEST_OPEN_PORT <= port <= _LAST_PORT:
        raise _Refused("'s port must be 80, 443 or 1024 to 65535.")
    _check_host(host, allow_private=allow_private)
    return parsed


def port_of(url: httpx.URL) -> int:
    """Return the TCP port of a parsed URL, the scheme's own if it names none."""
    return _SCHEME_PORTS[url.scheme] if url.port is None else url.port


def shown(url: httpx.URL) -> str:
    """Return scheme, host and path, shortened: queries of signed URLs are credentials."""
    # The raw path: decoded, it could bring line breaks and worse into a log.
    path = url.raw_path.partition(b"?")[0]
    text = f"{url.scheme}://" + (url.netloc + path).decode("ascii", "replace")
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _check_host(host: str, *, allow_private: bool) -> None:
    bare = host.removesuffix(".")
    labels = bare.split(".")
    is_address = ":" in bare or _DOTTED_QUAD.fullmatch(bare) is not None
    if not is_address:
        if _NUMBER_LABEL.fullmatch(labels[-1]):
            raise _Refused("'s host is a number but not an IPv4 address a.b.c.d.")
        if len(bare) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
            raise _Refused("'s host is not a valid name.")
    elif not allow_private and not is_public(bare):
        raise _Refused("'s address is private or reserved; use a public one.")
