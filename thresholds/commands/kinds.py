"""`captionguard thresholds kinds …`: hard cases made by rule."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from moderation.console import people, print_document, printable, progress

if TYPE_CHECKING:
    from thresholds.kinds.kind import Kind
    from thresholds.kinds.make import Made
    from thresholds.kinds.original import Originals

_EXIT_SOME_REFUSED = 3
_REFUSALS_SHOWN = 10

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for tools.")]

kinds_app = typer.Typer(
    help="Make pairs that are wrong, or right, in a known way.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@kinds_app.command("list")
def kinds_list(as_json: Json = False) -> None:
    """Explain each kind: what is done, its label, what CLIP makes of it.

    The rules read English. What is right or wrong in another language cannot be
    made by rule: label such pairs by hand.
    """
    from thresholds.kinds.table import KINDS

    if as_json:
        print_document([_explained(kind) for kind in KINDS])
        return
    table = Table("kind", "label", "what is done", "expect of CLIP", box=None, pad_edge=False)
    for kind in KINDS:
        table.add_row(kind.name, kind.label or "none", kind.what, kind.expect)
    people.print(table)
    people.print(
        "The rules read English; pairs in other languages have to be labelled by hand.\n"
        "Kinds without a label go into a file of their own, for captionguard submit."
    )


@kinds_app.command("make")
def kinds_make(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines of matched pairs.")
    ],
    out: Annotated[Path, typer.Option(help="A new .jsonl file, or a folder for pairs.jsonl.")],
    kinds: Annotated[
        str | None,
        typer.Option(help="Names with commas between; all that have a label if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other cases.")] = 0,
    per_kind: Annotated[
        int | None, typer.Option(min=1, help="At most so many of each, drawn at random.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn matched pairs into hard cases.

    Each line is {"image": PATH, "caption": TEXT}, with paths relative to the file;
    lines with the label mismatch are left out. The more captions an image has, the
    surer it is that what a rule makes is wrong. Edited images go into the folder
    images beside the output, which calibrate and evaluate read.
    """
    from moderation.settings import load_settings
    from thresholds.kinds.make import destination, edits_of, plan, write
    from thresholds.kinds.original import read_originals

    chosen = _chosen(kinds)
    destination_file = destination(out)
    settings = load_settings()
    with progress(quiet=as_json) as bar:
        looking = bar.add_task("images looked at", total=None)
        originals = read_originals(
            file, settings, on_photo=lambda total: bar.update(looking, advance=1, total=total)
        )
        planning = bar.add_task("cases planned", total=len(chosen) * len(originals.pairs))
        made = plan(
            originals.pairs,
            chosen,
            seed=seed,
            per_kind=per_kind,
            on_planned=lambda: bar.advance(planning),
        )
        _check_any(file, originals, made)
        editing = bar.add_task("images written", total=edits_of(made))
        write(made, destination_file, settings, on_edited=lambda: bar.advance(editing))
    if as_json:
        print_document(_document(destination_file, originals, made))
    else:
        _show(destination_file, originals, made)
    if originals.refused:
        raise typer.Exit(_EXIT_SOME_REFUSED)


def _chosen(names: str | None) -> "tuple[Kind, ...]":
    from thresholds.kinds.table import BY_NAME, KINDS, LABELLED

    if names is None:
        return LABELLED
    asked = {name.strip() for name in names.split(",")} - {""}
    unknown = ", ".join(sorted(asked - BY_NAME.keys()))
    if unknown or not asked:
        raise typer.BadParameter(
            f"no such kind: {unknown or 'none named'}; see captionguard thresholds kinds list",
            param_hint="--kinds",
        )
    chosen = tuple(kind for kind in KINDS if kind.name in asked)
    if len({kind.label is None for kind in chosen}) > 1:
        raise typer.BadParameter(
            "empty, emoji_only and url_only have no label: make them into a file of their own",
            param_hint="--kinds",
        )
    return chosen


def _check_any(file: Path, originals: "Originals", made: "list[Made]") -> None:
    from moderation.errors import InputRefused

    if not originals.pairs:
        why = f": {originals.refused[0].told()}" if originals.refused else ""
        raise InputRefused(f"{file} holds no matched pair that can be used{why}")
    if not any(each.cases for each in made):
        raise InputRefused("no rule applies to any of these pairs; nothing was written")


def _explained(kind: "Kind") -> dict[str, Any]:
    return {"kind": kind.name, "label": kind.label, "what": kind.what, "expect": kind.expect}


def _document(file: Path, originals: "Originals", made: "list[Made]") -> dict[str, Any]:
    return {
        "file": str(file),
        "pairs": len(originals.pairs),
        "left_out": {"mismatches": originals.mismatches, "repeated": originals.repeated},
        "refused": [{"line": each.line, "reason": each.problem} for each in originals.refused],
        "kinds": [
            {
                "kind": each.kind.name,
                "label": each.kind.label,
                "made": len(each.cases),
                "not_made": each.not_made,
                "not_tried": each.not_tried,
            }
            for each in made
        ],
    }


def _show(file: Path, originals: "Originals", made: "list[Made]") -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("made", justify="right", no_wrap=True)
    table.add_column("not made")
    for each in made:
        why = "; ".join(f"{count} {reason}" for reason, count in each.not_made.items())
        table.add_row(each.kind.name, each.kind.label or "none", str(len(each.cases)), why)
    people.print(table)
    total = sum(len(each.cases) for each in made)
    people.print(Text(f"{total} cases of {len(originals.pairs)} pairs in {file}."), soft_wrap=True)
    for count, what in (
        (originals.mismatches, "lines of mismatches left out"),
        (originals.repeated, "lines left out that say the same again"),
    ):
        if count:
            people.print(f"{count} {what}.")
    for refused in originals.refused[:_REFUSALS_SHOWN]:
        people.print(Text(printable(f"  refused: {refused.told()}"), style="yellow"))
    if len(originals.refused) > _REFUSALS_SHOWN:
        more = len(originals.refused) - _REFUSALS_SHOWN
        people.print(f"  … and {more} more refused; --json prints them all.")
