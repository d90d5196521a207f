"""The files of `deploy/`, read once for the tests."""

import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
OPERATIONS = (DEPLOY / "OPERATIONS.md").read_text()


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.safe_load(path.read_text())


COMPOSE: dict[str, Any] = read_yaml(DEPLOY / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
SCRAPES: list[Any] = read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]
_RULES: list[Any] = [
    rule
    for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
    for group in read_yaml(path)["groups"]
    for rule in group["rules"]
]
ALERTS: dict[str, str] = {rule["alert"]: rule["expr"] for rule in _RULES if "alert" in rule}
RECORDED: dict[str, str] = {rule["record"]: rule["expr"] for rule in _RULES if "record" in rule}


def with_defaults(text: str) -> str:
    """Replace each `${NAME:-default}` by its default, as Compose does for unset names."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def section(title: str) -> str:
    """Return the text of OPERATIONS.md below a heading, up to the next one."""
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", OPERATIONS, re.DOTALL | re.MULTILINE
    )
    return found[1].strip() if found else ""
