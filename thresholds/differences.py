"""What differs between two calibrations, and for which cosines that changes the verdict. Pure."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moderation.curves import Curve
from thresholds.artifact import Artifact, Reference


@dataclass(frozen=True, slots=True)
class Field:
    """A figure that differs; `name` is its place in the artifact, such as `report.auc`."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Shift:
    """Cosines from `lower` up to, but without, `upper` get another verdict under the second.

    `matches` and `mismatches` are the shares of either class that the second was made from
    and that lie there; None where it does not say.
    """

    lower: float
    upper: float
    becomes: str
    matches: float | None
    mismatches: float | None


@dataclass(frozen=True, slots=True)
class Differences:
    """Between two calibrations; `flags_below` are the lowest cosines that pass, None if none do.

    `shift` is None where no verdict changes or, with `same_model` false, none can be compared.
    """

    fields: tuple[Field, ...]
    same_model: bool
    flags_below: tuple[float | None, float | None]
    shift: Shift | None

    def to_document(self) -> dict[str, Any]:
        """The document that tools read."""
        return {
            "same_model": self.same_model,
            "differences": [asdict(field) for field in self.fields],
            "flags_below": dict(zip("ab", self.flags_below, strict=True)),
            "verdicts_change": asdict(self.shift) if self.shift else None,
        }


def differences(a: Artifact, b: Artifact) -> Differences:
    """What the second has that the first has not."""
    same_model = a.fingerprint == b.fingerprint
    borders = lowest_passing(a.curve, a.threshold), lowest_passing(b.curve, b.threshold)
    old, new = (_leaves(x.model_dump(mode="json")) for x in (a, b))
    fields = tuple(
        Field(name, old.get(name), new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )
    shift = _shift(*borders, b.reference) if same_model else None
    return Differences(fields, same_model, borders, shift)


def lowest_passing(curve: Curve, threshold: float) -> float | None:
    """The lowest cosine in [-1, 1] that is not flagged, to the last digit; None if all are."""
    low, high = -1.0, 1.0
    if curve.score(high) < threshold:
        return None
    if curve.score(low) >= threshold:
        return low
    # A curve never falls, so that the halves stay one flagged and one not.
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if curve.score(middle) < threshold else (low, middle)
    return high


def _shift(old: float | None, new: float | None, reference: Reference | None) -> Shift | None:
    if old == new:
        return None
    # Where nothing passes, cosines up to the highest are flagged.
    before, after = (1.0 if border is None else border for border in (old, new))
    lower, upper = sorted((before, after))
    matches = mismatches = None
    if reference is not None:
        matches = _between(reference.match_quantiles, lower, upper)
        mismatches = _between(reference.mismatch_quantiles, lower, upper)
    return Shift(lower, upper, "flag" if after > before else "pass", matches, mismatches)


def _between(quantiles: tuple[float, ...], lower: float, upper: float) -> float:
    below = np.interp([lower, upper], quantiles, np.linspace(0, 1, len(quantiles)))
    return float(below[1] - below[0])


def _leaves(document: Any, name: str = "") -> dict[str, Any]:
    """Figures by their place; an interval or a list is one figure."""
    if not isinstance(document, dict) or "point" in document:
        return {name: document}
    leaves: dict[str, Any] = {}
    for key, value in document.items():
        leaves |= _leaves(value, f"{name}.{key}" if name else key)
    return leaves
