"""People and their accounts: who changes them, and what happens to those who no longer may."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from moderation.store import users
from moderation.store.cases import Level
from moderation.store.review_tables import audit_log
from moderation.store.sessions import Kind
from moderation.store.users import Role
from tests.conftest import Api
from tests.integration.desk import add_case, add_user, signed_in
from tests.integration.logging_in import PASSWORD


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
