"""Accounts: made and changed by admins, at the desk or at the command line.

Each change is written to the audit log in its own transaction, and what takes rights away ends
the person's sessions in the same one: nobody works on with what they no longer may.
"""

import re

from sqlalchemy import Connection

from moderation.errors import InputRefused
from moderation.review import passing_on
from moderation.store import audit, sessions, users
from moderation.store.audit import Actor
from moderation.store.users import Credentials, Role

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
NAME_RULE = "lower-case letters, digits and . _ @ + -, at most 64, beginning with a letter or digit"


class NoSuchAccount(InputRefused):
    """There is no account of that name."""


class AccountExists(InputRefused):
    """There is an account of that name already."""


class WouldLockOut(InputRefused):
    """Afterwards no admin could sign in, or not the one who asks."""


def is_name(name: str) -> bool:
    """Whether an account can be called so."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise `InputRefused` for what cannot name a person."""
    if not is_name(name):
        raise InputRefused(f"A name has {NAME_RULE}.", field="name")


def add(
    connection: Connection, actor: Actor, name: str, role: Role, *, password_hash: str | None
) -> None:
    """Make an account; without a password its owner comes by single sign-on or with a token."""
    check_name(name)
    if not users.add(connection, name, role, password_hash=password_hash):
        raise AccountExists(f"There is an account {name} already; change that one.", field="name")
    audit.record(
        connection, actor, "user.added", f"user:{name}", role=role, password=bool(password_hash)
    )


def set_role(connection: Connection, actor: Actor, name: str, role: Role) -> None:
    """Let somebody do more or less; who does the same afterwards stays signed in."""
    user = existing(connection, name).user
    if user.role is role:
        return
    users.set_role(connection, name, role)
    if not role.may(user.role):
        passing_on.give_up(connection, actor, name)
    ended = sessions.end_all(connection, name)
    _changed(connection, actor, name, role=role, before=user.role, ended=ended)


def set_password(connection: Connection, actor: Actor, name: str, password_hash: str) -> None:
    """Replace a password, which ends all sessions."""
    existing(connection, name)
    users.set_password_hash(connection, name, password_hash)
    _changed(connection, actor, name, password="changed", ended=sessions.end_all(connection, name))  # noqa: S106 - says that it was


def set_disabled(connection: Connection, actor: Actor, name: str, *, disabled: bool) -> None:
    """Keep somebody out at once, or let them in again."""
    user = existing(connection, name).user
    if (user.disabled_at is not None) is disabled:
        return
    users.set_disabled(connection, name, disabled=disabled)
    if disabled:
        passing_on.give_up(connection, actor, name)
    ended = sessions.end_all(connection, name)
    _changed(connection, actor, name, disabled=disabled, ended=ended)


def check_is_admin(connection: Connection, name: str) -> None:
    """Raise `WouldLockOut` if somebody is no admin any more; no admin changes until the end.

    Who takes an admin's rights is an admin and stays one, so one is always left: two who take
    each other's at the same time wait here, and the second is none any more.
    """
    if name not in users.lock_admins(connection):
        raise WouldLockOut("You are no admin any more. Another admin can tell you why.")


def check_not_own(name: str, *, asks: str) -> None:
    """Raise `WouldLockOut` if it is the account of the one who asks."""
    if name == asks:
        raise WouldLockOut(
            "Your own rights are for another admin to take; your password is changed in your "
            "settings."
        )


def existing(connection: Connection, name: str) -> Credentials:
    """The person of that name, kept as they are until the transaction ends."""
    found = users.credentials(connection, name, lock=True) if is_name(name) else None
    if found is None:
        raise NoSuchAccount("There is no account of that name; see the list.", field="name")
    return found


def _changed(connection: Connection, actor: Actor, name: str, **details: object) -> None:
    audit.record(connection, actor, "user.changed", f"user:{name}", **details)
