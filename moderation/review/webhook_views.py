"""`/review/webhooks`: endpoints and deliveries as a page, for admins."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused
from moderation.review import webhooks
from moderation.review.auth import ActorDep, AdminDep
from moderation.review.pages import page
from moderation.review.webhooks import Added
from moderation.store import deliveries, endpoints
from moderation.store.deliveries import State
from moderation.store.sessions import Session
from moderation.webhooks import Answer
from moderation.wiring import Services

router = APIRouter(prefix="/review/webhooks", include_in_schema=False)
_HERE = "/review/webhooks"
_SHOWN = 50
_REPLAY_SPAN = timedelta(hours=24)


@router.get("")
def webhooks_page(
    services: ServicesDep, session: AdminDep, state: State | None = None
) -> HTMLResponse:
    """All endpoints and the newest deliveries, of one state if given."""
    return _page(services, session, state=state)


@router.post("")
def add(
    services: ServicesDep,
    session: AdminDep,
    actor: ActorDep,
    platform: Annotated[str, Form()] = "",
    url: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """Add an endpoint; this answer alone shows its secret."""
    try:
        with services.database.begin() as connection:
            added = webhooks.add(
                connection, actor, services.settings, platform=platform.strip(), url=url.strip()
            )
    except InputRefused as error:
        given = {"platform": platform, "url": url}
        return _page(services, session, problem=str(error), given=given, status_code=422)
    return _page(services, session, added=added)


@router.post("/replay")
def replay_failed(services: ServicesDep, session: AdminDep, actor: ActorDep) -> Response:
    """Send again what was given up within a day."""
    with services.database.begin() as connection:
        webhooks.replay_failed(connection, actor, _REPLAY_SPAN)
    return _back(State.PENDING)


@router.post("/deliveries/{delivery_id}/replay")
def replay(
    services: ServicesDep, session: AdminDep, actor: ActorDep, delivery_id: UUID
) -> Response:
    """Send one delivery again."""
    return _change(
        services, session, lambda connection: webhooks.replay(connection, actor, delivery_id)
    )


@router.post("/{endpoint_id}/rotate")
def rotate(
    services: ServicesDep, session: AdminDep, actor: ActorDep, endpoint_id: UUID
) -> Response:
    """Make a new secret; this answer alone shows it."""
    try:
        with services.database.begin() as connection:
            added = webhooks.rotate(connection, actor, endpoint_id)
    except InputRefused as error:
        return _page(services, session, problem=str(error), status_code=409)
    return _page(services, session, added=added)


@router.post("/{endpoint_id}/test")
def test(services: ServicesDep, session: AdminDep, endpoint_id: UUID) -> HTMLResponse:
    """Send a ping and show the answer."""
    try:
        answer = webhooks.test(services.database, services.settings, endpoint_id)
    except InputRefused as error:
        return _page(services, session, problem=str(error), status_code=409)
    return _page(services, session, answer=answer)


@router.post("/{endpoint_id}/enable")
def enable(
    services: ServicesDep, session: AdminDep, actor: ActorDep, endpoint_id: UUID
) -> Response:
    """Send again to an endpoint that was disabled."""
    return _change(
        services, session, lambda connection: webhooks.enable(connection, actor, endpoint_id)
    )


@router.post("/{endpoint_id}/remove")
def remove(
    services: ServicesDep, session: AdminDep, actor: ActorDep, endpoint_id: UUID
) -> Response:
    """Send nothing more."""
    return _change(
        services, session, lambda connection: webhooks.remove(connection, actor, endpoint_id)
    )


def _change(
    services: Services, session: Session, change: Callable[[Connection], object]
) -> Response:
    try:
        with services.database.begin() as connection:
            change(connection)
    except InputRefused as error:
        return _page(services, session, problem=str(error), status_code=409)
    return _back()


def _back(state: State | None = None) -> RedirectResponse:
    # A reload of what comes then changes nothing.
    return RedirectResponse(_HERE + (f"?state={state}" if state else ""), status_code=303)


def _page(
    services: Services,
    session: Session,
    *,
    state: State | None = None,
    added: Added | None = None,
    answer: Answer | None = None,
    problem: str | None = None,
    given: dict[str, str] | None = None,
    status_code: int = 200,
) -> HTMLResponse:
    with services.database.connect() as connection:
        found = endpoints.list_all(connection)
        latest = deliveries.latest(connection, state=state, at_most=_SHOWN)
    return page(
        "webhooks.html.j2",
        session,
        status_code=status_code,
        here=_HERE,
        endpoints=found,
        deliveries=latest,
        enabled={endpoint.id for endpoint in found if endpoint.disabled_at is None},
        urls={endpoint.id: endpoint.url for endpoint in found},
        state=state,
        states=list(State),
        added=added,
        answer=answer,
        problem=problem,
        given=given or {"platform": "", "url": ""},
        can_replay=any(e.failed and e.disabled_at is None for e in found),
    )
