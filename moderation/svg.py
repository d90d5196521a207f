"""From matplotlib to SVG that belongs to a page: its colours, its font, no names that clash."""

import html
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Drawn in these, and handed to the page as variables that follow light and dark. No other
# colour may occur: text without one would be black on black.
INK, MUTED, GRID, MATCH, MISMATCH, PAPER, UNSURE, ESCALATE = (
    f"#00000{number}" for number in range(1, 9)
)
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    MATCH: "match",
    MISMATCH: "mismatch",
    PAPER: "paper",
    UNSURE: "unsure",
    ESCALATE: "escalate",
}

# Its settings are of the whole process, and the desk draws in several threads.
_settings = threading.Lock()

# At 390 px a picture is about as wide on the screen, so that text keeps its size.
WIDTH = 340

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "lines.linewidth": 2,
}


@contextmanager
def canvas(name: str, height: int) -> Iterator[Figure]:
    """An empty figure, `WIDTH` by `height` units; draw and `finish` it inside."""
    with _settings, mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")


def finish(figure: Figure, label: str) -> str:
    """The figure as SVG that is safe in a page; `label` says to the blind what it shows."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    # Of the page as a whole, or said there once.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"; font-family: [^;\"]*|font-family: [^;\"]*; ", "", svg)
    # Groups are numbered, the same in each picture; only what is drawn from elsewhere is used.
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)
    svg = re.sub(r"#00000[1-8]\b", lambda colour: f"var(--{_VARIABLES[colour[0]]})", svg)
    # Attributes say the same, and a strict Content-Security-Policy lets them.
    svg = re.sub(r'style="([^"]*)"', _as_attributes, svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).strip()
    opening, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box is not None  # noqa: S101 - matplotlib always writes it
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box[0]} role="img" aria-label="{html.escape(label)}">{rest}'
    )


def _as_attributes(style: re.Match[str]) -> str:
    pairs = (part.split(": ", 1) for part in style[1].split("; ") if part)
    return " ".join(f'{name}="{value}"' for name, value in pairs)
