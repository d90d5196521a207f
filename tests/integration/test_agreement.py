"""Cases that two people decide blind: who settles them, and what they tell of people."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import text

from moderation.settings import Settings
from moderation.store.cases import Route
from moderation.store.users import Role
from tests.conftest import Api
from tests.integration.answers import answer, claimed
from tests.integration.desk import add_case, signed_in, state_of
from thresholds.decisions import labelled


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Decisions count at once, and no golden case comes."""
    return settings.model_copy(update={"review_undo_s": 0.0, "review_golden_share": 0.0})


@contextmanager
def people(api: Api, **roles: Role) -> Iterator[dict[str, httpx.Client]]:
    """Clients of people who have signed in, by name."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(signed_in(api, name, role)) for name, role in roles.items()
        }


def twice(api: Api, **options: Any) -> UUID:
    """A flagged case that two people are to decide blind."""
    return add_case(api.services, blind=True, answers_wanted=2, **options)


def quality_of(lead: httpx.Client) -> dict[str, Any]:
    """The figures for leads."""
    found: dict[str, Any] = lead.get("/v1/review/agreement").json()
    return found


def test_two_who_differ_are_settled_by_a_lead_who_decided_neither(api: Api) -> None:
    """Nobody knows of the other; the lead reads both and their notes, and their answer stands."""
    with people(
        api, ann=Role.MODERATOR, bob=Role.MODERATOR, lea=Role.LEAD, max=Role.LEAD
    ) as client:
        case_id = twice(api)
        answer(client["ann"], "mismatch", case_id, note="the dog is a cat")
        second = claimed(client["lea"], case_id)
        assert second is not None
        assert second["earlier"] == second["notes"] == []
        assert second["score"] is None
        client["lea"].post(f"/v1/review/claims/{second['claim']['id']}/release")
        # A lead who is one of the two does not settle it either.
        answer(client["lea"], "match", case_id)
        row = state_of(api.services, case_id)
        assert (row["state"], row["level"]) == ("open", "lead")
        for name in ("ann", "bob", "lea"):
            assert claimed(client[name]) is None
        third = claimed(client["max"])
        assert third is not None
        assert [(one["decided_by"], one["answer"], one["note"]) for one in third["earlier"]] == [
            ("ann", "mismatch", "the dog is a cat"),
            ("lea", "match", None),
        ]
        assert third["score"] is None
        answer(client["max"], "mismatch", case_id)
        row = state_of(api.services, case_id)
        assert (row["state"], row["resolution"]) == ("resolved", "mismatch")
        with api.services.database.connect() as connection:
            (label,) = labelled(connection, model="m")
        assert not label.is_match


def test_two_who_agree_settle_it_and_no_third_is_asked(api: Api) -> None:
    """Their answer stands, and nobody gets the case again."""
    with people(api, ann=Role.MODERATOR, bob=Role.MODERATOR, lea=Role.LEAD) as client:
        case_id = twice(api)
        for name in ("ann", "bob"):
            answer(client[name], "match", case_id)
        assert state_of(api.services, case_id)["resolution"] == "match"
        assert claimed(client["lea"]) is None


def test_figures_are_of_first_answers_of_two_people(api: Api) -> None:
    """Of a known table, as scikit-learn says; by pair and overall, and no lead's third answer."""
    table = {
        ("mismatch", "mismatch"): 5,
        ("mismatch", "match"): 2,
        ("match", "mismatch"): 1,
        ("match", "match"): 4,
        ("unsure", "match"): 1,
    }
    with people(
        api, ann=Role.MODERATOR, bob=Role.MODERATOR, eve=Role.MODERATOR, lea=Role.LEAD
    ) as client:
        for (first, second), n in table.items():
            for i in range(n):
                case_id = twice(api)
                # Whoever comes first: a pair is the same two people.
                said = [("ann", first), ("bob", second)]
                for name, what in said if i % 2 else reversed(said):
                    answer(client[name], what, case_id)
                if first != second:
                    answer(client["lea"], "mismatch", case_id)
        # Audits get a second answer because of the first, and one answer is no pair.
        audit = add_case(api.services, route=Route.AUDIT, blind=True, score=0.9)
        for name in ("ann", "bob"):
            answer(client[name], "mismatch", audit)
        answer(client["eve"], "match", add_case(api.services))
        answer(client["eve"], "match", twice(api))
        found = quality_of(client["lea"])
        assert client["ann"].get("/v1/review/agreement").status_code == 403
    cells = [table[key] for key in list(table)[:4]]
    ann, bob = np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], cells, axis=1)
    (pair,) = found["pairs"]
    assert pair["people"] == ["ann", "bob"]
    of_pair = pair["agreement"]
    assert (of_pair["observed"]["n"], of_pair["unclear"]) == (12, 1)
    assert of_pair["observed"]["point"] == pytest.approx(9 / 12)
    assert of_pair["kappa"]["point"] == pytest.approx(cohen_kappa_score(ann, bob))
    assert of_pair["kappa"]["lower"] < of_pair["kappa"]["point"] < of_pair["kappa"]["upper"]
    # Eight cases that either called a mismatch are too few, and the figure stays away.
    assert (of_pair["positive"]["n"], of_pair["positive"]["point"]) == (8, None)
    assert found["overall"]["observed"] == of_pair["observed"]
    by_name = {one["name"]: one for one in found["people"]}
    assert by_name["ann"]["decisions"] == 14
    assert by_name["ann"]["unsure"]["point"] == pytest.approx(1 / 14)
    assert by_name["eve"]["unsure"] == {
        "n": 2, "point": None, "lower": None, "upper": None, "has_too_few": True
    }  # fmt: skip


def test_an_answer_that_was_undone_is_in_no_figure(api: Api) -> None:
    """Nor a case opened longer ago than the figures are about."""
    with people(api, ann=Role.MODERATOR, bob=Role.MODERATOR, lea=Role.LEAD) as client:
        case_id = twice(api)
        for name in ("ann", "bob"):
            answer(client[name], "match", case_id)
        assert quality_of(client["lea"])["overall"]["observed"]["n"] == 1
        with api.services.database.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO undone_decisions (decision_id, undone_by) "
                    "SELECT id, 'bob' FROM decisions WHERE decided_by = 'bob'"
                )
            )
        assert quality_of(client["lea"])["overall"]["observed"]["n"] == 0
        another = twice(api)
        for name in ("ann", "bob"):
            answer(client[name], "match", another)
        assert quality_of(client["lea"])["overall"]["observed"]["n"] == 1
        with api.services.database.begin() as connection:
            connection.execute(text("UPDATE cases SET created_at = now() - interval '91 days'"))
        assert quality_of(client["lea"])["overall"]["observed"]["n"] == 0
