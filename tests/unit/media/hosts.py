"""A host of many behaviours on loopback, and an internet whose names all lead to it."""

import gzip
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import pytest

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.fetch import Fetcher

BODY = bytes(range(256)) * 40
MAX_BYTES = 20_000
# Long enough for any machine under load, where running out of time is not what is tested.
PATIENT_S = 60.0


class _Handler(BaseHTTPRequestHandler):
    """Answers by path; each path is one way for a host to behave."""

    protocol_version = "HTTP/1.1"
    server: "Site"

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


class Site(ThreadingHTTPServer):
    """Notes what it was asked for: path and Host header."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str | None]] = []
        self.stopping = threading.Event()
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing."""
        # Clients that hang up are part of the tests.


class LocalInternet(httpcore.NetworkBackend):
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
        """Connect to the site instead."""
        self.dialled.append(host)
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout)


NAMES = {
    "public.example": ["93.184.216.34"],
    "inside.example": ["10.0.0.7"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "none.example": [],
}


class Names:
    """A resolver that counts how often it is asked."""

    def __init__(self, answers: Callable[[str], list[str]] = lambda host: NAMES[host]) -> None:
        self.asked: list[str] = []
        self.answers = answers

    def __call__(self, host: str, port: int) -> list[str]:
        """Return a name's addresses."""
        self.asked.append(host)
        return [host] if host[0].isdigit() else self.answers(host)


MakeFetcher = Callable[..., Fetcher]


def refusal(fetcher: Fetcher, url: str) -> Unscorable | TemporaryFault:
    """What keeps a URL from being fetched."""
    with pytest.raises((Unscorable, TemporaryFault)) as caught:
        fetcher.fetch(url)
    error = caught.value
    assert isinstance(error, Unscorable | TemporaryFault)
    return error
