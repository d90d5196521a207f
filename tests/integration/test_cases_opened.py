"""Every verdict that is no pass opens exactly one case, in the same transaction."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from moderation.draws import Draws
from moderation.review.opening import opening, patience
from moderation.store import secrets, submissions, verdicts
from moderation.store.cases import Route
from moderation.types import ImageRef, NewSubmission, Outcome, Reason, Verdict
from moderation.wiring import Services
from tests.conftest import Machine
from tests.integration.conftest import picture
from tests.integration.traffic import open_no_case
from workers.upkeep import open_missed_cases

PASS = Verdict(Outcome.PASS, "c-1", "m", 0.35, cosine=0.3, score=0.9)
FLAG = Verdict(Outcome.FLAG, "c-1", "m", 0.35, cosine=0.1, score=0.2)
EMPTY = Verdict(Outcome.UNSCORABLE, "c-1", "m", 0.35, reason=Reason.CAPTION_EMPTY, detail="none")
CORRUPT = Verdict(Outcome.UNSCORABLE, "c-1", "m", 0.35, reason=Reason.IMAGE_CORRUPT, detail="cut")
GONE = Verdict(Outcome.UNSCORABLE, "c-1", "m", 0.35, reason=Reason.IMAGE_UNREACHABLE, detail="500")


def _accepted(services: Services, count: int) -> list[UUID]:
    new = [
        NewSubmission("acme", None, "default", "a ball", ImageRef(blob=f"{n:064x}"))
        for n in range(count)
    ]
    with services.database.begin() as connection:
        return [item.id for item in submissions.accept(connection, new, message_id="m")]


def _record(
    services: Services, judged: Sequence[tuple[UUID, Verdict]], *, twice_share: float = 0.0
) -> set[UUID]:
    open_case = opening(Draws(b"k" * 32), twice_share=twice_share)
    with services.database.begin() as connection:
        return verdicts.record(connection, judged, open_case)


def _cases(services: Services) -> dict[UUID, list[dict[str, Any]]]:
    found: dict[UUID, list[dict[str, Any]]] = {}
    with services.database.connect() as connection:
        for row in connection.execute(text("SELECT * FROM cases ORDER BY id")).mappings():
            found.setdefault(row["submission_id"], []).append(dict(row))
    return found


def test_each_outcome_opens_its_case(services: Services) -> None:
    """None for a pass; what cannot be shown says so from the first moment."""
    ids = _accepted(services, 5)
    judged = dict(zip(ids, (PASS, FLAG, EMPTY, CORRUPT, GONE), strict=True))
    assert _record(services, list(judged.items())) == set(ids)
    opened = _cases(services)
    assert set(opened) == set(ids[1:])
    for id_, (case,) in opened.items():
        route = Route.FLAGGED if judged[id_] is FLAG else Route.UNSCORABLE
        assert case["route"] == route
        assert case["inclusion_probability"] == 1
        assert (case["state"], case["level"], case["blind"]) == ("open", "moderator", False)
        assert case["due_at"] - case["created_at"] == patience(route, judged[id_].score)
        assert case["available_at"] == case["created_at"], "anybody may have it at once"
    problems = [opened[id_][0]["copy_problem"] for id_ in ids[1:]]
    assert [problem is None for problem in problems] == [True, True, False, True]
    assert opened[ids[4]][0]["copy_attempts"] == 1, "its host comes after those never asked"


def test_a_second_verdict_opens_no_second_case(services: Services) -> None:
    """Nor does a batch that is stored again, wholly or in part, or says something else."""
    ids = _accepted(services, 3)
    _record(services, [(ids[0], FLAG), (ids[1], PASS)])
    before = _cases(services)
    assert _record(services, [(id_, FLAG) for id_ in ids]) == {ids[2]}
    after = _cases(services)
    assert set(after) == {ids[0], ids[2]}
    assert after[ids[0]] == before[ids[0]]


def test_what_two_messages_carry_is_judged_once(services: Services) -> None:
    """After a pause both may be stored together: the first verdict holds, with its case."""
    (id_,) = _accepted(services, 1)
    assert _record(services, [(id_, EMPTY), (id_, FLAG)]) == {id_}
    ((case,),) = _cases(services).values()
    assert case["route"] == Route.UNSCORABLE


def test_writers_at_once_open_one_case_each(services: Services) -> None:
    """Four workers store the same batch in different orders: one verdict and one case a post."""
    ids = _accepted(services, 40)
    judged = [(id_, FLAG if n % 2 else EMPTY) for n, id_ in enumerate(ids)]
    batches = [judged, judged[::-1], judged[:25], judged[15:]]
    with ThreadPoolExecutor(4) as workers:
        first = list(workers.map(lambda batch: _record(services, batch), batches))
    assert sum(map(len, first)) == len(ids)
    assert {id_: len(found) for id_, found in _cases(services).items()} == dict.fromkeys(ids, 1)


def test_a_transaction_that_fails_leaves_neither(services: Services) -> None:
    """A worker that dies in between leaves no verdict without its case."""
    (id_,) = _accepted(services, 1)

    def die(connection: Connection) -> None:
        open_case = opening(Draws(b"k" * 32), twice_share=0.0)
        assert verdicts.record(connection, [(id_, FLAG)], open_case) == {id_}
        raise ZeroDivisionError

    with services.database.connect() as connection, pytest.raises(ZeroDivisionError):
        die(connection)
    with services.database.connect() as connection:
        (status,) = submissions.find(connection, [id_], platform=None)
    assert status.verdict is None
    assert _cases(services) == {}


def test_cases_decided_twice_are_blind(services: Services) -> None:
    """Only flagged ones, of which all here; the lot does not change the case's turn."""
    ids = _accepted(services, 2)
    _record(services, [(ids[0], FLAG), (ids[1], EMPTY)], twice_share=1.0)
    opened = _cases(services)
    shown = {
        id_: (case["blind"], case["answers_wanted"]) for id_, (case,) in sorted(opened.items())
    }
    assert shown == {ids[0]: (True, 2), ids[1]: (False, 1)}
    (case,) = opened[ids[0]]
    assert case["due_at"] - case["created_at"] == patience(Route.FLAGGED, 0.2)


def test_the_earliest_due_comes_first(services: Services) -> None:
    """A mismatch that is nearly sure goes before a doubtful one of an hour ago."""
    doubtful, sure, unscorable = _accepted(services, 3)
    _record(services, [(doubtful, Verdict(Outcome.FLAG, "c", "m", 0.35, 0.1, 0.34))])
    with services.database.begin() as connection:
        connection.execute(text("UPDATE cases SET due_at = due_at - interval '1 hour'"))
    _record(services, [(sure, Verdict(Outcome.FLAG, "c", "m", 0.35, 0.1, 0.01))])
    _record(services, [(unscorable, EMPTY)])
    due = {id_: case["due_at"] for id_, (case,) in _cases(services).items()}
    assert sorted(due, key=lambda id_: due[id_]) == [sure, doubtful, unscorable]


def test_all_workers_draw_by_one_secret(services: Services) -> None:
    """Made once, whoever comes first, and kept: a worker that starts again draws the same."""

    def look(_: int) -> bytes:
        with services.database.begin() as connection:
            return secrets.secret(connection, secrets.Name.DRAWS)

    with ThreadPoolExecutor(4) as workers:
        found = set(workers.map(look, range(8)))
    assert len(found) == 1
    assert {len(secret) for secret in found} == {32}


def test_what_an_older_worker_flags_gets_its_case_too(services: Services) -> None:
    """During an upgrade; once, whoever looks, and nothing from before it."""
    flagged, empty, passed, old = _accepted(services, 4)
    with services.database.begin() as connection:
        judged = [(flagged, FLAG), (empty, EMPTY), (passed, PASS), (old, FLAG)]
        verdicts.record(connection, judged, open_no_case)
        connection.execute(
            text(
                "UPDATE verdicts SET created_at = now() - interval '25 h' WHERE submission_id = :id"
            ),
            {"id": old},
        )
    with ThreadPoolExecutor(3) as schedulers:
        assert sorted(schedulers.map(open_missed_cases, [services] * 3)) == [0, 0, 2]
    opened = _cases(services)
    assert {id_: [case["route"] for case in found] for id_, found in opened.items()} == {
        flagged: ["flagged"],
        empty: ["unscorable"],
    }
    (case,) = opened[flagged]
    assert case["due_at"] - case["created_at"] == patience(Route.FLAGGED, FLAG.score)


def test_the_pipeline_opens_cases(machine: Machine) -> None:
    """What a running worker flags or cannot score is a case at once, what passes is none."""
    image = base64.b64encode(picture((20, 90, 200))).decode()
    batch = [
        {"caption": caption, "image_base64": image}
        for caption in ("", "three green houses at night", "a red ball", "http://example.com")
    ]
    answer = machine.http.post("/v1/submissions/batch", json={"submissions": batch}).json()
    ids = [item["id"] for item in answer["submissions"]]
    outcomes = {
        id_: machine.http.get(f"/v1/submissions/{id_}", params={"wait_s": 60}).json()["verdict"]
        for id_ in ids
    }
    opened = {
        str(id_): [route for _, route in rows]
        for id_ in ids
        if (
            rows := machine.query(
                "SELECT id, route FROM cases WHERE submission_id = CAST(:id AS uuid)", id=id_
            )
        )
    }
    routes = {"flag": ["flagged"], "unscorable": ["unscorable"]}
    assert opened == {
        id_: routes[verdict["outcome"]]
        for id_, verdict in outcomes.items()
        if verdict["outcome"] != "pass"
    }
    assert len(opened) >= 2, "the captions without a word are cases at least"
