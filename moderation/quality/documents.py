"""All figures as one document, the same for `captionguard quality --json` and the API."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from moderation.quality.agreement import Agreement, Figure
from moderation.quality.figures import Figures, Quality


def to_document(figures: Figures) -> dict[str, Any]:
    """Windows by their days (`28d`), of all, by policy and by calibration, and agreement."""
    overall: dict[str, Any] = {}
    policies: dict[str, dict[str, Any]] = {}
    calibrations: dict[str, dict[str, Any]] = {}
    for scope, quality in sorted(figures.of.items(), key=lambda pair: pair[0].days):
        within = overall
        if scope.policy is not None:
            within = policies.setdefault(scope.policy, {})
        elif scope.calibration_version is not None:
            within = calibrations.setdefault(scope.calibration_version, {})
        within[f"{scope.days}d"] = quality.to_document()
    return {
        "at": figures.at.astimezone(UTC).isoformat(),
        "lag_s": figures.lag.total_seconds(),
        "windows": overall,
        "policies": dict(sorted(policies.items())),
        "calibrations": dict(sorted(calibrations.items())),
        "agreement": _agreement(figures.agreement),
    }


def by_name(figures: Figures, days: int) -> tuple[Mapping[str, Quality], Mapping[str, Quality]]:
    """A window of each policy and of each calibration, by their names."""
    policies, calibrations = {}, {}
    for scope, quality in figures.of.items():
        if scope.days != days:
            continue
        if scope.policy is not None:
            policies[scope.policy] = quality
        elif scope.calibration_version is not None:
            calibrations[scope.calibration_version] = quality
    return dict(sorted(policies.items())), dict(sorted(calibrations.items()))


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "observed": _figure(found.observed),
        "positive": _figure(found.positive),
        "kappa": _figure(found.kappa),
        "unclear": found.unclear,
    }


def _figure(figure: Figure) -> dict[str, Any]:
    known = figure.interval
    return {
        "n": figure.n,
        "point": known and known.point,
        "lower": known and known.lower,
        "upper": known and known.upper,
    }
