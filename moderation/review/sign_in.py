"""Signing in with a password. Nothing here tells whether the name or the password was wrong."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection

from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review import accounts, passwords
from moderation.review.limits import LoginLimit
from moderation.store import audit, sessions, users
from moderation.store.audit import Actor
from moderation.store.sessions import Kind, Opened, Session
from moderation.store.users import Credentials
from moderation.wiring import Services

# Each takes 64 MiB and four cores for a tenth of a second.
_HASHES_AT_ONCE = 2
_WAITING_AT_MOST = 100

_T = TypeVar("_T")


class WrongCredentials(InputRefused):
    """The name or the password is wrong, or the account has none or is disabled."""

    def __init__(self) -> None:
        super().__init__("Name or password is wrong.")


class SignIn:
    """The one door for passwords: few at a time, and few wrong ones."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.limit = LoginLimit(services.queue.redis, attempts=services.settings.login_attempts)
        self._lasts = timedelta(seconds=services.settings.session_s)
        # Threads of its own: those who wait here keep no thread from the rest of the API.
        self._threads = CapacityLimiter(_HASHES_AT_ONCE)

    async def by_password(
        self, name: str, password: str, *, address: str | None, kind: Kind
    ) -> Opened:
        """Open a session; raises `WrongCredentials` or `TooManyAttempts`."""
        return await self._run(lambda: self._by_password(name, password, address, kind))

    async def hash_password(self, password: str, *, name: str) -> str:
        """The hash of a new password; `InputRefused` for one that will not do."""
        return await self._run(lambda: passwords.hash_password(password, name=name))

    async def change_password(
        self, session: Session, old: str, new: str, *, address: str | None
    ) -> Opened | None:
        """Replace one's own password, which ends all one's sessions; a browser gets a new one."""
        return await self._run(lambda: self._change_password(session, old, new, address))

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._threads.statistics().tasks_waiting >= _WAITING_AT_MOST:
            raise ServiceUnavailable("Too many people sign in at this moment. Try again in a few.")
        return await to_thread.run_sync(work, limiter=self._threads)

    def _by_password(self, name: str, password: str, address: str | None, kind: Kind) -> Opened:
        name = name.strip().lower()
        proven = self._prove(name, password, address)
        fresh_hash = None
        if proven.password_hash and passwords.is_outdated(proven.password_hash):
            fresh_hash = passwords.rehash(password)
        with self._services.database.begin() as connection:
            _check_still_right(connection, proven, password)
            if fresh_hash is not None:
                users.set_password_hash(connection, name, fresh_hash)
            opened = open_session(
                connection, name, kind, self._lasts, Actor(name, address), by="password"
            )
        self.limit.succeeded(name)
        return opened

    def _change_password(
        self, session: Session, old: str, new: str, address: str | None
    ) -> Opened | None:
        name = session.user.name
        proven = self._prove(name, old, address)
        new_hash = passwords.hash_password(new, name=name)
        with self._services.database.begin() as connection:
            _check_still_right(connection, proven, old)
            accounts.set_password(connection, Actor(name, address), name, new_hash)
            opened = None
            if session.kind is Kind.BROWSER:
                opened = open_session(
                    connection, name, Kind.BROWSER, self._lasts, Actor(name, address), by="password"
                )
        self.limit.succeeded(name)
        return opened

    def _prove(self, name: str, password: str, address: str | None) -> Credentials:
        self.limit.begin(name, address)
        found = None
        if accounts.is_name(name):
            with self._services.database.connect() as connection:
                found = users.credentials(connection, name)
        is_right = passwords.is_right(found.password_hash if found else None, password)
        if found is not None and is_right and found.user.disabled_at is None:
            return found
        self.limit.failed(address)
        with self._services.database.begin() as connection:
            # Who is no account is not written down: people type passwords as names.
            subject = f"user:{found.user.name}" if found else None
            audit.record(connection, Actor("nobody", address), "session.failed", subject)
        raise WrongCredentials


def open_session(
    connection: Connection, name: str, kind: Kind, lasts: timedelta, actor: Actor, *, by: str
) -> Opened:
    """Open a session for somebody who has proven who they are, and write that down."""
    opened = sessions.open_session(connection, name, kind=kind, lasts=lasts)
    subject = f"session:{opened.session_id}"
    audit.record(connection, actor, "session.opened", subject, user=name, kind=kind, by=by)
    return opened


def end_session(services: Services, actor: Actor, session: Session) -> None:
    """Sign out, and write that down."""
    with services.database.begin() as connection:
        if sessions.end(connection, session.id, session.user.name):
            audit.record(connection, actor, "session.ended", f"session:{session.id}")


def _check_still_right(connection: Connection, proven: Credentials, password: str) -> None:
    """Raise `WrongCredentials` if the account was changed while its password was looked at.

    A hash of the same password with newer parameters, by another log-in, is no change.
    """
    now = users.credentials(connection, proven.user.name, lock=True)
    if now is None or now.user.disabled_at is not None:
        raise WrongCredentials
    if now.password_hash != proven.password_hash and not passwords.is_right(
        now.password_hash, password
    ):
        raise WrongCredentials
