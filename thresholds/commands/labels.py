"""What all commands that read labels have in common: their options, and what was refused."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from moderation.console import people, printable
from moderation.settings import Settings

if TYPE_CHECKING:
    from thresholds.sources import Source

EXIT_SOME_REFUSED = 3
_MOST_SHOWN = 20

LabelsFile = Annotated[
    Path | None,
    typer.Argument(exists=True, dir_okay=False, help="Pairs or cosines with labels."),
]
FromDecisions = Annotated[
    bool, typer.Option("--from-decisions", help="Labels are what moderators decided.")
]
Since = Annotated[
    str | None, typer.Option(help="With --from-decisions: a date, or a span such as 28d.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="No image was calibrated with: use them all.")]
ModelName = Annotated[str | None, typer.Option(help="The model that cosines are of; scores pairs.")]


def read_labels(
    file: Path | None,
    settings: Settings,
    *,
    model: str | None = None,
    from_decisions: bool = False,
    since: str | None = None,
    cold_start: bool = False,
    seed: int = 0,
    quiet: bool = False,
) -> "Source":
    """`read_source`, with wrong usage told as such: `typer.BadParameter`, exit status 2."""
    from moderation.periods import read_moment
    from thresholds.sources import read_source

    if (file is None) is not from_decisions:
        raise typer.BadParameter("give either a file of labels or --from-decisions")
    if since is not None and not from_decisions:
        raise typer.BadParameter("--since goes with --from-decisions")
    if cold_start and from_decisions:
        raise typer.BadParameter("--cold-start is for pairs without labels; decisions are labels")
    return read_source(
        file,
        settings,
        model=model,
        from_decisions=from_decisions,
        since=read_moment(since, now=dt.datetime.now(dt.UTC)) if since else None,
        cold_start=cold_start,
        seed=seed,
        quiet=quiet,
    )


def end_with_refused(source: "Source") -> None:
    """Tell what was refused of a source; exit status 3 if there was anything."""
    if not source.refused:
        return
    lines = "1 line was" if len(source.refused) == 1 else f"{len(source.refused)} lines were"
    people.print(f"{lines} left out:")
    for problem in source.refused[:_MOST_SHOWN]:
        people.print(Text(printable(f"  {problem}"), style="yellow"), soft_wrap=True)
    if len(source.refused) > _MOST_SHOWN:
        people.print(f"  … and {len(source.refused) - _MOST_SHOWN} more")
    raise typer.Exit(EXIT_SOME_REFUSED)
