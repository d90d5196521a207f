"""Precision and recall on the dashboard: as kept, and to each what they may know."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moderation.review import dashboard_figures
from moderation.store.users import Role
from tests.conftest import Api
from tests.integration.desk import signed_in
from tests.integration.kept_quality import figures, keep, keep_days


@pytest.fixture(autouse=True)
def nothing_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look reads anew: tests change what is kept within a minute."""
    monkeypatch.setattr(dashboard_figures, "_FRESH_S", 0.0)


def section(api: Api, role: Role = Role.LEAD) -> str:
    """The dashboard's section as somebody of that role reads it."""
    with signed_in(api, f"the-{role}", role) as client:
        page = client.get("/review/dashboard")
    assert page.status_code == 200
    found = re.search(r'<section class="quality".*?\n</section>', page.text, re.DOTALL)
    assert found is not None
    return found[0]


def words(html: str) -> str:
    """What is read of it, without pictures."""
    without = re.sub(r"<figure>.*?</figure>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>|&nbsp;", " ", without).split())


def document(api: Api) -> Any:
    """What the API tells a lead."""
    with signed_in(api, "lea", Role.LEAD) as client:
        answer = client.get("/v1/review/quality")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_before_the_first_measurement_there_is_a_sentence(api: Api) -> None:
    """Nothing is drawn; leads read who measures, and the API tells nulls."""
    html = section(api)
    assert "<svg" not in html
    assert "Nothing was measured yet: the scheduler does so" in words(html)
    assert "from the day after the first measurement" in words(section(api, Role.MODERATOR))
    assert document(api) == {
        "at": None, "lag_s": None, "windows": {}, "policies": {}, "calibrations": {},
        "agreement": None,
    }  # fmt: skip


def test_leads_read_all_that_is_known(api: Api) -> None:
    """Three windows with counts, sentences, two series over time, and a table by policy."""
    keep_days(api.services, 5)
    html = section(api)
    told = words(html)
    assert html.count("<svg") == 3
    assert "28 days 7 days 1 day" in told
    assert "Of 100 posts that are flagged, about 84 are mismatches" in told
    assert "1,240 audits that found 17 misses" in told
    assert "Misses found 17 17 1" in told
    assert "a_policy_with_a_name_that_goes_on_and_on" in told
    # One calibration is no comparison, and today is not over.
    assert "Calibration" not in told
    assert html.count("<time") == 2 * 4


def test_the_api_tells_what_was_kept(api: Api) -> None:
    """The newest figures in the form of `captionguard quality --json`."""
    keep_days(api.services, 2)
    found = document(api)
    assert found["lag_s"] == 86_400
    assert set(found["windows"]) == {"1d", "7d", "28d"}
    whole = found["windows"]["28d"]
    assert whole["recall"] == pytest.approx(
        {"point": 0.62, "lower": 0.52, "upper": 0.72, "reason": None}
    )
    assert (whole["audits"], whole["found_misses"]) == (1240, 17)
    assert found["windows"]["1d"]["recall"]["reason"].startswith("audits have found 1 misses")
    assert list(found["calibrations"]["c-1"]) == ["28d"]
    assert found["agreement"]["kappa"] == {"n": 0, "point": None, "lower": None, "upper": None}


def test_too_few_misses_are_no_figure(api: Api) -> None:
    """Recall is not drawn and said to be unknown, with what makes it known."""
    keep(api.services, figures(datetime.now(UTC), recall=None, misses=3))
    html = section(api)
    assert "Audits have found 3 misses; 5 are needed." in words(html)
    assert "CAPTIONGUARD_AUDIT_BUDGET_PER_DAY" in words(html)
    assert "not known yet" in html
    assert "No day has ended yet on which it was known." in html
    assert "were flagged (likely" not in html


def test_an_answer_of_today_changes_nothing_a_moderator_sees(api: Api) -> None:
    """By what moves with their own answer they could tell an audit from a golden case."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    keep(api.services, figures(yesterday))
    keep(api.services, figures(datetime.now(UTC), recall=0.55, misses=21))
    before = section(api, Role.MODERATOR)
    keep(api.services, figures(datetime.now(UTC), recall=0.54, misses=22))
    assert section(api, Role.MODERATOR) == before
    assert "Of 100 mismatches that came in, about 62 were flagged" in words(before)


@pytest.mark.parametrize("recall", [0.62, None])
def test_moderators_see_no_counts(api: Api, recall: float | None) -> None:
    """Neither audits nor misses nor small groups, whether there is a figure or not."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    keep(api.services, figures(yesterday, recall=recall))
    html = section(api, Role.MODERATOR)
    assert not re.search(r"audit|misses|a_policy|1,240|1,900|98,000", html, re.IGNORECASE)
    assert "7 days" not in html
    assert "Of 100 posts that are flagged, about 84" in words(html)


def test_the_api_is_for_leads(api: Api) -> None:
    """Moderators are refused, and nobody gets in without signing in."""
    assert api.http.get("/v1/review/quality").status_code == 401
    with signed_in(api, "ann", Role.MODERATOR) as client:
        assert client.get("/v1/review/quality").status_code == 403


def test_figures_that_are_late_say_so(api: Api) -> None:
    """Where nothing was measured for some turns, leads are told since when."""
    keep(api.services, figures(datetime.now(UTC) - timedelta(minutes=1)))
    assert "does the scheduler run?" not in section(api)
    with api.services.database.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE quality_days SET measured_at = measured_at - interval '2 hours'"
        )
    assert "does the scheduler run?" in section(api)
