"""The grid in a browser: many cases selected by keys or clicks, decided and undone together."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from moderation.settings import Settings
from moderation.store.cases import Route
from moderation.store.users import Role
from moderation.wiring import Services
from tests.browser.conftest import Seat
from tests.browser.contrast import FAINT
from tests.conftest import Api
from tests.integration.desk import a_picture, add_case, signed_in, state_of

CAPTIONS = (
    "a red ball",
    "كلب يركض على الشاطئ مع طفلين صغيرين",
    "a long sentence of many words " * 20,
    "W" * 300,
    "<b>not bold</b>",
    "",
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An undo time that a slow machine does not use up."""
    return settings.model_copy(update={"review_undo_s": 600.0})


def some_cases(services: Services, n: int) -> list[UUID]:
    """Open cases in the order of the grid, with captions of many scripts."""
    return [
        add_case(
            services,
            caption=CAPTIONS[i % len(CAPTIONS)],
            image=a_picture(("red", "green", "blue")[i % 3]),
            due_in=timedelta(seconds=i),
            route=Route.UNSCORABLE if i % 7 == 6 else Route.FLAGGED,
            score=None if i % 7 == 6 else i / 100,
        )
        for i in range(n)
    ]


def chosen(page: Page) -> list[int]:
    """The numbers of the selected cards."""
    found: list[int] = page.evaluate(
        "[...document.querySelectorAll('.card')]"
        ".flatMap((card, at) => card.getAttribute('aria-selected') === 'true' ? [at] : [])"
    )
    return found


@pytest.fixture
def grid(api: Api, seat: Callable[..., Seat]) -> tuple[list[UUID], Page]:
    """A grid of 20 cases, five or six in a row."""
    cases = some_cases(api.services, 20)
    page = seat("mo", viewport={"width": 1280, "height": 900}).open("/review/grid")
    return cases, page


def test_keys_alone_select_decide_and_undo(api: Api, grid: tuple[list[UUID], Page]) -> None:
    """Arrows move, space and shift select, x decides all of them at once, z takes all back."""
    cases, page = grid
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert chosen(page) == [0, 1, 2]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert chosen(page) == [0, 1, 2, 4]
    page.keyboard.press("Space")
    assert chosen(page) == [0, 1, 2]
    page.keyboard.press("x")
    expect(page.locator("#undo-all")).to_contain_text("3 cases decided: mismatch.")
    expect(page.locator("#spoken")).to_contain_text("3 cases decided: mismatch.")
    expect(page.locator('.card[aria-disabled="true"]')).to_have_count(3)
    rows = [state_of(api.services, case) for case in cases]
    assert [row["resolution"] for row in rows[:4]] == ["mismatch"] * 3 + [None]
    page.keyboard.press("z")
    expect(page.locator("#spoken")).to_contain_text("Undone: 3 cases back, and selected.")
    assert {state_of(api.services, case)["state"] for case in cases} == {"open"}
    assert chosen(page) == [0, 1, 2]
    page.keyboard.press("Escape")
    assert chosen(page) == []
    page.keyboard.press("a")
    assert chosen(page) == list(range(20))
    page.keyboard.press("m")
    expect(page.locator("#undo-all")).to_contain_text("20 cases decided: match.")
    assert {state_of(api.services, case)["resolution"] for case in cases} == {"match"}


def test_arrows_know_the_rows(grid: tuple[list[UUID], Page]) -> None:
    """Down goes to the card below, and does not leave the grid at its end."""
    _, page = grid
    columns = page.evaluate(
        "(cards => cards.filter(card => card.offsetTop === cards[0].offsetTop).length)"
        "([...document.querySelectorAll('.card')])"
    )
    assert 3 < columns < 10
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    assert chosen(page) == [columns + 1]
    for key in ("End", "ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    assert chosen(page) == [columns + 1, 19]
    page.keyboard.press("Escape")
    for key in ("Home", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert chosen(page) == list(range(columns + 1))


def test_clicks_select_and_two_batches_are_undone_one_by_one(
    api: Api, grid: tuple[list[UUID], Page]
) -> None:
    """A click selects one card, shift a range; z takes the last batch back, then the one before."""
    cases, page = grid
    cards = page.locator(".card")
    cards.nth(1).click()
    cards.nth(3).click(modifiers=["Shift"])
    assert chosen(page) == [1, 2, 3]
    page.get_by_role("button", name="Mismatch").click()
    expect(page.locator("#undo-all")).to_contain_text("3 cases decided: mismatch.")
    cards.nth(2).click(force=True)
    assert chosen(page) == []
    cards.nth(5).click()
    page.get_by_role("button", name="Unsure").click()
    expect(page.locator("#undo-all")).to_contain_text("1 case decided: unsure.")
    page.get_by_role("button", name="Undo all").click()
    expect(page.locator("#undo-all")).to_contain_text("3 cases decided: mismatch.")
    assert state_of(api.services, cases[5])["state"] == "open"
    page.get_by_role("button", name="Undo all").click()
    expect(page.locator("#undo-all")).to_be_hidden()
    assert {state_of(api.services, case)["state"] for case in cases} == {"open"}


def test_what_somebody_else_has_stays_marked_with_the_reason(
    api: Api, grid: tuple[list[UUID], Page]
) -> None:
    """Of those decided together, the one that another person took says so; the others are done."""
    cases, page = grid
    with signed_in(api, "ann") as ann:
        taken = ann.post("/v1/review/claims", json={"case_id": str(cases[1])})
        assert taken.status_code == 201
    for card in (0, 1, 2):
        page.locator(".card").nth(card).click()
    page.keyboard.press("m")
    expect(page.locator("#undo-all")).to_contain_text("2 cases decided: match.")
    expect(page.locator("#spoken")).to_contain_text("1 case not")
    refusal = page.locator(".card").nth(1).locator("[data-refusal]")
    expect(refusal).to_be_visible()
    assert len(refusal.inner_text()) > 10
    states = [state_of(api.services, case)["state"] for case in cases[:3]]
    assert states == ["resolved", "open", "resolved"]


def test_a_reason_is_asked_for_where_the_policy_wants_one(
    api: Api, seat: Callable[..., Seat]
) -> None:
    """Without a reason nothing is decided; its number decides; a policy without it is no part."""
    with signed_in(api, "lea", Role.LEAD) as lea:
        for policy, key in (("default", "spam"), ("memes", "old")):
            put = lea.put(
                f"/v1/review/reasons/{policy}",
                json={
                    "reasons": [{"key": key, "label": key.title()}, {"key": "odd", "label": "Odd"}],
                    "required_for": ["mismatch"],
                },
            )
            assert put.status_code < 300, put.text
    case = add_case(api.services)
    other = add_case(api.services, policy="memes", due_in=timedelta(seconds=9))
    page = seat("mo").open("/review/grid")
    page.locator(".card").nth(0).click()
    page.keyboard.press("x")
    expect(page.locator("#ask")).to_contain_text("Why mismatch?")
    assert state_of(api.services, case)["state"] == "open"
    page.keyboard.press("1")
    expect(page.locator("#undo-all")).to_contain_text("1 case decided: mismatch.")
    with api.services.database.connect() as connection:
        reasons = connection.exec_driver_sql("SELECT reason FROM decisions").scalars().all()
    assert reasons == ["spam"]
    page.keyboard.press("z")
    expect(page.locator("#spoken")).to_contain_text("Undone")
    page.locator(".card").nth(1).click()
    options = page.locator("#reason option").all_inner_texts()
    assert [option.rpartition("· ")[2] for option in options] == ["no reason", "Odd"]
    page.locator("#reason").select_option("odd")
    page.get_by_role("button", name="Mismatch").click()
    expect(page.locator("#undo-all")).to_contain_text("2 cases decided: mismatch.")
    assert {state_of(api.services, each)["state"] for each in (case, other)} == {"resolved"}


def test_nothing_is_lost_without_a_connection(grid: tuple[list[UUID], Page]) -> None:
    """A server that does not answer leaves the selection as it was, and says what to do."""
    _, page = grid
    page.keyboard.press("a")
    page.context.set_offline(True)
    page.keyboard.press("x")
    expect(page.locator("#problem")).to_contain_text("Your selection is kept: try again.")
    assert chosen(page) == list(range(20))
    page.context.set_offline(False)
    page.keyboard.press("x")
    expect(page.locator("#undo-all")).to_contain_text("20 cases decided: mismatch.")
    expect(page.locator("#problem")).to_be_hidden()


def test_images_are_hidden_until_asked_for(grid: tuple[list[UUID], Page]) -> None:
    """Blurred and grey by the person's setting; b shows them all, and hides them again."""
    _, page = grid
    look = "getComputedStyle(document.querySelector('.thumb img')).filter"
    assert page.evaluate(look) == "blur(9px) grayscale(1)"
    page.keyboard.press("b")
    assert page.evaluate(look) == "none"
    page.keyboard.press("b")
    assert page.evaluate(look) == "blur(9px) grayscale(1)"


def test_sixty_a_page_and_the_rest_on_the_next(api: Api, seat: Callable[..., Seat]) -> None:
    """The way from page to page keeps the filter."""
    some_cases(api.services, 62)
    page = seat("mo").open("/review/grid?policy=default")
    assert page.locator(".card").count() == 60
    page.get_by_role("link", name="Next 60").click()
    expect(page.locator(".card")).to_have_count(2)
    assert "policy=default" in page.url
    page.get_by_role("link", name="From the beginning").click()
    expect(page.locator(".card")).to_have_count(60)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 390])
def test_the_grid_is_readable(
    api: Api, seat: Callable[..., Seat], tmp_path: Path, scheme: str, width_px: int
) -> None:
    """Text has contrast and fits its width, selected or not; right-to-left captions run so."""
    some_cases(api.services, 14)
    page = seat("mo", color_scheme=scheme, viewport={"width": width_px, "height": 900}).open(
        "/review/grid"
    )
    page.keyboard.press("b")
    page.locator(".card").nth(1).click()
    page.locator(".card").nth(2).click()
    page.screenshot(path=tmp_path / f"grid-{scheme}-{width_px}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    assert page.evaluate(FAINT) == []
    sides = page.evaluate(
        "[...document.querySelectorAll('.words')].map(each => getComputedStyle(each).direction)"
    )
    assert sides[:2] == ["ltr", "rtl"]
    heights = page.evaluate(
        "[...document.querySelectorAll('.card .words')].map(each => each.clientHeight)"
    )
    assert len(set(heights)) == 1
