"""`captionguard thresholds report`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from moderation.console import people, print_document, progress
from moderation.settings import Settings, load_settings
from thresholds.commands.labels import read_labels

if TYPE_CHECKING:
    from thresholds.artifact import Artifact
    from thresholds.report.figures import Figures
    from thresholds.sources import Source

EXIT_SOME_REFUSED = 3


def report(
    calibration: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The calibration, a JSON file.")
    ],
    out: Annotated[Path, typer.Option(help="Where the HTML file goes.")],
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="Labels: pairs or cosines."),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of mismatches among posts; else as chosen for, or of labels."),
    ] = None,
    traffic_per_day: Annotated[
        float | None, typer.Option(help="Posts a day; else reviews are per 1,000 posts.")
    ] = None,
    from_decisions: Annotated[
        bool, typer.Option("--from-decisions", help="Labels are what moderators decided.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Draw what a threshold finds, misses and costs.

    Writes one HTML file for the people who decide on it: pictures, each with how to read it
    and what it says, of labels set aside for reports. The file loads nothing from elsewhere.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter(f"--prevalence must lie between 0 and 1, is {prevalence}")
    if traffic_per_day is not None and not 0 < traffic_per_day < float("inf"):
        raise typer.BadParameter(f"--traffic-per-day must be above 0, is {traffic_per_day}")

    from thresholds.artifact import read_artifact
    from thresholds.reading import read_for
    from thresholds.report.page import render
    from thresholds.report.writing import open_whole

    settings = load_settings()
    artifact = read_artifact(calibration)
    # Opened first: nobody waits for scores that have nowhere to go.
    with open_whole(out) as page:
        source = read_for(
            artifact,
            calibration,
            settings,
            lambda its: read_labels(file, its, from_decisions=from_decisions, quiet=as_json),
        )
        figures = _measure(source, artifact, file, prevalence, traffic_per_day, quiet=as_json)
        page.write(
            render(
                figures,
                artifact,
                captions=source.captions,
                thumbnails=_thumbnails(
                    source, figures, settings, from_decisions=from_decisions, quiet=as_json
                ),
                on=datetime.now(UTC).date(),
            )
        )
    if as_json:
        print_document(figures.model_dump(mode="json") | {"refused": list(source.refused)})
    else:
        for problem in source.refused:
            people.print(Text(f"left out: {problem}", style="yellow"), soft_wrap=True)
        _say(figures, out)
    if source.refused:
        raise typer.Exit(EXIT_SOME_REFUSED)


def _measure(
    source: "Source",
    artifact: "Artifact",
    file: Path | None,
    prevalence: float | None,
    traffic_per_day: float | None,
    *,
    quiet: bool,
) -> "Figures":
    from thresholds.report.measure import measure
    from thresholds.resampling import RESAMPLES

    with progress(quiet=quiet) as bar:
        drawing = bar.add_task("resamples", total=RESAMPLES)
        return measure(
            source.labels,
            artifact,
            name="decisions of moderators" if file is None else file.name,
            prevalence=prevalence,
            traffic_per_day=traffic_per_day,
            on_resample=lambda: bar.advance(drawing),
        )


def _thumbnails(
    source: "Source", figures: "Figures", settings: Settings, *, from_decisions: bool, quiet: bool
) -> dict[int, str] | None:
    """Thumbnails of the mistakes by row; None where the labels are without images."""
    from moderation import addresses
    from moderation.media.blobs import BlobStore
    from thresholds.report.thumbnails import thumbnails

    if not source.images or not source.captions:
        return None
    rows = [mistake.row for mistake in (*figures.passed_mismatches, *figures.flagged_matches)]
    blobs = None
    if from_decisions:
        blobs = BlobStore(addresses.blob_url(settings), max_bytes=settings.max_image_bytes)
    with progress(quiet=quiet) as bar:
        drawing = bar.add_task("thumbnails", total=len(rows))
        found = thumbnails(
            (source.images[row] for row in rows),
            settings,
            blobs=blobs,
            on_done=lambda: bar.advance(drawing),
        )
    return {row: found[source.images[row]] for row in rows if source.images[row] in found}


def _say(figures: "Figures", out: Path) -> None:
    from thresholds.report.words import count, percent, percents, posts_unit, precision_says

    at = figures.operating_point
    people.print(
        f"{figures.calibration} on {figures.labels.matches} matches and "
        f"{figures.labels.mismatches} mismatches that were set aside, at {at.threshold:g}:"
    )
    people.print(f"  recall {percent(at.recall.point)} ({percents(at.recall)})")
    people.print(
        f"  matches flagged {percent(at.false_positive_rate.point)} "
        f"({percents(at.false_positive_rate)})"
    )
    people.print(f"  {precision_says(figures)}")
    people.print(f"  {count(at.reviews.point)} reviews {posts_unit(figures)}")
    people.print(Text(f"Written to {out}. Open it in a browser."))
