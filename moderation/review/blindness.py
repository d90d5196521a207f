"""What of a case somebody may see: pure, and the only place that decides it.

A blind case is there to measure people, so nothing of it may say what others found, nor why it is
there. Times count as well: a golden case is an old post in a new case, and what is due when comes
from the score.
"""

from dataclasses import dataclass
from datetime import timedelta

from moderation.store.cases import Level, State


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody sees: the verdict and where the case comes from, and what others wrote."""

    verdict: bool
    others: bool


OPEN = Sight(verdict=True, others=True)
BLIND = Sight(verdict=False, others=False)
# Who settles what others differ on has to read them, and still not the score.
ADJUDICATING = Sight(verdict=False, others=True)


def sight(
    *,
    blind: bool,
    state: State,
    level: Level,
    resolved_for: timedelta | None,
    is_lead: bool,
    undo: timedelta,
) -> Sight:
    """What one person sees of a case as it stands.

    Moderators never see behind a blind case: if audits opened up once they are decided, golden
    ones would have to as well, and people would learn them by heart. Leads do, once the answer
    can no longer be undone.
    """
    if not blind:
        return OPEN
    if not is_lead:
        return BLIND
    if state is State.RESOLVED and resolved_for is not None and resolved_for > undo:
        return OPEN
    return ADJUDICATING if level is Level.LEAD else BLIND
