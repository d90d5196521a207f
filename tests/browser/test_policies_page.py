"""Policies, golden submissions and agreement in a browser: without a script, at any width."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import insert

from moderation.published import Action, State
from moderation.settings import Settings
from moderation.store import calibrations, golden
from moderation.store.audit import Actor
from moderation.store.calibrations import Stored
from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.store.review_tables import decisions
from moderation.store.users import Role
from moderation.wiring import Services
from tests.browser.conftest import Seat
from tests.browser.contrast import FAINT
from tests.conftest import Api
from tests.integration.answers import answer_as, settle
from tests.integration.desk import add_case, add_user, state_of

Seated = Callable[..., Seat]

CAPTIONS = (
    "The mayor opens the new bridge over the river, with the old one still beside it",
    "كلب يركض على الشاطئ عند الغروب",
    "<script>alert(1)</script> & an unbrokenwordthatislongerthananycolumnofanytableonaphone",
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Decisions count at once."""
    return settings.model_copy(update={"review_undo_s": 0.0})


def lines_of(page: Page) -> str:
    """What stands in the form."""
    return page.get_by_label("One reason a line").input_value()


def test_a_lead_writes_a_list_without_any_script(api: Api, seat: Seated) -> None:
    """Edited, previewed with its keys, refused with what was typed kept, saved, removed."""
    add_case(api.services, policy="news/eu")
    lea = seat("lea", Role.LEAD, java_script_enabled=False)
    page = lea.open("/review/policies")
    page.get_by_role("link", name="news/eu").click()
    expect(page.get_by_role("heading", name="Reasons of news/eu")).to_be_visible()
    assert "wrong_subject: Wrong subject" in lines_of(page)
    typed = "hoax: Known hoax: again\n\nother: Another"
    page.get_by_label("One reason a line").fill(typed)
    page.get_by_label("mismatch", exact=True).check()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Preview, not saved")).to_be_visible()
    assert page.locator(".reasons li").all_inner_texts() == [
        "1 Known hoax: again hoax",
        "2 Another other",
    ]
    assert page.get_by_label("mismatch", exact=True).is_checked()
    page.get_by_label("One reason a line").fill(f"{typed}\nwithout a colon")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 4: write `key: label`")
    assert lines_of(page).endswith("without a colon")
    page.get_by_label("One reason a line").fill(typed)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    assert page.url.endswith("policy=news%2Feu&done=saved")
    assert lines_of(page) == "hoax: Known hoax: again\nother: Another"
    expect(page.get_by_role("row", name=re.compile("^news.eu"))).to_contain_text("its own")
    page.get_by_role("button", name="Remove this list").click()
    expect(page.get_by_role("status")).to_contain_text("Removed")
    expect(page.get_by_role("row", name=re.compile("^news.eu"))).to_contain_text("built in")


def test_of_two_leads_who_edit_one_list_the_second_sees_both(api: Api, seat: Seated) -> None:
    """The first one's list beside what the second typed, which saving again puts in its place."""
    lea = seat("lea", Role.LEAD).open("/review/policies")
    max_ = seat("max", Role.LEAD).open("/review/policies")
    lea.get_by_label("One reason a line").fill("first: First")
    lea.get_by_role("button", name="Save").click()
    expect(lea.get_by_role("status")).to_contain_text("Saved")
    max_.get_by_label("One reason a line").fill("second: Second")
    max_.get_by_role("button", name="Save").click()
    expect(max_.get_by_role("alert")).to_contain_text("Somebody else has changed these reasons")
    assert lines_of(max_) == "second: Second"
    assert max_.locator(".reasons li").all_inner_texts() == ["1 First first"]
    max_.get_by_role("button", name="Save").click()
    expect(max_.get_by_role("status")).to_contain_text("Saved")
    assert max_.locator(".reasons li").all_inner_texts() == ["1 Second second"]


def test_the_threshold_that_holds_stands_beside_each_policy(api: Api, seat: Seated) -> None:
    """What was published to it or to the default; until then, what its last verdict had."""
    add_case(api.services, policy="news")
    page = seat("lea", Role.LEAD).open("/review/policies")
    news = page.get_by_role("row", name=re.compile("^news"))
    expect(news).to_contain_text("0.35 as workers were started")
    with api.services.database.begin() as connection:
        calibrations.keep(connection, Stored("c-2", "m", '{"threshold": 0.42}'))
        calibrations.append(
            connection,
            policy="default",
            action=Action.PUBLISH,
            state=State("c-2"),
            who="x",
            why="y",
        )
    page.reload()
    expect(news).to_contain_text("0.42 published")
    expect(page.get_by_role("row", name=re.compile("^default"))).to_contain_text("0.42 published")


def test_a_lead_adds_and_retires_golden_submissions(api: Api, seat: Seated) -> None:
    """By a form that keeps what was typed where it cannot be; moderators do not get in."""
    case_id = add_case(api.services, caption="a red ball")
    submission_id = str(state_of(api.services, case_id)["submission_id"])
    page = seat("lea", Role.LEAD, java_script_enabled=False).open("/review/golden")
    page.get_by_label("Submission's id").fill("nonsense")
    page.get_by_label("mismatch", exact=True).check()
    page.get_by_label("How one knows").fill("The ball is blue")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Write the submission's id")
    page.get_by_label("Submission's id").fill(submission_id)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("still waits")
    settle(api.services, case_id)
    assert page.get_by_label("How one knows").input_value() == "The ball is blue"
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row", name=re.compile("a red ball"))
    expect(row).to_contain_text("nobody had it yet")
    row.get_by_role("button", name="Retire").click()
    expect(row).to_contain_text("retired")
    ann = seat("ann").open("/review/golden")
    assert "The ball is blue" not in ann.content()


def test_a_decided_case_leads_to_the_form(api: Api, seat: Seated) -> None:
    """A lead finds the submission's id filled in; a moderator finds no such way."""
    case_id = add_case(api.services)
    answer_as(api, "ann", "match", case_id)
    page = seat("lea", Role.LEAD).open(f"/review/cases/{case_id}")
    page.get_by_role("link", name="as a golden submission").click()
    submission_id = str(state_of(api.services, case_id)["submission_id"])
    assert page.get_by_label("Submission's id").input_value() == submission_id
    theirs = seat("ann").open(f"/review/cases/{case_id}")
    expect(theirs.get_by_text("The answer that stands")).to_be_visible()
    assert "golden" not in theirs.content()


def fill_desk(services: Services) -> None:
    """Policies, golden submissions, and people who decided many cases."""
    lea = Actor("lea")
    for name, role in (("ann", Role.MODERATOR), ("bob", Role.MODERATOR), ("lea", Role.LEAD)):
        add_user(services, name, role)
    for caption in CAPTIONS:
        case_id = add_case(services, route=Route.AUDIT, policy="news", caption=caption)
        settle(services, case_id)
        with services.database.begin() as connection:
            golden.add(
                connection, state_of(services, case_id)["submission_id"],  # type: ignore[arg-type]
                Answer.MISMATCH, f"Seen by two leads: {caption[:12]}", actor=lea,
            )  # fmt: skip
    table = [("mismatch", "mismatch")] * 11 + [("mismatch", "match")] * 3 + [("match", "match")] * 6
    for first, second in table:
        case_id = add_case(services, blind=True, answers_wanted=2)
        with services.database.begin() as connection:
            rows = [
                {"id": case_id if i == 0 else state_of(services, case_id)["submission_id"],
                 "case_id": case_id, "answer": said, "decided_by": name}
                for i, (name, said) in enumerate((("ann", first), ("bob", second)))
            ]  # fmt: skip
            connection.execute(insert(decisions), rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 390])
def test_pages_fit_and_can_be_read(
    api: Api, seat: Seated, tmp_path: Path, scheme: str, width_px: int
) -> None:
    """No sideways scrolling, contrast of WCAG AA, and no noise, light and dark."""
    fill_desk(api.services)
    lea = seat("lea", Role.LEAD, viewport={"width": width_px, "height": 900}, color_scheme=scheme)
    for name in ("policies", "golden", "people"):
        page = lea.open(f"/review/{name}")
        for closed in page.locator("details").all():
            closed.locator("summary").click()
        page.screenshot(path=tmp_path / f"{name}-{scheme}-{width_px}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px, name
        assert page.evaluate(FAINT) == [], name
