"""Whose turn a case is: leases, tabs, leaving, and passing on, in a browser."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import func, select, update

from moderation.store.review_tables import claims, decisions
from moderation.store.users import Role
from moderation.wiring import Services
from tests.browser.conftest import seats
from tests.browser.steps import (
    Seated,
    add_queue,
    allow_any_reason,
    answers,
    case_of,
    claimed,
    press,
)
from tests.conftest import Api, eventually, serve_api
from tests.integration.desk import signed_in, state_of


def test_a_lease_that_ran_out_is_told_and_nothing_typed_is_lost(
    browser: Browser, services: Services
) -> None:
    """Who was cut off for too long is told, keeps the text, and may try again or go on."""
    hasty = replace(services, settings=services.settings.model_copy(update={"review_lease_s": 1}))
    allow_any_reason(services)
    first, *_ = add_queue(services, 3)
    with serve_api(hasty) as api, seats(browser, api) as seat:
        someone = seat("amina")
        page = someone.open()
        expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
        page.locator("#note").fill("half a thought")
        someone.context.set_offline(True)
        with signed_in(api, "berta") as berta:
            taken = []
            eventually(lambda: _claim(berta, taken))
            with services.database.begin() as connection:
                connection.execute(
                    update(claims).values(expires_at=func.now() + timedelta(hours=1))
                )
            someone.context.set_offline(False)
            expect(page.locator("#notice")).to_contain_text("ran out")
            expect(page.locator("#actions")).to_be_hidden()
            expect(page.locator("#note")).to_have_value("half a thought")
            page.screenshot(path=f"{services.settings.data_dir.parent}/lease-ran-out.png")
            press(page, "t")
            expect(page.locator("#notice")).to_contain_text("Somebody else has this case")
            for case in taken:
                berta.post(f"/v1/review/claims/{case['claim']['id']}/release").raise_for_status()
        press(page, "t")
        expect(page.locator("#actions")).to_be_visible()
        expect(page.locator("#note")).to_have_value("half a thought")
        press(page, "m")
        eventually(lambda: answers(services) == {first: ["match"]})
        with services.database.connect() as connection:
            assert connection.execute(select(decisions.c.note)).scalar_one() == "half a thought"


@pytest.mark.parametrize("is_coming", [False, True])
def test_a_page_that_is_open_keeps_its_cases(
    browser: Browser, services: Services, is_coming: bool
) -> None:
    """Heartbeats hold the case that is shown and the next one, also while its image comes."""
    hasty = replace(services, settings=services.settings.model_copy(update={"review_lease_s": 1}))
    _, second = add_queue(services, 2)
    with serve_api(hasty) as api, seats(browser, api) as seat, signed_in(api, "berta") as berta:
        page = seat("amina").context.new_page()
        if is_coming:
            _hold_image(page, second)
        page.goto("/review")
        expect(page.locator("article.case")).to_be_visible()
        eventually(lambda: bool(page.wait_for_timeout(20)) or len(claimed(services)) == 2)
        page.wait_for_timeout(2000)
        assert berta.post("/v1/review/claims", json={}).status_code == 204
        expect(page.locator("#actions")).to_be_visible()


def _claim(berta: httpx.Client, taken: list[Any]) -> bool:
    """Try to claim; whether the first case, whose lease ran out, has been taken over."""
    answer = berta.post("/v1/review/claims", json={})
    if answer.status_code == 201:
        taken.append(answer.json())
    return len(taken) == 3


def test_two_browsers_on_one_queue(api: Api, seat: Seated) -> None:
    """Of two people who decide at once every case is decided once, and none is left."""
    allow_any_reason(api.services)
    made = add_queue(api.services, 12)
    pages = [seat(name).open() for name in ("amina", "berta")]
    by: dict[UUID, int] = {}
    while any(page.locator("article.case").count() for page in pages) or len(by) < 12:
        for number, page in enumerate(pages):
            if page.locator("article.case").count() == 0:
                page.evaluate("dispatchEvent(new Event('focus'))")
                page.wait_for_timeout(50)
                continue
            shown = case_of(page)
            assert shown not in by
            by[shown] = number
            press(page, "xm"[number])
            expect(page.locator(f'article[data-case="{shown}"]')).to_have_count(0)
    eventually(lambda: len(answers(api.services)) == 12)
    assert answers(api.services) == {case: [["mismatch", "match"][by[case]]] for case in made}
    assert set(by.values()) == {0, 1}


def test_two_tabs_of_one_person_get_different_cases(api: Api, seat: Seated) -> None:
    """Tabs are told apart by their claims: what one shows or prefetched, the other does not get."""
    add_queue(api.services, 4)
    someone = seat("amina")
    shown = set()
    for page in (someone.open(), someone.open()):
        expect(page.locator("article.case")).to_be_visible()
        page.wait_for_load_state("networkidle")
        shown.add(case_of(page))
    assert len(shown) == 2
    eventually(lambda: len(claimed(api.services)) == 4)


def test_leaving_gives_back_what_was_claimed(api: Api, seat: Seated) -> None:
    """When the page is closed, its case and the prefetched one are free for others at once."""
    add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len(claimed(api.services)) == 2
    page.close(run_before_unload=True)
    eventually(lambda: claimed(api.services) == {})


def test_leaving_gives_back_a_case_whose_image_is_still_coming(api: Api, seat: Seated) -> None:
    """Also what is claimed and not shown yet is free for others, and nothing more is claimed."""
    _, second, _ = add_queue(api.services, 3)
    page = seat("amina").context.new_page()
    _open_with(_hold_image(page, second), page)
    page.goto("/review/mine")
    eventually(lambda: claimed(api.services) == {})
    page.wait_for_timeout(500)
    assert _claims_made(api.services) == 2


def test_a_page_on_its_way_out_claims_nothing_more(api: Api, seat: Seated) -> None:
    """Nobody would get the answer, and the case would be nobody's until its lease ran out."""
    _, second, _ = add_queue(api.services, 3)
    page = seat("amina").context.new_page()
    coming = _hold_image(page, second)
    _open_with(coming, page)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    eventually(lambda: claimed(api.services) == {})
    with page.expect_response(f"**/cases/{second}/image"):
        coming[0].continue_()
    page.wait_for_timeout(500)
    assert _claims_made(api.services) == 2


def test_who_goes_away_is_shown_nothing_that_comes_late(api: Api, seat: Seated) -> None:
    """A case whose image was still coming is given back as well, and does not end the pause."""
    (first,) = add_queue(api.services, 1)
    page = seat("amina").context.new_page()
    page.clock.install()
    page.goto("/review")
    expect(page.locator("article.case")).to_be_visible()
    page.clock.run_for(595_000)
    (second,) = add_queue(api.services, 1)
    coming = _hold_image(page, second)
    page.evaluate("dispatchEvent(new Event('focus'))")
    eventually(lambda: bool(page.wait_for_timeout(20)) or len(coming) == 1)
    page.clock.run_for(6_000)
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    eventually(lambda: claimed(api.services) == {})
    with page.expect_response(f"**/cases/{second}/image"):
        coming[0].continue_()
    page.wait_for_timeout(300)
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()


def test_a_case_is_shown_whose_image_does_not_come(api: Api, seat: Seated) -> None:
    """After ten seconds people see the caption, and may decide."""
    (made,) = add_queue(api.services, 1)
    page = seat("amina").context.new_page()
    page.clock.install()
    _open_with(_hold_image(page, made), page)
    expect(page.locator("#loading")).to_be_visible()
    page.clock.run_for(10_500)
    expect(page.locator(f'article[data-case="{made}"]')).to_be_visible()
    expect(page.locator("#actions")).to_be_visible()


def _claims_made(services: Services) -> int:
    """How many claims were ever made, also those that have ended."""
    with services.database.connect() as connection:
        return connection.execute(select(func.count()).select_from(claims)).scalar_one()


def _open_with(coming: list[Route], page: Page) -> None:
    """Open the desk, and wait until the image that is held has been asked for."""
    page.goto("/review")
    eventually(lambda: bool(page.wait_for_timeout(20)) or len(coming) == 1)


def _hold_image(page: Page, case: UUID) -> list[Route]:
    """Keep a case's image from the page; the requests for it."""
    coming: list[Route] = []
    page.route(f"**/cases/{case}/image", lambda route: coming.append(route))
    return coming


def test_who_leaves_at_once_has_decided(api: Api, seat: Seated) -> None:
    """A decision is made by its key, also when the page is left in the same moment."""
    allow_any_reason(api.services)
    first, _ = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(230)
    page.evaluate(
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'x', code: 'KeyX'}));"
        "location.href = '/review/mine'"
    )
    page.wait_for_url("**/mine")
    eventually(lambda: answers(api.services) == {first: ["mismatch"]})
    eventually(lambda: claimed(api.services) == {})


def test_an_empty_desk_looks_again(api: Api, seat: Seated) -> None:
    """Where nothing waits, the page says so, and shows the next case when there is one."""
    someone = seat("amina")
    page = someone.context.new_page()
    page.clock.install()
    page.goto("/review")
    expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
    (made,) = add_queue(api.services, 1)
    page.clock.run_for(10_500)
    expect(page.locator(f'article[data-case="{made}"]')).to_be_visible()


def test_who_goes_away_keeps_nothing_from_others(api: Api, seat: Seated) -> None:
    """A page that nobody touches gives its cases back, and goes on where it was with one key."""
    (made,) = add_queue(api.services, 1)
    page = seat("amina").context.new_page()
    page.clock.install()
    page.goto("/review")
    expect(page.locator("article.case")).to_be_visible()
    page.locator("#note").fill("to be continued")
    page.clock.run_for(601_000)
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    eventually(lambda: claimed(api.services) == {})
    page.keyboard.press("c")
    expect(page.locator(f'article[data-case="{made}"]')).to_be_visible()
    expect(page.locator("#note")).to_have_value("to be continued")


def test_a_held_case_waits_under_mine(api: Api, seat: Seated) -> None:
    """What is held with h is listed under Mine and nowhere else, and is decided from there."""
    allow_any_reason(api.services)
    first, second = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.locator("#note").fill("ask the platform")
    page.keyboard.press("Escape")
    press(page, "h")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: state_of(api.services, first)["state"] == "held")
    page.goto("/review/mine")
    expect(page.get_by_text("ask the platform")).to_be_visible()
    page.get_by_role("link", name="Take it").press("Enter")
    expect(page.locator("#actions")).to_be_visible()
    assert case_of(page) == first
    press(page, "m")
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    eventually(lambda: answers(api.services) == {first: ["match"]})
    page.keyboard.press("z")
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    eventually(lambda: answers(api.services) == {})


def test_a_skipped_case_goes_to_somebody_else(api: Api, seat: Seated) -> None:
    """What is skipped with s never comes back to the same person, but to the next one."""
    first, second = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    press(page, "s")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    press(page, "s")
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    eventually(lambda: claimed(api.services) == {})
    page.reload()
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    expect(seat("berta").open().locator(f'article[data-case="{first}"]')).to_be_visible()


def test_a_case_is_assigned_to_a_lead(api: Api, seat: Seated) -> None:
    """With a and a name a case goes to that person, whose next case it is."""
    first, second = add_queue(api.services, 2)
    lead = seat("lena", Role.LEAD)
    page = seat("amina").open()
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    press(page, "a")
    expect(page.locator("#people option")).to_have_count(2)
    expect(page.locator("#assign")).to_contain_text("To a lead, or to yourself.")
    page.keyboard.type("lena")
    page.keyboard.press("Enter")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: state_of(api.services, first)["assigned_to"] == "lena")
    expect(lead.open().locator(f'article[data-case="{first}"]')).to_be_visible()
    press(page, "a")
    page.keyboard.type("nobody")
    page.keyboard.press("Enter")
    expect(page.locator("#returned")).to_contain_text("was not taken for the case “")
    expect(page.locator("#returned")).to_contain_text("”: there is nobody of that name")
