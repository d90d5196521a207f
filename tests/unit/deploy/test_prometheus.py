"""The alerts: on metrics that exist, tried by promtool, explained to the operator."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import moderation.metrics
from tests.unit.deploy.files import PROMETHEUS, RULES, read_yaml, section

TRIALS = sorted((PROMETHEUS / "tests").glob("*_test.yml"))
BY_NAME = {rule["alert"]: rule for rule in RULES}


def _exported() -> dict[str, set[str]]:
    """Every metric of the product as Prometheus sees it, with its labels."""
    metrics = {}
    tree = ast.parse(Path(moderation.metrics.__file__).read_text())
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id in ("Counter", "Gauge", "Histogram"):
            name = ast.literal_eval(call.args[0])
            labels = set(ast.literal_eval(call.args[2])) if len(call.args) > 2 else set()
            metrics[f"{name}_total" if call.func.id == "Counter" else name] = labels
    return metrics


@pytest.fixture
def promtool() -> str:
    """Return the program, which CI has to have; elsewhere the test says that it was skipped."""
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is not installed: apt-get install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", BY_NAME)
def test_an_alert_reads_metrics_that_exist(alert: str) -> None:
    """Each metric of a rule is exported by that name, with the labels that the rule asks for."""
    exported = _exported()
    expression = BY_NAME[alert]["expr"]
    used = re.findall(r"(captionguard_[a-z_]+)(?:\{([^}]*)\})?", expression)
    assert used or expression.startswith("up{")
    for name, selector in used:
        assert name in exported
        asked = set(re.findall(r"(\w+)\s*[=!]", selector))
        assert asked - {"job", "instance"} <= exported[name]


@pytest.mark.parametrize("alert", BY_NAME)
def test_an_alert_is_explained(alert: str) -> None:
    """OPERATIONS.md has a section of the alert's name that says more than the name."""
    assert len(section(alert)) > 100


@pytest.mark.parametrize("alert", BY_NAME)
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
