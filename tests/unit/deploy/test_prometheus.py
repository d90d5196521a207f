"""The alerts: on metrics that exist, tried by promtool, explained to the operator."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.deploy.exported import exported, read, recorded
from tests.unit.deploy.files import ALERTS, PROMETHEUS, RECORDED, read_yaml, section

TRIALS = sorted((PROMETHEUS / "tests").glob("*_test.yml"))
EXPORTED = exported()


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDED])
def test_a_rule_reads_what_exists(rule: str) -> None:
    """Each metric of a rule is shown by that name, with the labels that the rule asks for."""
    expression = (ALERTS | RECORDED)[rule]
    used, made = read(expression), recorded(expression)
    assert used or made or expression.startswith(("up{", "vector("))
    assert made <= set(RECORDED)
    for name, asked in used:
        assert name in EXPORTED
        assert asked <= EXPORTED[name]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_explained(alert: str) -> None:
    """OPERATIONS.md has a section of the alert's name that says more than the name."""
    assert len(section(alert)) > 100


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tried_both_ways(alert: str) -> None:
    """The tests for promtool show each alert to fire and to stay silent."""
    trials: list[Any] = [
        trial
        for path in TRIALS
        for test in read_yaml(path)["tests"]
        for trial in test["alert_rule_test"]
        if trial["alertname"] == alert
    ]
    assert {bool(trial["exp_alerts"]) for trial in trials} == {True, False}


def test_prometheus_takes_the_configuration(promtool: str) -> None:
    """The configuration and the rules that it names are valid."""
    _run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")


def test_the_alerts_do_what_they_say(promtool: str) -> None:
    """Each alert fires on the numbers that it is for, and on no others of the tests."""
    _run(promtool, "test", "rules", *TRIALS)
