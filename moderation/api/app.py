"""The FastAPI application."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_swagger import patch_fastapi
from sqlalchemy.exc import SQLAlchemyError

from moderation.api import appeals, health, submissions
from moderation.api.limits import BodyLimit
from moderation.api.room import RETRY_AFTER_S, Room
from moderation.api.threads import share_threads
from moderation.logs import configure_logging
from moderation.metrics import QueueMetrics
from moderation.review.dashboard_figures import DashboardFigures
from moderation.review.pages import add_pages, is_page, problem_page
from moderation.review.router import router as review_router
from moderation.settings import Settings
from moderation.wiring import Services, open_services

log = structlog.get_logger()


def create_app(services: Services) -> FastAPI:
    """The application over these services, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        share_threads()
        yield
        services.close()

    app = FastAPI(
        title="captionguard",
        summary="Hand in posts of an image and a caption; read how well they match.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    # FastAPI's own page loads its script from elsewhere, which closed networks do not reach.
    patch_fastapi(app, swagger_ui_parameters={"displayRequestDuration": True})
    app.state.services = services
    app.state.room = Room(services)
    app.state.queue_metrics = QueueMetrics(services.metrics.registry)
    app.state.dashboard = DashboardFigures(services.database, services.settings)
    app.add_middleware(BodyLimit, max_bytes=services.settings.max_body_bytes)
    app.add_exception_handler(SQLAlchemyError, _database_trouble)
    app.add_exception_handler(RequestValidationError, _wrong_input)
    app.include_router(submissions.router)
    app.include_router(appeals.router)
    app.include_router(health.router)
    app.include_router(review_router)
    add_pages(app)
    return app


async def _wrong_input(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if is_page(request):
        return problem_page("no such page, or its form was not filled in as it has to be", 422)
    # Without the input, which may be a password, and in ASCII: half a surrogate pair, as a text
    # cut in UTF-16 ends with, is no UTF-8.
    problems = [{k: v for k, v in e.items() if k in ("type", "loc", "msg")} for e in error.errors()]
    body = json.dumps({"detail": jsonable_encoder(problems)})
    return Response(body, status_code=422, media_type="application/json")


async def _database_trouble(request: Request, error: Exception) -> Response:
    log.error("database_unavailable", path=request.url.path, error=type(error).__name__)
    detail = "the database does not answer; nothing was stored, try again"
    answer = (
        problem_page(detail, 503) if is_page(request) else JSONResponse({"detail": detail}, 503)
    )
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def serve(settings: Settings) -> None:
    """Run the API until it is told to stop."""
    configure_logging(settings.log_format)
    server = server_of(open_services(settings), host=settings.api_host, port=settings.api_port)
    # Stopping it by Ctrl-C is what is meant; not being able to start is not.
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(1)


def server_of(services: Services, *, host: str, port: int) -> uvicorn.Server:
    """The application with the server that it is made for."""
    proxies = services.settings.trusted_proxies
    return uvicorn.Server(
        uvicorn.Config(
            create_app(services),
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            # By default any process on this machine could say that it is somebody else.
            proxy_headers=proxies is not None,
            forwarded_allow_ips=proxies,
            # Long waits end with the server, not minutes after it was told to stop.
            timeout_graceful_shutdown=5,
        )
    )
