"""What all pages share: templates, static files, headers, and the way to the log-in."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from moderation.review.auth import NotSignedIn
from moderation.store.sessions import Session
from moderation.store.users import Role

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
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

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

    @app.middleware("http")
    async def protect(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        path = request.url.path
        if path.startswith(("/review", "/v1/review")):
            response.headers.update(_HEADERS)
            if not path.startswith("/review/static/"):
                # Not on a shared machine's disk after signing out; images say otherwise.
                response.headers.setdefault("Cache-Control", "no-store")
        return response


async def _to_login(request: Request, error: Exception) -> Response:
    is_page = request.url.path.startswith("/review") and request.method == "GET"
    if is_page and request.headers.get("x-requested-with") != "desk":
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/review/login?next={quote(back, safe='/')}", status_code=303)
    if not isinstance(error, NotSignedIn):
        raise error
    return await http_exception_handler(request, error)
