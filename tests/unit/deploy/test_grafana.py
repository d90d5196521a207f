"""The dashboard: what its generator makes, over metrics that exist, of any Prometheus."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.exported import exported, read
from tests.unit.deploy.files import DEPLOY, SERVICES, read_yaml

GRAFANA = DEPLOY / "grafana"
TEXT = (GRAFANA / "captionguard-quality.json").read_text()
DASHBOARD: dict[str, Any] = json.loads(TEXT)
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
EXPORTED = exported()


def test_the_file_is_what_the_generator_makes() -> None:
    """Whoever changes the one has changed the other."""
    made = subprocess.run(
        [sys.executable, GRAFANA / "dashboard.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == TEXT


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_reads_metrics_that_exist(title: str) -> None:
    """By their names and labels, and of the Prometheus that somebody chooses."""
    panel = PANELS[title]
    assert panel["description"]
    assert panel["targets"]
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        used = read(target["expr"])
        assert used
        for name, asked in used:
            assert name in EXPORTED
            assert asked <= EXPORTED[name]
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert shown <= set().union(*(EXPORTED[name] for name, _ in used))


def test_what_a_panel_names_can_be_chosen() -> None:
    """Each variable but Grafana's own is one of the dashboard's, and reads what exists."""
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", TEXT)) - {"__rate_interval"}
    assert used == set(variables)
    for name, _ in read(variables["policy"]["definition"]):
        assert name in EXPORTED


def test_panels_have_places_of_their_own() -> None:
    """No two overlap, and none hangs over the edge."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_band_of_a_figure_lies_between_its_bounds() -> None:
    """Precision and recall are never shown without theirs: the area between the two is filled."""
    figures = [t for t in PANELS if re.match("Precision|Recall|Prevalence|Flag rate", t)]
    assert len(figures) == 10
    for title in figures:
        panel = PANELS[title]
        bounds = [re.findall(r'bound="(\w+)"', target["expr"])[0] for target in panel["targets"]]
        assert bounds == ["upper", "lower", "point"]
        upper, lower, _ = (target["legendFormat"] for target in panel["targets"])
        overrides = {
            each["matcher"]["options"]: {p["id"]: p["value"] for p in each["properties"]}
            for each in panel["fieldConfig"]["overrides"]
        }
        assert overrides[upper]["custom.fillBelowTo"] == lower


def test_prometheus_takes_every_query(promtool: str, tmp_path: Path) -> None:
    """As an expression, with a time for Grafana's interval."""
    queries = [target["expr"] for panel in PANELS.values() for target in panel["targets"]]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    """Compose mounts the file where the provider looks, and the source is Prometheus's service."""
    volumes = SERVICES["grafana"]["volumes"]
    (provider,) = read_yaml(GRAFANA / "provisioning/dashboards/captionguard.yml")["providers"]
    folder = provider["options"]["path"]
    assert f"./grafana/captionguard-quality.json:{folder}/captionguard-quality.json:ro" in volumes
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in volumes
    (source,) = read_yaml(GRAFANA / "provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
