"""The audit log: nobody changes it, leads read it, and all that is to be in it is."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from moderation.demo import MODEL_CALIBRATION
from moderation.store import audit
from moderation.store.audit import Actor, Wanted
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.answers import settle
from tests.integration.desk import add_case, signed_in, state_of
from thresholds.artifact import Artifact
from thresholds.registry import Author, promote, publish, roll_back
from thresholds.versions import Named


def write(services: Services, *subjects: str, actor: str = "anna", action: str = "a.b") -> None:
    """Write a line for each subject."""
    with services.database.begin() as connection:
        for subject in subjects:
            audit.record(connection, Actor(actor, "10.0.0.7"), action, subject, n=1)


def cli(services: Services, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `captionguard audit` on the database of a test."""
    url = services.settings.database_url
    assert url is not None
    return subprocess.run(
        [sys.executable, "-m", "moderation", "audit", *arguments],
        env={**os.environ, "CAPTIONGUARD_DATABASE_URL": url.get_secret_value()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_log SET details = '{}' WHERE false",
    ],
)
def test_no_line_is_ever_changed(services: Services, change: str) -> None:
    """The database refuses to change or remove a line, whoever tries."""
    write(services, "case:1")
    with pytest.raises(DBAPIError, match="append-only"), services.database.begin() as connection:
        connection.execute(text(change))
    with services.database.connect() as connection:
        (line,) = audit.lines(connection, Wanted(), at_most=5)
    assert (line.actor, line.subject, line.details) == ("anna", "case:1", {"n": 1})


def test_people_can_copy_ids_from_the_log(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns an id is on one line, whatever stands before it."""
    subject = "case:f420f89d-2507-4ab2-9ad0-1cfbaebc5ddf"
    write(services, subject, actor="somebody with a long name", action="calibration.published")
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(services).stderr.splitlines()
    assert next(line.split() for line in shown if subject in line)[-1] == subject
    assert shown[0].index("to what") == shown[1].index(subject)


def test_pages_of_the_log_have_every_line_once(api: Api) -> None:
    """Who follows `next_cursor` reads all lines, the newest first, also while more are written."""
    write(api.services, *(f"case:{number}" for number in range(25)))
    with signed_in(api, "lea", Role.LEAD) as lea:
        seen: list[str] = []
        cursor: int | None = None
        while True:
            answer = lea.get(
                "/v1/review/audit",
                params={"limit": 10, "action": "a.b"} | ({"cursor": cursor} if cursor else {}),
            ).json()
            seen += [line["subject"] for line in answer["lines"]]
            cursor = answer["next_cursor"]
            write(api.services, "case:late")
            if cursor is None:
                break
    assert seen == [f"case:{number}" for number in reversed(range(25))]


def test_filters_fit_exactly(api: Api) -> None:
    """Actor, action, subject and day each narrow the log, and together."""
    write(api.services, "case:1", "case:10", actor="anna", action="case.decided")
    write(api.services, "case:1", actor="ben", action="case.claimed")
    today = datetime.now(UTC).date().isoformat()
    with signed_in(api, "lea", Role.LEAD) as lea:

        def found(**query: str) -> list[tuple[str, str, str]]:
            answer = lea.get("/v1/review/audit", params=query)
            assert answer.status_code == 200, answer.text
            return [(x["actor"], x["action"], x["subject"]) for x in answer.json()["lines"]]

        assert found(subject="case:1") == [
            ("ben", "case.claimed", "case:1"),
            ("anna", "case.decided", "case:1"),
        ]
        assert found(actor="anna", subject="case:1") == [("anna", "case.decided", "case:1")]
        assert found(action="case.claimed") == [("ben", "case.claimed", "case:1")]
        assert len(found(day=today, actor="anna")) == 2
        assert found(day="2020-01-01") == []
        assert len(found(actor="", action="case.decided", day="")) == 2


def test_leads_read_the_log_and_admins_where_from(api: Api) -> None:
    """Moderators read nothing of it; leads all but addresses; admins addresses too."""
    write(api.services, "case:1")
    with signed_in(api, "mo") as mo:
        assert mo.get("/v1/review/audit").status_code == 403
        assert mo.get("/review/audit").status_code == 403
    with signed_in(api, "lea", Role.LEAD) as lea:
        answer = lea.get("/v1/review/audit", params={"action": "a.b"}).json()
        assert [line["address"] for line in answer["lines"]] == [None]
        assert "10.0.0.7" not in lea.get("/review/audit").text
    with signed_in(api, "ada", Role.ADMIN) as ada:
        answer = ada.get("/v1/review/audit", params={"action": "a.b"}).json()
        assert [line["address"] for line in answer["lines"]] == ["10.0.0.7"]
        assert "10.0.0.7" in ada.get("/review/audit").text


def test_the_page_shows_text_as_text(api: Api) -> None:
    """What somebody put into a name or a detail is shown, not run, and links to its lines."""
    evil = "<script>alert(1)</script>"
    write(api.services, f"user:{evil}", actor=evil)
    with signed_in(api, "lea", Role.LEAD) as lea:
        page = lea.get("/review/audit").text
        assert evil not in page
        assert "&lt;script&gt;" in page
        assert "actor=%3Cscript%3E" in page
        assert "No line fits" in lea.get("/review/audit", params={"actor": "zoe"}).text
        write(api.services, *(f"case:{number}" for number in range(100)))
        assert "Older" in lea.get("/review/audit").text


def test_what_is_wrong_with_a_filter_is_said(api: Api) -> None:
    """A day that is none, or a NUL, is refused as the caller's mistake."""
    with signed_in(api, "lea", Role.LEAD) as lea:
        for query in ({"day": "yesterday"}, {"actor": "a\0b"}, {"cursor": "-1"}, {"limit": "0"}):
            assert lea.get("/v1/review/audit", params=query).status_code == 422, query
        for day in ("0001-01-01", "9999-12-31"):
            assert lea.get("/v1/review/audit", params={"day": day}).json()["lines"] == []


def test_each_publication_is_a_line_of_its_transaction(services: Services) -> None:
    """Publish, promote, roll back and withdraw are told with version and share, by whom."""
    demo = json.loads(MODEL_CALIBRATION.read_text())
    first, second = (
        Artifact.model_validate_json(json.dumps(demo | {"threshold": threshold}))
        for threshold in (0.3, 0.4)
    )
    ann = Author("ann", "a test")

    def put(artifact: Artifact, share: float | None = None) -> None:
        named = Named(artifact.version, artifact)
        publish(
            services.database, named, policy="memes", share=share, author=ann, lease_s=5,
            set_model=lambda: artifact.fingerprint,
        )  # fmt: skip

    put(first)
    put(first)  # Nothing new: no line.
    put(second, 0.25)
    promote(services.database, policy="memes", author=ann, lease_s=5)
    put(first, 0.0)
    roll_back(services.database, policy="memes", author=ann, lease_s=5)
    roll_back(services.database, policy="memes", author=ann, lease_s=5)
    with services.database.connect() as connection:
        told = list(audit.all_lines(connection, Wanted(action="calibration.published")))
    assert {(line.actor, line.subject) for line in told} == {("cli:ann", "policy:memes")}
    details = [line.details for line in told]
    assert [(each["action"], each["version"], each["share"]) for each in details] == [
        ("publish", first.version, None),
        ("publish", second.version, 0.25),
        ("promote", second.version, None),
        ("publish", first.version, 0.0),
        ("withdraw", second.version, None),
        ("rollback", first.version, None),
    ]


def people_come_and_go(api: Api, ada: httpx.Client) -> None:
    """Accounts, log-ins, preferences: all of it by HTTP."""
    mia = {"name": "mia", "password": "a long password"}
    assert ada.post("/v1/review/users", json={**mia, "role": "moderator"}).status_code == 201
    assert ada.patch("/v1/review/users/mia", json={"role": "lead"}).status_code == 200
    with httpx.Client(base_url=api.url, trust_env=False) as client:
        wrong = client.post("/v1/review/session", json={**mia, "password": "another password"})
        assert wrong.status_code == 401
        opened = client.post("/v1/review/session", json=mia)
        assert opened.status_code == 201
        client.headers["Authorization"] = f"Bearer {opened.json()['token']}"
        preferences = client.put("/v1/review/preferences", json={"blur": False, "grey": True})
        assert preferences.status_code == 200
        assert client.delete("/v1/review/session").status_code == 204


def cases_are_worked(api: Api, mo: httpx.Client) -> None:
    """One case for each thing that can be done with a claim."""

    def claim() -> str:
        case_id = str(add_case(api.services))
        answer = mo.post("/v1/review/claims", json={"case_id": case_id})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["claim"]["id"])

    def do(what: str, **body: str) -> httpx.Response:
        answer = mo.post(f"/v1/review/claims/{claim()}/{what}", json=body)
        assert answer.is_success, answer.text
        return answer

    for what in ("release", "skip", "hold"):
        do(what)
    do("assign", to="lea")
    do("decision", answer="escalate")
    decided = do("decision", answer="match").json()
    undone = mo.post(f"/v1/review/decisions/{decided['decision_id']}/undo")
    assert undone.is_success, undone.text
    note = mo.post(f"/v1/review/cases/{decided['case_id']}/notes", json={"text": "hm"})
    assert note.is_success, note.text


def leads_set_things_up(api: Api, lea: httpx.Client) -> None:
    """Reasons and golden cases."""
    put = lea.put("/v1/review/reasons/memes", json={"reasons": [{"key": "odd", "label": "Odd"}]})
    assert put.is_success, put.text
    case_id = add_case(api.services)
    settle(api.services, case_id)
    golden = str(state_of(api.services, case_id)["submission_id"])
    document = {"submission_id": golden, "answer": "match", "why": "we made it"}
    added = lea.post("/v1/review/golden", json=document)
    assert added.is_success, added.text
    assert lea.delete(f"/v1/review/golden/{golden}").is_success


def a_platform_is_told_and_appeals(api: Api, ada: httpx.Client, mo: httpx.Client) -> None:
    """An endpoint, a decision that is to be sent there, a replay, an appeal, and the end of it."""
    endpoint = {"platform": "acme", "url": "https://acme.example/hooks"}
    added = ada.post("/v1/review/webhooks", json=endpoint)
    assert added.status_code == 201, added.text
    case_id = add_case(api.services)
    together = mo.post(
        "/v1/review/decisions", json={"case_ids": [str(case_id)], "answer": "mismatch"}
    )
    assert together.json()["refused"] == []
    with api.services.database.begin() as connection:
        connection.execute(text("UPDATE webhook_deliveries SET state = 'failed', ended_at = now()"))
        (delivery,) = connection.execute(text("SELECT id FROM webhook_deliveries")).scalars()
    replayed = ada.post(f"/v1/review/webhooks/deliveries/{delivery}/replay")
    assert replayed.is_success, replayed.text
    submission = state_of(api.services, case_id)["submission_id"]
    appeal = api.http.post(f"/v1/submissions/{submission}/appeals", json={"statement": "no"})
    assert appeal.is_success, appeal.text
    webhooks = ada.get("/v1/review/webhooks").json()["endpoints"]
    assert ada.delete(f"/v1/review/webhooks/{webhooks[0]['id']}").is_success


def test_all_that_is_to_be_in_the_log_is(api: Api) -> None:
    """Whatever is done through a door is a line with who did it, and holds no secret or text."""
    with (
        signed_in(api, "ada", Role.ADMIN) as ada,
        signed_in(api, "lea", Role.LEAD) as lea,
        signed_in(api, "mo") as mo,
    ):
        people_come_and_go(api, ada)
        cases_are_worked(api, mo)
        leads_set_things_up(api, lea)
        a_platform_is_told_and_appeals(api, ada, mo)
    with api.services.database.connect() as connection:
        told = list(audit.all_lines(connection, Wanted()))
    who: dict[str, set[str]] = {}
    for line in told:
        who.setdefault(line.action, set()).add(line.actor)
    assert who.pop("session.failed") <= {"mia", "nobody"}
    assert who == {
        "user.added": {"ada"}, "user.changed": {"ada"},
        "session.opened": {"mia"}, "session.ended": {"mia"}, "preferences.changed": {"mia"},
        "case.claimed": {"mo"}, "case.released": {"mo"}, "case.skipped": {"mo"},
        "case.held": {"mo"}, "case.assigned": {"mo"}, "case.escalated": {"mo"},
        "case.decided": {"mo"}, "case.decision_undone": {"mo"}, "case.note_added": {"mo"},
        "reasons.changed": {"lea"}, "golden.added": {"lea"}, "golden.retired": {"lea"},
        "webhook.added": {"ada"}, "webhook.replayed": {"ada"}, "webhook.disabled": {"ada"},
        "appeal.received": {"platform:acme"},
    }  # fmt: skip
    assert all(line.address for line in told)
    everything = json.dumps([dict(line.details) for line in told])
    for secret in ("a red ball", "a long pass", "another pass", "hm", "https:", "we made it"):
        assert f'"{secret}' not in everything
    with api.services.database.connect() as connection:
        assert set(audit.actions(connection)) == {line.action for line in told}


def test_the_command_prints_all_lines_for_tools(services: Services) -> None:
    """--json is one document and --lines one a line, the oldest first, both of the same lines."""
    empty = cli(services, "--json")
    assert (empty.returncode, json.loads(empty.stdout)) == (0, [])
    write(services, *(f"case:{number}" for number in range(45)))
    as_document = json.loads(cli(services, "--json").stdout)
    as_lines = [json.loads(line) for line in cli(services, "--lines").stdout.splitlines()]
    assert as_document == as_lines
    assert [line["subject"] for line in as_lines] == [f"case:{number}" for number in range(45)]
    assert cli(services, "--lines", "--since", "2999-01-01").stdout == ""
    people = cli(services)
    assert (people.returncode, people.stdout) == (0, "")
    assert "case:44" in people.stderr
    assert "case:3\n" not in people.stderr
    assert max(len(line) for line in people.stderr.splitlines()) <= 80
    assert cli(services, "--json", "--lines").returncode == 2
