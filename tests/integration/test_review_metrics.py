"""What the desk did is counted where Prometheus reads it, once it is committed."""

import math
from datetime import timedelta
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from moderation.review.metrics import WaitingMetrics
from moderation.settings import Settings
from moderation.store import desk_figures
from moderation.store.cases import Route
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.answers import answer, answer_as, claimed
from tests.integration.desk import add_case, rows_of, signed_in


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No golden cases: each claim is for the case that a test added."""
    return settings.model_copy(update={"review_golden_share": 0.0, "review_undo_s": 60.0})


def shown(api: Api) -> dict[str, float]:
    """The desk's series, by name and the value of their label."""
    families = text_string_to_metric_families(api.http.get("/metrics").text)
    return {
        " ".join([sample.name.removeprefix("captionguard_review_"), *sample.labels.values()]): (
            sample.value
        )
        for family in families
        for sample in family.samples
        if sample.name.startswith("captionguard_review_")
    }


def later(services: Services, name: str) -> None:
    """Make everything that somebody did so far 100 seconds older."""
    with services.database.begin() as connection:
        connection.execute(text("ALTER TABLE decisions DISABLE TRIGGER USER"))
        for table, person in (("claims", "user_name"), ("decisions", "decided_by")):
            query = (
                f"UPDATE {table} SET created_at = created_at - interval '100 s' "  # noqa: S608
                f"WHERE {person} = :name"
            )
            connection.execute(text(query), {"name": name})


def test_every_series_is_there_before_anything_happens(api: Api) -> None:
    """A rate sees the first event only of a series that was there before it."""
    found = shown(api)
    zero = {
        *(f"decisions_total {said}" for said in ("mismatch", "match", "unsure", "escalate")),
        "undone_decisions_total",
        *(f"appeals_settled_total {result}" for result in ("upheld", "overturned")),
        "handling_seconds_count",
    }
    assert {name: found[name] for name in zero} == dict.fromkeys(zero, 0.0)


def test_decisions_are_counted_by_answer_and_once(api: Api) -> None:
    """One by one and together; the same sent again, and what is refused, count nothing."""
    for _ in range(5):
        add_case(api.services)
    with signed_in(api, "mia") as mia:
        case = claimed(mia)
        assert case is not None
        path = f"/v1/review/claims/{case['claim']['id']}/decision"
        for _ in range(2):
            assert mia.post(path, json={"answer": "mismatch"}).status_code == 200
        assert mia.post(path, json={"answer": "match"}).status_code == 409
        others = [str(row[0]) for row in rows_of(api.services, "SELECT id FROM cases")]
        together = mia.post("/v1/review/decisions", json={"case_ids": others, "answer": "match"})
        assert len(together.json()["decided"]) == 4
    found = shown(api)
    assert found["decisions_total mismatch"] == 1
    assert found["decisions_total match"] == 4
    assert found["undone_decisions_total"] == 0


def test_what_is_taken_back_is_counted(api: Api) -> None:
    """One decision, and all that were made together; a decision that was counted stays so."""
    ids = [str(add_case(api.services)) for _ in range(3)]
    with signed_in(api, "mia") as mia:
        together = mia.post("/v1/review/decisions", json={"case_ids": ids[:2], "answer": "match"})
        batch = together.json()["batch_id"]
        assert mia.post(f"/v1/review/decisions/batches/{batch}/undo").json()["undone"] == 2
        case = claimed(mia, UUID(ids[2]))
        assert case is not None
        made = mia.post(
            f"/v1/review/claims/{case['claim']['id']}/decision", json={"answer": "unsure"}
        ).json()
        for status in (200, 409):
            path = f"/v1/review/decisions/{made['decision_id']}/undo"
            assert mia.post(path).status_code == status
    found = shown(api)
    assert found["undone_decisions_total"] == 3
    assert found["decisions_total unsure"] == 1


def test_handling_is_from_coming_in_sight_to_the_decision(api: Api) -> None:
    """A case that was claimed ahead comes in sight with the decision before it."""
    services = api.services
    for _ in range(4):
        add_case(services)
    with signed_in(api, "mia") as mia:
        cases = [case for case in (claimed(mia) for _ in range(3)) if case is not None]
        for case in cases[:2]:
            later(services, "mia")
            path = f"/v1/review/claims/{case['claim']['id']}/decision"
            assert mia.post(path, json={"answer": "match"}).status_code == 200
        (rest,) = set(rows_of(services, "SELECT id FROM cases WHERE state = 'open'")) - {
            (UUID(cases[2]["id"]),)
        }
        body = {"case_ids": [str(rest[0])], "answer": "match"}
        assert len(mia.post("/v1/review/decisions", json=body).json()["decided"]) == 1
    found = shown(api)
    assert found["handling_seconds_count"] == 2
    assert 200 <= found["handling_seconds_sum"] < 290


def test_appeals_are_counted_by_what_became_of_what_they_are_against(api: Api) -> None:
    """Upheld where it says what stood before, overturned where not; unsure is neither."""
    for said in ("mismatch", "match", "unsure"):
        case_id = add_case(api.services)
        answer_as(api, "ann", "mismatch", case_id)
        (row,) = rows_of(api.services, "SELECT submission_id FROM cases WHERE id = :id", id=case_id)
        made = api.http.post(f"/v1/submissions/{row[0]}/appeals", json={"statement": "Mine."})
        assert made.status_code == 201
        with signed_in(api, "bob") as bob:
            answer(bob, said)
    found = shown(api)
    assert found["appeals_settled_total upheld"] == 1
    assert found["appeals_settled_total overturned"] == 1


def test_what_waits_is_shown_by_route_and_blind_ones_together(services: Services) -> None:
    """Zero where nothing waits, the oldest one's age, and NaN while nothing is known."""
    registry = CollectorRegistry()
    waiting = WaitingMetrics(registry)

    def values(name: str) -> dict[str, float]:
        return {
            sample.labels["route"]: sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == f"captionguard_review_{name}"
        }

    assert all(math.isnan(value) for value in values("cases_waiting").values())
    old = add_case(services)
    add_case(services)
    add_case(services, blind=True)
    add_case(services, route=Route.AUDIT, inclusion_probability=0.1)
    with services.database.begin() as connection:
        connection.execute(
            text("UPDATE cases SET created_at = now() - :age WHERE id = :id"),
            {"age": timedelta(hours=2), "id": old},
        )
    with services.database.connect() as connection:
        waiting.show(desk_figures.waiting(connection))
    assert values("cases_waiting") == {"flagged": 2, "unscorable": 0, "appeal": 0, "blind": 2}
    ages = values("oldest_case_age_seconds")
    assert 7200 <= ages["flagged"] < 8000
    assert (ages["unscorable"], ages["appeal"]) == (0, 0)
    waiting.forget()
    assert all(math.isnan(value) for value in values("oldest_case_age_seconds").values())
