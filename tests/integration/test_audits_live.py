"""A running machine audits what passes, and neither its platform nor the desk can tell which."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from moderation.demo.posts import stream
from moderation.quality.sampling import AuditPlan
from moderation.review.auth import COOKIE
from moderation.store import audit_plans, sessions, users
from moderation.store.audit_plans import Auditing
from moderation.store.sessions import Kind
from moderation.store.users import Role
from tests.conftest import Machine, eventually
from tests.integration.answers import answer, claimed
from tests.integration.conftest import ImageHost


@pytest.fixture(scope="module")
def auditing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that audits all that passes, as long as nothing else is planned."""
    running = Machine(
        tmp_path_factory.mktemp("auditing"),
        CAPTIONGUARD_AUDIT_BUDGET_PER_DAY="10000",
        CAPTIONGUARD_QUALITY_EVERY_S="3600",
        CAPTIONGUARD_REVIEW_GOLDEN_SHARE="0",
        CAPTIONGUARD_REVIEW_TWICE_SHARE="0",
        CAPTIONGUARD_REVIEW_UNDO_S="0",
    )
    yield running
    running.stop()


def judge(machine: Machine, image_host: ImageHost, *, seed: int) -> dict[str, dict[str, Any]]:
    """Submit generated posts by URL; their documents, by the path of their image."""
    posts = {f"/{seed}-{post.image_name}": post for post in stream(seed, 12)}
    for path, post in posts.items():
        image_host.pages[path] = lambda _, image=post.image: (200, image)  # type: ignore[misc]
    batch = [
        {"caption": post.caption, "image_url": f"{image_host.url}{path}"}
        for path, post in posts.items()
    ]
    answered = machine.http.post("/v1/submissions/batch", json={"submissions": batch}).json()
    ids = [item["id"] for item in answered["submissions"]]
    return {
        path: machine.http.get(f"/v1/submissions/{id_}", params={"wait_s": 60}).json()
        for path, id_ in zip(posts, ids, strict=True)
    }


def audited(machine: Machine, documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The probability of each audited one of these submissions."""
    rows = machine.query(
        "SELECT CAST(submission_id AS text), inclusion_probability FROM cases"
        " WHERE route = 'audit' AND submission_id = ANY(CAST(:ids AS uuid[]))",
        ids=[document["id"] for document in documents.values()],
    )
    return {str(id_): probability for id_, probability in rows}


def signed_in(machine: Machine, name: str) -> httpx.Client:
    """A moderator at the machine's desk."""
    with machine.database.begin() as connection:
        users.add(connection, name, Role.MODERATOR, password_hash=None)
        opened = sessions.open_session(
            connection, name, kind=Kind.BROWSER, lasts=timedelta(hours=1)
        )
    client = httpx.Client(base_url=machine.addresses["api_url"], timeout=60, trust_env=False)
    client.cookies.set(COOKIE, opened.token)
    client.headers["X-CSRF-Token"] = opened.csrf
    return client


def test_passes_come_to_the_desk_unseen(auditing: Machine, image_host: ImageHost) -> None:
    """Each as a case without score and route, and the platform learns what was decided alone."""
    documents = judge(auditing, image_host, seed=41)
    by_outcome = {
        outcome: [d["id"] for d in documents.values() if d["verdict"]["outcome"] == outcome]
        for outcome in ("pass", "flag")
    }
    assert min(map(len, by_outcome.values())) >= 3, "about half of the posts match"
    assert audited(auditing, documents) == dict.fromkeys(by_outcome["pass"], 1.0)

    def has_copies() -> bool:
        waiting = "SELECT count(*) FROM cases WHERE copy_blob IS NULL"
        return auditing.query(waiting) == [(0,)]

    eventually(has_copies)
    # A second request would tell the platform which of its passes somebody is going to look at.
    assert {image_host.requests[path] for path in documents} == {1}
    passed = [d for d in documents.values() if d["verdict"]["outcome"] == "pass"]
    assert {json.dumps([d["case"], d["decisions"]]) for d in passed} == {"[null, []]"}
    sql = "SELECT id FROM cases WHERE submission_id = CAST(:id AS uuid)"
    case_id = UUID(str(auditing.query(sql, id=passed[0]["id"])[0][0]))
    with signed_in(auditing, "mia") as mia, signed_in(auditing, "ben") as ben:
        case = claimed(mia, case_id)
        assert case is not None
        shown = {name: case[name] for name in ("blind", "route", "score", "threshold")}
        assert shown == {"blind": True, "route": None, "score": None, "threshold": None}
        assert passed[0]["id"] not in json.dumps(case), "with its id the platform's page is found"
        page = mia.get(f"/review/cases/{case_id}")
        assert passed[0]["caption"] in page.text
        for word in ("audit", "Audit", passed[0]["id"]):
            assert word not in page.text
        answer(mia, "mismatch", case_id)
        told = auditing.http.get(f"/v1/submissions/{passed[0]['id']}").json()
        assert (told["case"], told["decisions"]) == (None, []), "one alone finds no miss"
        answer(ben, "mismatch", case_id)
    told = auditing.http.get(f"/v1/submissions/{passed[0]['id']}").json()
    assert told["case"] is None
    assert [(d["answer"], d["overturns_verdict"]) for d in told["decisions"]] == [
        ("mismatch", True)
    ]


def test_another_plan_holds_without_a_restart(auditing: Machine, image_host: ImageHost) -> None:
    """From within seconds on; here for one that audits nothing."""
    log = auditing.data_dir / "logs" / "worker.log"
    pid = auditing.worker_pid()
    with auditing.database.begin() as connection:
        audit_plans.add(connection, Auditing(AuditPlan(0.0, 0.0), 0.05, 123, 10_000))
    eventually(lambda: '"budget":123' in log.read_text(), within_s=30)
    documents = judge(auditing, image_host, seed=42)
    assert {d["verdict"]["outcome"] for d in documents.values()} == {"pass", "flag"}
    assert audited(auditing, documents) == {}
    assert auditing.worker_pid() == pid
