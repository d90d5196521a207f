"""Reasons: what a decision may give, a list for each policy, written by leads."""

import json
from typing import Any
from urllib.parse import quote

import httpx
from sqlalchemy import text

from moderation.store.locks import Lock
from moderation.store.reasons import BUILT_IN
from moderation.store.users import Role
from tests.conftest import Api, Machine, eventually
from tests.integration.answers import answer, claimed
from tests.integration.desk import add_case, signed_in

LISTED = {
    "reasons": [{"key": "hoax", "label": "Known hoax"}, {"key": "other", "label": "Else: a note"}],
    "required_for": ["mismatch"],
}


def reasons_of(client: httpx.Client, policy: str) -> dict[str, Any]:
    """The list that holds for a policy."""
    found = client.get("/v1/review/reasons", params={"policy": policy})
    assert found.status_code == 200, found.text
    document: dict[str, Any] = found.json()
    return document


def put(client: httpx.Client, policy: str, **listed: object) -> httpx.Response:
    """Write a policy's list."""
    return client.put(f"/v1/review/reasons/{quote(policy, safe='')}", json={**LISTED, **listed})


def test_a_policy_has_its_own_list_or_the_default_s_or_the_built_in_one(api: Api) -> None:
    """Written, replaced and removed again by a lead; moderators read it only."""
    with signed_in(api, "lea", Role.LEAD) as lea, signed_in(api, "ann") as ann:
        built_in = reasons_of(ann, "news")
        assert built_in["source"] == "built_in"
        assert built_in["reasons"] == BUILT_IN.to_document()["reasons"]
        assert built_in["required_for"] == []
        assert put(ann, "news").status_code == 403
        default = put(lea, "default", required_for=[]).json()
        assert reasons_of(ann, "news")["source"] == "default"
        assert reasons_of(ann, "news")["updated_at"] is None
        assert put(lea, "news/eu & ü").status_code == 200
        own = reasons_of(ann, "news/eu & ü")
        assert (own["source"], own["required_for"]) == ("own", ["mismatch"])
        assert [reason["key"] for reason in own["reasons"]] == ["hoax", "other"]
        removed = lea.delete(
            f"/v1/review/reasons/{quote('news/eu & ü', safe='')}",
            params={"updated_at": own["updated_at"]},
        )
        assert removed.status_code == 204
        assert reasons_of(ann, "news/eu & ü")["source"] == "default"
        gone = lea.delete(
            "/v1/review/reasons/default", params={"updated_at": default["updated_at"]}
        )
        assert gone.status_code == 204
        assert reasons_of(ann, "news") == built_in


def test_a_change_over_what_one_has_not_read_is_refused(api: Api) -> None:
    """The second of two who read the same state gets 409 with what it is now; nothing is lost."""
    with signed_in(api, "lea", Role.LEAD) as lea, signed_in(api, "max", Role.ADMIN) as max_:
        first = put(lea, "news").json()
        second = put(max_, "news", required_for=[])
        assert second.status_code == 409
        assert second.json()["detail"]["problem"] == "changed_meanwhile"
        assert second.json()["detail"]["now"] == first
        after = put(max_, "news", required_for=[], updated_at=first["updated_at"])
        assert after.status_code == 200
        assert put(lea, "news", updated_at=first["updated_at"]).status_code == 409
        stale = lea.delete("/v1/review/reasons/news", params={"updated_at": first["updated_at"]})
        assert stale.status_code == 409
        assert reasons_of(lea, "news") == after.json()


def test_every_change_is_logged_with_before_and_after(api: Api) -> None:
    """So that a later reader knows what could be said at the time of a decision."""
    with signed_in(api, "lea", Role.LEAD) as lea:
        first = put(lea, "news").json()
        second = put(lea, "news", required_for=[], updated_at=first["updated_at"]).json()
        lea.delete("/v1/review/reasons/news", params={"updated_at": second["updated_at"]})
        # Nothing is there any more: nothing changes, nothing is logged.
        assert lea.delete("/v1/review/reasons/news").status_code == 204
    with api.services.database.connect() as connection:
        lines = connection.execute(
            text("SELECT actor, subject, details FROM audit_log WHERE action = 'reasons.changed'")
        ).all()
    assert {(line.actor, line.subject) for line in lines} == {("lea", "policy:news")}
    without = {**LISTED, "required_for": []}
    assert [(line.details["before"], line.details["after"]) for line in lines] == [
        (None, LISTED),
        (LISTED, without),
        (without, None),
    ]


WRONG: list[dict[str, Any]] = [
    {"reasons": [{"key": "Hoax", "label": "x"}]},
    {"reasons": [{"key": "", "label": "x"}]},
    {"reasons": [{"key": "hoax\n", "label": "x"}]},
    {"reasons": [{"key": "a" * 41, "label": "x"}]},
    {"reasons": [{"key": "hoax", "label": "x" * 81}]},
    {"reasons": [{"key": "hoax", "label": "  "}]},
    {"reasons": [{"key": "hoax", "label": "two\nlines"}]},
    {"reasons": [{"key": "hoax", "label": "a\0b"}]},
    {"reasons": [{"key": "hoax", "label": "a"}, {"key": "hoax", "label": "b"}]},
    {"reasons": [{"key": f"k{i}", "label": "x"} for i in range(21)]},
    {"reasons": [], "required_for": ["match"]},
    {"required_for": ["perhaps"]},
]


def test_a_list_that_nobody_could_work_with_is_refused(api: Api) -> None:
    """Wrong keys, labels, doubles, too many, or a reason required where there is none."""
    with signed_in(api, "lea", Role.LEAD) as lea:
        for wrong in WRONG:
            assert put(lea, "news", **wrong).status_code == 422, wrong
        assert put(lea, "a\0b").status_code == 422
        assert reasons_of(lea, "news")["source"] == "built_in"


def test_an_answer_that_needs_a_reason_is_not_taken_without_one(api: Api) -> None:
    """Neither without one, nor with one that the list has not; where none is required, without."""
    for said in ("mismatch", "match", "unsure", "escalate"):
        with signed_in(api, "lea", Role.LEAD) as lea:
            assert put(lea, said, required_for=[said]).status_code == 200
        add_case(api.services, policy=said)
        free = add_case(api.services, policy="sport")
        with signed_in(api, "ann") as ann:
            answer(ann, said, free)
            case = claimed(ann)
            assert case is not None
            assert case["reason_required_for"] == [said]
            assert [reason["key"] for reason in case["reasons"]] == ["hoax", "other"]
            decision = f"/v1/review/claims/{case['claim']['id']}/decision"
            for more in ({}, {"reason": ""}, {"reason": "spam"}):
                refused = ann.post(decision, json={"answer": said, **more})
                assert refused.status_code == 422, (said, more)
                assert "reason" in refused.text
            taken = ann.post(decision, json={"answer": said, "reason": "hoax"})
            assert taken.status_code == 200, said


def test_a_list_is_saved_while_a_scheduler_watches(machine: Machine) -> None:
    """What a scheduler keeps locked as long as it lives keeps no lead waiting."""
    watched = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND granted"
    eventually(lambda: machine.query(watched, lock=Lock.WATCH.value) == [()])
    machine.run("users", "add", "lead-of-reasons", "--role", "lead", "--no-password")
    token = json.loads(machine.run("users", "token", "lead-of-reasons", "--json").stdout)["token"]
    saved = machine.http.put(
        "/v1/review/reasons/watched",
        json=LISTED,
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    assert saved.status_code == 200, saved.text
