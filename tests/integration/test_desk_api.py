"""The desk's API as its pages and other tools use it."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from moderation.store.cases import Route
from moderation.store.sessions import Kind
from moderation.store.users import Role
from tests.conftest import Api
from tests.integration.desk import a_picture, add_case, add_user, rows_of, signed_in, state_of

# Whatever a blind case may show: the pair, our copy of the image, and one's own work on it.
SHOWN = {
    "id", "platform", "policy", "caption", "caption_direction", "state", "level", "blind",
    "image_url", "reasons", "claim",
}  # fmt: skip


def next_case(client: httpx.Client, **body: str) -> Any:
    """Claim the next case."""
    answer = client.post("/v1/review/claims", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def decide(client: httpx.Client, case: Any, **body: str) -> httpx.Response:
    """Decide a claimed case."""
    return client.post(f"/v1/review/claims/{case['claim']['id']}/decision", json=body)


def test_a_case_is_claimed_decided_and_undone(api: Api) -> None:
    """The way of one case: claimed with all that is to be seen, settled, and open again."""
    id_ = add_case(api.services)
    with signed_in(api, "mia") as mia:
        case = next_case(mia)
        assert case["id"] == str(id_)
        assert (case["route"], case["score"], case["threshold"]) == ("flagged", 0.1, 0.35)
        assert case["why"] == "Its match score is below the threshold of 0.35."
        assert mia.get(f"/v1/review/cases/{id_}").json()["claim"] is None
        assert mia.post("/v1/review/claims", json={}).status_code == 204
        made = decide(mia, case, answer="mismatch", reason="spam", note="two\nlines")
        assert made.status_code == 200, made.text
        assert state_of(api.services, id_)["resolution"] == "mismatch"
        (earlier,) = mia.get(f"/v1/review/cases/{id_}").json()["earlier"]
        assert (earlier["answer"], earlier["decided_by"]) == ("mismatch", "mia")
        assert (earlier["reason"], earlier["note"]) == ("spam", "two\nlines")
        again = mia.post(f"/v1/review/decisions/{made.json()['decision_id']}/undo")
        assert again.status_code == 200, again.text
        assert again.json()["claim"]["id"] != case["claim"]["id"]
        assert again.json()["earlier"] == []
        assert state_of(api.services, id_)["state"] == "open"


def test_many_are_decided_and_undone_together(api: Api) -> None:
    """Up to 200; the others are refused one by one."""
    ids = [str(add_case(api.services)) for _ in range(3)]
    with signed_in(api, "mia") as mia, signed_in(api, "bob") as bob:
        taken = next_case(bob)["id"]
        done = mia.post("/v1/review/decisions", json={"case_ids": ids, "answer": "match"}).json()
        assert {one["case_id"] for one in done["decided"]} == set(ids) - {taken}
        assert [(one["case_id"], one["problem"]) for one in done["refused"]] == [
            (taken, "case_taken")
        ]
        undone = mia.post(f"/v1/review/decisions/batches/{done['batch_id']}/undo")
        assert undone.json() == {"undone": 2, "refused": []}
        for wrong in ([], [str(uuid4())] * 201):
            body = {"case_ids": wrong, "answer": "match"}
            assert mia.post("/v1/review/decisions", json=body).status_code == 422


def test_a_stale_lease_is_told_what_happened(api: Api) -> None:
    """409 with a problem for programs and a sentence for people, and nothing is stored."""
    add_case(api.services)
    with signed_in(api, "mia") as mia, signed_in(api, "bob") as bob:
        case = next_case(mia)
        with api.services.database.begin() as connection:
            connection.exec_driver_sql("UPDATE claims SET expires_at = now()")
        next_case(bob)
        late = decide(mia, case, answer="mismatch")
        assert late.status_code == 409
        assert late.json()["detail"]["problem"] == "claim_expired"
        assert "opened again elsewhere" in late.json()["detail"]["message"]
        assert rows_of(api.services, "SELECT count(*) FROM decisions") == [(0,)]
        # Who steals a token cannot use it.
        stolen = f"/v1/review/claims/{case['claim']['id']}/heartbeat"
        assert bob.post(stolen).json()["detail"]["problem"] == "not_yours"


def test_two_tabs_of_one_person_have_a_case_each(api: Api) -> None:
    """With tokens of their own; what one does leaves the other alone."""
    for _ in range(2):
        add_case(api.services)
    with signed_in(api, "mia") as tab, signed_in(api, "mia", kind=Kind.TOKEN) as tool:
        first, second = next_case(tab), next_case(tool)
        assert first["id"] != second["id"]
        assert decide(tab, first, answer="match").status_code == 200
        beat = tool.post(f"/v1/review/claims/{second['claim']['id']}/heartbeat")
        assert beat.json()["expires_at"] >= second["claim"]["expires_at"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "answer"),
        ({"answer": "perhaps"}, "answer"),
        ({"answer": "match", "reason": "not of the list"}, "reason"),
        ({"answer": "match", "note": "x" * 4_001}, "note"),
        ({"answer": "match", "note": "a\x00b"}, "note"),
        ({"answer": "match", "note": "a\x1b[31m"}, "note"),
        ({"answer": "match", "nota": "a"}, "nota"),
    ],
)
def test_wrong_decisions_name_their_field(api: Api, body: dict[str, str], field: str) -> None:
    """And the claim goes on."""
    add_case(api.services)
    with signed_in(api, "mia") as mia:
        case = next_case(mia)
        refused = decide(mia, case, **body)
        assert refused.status_code == 422
        assert [problem["loc"] for problem in refused.json()["detail"]] == [["body", field]]
        assert decide(mia, case, answer="match", note="x" * 4_000).status_code == 200


def test_blind_cases_are_all_alike(api: Api) -> None:
    """An audit, a golden one, one that two decide: none tells what it is, to leads neither."""
    services = api.services
    add_user(services, "lea", Role.LEAD)
    kinds: dict[str, dict[str, Any]] = {
        "red": {"route": Route.AUDIT, "score": 0.9},
        "green": {"route": Route.GOLDEN, "score": 0.9, "assigned_to": "lea"},
        "blue": {"route": Route.FLAGGED, "blind": True, "answers_wanted": 2},
    }
    ids = {add_case(services, image=a_picture(colour), **kinds[colour]) for colour in kinds}
    with signed_in(api, "mia") as mia, signed_in(api, "lea", Role.LEAD) as lea:
        for id_ in ids:
            mia.post(f"/v1/review/cases/{id_}/notes", json={"text": "surely wrong"})
        for client in (lea, mia):
            seen = [client.get(f"/v1/review/cases/{id_}").json() for id_ in ids]
            if client is mia:
                assert [case["notes"][0]["by"] for case in seen] == ["mia"] * 3
            for case in seen:
                told = {name for name, value in case.items() if value not in (None, [])}
                assert told - {"notes"} <= SHOWN
                assert UUID(case["id"]).version == 4
        assert all(
            case["notes"] == [] for case in (lea.get(f"/v1/review/cases/{i}").json() for i in ids)
        )
        assert lea.get("/v1/review/mine").json() == {"cases": []}
        for _ in ids:
            case = next_case(lea)
            made = decide(lea, case, answer="mismatch", note="it is")
            assert set(made.json()) == {"decision_id", "case_id", "undo_until"}
            after = lea.get(f"/v1/review/cases/{case['id']}").json()
            assert {name for name, value in after.items() if value not in (None, [])} <= SHOWN


def test_generated_requests_never_break_it(api: Api) -> None:
    """Whatever a person who is signed in sends, the status is one that the document names."""
    for _ in range(3):
        add_case(api.services)
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    ours = ("/v1/review/claims", "/v1/review/decisions", "/v1/review/cases", "/v1/review/mine")
    operations = [
        found.ok()
        for found in schema.include(path_regex=f"^({'|'.join(ours)})").get_all_operations()
    ]
    assert len(operations) >= 14
    with signed_in(api, "lea", Role.LEAD, kind=Kind.TOKEN) as lea:
        for operation in operations:

            @settings(
                max_examples=15,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def conforms(case: schemathesis.Case) -> None:
                case.call_and_validate(
                    headers={"Authorization": lea.headers["Authorization"]},
                    checks=[not_a_server_error, status_code_conformance],
                    timeout=30,
                )

            conforms()
