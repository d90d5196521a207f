"""The command `captionguard`. Commands of `workers` and `thresholds` join by entry point."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from moderation.cli_audit import audit
from moderation.cli_keys import keys_app, open_database
from moderation.cli_quality import quality_app
from moderation.cli_simulate import simulate
from moderation.cli_users import users_app
from moderation.cli_webhooks import webhooks_app
from moderation.console import (
    people,
    print_document,
    printable,
    progress,
    results_table,
    show_summary,
)
from moderation.errors import CaptionguardError
from moderation.settings import load_settings

EXIT_FAILED = 1
EXIT_SOME_REFUSED = 3
_TABLE_ROWS = 40

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for tools.")]

app = typer.Typer(
    name="captionguard",
    help="Finds posts whose caption does not match their image.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(quality_app, name="quality")
app.command()(audit)
app.command()(simulate)


@app.callback()
def captionguard() -> None:
    """Find posts whose caption does not match their image."""
    from moderation.logs import configure_logging

    # Roles say more and set this anew; at the prompt only what went wrong is worth a line.
    configure_logging("console", level=logging.WARNING)


@app.command()
def up() -> None:
    """Run all parts on this machine until Ctrl-C.

    API, worker and scheduler, and PostgreSQL and Redis where none are set. What dies is
    started again; data and logs are kept in the data directory.
    """
    from moderation.logs import configure_logging
    from moderation.machine import Machine

    settings = load_settings()
    configure_logging("console")
    stop = _stop_on_signals()
    with Machine(settings) as machine:
        people.print(f"Starting on {settings.data_dir.resolve()} …")
        machine.wait_until_ready(lambda step: people.print(f"  {step}"), stop)
        if not stop.is_set():
            machine.show_addresses(people)
            people.print("Ctrl-C stops everything; what was submitted stays.")
        while not stop.wait(0.5):
            machine.tend()
        people.print("Stopping …")


@app.command()
def api() -> None:
    """Run the HTTP API."""
    from moderation.api.app import serve

    serve(load_settings())


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the posts' verdicts.")] = False,
    posts: Annotated[int, typer.Option(min=2, max=10_000, help="How many posts.")] = 200,
    seed: Annotated[int, typer.Option(help="Another seed draws other posts.")] = 7,
    as_json: Json = False,
) -> None:
    """Watch generated posts go through the real pipeline."""
    from moderation.demo.run import run_demo

    results, seconds = run_demo(
        load_settings(), n=posts, seed=seed, once=once, stop=_stop_on_signals(), quiet=as_json
    )
    if as_json:
        _print_results(results, seconds)
    judged = {result.id for result in results if result.outcome != "queued"}
    if len(judged) < posts:
        people.print(f"Only {len(judged)} of {posts} posts got their verdict.")
        raise typer.Exit(EXIT_FAILED)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdicts.")] = False,
    as_json: Json = False,
) -> None:
    """Hand in the posts of a file.

    Each line is {"image": PATH_OR_URL, "caption": TEXT} and may have "external_id",
    "policy" and "label" (match or mismatch, to see how right the verdicts are).
    """
    from moderation.client import Client, Post, RefusedLine, Sent, read_posts
    from moderation.results import refused_result, result_of, truth_of

    settings = load_settings()
    started_s = time.monotonic()
    sent: list[Sent] = []
    # Refused lines, with how many good ones came before: results keep the file's order.
    refused: list[tuple[int, RefusedLine]] = []
    statuses: dict[str, dict[str, Any]] = {}

    def good_posts() -> Iterator[Post]:
        good = 0
        for line in read_posts(file, settings):
            if isinstance(line, RefusedLine):
                refused.append((good, line))
            else:
                good += 1
                yield line

    with Client(settings) as client, progress(quiet=as_json) as bar:
        sending = bar.add_task("submitted", total=None)
        for batch in client.send(good_posts()):
            sent.extend(batch)
            bar.advance(sending, len(batch))
        bar.update(sending, total=len(sent))
        if wait:
            judging = bar.add_task("verdicts", total=len({post.id for post in sent}))

            def note(status: dict[str, Any]) -> None:
                statuses[status["id"]] = status
                bar.advance(judging)

            client.wait([post.id for post in sent], note)
    results = [result_of(post, statuses.get(post.id)) for post in sent]
    for position, line in reversed(refused):
        results.insert(position, refused_result(line))
    seconds = time.monotonic() - started_s
    if as_json:
        _print_results(results, seconds)
    else:
        if wait:
            people.print(results_table(results, most=_TABLE_ROWS))
            if len(results) > _TABLE_ROWS:
                people.print(f"… and {len(results) - _TABLE_ROWS} more; --json prints them all.")
        show_summary(results, truth_of(results), seconds=seconds)
    if refused:
        raise typer.Exit(EXIT_SOME_REFUSED)


@app.command()
def status(submission_id: UUID, as_json: Json = False) -> None:
    """Show one submission, its verdict, and what people decided."""
    from moderation.client import Client

    with Client(load_settings()) as client:
        found = client.status(str(submission_id))
    if as_json:
        print_document(found)
        return
    verdict = found["verdict"] or {}
    table = Table(box=None, show_header=False, pad_edge=False)
    for name in ("id", "external_id", "policy", "caption", "created_at", "status"):
        table.add_row(name, Text(printable(str(found[name] if found[name] is not None else ""))))
    for name, value in verdict.items():
        if value not in (None, []):
            table.add_row(name, Text(", ".join(value) if isinstance(value, list) else str(value)))
    if found["case"] is not None:
        table.add_row("case", Text(f"{found['case']['state']} ({found['case']['route']})"))
    for decision in found["decisions"]:
        said = [decision["answer"], decision["reason"], decision["decided_at"]]
        if decision["appeal"] is not None:
            said.append(f"appeal {decision['appeal']['outcome']}")
        table.add_row("decision", Text(printable(", ".join(part for part in said if part))))
    people.print(table)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Examine the set-up and say what to mend."""
    from moderation.doctor import examine

    findings = examine(load_settings())
    if as_json:
        print_document(
            {"ok": all(f.ok for f in findings), "findings": [f.to_document() for f in findings]}
        )
    else:
        for finding in findings:
            mark = Text(
                " ok " if finding.ok else "FIX ", style="green" if finding.ok else "bold red"
            )
            people.print(mark, Text(f"{finding.part}: {finding.state}"))
            if finding.advice:
                people.print(Text(f"     {finding.advice}"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def migrate() -> None:
    """Bring the database's tables to this version."""
    from moderation.store import database

    database.migrate(open_database())
    people.print("The tables are at this version.")


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _print_results(results: Any, seconds: float) -> None:
    from moderation.results import to_document

    print_document(to_document(results, seconds=seconds))


def _database_problem(error: Exception) -> str | None:
    """What PostgreSQL has against a command; None if the error is not of a database."""
    import psycopg

    if not isinstance(error, SQLAlchemyError | psycopg.Error):
        return None
    refusal = getattr(error, "orig", error)
    # Its first line names tables and constraints; only those after it have values in them.
    says = refusal.diag.message_primary if isinstance(refusal, psycopg.Error) else None
    if says and not isinstance(error, OperationalError | psycopg.OperationalError):
        return f"PostgreSQL refuses: {says}."
    return f"PostgreSQL does not answer ({type(error).__name__}); see `captionguard doctor`."


def main() -> None:
    """Run the command line; our own errors become one line and exit status 1."""
    for extension in entry_points(group="captionguard.commands"):
        extension.load()(app)
    try:
        app()
    except CaptionguardError as error:
        people.print(Text(f"captionguard: {error}"), soft_wrap=True)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        problem = _database_problem(error)
        if problem is None:
            raise
        people.print(Text(f"captionguard: {problem}"), soft_wrap=True)
        sys.exit(EXIT_FAILED)
