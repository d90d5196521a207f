"""What the desk shows of cases' images: our copies, why there is none, and where else they are."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from moderation.store import copies
from moderation.store.cases import Route
from moderation.store.copies import Settled
from moderation.store.same_image import same_image
from moderation.store.users import Role
from moderation.types import ImageRef, Outcome, Reason, Verdict
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.conftest import picture
from tests.integration.desk import add_case, signed_in, state_of
from tests.integration.judged import FLAG, LEASE, case_of, judged


def test_a_moderator_sees_our_copy(api: Api) -> None:
    """As an image that browsers may keep, and that they take for nothing else."""
    case = add_case(api.services, image=picture())
    with signed_in(api, "mia") as mia:
        answer = mia.get(f"/v1/review/cases/{case}/image")
        again = mia.get(
            f"/v1/review/cases/{case}/image", headers={"If-None-Match": answer.headers["etag"]}
        )
    assert answer.status_code == 200
    assert answer.content == picture()
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private, max-age=")
    assert "immutable" in answer.headers["cache-control"]
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]


def test_a_case_without_a_copy_says_why(api: Api) -> None:
    """Not yet, never, or no such case; none of which a browser keeps."""
    sound, damaged = (
        judged(api.services, ImageRef(blob=api.services.blobs.put(picture())), verdict=verdict)[0]
        for verdict in (
            FLAG,
            Verdict(Outcome.UNSCORABLE, "c", "m", 0.35, reason=Reason.IMAGE_CORRUPT),
        )
    )
    with signed_in(api, "mia") as mia:
        answers = [
            mia.get(f"/v1/review/cases/{case}/image")
            for case in (
                case_of(api.services, sound)["id"],
                case_of(api.services, damaged)["id"],
                UUID(int=7),
            )
        ]
    told = [(answer.status_code, answer.json()["detail"]) for answer in answers]
    assert [status for status, _ in told] == [404, 404, 404]
    for (_, detail), words in zip(told, ("being made", "damaged", "no such case"), strict=True):
        assert words in detail
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)


def test_nobody_sees_images_without_signing_in(api: Api) -> None:
    """Nor with a platform's key."""
    case = add_case(api.services)
    assert api.http.get(f"/v1/review/cases/{case}/image").status_code == 401
    assert httpx.get(f"{api.url}/v1/review/cases/{case}/image", trust_env=False).status_code == 401
    with signed_in(api, "ann", Role.ADMIN) as ann:
        assert ann.get(f"/v1/review/cases/{case}/image").status_code == 200


def test_submissions_with_the_same_image_are_found(services: Services) -> None:
    """By file, by URL or by equal copies, the newest first, without itself, up to a limit."""
    url = ImageRef(url="https://example.com/a.jpg")
    this, by_url, other = judged(services, url, url, ImageRef(url="https://example.com/b.jpg"))
    by_copy = judged(services, ImageRef(blob="a" * 64))[0]
    with services.database.begin() as connection:
        wanted = copies.take(connection, limit=9, lease=LEASE)
        equal = [each for each in wanted if each.submission_id in (this, by_copy)]
        copies.settle(connection, [Settled(each, blob="c" * 64) for each in equal])
        found = same_image(connection, this, limit=10)
        assert same_image(connection, this, limit=1) == found[:1]
        assert [same.submission_id for same in same_image(connection, by_copy, limit=9)] == [this]
        assert same_image(connection, other, limit=9) == []
    assert [same.submission_id for same in found] == [by_copy, by_url]
    assert [same.outcome for same in found] == [Outcome.FLAG, Outcome.FLAG]
    assert found[1].case_id == case_of(services, by_url)["id"]
    assert found[1].caption == "a ball"


@pytest.mark.parametrize("route", [Route.FLAGGED, Route.AUDIT, Route.GOLDEN])
def test_the_same_image_tells_nothing_of_a_blind_case(services: Services, route: Route) -> None:
    """Neither its id nor the verdict, which whoever gets it next is not to know."""
    blob = services.blobs.put(picture())
    this = add_case(services, image=picture())
    hidden = add_case(services, route=route, blind=True, image=picture())
    with services.database.begin() as connection:
        (same,) = same_image(connection, _submission(services, this), limit=9)
        assert (same.submission_id, same.case_id, same.outcome) == (
            _submission(services, hidden), None, None,
        )  # fmt: skip
        connection.execute(
            text(
                "UPDATE cases SET state = 'resolved', resolution = 'match', resolved_at = now(),"
                " copy_blob = :blob WHERE id = :id"
            ),
            {"id": hidden, "blob": blob},
        )
        (same,) = same_image(connection, _submission(services, this), limit=9)
    assert (same.case_id, same.outcome is None) == (None, False)


def _submission(services: Services, case_id: UUID) -> UUID:
    found = state_of(services, case_id)["submission_id"]
    assert isinstance(found, UUID)
    return found
