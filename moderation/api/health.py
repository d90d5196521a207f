"""`/healthz`, `/readyz` and `/metrics`."""

import redis
from fastapi import APIRouter, Response
from prometheus_client.exposition import choose_encoder
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from moderation.api import threads
from moderation.api.auth import ServicesDep
from moderation.errors import CaptionguardError
from moderation.metrics import QueueMetrics
from moderation.store import submissions, workers
from moderation.wiring import Services

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether this process answers at all."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "a part does not answer"}})
async def readyz(services: ServicesDep, response: Response) -> dict[str, str]:
    """Whether PostgreSQL, Redis and the blob store answer; 503 names what does not."""
    parts = await threads.run(check_parts, services)
    if any(state != "ok" for state in parts.values()):
        response.status_code = 503
    return parts


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """The metrics of this process and of the queue, for Prometheus."""
    await threads.run(measure_queue, services, request.app.state.queue_metrics)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(services.metrics.registry), headers={"content-type": content_type})


def check_parts(services: Services) -> dict[str, str]:
    """State of each part, `ok` or what is wrong with it."""
    parts = {"postgresql": "ok", "redis": "ok", "blobs": "ok"}
    try:
        with services.database.connect() as connection:
            submissions.ping(connection)
    except SQLAlchemyError:
        parts["postgresql"] = "does not answer, or its tables are not migrated"
    try:
        services.queue.ping()
    except redis.RedisError:
        parts["redis"] = "does not answer"
    try:
        services.blobs.check()
    except CaptionguardError as error:
        parts["blobs"] = str(error)
    return parts


def measure_queue(services: Services, gauges: QueueMetrics) -> None:
    """Read the queue's gauges; where a server does not answer, say NaN rather than old news."""
    try:
        gauges.queue_depth.set(services.queue.depth_messages())
    except redis.RedisError:
        gauges.queue_depth.set(float("nan"))
    try:
        with services.database.connect() as connection:
            limit = services.settings.queue_limit_items
            gauges.pending.set(submissions.count_pending(connection, at_most=limit))
            gauges.oldest_pending_age.set(submissions.oldest_pending_age_s(connection))
            alive = workers.living(connection, lease_s=services.settings.lease_s)
            gauges.living_workers.set(len(alive))
    except SQLAlchemyError:
        for gauge in (gauges.pending, gauges.oldest_pending_age, gauges.living_workers):
            gauge.set(float("nan"))
