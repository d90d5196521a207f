"""`captionguard webhooks …`: where platforms are told of verdicts and decisions."""

import getpass
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from moderation.cli_keys import Json, open_database
from moderation.console import people, print_document, printable
from moderation.errors import InputRefused
from moderation.settings import load_settings
from moderation.store.deliveries import State

if TYPE_CHECKING:
    from moderation.review.webhooks import Added
    from moderation.store.audit import Actor

_SHOWN = 40

webhooks_app = typer.Typer(
    help="Webhooks: platforms are told of verdicts and decisions.", no_args_is_help=True
)


@webhooks_app.command("add")
def webhooks_add(platform: str, url: str, as_json: Json = False) -> None:
    """Tell a platform at a URL from now on. The secret is printed once."""
    from moderation.review import webhooks

    with open_database().begin() as connection:
        added = webhooks.add(connection, _actor(), load_settings(), platform=platform, url=url)
    _show_secret(added, as_json=as_json)


@webhooks_app.command("list")
def webhooks_list(as_json: Json = False) -> None:
    """List the endpoints, without their secrets."""
    from moderation.review.webhook_documents import EndpointOut
    from moderation.store import endpoints

    with open_database().connect() as connection:
        found = endpoints.list_all(connection)
    if as_json:
        print_document([EndpointOut.of(e).model_dump(mode="json") for e in found])
        return
    if not found:
        people.print("No endpoint yet: captionguard webhooks add PLATFORM URL")
    for endpoint in found:
        state = "enabled" if endpoint.disabled_at is None else f"disabled: {endpoint.disabled_why}"
        people.print(Text(printable(f"{endpoint.platform}  {endpoint.url}")), soft_wrap=True)
        people.print(
            Text(f"  {endpoint.id}  {state}, {endpoint.pending} waiting, {endpoint.failed} failed"),
            soft_wrap=True,
        )


@webhooks_app.command("remove")
def webhooks_remove(endpoint: UUID) -> None:
    """Send nothing more to an endpoint, not even what waits."""
    from moderation.review import webhooks

    with open_database().begin() as connection:
        webhooks.remove(connection, _actor(), endpoint)
    people.print("Removed.")


@webhooks_app.command("enable")
def webhooks_enable(endpoint: UUID) -> None:
    """Send again to an endpoint that was disabled."""
    from moderation.review import webhooks

    with open_database().begin() as connection:
        webhooks.enable(connection, _actor(), endpoint)
    people.print("Enabled. What failed meanwhile: captionguard webhooks replay --failed-since 24h")


@webhooks_app.command("rotate")
def webhooks_rotate(endpoint: UUID, as_json: Json = False) -> None:
    """Give an endpoint a new secret. For 24 hours the one before signs as well."""
    from moderation.review import webhooks

    with open_database().begin() as connection:
        added = webhooks.rotate(connection, _actor(), endpoint)
    _show_secret(added, as_json=as_json)


@webhooks_app.command("test")
def webhooks_test(endpoint: UUID, as_json: Json = False) -> None:
    """Send a signed ping to an endpoint and print its answer."""
    from moderation.review import webhooks
    from moderation.review.webhook_documents import TestedOut

    answer = webhooks.test(open_database(), load_settings(), endpoint)
    if as_json:
        print_document(TestedOut.of(answer).model_dump(mode="json"))
    elif answer.problem is None:
        people.print(f"It answered {answer.status} after {answer.took_s:.2f} s.")
    else:
        people.print(Text(f"Not taken: {printable(answer.problem)}."))
    if answer.problem is not None:
        raise typer.Exit(1)


@webhooks_app.command("deliveries")
def webhooks_deliveries(
    state: Annotated[State | None, typer.Option(help="Only those.")] = None,
    as_json: Json = False,
) -> None:
    """Show the newest deliveries and what became of them."""
    from moderation.review.webhook_documents import DeliveryOut
    from moderation.store import deliveries

    with open_database().connect() as connection:
        found = deliveries.latest(connection, state=state, at_most=1000 if as_json else _SHOWN)
    if as_json:
        print_document([DeliveryOut.of(d).model_dump(mode="json") for d in found])
        return
    if not found:
        people.print("There is no such delivery." if state else "Nothing was to be told yet.")
        return
    table = Table("delivery", "what", "tries", box=None, pad_edge=False)
    for delivery in reversed(found):
        said = delivery.last_problem or delivery.last_status or ""
        what = f"{delivery.kind} → {delivery.platform}: {delivery.state} {said}".rstrip()
        table.add_row(
            str(delivery.id), Text(printable(what), overflow="fold"), str(delivery.attempts)
        )
    people.print(table)


@webhooks_app.command("replay")
def webhooks_replay(
    delivery: Annotated[UUID | None, typer.Argument(help="One delivery.")] = None,
    failed_since: Annotated[
        str | None, typer.Option(help="All that were given up within such as 24h or 3d.")
    ] = None,
) -> None:
    """Send again what failed or got lost; events keep their ids."""
    from moderation.periods import read_span
    from moderation.review import webhooks

    if (delivery is None) == (failed_since is None):
        raise typer.BadParameter("give either a delivery or --failed-since")
    span = None if failed_since is None else read_span(failed_since)
    with open_database().begin() as connection:
        count = 1
        if delivery is not None:
            webhooks.replay(connection, _actor(), delivery)
        elif span is not None:
            count = webhooks.replay_failed(connection, _actor(), span)
    people.print(f"{count} sent again by the scheduler, within seconds.")


def _show_secret(added: "Added", *, as_json: bool) -> None:
    if as_json:
        from moderation.review.webhook_documents import AddedOut

        print_document(AddedOut.of_added(added).model_dump(mode="json"))
        return
    print(added.secret)  # noqa: T201 - the secret itself, for a script to take
    people.print(f"Endpoint {added.endpoint.id}. Keep the secret now: it is not shown again.")


def _actor() -> "Actor":
    from moderation.store.audit import Actor

    try:
        return Actor(f"cli:{getpass.getuser()}")
    except (OSError, KeyError) as error:
        raise InputRefused("This account has no name: set USER to yours.") from error
