"""`/review/policies`: the reasons of each policy, for leads; works without a script."""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused
from moderation.intake import Name
from moderation.review.api_reasons import MAX_REASONS, ReasonIn, ReasonsIn, ReasonsOut, reasons_of
from moderation.review.auth import ActorDep, LeadDep
from moderation.review.pages import page
from moderation.store import policies, reasons
from moderation.store.audit import Actor
from moderation.store.decisions import Answer
from moderation.store.reasons import ChangedMeanwhile
from moderation.store.sessions import Session
from moderation.types import DEFAULT_POLICY
from moderation.wiring import Services

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """What stands in the form: one reason a line, and which list it is to replace."""

    lines: str
    required_for: tuple[str, ...]
    updated_at: str
    problem: str | None = None
    shown: ReasonsIn | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, found: ReasonsOut) -> "Draft":
        """The list as it is."""
        lines = "\n".join(f"{reason.key}: {reason.label}" for reason in found.reasons)
        updated_at = found.updated_at.isoformat() if found.updated_at else ""
        return cls(lines, tuple(found.required_for), updated_at)

    def read(self) -> ReasonsIn:
        """Raises `ValidationError` and `InputRefused`, which name what is wrong."""
        found = []
        for number, line in enumerate(self.lines.splitlines(), 1):
            if not line.strip():
                continue
            key, colon, label = line.partition(":")
            if not colon:
                raise InputRefused(f"line {number}: write `key: label`, such as `spam: Spam`")
            found.append(_reason(number, key.strip(), label))
        return ReasonsIn.model_validate(
            {
                "reasons": found,
                "required_for": self.required_for,
                "updated_at": self.updated_at or None,
            }
        )


def _reason(number: int, key: str, label: str) -> ReasonIn:
    try:
        return ReasonIn(key=key, label=label)
    except ValidationError as error:
        is_key = any(problem["loc"] == ("key",) for problem in error.errors())
        rule = (
            "a key is 1 to 40 characters of a-z, 0-9 and _"
            if is_key
            else "what people read is 1 to 80 characters"
        )
        raise InputRefused(f"line {number}: {rule}") from error


@router.get("/review/policies")
def policies_page(
    services: ServicesDep,
    session: LeadDep,
    policy: Annotated[Name, Query()] = DEFAULT_POLICY,
    done: str = "",
) -> Response:
    """All policies, and the list of one of them to edit."""
    return _page(services, session, reasons_of(services, policy), done=done)


@router.post("/review/policies")
def change_policy(
    services: ServicesDep,
    session: LeadDep,
    actor: ActorDep,
    policy: Annotated[Name, Form()],
    lines: Annotated[str, Form()] = "",
    required_for: Annotated[tuple[str, ...], Form()] = (),
    updated_at: Annotated[str, Form()] = "",
    what: Annotated[str, Form()] = "preview",
) -> Response:
    """Store the list, remove it, or show what it would look like; what was typed is kept."""
    draft = Draft(lines, required_for, updated_at)
    try:
        wanted = draft.read()
        if what == "preview":
            draft = Draft(lines, required_for, updated_at, shown=wanted)
            return _page(services, session, reasons_of(services, policy), draft)
        _store(services, actor, policy, wanted, remove=what == "remove")
    except (ValidationError, InputRefused) as error:
        draft = Draft(lines, required_for, updated_at, _words(error))
        return _page(services, session, reasons_of(services, policy), draft, status_code=422)
    except ChangedMeanwhile as error:
        now = reasons_of(services, policy)
        # It now is to replace what the page shows beside it: who saves again knows what.
        draft = Draft(lines, required_for, Draft.of(now).updated_at, f"{error}.")
        return _page(services, session, now, draft, status_code=409, is_conflict=True)
    done = "removed" if what == "remove" else "saved"
    query = urlencode({"policy": policy, "done": done})
    return RedirectResponse(f"/review/policies?{query}", status_code=303)


def _words(error: ValidationError | InputRefused) -> str:
    if isinstance(error, InputRefused):
        return str(error)
    return "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())


def _store(
    services: Services, actor: Actor, policy: str, wanted: ReasonsIn, *, remove: bool
) -> None:
    with services.database.begin() as connection:
        if remove:
            reasons.remove(connection, policy, read_at=wanted.updated_at, actor=actor)
        else:
            listed = wanted.to_listed()
            reasons.put(connection, policy, listed, read_at=wanted.updated_at, actor=actor)


def _page(
    services: Services,
    session: Session,
    now: ReasonsOut,
    draft: Draft | None = None,
    *,
    status_code: int = 200,
    done: str = "",
    is_conflict: bool = False,
) -> Response:
    with services.database.connect() as connection:
        known = policies.in_use(connection)
        with_own = {stored.policy for stored in reasons.stored_lists(connection)}
    draft = draft or Draft.of(now)
    return page(
        "policies.html.j2",
        session,
        status_code=status_code,
        here="/review/policies",
        policies=known,
        with_own=with_own,
        now=now,
        draft=draft,
        shown=draft.shown.reasons if draft.shown else now.reasons,
        is_conflict=is_conflict,
        done=done,
        answers=list(Answer),
        max_reasons=MAX_REASONS,
    )
