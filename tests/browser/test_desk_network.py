"""What is decided is not lost when the network or the session is."""

from playwright.sync_api import Route, expect
from sqlalchemy import func, update

from moderation.store import sessions
from moderation.store.review_tables import claims
from tests.browser.steps import Seated, add_queue, allow_any_reason, answers, press
from tests.conftest import Api, eventually


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
