"""The case page in a browser: decided by keyboard, undone, kept when things go wrong."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import func, insert, select, text, update

from moderation.demo.posts import encode, sample_pair
from moderation.store import sessions, users
from moderation.store.cases import Route as CaseRoute
from moderation.store.review_tables import claims, decisions, policy_reasons
from moderation.store.users import Role
from moderation.wiring import Services
from tests.browser.conftest import Seat, seats
from tests.conftest import Api, eventually, serve_api
from tests.integration.desk import a_picture, add_case, signed_in, state_of

Seated = Callable[..., Seat]

# From a key to the frame in which the next case is painted, measured by the browser itself.
_STOPWATCH = """
let pressed = 0;
window.swaps = [];
addEventListener('keydown', () => { pressed = performance.now(); }, true);
addEventListener('DOMContentLoaded', () => {
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(() => {
    if (pressed && document.querySelector('article.case')) swaps.push(performance.now() - pressed);
    pressed = 0;
  }))).observe(document.getElementById('slot'), { childList: true });
});
"""


def add_queue(services: Services, count: int, **options: Any) -> list[UUID]:
    """Cases with drawn scenes and their captions."""
    rng = Random(5)  # noqa: S311 - scenes, not secrets
    made = []
    for number in range(count):
        pair = sample_pair(rng, None, held_out=False)
        caption = f"{number}: {pair.caption}"
        made.append(add_case(services, caption=caption, image=encode(pair.scene, 512), **options))
    return made


def case_of(page: Page) -> UUID:
    """The case that is shown."""
    shown = page.locator("article.case").get_attribute("data-case")
    assert shown is not None
    return UUID(shown)


def press(page: Page, key: str) -> None:
    """Press a key when a person could have: not before the case was there to be seen."""
    page.wait_for_timeout(230)
    page.keyboard.press(key)


def answers(services: Services) -> dict[UUID, list[str]]:
    """What was decided of each case and stands, in order."""
    found: dict[UUID, list[str]] = {}
    with services.database.connect() as connection:
        rows = connection.execute(
            text("SELECT case_id, answer FROM standing_decisions ORDER BY created_at, id")
        )
        for case_id, answer in rows:
            found.setdefault(case_id, []).append(answer)
    return found


def claimed(services: Services) -> dict[UUID, str]:
    """Who has which case."""
    with services.database.connect() as connection:
        rows = connection.execute(
            select(claims.c.case_id, claims.c.user_name).where(claims.c.ended_at.is_(None))
        )
        return {row.case_id: row.user_name for row in rows}


def allow_any_reason(services: Services) -> None:
    """No answer needs a reason."""
    set_reasons(services, required_for=[])


def set_reasons(services: Services, required_for: list[str]) -> None:
    """The default policy has two reasons, needed for these answers."""
    reasons = [{"key": "wrong", "label": "Wrong subject"}, {"key": "spam", "label": "Spam"}]
    with services.database.begin() as connection:
        connection.execute(
            insert(policy_reasons).values(
                policy="default", reasons=reasons, required_for=required_for
            )
        )


def test_twenty_cases_by_keyboard_alone(
    api: Api, seat: Seated, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty cases are decided by single keys, each once and as pressed, without a pointer."""
    made = add_queue(api.services, 20)
    keys = {"x": "mismatch", "m": "match", "u": "unsure", "e": "escalate"}
    someone = seat("amina")
    someone.context.add_init_script(_STOPWATCH)
    page = someone.open()
    wanted = {}
    began_ms = page.evaluate("performance.now()")
    for number in range(20):
        key = "xmue"[number % 4]
        expect(page.locator("article.case")).to_be_visible()
        shown = case_of(page)
        wanted[shown] = [keys[key]]
        press(page, key)
        expect(page.locator(f'article[data-case="{shown}"]')).to_have_count(0)
    took_ms = page.evaluate("performance.now()") - began_ms
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    swaps = sorted(page.evaluate("swaps"))
    median_ms = swaps[len(swaps) // 2]
    with capsys.disabled():
        sys.stdout.write(
            f"\ntwenty cases in {took_ms / 1000:.1f} s; from a key to the next case painted: "
            f"median {median_ms:.0f} ms, longest {swaps[-1]:.0f} ms\n"
        )
    eventually(lambda: answers(api.services) == wanted)
    assert sorted(wanted) == sorted(made)


def test_the_next_case_does_not_wait_for_the_network(api: Api, seat: Seated) -> None:
    """With an answer that takes its time, the next case is there before it, image and all."""
    add_queue(api.services, 3)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    held: list[Route] = []
    page.route("**/decision", lambda route: held.append(route))
    first = case_of(page)
    press(page, "m")
    expect(page.locator(f'article[data-case="{first}"]')).to_have_count(0)
    expect(page.locator("#image")).to_be_visible()
    assert page.evaluate("document.getElementById('image').naturalWidth") == 512
    assert len(held) == 1
    assert answers(api.services) == {}
    held[0].continue_()
    eventually(lambda: answers(api.services) == {first: ["match"]})


def test_undo_brings_the_case_back_as_it_was(api: Api, seat: Seated) -> None:
    """Undone within its time, the case is back with reason and note; the next one waits on."""
    set_reasons(api.services, required_for=["mismatch"])
    first, second = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    page.keyboard.press("2")
    page.keyboard.press("n")
    page.keyboard.type("mumble x")
    page.keyboard.press("Escape")
    press(page, "x")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    expect(page.locator("#undo")).to_contain_text("Decided: mismatch.")
    page.keyboard.press("z")
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    expect(page.locator("#note")).to_have_value("mumble x")
    expect(page.locator('input[value="spam"]')).to_be_checked()
    assert answers(api.services) == {}
    press(page, "m")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: answers(api.services) == {first: ["match"]})


def test_a_reason_is_asked_for_where_it_is_needed(api: Api, seat: Seated) -> None:
    """Without its reason a mismatch is not sent: the page asks, and one digit completes it."""
    set_reasons(api.services, required_for=["mismatch"])
    first, second = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    press(page, "x")
    expect(page.locator("#ask")).to_have_text(
        "Why mismatch? Press 1 to 2 for a reason; Esc leaves it open."
    )
    assert page.evaluate("document.activeElement.name") == "reason"
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "question"
    press(page, "x")
    page.keyboard.press("1")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: answers(api.services) == {first: ["mismatch"]})
    with api.services.database.connect() as connection:
        assert connection.execute(select(decisions.c.reason)).scalar_one() == "wrong"


def test_keys_act_only_when_they_are_meant(api: Api, seat: Seated) -> None:
    """No key acts while somebody types, with a modifier, held down, or when switched off."""
    allow_any_reason(api.services)
    first, second = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_timeout(230)
    page.keyboard.press("n")
    page.keyboard.type("x m u e s h z 1 ?")
    expect(page.locator("#note")).to_have_value("x m u e s h z 1 ?")
    page.keyboard.press("Escape")
    for key in ("Control+x", "Alt+m", "Meta+u"):
        page.keyboard.press(key)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'x', repeat: true}))")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("m")
    page.get_by_label("Single keys decide").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("m")
    page.reload()
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    expect(page.locator("#note")).to_have_value("x m u e s h z 1 ?")
    expect(page.locator("#actions kbd").first).to_be_hidden()
    press(page, "m")
    assert answers(api.services) == {}
    page.get_by_role("button", name="Match", exact=True).press("Enter")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: answers(api.services) == {first: ["match"]})


def test_keys_of_other_scripts_act_by_their_place(api: Api, seat: Seated) -> None:
    """On a Cyrillic or Arabic keyboard the key at the place of x means mismatch."""
    allow_any_reason(api.services)
    (first,) = add_queue(api.services, 1)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_timeout(230)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ч', code: 'KeyX'}))")
    eventually(lambda: answers(api.services) == {first: ["mismatch"]})


def test_a_second_press_in_one_movement_is_no_decision(api: Api, seat: Seated) -> None:
    """What is pressed before anybody can have seen the next case does not decide it."""
    allow_any_reason(api.services)
    first, second = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(230)
    page.evaluate(
        "for (const _ of [1, 2]) "
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'x', code: 'KeyX'}))"
    )
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: answers(api.services) == {first: ["mismatch"]})
    assert case_of(page) == second


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


def test_a_page_that_is_open_keeps_its_cases(browser: Browser, services: Services) -> None:
    """Heartbeats hold both the case that is shown and the one that comes next."""
    hasty = replace(services, settings=services.settings.model_copy(update={"review_lease_s": 1}))
    add_queue(services, 2)
    with serve_api(hasty) as api, seats(browser, api) as seat, signed_in(api, "berta") as berta:
        page = seat("amina").open()
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


def test_without_a_network_decisions_are_kept(api: Api, seat: Seated) -> None:
    """What is decided while nothing gets through is shown as unsent, and sent when it can be."""
    allow_any_reason(api.services)
    first, second, _ = add_queue(api.services, 3)
    someone = seat("amina")
    page = someone.open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    someone.context.set_offline(True)
    press(page, "x")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    expect(page.locator("#unsent")).to_contain_text("1 decision is not sent yet")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    eventually(lambda: bool(page.wait_for_timeout(20) or asked))
    assert asked == ["beforeunload"]
    assert answers(api.services) == {}
    someone.context.set_offline(False)
    expect(page.locator("#unsent")).to_be_hidden()
    eventually(lambda: answers(api.services) == {first: ["mismatch"]})


def test_an_answer_that_gets_lost_is_asked_for_again(api: Api, seat: Seated) -> None:
    """Where the decision came through and its answer did not, sending it again decides once."""
    allow_any_reason(api.services)
    first, _ = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    tries: list[int] = []

    def lose_the_first(route: Route) -> None:
        answer = route.fetch()
        tries.append(answer.status)
        if len(tries) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route("**/decision", lose_the_first)
    press(page, "m")
    expect(page.locator("#unsent")).to_be_visible()
    expect(page.locator("#unsent")).to_be_hidden()
    assert tries == [200, 200]
    assert answers(api.services) == {first: ["match"]}
    expect(page.locator("#returned")).to_be_hidden()


def test_who_was_signed_out_loses_no_decision(api: Api, seat: Seated) -> None:
    """A decision waits for the log-in, which can happen in another tab, and goes through then."""
    allow_any_reason(api.services)
    first, _ = add_queue(api.services, 2)
    someone = seat("amina")
    page = someone.open()
    expect(page.locator("article.case")).to_be_visible()
    with api.services.database.begin() as connection:
        sessions.end_all(connection, "amina")
    press(page, "m")
    expect(page.locator("#unsent")).to_contain_text("You are signed out")
    expect(page.locator("#unsent").get_by_role("link", name="Sign in")).to_be_visible()
    assert answers(api.services) == {}
    someone.sign_in()
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.locator("#unsent")).to_be_hidden()
    assert answers(api.services) == {first: ["match"]}


def test_a_decision_that_comes_too_late_brings_its_case_back(api: Api, seat: Seated) -> None:
    """A decision that is refused is told of, and its case can be looked at with what was typed."""
    allow_any_reason(api.services)
    first, second, _ = add_queue(api.services, 3)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.locator("#note").fill("a long explanation")
    page.keyboard.press("Escape")
    with api.services.database.begin() as connection:
        connection.execute(
            update(claims)
            .where(claims.c.case_id == first)
            .values(ended_at=func.now(), ending="expired")
        )
    press(page, "x")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    expect(page.locator("#returned")).to_contain_text("was not taken")
    press(page, "r")
    expect(page.locator(f'article[data-case="{first}"]')).to_be_visible()
    expect(page.locator("#notice")).to_contain_text("ran out")
    expect(page.locator("#note")).to_have_value("a long explanation")
    press(page, "t")
    expect(page.locator("#actions")).to_be_visible()
    expect(page.locator("#note")).to_have_value("a long explanation")
    press(page, "m")
    expect(page.locator(f'article[data-case="{second}"]')).to_be_visible()
    eventually(lambda: answers(api.services) == {first: ["match"]})


def test_captions_do_nothing_but_be_read(api: Api, seat: Seated) -> None:
    """Markup is text, what hides or reorders letters is named, lines and directions are kept."""
    allow_any_reason(api.services)
    evil = (
        "<script>document.title='x'</script>\"><img src=x onerror=alert(1)>\nfdp.\u202egnp\u200b!"
    )
    add_case(api.services, caption=evil)
    add_case(api.services, caption="\u0643\u0644\u0628 on the beach, 2 \u0642\u0637\u0637")
    page = seat("amina").open()
    caption = page.locator("#caption")
    expect(caption).to_have_text(
        "<script>document.title='x'</script>\"><img src=x onerror=alert(1)> "
        "fdp.right-to-left overridegnpzero width space!"
    )
    assert "\n" in caption.inner_text()
    assert caption.locator("script, img").count() == 0
    assert page.evaluate("getComputedStyle(document.getElementById('caption')).unicodeBidi") == (
        "isolate"
    )
    press(page, "m")
    expect(caption).to_have_attribute("dir", "rtl")
    assert page.evaluate("getComputedStyle(document.getElementById('caption')).direction") == "rtl"


def test_nothing_of_a_blind_case_tells_where_it_comes_from(api: Api, seat: Seated) -> None:
    """An audit, a golden and a twice-decided case look the same: no score, no route, no why."""
    routes = {"red": CaseRoute.AUDIT, "blue": CaseRoute.GOLDEN, "green": CaseRoute.FLAGGED}
    for colour, route in routes.items():
        image = a_picture(colour)
        add_case(api.services, route=route, caption="the same", score=0.2, blind=True, image=image)
    page = seat("amina").open()
    seen = set()
    for _ in range(3):
        expect(page.locator("article.case")).to_be_visible()
        case = case_of(page)
        html = page.locator("article.case").evaluate("each => each.outerHTML")
        claim = page.locator("article.case").get_attribute("data-claim")
        seen.add(html.replace(str(case), "ID").replace(str(claim), "CLAIM"))
        press(page, "u")
        expect(page.locator(f'article[data-case="{case}"]')).to_have_count(0)
    assert len(seen) == 1
    assert not {"score", "threshold", "Flagged", "Audit"} & set(seen.pop().split())


def test_leaving_gives_back_what_was_claimed(api: Api, seat: Seated) -> None:
    """When the page is closed, its case and the prefetched one are free for others at once."""
    add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len(claimed(api.services)) == 2
    page.close(run_before_unload=True)
    eventually(lambda: claimed(api.services) == {})


def test_who_leaves_at_once_has_decided(api: Api, seat: Seated) -> None:
    """A decision is made by its key, also when the page is left in the same moment."""
    allow_any_reason(api.services)
    first, _ = add_queue(api.services, 2)
    page = seat("amina").open()
    expect(page.locator("article.case")).to_be_visible()
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


def test_one_case_is_looked_at_before_it_is_taken(api: Api, seat: Seated) -> None:
    """The page of one case claims nothing until t is pressed; decided, it can only be read."""
    allow_any_reason(api.services)
    (made,) = add_queue(api.services, 1)
    someone = seat("amina")
    page = someone.open(f"/review/cases/{made}")
    expect(page.locator("#take")).to_be_visible()
    assert claimed(api.services) == {}
    press(page, "m")
    press(page, "t")
    expect(page.locator("#actions")).to_be_visible()
    press(page, "x")
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    eventually(lambda: answers(api.services) == {made: ["mismatch"]})
    page = someone.open(f"/review/cases/{made}")
    expect(page.locator("article.case")).to_be_visible()
    expect(page.locator("#take")).to_be_hidden()
    expect(page.locator("#actions")).to_be_hidden()
    expect(page.get_by_text("The answer that stands")).to_be_visible()


def test_images_are_hidden_as_each_person_wants(api: Api, seat: Seated) -> None:
    """Blurred and grey until b is pressed, again for the next case; who wants none sees at once."""
    allow_any_reason(api.services)
    add_queue(api.services, 5)
    hidden = "getComputedStyle(document.getElementById('image')).filter"
    page = seat("amina").open()
    expect(page.locator("#image")).to_be_visible()
    assert "blur" in page.evaluate(hidden)
    assert "grayscale" in page.evaluate(hidden)
    assert page.locator("#image").get_attribute("alt") == "image of the submission"
    press(page, "b")
    assert page.evaluate(hidden) == "none"
    press(page, "m")
    expect(page.locator("#undo")).to_be_visible()
    assert "blur" in page.evaluate(hidden)
    with api.services.database.begin() as connection:
        users.add(connection, "berta", Role.MODERATOR, password_hash=None)
        users.set_preferences(connection, "berta", blur=False, grey=False)
    page = seat("berta").open()
    expect(page.locator("#image")).to_be_visible()
    assert page.evaluate(hidden) == "none"
    press(page, "b")
    assert "blur" in page.evaluate(hidden)


def test_without_its_script_the_page_says_that_it_needs_it(api: Api, seat: Seated) -> None:
    """Nobody stares at a page that never fetches anything."""
    page = seat("amina", java_script_enabled=False).open()
    expect(page.locator("noscript p")).to_be_visible()
