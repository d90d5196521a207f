"""What a platform may hand in: the same documents over HTTP and as a Celery message."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from moderation.errors import InputRefused
from moderation.media.fetch import check_url
from moderation.queue import MAX_ITEMS
from moderation.settings import Settings
from moderation.types import DEFAULT_POLICY, ImageRef, NewSubmission

MAX_NAME_CHARS = 200


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain the character U+0000, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON's \ud83d alone: what is left of an emoji where a text was cut in UTF-16.
        raise ValueError("must not contain half of a surrogate pair, which is no text") from error
    return value


def _within_limit(value: str, info: ValidationInfo) -> str:
    limit = (info.context or {}).get("max_caption_chars")
    if limit is not None and len(value) > limit:
        raise ValueError(f"must have at most {limit} characters, has {len(value)}")
    return value


def _fetchable(value: str, info: ValidationInfo) -> str:
    try:
        check_url(value, allow_private=(info.context or {}).get("allow_private", False))
    except InputRefused as error:
        raise ValueError(str(error)) from error
    return value


# For whatever text comes from outside and goes into PostgreSQL.
Storable = AfterValidator(_storable)
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS), Storable]
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class SubmissionIn(BaseModel):
    """One image and one caption. The image is given in exactly one of three ways."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    caption: Annotated[str, Storable, AfterValidator(_within_limit)] = Field(
        description="the post's text, any Unicode",
        examples=["a dog runs on the beach"],
    )
    image_url: Annotated[str, Field(max_length=2048), AfterValidator(_fetchable)] | None = Field(
        None,
        description="http or https; fetched by a worker",
        examples=["https://example.com/dog.jpg"],
    )
    image_base64: Base64Bytes | None = Field(
        None, description="the image file itself, base64; not in Celery messages"
    )
    image_blob: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="SHA-256 of an image that is in the blob store already"
    )
    external_id: Name | None = Field(
        None, description="your own id; sent twice, the first submission is given back"
    )
    policy: Name = Field(DEFAULT_POLICY, description="the stream this post belongs to")

    @model_validator(mode="after")
    def _has_one_image(self) -> Self:
        given = [self.image_url, self.image_base64, self.image_blob]
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of image_url, image_base64 and image_blob")
        return self

    def to_new(self, platform: str, *, blob: str | None = None) -> NewSubmission:
        """The submission to store; `blob` is where `image_base64` was put."""
        return NewSubmission(
            platform=platform,
            external_id=self.external_id,
            policy=self.policy,
            caption=self.caption,
            image=ImageRef(blob=blob or self.image_blob, url=self.image_url),
        )


class BatchIn(BaseModel):
    """Up to 256 submissions, which travel as one queue message."""

    model_config = ConfigDict(extra="forbid")

    submissions: Annotated[list[SubmissionIn], Field(min_length=1, max_length=MAX_ITEMS)]


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """A part of a message that cannot be taken, as it came, and what is wrong with it."""

    body: Any
    problem: str


def check_platform(name: str) -> None:
    """Raise `InputRefused` for what cannot name a platform."""
    _check_name(name, "platform")


def check_policy(name: str) -> None:
    """Raise `InputRefused` for what cannot name a policy."""
    _check_name(name, "policy")


def _check_name(name: str, field: str) -> None:
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise InputRefused(f"{field}: {error.errors()[0]['msg']}", field=field) from error


def context_of(settings: Settings) -> dict[str, Any]:
    """The settings that documents are checked against."""
    return {
        "max_caption_chars": settings.max_caption_chars,
        "allow_private": settings.fetch_allow_private,
    }


def parse_message(
    document: Any, *, message_id: str, context: dict[str, Any]
) -> tuple[list[NewSubmission], list[RefusedItem]]:
    """Read a Celery message of a platform: what it would post to the API, one or a batch.

    `platform` may stand beside it. An item without an external id gets one from the
    message's id, so that a message delivered twice makes no second submission. A wrong
    item is refused by itself; the others are taken.
    """
    document = document if isinstance(document, dict) else {"submissions": document}
    items = document.get("submissions")
    if items is None:
        items = [{k: v for k, v in document.items() if k != "platform"}]
    try:
        platform = _NAME.validate_python(document.get("platform", "default"))
    except ValidationError as error:
        return [], [RefusedItem(document, f"platform: {error.errors()[0]['msg']}")]
    if not isinstance(items, list) or not 0 < len(items) <= MAX_ITEMS:
        return [], [RefusedItem(document, f"submissions: must be a list of 1 to {MAX_ITEMS}")]
    taken, refused = [], []
    for index, item in enumerate(items):
        try:
            submission = SubmissionIn.model_validate(item, context=context)
            if submission.image_base64 is not None:
                raise InputRefused(
                    "image_base64: messages carry references; put the image into the blob store "
                    "and send image_blob, or send image_url"
                )
        except (ValidationError, InputRefused) as error:
            refused.append(RefusedItem(item, describe(error)))
            continue
        new = submission.to_new(platform)
        if new.external_id is None:
            new = replace(new, external_id=f"{message_id}:{index}")
        taken.append(new)
    return taken, refused


def describe(error: ValidationError | InputRefused) -> str:
    """What is wrong, field by field, in one line."""
    if isinstance(error, InputRefused):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(_shown, problem['loc'])) or 'submission'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )


def _shown(part: int | str) -> str:
    # A caller chose the names of extra fields: they may hold what cannot be stored or printed.
    return str(part) if str(part).isprintable() else ascii(part)
