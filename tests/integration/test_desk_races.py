"""Many people on one queue at once: nothing is decided twice, and nothing is lost."""

import base64
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from moderation.store import reasons
from moderation.store.cases import Route
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api, eventually, serve_api
from tests.integration.desk import a_picture, add_case, rows_of, signed_in

PEOPLE, CASES = 16, 300


@pytest.fixture
def busy(services: Services) -> Iterator[Api]:
    """An API whose claims last 0.3 s, and whose decisions can be undone for as long."""
    settings = services.settings.model_copy(
        update={"review_lease_s": 0.3, "review_undo_s": 0.3, "review_golden_share": 0.0}
    )
    with serve_api(replace(services, settings=settings)) as api:
        yield api


class Person:
    """Somebody who does what comes to their mind, and remembers what they were told."""

    def __init__(self, client: httpx.Client, seed: int, all_cases: list[UUID]) -> None:
        self.client = client
        self.lot = random.Random(seed)  # noqa: S311
        self.cases = all_cases
        self.tokens: list[str] = []
        self.skipped: set[str] = set()
        self.offered: list[str] = []
        self.problems: Counter[str] = Counter()

    def work(self, is_over: threading.Event) -> None:
        """Until all is decided."""
        while not is_over.is_set():
            if self.lot.random() < 0.1:
                self.decide_many()
                continue
            answer = self.client.post("/v1/review/claims", json={})
            if answer.status_code == 204:
                is_over.wait(0.05)
                continue
            assert answer.status_code == 201, answer.text
            case = answer.json()
            assert case["id"] not in self.skipped
            self.tokens.append(case["claim"]["id"])
            self.offered.append(case["id"])
            self.act(case, is_over)

    def act(self, case: dict[str, Any], is_over: threading.Event) -> None:
        """One of the things that can be done with a claimed case."""
        token, chance = case["claim"]["id"], self.lot.random()
        if chance < 0.08:
            if self.post(f"claims/{token}/skip") is not None:
                self.skipped.add(case["id"])
            return
        if chance < 0.16:
            self.post(f"claims/{token}/release")
            return
        if chance < 0.22:
            # Gone for longer than the lease; the answer comes late, to a case of somebody else.
            is_over.wait(0.4)
        elif chance < 0.3:
            self.post(f"claims/{token}/heartbeat")
        made = self.post(f"claims/{token}/decision", answer=self.answer())
        if made is not None and self.lot.random() < 0.15:
            again = self.post(f"decisions/{made['decision_id']}/undo")
            if again is not None and again["claim"] is not None:
                self.tokens.append(again["claim"]["id"])
                if self.lot.random() < 0.7:
                    self.post(f"claims/{again['claim']['id']}/decision", answer=self.answer())

    def decide_many(self) -> None:
        """Some at once, which others may have, and perhaps all of that back."""
        chosen = self.lot.sample(self.cases, 5)
        done = self.post("decisions", answer="match", case_ids=[str(id_) for id_ in chosen])
        assert done is not None
        assert len(done["decided"]) + len(done["refused"]) == 5
        if done["decided"] and self.lot.random() < 0.3:
            self.post(f"decisions/batches/{done['batch_id']}/undo")

    def answer(self) -> str:
        """Mostly a match; sometimes something for a lead."""
        return self.lot.choices(["match", "mismatch", "unsure", "escalate"], [70, 20, 5, 5])[0]

    def post(self, path: str, **body: Any) -> Any:
        """The answer of the desk; None where it refuses, which it says why."""
        answer = self.client.post(f"/v1/review/{path}", json=body or {})
        if answer.status_code == 409:
            self.problems[answer.json()["detail"]["problem"]] += 1
            return None
        if answer.status_code == 422:
            # A lead who answers `escalate` to what was escalated.
            assert body["answer"] == "escalate", answer.text
            return None
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}


def test_sixteen_people_on_one_queue(busy: Api) -> None:
    """Every case ends settled by as many standing answers of different people as it wants."""
    services = busy.services
    assert not reasons.BUILT_IN.required_for
    ids = [
        add_case(
            services,
            route=Route.FLAGGED,
            blind=n % 5 == 0,
            answers_wanted=2 if n % 5 == 0 else 1,
        )
        for n in range(CASES)
    ]
    is_over = threading.Event()
    failures: list[BaseException] = []
    with ExitStack() as stack:
        people = [
            Person(
                stack.enter_context(
                    signed_in(busy, f"p{n:02}", Role.LEAD if n % 4 == 0 else Role.MODERATOR)
                ),
                n,
                ids,
            )
            for n in range(PEOPLE)
        ]

        def run(person: Person) -> None:
            try:
                person.work(is_over)
            except BaseException as error:
                failures.append(error)
                is_over.set()

        threads = [threading.Thread(target=run, args=(person,)) for person in people]
        for thread in threads:
            thread.start()
        open_ = "SELECT count(*) FROM cases WHERE state <> 'resolved'"
        for _ in range(1_000):
            if is_over.wait(0.2) or rows_of(services, open_) == [(0,)]:
                break
        is_over.set()
        for thread in threads:
            thread.join()
    assert failures == []
    _check_all(services, people)


def _check_all(services: Services, people: list[Person]) -> None:
    open_ = rows_of(services, "SELECT id, level FROM cases WHERE state <> 'resolved'")
    # What was undone in the last moment is open again, and nothing else.
    undone = "SELECT DISTINCT case_id FROM decisions JOIN undone_decisions ON decision_id = id"
    assert {row[0] for row in open_} <= {row[0] for row in rows_of(services, undone)}
    tokens = [token for person in people for token in person.tokens]
    assert len(set(tokens)) == len(tokens)
    by_case: dict[object, list[tuple[object, ...]]] = {}
    for case_id, *rest in rows_of(
        services,
        "SELECT case_id, decided_by, answer, level, claim_id FROM standing_decisions "
        "ORDER BY created_at, id",
    ):
        by_case.setdefault(case_id, []).append(tuple(rest))
    settled = rows_of(
        services,
        "SELECT id, answers_wanted, resolution FROM cases WHERE state = 'resolved'",
    )
    assert len(settled) + len(open_) == CASES
    for id_, wanted, resolution in settled:
        given = by_case[id_]
        leads = [row for row in given if row[2] == "lead"]
        others = [row for row in given if row[2] != "lead"]
        # A lead who escalated may settle it as well; all other answers are of different people.
        assert len({row[0] for row in others}) == len(others)
        if leads:
            assert [row[1] for row in leads] == [resolution]
        else:
            assert [row[1] for row in given] == [resolution] * int(str(wanted))
    both = (
        "SELECT count(*) FROM decisions JOIN claims USING (case_id) "
        "WHERE claims.user_name = decided_by AND ending = 'skipped' "
        "AND claims.ended_at < decisions.created_at"
    )
    assert rows_of(services, both) == [(0,)]
    # Not one decision without its own claim, which ended as decided and was of the same person.
    unclaimed = (
        "SELECT count(*) FROM decisions LEFT JOIN claims ON claims.id = claim_id "
        "WHERE claims.ending IS DISTINCT FROM 'decided' OR claims.user_name <> decided_by"
    )
    assert rows_of(services, unclaimed) == [(0,)]
    problems = sum((person.problems for person in people), Counter())
    assert set(problems) <= {"claim_expired", "claim_ended", "too_late", "case_taken"}


def test_platforms_hand_in_while_the_desk_hangs(busy: Api) -> None:
    """However many people's requests wait for the database, they keep no platform's from it."""
    add_case(busy.services)
    body = {"caption": "a red ball", "image_base64": base64.b64encode(a_picture()).decode()}
    with ExitStack() as stack:
        people = [stack.enter_context(signed_in(busy, f"p{n:02}")) for n in range(30)]
        threads = [
            threading.Thread(target=one.post, args=("/v1/review/claims",), kwargs={"json": {}})
            for one in people
        ]
        with busy.services.database.begin() as connection:
            connection.execute(text("LOCK TABLE cases IN ACCESS EXCLUSIVE MODE"))
            for thread in threads:
                thread.start()
            eventually(lambda: waiting_for_locks(busy.services) >= 10)
            for _ in range(3):
                answer = busy.http.post("/v1/submissions", json=body, timeout=10)
                assert answer.status_code == 202
            assert busy.http.get("/readyz", timeout=10).status_code == 200
        for thread in threads:
            thread.join()


def waiting_for_locks(services: Services) -> int:
    """How many of the database's sessions wait for a lock."""
    (waiting,) = rows_of(
        services,
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return int(str(waiting[0]))
