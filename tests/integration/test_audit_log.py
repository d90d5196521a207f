"""The audit log: nobody changes it, leads read it, and all that is to be in it is."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from moderation.demo import MODEL_CALIBRATION
from moderation.store import audit
from moderation.store.audit import Actor, Wanted
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.desk import signed_in
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
