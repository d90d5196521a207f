"""When a submission came in, by the time in its id: its primary key finds a period."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

HOUR = timedelta(hours=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# A UUIDv7 begins with milliseconds in 48 of its 128 bits (RFC 9562, section 5.7).
_BITS_BELOW = 80


def first_id(moment: datetime) -> UUID:
    """What the ids of submissions from this moment on are not below, nor earlier ones above."""
    return UUID(int=((moment - _EPOCH) // _MILLISECOND) << _BITS_BELOW)


def came_in_at(id_: UUID) -> datetime:
    """When a submission was handed in, to the millisecond."""
    return _EPOCH + (id_.int >> _BITS_BELOW) * _MILLISECOND


def hour_of(moment: datetime) -> datetime:
    """The hour that a moment lies in, by its beginning; hours are those of UTC."""
    return _EPOCH + (moment - _EPOCH) // HOUR * HOUR
