"""Fetching: what comes back, and what does not."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.fetch import Fetcher
from moderation.types import Reason
from tests.unit.media.hosts import BODY, PATIENT_S, MakeFetcher, Site, refusal


def test_a_body_is_fetched_whole(site: Site, fetcher: Fetcher) -> None:
    """The bytes that the host sends are the bytes that come back, also from many threads."""
    with ThreadPoolExecutor(8) as threads:
        bodies = set(threads.map(fetcher.fetch, [f"{site.url}/image"] * 40))
    assert bodies == {BODY}


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("/404", Unscorable, Reason.IMAGE_NOT_FOUND),
        ("/410", Unscorable, Reason.IMAGE_NOT_FOUND),
        ("/400", Unscorable, Reason.IMAGE_NOT_FOUND),
        ("/403", Unscorable, Reason.IMAGE_NOT_FOUND),
        ("/304", Unscorable, Reason.IMAGE_NOT_FOUND),
        ("/408", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/425", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/429", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/500", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/503", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/cut", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/nonsense", TemporaryFault, Reason.IMAGE_UNREACHABLE),
        ("/empty", Unscorable, Reason.IMAGE_CORRUPT),
        ("/announced", Unscorable, Reason.IMAGE_TOO_MANY_BYTES),
        ("/endless", Unscorable, Reason.IMAGE_TOO_MANY_BYTES),
        ("/bomb", Unscorable, Reason.IMAGE_UNSUPPORTED),
        ("/loop", Unscorable, Reason.IMAGE_URL_REFUSED),
        ("/nowhere", Unscorable, Reason.IMAGE_NOT_FOUND),
        ("/to?ftp://public.example/x", Unscorable, Reason.IMAGE_URL_REFUSED),
        ("/to?http://user:pw@127.0.0.1/x", Unscorable, Reason.IMAGE_URL_REFUSED),
        ("/to?http://127.0.0.1:25/x", Unscorable, Reason.IMAGE_URL_REFUSED),
        ("/to?file:///etc/passwd", Unscorable, Reason.IMAGE_URL_REFUSED),
        ("/to?http://[", Unscorable, Reason.IMAGE_URL_REFUSED),
    ],
)
def test_each_answer_has_its_fault(
    site: Site, fetcher: Fetcher, path: str, kind: type[Exception], reason: Reason
) -> None:
    """What will stay as it is becomes a verdict; what may pass is tried again."""
    error = refusal(fetcher, site.url + path)
    assert type(error) is kind
    assert error.reason is reason


def test_arefusal_by_the_host_is_named(site: Site, fetcher: Fetcher) -> None:
    """A person reads that the host refuses access, not that nothing was there."""
    assert "refuses access" in str(refusal(fetcher, f"{site.url}/403"))


def test_messages_do_not_show_the_query(site: Site, fetcher: Fetcher) -> None:
    """The signature of a signed URL stays out of verdicts and logs, on every way to fail."""
    for path in ("/404", "/500", "/empty", "/bomb", "/cut", "/endless", "/loop"):
        assert "secret" not in str(refusal(fetcher, f"{site.url}{path}?signature=secret"))


def test_the_limit_on_bytes_is_exact(site: Site, make_fetcher: MakeFetcher) -> None:
    """A file as large as the limit passes; one byte more does not."""
    assert make_fetcher(max_bytes=len(BODY), allow_private=True).fetch(f"{site.url}/image") == BODY
    error = refusal(make_fetcher(max_bytes=len(BODY) - 1, allow_private=True), f"{site.url}/image")
    assert error.reason is Reason.IMAGE_TOO_MANY_BYTES


@pytest.mark.parametrize("path", ["/drip", "/headerdrip"])
def test_a_slow_drip_does_not_outlast_the_deadline(
    site: Site, path: str, make_fetcher: MakeFetcher
) -> None:
    """A host that sends a byte now and then, in headers or body, is given up in time."""
    error = refusal(make_fetcher(timeout_s=0.5, allow_private=True), site.url + path)
    assert isinstance(error, TemporaryFault)
    assert "took longer than 0.5 s" in error.detail


def test_a_slow_name_server_does_not_outlast_the_deadline(make_fetcher: MakeFetcher) -> None:
    """The time for looking up a name counts, although the system's look-up knows no limit."""
    release = threading.Event()

    def stuck(host: str, port: int) -> list[str]:
        release.wait(PATIENT_S)
        return []

    try:
        error = refusal(make_fetcher(timeout_s=0.3, resolve=stuck), "http://public.example/")
    finally:
        release.set()
    assert isinstance(error, TemporaryFault)
    assert "took longer than 0.3 s" in error.detail


def test_redirects_are_followed_to_the_limit(site: Site, fetcher: Fetcher) -> None:
    """As many redirects as allowed lead to the image; relative targets work."""
    assert fetcher.fetch(f"{site.url}/to?/to?/to?/image") == BODY
    error = refusal(fetcher, f"{site.url}/to?/to?/to?/to?/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED


def test_nobody_at_home_is_temporary(fetcher: Fetcher) -> None:
    """A host that refuses the connection may be back later."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = refusal(fetcher, f"http://127.0.0.1:{port}/")
    assert isinstance(error, TemporaryFault)


def test_an_unknown_name_is_temporary(make_fetcher: MakeFetcher) -> None:
    """A name that is not found may be a name server's bad minute."""

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert isinstance(refusal(make_fetcher(resolve=unknown), "http://x.example/"), TemporaryFault)


def test_the_environment_gives_no_proxy_or_credentials(
    site: Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither proxies nor .netrc change what is fetched from where, or what is sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sent = fetcher.fetch(f"{site.url}/headers").decode()
    assert "Authorization" not in sent
    assert "Accept-Encoding: identity" in sent
