"""What tests of the log-in do again and again."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from sqlalchemy import select

from moderation.review import passwords
from moderation.store import users
from moderation.store.review_tables import audit_log
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api

PASSWORD = "correct horse battery"


def add_account(
    services: Services, name: str = "anna", role: Role = Role.MODERATOR, password: str = PASSWORD
) -> None:
    """An account with a password."""
    with services.database.begin() as connection:
        assert users.add(
            connection, name, role, password_hash=passwords.hash_password(password, name=name)
        )


@contextmanager
def a_browser(api: Api) -> Iterator[httpx.Client]:
    """Something with cookies that nobody has signed in with, and the account `anna`."""
    add_account(api.services)
    with httpx.Client(base_url=api.url, timeout=60, trust_env=False) as client:
        yield client


def log_in(
    client: httpx.Client, name: str = "anna", password: str = PASSWORD, **more: str
) -> httpx.Response:
    """Send the log-in form as a browser does."""
    origin = str(client.base_url).rstrip("/")
    form = {"name": name, "password": password, **more}
    return client.post("/review/login", data=form, headers={"Origin": origin})


def actions(services: Services) -> list[tuple[str, str, str | None]]:
    """Actor, action and subject of the audit log, oldest first."""
    columns = (audit_log.c.actor, audit_log.c.action, audit_log.c.subject)
    with services.database.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(audit_log.c.id))]
