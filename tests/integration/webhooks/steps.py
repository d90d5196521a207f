"""What tests of webhooks do again and again."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from moderation.metrics import WebhookMetrics
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api, eventually
from tests.integration.desk import signed_in
from tests.integration.platform import (
    Platform,
    Received,
)


def rows(services: Services, query: str, **values: object) -> list[dict[str, Any]]:
    """Rows of a query."""
    with services.database.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def decide(
    api: Api, name: str, case_id: UUID, answer: str, *, role: Role = Role.MODERATOR
) -> dict[str, Any]:
    """Somebody claims a case and decides it."""
    with signed_in(api, name, role) as client:
        claimed = client.post("/v1/review/claims", json={"case_id": str(case_id)})
        assert claimed.status_code == 201, claimed.text
        token = claimed.json()["claim"]["id"]
        made = client.post(
            f"/v1/review/claims/{token}/decision", json={"answer": answer, "reason": "spam"}
        )
        assert made.status_code == 200, made.text
        document: dict[str, Any] = made.json()
    return document


def arrived(platform: Platform, count: int) -> list[Received]:
    """Wait for so many requests."""
    eventually(lambda: len(platform.received) >= count)
    return list(platform.received)


def failed(metrics: WebhookMetrics) -> float:
    """How many tries have failed and are noted."""
    (series,) = metrics.tries.labels("failed").collect()
    return next(sample.value for sample in series.samples if sample.name.endswith("_total"))
