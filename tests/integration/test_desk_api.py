"""The desk's API as the pages and other tools use it."""

from uuid import UUID

import httpx

from moderation.store.cases import Route
from tests.conftest import Api
from tests.integration.desk import add_case, signed_in, state_of


def next_case(client: httpx.Client, **body: str) -> dict[str, object]:
    """Claim the next case."""
    answer = client.post("/v1/review/claims", json=body)
    assert answer.status_code == 201, answer.text
    document: dict[str, object] = answer.json()
    return document


def decide(
    client: httpx.Client, case: dict[str, object], answer: str = "mismatch"
) -> httpx.Response:
    """Decide a claimed case."""
    claim = case["claim"]
    assert isinstance(claim, dict)
    return client.post(f"/v1/review/claims/{claim['id']}/decision", json={"answer": answer})


def test_a_case_is_claimed_decided_and_undone(api: Api) -> None:
    """The way of one case: claimed with all that is to be seen, settled, and open again."""
    id_ = add_case(api.services)
    with signed_in(api, "mia") as mia:
        case = next_case(mia)
        assert case["id"] == str(id_)
        assert (case["route"], case["score"], case["threshold"]) == ("flagged", 0.1, 0.35)
        assert mia.post("/v1/review/claims", json={}).status_code == 204
        made = decide(mia, case)
        assert made.status_code == 200, made.text
        assert state_of(api.services, id_)["resolution"] == "mismatch"
        again = mia.post(f"/v1/review/decisions/{made.json()['decision_id']}/undo")
        assert again.status_code == 200, again.text
        assert again.json()["claim"]["id"] != case["claim"]["id"]  # type: ignore[index]
        assert state_of(api.services, id_)["state"] == "open"
        both = mia.post(
            "/v1/review/decisions",
            json={"case_ids": [str(add_case(api.services))], "answer": "match"},
        )
        assert both.status_code == 200, both.text
        assert len(both.json()["decided"]) == 1
        undone = mia.post(f"/v1/review/decisions/batches/{both.json()['batch_id']}/undo")
        assert undone.json() == {"undone": 1, "refused": []}


def test_a_blind_case_shows_nothing_but_the_pair(api: Api) -> None:
    """Neither why it is there, nor what it scored, nor when it came."""
    for route in (Route.AUDIT, Route.GOLDEN):
        id_ = add_case(api.services, route=route, blind=True, score=0.9)
        with signed_in(api, "lea") as lea:
            case = lea.get(f"/v1/review/cases/{UUID(str(id_))}").json()
            hidden = ("route", "why", "score", "threshold", "outcome", "due_at", "created_at")
            assert [case[name] for name in hidden] == [None] * len(hidden)
