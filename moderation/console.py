"""What people see in the terminal, on standard error, and tools on standard output."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from moderation.results import REFUSED, Result, Truth
from moderation.types import Outcome

# People read standard error while tools read standard output.
people = Console(stderr=True, highlight=False, markup=False)

_STYLES = {Outcome.PASS: "green", Outcome.FLAG: "red", Outcome.UNSCORABLE: "yellow"}


def printable(text: str) -> str:
    """Text of strangers without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def print_document(document: Any) -> None:
    """Print the one JSON document of `--json`; in ASCII, so that no text can break it."""
    print(json.dumps(document))  # noqa: T201 - what --json is for


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A progress bar on standard error; none when quiet."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=people,
        disable=quiet,
    )
    with bar:
        yield bar


def results_table(results: Sequence[Result], *, most: int) -> Table:
    """Image, caption, score, verdict and truth of the first `most` results."""
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("image", no_wrap=True, max_width=16)
    table.add_column("caption", ratio=1)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("truth", no_wrap=True)
    for result in results[:most]:
        style = _STYLES.get(Outcome(result.outcome), "") if result.outcome in _STYLES else "dim"
        score = "" if result.score is None else f"{result.score:.3f}"
        table.add_row(
            Text(printable(result.name or "")),
            Text(printable(result.caption or result.reason or "")),
            score,
            Text(result.outcome, style=style),
            Text(result.label or "", style="" if _is_right(result) else "bold red"),
        )
    return table


def _is_right(result: Result) -> bool:
    wrong = (result.label, result.outcome) in (("match", "flag"), ("mismatch", "pass"))
    return not wrong


def show_summary(results: Sequence[Result], truth: Truth | None, *, seconds: float) -> None:
    """Counts by outcome and, where the truth is known, how right they were."""
    counts = dict.fromkeys(("pass", "flag", "unscorable", "queued", REFUSED), 0)
    for result in results:
        counts[result.outcome] += 1
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    people.print(f"{len(results)} posts in {seconds:.1f} s: {told}.")
    for result in results:
        if result.outcome == REFUSED:
            people.print(Text(printable(f"  refused: {result.reason}"), style="yellow"))
    if truth is not None:
        people.print(
            f"Against the truth (n = {truth.n}):\n  accuracy {_percent(truth.accuracy)}, "
            f"precision {_percent(truth.precision)}, recall {_percent(truth.recall)}."
        )


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.1f} %"
