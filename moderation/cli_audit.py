"""`captionguard audit`: who did what, from the audit log."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from moderation.cli_keys import Json, open_database
from moderation.console import people, printable
from moderation.periods import read_moment

if TYPE_CHECKING:
    from moderation.store.audit import Line

_SHOWN = 40


def audit(
    since: Annotated[
        str | None, typer.Option(help="Only what is not older: 28d, or 2026-10-01.")
    ] = None,
    as_json: Json = False,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print all of it as JSON lines, for an archive.")
    ] = False,
) -> None:
    """Show who did what to what: the audit log.

    People see the newest 40 lines; --json and --lines print all, the oldest first.
    """
    from moderation.store import audit as audit_log

    if as_json and lines:
        raise typer.BadParameter("--json prints one document, --lines one a line: take one")
    wanted = audit_log.Wanted(
        since=None if since is None else read_moment(since, now=datetime.now(UTC))
    )
    with open_database().connect() as connection:
        if as_json or lines:
            _print_all(audit_log.all_lines(connection, wanted), as_lines=lines)
            return
        newest = audit_log.lines(connection, wanted, at_most=_SHOWN + 1)
    rows: list[tuple[str, ...]] = [("when (UTC)", "who", "what", "to what")]
    for line in reversed(newest[:_SHOWN]):
        when = f"{line.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        told = (line.actor, line.action, line.subject or "")
        rows.append((when, *(printable(text) for text in told)))
    # No table of rich's: it breaks ids to fit a terminal, and nobody can copy those.
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (set_cell_size(text, width) for text, width in zip(row, widths, strict=True))
        people.print(Text("  ".join(cells).rstrip()), soft_wrap=True)
    if len(newest) > _SHOWN:
        people.print(f"These are the newest {_SHOWN}; --lines prints all.")


def _print_all(found: Iterable["Line"], *, as_lines: bool) -> None:
    # One at a time: the log of a year does not fit into memory.
    texts = (json.dumps(_document(line)) for line in found)
    if as_lines:
        for text in texts:
            print(text)  # noqa: T201 - what --lines is for
        return
    opening = "["
    for text in texts:
        print(f"{opening}{text}", end="")  # noqa: T201 - what --json is for
        opening = ",\n"
    print("]" if opening != "[" else "[]")  # noqa: T201


def _document(line: "Line") -> dict[str, Any]:
    return {
        "id": line.id,
        "at": line.created_at.astimezone(UTC).isoformat(),
        "actor": line.actor,
        "action": line.action,
        "subject": line.subject,
        "details": dict(line.details),
        "address": line.address,
    }
