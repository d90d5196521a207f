"""Hands posts to the API and collects their verdicts: what `submit` and `demo` do."""

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import httpx
from pydantic import ValidationError

from moderation import addresses
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.intake import SubmissionIn, context_of, describe
from moderation.queue import MAX_ITEMS
from moderation.settings import Settings

Label = Literal["match", "mismatch"]

# A batch is sent before its images make the body larger than servers take.
_BATCH_BYTES = 12 * 2**20
_POLL_S = 0.1
# More ids would make a request line longer than proxies take.
_ASK_AT_ONCE = 100
_FULL_QUEUE_TRIES = 60


@dataclass(frozen=True, slots=True)
class Post:
    """A post that is to be handed in; `name` is what people call its image, `line` its place."""

    name: str
    submission: SubmissionIn
    label: Label | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line of a file that cannot be handed in, and why."""

    external_id: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A post that was accepted, without its image; the same external id gives the same id."""

    id: str
    name: str
    caption: str
    external_id: str | None
    label: Label | None


def read_posts(path: Path, settings: Settings) -> Iterator[Post | RefusedLine]:
    """Read `{"image": PATH_OR_URL, "caption": …}` lines; paths are relative to the file.

    A wrong line is yielded as `RefusedLine`, the others go on.
    """
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _read_line(line, number, path, settings)


def _read_line(line: str, number: int, path: Path, settings: Settings) -> Post | RefusedLine:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RefusedLine(None, f"line {number} is no JSON: {error}")
    if not isinstance(document, dict):
        return RefusedLine(None, f"line {number} is no JSON object")
    external_id = document.get("external_id")
    named = external_id if isinstance(external_id, str) else None
    try:
        return replace(_to_post(document, path.parent, settings), line=number)
    except InputRefused as error:
        return RefusedLine(named, f"line {number}: {error}")
    except ValidationError as error:
        return RefusedLine(named, f"line {number}: {describe(error)}")


def _to_post(document: dict[str, Any], folder: Path, settings: Settings) -> Post:
    fields: dict[str, Any] = {
        k: document[k] for k in ("caption", "external_id", "policy") if k in document
    }
    label = document.get("label")
    if label not in (None, "match", "mismatch"):
        raise InputRefused(f"label: must be match or mismatch, is {label!r}", field="label")
    image = document.get("image")
    if not isinstance(image, str) or not image:
        raise InputRefused("image: a path or URL is required", field="image")
    if image.startswith(("http://", "https://")):
        fields["image_url"] = image
    else:
        fields["image_base64"] = base64.b64encode(read_image(folder / image, settings))
    context = context_of(settings)
    return Post(Path(image).name, SubmissionIn.model_validate(fields, context=context), label)


def read_image(path: Path, settings: Settings) -> bytes:
    """Read an image file. Raises `InputRefused` where it cannot be read, is empty or too large."""
    try:
        size = path.stat().st_size
        if not 0 < size <= settings.max_image_bytes:
            raise InputRefused(
                f"image: {path.name} has {size} bytes; 1 to {settings.max_image_bytes} are taken",
                field="image",
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputRefused(f"image: {path.name} cannot be read: {why}", field="image") from error


class Client:
    """A connection to the API."""

    def __init__(self, settings: Settings) -> None:
        key = (
            settings.api_key.get_secret_value()
            if settings.api_key
            else addresses.read_local_key(settings.data_dir)
        )
        if not key:
            raise ServiceUnavailable(
                "There is no API key: set CAPTIONGUARD_API_KEY to one from "
                "`captionguard keys add PLATFORM`."
            )
        self._http = httpx.Client(
            base_url=addresses.api_url(settings),
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(120, connect=5),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, posts: Iterable[Post], *, at_once: int = MAX_ITEMS) -> Iterator[list[Sent]]:
        """Hand posts in, packed into batches; yields each batch once it is accepted."""
        for batch in _packed(posts, at_once):
            documents = [_document(post.submission) for post in batch]
            answer = self._post({"submissions": documents})
            yield [
                Sent(
                    id=accepted["id"],
                    name=post.name,
                    caption=post.submission.caption,
                    external_id=post.submission.external_id,
                    label=post.label,
                )
                for post, accepted in zip(batch, answer["submissions"], strict=True)
            ]

    def wait(
        self,
        ids: Sequence[str],
        on_done: Callable[[dict[str, Any]], None],
        *,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wait for the verdicts of `ids` while `go_on` says so; tells each status once done."""
        pending = list(dict.fromkeys(ids))
        while pending and go_on():
            done = set()
            for start in range(0, min(len(pending), 10 * _ASK_AT_ONCE), _ASK_AT_ONCE):
                for status in self._statuses(pending[start : start + _ASK_AT_ONCE]):
                    if status["verdict"] is not None:
                        done.add(status["id"])
                        on_done(status)
            pending = [id_ for id_ in pending if id_ not in done]
            if pending:
                time.sleep(_POLL_S)

    def status(self, submission_id: str) -> dict[str, Any]:
        """The status of one submission; `InputRefused` if there is none."""
        found = self._statuses([submission_id])
        if not found:
            raise InputRefused(f"There is no submission {submission_id} of this platform.")
        return found[0]

    def _statuses(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        answer = self._request("GET", "/v1/submissions", params={"id": list(ids)})
        submissions: list[dict[str, Any]] = answer.json()["submissions"]
        return submissions

    def _post(self, document: dict[str, Any]) -> Any:
        for _ in range(_FULL_QUEUE_TRIES):
            answer = self._request("POST", "/v1/submissions/batch", json=document)
            if answer.status_code not in (429, 503):
                return answer.json()
            time.sleep(float(answer.headers.get("Retry-After", "5")))
        raise ServiceUnavailable("The queue stays full; see `captionguard doctor`.")

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise ServiceUnavailable(
                f"The API at {self._http.base_url} does not answer. Is `captionguard up` running?"
            ) from error
        if answer.status_code == 401:
            raise ServiceUnavailable(
                "The API does not know this key. Set CAPTIONGUARD_API_KEY to one from "
                "`captionguard keys add PLATFORM`."
            )
        if answer.is_error and answer.status_code not in (429, 503):
            raise InputRefused(f"The API refused it ({answer.status_code}): {answer.text[:500]}")
        return answer


def _document(submission: SubmissionIn) -> dict[str, Any]:
    document = submission.model_dump(exclude_none=True, exclude={"image_base64"})
    if submission.image_base64 is not None:
        document["image_base64"] = base64.b64encode(submission.image_base64).decode()
    return document


def _packed(posts: Iterable[Post], at_once: int) -> Iterator[list[Post]]:
    batch: list[Post] = []
    size = 0
    for post in posts:
        weight = len(post.submission.image_base64 or b"")
        if batch and (len(batch) == at_once or size + weight > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(post)
        size += weight
    if batch:
        yield batch
