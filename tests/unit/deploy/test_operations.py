"""OPERATIONS.md speaks of log lines that the code writes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import moderation
import workers
from tests.unit.deploy.files import section
from workers import judge


def _log_calls() -> Iterator[ast.Call]:
    for package in (moderation, workers):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _is_log(node.func):
                    yield node


def _is_log(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute):
        return isinstance(called.value, ast.Name) and called.value.id == "log"
    return isinstance(called, ast.Name) and called.id == "info_each"


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
    """What the worker writes of a submission, but for the times of its stages."""
    page = ast.parse(Path(str(judge.__file__)).read_text())
    (line,) = (
        node
        for node in ast.walk(page)
        if isinstance(node, ast.FunctionDef) and node.name == "_line"
    )
    (document,) = (node for node in ast.walk(line) if isinstance(node, ast.Dict))
    return {ast.literal_eval(key) for key in document.keys if key is not None}
