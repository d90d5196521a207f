"""A case as its page shows it: the caption made safe to look at, and the rest in words."""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime

import regex

from moderation.review.documents import CaseOut
from moderation.types import Note, Reason

# What reorders or hides letters. Not in it: marks and joiners that scripts and emoji need, signs
# that only count as such (Arabic's end of ayah), and the flags that are spelled with tags.
_HIDDEN = regex.compile(
    r"\N{WAVING BLACK FLAG}[\U000E0020-\U000E007E]+\U000E007F(*SKIP)(*FAIL)"
    r"|[[\p{Cc}\p{Cf}]--[\n\t\u200c-\u200f\u061c\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2]]+",
    regex.VERSION1,
)
_LINE_ENDS = regex.compile(r"\r\n|[\r\v\f\u0085\u2028\u2029]")

_START_CHARS = 200

_UNSCORABLE = {
    Reason.IMAGE_URL_REFUSED: "The image's address is one that this service must not call.",
    Reason.IMAGE_NOT_FOUND: "The image was not there any more when it was fetched.",
    Reason.IMAGE_UNREACHABLE: "The server with the image did not answer in time.",
    Reason.IMAGE_TOO_MANY_BYTES: "The image's file is larger than what is accepted.",
    Reason.IMAGE_TOO_MANY_PIXELS: "The image has more pixels than what is accepted.",
    Reason.IMAGE_UNSUPPORTED: "The file is not an image of a kind that can be read.",
    Reason.IMAGE_CORRUPT: "The image's file is damaged.",
    Reason.IMAGE_DECODER_FAILED: "Reading the image's file failed; such a file may be an attack.",
    Reason.CAPTION_EMPTY: "The caption holds no word: only space and punctuation.",
    Reason.CAPTION_EMOJI_ONLY: "The caption holds no word: only emoji and signs.",
    Reason.CAPTION_URL_ONLY: "The caption holds no word: only links.",
    Reason.SCORING_FAILED: "The model gave no score for this pair.",
}
_LOOK_FOR = {
    "image": "Look at the caption, and at what of the image there is. Without an image nobody can "
    "call it a match: choose unsure, or escalate what looks harmful.",
    "caption": "Look at the image by itself: does it, with such a caption, break the policy?",
    "scoring": "Nothing is known about the pair: compare image and caption yourself.",
}
_NOTES = {
    Note.FIRST_FRAME_ONLY: "The image moves; only its first frame was scored.",
    Note.CAPTION_TRUNCATED: "The caption is longer than what the model reads; its end did not "
    "count for the score.",
}
_ROUTES = {
    "flagged": "Flagged",
    "unscorable": "Unscorable",
    "audit": "Audit",
    "golden": "Golden",
    "appeal": "Appeal",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a caption: text, or the name of characters that were taken out of it."""

    text: str
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """Where score and threshold lie on a bar from 0 to 100, and how the words are anchored."""

    score: float
    threshold: float
    anchor: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """What the template of a case needs beside the case itself."""

    case: CaseOut
    caption: list[Piece]
    caption_start: list[Piece]
    bar: Bar | None
    route: str | None
    waiting: str | None
    unscorable: str | None
    look_for: str | None
    notes: list[str]
    labels: dict[str, str]


def view_of(case: CaseOut) -> CaseView:
    """The page's view of a case."""
    reason = Reason(case.reason) if case.reason else None
    return CaseView(
        case=case,
        caption=pieces_of(case.caption),
        caption_start=pieces_of(_start(case.caption)),
        bar=_bar_of(case),
        route=_ROUTES[case.route] if case.route else None,
        waiting=ago(case.created_at) if case.created_at else None,
        unscorable=_UNSCORABLE[reason] if reason else None,
        look_for=_LOOK_FOR[reason.partition("_")[0]] if reason else None,
        notes=[_NOTES[Note(note)] for note in case.notes_of_verdict],
        labels={reason.key: reason.label for reason in case.reasons},
    )


def pieces_of(caption: str) -> list[Piece]:
    """Split a caption so that characters that hide or reorder others are named instead."""
    text = _LINE_ENDS.sub("\n", caption)
    pieces, at = [], 0
    for match in _HIDDEN.finditer(text):
        if match.start() > at:
            pieces.append(Piece(text[at : match.start()], is_hidden=False))
        pieces.append(Piece(_name(match.group()), is_hidden=True))
        at = match.end()
    if at < len(text):
        pieces.append(Piece(text[at:], is_hidden=False))
    return pieces


def ago(since: datetime) -> str:
    """How long ago that was, in words that are short enough to be read at a glance."""
    minutes = int((datetime.now(UTC) - since).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 48 * 60:
        return f"{minutes // 60} h ago"
    return f"{minutes // (24 * 60)} days ago"


def _start(caption: str) -> str:
    return caption if len(caption) <= _START_CHARS else f"{caption[:_START_CHARS]}…"


def _name(hidden: str) -> str:
    if len(set(hidden)) > 1:
        return f"{len(hidden)} hidden characters"
    name = unicodedata.name(hidden[0], f"U+{ord(hidden[0]):04X}").lower()
    return name if len(hidden) == 1 else f"{name} ×{len(hidden)}"


def _bar_of(case: CaseOut) -> Bar | None:
    if case.score is None or case.threshold is None:
        return None
    threshold = 100 * case.threshold
    anchor = "start" if threshold < 20 else "end" if threshold > 80 else "middle"
    return Bar(score=100 * case.score, threshold=threshold, anchor=anchor)
