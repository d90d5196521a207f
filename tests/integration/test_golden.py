"""Golden submissions: mixed in, told from nothing, and of no consequence."""

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, insert, select, text

from moderation.settings import Settings
from moderation.store import decisions, golden, history
from moderation.store.audit import Actor
from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.store.history import Period
from moderation.store.review_tables import webhook_endpoints, webhook_events
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.answers import answer, answer_as, claimed, settle
from tests.integration.desk import a_picture, add_case, add_user, signed_in, state_of
from thresholds.decisions import labelled


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Decisions count at once, and no golden case comes unless a test draws it."""
    return settings.model_copy(update={"review_undo_s": 0.0, "review_golden_share": 0.0})


def submission_of(services: Services, case_id: UUID) -> UUID:
    """The case's submission."""
    return UUID(str(state_of(services, case_id)["submission_id"]))


def add(client: httpx.Client, submission_id: UUID, said: str = "match") -> httpx.Response:
    """Make a submission golden."""
    body = {"submission_id": str(submission_id), "answer": said, "why": "I was there"}
    return client.post("/v1/review/golden", json=body)


def add_golden(
    services: Services, said: Answer = Answer.MATCH, *, by: str = "lea", colour: str = "red"
) -> UUID:
    """A golden submission with a case that was decided before; the submission's id."""
    image = a_picture(colour)
    case_id = add_case(services, route=Route.AUDIT, blind=True, score=0.9, image=image)
    settle(services, case_id)
    with services.database.begin() as connection:
        submission_id = submission_of(services, case_id)
        golden.add(connection, submission_id, said, "known", actor=Actor(by))
    return submission_id


def draw(services: Services, name: str, *, share: float = 0.5, u: float = 0.0) -> UUID | None:
    """Draw once."""
    with services.database.begin() as connection:
        return golden.draw(connection, name, share, u)


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    """The list for leads."""
    found: list[dict[str, Any]] = client.get("/v1/review/golden").json()["golden"]
    return found


def test_leads_add_and_retire_what_people_can_be_asked_about(api: Api) -> None:
    """Only decided submissions with image and text; each change is logged."""
    waiting = add_case(api.services)
    without_text = add_case(api.services, route=Route.UNSCORABLE, caption=" ", score=None)
    without_copy = add_case(api.services)
    with api.services.database.begin() as connection:
        connection.execute(
            text("UPDATE cases SET copy_blob = NULL WHERE id = :id"), {"id": without_copy}
        )
    with signed_in(api, "lea", Role.LEAD) as lea, signed_in(api, "ann") as ann:
        assert add(ann, submission_of(api.services, waiting)).status_code == 403
        assert ann.get("/v1/review/golden").status_code == 403
        assert add(lea, uuid4()).status_code == 404
        for case_id, why in (
            (waiting, "still waits"),
            (without_text, "no caption"),
            (without_copy, "copy of its image"),
        ):
            refused = add(lea, submission_of(api.services, case_id))
            assert refused.status_code == 409
            assert why in refused.json()["detail"]
        answer(ann, "match", waiting)
        submission_id = submission_of(api.services, waiting)
        made = add(lea, submission_id)
        assert made.status_code == 201
        assert (made.json()["answer"], made.json()["added_by"]) == ("match", "lea")
        assert add(lea, submission_id, "mismatch").status_code == 409
        assert listed(lea) == [made.json()]
        path = f"/v1/review/golden/{submission_id}"
        assert ann.delete(path).status_code == 403
        assert lea.delete(path).status_code == 204
        assert lea.delete(path).status_code == 404
        assert listed(lea)[0]["retired_at"] is not None
        assert add(lea, submission_id, "mismatch").json()["answer"] == "mismatch"
        assert lea.post("/v1/review/golden", json={"answer": "unsure"}).status_code == 422
    with api.services.database.connect() as connection:
        lines = connection.execute(
            text("SELECT action FROM audit_log WHERE action LIKE 'golden.%' ORDER BY id")
        )
        assert lines.scalars().all() == ["golden.added", "golden.retired", "golden.added"]


def test_it_is_drawn_in_its_share_of_draws_and_each_alike(services: Services) -> None:
    """Below the share one of them, every one for an equal part of it; above it none."""
    add_user(services, "ann")
    golden_ones = {add_golden(services) for _ in range(4)}
    drawn: Counter[UUID] = Counter()
    for i in range(40):
        with services.database.connect() as connection:
            case_id = golden.draw(connection, "ann", 0.2, (i + 0.5) / 200)
            assert case_id is not None
            row = connection.execute(
                text("SELECT submission_id FROM cases WHERE id = :id"), {"id": case_id}
            )
            drawn[row.scalar_one()] += 1
            connection.rollback()
    assert drawn == dict.fromkeys(golden_ones, 10)
    assert draw(services, "ann", share=0.2, u=0.2) is None
    assert draw(services, "ann", share=0.2, u=0.999) is None
    assert draw(services, "ann", share=0.0, u=0.0) is None
    assert draw(services, "ann", share=0.2, u=math.nextafter(0.2, 0)) is not None


def test_who_keeps_to_a_policy_gets_golden_cases_of_it(services: Services) -> None:
    """Else nobody would know how they do; and one of another policy would stand out."""
    add_user(services, "ann")
    submission_id = add_golden(services)
    with services.database.begin() as connection:
        assert golden.draw(connection, "ann", 0.5, 0.0, "news") is None
        case_id = golden.draw(connection, "ann", 0.5, 0.0, "default")
    assert case_id is not None
    assert state_of(services, case_id)["submission_id"] == submission_id


def test_nobody_gets_one_twice_nor_one_that_they_know(api: Api) -> None:
    """Not who had any case of it, nor who added it; and none once it is retired."""
    add_user(api.services, "bob")
    submission_id = add_golden(api.services)
    had = add_case(api.services)
    answer_as(api, "ann", "match", had)
    with api.services.database.begin() as connection:
        golden.add(
            connection, submission_of(api.services, had), Answer.MATCH, "x", actor=Actor("bob")
        )
    first = draw(api.services, "ann")
    assert first is not None
    assert state_of(api.services, first)["submission_id"] == submission_id
    assert draw(api.services, "ann") is None
    assert draw(api.services, "bob") is not None
    assert draw(api.services, "bob") is None
    with api.services.database.begin() as connection:
        assert golden.retire(connection, submission_id, actor=Actor("lea"))
    add_user(api.services, "eve")
    left = {draw(api.services, "eve"), draw(api.services, "eve")} - {None}
    assert {state_of(api.services, one)["submission_id"] for one in left if one} == {
        submission_of(api.services, had)
    }
    # What was drawn and not begun is closed with it.
    assert state_of(api.services, first)["state"] == "resolved"
    with signed_in(api, "ann") as ann:
        assert claimed(ann) is None


def test_of_two_tabs_that_draw_at_once_each_gets_another_one(services: Services) -> None:
    """Never two cases of one submission for one person."""
    add_user(services, "ann")
    for _ in range(3):
        add_golden(services)
    with ThreadPoolExecutor(8) as threads:
        drawn = [one for one in threads.map(lambda _: draw(services, "ann"), range(8)) if one]
    assert len(drawn) == 3
    assert len({state_of(services, one)["submission_id"] for one in drawn}) == 3


def test_it_looks_like_an_audit_in_all_that_a_reviewer_can_read(api: Api) -> None:
    """Claimed, shown, held, listed, in its headers and for leads: the same fields are empty."""
    audit = add_case(api.services, route=Route.AUDIT, blind=True, score=0.9)
    # Another image, or each would be listed beside the other.
    add_golden(api.services, colour="blue")
    for name, role in (("ann", Role.MODERATOR), ("max", Role.LEAD)):
        add_user(api.services, name, role)
        drawn = draw(api.services, name)
        assert drawn is not None
        with signed_in(api, name, role) as client:
            for look in (
                lambda id_: claimed(client, id_),
                lambda id_: client.get(f"/v1/review/cases/{id_}").json(),
            ):
                of_golden, of_audit = look(drawn), look(audit)
                assert of_golden is not None
                assert of_audit is not None
                for case in (of_golden, of_audit):
                    for own in ("id", "claim", "image_url"):
                        case.pop(own)
                assert of_golden == of_audit
            for id_ in (drawn, audit):
                case = claimed(client, id_)
                assert case is not None
                client.post(f"/v1/review/claims/{case['claim']['id']}/release")


@pytest.mark.parametrize("said", ["mismatch", "escalate", "match", "skip"])
def test_what_becomes_of_it_does_not_tell_it_from_an_audit(api: Api, said: str) -> None:
    """Whoever answered it reads, while they could still undo, what they would of an audit."""
    audit = add_case(api.services, route=Route.AUDIT, blind=True, score=0.9)
    add_golden(api.services, colour="blue")
    add_user(api.services, "ann")
    drawn = draw(api.services, "ann")
    with signed_in(api, "ann") as ann:
        told = []
        for id_ in (drawn, audit):
            case = claimed(ann, id_)
            assert case is not None
            url = f"/v1/review/claims/{case['claim']['id']}"
            if said == "skip":
                assert ann.post(f"{url}/skip").status_code == 204
            else:
                assert ann.post(f"{url}/decision", json={"answer": said}).status_code == 200
            shown = ann.get(f"/v1/review/cases/{id_}").json()
            again = ann.post("/v1/review/claims", json={"case_id": str(id_)})
            many = ann.post(
                "/v1/review/decisions", json={"case_ids": [str(id_)], "answer": "match"}
            )
            told.append(
                (shown["state"], shown["level"], again.text, many.json()["refused"][0]["message"])
            )
    assert told[0] == told[1]


def test_its_answers_are_no_labels_and_no_platform_hears_of_them(api: Api) -> None:
    """Nothing that counts decisions or tells of them changes by a golden case."""
    services = api.services
    with services.database.begin() as connection:
        connection.execute(
            insert(webhook_endpoints).values(
                id=uuid4(), platform="acme", url="https://example.com/", secret="whsec_x"
            )
        )
    submission_id = add_golden(services)

    def seen() -> list[object]:
        with services.database.connect() as connection:
            now = datetime.now(UTC)
            period = Period(now - timedelta(days=1), now + timedelta(days=1))
            return [
                labelled(connection, model="m"),
                decisions.models_decided_on(connection),
                len(history.decided(connection, period, model="m")),
                connection.scalar(select(func.count()).select_from(webhook_events)),
                api.http.get(f"/v1/submissions/{submission_id}").json(),
                api.http.get(f"/v1/submissions/{submission_id}/appeals").json(),
            ]

    with signed_in(api, "ann") as ann, signed_in(api, "lea", Role.LEAD) as lea:
        before = seen(), lea.get("/v1/review/dashboard").text
        drawn = draw(services, "ann")
        assert drawn is not None
        answer(ann, "mismatch", drawn)
        assert state_of(services, drawn)["state"] == "resolved"
        assert (seen(), lea.get("/v1/review/dashboard").text) == before
        assert listed(lea)[0]["people"] == 1
        assert listed(lea)[0]["right"] == 0


def test_what_was_answered_is_counted_against_what_is_right(api: Api) -> None:
    """How many people had it and were right; not any more once it is retired."""
    submission_id = add_golden(api.services, Answer.MISMATCH, by="max")
    for name, said in (("ann", "mismatch"), ("bob", "match"), ("eve", "unsure")):
        add_user(api.services, name)
        assert draw(api.services, name) is not None
        answer_as(api, name, said)
    with signed_in(api, "lea", Role.LEAD) as lea:
        (one,) = listed(lea)
        assert (one["people"], one["right"]) == (3, 1)

        def figures() -> dict[str, Any]:
            people = lea.get("/v1/review/agreement").json()["people"]
            return {one["name"]: one["golden"] for one in people}

        assert figures()["ann"]["sensitivity"]["n"] == 1
        assert figures()["ann"]["specificity"]["n"] == 0
        assert figures()["eve"]["unclear"] == 1
        assert lea.delete(f"/v1/review/golden/{submission_id}").status_code == 204
        assert figures() == {}
