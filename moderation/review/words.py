"""A case in words: why it is there, and what its score says."""

import unicodedata

from moderation.store.case_reading import StoredCase
from moderation.store.cases import Route

_WHY = {
    Route.UNSCORABLE: "It could not be scored, so a person has to look.",
    Route.AUDIT: "It passed, and was drawn at random to see what passes unseen.",
    Route.GOLDEN: "Its answer is known; it shows how well people decide.",
    Route.APPEAL: "Its author asks for another look.",
}


def why(case: StoredCase) -> str:
    """Why a case is there."""
    if case.route is Route.FLAGGED:
        if case.threshold is None:
            return "It was flagged."
        return f"Its match score is below the threshold of {case.threshold:.2f}."
    return _WHY[case.route]


def score_sentence(score: float, threshold: float) -> str:
    """What a match score says: how many times as likely such a pair is under the other kind.

    A likelihood ratio and no share of posts, since a score does not know how rare mismatches are:
    at 0.35 it is 1.9, and most pairs of 0.35 may still be matches.
    """
    side = "below" if score < threshold else "not below"
    where = f"Match score {score:.2f}, {side} the threshold of {threshold:.2f}."
    less, more = sorted((score, 1 - score))
    kinds = ("matches", "mismatches") if score > 0.5 else ("mismatches", "matches")
    if less < 0.005:
        return f"{where} Almost only {kinds[0]} look like this."
    odds = more / less
    if odds < 1.1:
        return f"{where} A match looks like this as often as a mismatch."
    number = f"{odds:.1f}".removesuffix(".0") if odds < 10 else f"{odds:.0f}"
    return f"{where} Of {kinds[0]}, {number} times as many look like this as of {kinds[1]}."


def direction(text: str) -> str:
    """`rtl` where the first letter that has a direction runs from right to left, else `ltr`."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            return "ltr"
    return "ltr"
