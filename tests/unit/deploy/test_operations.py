"""OPERATIONS.md speaks of log lines that the code writes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import moderation
import workers
from tests.unit.deploy.files import section


def _log_calls() -> Iterator[ast.Call]:
    for package in (moderation, workers):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "log"
                ):
                    yield node


def _names(event: ast.expr) -> list[str]:
    """The names that an event may have: one, or either of two."""
    if isinstance(event, ast.IfExp):
        return [*_names(event.body), *_names(event.orelse)]
    return [ast.literal_eval(event)]


def _first_cells() -> list[list[str]]:
    """The names in the first column of the tables on logs, row by row."""
    rows = re.findall(r"^\| (`[^|]+) \|", section("Logs"), re.MULTILINE)
    return [re.findall(r"`(\w+)`", row) for row in rows]


def test_every_event_that_is_explained_is_logged() -> None:
    """The events of OPERATIONS.md are logged somewhere, under just these names."""
    logged = {name for call in _log_calls() if call.args for name in _names(call.args[0])}
    fields = _fields_of_the_canonical_line()
    explained = {name for row in _first_cells() for name in row} - fields - _STAGES
    assert len(explained) > 10
    assert explained <= logged


def test_every_field_of_the_canonical_line_is_explained() -> None:
    """Whatever stands in the line `submission` is explained in OPERATIONS.md."""
    explained = {name for row in _first_cells() for name in row}
    assert _fields_of_the_canonical_line() | _STAGES <= explained


_STAGES = {"queue_wait_s", "fetch_s", "decode_s"}


def _fields_of_the_canonical_line() -> set[str]:
    (line,) = (
        call for call in _log_calls() if call.args and _names(call.args[0]) == ["submission"]
    )
    return {keyword.arg for keyword in line.keywords if keyword.arg is not None}
