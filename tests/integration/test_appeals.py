"""Appeals: a platform asks that somebody else looks at a post again."""

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from moderation.settings import Settings
from moderation.store import keys
from moderation.store.cases import Route
from moderation.store.undecidable import count_undecidable
from moderation.store.users import Role
from tests.conftest import Api
from tests.integration.answers import answer, answer_as, claimed
from tests.integration.desk import a_picture, add_case, add_user, rows_of, signed_in, state_of
from thresholds.decisions import labelled


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Decisions count at once; where a test needs time to undo them it says so."""
    return settings.model_copy(update={"review_undo_s": 0.0})


def submission_of(api: Api, case_id: UUID) -> UUID:
    """The case's submission."""
    return UUID(str(state_of(api.services, case_id)["submission_id"]))


def appeal(api: Api, submission_id: UUID, statement: str = "It is my dog.") -> httpx.Response:
    """Appeal as the platform."""
    return api.http.post(f"/v1/submissions/{submission_id}/appeals", json={"statement": statement})


def appeals_of(api: Api, submission_id: UUID) -> list[dict[str, Any]]:
    """What the platform is told of its appeals."""
    found: list[dict[str, Any]] = api.http.get(f"/v1/submissions/{submission_id}/appeals").json()[
        "appeals"
    ]
    return found


def test_somebody_else_decides_an_appeal_and_the_platform_reads_what_became_of_it(
    api: Api,
) -> None:
    """Who decided it first never gets it; who does reads what the author says, not who that was."""
    case_id = add_case(api.services)
    submission_id = submission_of(api, case_id)
    answer_as(api, "ann", "mismatch", note="no dog anywhere")
    made = appeal(api, submission_id, "  It is my dog.  ")
    assert made.status_code == 201
    assert made.json()["status"] == "open"
    assert appeal(api, submission_id, "again").json() == made.json()
    assert appeal(api, submission_id, "again").status_code == 200
    with signed_in(api, "ann") as ann:
        assert claimed(ann) is None
    with signed_in(api, "bob") as bob:
        case = claimed(bob)
        assert case is not None
        assert case["route"] == "appeal"
        assert case["appeal"]["statement"] == "It is my dog."
        (earlier,) = case["earlier"]
        assert (earlier["answer"], earlier["note"]) == ("mismatch", "no dog anywhere")
        assert earlier["decided_by"] is None
    with signed_in(api, "ann") as ann:
        taken = ann.post("/v1/review/claims", json={"case_id": case["id"]})
        assert taken.status_code == 409
    answer_as(api, "bob", "match", UUID(case["id"]))
    (told,) = appeals_of(api, submission_id)
    assert told["id"] == made.json()["id"]
    assert (told["status"], told["outcome"], told["answer"]) == ("resolved", "overturned", "match")
    with signed_in(api, "lea", Role.LEAD) as lea:
        shown = lea.get(f"/v1/review/cases/{case['id']}").json()
        assert {one["decided_by"] for one in shown["earlier"]} == {"ann", "bob"}
    with api.services.database.connect() as connection:
        (line,) = connection.execute(
            text("SELECT actor, subject, details FROM audit_log WHERE action = 'appeal.received'")
        )
    assert line.actor == "platform:acme"
    assert line.subject == f"submission:{submission_id}"
    assert "dog" not in str(line.details)


def test_an_appeal_takes_the_place_of_a_flag_that_nobody_has_begun_with(api: Api) -> None:
    """One person decides once; no later answer to the flag stands over the appeal's."""
    case_id = add_case(api.services)
    submission_id = submission_of(api, case_id)
    assert appeal(api, submission_id).status_code == 201
    with signed_in(api, "ann") as ann:
        case = claimed(ann)
        assert case is not None
        assert case["route"] == "appeal"
        assert claimed(ann) is None
        taken = ann.post("/v1/review/claims", json={"case_id": str(case_id)})
        assert taken.json()["detail"]["problem"] == "case_resolved"
    answer_as(api, "ann", "match", UUID(case["id"]))
    told = api.http.get(f"/v1/submissions/{submission_id}").json()
    assert [one["answer"] for one in told["decisions"]] == ["match"]
    assert told["case"]["route"] == "appeal"
    with api.services.database.connect() as connection:
        (label,) = labelled(connection, model="m")
    assert label.is_match


def test_an_appeal_leaves_a_flag_to_whoever_is_at_it(api: Api) -> None:
    """What somebody has claimed is not taken out of their hands."""
    case_id = add_case(api.services)
    with signed_in(api, "ann") as ann:
        assert claimed(ann) is not None
        assert appeal(api, submission_of(api, case_id)).status_code == 201
    assert state_of(api.services, case_id)["state"] == "open"
    answer_as(api, "ann", "mismatch", case_id)


def test_what_nobody_calls_a_match_stands(api: Api) -> None:
    """An appeal of a flag that no person has seen yet is taken, too."""
    for said in ("mismatch", "unsure"):
        submission_id = submission_of(api, add_case(api.services))
        assert appeal(api, submission_id).status_code == 201
        with api.services.database.connect() as connection:
            opened = connection.execute(
                text("SELECT case_id FROM appeals WHERE submission_id = :id"), {"id": submission_id}
            )
            answer_as(api, "ann", said, opened.scalar_one())
        (told,) = appeals_of(api, submission_id)
        assert (told["outcome"], told["answer"]) == ("upheld", said)


def test_what_nothing_stands_against_is_not_appealed(api: Api) -> None:
    """A pass, a match, and what has no verdict yet: 409 with a reason; another's post: 404."""
    passed = add_case(api.services, route=Route.AUDIT, blind=True)
    assert "it passed" in appeal(api, submission_of(api, passed)).json()["detail"]
    answer_as(api, "ann", "unsure", passed)
    assert appeal(api, submission_of(api, passed)).status_code == 409
    flagged = add_case(api.services)
    answer_as(api, "ann", "match", flagged)
    matched = appeal(api, submission_of(api, flagged))
    assert matched.status_code == 409
    assert "called it a match" in matched.json()["detail"]
    image = base64.b64encode(a_picture()).decode()
    new = api.http.post("/v1/submissions", json={"caption": "a cat", "image_base64": image})
    waiting = appeal(api, new.json()["id"])
    assert waiting.status_code == 409
    assert "no verdict" in waiting.json()["detail"]
    theirs = submission_of(api, add_case(api.services, platform="other"))
    assert appeal(api, theirs).status_code == 404
    assert api.http.get(f"/v1/submissions/{theirs}/appeals").status_code == 404
    assert httpx.get(f"{api.url}/v1/submissions/{theirs}/appeals").status_code == 401
    with api.services.database.begin() as connection:
        other = {"Authorization": f"Bearer {keys.add(connection, 'other')}"}
    got = api.http.post(
        f"/v1/submissions/{theirs}/appeals", json={"statement": "mine"}, headers=other
    )
    assert got.status_code == 201


def test_an_audited_pass_that_two_call_a_mismatch_can_be_appealed(api: Api) -> None:
    """What stands against it is the decision, whatever the verdict was."""
    case_id = add_case(api.services, route=Route.AUDIT, blind=True)
    answer_as(api, "ann", "mismatch", case_id)
    assert appeal(api, submission_of(api, case_id)).status_code == 409
    answer_as(api, "bob", "mismatch", case_id)
    assert appeal(api, submission_of(api, case_id)).status_code == 201


def test_a_post_is_appealed_three_times_at_most(api: Api) -> None:
    """Each by somebody who decided on it never before; then the last decision is final."""
    submission_id = submission_of(api, add_case(api.services))
    answer_as(api, "ann", "mismatch")
    for name in ("bob", "eve", "ida"):
        assert appeal(api, submission_id).status_code == 201
        answer_as(api, name, "mismatch")
    last = appeal(api, submission_id)
    assert last.status_code == 409
    assert "final" in last.json()["detail"]
    assert [one["outcome"] for one in appeals_of(api, submission_id)] == ["upheld"] * 3


def test_what_a_lead_decided_another_lead_decides_again(api: Api) -> None:
    """Moderators do not get it; where no other lead is left, it is counted as undecidable."""
    submission_id = submission_of(api, add_case(api.services))
    answer_as(api, "lea", "mismatch", role=Role.LEAD)
    add_user(api.services, "ann")
    with api.services.database.connect() as connection:
        assert count_undecidable(connection) == 0
    assert appeal(api, submission_id).status_code == 201
    for name, role in (("ann", Role.MODERATOR), ("lea", Role.LEAD)):
        with signed_in(api, name, role) as client:
            assert claimed(client) is None
    with api.services.database.connect() as connection:
        assert count_undecidable(connection) == 1
    add_user(api.services, "max", Role.ADMIN)
    with api.services.database.connect() as connection:
        assert count_undecidable(connection) == 0
    answer_as(api, "max", "match", role=Role.ADMIN)
    assert appeals_of(api, submission_id)[0]["outcome"] == "overturned"


def test_who_decides_an_appeal_first_decides_nothing_else_of_the_post(api: Api) -> None:
    """Of a flag that still waits somebody else decides, and is not told of blind answers before."""
    case_id = add_case(api.services, blind=True, answers_wanted=2)
    submission_id = submission_of(api, case_id)
    answer_as(api, "ann", "mismatch", case_id, note="no dog anywhere")
    assert appeal(api, submission_id).status_code == 201
    ((appealed,),) = rows_of(api.services, "SELECT case_id FROM appeals")
    with signed_in(api, "bob") as bob:
        shown = claimed(bob, UUID(str(appealed)))
        assert shown is not None
        assert shown["earlier"] == []
        answer(bob, "match", UUID(shown["id"]))
        assert claimed(bob) is None
        taken = bob.post("/v1/review/claims", json={"case_id": str(case_id)})
        assert taken.status_code == 409
    with api.services.database.connect() as connection:
        assert count_undecidable(connection) == 1
    answer_as(api, "eve", "mismatch", case_id)
    with signed_in(api, "bob") as bob:
        shown = bob.get(f"/v1/review/cases/{appealed}").json()
        assert [one["answer"] for one in shown["earlier"]] == ["mismatch", "match", "mismatch"]


def test_a_lead_who_escalated_an_appeal_may_decide_it_as_a_lead(api: Api) -> None:
    """As with any other case: of a house with one lead it has not to wait for a second."""
    submission_id = submission_of(api, add_case(api.services))
    answer_as(api, "ann", "mismatch")
    assert appeal(api, submission_id).status_code == 201
    answer_as(api, "lea", "escalate", role=Role.LEAD)
    answer_as(api, "lea", "match", role=Role.LEAD)
    assert appeals_of(api, submission_id)[0]["outcome"] == "overturned"


def test_of_appeals_that_come_at_once_one_is_opened(api: Api) -> None:
    """All are told the same id."""
    submission_id = submission_of(api, add_case(api.services))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: appeal(api, submission_id), range(8)))
    assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
    assert len({one.json()["id"] for one in answers}) == 1


def test_a_statement_is_text_of_bounded_length(api: Api) -> None:
    """What cannot be stored, or says nothing, is refused before anything is opened."""
    submission_id = submission_of(api, add_case(api.services))
    for statement in ("", "   ", "x" * 2001, "a\0b", None, 7):
        refused = api.http.post(
            f"/v1/submissions/{submission_id}/appeals", json={"statement": statement}
        )
        assert refused.status_code == 422, statement
    # As a text ends that was cut in UTF-16: JSON can say it, UTF-8 cannot.
    refused = api.http.post(
        f"/v1/submissions/{submission_id}/appeals",
        content=rb'{"statement": "my dog \ud83d"}',
        headers={"Content-Type": "application/json"},
    )
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "statement"]
    assert appeals_of(api, submission_id) == []


class TestWithTimeToUndo:
    """What can still be undone has not left the house."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Decisions can be undone for an hour."""
        return settings.model_copy(update={"review_undo_s": 3600.0})

    def test_an_answer_is_told_once_it_cannot_be_undone(self, api: Api) -> None:
        """Until then the appeal is open to the platform, and a further one is the same."""
        submission_id = submission_of(api, add_case(api.services))
        first = appeal(api, submission_id).json()
        with api.services.database.connect() as connection:
            case_id = connection.execute(text("SELECT case_id FROM appeals")).scalar_one()
        answer_as(api, "ann", "match", case_id)
        assert appeals_of(api, submission_id) == [first]
        assert appeal(api, submission_id).json() == first
        with api.services.database.begin() as connection:
            connection.execute(
                text("UPDATE cases SET resolved_at = resolved_at - :undo WHERE id = :id"),
                {"undo": timedelta(hours=1), "id": case_id},
            )
        (told,) = appeals_of(api, submission_id)
        assert told["outcome"] == "overturned"
        assert appeal(api, submission_id).status_code == 409
