"""Webhooks in a browser: without a script, with the keyboard, at any width."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from moderation.settings import Settings
from moderation.store.users import Role
from tests.browser.conftest import Seat
from tests.browser.contrast import FAINT
from tests.conftest import Api, eventually
from tests.integration.platform import (
    Platform,
    Reply,
    add_endpoint,
    delivering,
    judge,
    states,
)

Seated = Callable[..., Seat]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that let webhooks reach this machine."""
    return settings.model_copy(update={"webhook_allow_private": True, "webhook_timeout_s": 60.0})


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform that takes everything."""
    with Platform().serving() as running:
        yield running


def test_an_endpoint_from_its_first_day_to_its_last(
    api: Api, platform: Platform, seat: Seated
) -> None:
    """Added, tested, disabled by 410, enabled, replayed, removed: all without any script."""
    page = seat("ada", Role.ADMIN, java_script_enabled=False).open("/review/webhooks")
    expect(page.get_by_text("No platform is told yet.")).to_be_visible()
    page.get_by_label("Platform").fill("acme")
    page.get_by_label("URL").fill("https://me:hush@acme.example/")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("contains a user name or password")
    expect(page.get_by_label("URL")).to_have_value("https://me:hush@acme.example/")
    page.get_by_label("URL").fill(platform.url)
    page.get_by_role("button", name="Add", exact=True).click()
    secret = page.locator(".secret code").inner_text()
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("status")).to_contain_text("answered 204")
    assert page.get_by_text(secret).count() == 0
    assert platform.received[0].verified(secret)["type"] == "ping"
    platform.reply = lambda _: Reply(410)
    judge(api.services)
    with delivering(api.services):
        eventually(lambda: states(api.services) == {"failed": 1})
        page.goto("/review/webhooks")
        expect(page.get_by_label("Endpoint of acme")).to_contain_text("answered 410")
        platform.reply = lambda _: Reply()
        page.get_by_role("button", name="Enable").click()
        page.get_by_role("link", name="failed").click()
        expect(page.get_by_role("table")).to_contain_text("answered 410")
        page.get_by_role("button", name="Send delivery").click()
        eventually(lambda: states(api.services) == {"delivered": 1})
    page.goto("/review/webhooks?state=delivered")
    expect(page.get_by_role("table")).to_contain_text("verdict.created")
    page.get_by_text("Remove", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove it for good").click()
    expect(page.get_by_text("No platform is told yet.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 390])
def test_the_page_fits_and_can_be_read(
    api: Api, platform: Platform, seat: Seated, tmp_path: Path, width_px: int, scheme: str
) -> None:
    """Neither width scrolls sideways, also with long URLs; no text is faint."""
    services = api.services
    add_endpoint(
        services, f"{platform.url}/{'with-a-long-path/' * 12}?and=a-query", platform="news"
    )
    add_endpoint(services, platform.url)
    platform.reply = lambda got: Reply(410 if got.path == "/hook" else 204)
    judge(services, 2, platform="news")
    judge(services, 2)
    with delivering(services):
        eventually(lambda: states(services) == {"delivered": 2, "failed": 2})
    platform.reply = lambda _: Reply(503, body=b"later")
    judge(services, platform="news")
    with delivering(services):
        eventually(lambda: len(platform.received) >= 5)
    page = seat(
        "ada",
        Role.ADMIN,
        color_scheme=scheme,
        viewport={"width": width_px, "height": 844},
    ).open("/review/webhooks")
    page.get_by_label("Platform").fill("sports")
    page.get_by_label("URL").fill(f"{platform.url}/sports")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("Remove", exact=True).first.click()
    page.screenshot(path=tmp_path / f"webhooks-{scheme}-{width_px}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert page.evaluate(FAINT) == []
