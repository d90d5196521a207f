"""The system's Chromium, for pages that people look at."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from moderation.review.auth import COOKIE
from moderation.store import sessions
from moderation.store.sessions import Kind
from moderation.store.users import Role
from tests.conftest import Api
from tests.integration.desk import add_user


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a Chromium for the whole session."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        assert os.environ.get("CI") != "true", "CI must have chromium"
        pytest.skip("chromium is not installed")
    # A page of a busy machine may take longer than the usual 5 s; what never comes still fails.
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        # Whoever tests as root has no sandbox of the browser; the pages are our own.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Seat:
    """Somebody's place at the desk: a signed-in browser whose pages have to be quiet.

    `noise` is what a page said on its console, but for requests that failed: those belong to what
    is tested, and to what the page shows.
    """

    def __init__(self, browser: Browser, api: Api, name: str, role: Role, **options: Any) -> None:
        add_user(api.services, name, role)
        self._api, self._name = api, name
        self.noise: list[str] = []
        self.context = browser.new_context(base_url=api.url, **options)
        self.sign_in()
        self.context.on("console", lambda message: self._hear(message.text))
        self.context.on("weberror", lambda error: self._hear(str(error.error)))

    def sign_in(self) -> None:
        """Give the browser a fresh session, as the log-in does."""
        with self._api.services.database.begin() as connection:
            opened = sessions.open_session(
                connection, self._name, kind=Kind.BROWSER, lasts=timedelta(hours=1)
            )
        self.context.add_cookies([{"name": COOKIE, "value": opened.token, "url": self._api.url}])

    def _hear(self, text: str) -> None:
        if not text.startswith("Failed to load resource"):
            self.noise.append(text)

    def open(self, path: str = "/review") -> Page:
        """A new page of the desk."""
        page = self.context.new_page()
        page.goto(path)
        return page


@contextmanager
def seats(browser: Browser, api: Api) -> Iterator[Callable[..., Seat]]:
    """Seat people at a desk; afterwards no page may have made noise."""
    taken: list[Seat] = []

    def seat(name: str, role: Role = Role.MODERATOR, **options: Any) -> Seat:
        taken.append(Seat(browser, api, name, role, **options))
        return taken[-1]

    yield seat
    for each in taken:
        each.context.close()
        assert each.noise == []


@pytest.fixture
def seat(browser: Browser, api: Api) -> Iterator[Callable[..., Seat]]:
    """Seat people at the desk of the running API."""
    with seats(browser, api) as seat:
        yield seat
