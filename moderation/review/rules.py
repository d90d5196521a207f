"""When a case is settled, and by which answer: pure.

One answer settles a case, two that agree settle one that is decided twice. Where two differ, or
somebody escalates, a lead's answer stands. An audited pass that somebody calls a mismatch is a
miss only when a second person says so on their own: at the few mismatches there are, the rare
mistakes of one reader would outnumber them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from moderation.store.cases import Level, Route
from moderation.store.decisions import Answer

# So many people who pass a case over say that it needs somebody else.
SKIPS_TO_LEAD = 3


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that stands, and the level that its case had when it was given."""

    answer: Answer
    level: Level = Level.MODERATOR


@dataclass(frozen=True, slots=True)
class Resolved:
    """The case is settled: this answer stands."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Wants:
    """The case needs `more` answers, each of somebody else, of this level."""

    more: int
    level: Level


def resolve(
    route: Route, wanted: int, given: Sequence[Given], *, level: Level = Level.MODERATOR
) -> Resolved | Wants:
    """Where a case stands that was opened at `level` and has these answers, oldest first."""
    if route is Route.GOLDEN and given:
        # Its answer is compared with the known one, whatever it is; nobody else is asked.
        return Resolved(given[0].answer)
    for one in given:
        if one.level is Level.LEAD and one.answer is not Answer.ESCALATE:
            return Resolved(one.answer)
    answers = [one.answer for one in given]
    if Answer.ESCALATE in answers or len(set(answers)) > 1:
        return Wants(1, Level.LEAD)
    if route is Route.AUDIT and answers[:1] == [Answer.MISMATCH]:
        wanted = max(wanted, 2)
    if len(answers) >= wanted:
        return Resolved(answers[0])
    return Wants(wanted - len(answers), level)
