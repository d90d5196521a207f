"""Calibrations and what is published, in words for people."""

from collections.abc import Iterator
from datetime import UTC, datetime

from moderation.curves import Beta, Curve, Platt
from moderation.published import State
from moderation.types import DEFAULT_POLICY
from thresholds.artifact import Artifact, Interval
from thresholds.differences import lowest_passing


def live_name(state: State, policy: str) -> str:
    """The live version, or where it comes from instead."""
    if state.live_version:
        return state.live_version
    return "what its workers started with" if policy == DEFAULT_POLICY else "the default's"


def trial(state: State) -> str:
    """What the candidate does; empty without one."""
    if state.candidate_version is None or state.candidate_share is None:
        return ""
    how = f"for {percent(state.candidate_share)}" if state.candidate_share else "only counted"
    return f"{state.candidate_version}, {how}"


def percent(share: float) -> str:
    """A share as people say it: 0.1 is 10 %."""
    return f"{100 * share:.3g} %"


def moment(at: datetime) -> str:
    """A moment to the minute, in UTC as the logs have it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def interval(found: Interval) -> str:
    """An estimate with its 95 % interval."""
    return f"{found.point:.3f} ({found.lower:.3f} to {found.upper:.3f})"


def doubts(artifact: Artifact) -> list[str]:
    """What one should mind before using a calibration, by its own held-out pairs."""
    report = artifact.report
    found = list(_uneven(artifact))
    if report.auc.lower <= 0.5:
        auc = interval(report.auc)
        found.append(f"It may be no better than chance (AUC {auc}): look at labels and model.")
    elif report.recall.point == 0:
        found.append(f"At {artifact.threshold:g} it flags none of the held-out mismatches.")
    return found


def _uneven(artifact: Artifact) -> Iterator[str]:
    for name, count, effective in (
        ("matches", artifact.matches, artifact.effective_matches),
        ("mismatches", artifact.mismatches, artifact.effective_mismatches),
    ):
        if effective is not None and effective < count / 2:
            yield (
                f"Weights differ much: the {count:,} {name} fitted on tell about as much as "
                f"{effective:,.0f} of equal weight, and a and b are less sure than their intervals "
                "say. More audits even it out."
            )


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number):.3f}"


def curve_formula(curve: Curve) -> str:
    """The formula of a curve, or what stands for one."""
    if isinstance(curve, Platt):
        return f"sigmoid({curve.a:.3f} * cosine {_signed(curve.b)})"
    if isinstance(curve, Beta):
        return (
            f"sigmoid({curve.a:.3f} ln p - {curve.b:.3f} ln(1 - p) {_signed(curve.c)}), "
            "p = (1 + cosine) / 2"
        )
    return f"straight lines between {len(curve.cosines)} knots (isotonic)"


def describe(artifact: Artifact, version: str) -> list[str]:
    """A calibration in a few lines."""
    border = lowest_passing(artifact.curve, artifact.threshold)
    flagged = "every cosine" if border is None else f"cosines below {border:.4f}"
    lines = [
        f"{version}, a calibration of {artifact.model}",
        f"  model fingerprint {artifact.fingerprint}",
        f"  flags match scores below {artifact.threshold:g}: {flagged}",
        f"  match score = {curve_formula(artifact.curve)}",
        f"  fitted on {artifact.matches:,} matches and {artifact.mismatches:,} mismatches",
    ]
    if artifact.cold_start:
        lines.append("  made without labels (cold start): replace it once some are decided")
    if choice := artifact.choice:
        sure = f", guaranteed at {percent(choice.confidence)}" if choice.confidence else ""
        lines += [
            f"  its threshold was chosen for {choice.target}{sure}",
            f"    recall {interval(choice.recall)}",
            f"    precision {interval(choice.precision)}",
            f"    at a prevalence of {percent(choice.prevalence)} mismatches",
        ]
    report = artifact.report
    lines += [
        f"  on {report.n:,} held-out pairs:",
        f"    recall {interval(report.recall)}",
        f"    matches flagged {interval(report.false_positive_rate)}",
        f"    AUC {interval(report.auc)}",
        f"    expected calibration error {report.expected_calibration_error:.3f}",
        f"  made {moment(artifact.created_at)} UTC",
        *(f"  mind: {doubt}" for doubt in doubts(artifact)),
    ]
    return lines
