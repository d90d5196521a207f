"""`captionguard thresholds calibrate`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from moderation.console import people, print_document, progress
from moderation.settings import load_settings
from thresholds.commands.labels import (
    FromDecisions,
    LabelsFile,
    ModelName,
    Since,
    end_with_refused,
    read_labels,
)

if TYPE_CHECKING:
    from thresholds.artifact import Artifact
    from thresholds.sources import Source


class MethodName(StrEnum):
    """The curves that can be fitted."""

    PLATT = "platt"
    BETA = "beta"
    ISOTONIC = "isotonic"


def calibrate(
    out: Annotated[Path, typer.Option(help="Where the calibration goes.")],
    file: LabelsFile = None,
    from_decisions: FromDecisions = False,
    since: Since = None,
    method: Annotated[
        MethodName,
        typer.Option(help="Beta may bend at its ends; isotonic needs 1,000 labels of a class."),
    ] = MethodName.PLATT,
    model: ModelName = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Pairs have no labels: shuffle captions instead.")
    ] = False,
    threshold: Annotated[float, typer.Option(help="Match scores below it are flagged.")] = 0.35,
    seed: Annotated[int, typer.Option(help="Another seed splits and shuffles anew.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Learn what a model's cosines mean.

    Fits, on labelled pairs, the match score that a cosine of this model stands for: one half
    where it is as likely of a match as of a mismatch. What FILE is, its content says:

    JSON lines of pairs, {"image": PATH_OR_URL, "caption": TEXT, "label": "match" or
    "mismatch"}, which the model scores. Cosines are kept beside the file, so that a run that
    is stopped goes on where it was.

    CSV with a header, or JSON lines, of cosine and label, in the same two words (1 or true
    is refused: it could mean either). No model is needed, but without --model the
    calibration names none, and workers refuse it.

    Both may have "kind", "weight" (1/p of a pair drawn with probability p) and "split" (fit,
    choose or report; by the image's name if not given), cosines also "image".
    """
    if not 0 < threshold < 1:
        raise typer.BadParameter(f"--threshold must lie between 0 and 1, is {threshold}")

    from thresholds.artifact import Artifact
    from thresholds.calibrate import calibrate as fit
    from thresholds.models import UNNAMED
    from thresholds.report.writing import open_whole

    with open_whole(out) as whole:
        source = read_labels(
            file,
            load_settings(),
            model=model,
            from_decisions=from_decisions,
            since=since,
            cold_start=cold_start,
            seed=seed,
            quiet=as_json,
        )
        with progress(quiet=as_json) as bar:
            drawing = bar.add_task("samples drawn for intervals", total=None)
            artifact: Artifact = fit(
                source.labels,
                source.model or UNNAMED,
                method=method.value,
                threshold=threshold,
                cold_start=cold_start,
                seed=seed,
                on_resampled=lambda: bar.advance(drawing),
            )
            bar.update(drawing, total=bar.tasks[drawing].completed)
        whole.write(f"{artifact.model_dump_json(indent=2)}\n")
    if as_json:
        print_document(artifact.model_dump(mode="json"))
    else:
        _say(artifact, out, source)
    end_with_refused(source)


def _say(artifact: "Artifact", out: Path, source: "Source") -> None:
    from thresholds.words import doubts

    report = artifact.report
    people.print(f"{artifact.version} for {artifact.model} ({artifact.fingerprint})")
    people.print(f"  score = {_formula(artifact)}")
    people.print(f"  fitted on {artifact.matches} matches and {artifact.mismatches} mismatches;")
    people.print(f"  on {report.n} held-out pairs:")
    people.print(f"  expected calibration error {report.expected_calibration_error:.3f}")
    for name, interval in (
        ("AUC", report.auc),
        (f"recall below {artifact.threshold}", report.recall),
        ("matches flagged", report.false_positive_rate),
    ):
        people.print(
            f"  {name} {interval.point:.3f} ({interval.lower:.3f} to {interval.upper:.3f})"
        )
    if artifact.cold_start:
        people.print("  Made without labels: replace it once moderators have decided on some.")
    for doubt in (*source.doubts, *doubts(artifact)):
        people.print(Text(f"Mind: {doubt}"))
    if source.model is not None:
        people.print(
            Text(
                f"Written to {out}. Start workers with CAPTIONGUARD_CALIBRATION_FILE={out}, or "
                "give it to running ones with `captionguard thresholds publish`."
            )
        )
    else:
        people.print(
            Text(
                f"Written to {out}. It names no model, so workers and publish refuse it: make it "
                "again with --model NAME, the model that the cosines are of."
            )
        )


def _formula(artifact: "Artifact") -> str:
    if artifact.method == "isotonic":
        return f"straight lines between {len(artifact.knots)} knots"
    if artifact.method == "platt":
        from thresholds.words import curve_formula

        return curve_formula(artifact.curve)
    return (
        "sigmoid(a ln p - b ln(1 - p) + c), p = (1 + cosine) / 2,\n"
        f"  a = {artifact.a:.3f}, b = {artifact.b:.3f}, c = {artifact.c:.3f}"
    )
