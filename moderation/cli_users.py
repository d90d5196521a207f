"""`captionguard users …`: the people of the desk."""

import getpass
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from moderation.cli_keys import Json, open_database
from moderation.console import people, print_document
from moderation.errors import InputRefused
from moderation.store.users import Role

if TYPE_CHECKING:
    from moderation.store.audit import Actor

users_app = typer.Typer(help="People: who works at the desk.", no_args_is_help=True)

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


_MADE = " Give them the password above now: it is not shown again."


@users_app.command("add")
def users_add(
    name: str,
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.MODERATOR,
    password_stdin: PasswordStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="By single sign-on or with tokens only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make an account.

    Asks for a password; where nobody can be asked, one is made and printed once.
    """
    from moderation.review import accounts
    from moderation.review.passwords import hash_password

    if no_password and password_stdin:
        raise typer.BadParameter("give --no-password or --password-stdin, not both")
    accounts.check_name(name)
    password, is_made = (None, False) if no_password else _password(from_stdin=password_stdin)
    password_hash = None if password is None else hash_password(password, name=name)
    with open_database().begin() as connection:
        accounts.add(connection, _actor(), name, role, password_hash=password_hash)
    made = password if is_made else None
    _tell({"name": name, "role": role.value, "password": made}, made, as_json)
    people.print(f"{name} is there, as {role}.{_MADE if made else ''}")


@users_app.command("list")
def users_list(as_json: Json = False) -> None:
    """List the accounts."""
    from moderation.store import users

    with open_database().connect() as connection:
        found = users.list_all(connection)
    if as_json:
        print_document(
            [
                {
                    "name": one.user.name,
                    "role": one.user.role.value,
                    "created_at": one.user.created_at.isoformat(),
                    "disabled": one.user.disabled_at is not None,
                    "has_password": one.password_hash is not None,
                    "has_single_sign_on": one.oidc_subject is not None,
                }
                for one in found
            ]
        )
        return
    table = Table("name", "role", "made", "signs in by", "state", box=None, pad_edge=False)
    for one in found:
        ways = (
            "password" if one.password_hash else "",
            "single sign-on" if one.oidc_subject else "",
        )
        table.add_row(
            one.user.name,
            one.user.role,
            f"{one.user.created_at:%Y-%m-%d}",
            ", ".join(way for way in ways if way),
            "disabled" if one.user.disabled_at else "",
        )
    people.print(table)


@users_app.command("role")
def users_role(name: str, role: Role) -> None:
    """Change what somebody may do.

    It signs them out and ends their tokens.
    """
    from moderation.review import accounts

    with open_database().begin() as connection:
        accounts.set_role(connection, _actor(), name, role)
    people.print(f"{name} is {role} now.")


@users_app.command("password")
def users_password(name: str, password_stdin: PasswordStdin = False, as_json: Json = False) -> None:
    """Give somebody a new password.

    It signs them out and ends their tokens.
    """
    from moderation.review import accounts
    from moderation.review.passwords import hash_password

    engine = open_database()
    with engine.begin() as connection:
        accounts.existing(connection, name)
    password, is_made = _password(from_stdin=password_stdin)
    password_hash = hash_password(password, name=name)
    with engine.begin() as connection:
        accounts.set_password(connection, _actor(), name, password_hash)
    made = password if is_made else None
    _tell({"name": name, "password": made}, made, as_json)
    people.print(f"The password of {name} is changed.{_MADE if made else ''}")


@users_app.command("disable")
def users_disable(name: str) -> None:
    """Keep somebody out at once; what they decided stays."""
    from moderation.review import accounts

    with open_database().begin() as connection:
        accounts.set_disabled(connection, _actor(), name, disabled=True)
    people.print(f"{name} is signed out and stays out.")


@users_app.command("enable")
def users_enable(name: str) -> None:
    """Let somebody in again."""
    from moderation.review import accounts

    with open_database().begin() as connection:
        accounts.set_disabled(connection, _actor(), name, disabled=False)
    people.print(f"{name} can sign in again.")


@users_app.command("token")
def users_token(
    name: str,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it lasts.")] = 90,
    as_json: Json = False,
) -> None:
    """Make a bearer token for a tool that acts as this person. It is printed once."""
    from moderation.review import accounts
    from moderation.review.sign_in import open_session
    from moderation.store.sessions import Kind

    with open_database().begin() as connection:
        if accounts.existing(connection, name).user.disabled_at is not None:
            raise InputRefused(f"{name} is disabled; see `captionguard users enable`.")
        opened = open_session(
            connection, name, Kind.TOKEN, timedelta(days=days), _actor(), by="command line"
        )
    document = {"name": name, "token": opened.token, "expires_at": opened.expires_at.isoformat()}
    _tell(document, opened.token, as_json)
    people.print("Keep it now: only its hash is stored.")


def _password(*, from_stdin: bool) -> tuple[str, bool]:
    """The password that somebody gives, or one that is made here; whether it was made."""
    from moderation.review.passwords import new_password

    if from_stdin:
        # The line's end is of the shell that sent it; all else may be meant.
        return sys.stdin.readline().rstrip("\r\n"), False
    if sys.stdin.isatty():
        asked: str = typer.prompt(
            "Password", hide_input=True, confirmation_prompt="The same again", err=True
        )
        return asked, False
    return new_password(), True


def _tell(document: Mapping[str, str | None], secret: str | None, as_json: bool) -> None:
    if as_json:
        print_document(document)
    elif secret is not None:
        print(secret)  # noqa: T201 - the secret itself, for a script to take


def _actor() -> "Actor":
    from moderation.store.audit import Actor

    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = str(os.getuid())
    return Actor(f"cli:{who}")
