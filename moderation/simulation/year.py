"""Day by day: posts come in, people decide, and precision and recall are measured."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Engine

from moderation.curves import Floats
from moderation.quality.figures import WINDOWS, Quality
from moderation.quality.measure import measure
from moderation.review.opening import opening
from moderation.simulation import rows
from moderation.simulation.audits import plan_first_day, plan_next_day
from moderation.simulation.reviewers import Decided, OpenCase, Reviewers, decide_all
from moderation.simulation.tallies import ByHand, Tallies
from moderation.simulation.traffic import World, ids_of, posts_of_day
from moderation.store import secrets, verdicts
from moderation.types import Outcome, PairScore
from moderation.verdict import decide

# Past: hours that are not over are counted anew each time.
_FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_LAG_DAYS = 1
LAG = _LAG_DAYS * _DAY
# Of flagged cases that two people decide, as in the settings.
_TWICE_SHARE = 0.1
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated."""

    world: World
    reviewers: Reviewers
    days: int
    audits_per_day: int
    seed: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What was known of so many days at the end of another, and what is reckoned by hand."""

    window_days: int
    quality: Quality
    by_hand: ByHand


class Year:
    """A stretch of time on empty tables; what happens on a day is one transaction."""

    def __init__(self, database: Engine, setup: Setup) -> None:
        self._database = database
        self._setup = setup
        # Apart, so that the same posts come in whoever looks at them.
        lots, self._traffic, self._people = np.random.default_rng(setup.seed).spawn(3)
        with database.begin() as connection:
            rows.store_draws(connection, lots.bytes(_KEY_BYTES))
            self._draws = secrets.draws(connection)
            self._auditing = plan_first_day(
                connection, setup.audits_per_day, setup.world.posts_per_day
            )
        # By the day on which they are given, and by that on which their posts came in.
        self._to_come: dict[int, dict[int, list[Decided]]] = defaultdict(lambda: defaultdict(list))
        self._tallies = Tallies()

    @property
    def days(self) -> int:
        """How many days are simulated: those of the windows, and of the last one's lag."""
        return self._setup.days + _LAG_DAYS

    def run(self) -> Iterator[list[Measured]]:
        """Simulate a day at a time; what is known at its end, of windows that are full."""
        prevalence: float | None = None
        for day in range(self.days):
            with self._database.begin() as connection:
                pass_scores = self._come_in(connection, day)
                self._decide(connection, day)
            # Whenever there is twice as much: a year takes minutes, and autovacuum comes too late.
            if day & (day + 1) == 0:
                rows.analyse(self._database)
            measured = self._measure(day)
            yield measured
            for each in measured:
                # The longest window, which comes last, is known best.
                prevalence = each.quality.prevalence.point or prevalence
            with self._database.begin() as connection:
                self._auditing = plan_next_day(
                    connection, self._setup.audits_per_day, pass_scores, prevalence
                )

    def _come_in(self, connection: Connection, day: int) -> Floats:
        """A day's posts get their verdicts and cases; the scores of those that pass."""
        world = self._setup.world
        posts = posts_of_day(world, _FIRST_DAY + day * _DAY, self._traffic)
        rows.store_posts(connection, posts)
        judged = [decide(PairScore(cosine), world.calibration) for cosine in posts.cosines.tolist()]
        open_case = opening(
            self._draws, twice_share=_TWICE_SHARE, inclusion=self._auditing.inclusion
        )
        verdicts.record(connection, list(zip(posts.ids, judged, strict=True)), open_case)
        opened = rows.opened_cases(connection, posts)
        cases = [
            OpenCase(opened[id_], id_, at, verdict.score or 0.0, bool(is_mismatch))
            for id_, at, verdict, is_mismatch in zip(
                posts.ids, posts.at, judged, posts.is_mismatch, strict=True
            )
            if id_ in opened
        ]
        for each in decide_all(cases, self._setup.reviewers, self._people):
            self._to_come[(each.at - _FIRST_DAY) // _DAY][day].append(each)
        return np.array([each.score for each in judged if each.outcome is Outcome.PASS])

    def _decide(self, connection: Connection, day: int) -> None:
        """People give the answers of a day."""
        by_day = self._to_come.pop(day, {})
        given = sorted((each for found in by_day.values() for each in found), key=_order)
        rows.store_decided(connection, given, ids_of([each.at for each in given], self._people))
        for came_in, found in by_day.items():
            self._tallies.add(came_in, found)

    def _measure(self, day: int) -> list[Measured]:
        end = day + 1 - _LAG_DAYS
        full = [window for window in WINDOWS if window <= end]
        if not full:
            return []
        now = _FIRST_DAY + (day + 1) * _DAY
        # As the scheduler does: each statement a transaction of its own.
        with self._database.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            figures = measure(connection, now=now, lag=LAG, windows=full)
        return [
            Measured(scope.days, quality, self._tallies.of(range(end - scope.days, end)))
            for scope, quality in figures.overall()
        ]


def _order(each: Decided) -> tuple[datetime, UUID]:
    return each.at, each.case.submission_id
