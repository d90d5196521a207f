"""Why the desk does not do what somebody asks for.

DeskRefused        it cannot be done any more, or by this person; nothing was changed
NoSuchThing        there is no case, claim or decision of that id
(InputRefused)     what was sent is wrong; `field` names the part
"""

from enum import StrEnum

from moderation.errors import CaptionguardError


class Problem(StrEnum):
    """What is in the way, for programs."""

    CLAIM_EXPIRED = "claim_expired"
    CLAIM_ENDED = "claim_ended"
    CASE_TAKEN = "case_taken"
    CASE_RESOLVED = "case_resolved"
    NOT_YOURS = "not_yours"
    TOO_LATE = "too_late"


class DeskRefused(CaptionguardError):
    """Somebody else was faster, or it is not this person's to do; `message` says what next."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message


class NoSuchThing(CaptionguardError):
    """There is nothing of that id."""
