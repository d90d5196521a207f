"""Signing in, settings and people in a browser: by keyboard, without a script, at any width."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from moderation.review import passwords
from moderation.store import users
from moderation.store.users import Role
from tests.browser.conftest import Seat
from tests.browser.contrast import FAINT
from tests.conftest import Api
from tests.integration.desk import add_user

Seated = Callable[..., Seat]
PASSWORD = "correct horse battery"


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_somebody_signs_in_by_keyboard(
    browser: Browser, api: Api, java_script_enabled: bool
) -> None:
    """A browser's own forms pass the checks: signed in, sent on, password changed, signed out."""
    with api.services.database.begin() as connection:
        hashed = passwords.hash_password(PASSWORD, name="anna")
        users.add(connection, "anna", Role.LEAD, password_hash=hashed)
    context = browser.new_context(base_url=api.url, java_script_enabled=java_script_enabled)
    page = context.new_page()
    page.goto("/review/settings")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type("a wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    expect(page.get_by_label("Name")).to_have_value("anna")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{api.url}/review/settings")
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Lax", -1)
    page.get_by_label("Blur images").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    expect(page.get_by_label("Blur images")).not_to_be_checked()
    page.get_by_label("Password until now").fill(PASSWORD)
    page.get_by_label("New password at least").fill("an entirely other one")
    page.get_by_label("New password again").fill("an entirely other one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Your password is changed")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    # The page before is not kept anywhere for whoever sits down next.
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_a_form_of_a_page_that_was_left_open_says_what_to_do(api: Api, seat: Seated) -> None:
    """Sent after signing out elsewhere, a form changes nothing and leads to the log-in."""
    mine = seat("anna", java_script_enabled=False)
    page, other = mine.open("/review/settings"), mine.open("/review/settings")
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Blur images").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You were signed out.")).to_be_visible()
    with api.services.database.connect() as connection:
        found = users.find(connection, "anna")
    assert found is not None
    assert found.blur


def test_an_admin_adds_somebody(seat: Seated) -> None:
    """Without a script: added with a password to hand over, promoted, disabled."""
    page = seat("ada", Role.ADMIN, java_script_enabled=False).open("/review/people")
    page.get_by_role("textbox", name="Name").fill("Bert")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("lower-case letters")
    page.get_by_role("textbox", name="Name").fill("bert")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("The password of bert")
    page.get_by_label("Role of bert", exact=True).select_option("lead")
    page.get_by_role("button", name="Set the role of bert").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="bert"))
    expect(row.get_by_role("cell").first).to_have_text("lead")
    page.get_by_role("button", name="Disable bert").click()
    expect(row.get_by_role("cell").first).to_have_text("lead disabled")
    page.get_by_role("button", name="Enable bert").click()
    expect(row.get_by_role("cell").first).to_have_text("lead")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_they_can_be_read(
    browser: Browser, api: Api, seat: Seated, tmp_path: Path, width: int, scheme: str
) -> None:
    """At both widths, light and dark: nothing sticks out sideways, every text has contrast."""
    add_user(api.services, "a-colleague-with-a-rather-long-name@example.org", Role.LEAD)
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    ada = seat("ada", Role.ADMIN, **options)
    nobody = browser.new_context(base_url=api.url, **options)
    login = nobody.new_page()
    login.goto("/review/login")
    login.get_by_label("Name").fill("anna")
    login.get_by_label("Password").fill("a wrong password")
    login.keyboard.press("Enter")
    people = ada.open("/review/people")
    people.get_by_role("textbox", name="Name").fill("carla")
    people.get_by_role("button", name="Add", exact=True).click()
    pages = {"login": login, "people": people, "settings": ada.open("/review/settings")}
    for name, page in pages.items():
        page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, name
        assert page.evaluate(FAINT) == [], name
    # Nothing that an admin presses, and not where they are, has to be pushed into view first.
    here = people.get_by_role("navigation").get_by_role("link", name="Webhooks")
    for each in (here, people.get_by_role("button", name="Disable carla")):
        box = each.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
    nobody.close()
