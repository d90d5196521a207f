"""`/review/golden`: submissions whose right answer is known, for leads; works without a script."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from moderation.api.auth import ServicesDep
from moderation.review.api_golden import GoldenIn, read_golden, store_golden
from moderation.review.auth import ActorDep, LeadDep
from moderation.review.pages import page
from moderation.store import golden
from moderation.store.golden import NotGolden
from moderation.store.sessions import Session
from moderation.wiring import Services

router = APIRouter(include_in_schema=False)


@router.get("/review/golden")
def golden_page(services: ServicesDep, session: LeadDep, submission_id: str = "") -> Response:
    """All golden submissions, and a form to add one; a link may fill in which."""
    return _page(services, session, given={"submission_id": submission_id})


@router.post("/review/golden")
def add(
    services: ServicesDep,
    session: LeadDep,
    actor: ActorDep,
    submission_id: Annotated[str, Form()] = "",
    answer: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
) -> Response:
    """Mix a submission in; what was typed is kept where that cannot be."""
    given = {"submission_id": submission_id.strip(), "answer": answer, "why": why}
    try:
        store_golden(services, actor, GoldenIn.model_validate(given))
    except ValidationError as error:
        return _page(services, session, given=given, problem=_words(error), status_code=422)
    except NotGolden as error:
        return _page(services, session, given=given, problem=str(error), status_code=409)
    return RedirectResponse("/review/golden", status_code=303)


@router.post("/review/golden/{submission_id}/retire")
def retire(
    submission_id: UUID, services: ServicesDep, session: LeadDep, actor: ActorDep
) -> Response:
    """Mix it in no longer; once more changes nothing."""
    with services.database.begin() as connection:
        golden.retire(connection, submission_id, actor=actor)
    return RedirectResponse("/review/golden", status_code=303)


_FIELDS = {
    "submission_id": "write the submission's id as its case shows it",
    "answer": "choose the right answer",
    "why": "say in 1 to 500 characters how one knows",
}


def _words(error: ValidationError) -> str:
    wrong = [str(problem["loc"][0]) for problem in error.errors()]
    return "; ".join(_FIELDS[name] for name in dict.fromkeys(wrong))


def _page(
    services: Services,
    session: Session,
    *,
    given: dict[str, str],
    problem: str | None = None,
    status_code: int = 200,
) -> Response:
    return page(
        "golden.html.j2",
        session,
        status_code=status_code,
        here="/review/people",
        golden=read_golden(services),
        share=services.settings.review_golden_share,
        given={"answer": "", "why": "", **given},
        problem=problem,
    )
