"""The pages where moderators decide: `/review`, one case, and what is kept for somebody.

`/review` claims nothing by itself: its script takes cases by `POST /review/next`, which answers
with the case as HTML, and does all else by the API.
"""

from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from moderation.api.auth import ServicesDep
from moderation.review.api_claims import ClaimIn
from moderation.review.auth import SessionDep
from moderation.review.case_view import CaseView, ago, view_of
from moderation.review.desk_api import DeskDep, ReviewerDep, refusals
from moderation.review.pages import fragment, page
from moderation.store import users
from moderation.store.sessions import Session
from moderation.store.users import Role
from moderation.wiring import Services

router = APIRouter(prefix="/review", include_in_schema=False)


@router.get("")
def cases_page(
    services: ServicesDep, session: SessionDep, policy: str | None = None
) -> HTMLResponse:
    """One case after the other, of all policies or of one."""
    return _page(services, session, mode="queue", here="/review", policy=policy)


@router.post("/next")
def next_case(body: ClaimIn, session: SessionDep, reviewer: ReviewerDep, desk: DeskDep) -> Response:
    """Claim the next case, or a certain one, and show it; 204 when nothing waits."""
    with refusals():
        if body.case_id is not None:
            case = desk.take(reviewer, body.case_id)
        else:
            found = desk.next_case(reviewer, body.policy)
            if found is None:
                return Response(status_code=204)
            case = found
    return HTMLResponse(fragment("_case.html.j2", session, view=view_of(case), ago=ago))


@router.get("/cases/{case_id}")
def case_page(
    case_id: UUID, services: ServicesDep, session: SessionDep, reviewer: ReviewerDep, desk: DeskDep
) -> HTMLResponse:
    """One case, to look at and to take."""
    with refusals():
        case = desk.show(reviewer, case_id)
    return _page(services, session, mode="one", here=None, view=view_of(case))


@router.get("/mine")
def mine_page(session: SessionDep, reviewer: ReviewerDep, desk: DeskDep) -> HTMLResponse:
    """What somebody holds and what others assigned to them."""
    kept = [view_of(case) for case in desk.mine(reviewer)]
    return page(
        "mine.html.j2",
        session,
        here="/review/mine",
        ago=ago,
        held=[view for view in kept if view.case.state == "held"],
        assigned=[view for view in kept if view.case.state != "held"],
    )


def _page(
    services: Services,
    session: Session,
    *,
    mode: str,
    here: str | None,
    policy: str | None = None,
    view: CaseView | None = None,
) -> HTMLResponse:
    return page(
        "desk.html.j2",
        session,
        mode=mode,
        here=here,
        policy=policy,
        view=view,
        ago=ago,
        lease_s=services.settings.review_lease_s,
        undo_s=services.settings.review_undo_s,
        people=_people(services, session),
    )


def _people(services: Services, session: Session) -> list[str]:
    """To whom this person may assign a case."""
    with services.database.connect() as connection:
        everybody = [found.user for found in users.list_all(connection)]
    return [
        user.name
        for user in everybody
        if user.disabled_at is None
        and (session.user.role.may(Role.LEAD) or user.role.may(Role.LEAD) or user == session.user)
    ]
