"""`captionguard quality plan` as it is typed: how many audits an interval takes."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from moderation.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `captionguard quality plan` with arguments, 80 columns wide, with 200 audits a day."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CAPTIONGUARD_AUDIT_BUDGET_PER_DAY", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        command = ["captionguard", "quality", "plan", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def planned(run: Run, *, within: float, prevalence: float = 0.01) -> Any:
    """The document for a recall of .895."""
    asked = ("--prevalence", prevalence, "--recall", 0.895, "--within", within, "--json")
    status, out, err = run(*asked)
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize(
    ("within", "misses", "uniform", "stratified"),
    [(0.02, 85, 80_000, 21_000), (0.05, 14, 12_700, 3_400)],
)
def test_rare_mismatches_take_so_many_audits(
    run: Run, within: float, misses: int, uniform: int, stratified: int
) -> None:
    """The published figures at 1 % prevalence, within what a share of the band is uncertain to."""
    found = planned(run, within=within)
    assert found["misses"] == pytest.approx(misses, abs=0.5)
    assert found["uniform"]["audits"] == pytest.approx(uniform, rel=0.02)
    assert found["stratified"]["audits"] == pytest.approx(stratified, rel=0.04)
    for way in ("uniform", "stratified"):
        assert found[way]["audits_per_day"] == pytest.approx(found[way]["audits"] / 28)


def test_what_the_budget_reaches_is_what_it_takes(run: Run) -> None:
    """Asked for what the budget reaches, the answer is the budget."""
    first = planned(run, within=0.05)
    for way in ("uniform", "stratified"):
        again = planned(run, within=first[way]["budget_reaches"])
        assert again[way]["audits_per_day"] == pytest.approx(200)


def test_a_budget_that_finds_too_little_reaches_nothing(run: Run) -> None:
    """Where fewer than five misses are expected there is no interval to promise."""
    found = planned(run, within=0.05, prevalence=0.0005)
    assert found["uniform"]["budget_reaches"] is None


def test_no_plan_finds_fewer_misses_than_a_figure_needs(run: Run) -> None:
    """However wide the interval may be, five have to be found, and it is said why."""
    asked = ("--prevalence", 0.3, "--recall", 0.2, "--within", 0.3)
    status, out, _ = run(*asked, "--json")
    found = json.loads(out)
    assert (status, found["misses"]) == (0, 5)
    # Of 100 passes 34 are misses.
    assert found["uniform"]["audits"] == pytest.approx(5 / (0.24 / 0.7))
    _, _, err = run(*asked)
    assert "to find about 5 misses, since below that there is no figure." in " ".join(err.split())


def test_people_read_a_table_and_why(run: Run) -> None:
    """Both ways a day and in all, what was assumed, and the budget that is set."""
    status, out, err = run("--prevalence", 0.01, "--recall", 0.895, "--within", 0.05)
    assert (status, out) == (0, "")
    assert max(map(len, err.splitlines())) <= 80
    told = " ".join(err.split())
    assert "uniform 457 12,795 ± 7.6 points" in told
    assert "stratified 124 3,464 ± 3.9 points" in told
    assert "1 % of posts are mismatches and 1 % are flagged" in told
    assert "CAPTIONGUARD_AUDIT_BUDGET_PER_DAY is 200: 5,600 audits in 28 days." in told


@pytest.mark.parametrize(
    "wrong",
    [
        ("--prevalence", 0, "--recall", 0.9, "--within", 0.05),
        ("--prevalence", 0.1, "--recall", 1, "--within", 0.05),
        ("--prevalence", 0.1, "--recall", 0.9, "--within", 0),
        ("--prevalence", 0.9, "--recall", 0.1, "--within", 0.05, "--flag-rate", 0.5),
        ("--prevalence", 0.1, "--recall", 0.9, "--within", 0.05, "--flag-rate", 0.05),
        ("--prevalence", 0.1, "--recall", 0.9),
    ],
)
def test_what_cannot_be_is_wrong_usage(run: Run, wrong: tuple[object, ...]) -> None:
    """Shares that no traffic has, and what is left out, exit with 2 and nothing printed."""
    status, out, _ = run(*wrong)
    assert (status, out) == (2, "")
