"""`captionguard quality`: what people decided, as figures with intervals and in words."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from moderation.cli import main
from moderation.quality.measure import MOST_SCOPES
from moderation.store import database
from moderation.wiring import Services
from tests.integration.traffic import Past, store

# Two posts a minute over some days until three days ago: one in ten is flagged, of these one in
# six by mistake; of the passes one in four is audited, and of those one in a hundred is a miss,
# on which two people agree.
_TRAFFIC = """
INSERT INTO submissions (id, platform, policy, caption, image_blob, message_id, created_at, done_at)
SELECT uuidv7(at - now()), 'acme', CASE WHEN i % 3 = 0 THEN 'ads' ELSE 'default' END, 'x',
    md5(i::text), 'm', at, at
FROM (
    SELECT i, now() - interval '3 days' - i * interval '30 seconds' AS at
    FROM generate_series(1, :posts) AS i
) AS each;
INSERT INTO verdicts (submission_id, outcome, score, threshold, calibration_version, model,
    created_at)
SELECT id, CASE WHEN n % 10 = 0 THEN 'flag' ELSE 'pass' END,
    CASE WHEN n % 10 = 0 THEN 0.1 ELSE 0.8 END, 0.35, 'c-1', 'm', created_at
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM submissions) AS each;
INSERT INTO cases (id, submission_id, policy, route, blind, inclusion_probability, state,
    resolution, created_at, resolved_at)
SELECT uuidv7(), submission_id, policy, route, route = 'audit',
    CASE route WHEN 'audit' THEN 0.25 ELSE 1 END, 'resolved',
    CASE WHEN n % CASE route WHEN 'audit' THEN :one_miss_in ELSE 6 END = 0
        THEN CASE route WHEN 'audit' THEN 'mismatch' ELSE 'match' END
        ELSE CASE route WHEN 'audit' THEN 'match' ELSE 'mismatch' END END,
    created_at, created_at
FROM (
    SELECT *, row_number() OVER (PARTITION BY route ORDER BY submission_id) AS n
    FROM (
        SELECT submission_id, policy, verdicts.created_at,
            CASE outcome WHEN 'flag' THEN 'flagged' ELSE 'audit' END AS route,
            row_number() OVER (PARTITION BY outcome ORDER BY submission_id) AS m
        FROM verdicts JOIN submissions ON submissions.id = submission_id
    ) AS judged
    WHERE route = 'flagged' OR m % 4 = 0
) AS reviewed;
INSERT INTO decisions (id, case_id, answer, decided_by, created_at)
SELECT uuidv7(), id, resolution, name, created_at
FROM cases CROSS JOIN (VALUES ('ann'), ('ben')) AS people (name)
WHERE name = 'ann' OR (route = 'audit' AND resolution = 'mismatch')
"""


def traffic(services: Services, *, posts: int = 8000, one_miss_in: int = 100) -> None:
    """Store traffic of which a part was reviewed."""
    with services.database.begin() as connection:
        for statement in _TRAFFIC.split(";\n"):
            values = {"posts": posts, "one_miss_in": one_miss_in}
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), used)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `captionguard quality` on the test's database, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("moderation.cli_quality.open_database", lambda: services.database)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["captionguard", "quality", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def document_of(run: Run, *arguments: str) -> Any:
    """What `--json` prints."""
    status, out, err = run(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def told_by(run: Run, *arguments: str) -> str:
    """What people read, its lines joined; none is longer than 80."""
    status, out, err = run(*arguments)
    assert (status, out) == (0, "")
    assert max(map(len, err.splitlines())) <= 80
    return " ".join(err.split())


def test_figures_of_each_window_policy_and_calibration(services: Services, run: Run) -> None:
    """Known shares come back with an interval around them; the newest window is still empty."""
    traffic(services)
    found = document_of(run)
    assert found["lag_s"] == 86_400
    assert sorted(found["windows"]) == ["1d", "28d", "7d"]
    assert sorted(found["policies"]) == ["ads", "default"]
    assert list(found["calibrations"]) == ["c-1"]
    assert set(found["agreement"]) == {"observed", "positive", "kappa", "unclear"}
    whole = found["windows"]["28d"]
    assert (whole["flags"], whole["passes"], whole["audits"]) == (800, 7200, 1800)
    assert (whole["answered_flags"], whole["found_misses"]) == (800, 18)
    assert whole["flag_rate"]["point"] == pytest.approx(0.1)
    assert whole["precision"]["point"] == pytest.approx(667 / 800)
    # 18 found stand for four each, within their policy.
    assert whole["recall"]["point"] == pytest.approx(667 / (667 + 72), rel=1e-3)
    for name in ("precision", "recall", "prevalence"):
        estimate = whole[name]
        assert estimate["lower"] < estimate["point"] < estimate["upper"]
    newest = found["windows"]["1d"]
    assert (newest["flags"], newest["precision"]["point"]) == (0, None)
    assert newest["precision"]["reason"]


def test_the_command_finds_the_database_that_is_set(services: Services) -> None:
    """As it is run at a prompt, with nothing but the environment."""
    url = services.settings.database_url
    assert url is not None
    done = subprocess.run(
        [sys.executable, "-m", "moderation", "quality", "--window", "1d", "--json"],
        env={**os.environ, "CAPTIONGUARD_DATABASE_URL": url.get_secret_value()},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout)["windows"]["1d"]["flags"] == 0


def test_people_read_tables_and_sentences(services: Services, run: Run) -> None:
    """Eighty columns hold each figure with its interval, the period, and what it means."""
    traffic(services)
    told = told_by(run)
    assert "1 day 7 days 28 days" in told
    for row in ("precision", "recall", "prevalence", "flag rate", "found misses 0"):
        assert row in told
    assert "those of the last 24 hours are left out, since answers need time" in told
    assert "Of 100 posts that are flagged, about 83 are mismatches (likely between" in told
    assert "Of 100 mismatches that came in, about 90 were flagged (likely between" in told
    assert "1,800 audits that found 18 misses" in told
    assert "95 % intervals" in told
    assert "policy, 28 days" in told
    # With one calibration there is nothing to compare.
    assert "calibration, 28 days" not in told
    one = told_by(run, "--window", "7d", "--policy", "ads")
    assert "7 days" in one
    assert "28 days" not in one
    assert "default" not in one
    found = document_of(run, "--policy", "ads", "--window", "28d")
    assert (found["windows"], list(found["policies"])) == ({}, ["ads"])
    assert list(found["policies"]["ads"]) == ["28d"]


def test_too_few_misses_say_what_to_do(services: Services, run: Run) -> None:
    """Recall is a dash, and a sentence says how many misses are missing."""
    traffic(services, posts=2000, one_miss_in=200)
    told = told_by(run)
    assert "How many mismatches pass is not known. Audits have found 2 misses; 5 are" in told
    assert "CAPTIONGUARD_AUDIT_BUDGET_PER_DAY" in told
    assert "were flagged" not in told


def test_nothing_yet_is_no_failure(run: Run) -> None:
    """An empty database is said in a sentence; tools get nulls, and no policy is known."""
    assert "Nothing that came in in this time has a score yet" in told_by(run)
    found = document_of(run, "--window", "28d")
    assert found["windows"]["28d"]["recall"]["point"] is None
    assert found["windows"]["28d"]["flag_rate"]["reason"] == "nothing that came in has a score"
    assert found["policies"] == {}
    status, out, err = run("--policy", "none-such")
    assert (status, out) == (1, "")
    assert "No post of the policy 'none-such'" in err


def test_a_policy_of_little_traffic_is_not_said_to_have_none(services: Services, run: Run) -> None:
    """It has no figures of its own where there are many others."""
    hour = dt.timedelta(days=1, hours=2)
    names = [f"p{number}" for number in range(MOST_SCOPES)]
    with services.database.begin() as connection:
        store(
            connection,
            [Past(0.2, "pass", "m", hour, policy=name) for name in [*names, *names, "small"]],
            now=dt.datetime.now(dt.UTC),
        )
    status, _, err = run("--policy", "small")
    assert status == 1
    assert "only the 50 with most posts" in " ".join(err.split())


def test_no_name_of_a_policy_steers_the_terminal(services: Services, run: Run) -> None:
    """Platforms choose them."""
    with services.database.begin() as connection:
        past = Past(0.2, "pass", "m", dt.timedelta(days=2), policy="a\x1b[2J\nb")
        store(connection, [past], now=dt.datetime.now(dt.UTC))
    status, _, err = run("--policy", "small")
    assert (status, err.count("\n")) == (1, 1)
    assert "there are a [2J b." in err


def test_who_may_only_read_is_told_so(
    services: Services, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measuring keeps what it counts; that PostgreSQL does not answer would be wrong."""
    traffic(services, posts=100)
    assert services.settings.database_url is not None
    url = services.settings.database_url.get_secret_value()
    read_only = database.connect(f"{url}&options=-cdefault_transaction_read_only%3Don")
    monkeypatch.setattr("moderation.cli_quality.open_database", lambda: read_only)
    status, out, err = run()
    read_only.dispose()
    assert (status, out) == (1, "")
    assert err == (
        "captionguard: PostgreSQL refuses: cannot execute INSERT in a read-only transaction.\n"
    )


def test_a_lag_that_no_clock_has_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name; thirty years are none that people need to answer."""
    for lag in ("1e10", "inf"):
        monkeypatch.setenv("CAPTIONGUARD_QUALITY_LAG_S", lag)
        status, out, err = run()
        assert (status, out) == (1, "")
        assert "CAPTIONGUARD_QUALITY_LAG_S" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--window", "3d"), "none of 1d, 7d and 28d"),
        (("--window", "28"), "none of 1d, 7d and 28d"),
        (("--window", "soon"), "none of 1d, 7d and 28d"),
        (("--json", "plan"), "come after its name"),
    ],
)
def test_wrong_usage_says_so(run: Run, arguments: tuple[str, ...], says: str) -> None:
    """It exits with 2, and says so on standard error only."""
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert says in " ".join(err.split())
