"""`captionguard keys …`: the API keys of platforms."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.table import Table

from moderation.console import people, print_document
from moderation.errors import InputRefused
from moderation.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for tools.")]

keys_app = typer.Typer(help="API keys: one or more a platform.", no_args_is_help=True)


@keys_app.command("add")
def keys_add(platform: str, as_json: Json = False) -> None:
    """Make an API key for a platform. It is printed once and stored only as a hash."""
    from moderation.intake import check_platform
    from moderation.store import keys

    check_platform(platform)
    with open_database().begin() as connection:
        secret = keys.add(connection, platform)
    if as_json:
        print_document({"platform": platform, "key": secret})
    else:
        print(secret)  # noqa: T201 - the key itself, for a script to take
        people.print("Keep it now: only its hash is stored.")


@keys_app.command("list")
def keys_list(as_json: Json = False) -> None:
    """List the API keys, without their secrets."""
    from moderation.store import keys

    with open_database().connect() as connection:
        found = keys.list_all(connection)
    if as_json:
        print_document(
            [
                {
                    "id": str(k.id),
                    "platform": k.platform,
                    "hint": k.hint,
                    "created_at": k.created_at.isoformat(),
                    "revoked": k.revoked_at is not None,
                }
                for k in found
            ]
        )
        return
    table = Table("id", "platform", "key", "made", "state", box=None, pad_edge=False)
    for key in found:
        state = "revoked" if key.revoked_at else "valid"
        table.add_row(
            str(key.id), key.platform, f"{key.hint}…", f"{key.created_at:%Y-%m-%d}", state
        )
    people.print(table)


@keys_app.command("revoke")
def keys_revoke(key_id: UUID) -> None:
    """Make an API key worthless at once."""
    from moderation.store import keys

    with open_database().begin() as connection:
        if not keys.revoke(connection, key_id):
            raise InputRefused(f"There is no valid key {key_id}; see `captionguard keys list`.")
    people.print("Revoked.")


def open_database() -> "Engine":
    """Connect to the database that is set, or to the running embedded one."""
    from moderation import addresses
    from moderation.store import database

    return database.connect(addresses.database_url(load_settings()))
