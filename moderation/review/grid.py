"""`/review/grid`: many cases side by side, to decide together what is alike."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from moderation.api.auth import ServicesDep
from moderation.review.api_case_list import CaseListQuery, ListedOut, read_cases
from moderation.review.auth import SessionDep
from moderation.review.case_view import Piece, ago, pieces_of
from moderation.review.pages import page
from moderation.store.reasons import reasons_for

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Card:
    """A case as the grid shows it."""

    case: ListedOut
    caption: list[Piece]
    waiting: str
    why: str | None


@router.get("/review/grid")
def grid_page(
    services: ServicesDep, session: SessionDep, query: Annotated[CaseListQuery, Query()]
) -> HTMLResponse:
    """The first of the cases that fit the filter, or those after the cursor."""
    found = read_cases(services, session, query)
    given = query.model_dump(exclude_defaults=True, exclude={"limit", "cursor"}, mode="json")
    return page(
        "grid.html.j2",
        session,
        here="/review/grid",
        cards=[
            Card(each, pieces_of(each.caption), ago(each.created_at), _why(each.reason))
            for each in found.cases
        ],
        reasons=_reasons(services, {each.policy for each in found.cases}),
        query=query,
        is_filtered=bool(given),
        first=f"/review/grid?{urlencode(given)}",
        more=f"/review/grid?{urlencode({**given, 'cursor': found.next_cursor})}"
        if found.next_cursor
        else None,
        undo_s=services.settings.review_undo_s,
    )


def _reasons(services: ServicesDep, policies: set[str]) -> dict[str, Any]:
    with services.database.connect() as connection:
        return {policy: reasons_for(connection, policy).to_document() for policy in policies}


def _why(reason: str | None) -> str | None:
    return reason.replace("_", " ") if reason else None
