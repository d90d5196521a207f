"""From what is stored of a case to what one person may see of it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from moderation.review.blindness import Sight, sight
from moderation.review.claiming import Reviewer
from moderation.review.deciding import undo_time
from moderation.review.documents import (
    AppealOut,
    CaseOut,
    ClaimOut,
    EarlierOut,
    NoteOut,
    ReasonOut,
    SameImageOut,
)
from moderation.review.refusals import NoSuchThing
from moderation.review.words import direction, score_sentence, why
from moderation.settings import Settings
from moderation.store.case_notes import notes_of
from moderation.store.case_reading import StoredCase, earlier, read_cases
from moderation.store.cases import Level, Route, State
from moderation.store.claims import Claim
from moderation.store.reasons import reasons_for
from moderation.store.same_image import same_image

_SAME_IMAGE = 10


def show(
    connection: Connection,
    settings: Settings,
    reviewer: Reviewer,
    case_id: UUID,
    claim: Claim | None = None,
) -> CaseOut:
    """A case as this person may see it; `claim` is the one they have just got, if any."""
    found = read_cases(connection, [case_id]).get(case_id)
    if found is None:
        raise NoSuchThing("there is no such case")
    return _document(connection, settings, reviewer, found, claim)


def show_all(
    connection: Connection, settings: Settings, reviewer: Reviewer, case_ids: Sequence[UUID]
) -> list[CaseOut]:
    """Cases as this person may see them, in this order."""
    found = read_cases(connection, case_ids)
    return [
        _document(connection, settings, reviewer, found[id_], None)
        for id_ in case_ids
        if id_ in found
    ]


def _document(
    connection: Connection,
    settings: Settings,
    reviewer: Reviewer,
    case: StoredCase,
    claim: Claim | None,
) -> CaseOut:
    seen = sight(
        blind=case.blind,
        state=case.state,
        level=case.level,
        resolved_for=case.resolved_for,
        is_lead=reviewer.is_lead,
        undo=undo_time(settings),
    )
    listed = reasons_for(connection, case.policy).to_document()
    appeal = case.appeal
    return CaseOut(
        **_of_the_verdict(case, seen),
        id=case.id,
        platform=case.platform,
        policy=case.policy,
        caption=case.caption,
        caption_direction=direction(case.caption),
        **_of_its_way(case, seen),
        blind=case.blind,
        image_url=f"/v1/review/cases/{case.id}/image" if case.has_copy else None,
        image_problem=case.copy_problem,
        earlier=_earlier(connection, reviewer, case, seen),
        notes=[
            NoteOut(by=note.by, text=note.text, at=note.at)
            for note in notes_of(connection, case.id)
            if seen.others or note.by == reviewer.user.name
        ],
        same_image=_same_image(connection, case, seen),
        reasons=[ReasonOut(**reason) for reason in listed["reasons"]],
        reason_required_for=listed["required_for"],
        claim=None if claim is None else ClaimOut(id=claim.id, expires_at=claim.expires_at),
        appeal=appeal and AppealOut(statement=appeal.statement, created_at=appeal.created_at),
    )


def _of_the_verdict(case: StoredCase, seen: Sight) -> dict[str, object]:
    if not seen.verdict:
        hidden = (
            "submission_id", "external_id", "created_at", "due_at", "route", "why", "score",
            "threshold", "score_sentence", "outcome", "reason", "detail", "resolution",
        )  # fmt: skip
        return {**dict.fromkeys(hidden), "notes_of_verdict": []}
    sentence = None
    if case.score is not None and case.threshold is not None:
        sentence = score_sentence(case.score, case.threshold)
    return {
        "submission_id": case.submission_id,
        "external_id": case.external_id,
        "created_at": case.submitted_at,
        "due_at": case.due_at,
        "route": case.route.value,
        "why": why(case),
        "score": case.score,
        "threshold": case.threshold,
        "score_sentence": sentence,
        "outcome": case.outcome,
        "reason": case.reason,
        "detail": case.detail,
        "resolution": case.resolution and case.resolution.value,
        "notes_of_verdict": list(case.notes_of_verdict),
    }


def _of_its_way(case: StoredCase, seen: Sight) -> dict[str, str]:
    """Where a case stands; of a blind one only whether it is laid aside.

    What an answer leads to would tell: a golden case is settled by any first one.
    """
    if seen.verdict or seen.others:
        return {"state": case.state.value, "level": case.level.value}
    is_held = case.state is State.HELD
    return {
        "state": (State.HELD if is_held else State.OPEN).value,
        "level": Level.MODERATOR.value,
    }


def _earlier(
    connection: Connection, reviewer: Reviewer, case: StoredCase, seen: Sight
) -> list[EarlierOut]:
    if not seen.others:
        return []
    # Who looks again is to weigh what was said, not who said it.
    is_second_look = case.route is Route.APPEAL and case.state is not State.RESOLVED
    return [
        EarlierOut(
            case_id=one.case_id,
            answer=one.answer.value,
            reason=one.reason,
            note=one.note,
            decided_by=None if is_second_look else one.decided_by,
            created_at=one.created_at,
        )
        for one in earlier(connection, case.submission_id, case.id)
        # Other cases of the submission say what it was flagged for.
        if seen.verdict or one.case_id == case.id
    ]


def _same_image(connection: Connection, case: StoredCase, seen: Sight) -> list[SameImageOut]:
    return [
        SameImageOut(
            # The others' decisions and ids would lead to what this one is not to tell.
            submission_id=one.submission_id if seen.verdict else None,
            case_id=one.case_id if seen.verdict else None,
            caption=one.caption,
            outcome=one.outcome.value if seen.verdict and one.outcome else None,
            created_at=one.created_at,
        )
        for one in same_image(connection, case.submission_id, _SAME_IMAGE)
    ]
