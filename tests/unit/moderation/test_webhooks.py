"""Webhooks without a database: when a try follows, and what an endpoint can do to us."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.webhooks import WAITS_S, Answer, Message, Sender, new_secret, wait_after

SECRET = new_secret()


def fails(status: int | None, retry_after_s: float | None = None) -> Answer:
    """An answer that is a failure."""
    return Answer(status, "it failed", 0.1, retry_after_s)


@given(st.integers(1, len(WAITS_S)), st.none() | st.integers(300, 599).filter(lambda s: s != 410))
def test_waits_are_those_of_the_standard_and_up_to_a_tenth_more(
    attempt: int, status: int | None
) -> None:
    """The ninth wait is the last; together they last for three days."""
    wait = wait_after(attempt, fails(status))
    assert wait is not None
    assert 1 <= wait.total_seconds() / WAITS_S[attempt - 1] <= 1.1
    assert timedelta(days=3) < timedelta(seconds=sum(WAITS_S)) < timedelta(days=3.5)


@given(st.integers(1, 20))
def test_there_is_an_end(attempt: int) -> None:
    """After the tenth try, and at once where the endpoint is gone."""
    assert (wait_after(attempt, fails(500)) is None) == (attempt > len(WAITS_S))
    assert wait_after(attempt, fails(410)) is None


@given(st.integers(1, len(WAITS_S)), st.floats(0, 86_400))
def test_nobody_comes_back_earlier_than_asked(attempt: int, asked_s: float) -> None:
    """Retry-After lengthens a wait, and never shortens one."""
    wait = wait_after(attempt, fails(429, asked_s))
    assert wait is not None
    assert wait.total_seconds() >= max(asked_s - 1e-6, WAITS_S[attempt - 1])


def test_secrets_are_as_the_standard_wants_them() -> None:
    """`whsec_` and base64 of 32 bytes, never the same."""
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in made)
    assert SECRET not in repr(Message(uuid4(), "{}", "https://example.com", [SECRET]))


@contextmanager
def host(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and then behaves; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    try:
                        behave(connection)
                    except OSError:
                        continue
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@contextmanager
def sender(timeout_s: float = 60.0) -> Iterator[Sender]:
    """A sender that may reach this machine."""
    made = Sender(timeout_s=timeout_s, allow_private=True)
    try:
        yield made
    finally:
        made.close()


def send(url: str, *, timeout_s: float = 60.0) -> Answer:
    """Send one message."""
    with sender(timeout_s) as made:
        return made.send(Message(uuid4(), "{}", url, [SECRET]))


@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "], ids=["no byte", "within the headers"]
)
def test_a_server_that_drips_holds_no_thread(begin: bytes) -> None:
    """Each byte comes in good time, and all of them together not."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with host(drip) as url:
        answer = send(url, timeout_s=0.5)
    assert (answer.status, answer.problem) == (None, "took longer than 0.5 s")


def test_an_endless_answer_is_left_alone() -> None:
    """A 200 is a 200, whatever its text; no more than a little of it is read."""

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    with host(pour) as url:
        answer = send(url)
    assert (answer.status, answer.problem) == (200, None)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"this is no HTTP\r\n\r\n", "broke off or did not answer in HTTP"),
        (b"", "broke off or did not answer in HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 199 What\r\nContent-Length: 0\r\n\r\n", "broke off or did not answer in HTTP"),
        (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "answered 400"),
    ],
)
def test_whatever_is_answered_is_an_answer(said: bytes, problem: str | None) -> None:
    """Nonsense and silence are failures like any other."""
    with host(lambda connection: connection.sendall(said)) as url:
        assert send(url).problem == problem


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999", 86_400.0),
        ("-5", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_it_is_meant(header: str, expected_s: float | None) -> None:
    """Seconds or a date, at most a day; what is neither is as if it were not there."""
    text = f"HTTP/1.1 429 Later\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
    with host(lambda connection: connection.sendall(text.encode())) as url:
        assert send(url).retry_after_s == expected_s


def test_only_who_may_says_when_to_come_back() -> None:
    """A Retry-After of any other answer means nothing."""
    text = b"HTTP/1.1 500 No\r\nRetry-After: 99\r\nContent-Length: 0\r\n\r\n"
    with host(lambda connection: connection.sendall(text)) as url:
        assert send(url).retry_after_s is None


def test_a_name_that_turns_private_is_not_connected_to() -> None:
    """The address that was checked is the one that is connected to: rebinding gains nothing."""
    reached = threading.Event()
    answers = iter([["93.184.216.34", "127.0.0.1"], ["10.0.0.1"], ["::ffff:127.0.0.1"]])
    with host(lambda _: reached.set()) as url:
        made = Sender(timeout_s=60, allow_private=False, resolve=lambda name, port: next(answers))
        target = url.replace("http://127.0.0.1", "https://platform.example")
        for _ in range(3):
            answer = made.send(Message(uuid4(), "{}", target, [SECRET]))
            assert answer.problem == "the host has a private or reserved address"
        made.close()
    assert not reached.is_set()
