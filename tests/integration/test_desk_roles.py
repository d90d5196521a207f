"""Every route of the desk asks who it is, and what they may do."""

import inspect
import re
from collections.abc import Sequence

import httpx
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from moderation.api.app import create_app
from moderation.review.auth import session_of
from moderation.review.router import router
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.desk import signed_in

# Who is not signed in needs these to become so.
OPEN = {
    ("GET", "/review/login"),
    ("POST", "/review/login"),
    ("GET", "/review/login/oidc"),
    ("GET", "/review/login/oidc/callback"),
    ("POST", "/v1/review/session"),
}
FOR_LEADS = (
    "/review/people",
    "/review/policies",
    "/review/audit",
    "/v1/review/users",
    "/v1/review/audit",
    "/v1/review/agreement",
    "/v1/review/golden",
    "/v1/review/quality",
)
FOR_ADMINS = ("/review/webhooks", "/v1/review/webhooks")
CHANGES = ("POST", "PUT", "PATCH", "DELETE")
FOR_ADMINS_TO_CHANGE = ("/review/people", "/v1/review/users")
FOR_LEADS_TO_CHANGE = ("/v1/review/reasons",)
ANY_ID = "0199c3d8-5a3e-7f00-8000-000000000000"


def desk_routes(routes: Sequence[BaseRoute]) -> list[tuple[str, str, Role | None]]:
    """Method, path and the role that its dependencies ask for, of each route of the desk."""
    return [
        (method, route.path_format, role_of(route.dependant))
        for route in iter_route_contexts(routes)
        if isinstance(route.original_route, APIRoute)
        and route.path_format is not None
        and route.path_format.startswith(("/review", "/v1/review"))
        for method in sorted(route.methods or ())
        if method != "HEAD"
    ]


def role_of(dependant: Dependant) -> Role | None:
    """The highest role among the dependencies; None if not even a session is needed."""
    order = list(Role)
    asked = [role_of(one) for one in dependant.dependencies]
    if dependant.call is session_of:
        asked.append(Role.MODERATOR)
    if getattr(dependant.call, "__name__", "") == "session_with_role":
        asked.append(inspect.getclosurevars(dependant.call).nonlocals["role"])  # type: ignore[arg-type]
    return max((role for role in asked if role), key=order.index, default=None)


def test_every_route_of_the_desk_asks_who_it_is(services: Services) -> None:
    """A route without a session, or with a lower role than its part of the desk, is a mistake."""
    routes = desk_routes(create_app(services).routes)
    assert len(routes) > 30
    for method, path, role in routes:
        if (method, path) in OPEN:
            continue
        is_change = method in CHANGES
        assert role is not None, f"{method} {path} asks nobody who they are"
        if path.startswith(FOR_LEADS) or (is_change and path.startswith(FOR_LEADS_TO_CHANGE)):
            assert role.may(Role.LEAD), f"{method} {path} is for leads"
        if path.startswith(FOR_ADMINS) or (is_change and path.startswith(FOR_ADMINS_TO_CHANGE)):
            assert role is Role.ADMIN, f"{method} {path} is for admins"


def test_what_each_role_may_not_do_it_cannot(api: Api) -> None:
    """Anonymous, another role's, a form without its sign, of another site: refused, everywhere."""
    routes = desk_routes(router.routes)
    people = {role: signed_in(api, f"a-{role}", role) for role in Role}
    with (
        httpx.Client(base_url=api.url, timeout=60, trust_env=False) as nobody,
        people[Role.MODERATOR] as moderator,
        people[Role.LEAD] as lead,
        people[Role.ADMIN] as admin,
    ):
        clients = {Role.MODERATOR: moderator, Role.LEAD: lead, Role.ADMIN: admin}
        for method, path, role in routes:
            if (method, path) in OPEN:
                continue
            assert role is not None
            url = re.sub(r"{[^}]*}", ANY_ID, path)
            asked = nobody.request(method, url)
            if method == "GET" and path.startswith("/review"):
                assert asked.status_code == 303, path
                assert asked.headers["location"].startswith("/review/login"), path
            else:
                assert asked.status_code == 401, path
            key = {"Authorization": api.http.headers["Authorization"]}
            assert nobody.request(method, url, headers=key).status_code in (303, 401), path
            if method in CHANGES:
                unsigned = admin.request(method, url, headers={"X-CSRF-Token": ""})
                assert unsigned.status_code == 403, path
                foreign = admin.request(method, url, headers={"Origin": "https://evil.example"})
                assert foreign.status_code == 403, path
            for other, client in clients.items():
                if not other.may(role):
                    assert client.request(method, url).status_code == 403, f"{other} {path}"
                elif method == "GET" and role is not Role.MODERATOR:
                    assert client.get(url).status_code not in (401, 403), f"{other} {path}"
