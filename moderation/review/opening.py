"""Which verdict opens which case, how long it may wait, and who sees what of it. Pure."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from moderation.draws import Draws, Purpose
from moderation.store.cases import NewCase, Route
from moderation.store.verdicts import OpenCase
from moderation.types import Outcome, Reason, Verdict

_SUREST = timedelta(hours=1)
_EVEN_ODDS = timedelta(hours=24)
_APPEAL = timedelta(minutes=30)

# A copy of these cannot be made either: the same file would fail in the same decoder.
_NO_COPY = {
    Reason.IMAGE_URL_REFUSED: "The image's address is none that may be fetched from.",
    Reason.IMAGE_NOT_FOUND: "There was no image where the platform said.",
    Reason.IMAGE_TOO_MANY_BYTES: "The image's file is larger than the limit.",
    Reason.IMAGE_TOO_MANY_PIXELS: "The image has more pixels than the limit.",
    Reason.IMAGE_UNSUPPORTED: "The file is no image of a kind that can be shown.",
    Reason.IMAGE_CORRUPT: "The image's file is damaged.",
    Reason.IMAGE_DECODER_FAILED: "The image's file broke the decoder.",
}
_UNREACHABLE = "The platform's server did not hand the image out."

# Of a match score: the probability with which a pass that has it is audited.
Inclusion = Callable[[float], float]


def patience(route: Route, score: float | None = None) -> timedelta:
    """How long a case may wait before it is due; of all that wait, the earliest due is next.

    That is age and priority in one order: a case that came later goes first only if it is more
    pressing by more than the difference in age. An appeal has 30 minutes, since somebody waits for
    the answer. A flagged case has 1 hour when the posterior of a mismatch is 1 and, evenly in
    between, 24 hours when it is 0.5; that posterior is 1 - score at even odds, and any other
    prevalence keeps the order. What has no score (unscorable), and what is not to show it
    (audit, golden), waits as at even odds. So nothing is overtaken by what comes a day later,
    however busy the day.
    """
    if route is Route.APPEAL:
        return _APPEAL
    if route is not Route.FLAGGED or score is None:
        return _EVEN_ODDS
    # Scores above even odds can be flagged too, where somebody chose so high a threshold.
    return _SUREST + (_EVEN_ODDS - _SUREST) * min(1.0, score / 0.5)


def no_copy(reason: Reason | None) -> str | None:
    """Why there can be no copy of an image whose submission is unscorable; None if there can be."""
    return _NO_COPY.get(reason) if reason is not None else None


def given_up(reason: Reason) -> str:
    """Why there is no copy of an image after all tries."""
    return _NO_COPY.get(reason, _UNREACHABLE)


def case_for(submission_id: UUID, verdict: Verdict, *, twice: bool) -> NewCase | None:
    """The case that a verdict opens, None for a pass; `twice` if two people are to decide it.

    Only what is flagged is decided twice: there is a score to hide from both.
    """
    if verdict.outcome is Outcome.PASS:
        return None
    if verdict.outcome is Outcome.UNSCORABLE:
        return NewCase(
            submission_id,
            Route.UNSCORABLE,
            due_in=patience(Route.UNSCORABLE),
            copy_problem=no_copy(verdict.reason),
            # Its host has been asked in vain for minutes: others come first.
            copy_attempts=1 if verdict.reason is Reason.IMAGE_UNREACHABLE else 0,
        )
    return NewCase(
        submission_id,
        Route.FLAGGED,
        due_in=patience(Route.FLAGGED, verdict.score),
        blind=twice,
        answers_wanted=2 if twice else 1,
    )


def audit_of(submission_id: UUID, probability: float) -> NewCase:
    """The case of a pass that was drawn with this probability, so that recall can be known."""
    return NewCase(
        submission_id,
        Route.AUDIT,
        inclusion_probability=probability,
        due_in=patience(Route.AUDIT),
        blind=True,
    )


def opening(draws: Draws, *, twice_share: float, inclusion: Inclusion | None = None) -> OpenCase:
    """Open cases so that a share of the flagged ones, drawn by lot, is decided by two people.

    Of the passes, those are audited that another lot draws, each with its `inclusion`; none
    without one. That is fixed here and stored with the case: whatever is drawn anew later, by
    another plan, would come to review with a probability that nobody knows.
    """

    def open_case(submission_id: UUID, verdict: Verdict) -> NewCase | None:
        if verdict.outcome is Outcome.PASS:
            if inclusion is None or verdict.score is None:
                return None
            probability = inclusion(verdict.score)
            is_drawn = draws.uniform(Purpose.AUDIT, submission_id) < probability
            return audit_of(submission_id, probability) if is_drawn else None
        # Most are not flagged, and a draw costs some microseconds.
        twice = (
            verdict.outcome is Outcome.FLAG
            and draws.uniform(Purpose.TWICE, submission_id) < twice_share
        )
        return case_for(submission_id, verdict, twice=twice)

    return open_case
