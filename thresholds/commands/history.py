"""`captionguard thresholds list`, `show` and `diff`: what is, was and would be live."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from moderation.console import people, print_document, printable
from moderation.published import Action
from moderation.settings import load_settings
from moderation.types import DEFAULT_POLICY

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from moderation.published import Publication
    from moderation.store.calibrations import Stored
    from moderation.store.workers import WorkerInfo
    from thresholds.differences import Differences, Shift
    from thresholds.versions import Named

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for tools.")]

_DONE = {
    Action.PUBLISH: "published",
    Action.PROMOTE: "promoted",
    Action.ROLLBACK: "rolled back",
    Action.WITHDRAW: "withdrawn",
}


def list_(
    policy: Annotated[str | None, typer.Option(help="Only this stream; all if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Show the history of what was published: when, by whom, and why.

    The newest is first. Nothing in it can be changed or taken away.
    """
    from moderation.cli_keys import open_database
    from moderation.store import calibrations
    from thresholds.words import live_name, moment, trial

    with open_database().connect() as connection:
        history = calibrations.history(connection, policy=policy)
    if as_json:
        print_document([entry.to_document() for entry in history])
        return
    if not history:
        people.print("Nothing was published yet: workers use what they were started with.")
    for entry in history:
        head = f"{moment(entry.created_at)} UTC  {entry.policy}: {_DONE[entry.action]}"
        people.print(Text(printable(f"{head} by {entry.who}")))
        lines = [f"live: {live_name(entry.state, entry.policy)}", f"why: {entry.why}"]
        if entry.state.candidate_version:
            lines.insert(1, f"on trial: {trial(entry.state)}")
        for line in lines:
            people.print(Padding(Text(printable(line)), (0, 0, 0, 4), expand=False))


def show(
    calibration: Annotated[
        str | None, typer.Argument(help="A version, its beginning, or a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is live for each policy, or one calibration in words."""
    from moderation.cli_keys import open_database
    from thresholds.versions import find

    database = open_database()
    if calibration is None:
        _show_policies(database, as_json)
    else:
        _show_one(find(calibration, database), database, as_json)


def diff(
    a: Annotated[str, typer.Argument(help="A version, its beginning, or a file.")],
    b: Annotated[str, typer.Argument(help="What it is compared with.")],
    as_json: Json = False,
) -> None:
    """Compare two calibrations.

    Shows the figures that differ, and which cosines get another verdict.
    `captionguard thresholds backtest` says how many of last month's posts those were.
    """
    from moderation.cli_keys import open_database
    from thresholds.differences import differences
    from thresholds.versions import find

    database = open_database()
    old, new = find(a, database), find(b, database)
    found = differences(old.artifact, new.artifact)
    if as_json:
        print_document({"a": old.version, "b": new.version, **found.to_document()})
    elif not found.fields:
        people.print(f"{old.version} and {new.version} are the same.")
    else:
        _say_differences(old, new, found)


def _show_policies(database: "Engine", as_json: bool) -> None:
    from moderation.store import calibrations, workers

    with database.connect() as connection:
        current = calibrations.current(connection)
        alive = workers.living(connection, lease_s=load_settings().lease_s)
        versions = {entry.state.live_version or "" for entry in current.values()}
        live = calibrations.stored(connection, versions)
    entries = sorted(current.values(), key=lambda e: (e.policy != DEFAULT_POLICY, e.policy))
    if as_json:
        print_document(
            {
                "policies": [entry.to_document() for entry in entries],
                "workers": [worker.to_document() for worker in alive],
            }
        )
        return
    if entries:
        thresholds = {version: _threshold(stored) for version, stored in live.items()}
        people.print(_policies_table(entries, thresholds))
    else:
        people.print("Nothing is published: workers judge by what they were started with.")
    _say_workers(entries, alive)


def _threshold(stored: "Stored") -> str:
    from moderation.errors import CalibrationRefused
    from thresholds.artifact import parse_artifact

    try:
        return f"{parse_artifact(stored.artifact, name=stored.version).threshold:g}"
    except CalibrationRefused:
        return "unreadable"


def _policies_table(entries: "list[Publication]", thresholds: dict[str, str]) -> Table:
    from thresholds.words import percent

    table = Table(box=None, pad_edge=False)
    table.add_column("policy", overflow="fold")
    for name in ("live", "threshold", "candidate", "decides", "since"):
        table.add_column(name, no_wrap=True)
    for entry in entries:
        state = entry.state
        decides = ""
        if state.candidate_share is not None:
            decides = percent(state.candidate_share) if state.candidate_share else "nothing"
        unset = "as started" if entry.policy == DEFAULT_POLICY else "default's"
        table.add_row(
            Text(printable(entry.policy)),
            state.live_version or unset,
            thresholds.get(state.live_version or "", ""),
            state.candidate_version or "",
            decides,
            f"{entry.created_at.astimezone(UTC):%Y-%m-%d}",
        )
    return table


def _say_workers(entries: "list[Publication]", alive: "list[WorkerInfo]") -> None:
    if not alive:
        people.print("No worker runs.")
        return
    versions = ", ".join(sorted({worker.calibration_version for worker in alive}))
    how_many = "1 worker lives" if len(alive) == 1 else f"{len(alive)} workers live"
    people.print(f"{how_many}; the default there is {versions}.")
    newest = max((entry.id for entry in entries), default=0)
    behind = sum((worker.publication or 0) < newest for worker in alive)
    if behind:
        people.print(
            f"{behind} of them do not act on all of this: look for publication_refused in their "
            "logs."
        )


def _show_one(named: "Named", database: "Engine", as_json: bool) -> None:
    from moderation.store import calibrations
    from thresholds.differences import lowest_passing
    from thresholds.words import describe

    with database.connect() as connection:
        current = calibrations.current(connection)
    live = sorted(p for p, e in current.items() if e.state.live_version == named.version)
    tried = sorted(p for p, e in current.items() if e.state.candidate_version == named.version)
    artifact = named.artifact
    if as_json:
        print_document(
            {
                "version": named.version,
                "artifact": artifact.model_dump(mode="json"),
                "flags_below": lowest_passing(artifact.curve, artifact.threshold),
                "live_for": live,
                "candidate_for": tried,
            }
        )
        return
    for line in describe(artifact, named.version):
        people.print(Text(printable(line)))
    for what, policies in (("live for", live), ("candidate of", tried)):
        if policies:
            people.print(Text(f"  {what} {printable(', '.join(policies))}"))


def _say_differences(old: "Named", new: "Named", found: "Differences") -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    table.add_column(old.version, overflow="fold")
    table.add_column(new.version, overflow="fold")
    borders = ["everything" if b is None else f"{b:.4f}" for b in found.flags_below]
    table.add_row("flags cosines below", *borders)
    for field in found.fields:
        name = field.name.removeprefix("report.").replace("_", " ").replace(".", " ")
        table.add_row(
            Text(name), *(Text(_shown(field.name, value)) for value in (field.a, field.b))
        )
    people.print(table)
    if not found.same_model:
        people.print("They are for different models, so that no cosine can be compared.")
    elif found.shift is None:
        people.print("No cosine gets another verdict.")
    else:
        people.print(Text(_shift_in_words(found.shift, new.version)))


def _shift_in_words(shift: "Shift", version: str) -> str:
    from thresholds.words import percent

    said = f"Cosines from {shift.lower:.4f} to {shift.upper:.4f} "
    said += "are flagged instead of passed" if shift.becomes == "flag" else "pass instead"
    if shift.matches is None or shift.mismatches is None:
        return f"{said}."
    return (
        f"{said}: {percent(shift.matches)} of the matches and {percent(shift.mismatches)} of the "
        f"mismatches that {version} was made from."
    )


def _shown(name: str, value: Any) -> str:
    from thresholds.words import moment

    # Two moments in full would fill a terminal.
    return f"{moment(datetime.fromisoformat(value))} UTC" if name == "created_at" else _brief(value)


def _brief(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value)} numbers"
    if isinstance(value, dict):
        return "{point:.3f} ({lower:.3f} to {upper:.3f})".format(**value)
    said = printable(str(value))
    # A hash is recognised by its beginning.
    return said if len(said) < 64 else f"{said[:12]}…"
