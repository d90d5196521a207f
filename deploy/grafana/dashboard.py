"""The dashboard for Grafana: `python deploy/grafana/dashboard.py > captionguard-quality.json`.

Written here, since a panel of two lines is sixty in JSON. Queries name what the roles show, so that
the dashboard also works where the recording rules are not loaded.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WINDOWS = {"1d": "1 day", "7d": "7 days", "28d": "28 days"}


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and what its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over time; with `is_band`, of three queries the first two bound the third."""

    title: str
    tells: str
    queries: Sequence[Query]
    unit: str = "short"
    width: int = 8
    is_band: bool = False
    least: float | None = 0
    most: float | None = None


def _seen(metric: str, by: str, **labels: str) -> str:
    """A gauge of the one scheduler that measures; `max` takes the others' NaN last."""
    selector = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"max by ({by}) ({metric}{{{selector}}})" if selector else f"max by ({by}) ({metric})"


def _band(
    title: str, tells: str, metric: str, *, unit: str = "percentunit", **labels: str
) -> Panel:
    least = 0 if unit == "percentunit" else None
    queries = [
        Query(_seen(metric, "bound", bound=bound, **labels), legend)
        for bound, legend in (("upper", "at most"), ("lower", "at least"), ("point", "estimate"))
    ]
    return Panel(title, tells, queries, unit, is_band=True, least=least, most=1)


_OVERALL = [
    _band(f"{name.capitalize()}, {span}", tells, f"captionguard_quality_{name}", window=window)
    for name, tells in (
        ("precision", "Of what was flagged, how much is a mismatch. Band: 95 % interval."),
        ("recall", "Of all mismatches, how many were flagged. Band: 95 % interval."),
    )
    for window, span in _WINDOWS.items()
]

_GROUNDS = [
    _band(
        "Prevalence, 28 days",
        "Of all posts, how many are mismatches. Band: 95 % interval.",
        "captionguard_quality_prevalence",
        window="28d",
    ),
    _band(
        "Flag rate, 7 days",
        "Of all posts, how many are flagged. Band: 95 % interval.",
        "captionguard_quality_flag_rate",
        window="7d",
    ),
    Panel(
        "Audits that were answered",
        "Passed posts that people looked at: recall and prevalence rest on them.",
        [
            Query(_seen("captionguard_quality_audit_labels", "window"), "of {{window}}"),
            Query("max(captionguard_audit_expected_per_day)", "planned a day"),
        ],
    ),
    Panel(
        "Misses that audits found",
        "Audited passes that two people called mismatches. Below 5 there is no recall.",
        [Query(_seen("captionguard_quality_found_misses", "window"), "of {{window}}")],
    ),
    _band(
        "Agreement on a mismatch, 28 days",
        "Of what one of two people calls a mismatch, how much the other does, too: positive "
        "agreement. Band: 95 % interval.",
        "captionguard_quality_agreement",
        statistic="positive",
    ),
    _band(
        "Cohen's kappa, 28 days",
        "Agreement beyond chance; low where nearly all cases have one answer. Band: 95 % interval.",
        "captionguard_quality_agreement",
        unit="short",
        statistic="kappa",
    ),
    _band(
        "Precision of policy $policy, 28 days",
        "Band: 95 % interval.",
        "captionguard_policy_quality_precision",
        policy="$policy",
        window="28d",
    ),
    _band(
        "Recall of policy $policy, 28 days",
        "Band: 95 % interval.",
        "captionguard_policy_quality_recall",
        policy="$policy",
        window="28d",
    ),
    Panel(
        "Age of these figures",
        "Since the scheduler measured them last.",
        [
            Query(
                "time() - max(captionguard_quality_estimated_timestamp_seconds)",
                "since the last estimate",
            )
        ],
        "s",
    ),
]

_DESK = [
    Panel(
        "Cases waiting",
        "By route. Blind are audits, golden cases and those that two people decide.",
        [Query(_seen("captionguard_review_cases_waiting", "route"), "{{route}}")],
    ),
    Panel(
        "Oldest case waiting",
        "By route. Appeals are due after half an hour, nothing later than after a day.",
        [Query(_seen("captionguard_review_oldest_case_age_seconds", "route"), "{{route}}")],
        "s",
    ),
    Panel(
        "Decisions an hour",
        "By answer; undone ones are in both.",
        [
            Query(
                "3600 * sum by (answer) (rate(captionguard_review_decisions_total"
                "[$__rate_interval]))",
                "{{answer}}",
            ),
            Query(
                "3600 * sum(rate(captionguard_review_undone_decisions_total[$__rate_interval]))",
                "undone",
            ),
        ],
    ),
    Panel(
        "Time for a case",
        "From its coming in sight to the decision, within an hour.",
        [
            Query(
                f"histogram_quantile({quantile}, sum by (le) "
                "(rate(captionguard_review_handling_seconds_bucket[1h])))",
                legend,
            )
            for quantile, legend in ((0.5, "half within"), (0.9, "nine of ten within"))
        ],
        "s",
    ),
    Panel(
        "Appeals settled within 7 days",
        "Upheld: what stood before stays. Overturned: it was wrong.",
        [
            Query(
                "sum by (result) (increase(captionguard_review_appeals_settled_total[7d]))",
                "{{result}}",
            )
        ],
    ),
]

_PIPELINE = [
    Panel(
        "Verdicts a second",
        "By outcome.",
        [
            Query(
                "sum by (outcome) (rate(captionguard_verdicts_total[$__rate_interval]))",
                "{{outcome}}",
            )
        ],
    ),
    Panel(
        "Queue",
        "Messages in Redis, and posts without a verdict.",
        [
            Query("max(captionguard_queue_depth)", "messages"),
            Query("max(captionguard_pending_submissions)", "posts"),
        ],
    ),
    Panel(
        "Oldest post without a verdict",
        "Its age.",
        [Query("max(captionguard_oldest_pending_age_seconds)", "age")],
        "s",
    ),
    Panel(
        "Drift",
        "PSI of cosines against the calibration's: above 0.1 scores may mean something else.",
        [Query(_seen("captionguard_drift_psi", "window"), "of {{window}}")],
    ),
]

_ROWS = {
    "How right the system is": _OVERALL,
    "What that rests on": _GROUNDS,
    "The desk": _DESK,
    "The pipeline": _PIPELINE,
}


def dashboard() -> dict[str, Any]:
    """The document that Grafana reads."""
    return {
        "uid": "captionguard-quality",
        "title": "captionguard: precision and recall",
        "description": "How right the running system is, as people's decisions tell, and the desk.",
        "tags": ["captionguard"],
        "schemaVersion": 42,
        "editable": True,
        "time": {"from": "now-7d", "to": "now"},
        "refresh": "1m",
        "timezone": "utc",
        "templating": {"list": [_datasource(), _policy()]},
        "annotations": {"list": []},
        "panels": list(_laid_out()),
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }


def _policy() -> dict[str, Any]:
    query = "label_values(captionguard_policy_quality_precision, policy)"
    return {
        "name": "policy",
        "label": "Policy",
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "policies"},
        "refresh": 2,
        "sort": 1,
    }


def _laid_out() -> Iterator[dict[str, Any]]:
    """Rows from top to bottom, their panels from left to right."""
    y, id_ = 0, 0
    for title, panels in _ROWS.items():
        id_ += 1
        yield {
            "id": id_,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        y, x = y + 1, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                y, x = y + 8, 0
            id_ += 1
            at = {"x": x, "y": y, "w": panel.width, "h": 8}
            yield {"id": id_, "gridPos": at, **_drawn(panel)}
            x += panel.width
        y += 8


def _drawn(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "custom": {"lineWidth": 2, "fillOpacity": 0, "showPoints": "never", "spanNulls": False},
    }
    ends = {"min": panel.least, "max": panel.most}
    defaults |= {name: end for name, end in ends.items() if end is not None}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.tells,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for number, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": defaults,
            "overrides": list(_band_drawn(panel)) if panel.is_band else [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "calcs": ["lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
    }


def _band_drawn(panel: Panel) -> Iterator[dict[str, Any]]:
    upper, lower, _ = (query.legend for query in panel.queries)
    looks = {
        upper: [("custom.fillBelowTo", lower), ("custom.fillOpacity", 20)],
        lower: [],
    }
    colour = ("color", {"mode": "fixed", "fixedColor": "blue"})
    for legend, more in looks.items():
        yield {
            "matcher": {"id": "byName", "options": legend},
            "properties": [
                {"id": id_, "value": value}
                for id_, value in (colour, ("custom.lineWidth", 1), *more)
            ],
        }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=2)
    sys.stdout.write("\n")
