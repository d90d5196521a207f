"""A case in words and pictures: nothing in a caption hides or reorders what a person reads."""

import unicodedata
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.review.case_view import Piece, ago, pieces_of, view_of
from moderation.review.documents import CaseOut
from moderation.store.cases import Route
from moderation.types import Note, Reason

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u2060\ufeff\u00ad\x00\x1b"


def a_case(**values: object) -> CaseOut:
    """A case as the API gives it."""
    given: dict[str, object] = dict.fromkeys(CaseOut.model_fields)
    given |= {"id": uuid4(), "platform": "acme", "policy": "default", "caption": "a red ball"}
    given |= {"caption_direction": "ltr", "state": "open", "level": "moderator", "blind": False}
    lists = ("notes_of_verdict", "earlier", "notes", "same_image", "reasons", "reason_required_for")
    return CaseOut.model_validate(given | {name: [] for name in lists} | values)


@pytest.mark.parametrize(
    "caption",
    [
        "a dog & a cat\non <b>grass</b>",
        "می‌خواهم",  # with the joiner that Persian spells with
        "كلب\u200f 12",
        "क्‍ष",
        "犬 👩‍👩‍👧 ❤️ 🏳️‍🌈",
        f"{ENGLAND} match",
    ],
)
def test_what_scripts_and_emoji_need_stays(caption: str) -> None:
    """Joiners, marks, flags and line breaks are part of what the author wrote."""
    assert pieces_of(caption) == [Piece(caption, is_hidden=False)]


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("\u202egnp.exe", ["right-to-left override"]),
        ("f\u200b\u200b\u200bree", ["zero width space ×3"]),
        ("a\u2066b\u2069c", ["left-to-right isolate", "pop directional isolate"]),
        ("\u200b\u2060x", ["2 hidden characters"]),
        ("\x01", ["U+0001".lower()]),
        ("a\U000e0061\U000e0062", ["2 hidden characters"]),
    ],
)
def test_what_hides_or_reorders_is_named(caption: str, names: list[str]) -> None:
    """Such characters have no effect, and a moderator sees that they were there."""
    assert [piece.text for piece in pieces_of(caption) if piece.is_hidden] == names


@given(st.text(st.one_of(st.sampled_from(OVERRIDES), st.characters(exclude_categories=["Cs"]))))
def test_nothing_else_is_changed(caption: str) -> None:
    """What is shown as text is the caption, in order, without what was taken out of it."""
    shown = "".join(piece.text for piece in pieces_of(caption) if not piece.is_hidden)
    assert not set(shown) & set(OVERRIDES)
    kept = (letter for letter in caption if unicodedata.category(letter) not in ("Cc", "Cf", "Zl"))
    letters = (letter for letter in shown if unicodedata.category(letter) not in ("Cc", "Cf", "Zl"))
    ends = str.maketrans("", "", "\u2029")
    assert "".join(letters) == "".join(kept).translate(ends)


def test_every_reason_and_note_has_words() -> None:
    """Whatever the pipeline says of a submission, the page says it in a sentence."""
    for reason in Reason:
        view = view_of(a_case(reason=reason.value))
        assert view.unscorable
        assert view.look_for
    for note in Note:
        assert view_of(a_case(notes_of_verdict=[note.value])).notes
    for route in Route:
        assert view_of(a_case(route=route.value)).route


@pytest.mark.parametrize(
    ("threshold", "anchor"), [(0.01, "start"), (0.35, "middle"), (0.99, "end")]
)
def test_the_bar_keeps_its_words_inside(threshold: float, anchor: str) -> None:
    """A threshold near an end is labelled towards the middle."""
    bar = view_of(a_case(score=0.2, threshold=threshold)).bar
    assert bar is not None
    assert (bar.score, bar.anchor) == (20, anchor)


def test_a_blind_case_has_no_bar_and_no_time() -> None:
    """What is not told is not shown either."""
    view = view_of(a_case(blind=True))
    assert (view.bar, view.route, view.waiting, view.unscorable) == (None, None, None, None)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0, "just now"),
        (59, "59 min ago"),
        (60, "1 h ago"),
        (2879, "47 h ago"),
        (2880, "2 days ago"),
    ],
)
def test_times_are_read_at_a_glance(minutes: int, words: str) -> None:
    """How long ago something was, in the largest unit that still tells."""
    assert ago(datetime.now(UTC) - timedelta(minutes=minutes, seconds=1)) == words
