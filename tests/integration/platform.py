"""A platform that is told of verdicts and decisions: a real server, which verifies what comes."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from standardwebhooks import Webhook

from moderation.metrics import WebhookMetrics
from moderation.review import webhooks
from moderation.store import submissions, verdicts
from moderation.store.audit import Actor
from moderation.types import ImageRef, NewSubmission, Outcome, Verdict
from moderation.wiring import Services
from tests.integration.traffic import open_no_case
from workers.deliver import Deliverer

FLAG = Verdict(Outcome.FLAG, "c-1", "m", 0.35, cosine=0.1, score=0.125)


@dataclass(frozen=True)
class Reply:
    """What the platform answers with."""

    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The event's id."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The document, if this secret signed it."""
        document: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return document


class Platform:
    """Takes everything, unless `reply` says otherwise; what came is in `received`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.reply: Callable[[Received], Reply] = lambda _: Reply()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, headers, body)
                platform.received.append(received)
                reply = platform.reply(received)
                self.send_response(reply.status)
                for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """Whoever was killed while it waited hears no answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    @contextlib.contextmanager
    def serving(self) -> Iterator["Platform"]:
        """Answer until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def of(self, path: str) -> list[Received]:
        """What came to one path."""
        return [received for received in self.received if received.path == path]


def add_endpoint(services: Services, url: str, *, platform: str = "acme") -> tuple[UUID, str]:
    """Add an endpoint, as an admin does; its id and its secret."""
    with services.database.begin() as connection:
        added = webhooks.add(
            connection, Actor("cli:ada"), services.settings, platform=platform, url=url
        )
    return added.endpoint.id, added.secret


def judge(
    services: Services, count: int = 1, *, platform: str = "acme", verdict: Verdict = FLAG
) -> list[UUID]:
    """Accept submissions and store their verdicts, as the pipeline does; their ids, in order."""
    items = [
        NewSubmission(platform, f"post-{uuid4()}", "default", "a red ball", ImageRef(blob="0" * 64))
        for _ in range(count)
    ]
    with services.database.begin() as connection:
        ids = [item.id for item in submissions.accept(connection, items, message_id="m")]
    with services.database.begin() as connection:
        verdicts.record(connection, [(id_, verdict) for id_ in ids], open_no_case)
    return ids


@contextlib.contextmanager
def delivering(services: Services) -> Iterator[WebhookMetrics]:
    """The scheduler's deliverer, until the block ends."""
    stop, metrics = threading.Event(), WebhookMetrics(CollectorRegistry())
    deliverer = Deliverer(services.database, services.settings, metrics)
    thread = threading.Thread(target=deliverer.run, args=(stop,))
    thread.start()
    try:
        yield metrics
    finally:
        stop.set()
        thread.join()


def states(services: Services) -> dict[str, int]:
    """How many deliveries there are in each state."""
    query = text("SELECT state, count(*) AS deliveries FROM webhook_deliveries GROUP BY state")
    with services.database.connect() as connection:
        return {row.state: row.deliveries for row in connection.execute(query)}


def let_time_pass(services: Services) -> None:
    """Make what was put off due now, and what waits until it cannot be undone."""
    with services.database.begin() as connection:
        connection.execute(
            text(
                "UPDATE webhook_deliveries SET due_at = now()"
                " WHERE state = 'pending' AND (last_problem IS NOT NULL OR attempts = 0)"
            )
        )
