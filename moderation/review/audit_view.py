"""`/review/audit`: the audit log as a page, for leads."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from moderation.api.auth import ServicesDep
from moderation.review.api_audit import AuditQuery, read_lines
from moderation.review.auth import LeadDep
from moderation.review.pages import page
from moderation.store import audit

router = APIRouter(include_in_schema=False)


@router.get("/review/audit")
def audit_page(
    services: ServicesDep, session: LeadDep, query: Annotated[AuditQuery, Query()]
) -> HTMLResponse:
    """Who did what to what, the newest first, a hundred a page."""
    found = read_lines(services, session, query)
    with services.database.connect() as connection:
        actions = audit.actions(connection)
    given = query.model_dump(exclude_none=True, exclude={"limit", "cursor"}, mode="json")
    older = urlencode({**given, "cursor": found.next_cursor}) if found.next_cursor else None
    return page(
        "audit.html.j2",
        session,
        here="/review/audit",
        lines=found.lines,
        actions=actions,
        query=query,
        older=older,
        newest=urlencode(given) if query.cursor is not None else None,
        is_filtered=bool(given),
    )
