"""`captionguard thresholds choose`."""

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.table import Table
from rich.text import Text

from moderation.console import people, print_document
from moderation.settings import Settings, load_settings
from thresholds.commands.labels import (
    Fresh,
    FromDecisions,
    LabelsFile,
    Since,
    end_with_refused,
    read_labels,
)

if TYPE_CHECKING:
    from thresholds.artifact import Artifact
    from thresholds.choose import Chosen
    from thresholds.parts import Parts
    from thresholds.sources import Source
    from thresholds.targets import Target

EXIT_NOT_GUARANTEED = 4
_RATES = ("recall", "false_positive_rate", "precision")


def choose(
    calibration: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The calibration, a JSON file.")
    ],
    file: LabelsFile = None,
    precision_min: Annotated[
        float | None, typer.Option(help="Least precision: highest recall at it.")
    ] = None,
    recall_min: Annotated[
        float | None, typer.Option(help="Least recall: highest precision at it.")
    ] = None,
    reviews_per_day: Annotated[
        float | None, typer.Option(help="Most flags a day: highest recall within it.")
    ] = None,
    traffic_per_day: Annotated[float | None, typer.Option(help="Posts a day.")] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Expected share of mismatches among posts; else that of the labels."),
    ] = None,
    guarantee: Annotated[
        float | None, typer.Option(help="Confidence with which the target is to hold, as 0.95.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the calibration with the new threshold goes.")
    ] = None,
    fresh: Fresh = False,
    from_decisions: FromDecisions = False,
    since: Since = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Choose the threshold that reaches a target.

    Looks for it on images that were not calibrated with, and reports on yet others what
    it does. 0.35 stays where it reaches the target. With --guarantee the target holds on
    all posts that are like the labels, or the exit status is 4 and you learn how many
    labels are missing.
    """
    target = _target(precision_min, recall_min, reviews_per_day, traffic_per_day, prevalence)
    if guarantee is not None and not 0 < guarantee < 1:
        raise typer.BadParameter(f"--guarantee must lie between 0 and 1, is {guarantee}")

    from thresholds.artifact import read_artifact
    from thresholds.choose import choose as choose_on
    from thresholds.choose import with_choice
    from thresholds.evaluate import own_prevalence
    from thresholds.parts import parts_of
    from thresholds.reading import read_for

    def read(settings: Settings) -> "Source":
        return read_labels(
            file, settings, from_decisions=from_decisions, since=since, quiet=as_json
        )

    artifact = read_artifact(calibration)
    with ExitStack() as stack:
        written = _open(out, stack)
        source = read_for(artifact, calibration, load_settings(), read)
        parts = parts_of(source.labels, artifact, fresh=fresh)
        if prevalence is None:
            target = replace(target, prevalence=own_prevalence(source.labels))
        chosen = choose_on(source.labels, parts, artifact, target, confidence=guarantee)
        new = None
        if chosen.threshold is not None:
            new = with_choice(artifact, chosen, source.labels, parts)
            if written:
                written.write(new.model_dump_json(indent=2) + "\n")
        if as_json:
            print_document(
                _document(chosen, parts, artifact, new)
                | {
                    "prevalence_source": "labels" if prevalence is None else "given",
                    "refused": list(source.refused),
                }
            )
        else:
            _show(chosen, parts, prevalence_is_given=prevalence is not None)
            _show_reviews(chosen, traffic_per_day)
        if new is None:
            # What was left out is told too, but that something was missed weighs more.
            with suppress(typer.Exit):
                end_with_refused(source)
            raise typer.Exit(EXIT_NOT_GUARANTEED)
    if not as_json:
        kept = f"Written to {out}." if out else "Nothing was written: --out FILE.json keeps it."
        people.print(Text(kept), soft_wrap=True)
    end_with_refused(source)


def _target(
    precision_min: float | None,
    recall_min: float | None,
    reviews_per_day: float | None,
    traffic_per_day: float | None,
    prevalence: float | None,
) -> "Target":
    """What the options ask for; the prevalence may follow. Wrong ones are wrong usage."""
    from moderation.errors import InputRefused
    from thresholds.targets import Target

    flags_max = None
    if reviews_per_day is not None:
        if traffic_per_day is None or not 0 < traffic_per_day < float("inf"):
            raise typer.BadParameter("--reviews-per-day needs --traffic-per-day, above 0")
        flags_max = reviews_per_day / traffic_per_day
    elif traffic_per_day is not None and not 0 < traffic_per_day < float("inf"):
        raise typer.BadParameter(f"--traffic-per-day must be above 0, is {traffic_per_day}")
    try:
        return Target(
            0.5 if prevalence is None else prevalence, precision_min, recall_min, flags_max
        )
    except InputRefused as error:
        raise typer.BadParameter(str(error)) from error


def _open(out: Path | None, stack: ExitStack) -> TextIO | None:
    """Open where the result goes before the work that leads to it."""
    from thresholds.report.writing import open_whole

    return stack.enter_context(open_whole(out)) if out else None


def _document(
    chosen: "Chosen", parts: "Parts", artifact: "Artifact", new: "Artifact | None"
) -> dict[str, Any]:
    rates, missing = chosen.rates, chosen.missing
    matches, mismatches = chosen.tested_on

    rates_shown: dict[str, Any] = dict.fromkeys(_RATES)
    if rates:
        rates_shown = {name: getattr(rates, name).model_dump() for name in _RATES}
    return {
        "target": str(chosen.target),
        "prevalence": chosen.target.prevalence,
        "guarantee": chosen.confidence,
        "feasible": chosen.threshold is not None,
        "threshold": chosen.threshold,
        "keeps_default": chosen.keeps_default,
        "best_threshold": chosen.best,
        **rates_shown,
        "missing_labels": missing
        and {"matches": missing.matches, "mismatches": missing.mismatches},
        "chosen_on": {"matches": matches, "mismatches": mismatches},
        "reported_on": {
            "matches": parts.reporting.matches,
            "mismatches": parts.reporting.mismatches,
        },
        "calibration": artifact.version,
        "new_calibration": new.version if new else None,
    }


def _show(chosen: "Chosen", parts: "Parts", *, prevalence_is_given: bool) -> None:
    import numpy as np

    target, rates = chosen.target, chosen.rates
    whose = "" if prevalence_is_given else ", as in the labels (say yours with --prevalence)"
    prevalence = f"{100 * target.prevalence:.3g} %"
    people.print(f"{target} where {prevalence} of posts are mismatches{whose}")
    matches, mismatches = chosen.tested_on
    done = "chosen" if rates else "tried"
    people.print(f"{done} on {matches} matches and {mismatches} mismatches")
    choosing = parts.choosing
    if chosen.confidence and choosing.weights.min() < choosing.weights.max():
        people.print(
            f"  drawn from {choosing.matches} and {choosing.mismatches} by their weights, as posts "
            "are drawn"
        )
    elif chosen.confidence and mismatches < choosing.mismatches:
        people.print(
            "  one of each an image, since what an image's pairs have in common counts once"
        )
    if rates is None:
        _show_why_not(chosen)
        return
    reporting = parts.reporting
    people.print(f"reported on {reporting.matches} and {reporting.mismatches} of other images")
    if chosen.keeps_default:
        better = ""
        if chosen.best != chosen.threshold:
            better = f"; the best one for it would be {chosen.best:.3g}"
        people.print(f"0.35 reaches it and stays{better}.")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("threshold", f"{chosen.threshold:.4g}")
    for name, interval in (
        ("recall", rates.recall),
        ("matches flagged", rates.false_positive_rate),
        (f"precision at {prevalence}", rates.precision),
    ):
        table.add_row(name, f"{interval.point:.3f}  ({interval.lower:.3f} to {interval.upper:.3f})")
    people.print(table)
    if chosen.confidence is None:
        misses = not target.is_met(
            np.array([rates.recall.point]), np.array([rates.false_positive_rate.point])
        )
        people.print(
            "On these other images it misses the target: chosen without --guarantee, it may."
            if misses
            else "No guarantee was asked for: on other posts it may miss the target."
        )
    else:
        people.print(
            f"It reaches the target with {chosen.confidence:.3g} confidence on posts that are like "
            "these labels."
        )


def _show_why_not(chosen: "Chosen") -> None:
    if chosen.confidence is None:
        people.print("No threshold reaches that on these labels; nothing was written.")
        return
    people.print(f"No guarantee of it can be had with {chosen.confidence:.3g} confidence.")
    if chosen.missing is None:
        people.print(
            "No number of labels would be enough: as far as these show, the model does not reach "
            "it with any threshold. Ask for less; nothing was written."
        )
        return
    people.print(
        f"Missing are about {chosen.missing.matches:,} matches and "
        f"{chosen.missing.mismatches:,} mismatches, each of another image, if rates are as on "
        "these; nothing was written."
    )


def _show_reviews(chosen: "Chosen", traffic_per_day: float | None) -> None:
    from thresholds.choose import reviews_a_day

    if traffic_per_day is None or chosen.rates is None:
        return
    reviews = reviews_a_day(chosen.rates, chosen.target.prevalence, traffic_per_day)
    people.print(
        f"{reviews.point:,.0f} ({reviews.lower:,.0f} to {reviews.upper:,.0f}) of "
        f"{traffic_per_day:,.0f} posts a day are flagged."
    )
