"""`/v1/submissions`: hand submissions in, one or up to 256 at a time, and read verdicts."""

import asyncio
import base64
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from moderation.acceptance import accept
from moderation.api import threads
from moderation.api.auth import PlatformDep, ServicesDep
from moderation.api.documents import AcceptedBatchOut, AcceptedOut, StatusesOut, StatusOut
from moderation.api.room import RETRY_AFTER_S, RoomDep
from moderation.errors import InputRefused, TemporaryFault
from moderation.intake import BatchIn, SubmissionIn, context_of
from moderation.queue import MAX_ITEMS
from moderation.store import outcome, submissions
from moderation.store.outcome import Review
from moderation.store.submissions import Accepted
from moderation.wiring import Services

router = APIRouter(prefix="/v1/submissions", tags=["submissions"])

MAX_WAIT_S = 60.0
_POLL_S = 0.1

M = TypeVar("M", bound=BaseModel)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "the form cannot be read"},
    401: {"description": "no valid API key"},
    413: {"description": "the body is too large"},
    422: {"description": "a field is wrong; `loc` names it"},
    429: {"description": "the queue is full; Retry-After says when to come back"},
    503: {"description": "a server behind the API does not answer; nothing was stored"},
}


def _body_schema(model: type[BaseModel], *, multipart: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    if multipart:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "required": ["image", "caption"],
                "properties": {
                    "image": {"type": "string", "format": "binary"},
                    "caption": {"type": "string"},
                    "external_id": {"type": "string"},
                    "policy": {"type": "string"},
                },
            }
        }
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "",
    status_code=202,
    responses=_REFUSALS,
    openapi_extra=_body_schema(SubmissionIn, multipart=True),
)
async def submit(
    request: Request, services: ServicesDep, platform: PlatformDep, room: RoomDep
) -> AcceptedOut:
    """Hand in one submission, as JSON or as a multipart upload with a file `image`."""
    await room.check()
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        item = await _from_form(request, services)
    else:
        item = _parse(SubmissionIn, await request.body(), services)
    accepted = await _accept(services, [item], platform)
    room.take(1)
    return AcceptedOut.of(accepted[0])


@router.post(
    "/batch",
    status_code=202,
    responses=_REFUSALS,
    openapi_extra=_body_schema(BatchIn, multipart=False),
)
async def submit_batch(
    request: Request, services: ServicesDep, platform: PlatformDep, room: RoomDep
) -> AcceptedBatchOut:
    """Hand in up to 256 submissions at once; one wrong one refuses them all."""
    await room.check()
    batch = _parse(BatchIn, await request.body(), services)
    accepted = await _accept(services, batch.submissions, platform)
    room.take(len(accepted))
    return AcceptedBatchOut(submissions=[AcceptedOut.of(answer) for answer in accepted])


@router.get("", responses={401: _REFUSALS[401]})
async def read_many(
    services: ServicesDep,
    platform: PlatformDep,
    id: Annotated[list[UUID], Query(min_length=1, max_length=MAX_ITEMS)],  # noqa: A002 - the query's name
) -> StatusesOut:
    """Status and verdicts of up to 256 submissions, and what people decided."""
    return StatusesOut(submissions=await threads.run(_find, services, id, platform))


@router.get(
    "/{submission_id}",
    responses={401: _REFUSALS[401], 404: {"description": "no such submission of yours"}},
)
async def read_one(
    submission_id: UUID,
    services: ServicesDep,
    platform: PlatformDep,
    wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0,
) -> StatusOut:
    """Status and verdict of one submission, and what people decided.

    Waits up to `wait_s` seconds for the verdict.
    """
    deadline = time.monotonic() + wait_s
    while True:
        found = await threads.run(_find, services, [submission_id], platform)
        if not found:
            raise HTTPException(404, "no such submission of yours")
        left_s = deadline - time.monotonic()
        if found[0].verdict is not None or left_s <= 0:
            return found[0]
        await asyncio.sleep(min(_POLL_S, left_s))


def _find(services: Services, ids: Sequence[UUID], platform: str) -> list[StatusOut]:
    undo = timedelta(seconds=services.settings.review_undo_s)
    with services.database.connect() as connection:
        found = submissions.find(connection, ids, platform=platform)
        # Nobody looks at what has no verdict, which is what is asked for most often.
        judged = [status.submission.id for status in found if status.verdict is not None]
        reviewed = outcome.reviews(connection, judged, undo=undo) if judged else {}
    return [StatusOut.of(status, reviewed.get(status.submission.id, Review())) for status in found]


async def _accept(
    services: Services, items: Sequence[SubmissionIn], platform: str
) -> list[Accepted]:
    try:
        return await threads.run(accept, services, items, platform=platform)
    except InputRefused as error:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("body", error.field), "msg": str(error)}]
        ) from error
    except TemporaryFault as error:
        raise HTTPException(
            503, f"{error.detail}; try again", headers={"Retry-After": str(RETRY_AFTER_S)}
        ) from error


def _parse(model: type[M], body: bytes, services: Services) -> M:
    try:
        return model.model_validate_json(body, context=context_of(services.settings))
    except ValidationError as error:
        raise _refusal(error) from error


async def _from_form(request: Request, services: Services) -> SubmissionIn:
    async with request.form(max_files=1, max_fields=8, max_part_size=2**20) as form:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise RequestValidationError(
                [{"type": "missing", "loc": ("body", "image"), "msg": "a file is required"}]
            )
        names = [name for name, _ in form.multi_items()]
        for name in names:
            if names.count(name) > 1:
                raise RequestValidationError(
                    [{"type": "value_error", "loc": ("body", name), "msg": "given more than once"}]
                )
        fields = {**form, "image_base64": base64.b64encode(await image.read())}
        del fields["image"]
    try:
        return SubmissionIn.model_validate(fields, context=context_of(services.settings))
    except ValidationError as error:
        raise _refusal(error) from error


def _refusal(error: ValidationError) -> RequestValidationError:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError(
        [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
    )
