"""What a worker audits by: the newest plan, and a brake for what no plan has foreseen."""

import time
from datetime import datetime

import structlog
from sqlalchemy import Connection

from moderation.store import audit_plans
from moderation.store.audit_plans import Auditing

log = structlog.get_logger()

_HOUR_S = 3600.0
# Of a day's budget, in one hour of all workers: twelve times what an even day has.
_UNBRAKED_SHARE = 0.5


class Audits:
    """The plan in force, as one value: threads read it while another thread replaces it.

    Until there is one, that for traffic that nothing is known of. `living_workers` share the
    brake.
    """

    def __init__(self, budget: float) -> None:
        self._auditing = audit_plans.assumed(budget)
        self._brake = Brake()
        self.living_workers = 1

    @property
    def current(self) -> Auditing:
        """What to audit by, without the brake."""
        return self._auditing

    def is_behind(self, newest_at: datetime | None) -> bool:
        """Whether there is a newer plan, by when the newest was made."""
        return newest_at is not None and newest_at != self._auditing.created_at

    def look(self, connection: Connection) -> bool:
        """Take up a newer plan; whether there was one."""
        newest = audit_plans.newest(connection)
        if newest is None or newest == self._auditing:
            return False
        self._auditing = newest
        log.info(
            "audit_plan_taken_up",
            floor=newest.plan.floor,
            slope=newest.plan.slope,
            prevalence=newest.prevalence,
            budget=newest.budget,
            passes_per_day=newest.passes_per_day,
        )
        return True

    def inclusion(self, score: float) -> float:
        """The probability with which the pass that is judged now is audited, by its match score."""
        auditing = self._auditing
        allowed = _UNBRAKED_SHARE * auditing.budget / max(self.living_workers, 1)
        return self._brake.slow(auditing.inclusion(score), allowed=allowed)


class Brake:
    """Keeps a burst from flooding people until the scheduler has planned for it.

    After a quiet night all that passes may be audited, and then a platform hands in its archive.
    A probability depends on what came before it alone, and not on any lot: it is as good for
    estimates as one that nobody slowed down.
    """

    def __init__(self) -> None:
        self._since_s = time.monotonic()
        self._expected = 0.0

    def slow(self, probability: float, *, allowed: float) -> float:
        """The same until `allowed` audits are expected in an hour; then in proportion less.

        Of n passes of probability 1, `allowed * (1 + ln(n / allowed))` are audited.
        """
        now_s = time.monotonic()
        if now_s - self._since_s >= _HOUR_S:
            self._since_s, self._expected = now_s, 0.0
        before = self._expected
        self._expected += probability
        return probability if before <= allowed else probability * allowed / before
