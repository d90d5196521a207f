"""What all pages share: templates, static files, headers, and the way to the log-in."""

from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moderation.review.auth import NotSignedIn, is_https
from moderation.review.oidc import SingleSignOn
from moderation.review.sign_in import SignIn
from moderation.store.sessions import Session
from moderation.store.users import Role
from moderation.wiring import Services

_FOLDER = Path(__file__).parent
# Nothing from elsewhere, nothing inline: what somebody smuggles into a caption cannot run.
_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_HSTS = "max-age=31536000"

_environment = Environment(
    loader=PackageLoader("moderation.review"),
    autoescape=select_autoescape(("html", "html.j2")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    template: str, session: Session | None, *, status_code: int = 200, **values: Any
) -> HTMLResponse:
    """Render `templates/NAME`; `session` is None on the log-in only."""
    text = _environment.get_template(template).render(session=session, Role=Role, **values)
    return HTMLResponse(text, status_code=status_code)


def fragment(template: str, session: Session, **values: Any) -> str:
    """Render a part of a page, for a script to put in."""
    return _environment.get_template(template).render(session=session, Role=Role, **values)


def add_pages(app: FastAPI) -> None:
    """Serve the static files, and give all that is of the desk its headers."""
    app.mount("/review/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    app.add_exception_handler(NotSignedIn, _to_login)
    app.add_exception_handler(HTTPException, _problem)
    services: Services = app.state.services
    app.state.sign_in = SignIn(services)
    app.state.single_sign_on = None
    if services.settings.oidc_issuer is not None:
        app.state.single_sign_on = SingleSignOn(services.settings, services.queue.redis)
    app.add_middleware(DeskHeaders, is_https=is_https(services.settings))


class DeskHeaders:
    """ASGI middleware: what browsers are told with everything that is of the desk."""

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        self._headers = _HEADERS | ({"Strict-Transport-Security": _HSTS} if is_https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer with headers."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(("/review", "/v1/review")):
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if path.startswith("/review/static/"):
                    # Kept, and asked for each time: a page and its script are of one version.
                    headers.setdefault("Cache-Control", "no-cache")
                else:
                    # Not on a shared machine's disk after signing out; images say otherwise,
                    # and are another person's for another cookie.
                    headers.setdefault("Cache-Control", "no-store")
                    headers.add_vary_header("Cookie")
            await send(message)

        await self._app(scope, receive, with_headers)


async def _to_login(request: Request, error: Exception) -> Response:
    if is_page(request) and request.method in ("GET", "HEAD"):
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/review/login?next={quote(back, safe='/')}", status_code=303)
    return await _problem(request, error)


async def _problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if not is_page(request):
        return await http_exception_handler(request, error)
    detail: object = error.detail
    if isinstance(error, NotSignedIn):
        detail = "You were signed out. Sign in, go back to your page, and send it once more."
    message = detail.get("message") if isinstance(detail, dict) else detail
    if message == HTTPStatus.NOT_FOUND.phrase:
        message = "There is no such page"
    answer = problem_page(str(message), error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def problem_page(message: str, status_code: int) -> HTMLResponse:
    """Tell a person what is wrong, and the way back."""
    sentence = f"{message[:1].upper()}{message[1:]}"
    sentence += "" if sentence.endswith((".", "!", "?")) else "."
    return page("problem.html.j2", None, status_code=status_code, message=sentence)


def is_page(request: Request) -> bool:
    """Whether a person is to read the answer: scripts of pages say that they ask."""
    is_script = request.headers.get("x-requested-with") == "desk"
    return request.url.path.startswith("/review") and not is_script
