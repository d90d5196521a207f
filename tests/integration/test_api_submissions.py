"""`/v1/submissions` over real HTTP, PostgreSQL and Redis, without a worker."""

import base64
import json
import re
import threading
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from moderation.queue import QUEUE
from moderation.store import verdicts
from moderation.types import Outcome, Verdict
from moderation.wiring import Services, open_services
from tests.conftest import Api, serve_api
from tests.integration.traffic import open_no_case

IMAGE = base64.b64encode(b"these bytes are looked at by workers only").decode()


def post(**changes: Any) -> dict[str, Any]:
    """A valid submission, with changes; None takes a field away."""
    document = {"caption": "a red ball", "image_base64": IMAGE, **changes}
    return {name: value for name, value in document.items() if value is not None}


def messages(api: Api) -> list[dict[str, Any]]:
    """The bodies of the waiting messages, oldest first."""
    raw = api.services.queue.redis.lrange(QUEUE, 0, -1)
    envelopes = [json.loads(message) for message in reversed(raw)]
    assert all(envelope["content-type"] == "application/json" for envelope in envelopes)
    return [json.loads(base64.b64decode(envelope["body"]))[0][0] for envelope in envelopes]


def rows(api: Api) -> list[Any]:
    """All submissions in the database."""
    with api.services.database.connect() as connection:
        return list(connection.execute(text("SELECT * FROM submissions ORDER BY id")))


def test_one_submission_is_stored_and_sent(api: Api) -> None:
    """A 202 means: the row is committed, the image in the blob store, one message waits."""
    answer = api.http.post("/v1/submissions", json=post(external_id="p-1", policy="ads"))
    assert answer.status_code == 202
    document = answer.json()
    assert UUID(document["id"]).version == 7
    assert document["external_id"] == "p-1"
    (row,) = rows(api)
    assert (str(row.id), row.platform, row.policy) == (document["id"], "acme", "ads")
    assert api.services.blobs.get(row.image_blob) == base64.b64decode(IMAGE)
    assert messages(api) == [{"ids": [document["id"]]}]
    status = api.http.get(document["status_url"]).json()
    assert (status["status"], status["verdict"]) == ("queued", None)


def test_a_batch_is_one_message_of_references(api: Api) -> None:
    """256 submissions travel as one message, which holds ids and no image."""
    answer = api.http.post(
        "/v1/submissions/batch",
        json={"submissions": [post(external_id=str(n)) for n in range(256)]},
    )
    assert answer.status_code == 202
    accepted = answer.json()["submissions"]
    assert [a["external_id"] for a in accepted] == [str(n) for n in range(256)]
    (message,) = messages(api)
    assert set(message) == {"ids"}
    assert sorted(message["ids"]) == sorted(a["id"] for a in accepted)


def test_an_external_id_gives_the_first_one_back(api: Api) -> None:
    """The second submission of an external id changes nothing and sends nothing."""
    first = api.http.post("/v1/submissions", json=post(external_id="x")).json()
    again = api.http.post("/v1/submissions", json=post(external_id="x", caption="other")).json()
    assert again == {**first, "known": True}
    assert [row.caption for row in rows(api)] == ["a red ball"]
    assert len(messages(api)) == 1


def test_an_external_id_twice_in_a_batch(api: Api) -> None:
    """Within one batch too, the first of an external id counts."""
    batch = [post(external_id="x"), post(external_id="x", caption="b"), post(), post()]
    accepted = api.http.post("/v1/submissions/batch", json={"submissions": batch}).json()
    ids = [a["id"] for a in accepted["submissions"]]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert [a["known"] for a in accepted["submissions"]] == [False, True, False, False]
    assert len(rows(api)) == 3


def test_external_ids_are_a_platforms_own(api: Api, services: Services) -> None:
    """The same external id of another platform is another submission, and unreadable to it."""
    mine = api.http.post("/v1/submissions", json=post(external_id="x")).json()
    with serve_api(open_services(services.settings), platform="rival") as other:
        theirs = other.http.post("/v1/submissions", json=post(external_id="x")).json()
        assert theirs["id"] != mine["id"]
        assert other.http.get(mine["status_url"]).status_code == 404
        listed = other.http.get("/v1/submissions", params={"id": [mine["id"], theirs["id"]]})
        assert [s["id"] for s in listed.json()["submissions"]] == [theirs["id"]]


def test_multipart_upload(api: Api) -> None:
    """A file can be uploaded as a form, with the same fields."""
    answer = api.http.post(
        "/v1/submissions",
        files={"image": ("dog.jpg", b"bytes", "image/jpeg")},
        data={"caption": "a dog", "external_id": "form"},
    )
    assert answer.status_code == 202
    (row,) = rows(api)
    assert (row.caption, row.external_id) == ("a dog", "form")
    assert api.services.blobs.get(row.image_blob) == b"bytes"


def test_a_form_field_is_given_once(api: Api) -> None:
    """A form that says two things about one field is refused with the field's name."""
    answer = api.http.post(
        "/v1/submissions",
        files={"image": ("dog.jpg", b"bytes", "image/jpeg")},
        data={"caption": ["a dog", "a cat"]},
    )
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "caption"]
    assert rows(api) == []


WRONG = [
    ("{", ["body", 0]),
    ("[]", ["body"]),
    (json.dumps({"image_base64": IMAGE}), ["body", "caption"]),
    (json.dumps(post(caption=7)), ["body", "caption"]),
    (json.dumps(post(caption="x" * 10_001)), ["body", "caption"]),
    (json.dumps(post(caption="nul \x00")), ["body", "caption"]),
    ('{"caption": "\\ud800", "image_base64": "aaaa"}', ["body"]),
    (json.dumps(post(image_base64="???")), ["body", "image_base64"]),
    (json.dumps(post(image_base64="")), ["body", "image_base64"]),
    (json.dumps(post(image_base64=None)), ["body"]),
    (json.dumps(post(image_url="http://example.com/a.jpg")), ["body"]),
    (json.dumps(post(image_base64=None, image_url="file:///etc/passwd")), ["body", "image_url"]),
    (json.dumps(post(image_base64=None, image_url="https://")), ["body", "image_url"]),
    (json.dumps(post(image_base64=None, image_blob="../../etc/passwd")), ["body", "image_blob"]),
    (json.dumps(post(external_id="")), ["body", "external_id"]),
    (json.dumps(post(external_id=["x"])), ["body", "external_id"]),
    (json.dumps(post(colour="red")), ["body", "colour"]),
]


@pytest.mark.parametrize(("body", "where"), WRONG)
def test_wrong_input_names_the_field(api: Api, body: str, where: list[object]) -> None:
    """Wrong input is answered with 422 and the place; nothing is stored or sent."""
    answer = api.http.post(
        "/v1/submissions", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    problem = answer.json()["detail"][0]
    assert problem["loc"][: len(where)] == where or problem["loc"] == ["body"]
    assert problem["msg"]
    assert rows(api) == []
    assert messages(api) == []


def test_a_wrong_item_of_a_batch_is_named_by_its_place(api: Api) -> None:
    """One wrong item refuses its batch, says which it was, and stores nothing."""
    answer = api.http.post(
        "/v1/submissions/batch", json={"submissions": [post(), post(caption=None)]}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "submissions", 1, "caption"]
    assert rows(api) == []


@pytest.mark.parametrize("count", [0, 257])
def test_a_batch_has_1_to_256_submissions(api: Api, count: int) -> None:
    """An empty batch and one of 257 are refused."""
    answer = api.http.post("/v1/submissions/batch", json={"submissions": [post()] * count})
    assert answer.status_code == 422


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc"])
def test_without_a_key_nothing_goes(api: Api, header: str | None) -> None:
    """401 without a valid key, for writing and for reading."""
    api.http.headers.pop("Authorization")
    headers = {"Authorization": header} if header else {}
    for method, path in (("POST", "/v1/submissions"), ("GET", f"/v1/submissions/{UUID(int=1)}")):
        answer = api.http.request(method, path, headers=headers, json=post())
        assert answer.status_code == 401
        assert "captionguard keys add" in answer.json()["detail"]


def test_keys_are_stored_as_hashes(api: Api) -> None:
    """The database does not hold a key that could be used."""
    key = api.http.headers["Authorization"].removeprefix("Bearer ")
    with api.services.database.connect() as connection:
        stored = str(list(connection.execute(text("SELECT * FROM api_keys"))))
    assert key not in stored


def test_a_large_body_is_refused(api: Api) -> None:
    """413 by the declared length, and also while a body of undeclared length arrives."""
    size = api.services.settings.max_body_bytes
    declared = api.http.post("/v1/submissions", content=b" " * (size + 1))
    assert declared.status_code == 413

    def chunks() -> Any:
        for _ in range(size // 2**20 + 2):
            yield b" " * 2**20

    streamed = api.http.post("/v1/submissions", content=chunks())
    assert streamed.status_code == 413


def test_a_full_queue_says_when_to_come_back(api: Api) -> None:
    """429 with Retry-After while as many submissions wait as the queue may hold."""
    limited = api.services.settings.model_copy(update={"queue_limit_items": 2})
    services = open_services(limited)
    with serve_api(services) as full:
        for _ in range(2):
            assert full.http.post("/v1/submissions", json=post()).status_code == 202
        refused = full.http.post("/v1/submissions", json=post())
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0


def test_wait_s_answers_when_the_verdict_comes(api: Api) -> None:
    """A waiting reader gets the verdict as soon as it is stored."""
    accepted = api.http.post("/v1/submissions", json=post()).json()
    verdict = Verdict(Outcome.FLAG, "c-1", "m-1", threshold=0.35, cosine=0.1, score=0.2)

    def record() -> None:
        with api.services.database.begin() as connection:
            verdicts.record(connection, [(UUID(accepted["id"]), verdict)], open_no_case)

    timer = threading.Timer(0.3, record)
    timer.start()
    status = api.http.get(accepted["status_url"], params={"wait_s": 30}).json()
    timer.join()
    assert status["status"] == "done"
    assert status["verdict"]["outcome"] == "flag"
    assert status["verdict"]["score"] == 0.2
    assert status["verdict"]["calibration_version"] == "c-1"


def test_without_redis_a_submission_is_accepted_all_the_same(
    services: Services,
) -> None:
    """PostgreSQL is the truth: what Redis does not take is sent later, not lost."""
    nowhere = SecretStr("redis://127.0.0.1:1")
    lonely = open_services(services.settings.model_copy(update={"redis_url": nowhere}))
    with serve_api(lonely) as running:
        answer = running.http.post("/v1/submissions", json=post())
        assert answer.status_code == 202
        assert len(rows(running)) == 1
        ready = running.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["redis"] == "does not answer"


def test_health_and_metrics(api: Api) -> None:
    """The operator's pages answer without a key and count what was taken."""
    assert api.http.get("/healthz").json() == {"status": "ok"}
    assert api.http.get("/readyz").json() == {"postgresql": "ok", "redis": "ok", "blobs": "ok"}
    api.http.post("/v1/submissions", json=post())
    page = api.http.get("/metrics", headers={"Authorization": ""}).text
    assert 'captionguard_submissions_total{result="new",source="api"} 1.0' in page
    assert "captionguard_queue_depth 1.0" in page
    assert "captionguard_pending_submissions 1.0" in page


@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")
def test_the_docs_need_nothing_from_elsewhere(api: Api) -> None:
    """The page of the API's docs loads scripts and styles from this API alone."""
    page = api.http.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) >= 3
    for source in sources:
        assert source.startswith((api.url, "/"))
        assert api.http.get(source).status_code == 200
