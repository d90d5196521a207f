"""`/v1/review/cases/{id}/image`: our copy of a case's image, and never the original."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response

from moderation.api.auth import ServicesDep
from moderation.errors import TemporaryFault, Unscorable
from moderation.media.copies import CONTENT_TYPE
from moderation.review.auth import SessionDep
from moderation.store import copies

router = APIRouter(prefix="/v1/review", tags=["review"])

# A copy never changes, and whoever has a case goes back and forth; a day later it is decided.
_MAX_AGE_S = 24 * 3600
_RETRY_AFTER_S = 2

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {CONTENT_TYPE: {}}, "description": "the copy, upright and in sRGB"},
    304: {"description": "the copy that you have"},
    401: {"description": "nobody is signed in"},
    404: {"description": "no such case, or no copy; `detail` says why"},
    503: {"description": "the blob store does not answer"},
}


@router.get("/cases/{case_id}/image", response_class=Response, responses=_RESPONSES)
def image(case_id: UUID, request: Request, session: SessionDep, services: ServicesDep) -> Response:
    """Our own copy of the image, re-encoded, at most 1,600 pixels on the longer side."""
    with services.database.connect() as connection:
        found = copies.find(connection, case_id)
    if found is None:
        raise HTTPException(404, "there is no such case")
    if found.blob is None:
        if found.problem is not None:
            raise HTTPException(404, found.problem)
        raise HTTPException(
            404,
            "The copy of this image is being made; look again in a moment.",
            headers={"Retry-After": str(_RETRY_AFTER_S)},
        )
    headers = {
        "ETag": f'"{found.blob}"',
        "Cache-Control": f"private, max-age={_MAX_AGE_S}, immutable",
        "Content-Disposition": "inline",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        data = services.blobs.get(found.blob)
    except Unscorable as error:
        raise HTTPException(404, "The copy is gone from our store.") from error
    except TemporaryFault as error:
        raise HTTPException(
            503,
            "The blob store does not answer; look again in a moment.",
            headers={"Retry-After": str(_RETRY_AFTER_S)},
        ) from error
    return Response(data, media_type=CONTENT_TYPE, headers=headers)
