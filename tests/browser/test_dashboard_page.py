"""The dashboard and the audit log in a browser: readable pictures, in light and dark, anywhere."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from moderation.store.cases import Route
from moderation.store.tables import calibrations, publications
from moderation.store.users import Role
from moderation.wiring import Services
from tests.browser.conftest import Seat
from tests.browser.contrast import CLASHES, FAINT
from tests.conftest import Api
from tests.integration.desk import add_case, add_user
from tests.integration.kept_quality import keep_days

# The colours that pictures name, as they are drawn.
_COLOURS = """() => [...new Set(['fill', 'stroke'].flatMap(name =>
  [...document.querySelectorAll(`figure svg [${name}]`)]
    .filter(each => each.getAttribute(name) !== 'none')
    .map(each => getComputedStyle(each)[name])))]"""

# A month of work: verdicts, of which the flagged are decided, by three people.
_MONTH = """
INSERT INTO submissions (id, platform, policy, caption, image_blob, message_id, created_at, done_at)
SELECT uuidv7(at - now()), 'acme', 'default', 'x', md5(i::text), 'm', at, at
FROM (SELECT i, now() - i * interval '10 minutes' AS at FROM generate_series(1, 4000) AS i) AS each;
INSERT INTO verdicts (submission_id, outcome, reason, score, threshold, calibration_version, model,
    created_at)
SELECT id, outcome, CASE outcome WHEN 'unscorable' THEN 'image_corrupt' END,
    CASE WHEN outcome <> 'unscorable' THEN 0.2 END, 0.35, 'c-1', 'm', created_at
FROM (SELECT *, CASE n % 9 WHEN 0 THEN 'flag' WHEN 1 THEN 'unscorable' ELSE 'pass' END AS outcome
    FROM (SELECT *, row_number() OVER (ORDER BY created_at) AS n FROM submissions) AS numbered
) AS judged;
INSERT INTO cases (id, submission_id, policy, route, inclusion_probability, created_at, due_at,
    state, resolution, resolved_at)
SELECT uuidv7(), submission_id, 'default', 'flagged', 1, created_at, created_at,
    'resolved', 'match', created_at
FROM verdicts WHERE outcome = 'flag';
WITH claimed AS (
    INSERT INTO claims (id, case_id, user_name, created_at, expires_at, ended_at, ending)
    SELECT uuidv7(), id, (ARRAY['ann', 'ben', 'zoe'])[1 + row_number() OVER () % 3], created_at,
        created_at, created_at + (row_number() OVER () % 31) * interval '1 second', 'decided'
    FROM cases RETURNING *
)
INSERT INTO decisions (id, case_id, answer, decided_by, created_at, claim_id)
SELECT uuidv7(), case_id,
    (ARRAY['mismatch', 'mismatch', 'match', 'unsure', 'escalate'])[1 + row_number() OVER () % 5],
    user_name, ended_at, id
FROM claimed;
"""


def a_month(services: Services) -> None:
    """Fill the desk with a month of work, publications close to each other, and open cases."""
    for name in ("ann", "ben", "zoe"):
        add_user(services, name)
    now = datetime.now(UTC)
    with services.database.begin() as connection:
        for statement in _MONTH.split(";\n"):
            connection.execute(text(statement))
        connection.execute(
            insert(calibrations).values(version="c-0011223344aa", model="m", artifact={})
        )
        for days in (20, 9, 8, 8, 6, 0):
            connection.execute(
                insert(publications).values(
                    policy="a_policy_with_a_name_that_goes_on_and_on" if days == 9 else "default",
                    action="publish", live_version="c-0011223344aa", who="ann", why="a test",
                    created_at=now - timedelta(days=days),
                )
            )  # fmt: skip
    for route in (Route.FLAGGED, Route.UNSCORABLE, Route.APPEAL):
        add_case(services, route=route, score=None if route is Route.UNSCORABLE else 0.1)
    add_case(services, route=Route.AUDIT, blind=True)


@pytest.mark.parametrize("width_px", [1280, 390])
def test_the_dashboard_is_readable(
    api: Api, seat: Callable[..., Seat], tmp_path: Path, width_px: int
) -> None:
    """Pictures have labels, follow light and dark, and no word of them lies over another."""
    a_month(api.services)
    keep_days(api.services, 60, gap=20)
    seen = []
    for scheme in ("light", "dark"):
        page = seat(
            f"lea-{scheme}", Role.LEAD, color_scheme=scheme,
            viewport={"width": width_px, "height": 900},
        ).open("/review/dashboard")  # fmt: skip
        for details in page.locator("details").all():
            details.locator("summary").click()
        page.screenshot(path=tmp_path / f"dashboard-{scheme}-{width_px}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == width_px
        assert page.evaluate(FAINT) == []
        assert page.evaluate(CLASHES) == []
        labels = page.locator("figure svg[role=img]").evaluate_all(
            "all => all.map(svg => svg.getAttribute('aria-label'))"
        )
        assert len(labels) == 6
        assert all(len(label) > 60 for label in labels)
        # A row a day, and one a figure or count of the windows.
        assert page.locator("details table tbody tr").count() == 3 * 28 + 2 * 59 + 10
        seen.append(page.evaluate(_COLOURS))
    light, dark = seen
    assert len(light) == len(dark) >= 8
    assert not set(light) & set(dark)


@pytest.mark.parametrize("width_px", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_audit_log_is_readable(
    api: Api, seat: Callable[..., Seat], tmp_path: Path, scheme: str, width_px: int
) -> None:
    """Long names and details wrap, on desks and phones; a click on a name filters by it."""
    with api.services.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_log (actor, action, subject, details, address) VALUES "
                "('ann', 'case.decided', 'case:' || uuidv7(), '{\"answer\": \"match\"}', '::1'), "
                "(repeat('long-name', 20), 'calibration.published', 'policy:default', "
                '\'{"version": "c-0011223344aa", "share": null}\', \'2001:db8::1\')'
            )
        )
    page = seat(
        "ada", Role.ADMIN, color_scheme=scheme, viewport={"width": width_px, "height": 900}
    ).open("/review/audit")
    page.screenshot(path=tmp_path / f"audit-{scheme}-{width_px}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    assert page.evaluate(FAINT) == []
    page.get_by_role("link", name="ann", exact=True).click()
    assert page.locator("table.log tbody tr").count() == 1
    assert page.get_by_label("Who").input_value() == "ann"
