"""What people read at the desk when something is wrong: a page, in words, with a way back."""

import dataclasses

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine

from moderation.api.app import create_app
from moderation.review.auth import COOKIE
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.desk import signed_in


def said(answer: httpx.Response) -> str:
    """The page of a problem, which leads back to the cases."""
    assert answer.headers["content-type"].startswith("text/html")
    assert '<a href="/review">To the cases</a>' in answer.text
    return answer.text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/review/nothing", 404, "There is no such page."),
        ("/review/cases/some-case", 422, "No such page"),
        ("/review/cases/01a1ffcc-0000-7000-8000-000000000000", 404, "There is no such case."),
        ("/review/people", 403, "This needs the role lead; yours is moderator."),
    ],
)
def test_a_wrong_address_is_answered_in_sentences(
    api: Api, path: str, status: int, words: str
) -> None:
    """Whoever mistypes an address, or follows a link of somebody else's, reads what is wrong."""
    with signed_in(api, "anna", Role.MODERATOR) as anna:
        answer = anna.get(path)
    assert answer.status_code == status
    assert words in said(answer)


def test_without_a_database_people_read_a_page_and_tools_json(services: Services) -> None:
    """Both learn that it may work later."""
    gone = dataclasses.replace(services, database=create_engine("postgresql+psycopg://127.0.0.1:1"))
    with TestClient(create_app(gone)) as client:
        page = client.get("/review", headers={"Cookie": f"{COOKIE}=a"})
        bearer = {"Authorization": "Bearer cgs_a"}
        tool = client.get("/v1/review/session", headers=bearer)
    assert (page.status_code, tool.status_code) == (503, 503)
    assert "The database does not answer" in said(page)
    assert "the database does not answer" in tool.json()["detail"]
    assert "retry-after" in page.headers
    assert "retry-after" in tool.headers
