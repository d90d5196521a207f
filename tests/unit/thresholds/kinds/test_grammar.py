"""Sentences are taken apart without loss, and phrases found only where they are sure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresholds.kinds.grammar import article, content_words, parse, phrase_at, with_word
from thresholds.kinds.words import NOUNS, PLURALS, plural


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    """Nothing of a caption is lost or changed by taking it apart."""
    sentence = parse(text)
    assert "".join(sentence.tokens) == text
    assert len(sentence.words) == len(sentence.at)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("a dog on a beach", "a dog"),
        ("a big brown dog sits on a chair", "a big brown dog"),
        ("two red balls and a house", "two red balls"),
        ("A plate of food on a table", None),
        ("a bowl of apples on a table", "a bowl of apples"),
        ("an orange house", "an orange house"),
        ("a man riding a horse", "a man"),
        ("a bike parked under a light", "a bike"),
        ("a quorum on a beach", None),
        ("two dog on a beach", None),
        ("dog on a beach", None),
        ("a", None),
    ],
)
def test_a_noun_phrase_ends_with_a_noun_that_is_known(text: str, phrase: str | None) -> None:
    """What is not sure to be a phrase is none."""
    sentence = parse(text)
    found = phrase_at(sentence, 0)
    assert (found and sentence.original(found.first, found.last)) == phrase


def test_an_article_fits_the_word_that_comes_after_it() -> None:
    """Also where a capital letter begins the sentence."""
    assert with_word(parse("A blue car"), 1, "orange") == "An orange car"
    assert with_word(parse("with an orange car"), 2, "blue") == "with a blue car"
    assert with_word(parse("A BLUE CAR"), 1, "red") == "A RED CAR"
    assert with_word(parse("A BLUE CAR"), 1, "orange") == "AN ORANGE CAR"
    assert (article("house"), article("one-way road"), article("uniform")) == ("a", "a", "a")


def test_plurals_lead_back_to_their_nouns() -> None:
    """Each noun has a plural, and no two share one."""
    assert [plural(n) for n in ("bus", "puppy", "boy", "knife", "woman", "box", "beach")] == [
        "buses", "puppies", "boys", "knives", "women", "boxes", "beaches",
    ]  # fmt: skip
    assert len(PLURALS) == len(NOUNS)


def test_content_words_are_what_a_caption_shows() -> None:
    """Numbers count as words, plurals as their singular, and function words not at all."""
    assert content_words("There are 2 dogs on the beach") == ["two", "dog", "beach"]
    assert content_words("two DOGS, on a beach") == ["two", "dog", "beach"]
