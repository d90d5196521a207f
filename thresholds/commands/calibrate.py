"""`captionguard thresholds calibrate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from moderation.console import people, progress
from moderation.settings import load_settings


def calibrate(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines of pairs.")],
    out: Annotated[Path, typer.Option(help="Where the calibration goes.")],
    model: Annotated[str | None, typer.Option(help="The model; the set one if not given.")] = None,
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

    Fits, on labelled pairs, the match score that a cosine of this model stands for.
    Each line is {"image": PATH_OR_URL, "caption": TEXT, "label": "match" or "mismatch"}.
    """
    from moderation.scoring.model import load_model
    from thresholds.artifact import write_artifact
    from thresholds.calibrate import calibrate as fit
    from thresholds.pairs import read_pairs, score_pairs, shuffled

    settings = load_settings()
    pairs = read_pairs(file, settings, need_labels=not cold_start)
    if cold_start:
        pairs = shuffled(pairs, seed=seed)
    clip = load_model(model or settings.model, device=settings.device)
    with progress(quiet=as_json) as bar:
        scoring = bar.add_task("pairs scored", total=len(pairs))
        labels = score_pairs(pairs, clip, settings, on_scored=lambda: bar.advance(scoring))
    artifact = fit(labels, clip, threshold=threshold, cold_start=cold_start, seed=seed)
    write_artifact(artifact, out)
    if as_json:
        print(artifact.model_dump_json())  # noqa: T201 - what --json is for
        return
    report = artifact.report
    people.print(f"{artifact.version} for {artifact.model} ({artifact.fingerprint})")
    people.print(f"  score = sigmoid({artifact.a:.3f} * cosine {artifact.b:+.3f})")
    people.print(f"  fitted on {artifact.matches} matches and {artifact.mismatches} mismatches;")
    people.print(f"  on {report.n} held-out pairs:")
    people.print(f"  expected calibration error {report.expected_calibration_error:.3f}")
    for name, interval in (
        ("AUC", report.auc),
        (f"recall below {threshold}", report.recall),
        ("matches flagged", report.false_positive_rate),
    ):
        people.print(
            f"  {name} {interval.point:.3f} ({interval.lower:.3f} to {interval.upper:.3f})"
        )
    if cold_start:
        people.print("  Made without labels: replace it once moderators have decided on some.")
    people.print(Text(f"Written to {out}. Use it with CAPTIONGUARD_CALIBRATION_FILE={out}"))
