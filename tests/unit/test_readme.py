"""What the README says of the settings is so."""

import os
import re
from pathlib import Path

import pytest

from moderation.settings import Settings, load_settings

README = Path(__file__).parents[2] / "README.md"
# | `CAPTIONGUARD_NAME` | `default` | … |; the second cell is empty or `unset` where there is none.
ROW = re.compile(r"^\|\s*`CAPTIONGUARD_(\w+)`\s*\|\s*(`[^`|]+`|unset|)\s*\|", re.MULTILINE)


def _rows() -> list[tuple[str, str]]:
    """Return each row's field name and default, without its backticks."""
    rows = ROW.findall(README.read_text(encoding="utf-8"))
    return [(name.lower(), default.strip("`")) for name, default in rows]


def _default_of(name: str) -> str:
    defaults = dict(_rows())
    assert name in defaults, f"README.md's table has no row for `CAPTIONGUARD_{name.upper()}`"
    return defaults[name]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAPTIONGUARD_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_has_a_row_with_its_default(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Setting a variable to the default that README.md gives changes nothing."""
    default = _default_of(name)
    if Settings.model_fields[name].default is None:
        assert default in ("", "unset")
        return
    assert default, f"README.md gives no default for `CAPTIONGUARD_{name.upper()}`"
    monkeypatch.setenv(f"CAPTIONGUARD_{name.upper()}", default)
    assert getattr(load_settings(), name) == Settings.model_fields[name].default


def test_every_row_is_a_setting() -> None:
    """README.md lists no variable twice and none that nothing reads."""
    names = [name for name, _ in _rows()]
    assert sorted(names) == sorted(Settings.model_fields)
