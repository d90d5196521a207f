"""The simulated people: what they answer, how often they are right, and how long they take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np

from moderation.curves import Floats
from moderation.review.rules import Given, Resolved, Wants, resolve
from moderation.store.cases import Level, Route
from moderation.store.decisions import Answer

_UNSURE_SHARE = 0.01
# Medians in hours, and the spread of the logarithm: nineteen in twenty come within ten hours.
_TAKES_H = 2.0
_LATE_BY_H = 24.0
_LOG_SPREAD = 1.0
# Two answers, and a lead's where they differ.
_MOST_ANSWERS = 3
_MODERATORS = 12


@dataclass(frozen=True, slots=True)
class Reviewers:
    """How right people are, each on their own, and which share of answers comes too late.

    A late answer comes after `lag`. With `by_priority` the flags of the lowest scores are never
    late and those of the highest twice as often as the others, as where too few people take the
    surest first.
    """

    sensitivity: float
    specificity: float
    late: float
    by_priority: bool
    lag: timedelta


@dataclass(frozen=True, slots=True)
class Opened:
    """A case that a verdict has opened."""

    id: UUID
    route: Route
    answers_wanted: int
    inclusion_probability: float


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case with the post that it is of, and the truth about it."""

    opened: Opened
    submission_id: UUID
    opened_at: datetime
    score: float
    is_mismatch: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer that somebody gives to a case, and where the case stands then."""

    case: OpenCase
    at: datetime
    answer: Answer
    level: Level
    decided_by: str
    is_first: bool
    then: Resolved | Wants


def decide_all(
    cases: Sequence[OpenCase], reviewers: Reviewers, rng: np.random.Generator
) -> list[Decided]:
    """All answers that the cases of a day are going to get, those of a case in order."""
    n = len(cases)
    lots = rng.random((n, _MOST_ANSWERS))
    unsure = rng.random((n, _MOST_ANSWERS)) < _UNSURE_SHARE
    hours = _TAKES_H * rng.lognormal(0.0, _LOG_SPREAD, (n, _MOST_ANSWERS))
    is_late = rng.random((n, _MOST_ANSWERS)) < late_shares(cases, reviewers)[:, None]
    late_h = reviewers.lag / timedelta(hours=1) + _LATE_BY_H * rng.lognormal(
        0.0, _LOG_SPREAD, (n, _MOST_ANSWERS)
    )
    hours += np.where(is_late, late_h, 0.0)
    first_by = rng.integers(0, _MODERATORS, n)
    decided: list[Decided] = []
    for i, case in enumerate(cases):
        right = reviewers.sensitivity if case.is_mismatch else reviewers.specificity
        answers = [
            Answer.UNSURE if unsure[i, k] else _answer(case.is_mismatch == (lots[i, k] < right))
            for k in range(_MOST_ANSWERS)
        ]
        decided += _course(case, answers, hours[i].tolist(), int(first_by[i]))
    return decided


def late_shares(cases: Sequence[OpenCase], reviewers: Reviewers) -> Floats:
    """With which probability each answer to these cases is late, (n,)."""
    shares = np.full(len(cases), reviewers.late)
    if reviewers.by_priority:
        flags = [i for i, case in enumerate(cases) if case.opened.route is Route.FLAGGED]
        surest_first = np.argsort([cases[i].score for i in flags], kind="stable")
        ranks = np.empty(len(flags))
        ranks[surest_first] = (np.arange(len(flags)) + 0.5) / max(len(flags), 1)
        shares[flags] = np.minimum(1.0, 2 * reviewers.late * ranks)
    return shares


def _answer(says_mismatch: bool) -> Answer:
    return Answer.MISMATCH if says_mismatch else Answer.MATCH


def _course(
    case: OpenCase, answers: Sequence[Answer], hours: Sequence[float], first_by: int
) -> list[Decided]:
    """Who answers a case, one after the other, until the rules have it settled."""
    given: list[Given] = []
    course: list[Decided] = []
    at, level = case.opened_at, Level.MODERATOR
    for k, answer in enumerate(answers):
        # Whole milliseconds, as in the ids of decisions.
        at += timedelta(milliseconds=math.ceil(hours[k] * 3_600_000))
        given.append(Given(answer, level))
        then = resolve(case.opened.route, case.opened.answers_wanted, given)
        who = "lead" if level is Level.LEAD else f"moderator-{(first_by + k) % _MODERATORS + 1}"
        course.append(Decided(case, at, answer, level, who, k == 0, then))
        if isinstance(then, Resolved):
            break
        level = then.level
    return course
