"""What the desk's endpoints share: the reviewer, the desk, refusals as HTTP, checked texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import regex
from fastapi import Depends, HTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused
from moderation.review.auth import ActorDep, SessionDep
from moderation.review.claiming import Reviewer
from moderation.review.desk import Desk
from moderation.review.refusals import DeskRefused, NoSuchThing

MAX_NOTE_CHARS = 4_000
_CONTROL = regex.compile(r"[\p{Cc}\p{Cs}--\n]", regex.VERSION1)

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "nobody is signed in"},
    403: {"description": "a form of another site or of an old session"},
    404: {"description": "nothing of that id"},
    409: {"description": "somebody else was faster; `detail.problem` and `detail.message` say how"},
    422: {"description": "a field is wrong; `loc` names it"},
}


def _printable(text: str) -> str:
    text = text.replace("\r\n", "\n")
    if _CONTROL.search(text):
        raise ValueError("leave out control characters; only line breaks are taken")
    return text.strip()


Text = Annotated[str, Field(max_length=MAX_NOTE_CHARS), AfterValidator(_printable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Note = Annotated[Text | None, AfterValidator(lambda text: text or None)]


class Body(BaseModel):
    """A request's body: a name that is not known is a mistake of the sender."""

    model_config = ConfigDict(extra="forbid")


def reviewer_of(session: SessionDep, actor: ActorDep) -> Reviewer:
    """Who sits at the desk."""
    return Reviewer(session.user, actor)


def desk_of(services: ServicesDep) -> Desk:
    """The desk over the process's services."""
    return Desk(services)


@contextmanager
def refusals() -> Iterator[None]:
    """Answer 404, 409 or 422 where the desk refuses."""
    try:
        yield
    except NoSuchThing as error:
        raise HTTPException(404, str(error)) from error
    except DeskRefused as error:
        raise HTTPException(
            409, {"problem": error.problem.value, "message": error.message}
        ) from error
    except InputRefused as error:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("body", error.field), "msg": str(error)}]
        ) from error


ReviewerDep = Annotated[Reviewer, Depends(reviewer_of)]
DeskDep = Annotated[Desk, Depends(desk_of)]
