"""Precision and recall in a real Prometheus are what people's decisions say, reckoned anew here."""

import base64
import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from moderation.demo.captions import Swap
from moderation.demo.posts import Post, stream
from moderation.store.audit_plans import ASSUMED_PASSES_PER_DAY
from tests.acceptance.prometheus import Prometheus, scraping
from tests.conftest import Machine, eventually

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "captionguard-quality.json"
WINDOWS = ("1d", "7d", "28d")

# Of ten passes seven are audited, as long as nothing is known of the traffic.
BUDGET = round(0.7 * ASSUMED_PASSES_PER_DAY)
# What people say of posts whose caption is wrong, all of which the model flags: hits, false
# alarms and what nobody can tell; and of those whose caption is right: misses, and the rest.
WRONG = ["mismatch"] * 35 + ["match"] * 25 + ["unsure"] * 3
RIGHT = ["mismatch"] * 80 + ["match"] * 40
FIRST_WAVE = 140


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that audits most of what passes and counts decisions at once."""
    running = Machine(
        tmp_path_factory.mktemp("audited"),
        CAPTIONGUARD_AUDIT_BUDGET_PER_DAY=str(BUDGET),
        CAPTIONGUARD_QUALITY_LAG_S="0",
        CAPTIONGUARD_QUALITY_EVERY_S="0.5",
        CAPTIONGUARD_REVIEW_UNDO_S="2",
    )
    yield running
    running.stop()


@dataclass(frozen=True)
class Case:
    """A case as it stands in the database."""

    route: str
    probability: float
    answers: Sequence[str]

    @property
    def settled(self) -> str | None:
        """What stands: an answer that nobody contradicts; of an audit's misses a second one."""
        if len(set(self.answers)) != 1:
            return None
        wanted = 2 if self.route == "audit" and self.answers[0] == "mismatch" else 1
        return self.answers[0] if len(self.answers) >= wanted else None


def _hand_in(machine: Machine, posts: Sequence[tuple[Post, str]]) -> None:
    """Hand posts in, named by what people say of them, and wait for their verdicts."""
    items = [
        {
            "external_id": f"{said} {post.image_name} {post.label}",
            "caption": post.caption,
            "image_base64": base64.b64encode(post.image).decode(),
        }
        for post, said in posts
    ]
    answer = machine.http.post("/v1/submissions/batch", json={"submissions": items})
    assert answer.status_code == 202, answer.text
    pending = "SELECT count(*) FROM submissions WHERE done_at IS NULL"
    eventually(lambda: machine.query(pending) == [(0,)])


def _posts() -> list[tuple[Post, str]]:
    """A post of the demo's world for each thing that people say, well mixed."""
    n = len(WRONG) + len(RIGHT)
    answers = {"mismatch": iter(WRONG), "match": iter(RIGHT)}
    made = stream(6, n, len(WRONG) / n, swaps=(Swap.RANDOM,), held_out=False)
    return [(post, next(answers[post.label])) for post in made]


def _plans_taken_up(machine: Machine) -> set[float]:
    """The floors of the plans that the worker has audited by."""
    lines = (machine.data_dir / "logs" / "worker.log").read_text().splitlines()
    taken_up = [json.loads(line) for line in lines if '"audit_plan_taken_up"' in line]
    return {line["floor"] for line in taken_up}


@contextlib.contextmanager
def _people(machine: Machine) -> Iterator[list[httpx.Client]]:
    """Two people who are signed in."""
    demo = (machine.data_dir / "desk-password").read_text().strip()
    bob = machine.run("users", "add", "bob").stdout.strip()
    with contextlib.ExitStack() as stack:
        clients = []
        for name, password in (("demo", demo), ("bob", bob)):
            client = stack.enter_context(
                httpx.Client(base_url=machine.addresses["api_url"], timeout=60, trust_env=False)
            )
            signed = client.post("/v1/review/session", json={"name": name, "password": password})
            client.headers["Authorization"] = f"Bearer {signed.json()['token']}"
            clients.append(client)
        yield clients


def _decide_all(machine: Machine, people: Sequence[httpx.Client]) -> None:
    """Each person takes the next case and says what is to be said, until all are settled."""
    said_of = {
        str(id_): str(name).split()[0]
        for id_, name in machine.query(
            "SELECT cases.id, external_id FROM cases JOIN submissions"
            " ON submissions.id = cases.submission_id"
        )
    }

    def decide() -> bool:
        for person in people:
            while (claimed := person.post("/v1/review/claims", json={})).status_code == 201:
                case = claimed.json()
                answer = {"answer": said_of[case["id"]]}
                path = f"/v1/review/claims/{case['claim']['id']}/decision"
                assert person.post(path, json=answer).status_code == 200
        return machine.query("SELECT count(*) FROM cases WHERE state <> 'resolved'") == [(0,)]

    eventually(decide, within_s=120)


def _change_ones_mind(person: httpx.Client) -> None:
    """Decide a case, and take the decision back before it counts."""
    claimed = person.post("/v1/review/claims", json={}).json()
    made = person.post(
        f"/v1/review/claims/{claimed['claim']['id']}/decision", json={"answer": "escalate"}
    ).json()
    undone = person.post(f"/v1/review/decisions/{made['decision_id']}/undo")
    assert undone.status_code == 200, undone.text
    again = undone.json()["claim"]["id"]
    assert person.post(f"/v1/review/claims/{again}/release").status_code == 204


def _cases(machine: Machine) -> list[Case]:
    rows = machine.query(
        "SELECT route, inclusion_probability, array_agg(answer ORDER BY decisions.created_at)"
        " FROM cases JOIN decisions ON decisions.case_id = cases.id"
        " WHERE decisions.id NOT IN (SELECT decision_id FROM undone_decisions)"
        " GROUP BY cases.id"
    )
    return [Case(str(route), float(str(p)), answers) for route, p, answers in rows]  # type: ignore[arg-type]


def _reckoned(machine: Machine) -> dict[str, float]:
    """The figures by the books: Hájek's weights, the logit's interval, from rows alone."""
    cases = _cases(machine)
    outcomes = dict(machine.query("SELECT outcome, count(*) FROM verdicts GROUP BY outcome"))
    flags, passes = int(str(outcomes["flag"])), int(str(outcomes["pass"]))
    said = [case.settled for case in cases if case.route == "flagged"]
    assert len(said) == flags
    hits, alarms = said.count("mismatch"), said.count("match")
    audits = [case for case in cases if case.route == "audit"]
    weights = [1 / case.probability for case in audits]
    weights = [weight * passes / sum(weights) for weight in weights]
    misses = [w for w, case in zip(weights, audits, strict=True) if case.settled == "mismatch"]
    figures = {
        "flag_rate point": flags / (flags + passes),
        "audit_labels": len(audits),
        "found_misses": len(misses),
        "answered_flags": flags,
    }
    for name, ones, others, heaviest in (
        ("precision", [1.0] * hits, [1.0] * alarms, 1.0),
        ("recall", [1.0] * hits, misses, max(weights)),
    ):
        # So many that a sum's logarithm is normal: other intervals are for fewer.
        assert sum(ones) >= 20
        assert sum(others) >= 20 * heaviest
        share = sum(ones) / (sum(ones) + sum(others))
        off = 1.959963984540054 * math.sqrt(
            sum(w * w for w in ones) / sum(ones) ** 2
            + sum(w * w for w in others) / sum(others) ** 2
        )
        odds = share / (1 - share)
        figures[f"{name} point"] = share
        for bound, end in (("lower", odds * math.exp(-off)), ("upper", odds * math.exp(off))):
            figures[f"{name} {bound}"] = end / (1 + end)
    return figures


def _shown(prometheus: Prometheus, names: Sequence[str], window: str) -> dict[str, float]:
    """The same of a window as Prometheus has them."""
    found = {}
    for name in names:
        metric, _, bound = name.partition(" ")
        labels = f'window="{window}"' + (f', bound="{bound}"' if bound else "")
        found[name] = prometheus.number(f"max(captionguard_quality_{metric}{{{labels}}})")
    return found


def test_prometheus_shows_what_the_decisions_say(audited: Machine, tmp_path: Path) -> None:
    """Through the whole pipeline: precision and recall with their bounds, and what they rest on."""
    posts = _posts()
    with scraping(audited, tmp_path) as prometheus:
        eventually(lambda: len(prometheus.ask("up == 1")) == 3)
        # Nothing is known yet, which is no zero.
        empty = 'captionguard_quality_recall{bound="point", window="28d"}'
        eventually(
            lambda: [math.isnan(value) for value in prometheus.ask(empty).values()] == [True]
        )
        _hand_in(audited, posts[:FIRST_WAVE])
        # What came in makes another plan, so that audits have different probabilities.
        eventually(lambda: len(_plans_taken_up(audited)) > 1)
        _hand_in(audited, posts[FIRST_WAVE:])
        with _people(audited) as people:
            _change_ones_mind(people[0])
            _decide_all(audited, people)
        expected = _reckoned(audited)
        assert len({case.probability for case in _cases(audited)}) >= 3
        for window in WINDOWS:
            eventually(
                lambda window=window: (  # type: ignore[misc]
                    _shown(prometheus, list(expected), window) == pytest.approx(expected, rel=1e-9)
                ),
                within_s=30,
            )
        _the_rules_and_the_dashboard_read_it(prometheus, expected)
        _the_desk_is_counted(audited, prometheus)


def _the_rules_and_the_dashboard_read_it(
    prometheus: Prometheus, expected: dict[str, float]
) -> None:
    """Recorded series, a target that is surely missed, and a number for every panel."""
    recorded = 'captionguard:quality_recall{bound="upper", window="28d"}'
    eventually(lambda: prometheus.number(recorded) == pytest.approx(expected["recall upper"]))
    pending = 'ALERTS{alertname="RecallBelowTarget", alertstate="pending", window="28d"}'
    eventually(lambda: prometheus.number(pending) == 1)
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "1m").replace("$policy", "default")
            assert prometheus.ask(query), (panel["title"], query)


def _the_desk_is_counted(machine: Machine, prometheus: Prometheus) -> None:
    """What the counters say is what stands in the tables; nothing waits any more."""
    ((standing, undone),) = machine.query(
        "SELECT (SELECT count(*) FROM standing_decisions), (SELECT count(*) FROM undone_decisions)"
    )
    made = "sum(captionguard_review_decisions_total)"
    taken_back = "sum(captionguard_review_undone_decisions_total)"
    eventually(lambda: prometheus.number(f"{made} - {taken_back}") == standing)
    assert prometheus.number(taken_back) == undone == 1
    handled = prometheus.number("sum(captionguard_review_handling_seconds_count)")
    assert handled == prometheus.number(made)
    eventually(lambda: prometheus.number("sum(captionguard_review_cases_waiting)") == 0)
    routes = prometheus.ask("captionguard_review_cases_waiting")
    assert {dict(labels)["route"] for labels in routes} == {
        "flagged",
        "unscorable",
        "appeal",
        "blind",
    }
