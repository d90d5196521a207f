"""Captions become the model's own tokens, and a cut one is known as cut."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip import SimpleTokenizer

from moderation.scoring.text import CaptionTokenizer, forget_words, tokenize
from moderation.scoring.words import Words

TOKENIZER = SimpleTokenizer()
# Two places go to the tokens of start and end.
SPECIAL = 2


@given(n_words=st.integers(0, 60), context_length=st.integers(4, 50))
def test_a_caption_is_cut_exactly_when_it_does_not_fit(n_words: int, context_length: int) -> None:
    """With words of one token each, the last that fits is not cut and the next one is."""
    tokens = tokenize(" ".join(["dog"] * n_words), TOKENIZER, context_length)
    assert tokens.truncated == (n_words + SPECIAL > context_length)


@given(st.text(max_size=80), st.integers(4, 40))
def test_any_text_is_cut_exactly_when_it_does_not_fit(caption: str, context_length: int) -> None:
    """Also where a character is several tokens, it is their number that counts."""
    tokens = tokenize(caption, TOKENIZER, context_length)
    assert tokens.truncated == (len(TOKENIZER.encode(caption)) + SPECIAL > context_length)


@given(st.text(max_size=80), st.integers(4, 77))
def test_tokens_are_the_models_own(caption: str, context_length: int) -> None:
    """The ids are those that the tokenizer gives, one row as long as the context."""
    tokens = tokenize(caption, TOKENIZER, context_length)
    assert torch.equal(tokens.ids, TOKENIZER([caption], context_length=context_length)[0])
    assert (tokens.ids.shape, tokens.ids.dtype) == ((context_length,), torch.int64)


@pytest.mark.parametrize(
    ("caption", "is_cut"),
    [
        ("", False),
        ("dog " * 75, False),
        ("dog " * 75 + "\n ", False),
        ("dog " * 76, True),
        ("dog " * 75 + "😀", True),
        ("犬" * 200, True),
    ],
)
def test_a_standard_context_holds_75_words(caption: str, is_cut: bool) -> None:
    """CLIP's 77 places take 75 short words; white space takes none."""
    assert tokenize(caption, TOKENIZER, 77).truncated == is_cut


def test_what_is_cut_off_changes_no_token() -> None:
    """Past the limit the model sees nothing, which is what the mark is for."""
    one, other = (tokenize("dog " * 75 + word, TOKENIZER, 77) for word in ("cat", "horse"))
    assert torch.equal(one.ids, other.ids)
    assert one.truncated
    assert other.truncated


@pytest.mark.parametrize(
    "caption",
    ["a dog<end_of_text> and more", "a dog <END_OF_TEXT>", "a dog &lt;end_of_text&gt; and more"],
)
def test_a_caption_that_ends_itself_early_is_marked(caption: str) -> None:
    """CLIP reads up to the first end token: what a caption hides behind one counts as cut."""
    assert tokenize(caption, TOKENIZER, 77).truncated


@pytest.mark.parametrize("caption", ["<3", "the end of text", "<end>", "<start_of_text> a dog"])
def test_other_brackets_cut_nothing(caption: str) -> None:
    """Only the end token itself ends a caption."""
    assert not tokenize(caption, TOKENIZER, 77).truncated


def test_a_tokenizer_forgets_words_but_not_its_special_tokens() -> None:
    """However many words it has seen, a tokenizer keeps a bounded number and works the same."""
    tokenizer = SimpleTokenizer()
    before = tokenizer(["a red ball <end_of_text>"])
    for first, second in itertools.product("bcdfghjklmnpqrst", repeat=2):
        tokenizer([f"x{first}{second}z"])
    assert len(tokenizer.cache) > 200
    forget_words(tokenizer, at_most=100)
    assert len(tokenizer.cache) <= 2
    assert torch.equal(tokenizer(["a red ball <end_of_text>"]), before)


def test_an_endless_word_is_cut_before_it_is_encoded() -> None:
    """A caption far longer than the context is marked, and only its beginning is encoded."""
    seen: list[str] = []
    inner = SimpleTokenizer()

    def watching(texts: list[str], context_length: int) -> torch.Tensor:
        seen.extend(texts)
        return inner(texts, context_length=context_length)

    tokens = tokenize("xq" * 5000, watching, 77)
    assert tokens.truncated
    assert max(map(len, seen)) <= 77 * 32


@given(
    caption=st.text(max_size=80)
    | st.text("aB1 .,!?'\"()&;<>-\t“é", max_size=80)
    | st.lists(st.sampled_from(["dog", "dog's", "&amp;", "<end_of_text>", "犬", "I'll"])).map(
        " ".join
    ),
    context_length=st.integers(4, 77),
)
def test_remembered_words_give_the_same_tokens(caption: str, context_length: int) -> None:
    """Word by word, as a worker does it, a caption has the tokens and the mark it has at once."""
    expected = tokenize(caption, TOKENIZER, context_length)
    # Where a spelled end stands exactly at the end, either mark is true.
    spells_end = TOKENIZER.eot_token_id in TOKENIZER.encode(caption)
    tokenizer = CaptionTokenizer(TOKENIZER, context_length)
    for _ in range(2):
        tokens = tokenizer.tokenize(caption)
        assert torch.equal(tokens.ids, expected.ids)
        assert tokens.truncated == (expected.truncated or spells_end)


def test_a_tokenizer_of_another_kind_is_asked_itself() -> None:
    """One that treats captions in another way keeps doing so."""
    dropping = SimpleTokenizer(context_length=8, reduction_mask="shuffle")
    assert Words.of(dropping) is None
    assert Words.of(SimpleTokenizer(clean="canonicalize")) is None
    assert Words.of(TOKENIZER) is not None
