"""The case page in a browser: read, and decided by keyboard."""

import sys

import pytest
from playwright.sync_api import Route, expect
from sqlalchemy import select

from moderation.store import users
from moderation.store.cases import Route as CaseRoute
from moderation.store.review_tables import decisions
from moderation.store.users import Role
from tests.browser.steps import (
    Seated,
    add_queue,
    allow_any_reason,
    answers,
    case_of,
    claimed,
    press,
    set_reasons,
)
from tests.conftest import Api, eventually
from tests.integration.desk import a_picture, add_case

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
