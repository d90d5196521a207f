"""Hours are counted right by however many at once; figures are kept and read again as they were."""

import datetime as dt
import threading
from dataclasses import replace

from sqlalchemy import text

from moderation.quality.agreement import Agreement, Figure, Interval
from moderation.quality.figures import Figures, Scope
from moderation.store import quality_estimates, verdict_counts
from moderation.wiring import Services
from tests.integration.desk import rows_of
from tests.integration.kept_quality import a_quality, figures, keep
from tests.integration.traffic import NOW, Past, store

HOUR = dt.timedelta(hours=1)
AT = dt.datetime(2026, 6, 1, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def test_any_number_count_the_same_hours_at_once(services: Services) -> None:
    """While verdicts still come in: none is lost, and none is counted twice."""
    hours = 6
    ready = threading.Barrier(4)

    def count() -> None:
        autocommit = services.database.execution_options(isolation_level="AUTOCOMMIT")
        with autocommit.connect() as connection:
            ready.wait()
            for _ in range(8):
                verdict_counts.roll_up(connection, NOW - hours * HOUR, NOW, now=NOW)

    def judge() -> None:
        ready.wait()
        for number in range(20):
            ages = [dt.timedelta(minutes=7 * n + 1) for n in range(50)]
            past = [Past(0.2, "flag", "m", age, policy=f"p{number % 3}") for age in ages]
            with services.database.begin() as connection:
                store(connection, past)

    everybody = [threading.Thread(target=count) for _ in range(3)]
    everybody.append(threading.Thread(target=judge))
    for thread in everybody:
        thread.start()
    for thread in everybody:
        thread.join()
    # All was over when the first came, so that hours may have been whole before the last verdict.
    with services.database.begin() as connection:
        connection.execute(text("UPDATE counted_hours SET is_whole = false"))
        verdict_counts.roll_up(connection, NOW - hours * HOUR, NOW, now=NOW)
    counted = rows_of(services, "SELECT policy, sum(verdicts)::int FROM verdict_counts GROUP BY 1")
    assert sorted(counted) == [("p0", 350), ("p1", 350), ("p2", 300)]


def test_who_counts_late_takes_nothing_back(services: Services) -> None:
    """Of two who count an hour at once, the last to write may have seen less."""
    over = NOW + 2 * HOUR
    with services.database.begin() as connection:
        store(connection, [Past(0.2, "flag", "m", HOUR / 2)] * 2)
        verdict_counts.roll_up(connection, NOW - HOUR, NOW, now=over)
        # What somebody sees who began to look before the second verdict.
        connection.execute(
            text("DELETE FROM verdicts WHERE submission_id = (SELECT id FROM submissions LIMIT 1)")
        )
        connection.execute(text("UPDATE counted_hours SET is_whole = false"))
        verdict_counts.roll_up(connection, NOW - HOUR, NOW, now=NOW)
    assert rows_of(services, "SELECT verdicts FROM verdict_counts") == [(2,)]


def test_figures_are_read_as_they_were_kept(services: Services) -> None:
    """With their reasons, their lag and the agreement; what is known to be nothing is kept too."""
    whole = Interval(0.8, 0.7, 0.9)
    agreement = Agreement(Figure(40, whole), Figure(12, whole), Figure(9), 3)
    found = replace(figures(AT), agreement=agreement)
    with services.database.connect() as connection:
        assert quality_estimates.newest(connection) is None
    keep(services, figures(AT - dt.timedelta(days=3)))
    keep(services, found)
    with services.database.connect() as connection:
        assert quality_estimates.newest(connection) == found
    keep(services, replace(found, at=AT + dt.timedelta(days=1), of={}))
    with services.database.connect() as connection:
        newest = quality_estimates.newest(connection)
    assert newest == Figures(AT + dt.timedelta(days=1), found.lag, {}, agreement)


def test_a_day_has_what_was_known_last(services: Services) -> None:
    """Of UTC; what has no traffic any more is gone from it, and other days stay as they were."""
    before, after = a_quality(recall=None), a_quality(recall=0.5)
    gone = Scope(28, policy="gone")
    nothing = Agreement(Figure(0), Figure(0), Figure(0), 0)
    lag = dt.timedelta(days=1)
    keep(services, Figures(AT - dt.timedelta(days=1), lag, {Scope(28): before}, nothing))
    keep(services, Figures(AT, lag, {Scope(28): before, gone: before}, nothing))
    # Half past eleven in Berlin is half past nine in Greenwich: still the first of June.
    keep(services, Figures(AT + 2 * HOUR, lag, {Scope(28): after, Scope(7): before}, nothing))
    with services.database.connect() as connection:
        days = quality_estimates.by_day(connection, days=28, since=dt.date(2026, 5, 1))
        later = quality_estimates.by_day(connection, days=28, since=dt.date(2026, 6, 1))
        newest = quality_estimates.newest(connection)
    assert days == [(dt.date(2026, 5, 31), before), (dt.date(2026, 6, 1), after)]
    assert later == days[1:]
    assert newest is not None
    assert newest.of.keys() == {Scope(28), Scope(7)}
