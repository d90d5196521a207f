"""People and their roles: who may do what, and what happens to those who no longer may."""

import inspect
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import select
from starlette.routing import BaseRoute

from moderation.api.app import create_app
from moderation.review.auth import session_of
from moderation.review.router import router
from moderation.store import users
from moderation.store.cases import Level
from moderation.store.review_tables import audit_log
from moderation.store.sessions import Kind
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api, Machine
from tests.integration.desk import add_case, add_user, signed_in

PASSWORD = "correct horse battery"

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


def test_an_admin_makes_and_changes_accounts(api: Api) -> None:
    """Made, listed, promoted, given a password, disabled: each at once, and written down."""
    with signed_in(api, "ada", Role.ADMIN) as ada, signed_in(api, "lea", Role.LEAD) as lea:
        body = {"name": "anna", "role": "moderator", "password": PASSWORD}
        made = ada.post("/v1/review/users", json=body)
        assert made.status_code == 201
        assert made.json()["has_password"] is True
        assert PASSWORD not in made.text
        assert ada.post("/v1/review/users", json=body).status_code == 409
        assert "anna" in [one["name"] for one in lea.get("/v1/review/users").json()]
        assert lea.post("/v1/review/users", json=body | {"name": "x"}).status_code == 403
        for change in ({"role": "lead"}, {"password": "another good one"}, {"disabled": True}):
            with signed_in(api, "anna") as anna, signed_in(api, "anna", kind=Kind.TOKEN) as tool:
                assert anna.get("/v1/review/session").status_code == 200
                changed = ada.patch("/v1/review/users/anna", json=change)
                assert changed.status_code == 200
                # What takes rights away does so at once, and for tools too.
                assert anna.get("/v1/review/session").status_code == 401
                assert tool.get("/v1/review/session").status_code == 401
        assert changed.json()["disabled_at"] is not None
        assert ada.patch("/v1/review/users/nobody", json={"disabled": True}).status_code == 404
        assert ada.patch("/v1/review/users/n%00b", json={"disabled": True}).status_code == 404
    with api.services.database.connect() as connection:
        rows = connection.execute(
            select(audit_log.c.actor, audit_log.c.action, audit_log.c.details)
            .where(audit_log.c.subject == "user:anna")
            .order_by(audit_log.c.id)
        ).all()
    assert [(row.actor, row.action) for row in rows] == [("ada", "user.added")] + [
        ("ada", "user.changed")
    ] * 3
    assert PASSWORD not in str(rows)


def test_who_is_no_lead_any_more_decides_nothing_for_leads(api: Api) -> None:
    """A claim from before does not outlive the role: other leads have the case at once."""
    case = add_case(api.services, level=Level.LEAD)
    with (
        signed_in(api, "ada", Role.ADMIN) as ada,
        signed_in(api, "max", Role.LEAD) as max_,
        signed_in(api, "lea", Role.LEAD) as lea,
    ):
        claim = lea.post("/v1/review/claims", json={}).json()["claim"]["id"]
        assert ada.patch("/v1/review/users/lea", json={"role": "moderator"}).status_code == 200
        with signed_in(api, "lea") as lea:
            said = lea.post(f"/v1/review/claims/{claim}/decision", json={"answer": "match"})
            assert said.status_code == 409
            assert said.json()["detail"]["problem"] == "claim_ended"
        assert max_.post("/v1/review/claims", json={}).json()["id"] == str(case)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Anna",
        "an na",
        "-anna",
        "anna\n",
        "anna\x00",
        "anna\u202e",
        "a" * 65,
        "ánna",
        "a/b",
        "a:b",
    ],
)
def test_names_that_could_deceive_are_refused(api: Api, name: str) -> None:
    """A name is plain, so that nobody looks like somebody else in a list or a log."""
    with signed_in(api, "ada", Role.ADMIN) as ada:
        answer = ada.post("/v1/review/users", json={"name": name, "role": "lead"})
        assert answer.status_code == 422
        assert "lower-case" in answer.json()["detail"]
        page = ada.post("/review/people", data={"name": name, "role": "lead"})
        assert (page.status_code == 422) or name.strip() != name


@pytest.mark.parametrize(
    "password", ["", "short", "elevenchars", "x" * 1025, "ANNA-IS-THE-BEST", "\ud800" * 12]
)
def test_passwords_that_will_not_do_are_refused(api: Api, password: str) -> None:
    """Too short, too long, the name itself, no text: refused, and the account is not made."""
    with signed_in(api, "ada", Role.ADMIN) as ada:
        body = {"name": "anna-is-the-best", "role": "lead", "password": password}
        answer = ada.post(
            "/v1/review/users",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422
        names = [one["name"] for one in ada.get("/v1/review/users").json()]
    assert "anna-is-the-best" not in names


def test_long_passwords_are_taken(api: Api) -> None:
    """A password manager's longest passwords and whole sentences work."""
    with signed_in(api, "ada", Role.ADMIN) as ada:
        for number, password in enumerate(["x" * 128, "ü" * 1024]):
            name = f"long{number}"
            body = {"name": name, "role": "moderator", "password": password}
            assert ada.post("/v1/review/users", json=body).status_code == 201
            signed = api.http.post("/v1/review/session", json={"name": name, "password": password})
            assert signed.status_code == 201


def test_nobody_locks_everybody_out(api: Api) -> None:
    """An admin takes no rights from themselves, so one admin is always left."""
    with signed_in(api, "ada", Role.ADMIN) as ada:
        for change in ({"disabled": True}, {"role": "lead"}, {"password": PASSWORD}):
            refused = ada.patch("/v1/review/users/ada", json=change)
            assert refused.status_code == 409
        # All of a change or nothing of it.
        add_user(api.services, "anna")
        both = ada.patch("/v1/review/users/anna", json={"role": "lead", "password": "short"})
        assert both.status_code == 422
        assert ada.get("/v1/review/session").json()["role"] == "admin"
    with api.services.database.connect() as connection:
        found = users.find(connection, "anna")
    assert found is not None
    assert found.role is Role.MODERATOR


def test_two_admins_who_take_each_others_rights_leave_one(api: Api) -> None:
    """At the same time, again and again: one of both stays."""
    for _ in range(5):
        with (
            signed_in(api, "ada", Role.ADMIN) as ada,
            signed_in(api, "bea", Role.ADMIN) as bea,
            ThreadPoolExecutor(2) as pool,
        ):
            asked = [
                pool.submit(ada.patch, "/v1/review/users/bea", json={"role": "moderator"}),
                pool.submit(bea.patch, "/v1/review/users/ada", json={"disabled": True}),
            ]
            statuses = [one.result().status_code for one in asked]
        assert statuses.count(200) == 1
        with api.services.database.begin() as connection:
            assert len(users.lock_admins(connection)) == 1
            for name in ("ada", "bea"):
                users.set_role(connection, name, Role.ADMIN)
                users.set_disabled(connection, name, disabled=False)


def test_somebody_changes_their_own_password(api: Api) -> None:
    """It needs the old one, signs out everywhere else, and the old one is worth nothing then."""
    with signed_in(api, "ada", Role.ADMIN) as ada:
        body = {"name": "anna", "role": "moderator", "password": PASSWORD}
        assert ada.post("/v1/review/users", json=body).status_code == 201
    new = "an entirely other one"
    with signed_in(api, "anna") as anna, signed_in(api, "anna") as elsewhere:
        wrong = anna.put("/v1/review/password", json={"old": new, "new": new})
        assert wrong.status_code == 403
        short = anna.put("/v1/review/password", json={"old": PASSWORD, "new": "short"})
        assert short.status_code == 422
        form = {"old": PASSWORD, "new": new, "again": new + "x"}
        assert anna.post("/review/settings/password", data=form).status_code == 422
        done = anna.post("/review/settings/password", data=form | {"again": new})
        assert (done.status_code, done.headers["location"]) == (
            303,
            "/review/settings?done=password",
        )
        assert "signed out everywhere else" in anna.get(done.headers["location"]).text
        assert elsewhere.get("/v1/review/session").status_code == 401
    for password, status in ((PASSWORD, 401), (new, 201)):
        body = {"name": "anna", "password": password}
        assert api.http.post("/v1/review/session", json=body).status_code == status


def test_preferences_are_a_persons_own(api: Api) -> None:
    """How somebody wants to see images is kept, by the page and by the API, for them alone."""
    with signed_in(api, "anna") as anna, signed_in(api, "bert") as bert:
        assert anna.put("/v1/review/preferences", json={"blur": True, "grey": False}).json()
        shown = anna.get("/review/settings").text
        assert 'name="blur" value="true" checked' in shown
        assert 'name="grey" value="true">' in shown
        saved = anna.post("/review/settings/preferences", data={"grey": "true"})
        assert saved.headers["location"] == "/review/settings?done=preferences"
        assert anna.get("/v1/review/session").json()["preferences"] == {"blur": False, "grey": True}
        assert bert.get("/v1/review/session").json()["preferences"] == {"blur": True, "grey": True}


def test_somebody_ends_their_own_sessions_and_no_others(api: Api) -> None:
    """A forgotten browser is signed out from here; another person's is not."""
    with (
        signed_in(api, "anna") as here,
        signed_in(api, "anna") as forgotten,
        signed_in(api, "bert") as bert,
    ):
        mine = here.get("/v1/review/sessions").json()
        assert [one["current"] for one in mine] == [False, True]
        (other,) = [one["id"] for one in bert.get("/v1/review/sessions").json()]
        assert here.delete(f"/v1/review/sessions/{other}").status_code == 404
        assert here.post(f"/review/settings/sessions/{other}/end").status_code == 303
        assert bert.get("/v1/review/session").status_code == 200
        assert here.delete(f"/v1/review/sessions/{mine[0]['id']}").status_code == 204
        assert forgotten.get("/v1/review/session").status_code == 401
        assert here.get("/v1/review/session").status_code == 200


def test_the_page_of_people_is_for_leads_to_read_and_admins_to_change(api: Api) -> None:
    """An admin adds somebody, whose password is shown once; a lead sees no form."""
    with signed_in(api, "ada", Role.ADMIN) as ada, signed_in(api, "lea", Role.LEAD) as lea:
        made = ada.post("/review/people", data={"name": "anna", "role": "moderator"})
        assert made.status_code == 200
        (password,) = re.findall(r'<code class="secret">([^<]+)</code>', made.text)
        assert password not in ada.get("/review/people").text
        body = {"name": "anna", "password": password}
        assert api.http.post("/v1/review/session", json=body).status_code == 201
        assert ada.post("/review/people", data={"name": "anna"}).status_code == 409
        renewed = ada.post("/review/people/anna/password")
        assert password not in renewed.text
        assert api.http.post("/v1/review/session", json=body).status_code == 401
        assert ada.post("/review/people/anna", data={"role": "lead"}).status_code == 303
        assert ada.post("/review/people/anna", data={"disabled": "true"}).status_code == 303
        page = lea.get("/review/people").text
        assert "anna" in page
        assert "disabled" in page
        assert 'action="/review/people' not in page


def test_a_command_makes_the_first_account(machine: Machine) -> None:
    """Made at the command line, printed once, felt by the desk, changed and disabled there."""
    made = machine.run("users", "add", "carl", "--role", "lead")
    password = made.stdout.strip()
    assert len(password) > 20
    assert "not shown again" in " ".join(made.stderr.split())
    login = {"name": "carl", "password": password}
    signed = machine.http.post("/v1/review/session", json=login)
    assert signed.status_code == 201
    bearer = {"Authorization": f"Bearer {signed.json()['token']}"}
    assert machine.http.get("/v1/review/session", headers=bearer).json()["role"] == "lead"
    machine.run("users", "role", "carl", "moderator")
    assert machine.http.get("/v1/review/session", headers=bearer).status_code == 401
    token = json.loads(machine.run("users", "token", "carl", "--days", "2", "--json").stdout)
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert machine.http.get("/v1/review/session", headers=bearer).json()["role"] == "moderator"
    listed = json.loads(machine.run("users", "list", "--json").stdout)
    assert password not in str(listed)
    assert token["token"] not in str(listed)
    assert next(one for one in listed if one["name"] == "carl")["disabled"] is False
    machine.run("users", "disable", "carl")
    assert machine.http.get("/v1/review/session", headers=bearer).status_code == 401
    refused = machine.run("users", "token", "carl", check=False)
    assert (refused.returncode, "users enable" in refused.stderr) == (1, True)
    machine.run("users", "enable", "carl")
    assert machine.http.post("/v1/review/session", json=login).status_code == 201
    actors = machine.query("SELECT DISTINCT actor FROM audit_log WHERE subject = 'user:carl'")
    assert [str(actor).startswith("cli:") for (actor,) in actors] == [True]


def test_a_machine_comes_with_an_account(machine: Machine) -> None:
    """`up` makes an admin on an empty database, and tells where its password is, not which."""
    password = (machine.data_dir / "desk-password").read_text().strip()
    signed = machine.http.post("/v1/review/session", json={"name": "demo", "password": password})
    bearer = {"Authorization": f"Bearer {signed.json()['token']}"}
    assert machine.http.get("/v1/review/session", headers=bearer).json()["role"] == "admin"
    told = (machine.data_dir / "up.log").read_text()
    assert "/review" in told
    assert "desk-password" in told.replace("\n", "")
    assert password not in told


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("add", "Carl"), 1, "lower-case"),
        (("add", "carl", "--role", "boss"), 2, "boss"),
        (("add", "carl", "--password-stdin"), 1, "at least 12"),
        (("add", "carl", "--password-stdin", "--no-password"), 2, "not both"),
        (("role", "ghost", "lead"), 1, "no account"),
        (("password", "ghost"), 1, "no account"),
        (("token", "ghost", "--days", "0"), 2, "days"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    machine: Machine, arguments: tuple[str, ...], status: int, says: str
) -> None:
    """A wrong name, role or password is told, and nothing is made."""
    done = machine.run("users", *arguments, check=False)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not machine.query("SELECT 1 FROM users WHERE name IN ('Carl', 'ghost')")


def test_a_password_is_asked_for_twice_on_a_terminal(machine: Machine) -> None:
    """At a terminal the password is typed, unseen, and nothing of it is printed."""
    ours, theirs = pty.openpty()
    shown = b""

    def type_after(prompt: bytes) -> None:
        nonlocal shown
        while prompt not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, f"{PASSWORD}\n".encode())

    # A session of its own: it is to ask here, not the terminal that the tests run in.
    process = subprocess.Popen(
        [sys.executable, "-m", "moderation", "users", "add", "tina"],
        env=machine.environment, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        type_after(b"Password: ")
        type_after(b"again: ")
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
        shown += os.read(ours, 1000)
        os.close(theirs)
        os.close(ours)
    assert process.returncode == 0
    assert out == b""
    assert PASSWORD.encode() not in shown
    login = {"name": "tina", "password": PASSWORD}
    assert machine.http.post("/v1/review/session", json=login).status_code == 201
