"""`captionguard thresholds publish`, `promote` and `rollback`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from moderation.console import people, print_document, printable
from moderation.settings import load_settings
from moderation.types import DEFAULT_POLICY

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from thresholds.registry import Author, Change, Uptake

EXIT_NOT_GUARANTEED = 4

Policy = Annotated[str, typer.Option(help="The stream of submissions that it is for.")]
Why = Annotated[str, typer.Option(help="The reason, for the history.")]
Who = Annotated[str | None, typer.Option(help="Your name; your account's if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for tools.")]


def publish(
    calibration: Annotated[str, typer.Argument(help="A file, or a version published before.")],
    why: Why,
    policy: Policy = DEFAULT_POLICY,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Only count what it would say; act on nothing.")
    ] = False,
    share: Annotated[
        float | None, typer.Option(help="Let it decide this part, such as 0.1, as a trial.")
    ] = None,
    who: Who = None,
    as_json: Json = False,
) -> None:
    """Give running workers a calibration.

    It is live within seconds, without a restart, or on trial beside the live one with
    --shadow or --share. The policy "default" serves all that have none of their own.
    Waits up to ten seconds for the workers; status 4 if some do not act on it by then.
    """
    from thresholds.registry import SHADOW
    from thresholds.registry import publish as publish_to
    from thresholds.versions import find, set_model

    if shadow and share is not None:
        raise typer.BadParameter("--shadow and --share exclude each other")
    if share is not None and not 0 < share < 1:
        raise typer.BadParameter("--share must lie above 0 and below 1; --shadow acts on nothing")
    author = _author(who, why)
    settings, database = _open(as_json)
    change = publish_to(
        database,
        find(calibration, database),
        policy=policy,
        share=SHADOW if shadow else share,
        author=author,
        lease_s=settings.lease_s,
        set_model=lambda: set_model(settings),
    )
    _finish(change, database, as_json=as_json)


def promote(
    why: Why, policy: Policy = DEFAULT_POLICY, who: Who = None, as_json: Json = False
) -> None:
    """Make a policy's candidate live, after a trial that went well."""
    from thresholds.registry import promote as promote_in

    author = _author(who, why)
    settings, database = _open(as_json)
    change = promote_in(database, policy=policy, author=author, lease_s=settings.lease_s)
    _finish(change, database, as_json=as_json)


def rollback(
    why: Why, policy: Policy = DEFAULT_POLICY, who: Who = None, as_json: Json = False
) -> None:
    """End a trial, or go back to what was live before.

    With a candidate on trial, that is withdrawn. Without one, the calibration that was live
    before the present one is live again; done twice, it goes back two.
    """
    from thresholds.registry import roll_back

    author = _author(who, why)
    settings, database = _open(as_json)
    change = roll_back(database, policy=policy, author=author, lease_s=settings.lease_s)
    _finish(change, database, as_json=as_json)


def _author(who: str | None, why: str) -> "Author":
    import getpass

    from moderation.errors import InputRefused
    from thresholds.registry import Author

    if who is None:
        try:
            who = getpass.getuser()
        except (OSError, KeyError) as error:
            raise InputRefused("This account has no name: give yours with --who.") from error
    return Author(*(printable(" ".join(said.split())) for said in (who, why)))


def _open(as_json: bool) -> tuple[Any, "Engine"]:
    from moderation.cli_keys import open_database
    from moderation.logs import configure_logging

    settings = load_settings()
    if as_json:
        # Tools that collect lines of logs get one of each change; people read the same below.
        configure_logging("json")
    return settings, open_database()


def _finish(change: "Change", database: "Engine", *, as_json: bool) -> None:
    from thresholds.registry import await_workers

    if not as_json:
        _say(change)
    uptake = await_workers(database, change.entry, lease_s=load_settings().lease_s)
    database.dispose()
    if as_json:
        print_document(
            {
                "changed": change.is_new,
                "publication": change.entry.to_document(),
                "warnings": change.warnings,
                "workers": uptake.to_document(),
            }
        )
    else:
        _say_uptake(uptake)
    if uptake.lagging:
        raise typer.Exit(EXIT_NOT_GUARANTEED)


def _say(change: "Change") -> None:
    from thresholds.words import live_name, percent

    entry, before = change.entry, change.before
    state, candidate = entry.state, entry.state.candidate_version
    live = live_name(state, entry.policy)
    said = f"{live} is live now; before, {live_name(before, entry.policy)}."
    if candidate:
        said = f"{candidate} is counted beside {live} and decides nothing."
        if state.candidate_share:
            decides = percent(state.candidate_share)
            said = f"{candidate} decides {decides} of the submissions, {live} the others."
    elif state.live_version == before.live_version:
        said = f"{live} stays live."
    unchanged = "" if change.is_new else "nothing changed; "
    people.print(Text(printable(f"{entry.policy}: {unchanged}{said}")))
    ended = before.candidate_version
    if change.is_new and ended not in (None, state.live_version, candidate):
        people.print(Text(f"The trial of {ended} has ended."))
    for warning in change.warnings:
        people.print(Text(f"Mind: {printable(warning)}"))


def _say_uptake(uptake: "Uptake") -> None:
    asked = uptake.acting + len(uptake.lagging)
    if not asked:
        people.print("No worker runs that could act on it; the next one to start does.")
        return
    act = "worker acts" if asked == 1 else "workers act"
    people.print(f"{uptake.acting} of {asked} {act} on it ({uptake.seconds:.1f} s).")
    for worker in uptake.lagging:
        people.print(
            Text(
                f"  not yet: process {worker.pid} on {printable(worker.host)}; look for "
                "publication_refused or publications_not_read in its log"
            )
        )
