"""`captionguard thresholds evaluate`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from moderation.console import people, print_document, printable, progress
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
    from thresholds.artifact import Artifact, Interval
    from thresholds.compare import Difference
    from thresholds.evaluate import Evaluation
    from thresholds.labels import Labels
    from thresholds.sources import Source

_RATES = ("recall", "false_positive_rate", "precision", "accuracy", "f1")
_FIGURES = ("auc", "brier_score", "expected_calibration_error")


def evaluate(
    calibration: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The calibration, a JSON file.")
    ],
    file: LabelsFile = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Expected share of mismatches among posts; else the one that the threshold was "
            "chosen for, else that of the labels."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Another calibration, to compare with."),
    ] = None,
    fresh: Fresh = False,
    from_decisions: FromDecisions = False,
    since: Since = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Measure a calibration on labels it has not seen.

    Recall and AUC of each kind of mismatch, as pooled figures hide what a model cannot
    tell. Precision, accuracy and F1 depend on how many posts are mismatches, so they come
    at a stated prevalence. Every figure has its 95 % interval.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter(f"--prevalence must lie between 0 and 1, is {prevalence}")

    from thresholds.artifact import read_artifact
    from thresholds.compare import compare
    from thresholds.evaluate import evaluate as measure
    from thresholds.held_out import read_held_out

    def read(settings: Settings) -> "Source":
        return read_labels(
            file, settings, from_decisions=from_decisions, since=since, quiet=as_json
        )

    paths = [path for path in (calibration, against) if path]
    artifacts = [read_artifact(path) for path in paths]
    held_out = read_held_out(
        list(zip(paths, artifacts, strict=True)), load_settings(), read, fresh=fresh
    )
    at, whence = _prevalence(prevalence, artifacts[0], held_out.labels[0])
    both = list(zip(held_out.labels, artifacts, strict=True))
    with _resampling(2 * len(both) - 1, quiet=as_json) as on_resample:
        done = [measure(*each, prevalence=at, on_resample=on_resample) for each in both]
        differences = []
        if against:
            differences = compare(both[0], both[1], prevalence=at, on_resample=on_resample)
    if as_json:
        document = _document(done[0], artifacts[0])
        document["prevalence_source"] = whence
        if against:
            document["against"] = _document(done[1], artifacts[1])
            document["differences"] = {each.figure: _difference(each) for each in differences}
        print_document(document | {"refused": list(held_out.source.refused)})
    else:
        _show(done, artifacts, whence)
        _show_differences(differences)
    end_with_refused(held_out.source)


def _prevalence(given: float | None, artifact: "Artifact", labels: "Labels") -> tuple[float, str]:
    """The prevalence to measure at, and who says so."""
    from thresholds.evaluate import own_prevalence

    if given is not None:
        return given, "given"
    if artifact.choice is not None:
        return artifact.choice.prevalence, "choice"
    return own_prevalence(labels), "labels"


@contextmanager
def _resampling(rounds: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    from thresholds.resampling import RESAMPLES

    with progress(quiet=quiet) as bar:
        drawing = bar.add_task("resamples", total=rounds * RESAMPLES)
        yield lambda: bar.advance(drawing)


def _document(done: "Evaluation", artifact: "Artifact") -> dict[str, Any]:
    return {
        "calibration": artifact.version,
        "model": artifact.model,
        "threshold": done.threshold,
        "prevalence": done.prevalence,
        "n": done.matches + done.mismatches,
        "matches": done.matches,
        "mismatches": done.mismatches,
        "images": done.images,
        **{name: getattr(done.rates, name).model_dump() for name in _RATES},
        **{name: getattr(done, name).model_dump() for name in _FIGURES},
        "score_prior": artifact.prior,
        "kinds": [
            {
                "kind": kind.kind,
                "label": "match" if kind.is_match else "mismatch",
                "n": kind.n,
                "auc": kind.auc.model_dump() if kind.auc else None,
                "auc_in_image": kind.auc_in_image.model_dump() if kind.auc_in_image else None,
                "false_positive_rate" if kind.is_match else "recall": kind.flagged.model_dump(),
            }
            for kind in done.kinds
        ],
    }


def _difference(each: "Difference") -> dict[str, Any]:
    shown: dict[str, Any] = each.difference.model_dump()
    return shown | {"is_more_than_chance": each.is_more_than_chance}


def _show(done: "list[Evaluation]", artifacts: "list[Artifact]", whence: str) -> None:
    first = done[0]
    people.print(
        f"{first.matches} matches and {first.mismatches} mismatches of {first.images} images"
    )
    whose = {
        "given": "",
        "choice": ", as the threshold was chosen for",
        "labels": ", as in these labels (say yours with --prevalence)",
    }[whence]
    people.print(f"precision, accuracy and F1 where {_percent(first)} are mismatches{whose}")
    for each, artifact in zip(done, artifacts, strict=True):
        people.print()
        people.print(
            Text(f"{artifact.version} for {artifact.model}, threshold {each.threshold:.4g}")
        )
        people.print(_figures_table(each))
        people.print(_kinds_table(each))


def _figures_table(done: "Evaluation") -> Table:
    at = f"at {_percent(done)}"
    table = _table("", "", "95 % interval")
    for name, interval in (
        ("recall", done.rates.recall),
        ("matches flagged", done.rates.false_positive_rate),
        (f"precision {at}", done.rates.precision),
        (f"accuracy {at}", done.rates.accuracy),
        (f"F1 {at}", done.rates.f1),
        ("AUC", done.auc),
        ("Brier score", done.brier_score),
        ("calibration error", done.expected_calibration_error),
    ):
        table.add_row(name, f"{interval.point:.3f}", _ends(interval))
    return table


def _kinds_table(done: "Evaluation") -> Table:
    table = _table("kind", "pairs", "flagged", "95 % interval", "AUC", "95 % interval")
    is_paired = any(kind.auc_in_image for kind in done.kinds)
    if is_paired:
        table.add_column("in\nimage", justify="right", no_wrap=True)
        # One space between columns, so that names of kinds hardly wrap.
        table.collapse_padding = True
    for kind in done.kinds:
        label = "match" if kind.is_match else "mismatch"
        name = f"{label}: {printable(kind.kind)}" if kind.kind else label
        auc = (f"{kind.auc.point:.3f}", _ends(kind.auc)) if kind.auc else ("", "")
        in_image = [f"{kind.auc_in_image.point:.3f}" if kind.auc_in_image else ""] * is_paired
        table.add_row(
            Text(name), str(kind.n), f"{kind.flagged.point:.3f}", _ends(kind.flagged), *auc,
            *in_image,
        )  # fmt: skip
    return table


def _show_differences(differences: "list[Difference]") -> None:
    if not differences:
        return
    people.print()
    table = _table("first less second", "", "95 % interval", "")
    for each in differences:
        at = each.difference
        told = "more than chance" if each.is_more_than_chance else "may be chance"
        name = {"false_positive_rate": "matches flagged", "auc": "AUC"}.get(
            each.figure, each.figure
        )
        table.add_row(name, f"{at.point:+.3f}", f"{at.lower:+.3f} to {at.upper:+.3f}", told)
    people.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        # Where a kind has a long name, it is the name that wraps.
        table.add_column(name, justify="right" if number else "left", no_wrap=number > 0)
    return table


def _percent(done: "Evaluation") -> str:
    return f"{100 * done.prevalence:.3g} %"


def _ends(interval: "Interval") -> str:
    return f"{interval.lower:.3f} to {interval.upper:.3f}"
