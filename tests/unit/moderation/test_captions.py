"""Which captions hold a word that could match an image."""

import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import captions
from moderation.captions import caption_fault
from moderation.types import Reason

LETTERS = st.text(st.characters(categories=["L"]), min_size=1)


@pytest.mark.parametrize(
    "caption",
    ["", " ", "\n\t", "\u00a0\u3000\u2003", "\u200b\ufeff", "...", "?!", "—", "«»", "、。", "-_-"],
)
def test_captions_without_any_sign_are_empty(caption: str) -> None:
    """White space, invisible characters and punctuation say nothing."""
    assert caption_fault(caption) is Reason.CAPTION_EMPTY


@pytest.mark.parametrize(
    "caption",
    [
        pytest.param("😀", id="one"),
        pytest.param("😀 🎉\n🔥", id="several"),
        pytest.param("😀!!! …", id="with punctuation"),
        pytest.param("❤\ufe0f", id="presentation selector"),
        pytest.param("☀", id="old symbol"),
        pytest.param("👍🏽", id="skin tone"),
        pytest.param("👩🏾‍🚀", id="skin tone and profession"),
        pytest.param("👨‍👩‍👧‍👦", id="ZWJ family"),
        pytest.param("❤️‍🔥", id="ZWJ heart"),
        pytest.param("🇩🇪", id="flag"),
        pytest.param("🇫🇷🇯🇵", id="two flags"),
        pytest.param("🏳️‍🌈", id="ZWJ flag"),
        pytest.param("🏴󠁧󠁢󠁥󠁮󠁧󠁿", id="flag of tags"),
        pytest.param("1️⃣", id="keycap digit"),
        pytest.param("1⃣ 2️⃣", id="keycaps with and without selector"),
        pytest.param("#️⃣*️⃣", id="keycap signs"),
    ],
)
def test_emoji_alone_cannot_be_scored(caption: str) -> None:
    """Emoji of every make-up count as signs, also those that are spelt with digits."""
    assert caption_fault(caption) is Reason.CAPTION_EMOJI_ONLY


@pytest.mark.parametrize(
    "caption",
    [
        "https://example.com/dog.jpg",
        "HTTPS://EXAMPLE.COM/DOG",
        "ftp://example.com/a%20dog?is=on&the=beach#now",
        "http://例え.jp/犬",
        "www.example.com",
        "example.com/a-dog",
        "example.com",
        "shop.example.co.uk",
        "bücher.example",
        "  example.com\n",
        "(https://example.com)",
        "https://example.com/1 https://example.org/2",
        "https://example.com/1\nwww.example.org",
        "https://example.com example.org",
        "https://example.com 😀 https://example.org 🇩🇪",
        "🔥 www.example.com 🔥",
        "1️⃣ https://example.com",
        "→ https://example.com !!!",
    ],
)
def test_urls_alone_cannot_be_scored(caption: str) -> None:
    """The words in a URL describe no image, whatever signs stand around it."""
    assert caption_fault(caption) is Reason.CAPTION_URL_ONLY


@pytest.mark.parametrize(
    "caption",
    [
        "a dog on the beach",
        "x",
        "собака на пляже",
        "σκύλος",
        "犬",
        "浜辺の犬",
        "해변의 개",
        "समुद्र तट पर कुत्ता",
        "كلب على الشاطئ",
        "כלב",
        "หมา",
        "ძაღლი",
        "շուն",
        "ውሻ",
        "ᎩᎵ",
        "2024",
        "٣",
        "𝓭𝓸𝓰",
        "dog😀",
        "😀 犬 😀",
        "1️⃣ dog",
        "look: https://example.com/dog.jpg",
        "https://example.com/1 and https://example.com/2",
        "example.com is down",
        "Good morning.",
        "Beach.Dog",
        "either/or",
        "e.g. 3.5 km",
    ],
)
def test_a_word_in_any_script_is_scorable(caption: str) -> None:
    """One word outside of a URL is enough, in any script, with any signs beside it."""
    assert caption_fault(caption) is None


@given(before=st.text(), word=LETTERS, after=st.text())
def test_a_word_that_stands_alone_is_always_seen(before: str, word: str, after: str) -> None:
    """No text around it, URLs included, hides a word that white space sets apart."""
    assert caption_fault(f"{before} {word} {after}") is None


@given(
    word=LETTERS,
    urls=st.lists(st.sampled_from(["https://example.com/dog", "www.example.com", "😀", "2️⃣"])),
    place=st.integers(0, 10),
)
def test_urls_never_hide_a_word(word: str, urls: list[str], place: int) -> None:
    """A letter among URLs and emoji makes a caption scorable; without it there is none."""
    words = [*urls[:place], word, *urls[place:]]
    assert caption_fault(" ".join(words)) is None
    assert caption_fault(" ".join(urls)) is not None


# Without unassigned characters: a newer Unicode may have made letters of them.
@given(st.text(st.characters(categories=["Z", "P", "S", "M", "Cc", "Cf"])))
def test_without_letter_or_digit_nothing_is_scorable(caption: str) -> None:
    """Signs, marks and control characters alone never become a score."""
    assert caption_fault(caption) in (Reason.CAPTION_EMPTY, Reason.CAPTION_EMOJI_ONLY)


@given(st.text("abC01 .,:/-'!?#*\n", max_size=20))
def test_what_is_plainly_a_caption_is_one(caption: str) -> None:
    """The short way for plain captions says what the whole way says."""
    quick = caption_fault(caption)
    with patch.object(captions, "_PLAIN", re.compile("(?!)")):
        assert caption_fault(caption) is quick
