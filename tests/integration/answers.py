"""People who answer cases at the desk, through its API."""

from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.desk import signed_in


def claimed(client: httpx.Client, case_id: UUID | None = None) -> dict[str, Any] | None:
    """Claim a case or the next one; None where there is none for this person."""
    body = {} if case_id is None else {"case_id": str(case_id)}
    answer = client.post("/v1/review/claims", json=body)
    assert answer.status_code in (201, 204), answer.text
    if answer.status_code == 204:
        return None
    document: dict[str, Any] = answer.json()
    return document


def answer(client: httpx.Client, said: str, case_id: UUID | None = None, **more: str) -> UUID:
    """Decide a case or the next one; the case's id."""
    case = claimed(client, case_id)
    assert case is not None, "there is no case for this person"
    made = client.post(
        f"/v1/review/claims/{case['claim']['id']}/decision", json={"answer": said, **more}
    )
    assert made.status_code == 200, made.text
    return UUID(case["id"])


def answer_as(
    api: Api,
    name: str,
    said: str,
    case_id: UUID | None = None,
    *,
    role: Role = Role.MODERATOR,
    **more: str,
) -> UUID:
    """Somebody signs in and decides a case or the next one; the case's id."""
    with signed_in(api, name, role) as client:
        return answer(client, said, case_id, **more)


def settle(services: Services, case_id: UUID, said: str = "match") -> None:
    """Resolve a case at once, without anybody."""
    with services.database.begin() as connection:
        connection.execute(
            text(
                "UPDATE cases SET state = 'resolved', resolution = :said, resolved_at = now() "
                "WHERE id = :id"
            ),
            {"id": case_id, "said": said},
        )
