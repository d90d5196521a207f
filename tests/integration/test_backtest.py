"""A candidate against stored verdicts: the same counts as counting one by one."""

import datetime as dt
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection

from moderation.errors import InputRefused
from moderation.settings import Settings
from moderation.store import history
from moderation.store.history import Period
from moderation.wiring import Services
from tests.integration.traffic import NOW, Case, Past, an_artifact, store
from thresholds.artifact import write_artifact
from thresholds.backtest import Backtest, backtest

CANDIDATE = an_artifact(threshold=0.35)
OURS = CANDIDATE.fingerprint
OTHER = "another-model"
WEEK = Period(NOW - dt.timedelta(days=7), NOW)

ANSWERS = st.sampled_from(["mismatch", "match", "unsure", "escalate"])
CASES = st.builds(
    Case,
    st.sampled_from(["flagged", "audit", "golden", "appeal"]),
    st.sampled_from([0.01, 0.5, 1.0]),
    st.lists(ANSWERS, max_size=3),
    st.booleans(),
)
SCORED = st.builds(
    Past,
    st.floats(-1, 1),
    st.sampled_from(["pass", "flag"]),
    st.sampled_from([OURS, OURS, OTHER]),
    st.integers(0, 10 * 24 * 60).map(lambda minutes: dt.timedelta(minutes=minutes, seconds=1)),
    st.sampled_from(["default", "ads"]),
    # A verdict opens one case.
    cases=st.lists(
        CASES,
        max_size=3,
        unique_by=lambda case: "one" if case.route in ("flagged", "audit") else id(case),
    ),
)
UNSCORABLE = st.builds(
    Past, st.none(), st.just("unscorable"), st.sampled_from([OURS, OTHER]), st.just(dt.timedelta(1))
)
ONE_OF_OURS = Past(0.3, "pass", OURS, policy="ads")


def judge(connection: Connection, period: Period = WEEK) -> Backtest:
    """Backtest without a progress bar."""
    return backtest(connection, CANDIDATE, period, on_total=lambda _: None, on_read=lambda _: None)


@given(st.lists(SCORED | UNSCORABLE, max_size=30), st.sampled_from([None, "ads"]))
@example([Past(0.2, "pass", OURS, cases=[Case("audit", 0.5, ["mismatch", "match"])])], None)
@example([Past(0.2, "pass", OURS, cases=[Case("audit", 0.5, ["mismatch"], waits=True)])], None)
@examples(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_counts_equal_a_recount(services: Services, drawn: list[Past], policy: str | None) -> None:
    """Whatever is stored, the cross table and the decisions are those of counting row by row."""
    past = [*drawn, ONE_OF_OURS]
    period = Period(WEEK.since, WEEK.until, policy)
    with services.database.connect() as connection:
        store(connection, past)
        done = judge(connection, period)
        connection.rollback()
    within = [
        one for one in past if one.age <= dt.timedelta(days=7) and policy in (None, one.policy)
    ]
    counts, decided, mismatches = Counter(), Counter(), Counter()
    for one in within:
        if one.model != OURS or one.cosine is None:
            continue
        score = CANDIDATE.curve.score(one.cosine)
        cell = (one.outcome, "flag" if score < CANDIDATE.threshold else "pass")
        counts[cell] += 1
        last = [
            case.resolution
            for case in one.cases
            if case.route in ("flagged", "audit", "appeal")
            and case.resolution in ("mismatch", "match")
        ][-1:]
        was_drawn = any(case.route in ("flagged", "audit") for case in one.cases)
        if was_drawn and last:
            decided[cell] += 1
            mismatches[cell] += last == ["mismatch"]
    assert Counter(done.counts) == counts
    assert Counter(done.decided) == decided
    assert Counter(done.mismatches) == mismatches
    assert done.unscorable == sum(o.cosine is None and o.model == OURS for o in within)
    assert sum(done.other_models.values()) == sum(o.model == OTHER for o in within)
    assert done.verdicts == sum(o.model == OURS for o in within)
    flagged = sum(count for (_, after), count in counts.items() if after == "flag")
    assert done.after.flagged == flagged
    assert done.before.flagged == sum(n for (before, _), n in counts.items() if before == "flag")


def _month(n: int) -> tuple[list[Past], float, float]:
    """Traffic of a month, decided where flagged or audited, and the candidate's true figures."""
    rng = np.random.default_rng(0)
    is_mismatch = rng.random(n) < 0.1
    cosines = np.where(is_mismatch, rng.normal(0.15, 0.06, n), rng.normal(0.3, 0.05, n))
    flagged, now = cosines < 0.17, CANDIDATE.curve.scores(cosines) < CANDIDATE.threshold
    audit = 0.1
    past = []
    for number in range(n):
        case = []
        if flagged[number] or rng.random() < audit:
            answer = "mismatch" if is_mismatch[number] else "match"
            route = ("flagged", 1.0) if flagged[number] else ("audit", audit)
            case = [Case(*route, [answer])]
        past.append(
            Past(
                float(cosines[number]),
                "flag" if flagged[number] else "pass",
                OURS,
                dt.timedelta(days=28 * number / n, seconds=1),
                cases=case,
            )
        )
    hits = (now & is_mismatch).sum()
    return past, float(hits / now.sum()), float(hits / is_mismatch.sum())


def _store_month(services: Services, n: int) -> tuple[float, float]:
    """Put a month into the database; the candidate's true precision and recall on it."""
    past, precision, recall = _month(n)
    with services.database.begin() as connection:
        store(connection, past, now=dt.datetime.now(dt.UTC))
    return precision, recall


_WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] not in ("torch", "open_clip"), name

sys.meta_path.insert(0, NoTorch())
import thresholds.__main__
"""


def run(settings: Settings, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`captionguard thresholds backtest CANDIDATE …` in a process where torch cannot be had."""
    file = tmp_path / "candidate.json"
    write_artifact(CANDIDATE, file)
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, "backtest", str(file), *arguments],
        env={
            "CAPTIONGUARD_DATABASE_URL": url,
            "COLUMNS": "80",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_on_a_month(services: Services, settings: Settings, tmp_path: Path) -> None:
    """One JSON document, without torch: counts that add up, and intervals that hold the truth."""
    precision, recall = _store_month(services, 20_000)
    done = run(settings, tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    said = json.loads(done.stdout)
    assert said["verdicts"] == 20_000
    assert said["newly_flagged"] > 100
    assert said["newly_passed"] == 0
    change = said["flag_rate"]["after"] - said["flag_rate"]["before"]
    assert change == pytest.approx(said["newly_flagged"] / 20_000)
    assert said["days"] == pytest.approx(28, abs=0.1)
    assert said["extra_reviews_per_day"] == pytest.approx(said["newly_flagged"] / said["days"])
    assert said["decisions"] == sum(cell["decided"] for cell in said["changes"].values()) > 2000
    assert 0 < said["seconds"] < 600
    for name, truth in (("precision", precision), ("recall", recall)):
        assert said[name]["lower"] < truth < said[name]["upper"]
        assert said[name]["lower"] < said[name]["point"] < said[name]["upper"]
        assert said[name]["upper"] - said[name]["lower"] < 0.15


def test_people_are_told_the_same(services: Services, settings: Settings, tmp_path: Path) -> None:
    """Without --json the figures stand on standard error, and nothing on standard output."""
    _store_month(services, 1000)
    done = run(settings, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    for words in ("1,000 verdicts of 28.0 days", "newly flagged", "extra reviews a day: +"):
        assert words in done.stderr
    assert all(len(line) <= 80 for line in done.stderr.splitlines())


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 1, "there are no verdicts"),
        (["--since", "soon"], 2, "neither a span such as 28d nor a date"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], 2, "--since must be before --until"),
    ],
)
def test_a_period_that_cannot_be_judged(
    settings: Settings, tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    """An empty period and a wrong one are refused with what to do."""
    done = run(settings, tmp_path, *arguments)
    assert done.returncode == status
    assert says in " ".join(done.stderr.split())


def test_verdicts_of_another_model_alone(services: Services) -> None:
    """Cosines of another model say nothing of this one: refused, naming both."""
    with services.database.begin() as connection:
        store(connection, [Past(0.3, "pass", OTHER)])
        with pytest.raises(InputRefused, match=f"{OURS}.*{OTHER}"):
            judge(connection)


def test_unscorable_ones_alone(services: Services) -> None:
    """They stay unscorable, and nothing is said of precision and recall."""
    with services.database.begin() as connection:
        store(connection, [Past(None, "unscorable", OURS)] * 3)
        said = judge(connection).to_document()
    assert (said["verdicts"], said["unscorable"]) == (3, 3)
    assert said["flag_rate"] == {"before": 0, "after": 0}
    assert said["precision"]["point"] is said["recall"]["point"] is None


def test_a_cosine_is_read_to_the_last_bit(services: Services) -> None:
    """More rows than one read takes, each with its own cosine, arrive as they were stored."""
    cosines = np.random.default_rng(0).uniform(-1, 1, 120_000)
    with services.database.connect() as connection:
        # Submissions would only take time here.
        connection.exec_driver_sql("ALTER TABLE verdicts DROP CONSTRAINT fk_verdicts_submission_id")
        connection.exec_driver_sql(
            "INSERT INTO verdicts (submission_id, outcome, cosine, score, threshold, "
            "calibration_version, model, created_at) SELECT gen_random_uuid(), 'pass', cosine, 1, "
            "0.35, 'c', %(model)s, %(at)s FROM unnest(%(cosines)s::float8[]) AS cosine",
            {"model": OURS, "at": NOW - dt.timedelta(hours=1), "cosines": cosines.tolist()},
        )
        parts = list(history.scored(connection, WEEK, model=OURS))
        connection.rollback()
    assert len(parts) > 1
    read = np.concatenate([part.cosines for part in parts])
    np.testing.assert_array_equal(np.sort(read), np.sort(cosines))
