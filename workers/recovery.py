"""Waiting out a database that does not answer, with backoff and jitter."""

from collections.abc import Callable
from typing import TypeVar

import structlog
import tenacity

from moderation.store.database import is_passing

log = structlog.get_logger()

T = TypeVar("T")

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
# Long enough for a failover; then the message goes back or is sent again.
_GIVE_UP_S = 120.0


def until_database_answers(action: Callable[[], T]) -> T:
    """Run a transaction, again while the fault may pass; the last error after two minutes."""
    try:
        return action()
    except Exception as error:
        if not is_passing(error):
            raise
        # At once: a connection that nobody has checked may have been dead for hours.
        log.warning("database_retry", attempt=0, error=type(error).__name__)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Exception) and is_passing(error)
        ),
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        stop=tenacity.stop_after_delay(_GIVE_UP_S),
        before_sleep=_say,
        reraise=True,
    )
    return retrying(action)


def _say(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("database_retry", attempt=state.attempt_number, error=type(error).__name__)
