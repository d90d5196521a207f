"""Draws by lot that stay: the same for every process, and nobody outside can foretell them.

A platform that knew which of its posts will be looked at twice, or sampled, could behave for just
those. So the lot is a keyed hash of the submission's id; the key is this installation's own, in
the database (`moderation.store.secrets`), and never logged.
"""

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

# As many bits as a float in [0, 1) can tell apart.
_BITS = 53


class Purpose(StrEnum):
    """What is drawn for: draws for different purposes are independent of each other."""

    TWICE = "twice"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Draws:
    """Uniform draws by one secret key."""

    key: bytes = field(repr=False)
    # Half of the work of each draw, done once.
    _keyed: "hmac.HMAC" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keyed", hmac.new(self.key, digestmod="sha256"))

    def uniform(self, purpose: Purpose, submission_id: UUID) -> float:
        """A number in [0, 1), always the same one for the same purpose and submission."""
        keyed = self._keyed.copy()
        keyed.update(purpose.value.encode() + b":" + submission_id.bytes)
        return (int.from_bytes(keyed.digest()[:8]) >> (64 - _BITS)) * 2.0**-_BITS
