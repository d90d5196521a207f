"""A platform's image host on loopback, and pictures that the tests draw."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
from PIL import Image

Handler = Callable[[int], tuple[int, bytes]]


def picture(
    colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (96, 80)
) -> bytes:
    """A JPEG of one colour."""
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


class ImageHost:
    """Serves what a test tells it to, by path; the handler is given the count of requests."""

    def __init__(self) -> None:
        self.pages: dict[str, Handler] = {}
        self.requests: dict[str, int] = {}
        host = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                count = host.requests[self.path] = host.requests.get(self.path, 0) + 1
                status, body = host.pages.get(self.path, lambda _: (404, b""))(count)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def image_host() -> Iterator[ImageHost]:
    """A running image host."""
    host = ImageHost()
    yield host
    host.stop()
