"""Fetching: what comes back, what is refused, and that nothing reaches inside."""

import gzip
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpcore
import pytest

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.fetch import Fetcher
from moderation.types import Reason

BODY = bytes(range(256)) * 40
MAX_BYTES = 20_000
# Long enough for any machine under load, where running out of time is not what is tested.
PATIENT_S = 60.0


class _Handler(BaseHTTPRequestHandler):
    """Answers by path; each path is one way for a host to behave."""

    protocol_version = "HTTP/1.1"
    server: "_Site"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))
        name = self.path.split("?")[0].strip("/").split("/")[0]
        getattr(self, f"answer_{name}", self.answer_status)()

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_image(self) -> None:
        self.send(200, BODY)

    def answer_status(self) -> None:
        self.send(int(self.path.strip("/")), b"a page about the error")

    def answer_empty(self) -> None:
        self.send(200)

    def answer_headers(self) -> None:
        self.send(200, str(self.headers).encode())

    def answer_announced(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000000")
        self.end_headers()

    def answer_endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        except OSError:
            self.close_connection = True

    def answer_bomb(self) -> None:
        self.send(200, gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")

    def answer_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def answer_nonsense(self) -> None:
        self.wfile.write(b"this is not HTTP\r\n\r\n")
        self.close_connection = True

    def answer_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.drip()

    def answer_headerdrip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.drip()

    def drip(self) -> None:
        self.close_connection = True
        try:
            while not self.server.stopping.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            pass

    def answer_loop(self) -> None:
        self.send(302, Location="/loop")

    def answer_to(self) -> None:
        self.send(302, Location=self.path.partition("?")[2])

    def answer_nowhere(self) -> None:
        self.send(302)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        pass


class _Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str | None]] = []
        self.stopping = threading.Event()
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def handle_error(self, *_: object) -> None:
        pass  # clients that hang up are part of the tests


@pytest.fixture
def site() -> Iterator[_Site]:
    """Serve the handler's answers on a free port of this machine."""
    with _Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.05,))
        thread.start()
        yield site
        site.stopping.set()
        site.shutdown()
        thread.join()


class _LocalInternet(httpcore.NetworkBackend):
    """Stands in for the internet: all addresses are our local site, and it notes which."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dialled: list[str] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        self.dialled.append(host)
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout)


NAMES = {
    "public.example": ["93.184.216.34"],
    "inside.example": ["10.0.0.7"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "none.example": [],
}


class _Names:
    """A resolver that counts how often it is asked."""

    def __init__(self, answers: Callable[[str], list[str]] = lambda host: NAMES[host]) -> None:
        self.asked: list[str] = []
        self.answers = answers

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return [host] if host[0].isdigit() else self.answers(host)


MakeFetcher = Callable[..., Fetcher]


@pytest.fixture
def make_fetcher() -> Iterator[MakeFetcher]:
    """Make fetchers with the usual limits, but for what a test changes, and close them."""
    made: list[Fetcher] = []

    def make(**changes: Any) -> Fetcher:
        usual = {"max_bytes": MAX_BYTES, "timeout_s": PATIENT_S, "max_redirects": 3}
        made.append(Fetcher(**{**usual, **changes}))
        return made[-1]

    yield make
    for fetcher in made:
        fetcher.close()


@pytest.fixture
def fetcher(make_fetcher: MakeFetcher) -> Fetcher:
    """Return a fetcher that may reach the local site."""
    return make_fetcher(allow_private=True)


def _refusal(fetcher: Fetcher, url: str) -> Unscorable | TemporaryFault:
    with pytest.raises((Unscorable, TemporaryFault)) as caught:
        fetcher.fetch(url)
    error = caught.value
    assert isinstance(error, Unscorable | TemporaryFault)
    return error


def test_a_body_is_fetched_whole(site: _Site, fetcher: Fetcher) -> None:
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
    site: _Site, fetcher: Fetcher, path: str, kind: type[Exception], reason: Reason
) -> None:
    """What will stay as it is becomes a verdict; what may pass is tried again."""
    error = _refusal(fetcher, site.url + path)
    assert type(error) is kind
    assert error.reason is reason


def test_a_refusal_by_the_host_is_named(site: _Site, fetcher: Fetcher) -> None:
    """A person reads that the host refuses access, not that nothing was there."""
    assert "refuses access" in str(_refusal(fetcher, f"{site.url}/403"))


def test_messages_do_not_show_the_query(site: _Site, fetcher: Fetcher) -> None:
    """The signature of a signed URL stays out of verdicts and logs, on every way to fail."""
    for path in ("/404", "/500", "/empty", "/bomb", "/cut", "/endless", "/loop"):
        assert "secret" not in str(_refusal(fetcher, f"{site.url}{path}?signature=secret"))


def test_the_limit_on_bytes_is_exact(site: _Site, make_fetcher: MakeFetcher) -> None:
    """A file as large as the limit passes; one byte more does not."""
    assert make_fetcher(max_bytes=len(BODY), allow_private=True).fetch(f"{site.url}/image") == BODY
    error = _refusal(make_fetcher(max_bytes=len(BODY) - 1, allow_private=True), f"{site.url}/image")
    assert error.reason is Reason.IMAGE_TOO_MANY_BYTES


@pytest.mark.parametrize("path", ["/drip", "/headerdrip"])
def test_a_slow_drip_does_not_outlast_the_deadline(
    site: _Site, path: str, make_fetcher: MakeFetcher
) -> None:
    """A host that sends a byte now and then, in headers or body, is given up in time."""
    error = _refusal(make_fetcher(timeout_s=0.5, allow_private=True), site.url + path)
    assert isinstance(error, TemporaryFault)


def test_a_slow_name_server_does_not_outlast_the_deadline(make_fetcher: MakeFetcher) -> None:
    """The time for looking up a name counts, although the system's look-up knows no limit."""
    release = threading.Event()

    def stuck(host: str, port: int) -> list[str]:
        release.wait(PATIENT_S)
        return []

    try:
        error = _refusal(make_fetcher(timeout_s=0.3, resolve=stuck), "http://public.example/")
    finally:
        release.set()
    assert isinstance(error, TemporaryFault)


def test_redirects_are_followed_to_the_limit(site: _Site, fetcher: Fetcher) -> None:
    """As many redirects as allowed lead to the image; relative targets work."""
    assert fetcher.fetch(f"{site.url}/to?/to?/to?/image") == BODY
    error = _refusal(fetcher, f"{site.url}/to?/to?/to?/to?/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED


def test_nobody_at_home_is_temporary(fetcher: Fetcher) -> None:
    """A host that refuses the connection may be back later."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = _refusal(fetcher, f"http://127.0.0.1:{port}/")
    assert isinstance(error, TemporaryFault)


def test_an_unknown_name_is_temporary(make_fetcher: MakeFetcher) -> None:
    """A name that is not found may be a name server's bad minute."""

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert isinstance(_refusal(make_fetcher(resolve=unknown), "http://x.example/"), TemporaryFault)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1234/", "http://[::1]/", "http://169.254.169.254/", "http://127.1/"]
)
def test_private_addresses_are_refused(url: str, make_fetcher: MakeFetcher) -> None:
    """Without permission no literal private address is fetched from."""
    error = _refusal(make_fetcher(), url)
    assert error.reason is Reason.IMAGE_URL_REFUSED


@pytest.mark.parametrize("host", ["inside.example", "mixed.example", "metadata.example"])
def test_names_that_lead_inside_are_refused(
    site: _Site, host: str, make_fetcher: MakeFetcher
) -> None:
    """One private address among a name's answers is enough: no connection is opened."""
    internet = _LocalInternet(site.port)
    error = _refusal(make_fetcher(resolve=_Names(), network=internet), f"http://{host}/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert internet.dialled == []


def test_localhost_by_name_is_refused(site: _Site, make_fetcher: MakeFetcher) -> None:
    """The system's own resolver is checked like any other."""
    error = _refusal(make_fetcher(), f"http://localhost:{site.port}/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert site.seen == []


def test_the_connection_goes_to_the_checked_address(site: _Site, make_fetcher: MakeFetcher) -> None:
    """A name is looked up once, its answer is dialled, and the Host header keeps the name."""
    names, internet = _Names(), _LocalInternet(site.port)
    body = make_fetcher(resolve=names, network=internet).fetch("http://public.example/image")
    assert body == BODY
    assert names.asked == ["public.example"]
    assert internet.dialled == ["93.184.216.34"]
    assert site.seen == [("/image", "public.example")]


def test_a_name_that_changes_its_answer_gains_nothing(
    site: _Site, make_fetcher: MakeFetcher
) -> None:
    """With DNS rebinding, each connection goes to a checked address or is not opened."""
    turns = iter([["93.184.216.34"], ["127.0.0.1"]])
    names, internet = _Names(lambda _: next(turns)), _LocalInternet(site.port)
    fetcher = make_fetcher(resolve=names, network=internet)
    assert fetcher.fetch("http://rebind.example:8001/image") == BODY
    error = _refusal(fetcher, "http://rebind.example:8002/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert internet.dialled == ["93.184.216.34"]


@pytest.mark.parametrize(
    "target",
    ["http://inside.example/x", "http://127.0.0.1/x", "//metadata.example/", "http://[::1]/x"],
)
def test_a_redirect_inside_is_refused(site: _Site, target: str, make_fetcher: MakeFetcher) -> None:
    """The second hop is checked like the first."""
    internet = _LocalInternet(site.port)
    fetcher = make_fetcher(resolve=_Names(), network=internet)
    error = _refusal(fetcher, f"http://public.example/to?{target}")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert internet.dialled == ["93.184.216.34"]


def test_a_second_address_is_tried(site: _Site, make_fetcher: MakeFetcher) -> None:
    """A name with a dead address is still reached over its live one."""

    class FirstIsDead(_LocalInternet):
        def connect_tcp(self, host: str, *rest: Any, **more: Any) -> httpcore.NetworkStream:
            if host == "93.184.216.34":
                raise httpcore.ConnectError("unreachable")
            return super().connect_tcp(host, *rest, **more)

    names = _Names(lambda _: ["93.184.216.34", "93.184.216.35"])
    fetcher = make_fetcher(resolve=names, network=FirstIsDead(site.port))
    assert fetcher.fetch("http://two.example/image") == BODY


def test_a_name_without_addresses_is_temporary(site: _Site, make_fetcher: MakeFetcher) -> None:
    """An empty answer counts as a name server's bad minute."""
    fetcher = make_fetcher(resolve=_Names(), network=_LocalInternet(site.port))
    assert isinstance(_refusal(fetcher, "http://none.example/"), TemporaryFault)


def test_the_environment_gives_no_proxy_or_credentials(
    site: _Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for public.example, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=public.example", "-addext", "subjectAltName=DNS:public.example"]
    try:
        subprocess.run(
            [*command, "-keyout", str(path), "-out", str(path) + ".crt"],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        assert os.environ.get("CI") != "true", "CI must have openssl"
        pytest.skip("making a certificate needs the openssl command")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_tls_checks_the_name_and_not_the_address(
    site: _Site, certificate: Path, make_fetcher: MakeFetcher
) -> None:
    """On a pinned connection the certificate must be the host name's, which is also the SNI."""
    asked: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _, name, __: asked.append(name)
    site.socket = server.wrap_socket(site.socket, server_side=True)
    trust = ssl.create_default_context(cafile=f"{certificate}.crt")
    names = _Names(lambda _: ["93.184.216.34"])
    fetcher = make_fetcher(resolve=names, network=_LocalInternet(site.port), tls=trust)
    assert fetcher.fetch("https://public.example/image") == BODY
    error = _refusal(fetcher, "https://other.example/image")
    assert isinstance(error, TemporaryFault)
    assert asked == ["public.example", "other.example"]


def test_untrusted_certificates_are_refused(
    site: _Site, certificate: Path, make_fetcher: MakeFetcher
) -> None:
    """By default only certificates of known authorities are taken."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    site.socket = server.wrap_socket(site.socket, server_side=True)
    fetcher = make_fetcher(resolve=_Names(), network=_LocalInternet(site.port))
    assert isinstance(_refusal(fetcher, "https://public.example/image"), TemporaryFault)
