"""Draws by lot that stay: the same for every process, and nobody outside can foretell them.

A platform that knew which of its posts will be looked at twice, or sampled, could behave for just
those. So the lot is a keyed hash of the submission's id; the key is this installation's own, in
the database (`moderation.store.secrets`), and never logged.
"""

import hashlib
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

    def uniform(self, purpose: Purpose, submission_id: UUID) -> float:
        """A number in [0, 1), always the same one for the same purpose and submission.

        By keyed BLAKE2b (RFC 7693), with the purpose as personalisation.
        """
        digest = hashlib.blake2b(
            submission_id.bytes, digest_size=8, key=self.key, person=purpose.value.encode()
        ).digest()
        return (int.from_bytes(digest) >> (64 - _BITS)) * 2.0**-_BITS
