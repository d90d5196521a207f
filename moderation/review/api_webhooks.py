"""`/v1/review/webhooks`: where platforms are told of verdicts and decisions, for admins."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Response
from sqlalchemy import Connection

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused
from moderation.review import webhooks
from moderation.review.auth import ActorDep, AdminDep
from moderation.review.webhook_documents import (
    AddedOut,
    DeliveriesOut,
    DeliveryOut,
    EndpointIn,
    EndpointOut,
    EndpointsOut,
    ReplayedOut,
    ReplayIn,
    TestedOut,
)
from moderation.review.webhooks import NoSuchEndpoint, NotReplayable
from moderation.store import deliveries, endpoints
from moderation.store.deliveries import State
from moderation.wiring import Services

router = APIRouter(
    prefix="/v1/review/webhooks",
    tags=["desk: webhooks"],
    responses={
        401: {"description": "nobody is signed in"},
        403: {"description": "this needs the role admin"},
    },
)
_MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "there is none of that id"}}


@contextmanager
def changing(services: Services) -> Iterator[Connection]:
    """A transaction in which what is refused becomes an answer."""
    try:
        with services.database.begin() as connection:
            yield connection
    except NoSuchEndpoint as error:
        raise HTTPException(404, str(error)) from error
    except NotReplayable as error:
        raise HTTPException(409, str(error)) from error
    except InputRefused as error:
        raise HTTPException(422, str(error)) from error


@router.get("")
def list_endpoints(services: ServicesDep, session: AdminDep) -> EndpointsOut:
    """All endpoints, by platform."""
    with services.database.connect() as connection:
        found = endpoints.list_all(connection)
    return EndpointsOut(endpoints=[EndpointOut.of(endpoint) for endpoint in found])


@router.post("", status_code=201)
def add_endpoint(
    services: ServicesDep, session: AdminDep, actor: ActorDep, asked: EndpointIn
) -> AddedOut:
    """Tell a platform at this URL from now on. The secret is in this answer only."""
    with changing(services) as connection:
        added = webhooks.add(
            connection, actor, services.settings, platform=asked.platform, url=asked.url
        )
    return AddedOut.of_added(added)


@router.get("/deliveries")
def list_deliveries(
    services: ServicesDep,
    session: AdminDep,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DeliveriesOut:
    """The newest deliveries, of one state if given."""
    with services.database.connect() as connection:
        found = deliveries.latest(connection, state=state, at_most=limit)
    return DeliveriesOut(deliveries=[DeliveryOut.of(delivery) for delivery in found])


@router.post("/deliveries/replay")
def replay_failed(
    services: ServicesDep, session: AdminDep, actor: ActorDep, asked: ReplayIn
) -> ReplayedOut:
    """Send again what was given up, to all endpoints that are not disabled."""
    with changing(services) as connection:
        count = webhooks.replay_failed(connection, actor, timedelta(hours=asked.failed_since_h))
    return ReplayedOut(replayed=count)


@router.post(
    "/deliveries/{delivery_id}/replay",
    responses={409: {"description": "it waits, was cancelled, or its endpoint is disabled"}},
)
def replay_delivery(
    services: ServicesDep, session: AdminDep, actor: ActorDep, delivery_id: UUID
) -> ReplayedOut:
    """Send one again that was delivered or given up; the event keeps its id."""
    with changing(services) as connection:
        webhooks.replay(connection, actor, delivery_id)
    return ReplayedOut(replayed=1)


@router.delete("/{endpoint_id}", status_code=204, responses=_MISSING)
def remove_endpoint(
    services: ServicesDep, session: AdminDep, actor: ActorDep, endpoint_id: UUID
) -> Response:
    """Send nothing more, not even what waits."""
    with changing(services) as connection:
        webhooks.remove(connection, actor, endpoint_id)
    return Response(status_code=204)


@router.post("/{endpoint_id}/rotate", responses=_MISSING)
def rotate_secret(
    services: ServicesDep, session: AdminDep, actor: ActorDep, endpoint_id: UUID
) -> AddedOut:
    """Make a new secret. For 24 hours the one before signs as well."""
    with changing(services) as connection:
        return AddedOut.of_added(webhooks.rotate(connection, actor, endpoint_id))


@router.post("/{endpoint_id}/enable", responses=_MISSING)
def enable_endpoint(
    services: ServicesDep, session: AdminDep, actor: ActorDep, endpoint_id: UUID
) -> EndpointOut:
    """Send again to an endpoint that was disabled, from now on."""
    with changing(services) as connection:
        return EndpointOut.of(webhooks.enable(connection, actor, endpoint_id))


@router.post("/{endpoint_id}/test", responses=_MISSING)
def test_endpoint(services: ServicesDep, session: AdminDep, endpoint_id: UUID) -> TestedOut:
    """Send a signed `ping` and wait for the answer."""
    try:
        answer = webhooks.test(services.database, services.settings, endpoint_id)
    except NoSuchEndpoint as error:
        raise HTTPException(404, str(error)) from error
    return TestedOut.of(answer)
