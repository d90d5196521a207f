"""Sentences as words: splitting, joining, articles, capital letters, noun phrases."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from thresholds.kinds.words import (
    ADVERBS,
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    FUNCTION_WORDS,
    NOUNS,
    NUMBERS,
    PLURALS,
    PREPOSITIONS,
    PRONOUNS,
)

# Words with what binds them ("walk-in", "chef's", "8:25"), single signs, white space.
_TOKEN = re.compile(r"[^\W_]+(?:['’:.,/-][^\W_]+)*|\s+|.", re.DOTALL)
_BOUNDARIES = DETERMINERS | PRONOUNS | PREPOSITIONS | CONJUNCTIONS | AUXILIARIES | ADVERBS
_MOST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Sentence:
    """A caption as tokens; `at` are the positions of its words, `words` the words in lower case."""

    tokens: tuple[str, ...]
    at: tuple[int, ...]
    words: tuple[str, ...]

    def replaced(self, first: int, last: int, by: Sequence[str]) -> str:
        """The text with words `first` to `last`, both included, replaced."""
        before = self.tokens[: self.at[first]]
        after = self.tokens[self.at[last] + 1 :]
        return "".join((*before, " ".join(by), *after))

    def original(self, first: int, last: int) -> str:
        """The text from word `first` to word `last`, as it stands."""
        return "".join(self.tokens[self.at[first] : self.at[last] + 1])

    def before_comma(self, number: int) -> bool:
        """Whether a comma comes right after a word."""
        return "".join(self.tokens[self.at[number] + 1 :]).lstrip().startswith(",")

    def closes(self, number: int) -> bool:
        """Whether a sign or the end of the text comes right after a word."""
        rest = self.tokens[self.at[number] + 1 :]
        following = "".join(rest).lstrip()
        return not following or not following[0].isalnum()


def parse(text: str) -> Sentence:
    """Split a text; joined again, its tokens are the text."""
    tokens = tuple(_TOKEN.findall(text))
    at = tuple(n for n, token in enumerate(tokens) if token[0].isalnum())
    return Sentence(tokens, at, tuple(tokens[n].lower().replace("’", "'") for n in at))


def content_words(text: str) -> list[str]:
    """The words that say what is shown, in the singular, numbers as words."""
    words = []
    for word in parse(text).words:
        if word.isdigit():
            word = next((name for name, value in NUMBERS.items() if str(value) == word), word)
        if word not in FUNCTION_WORDS:
            words.append(PLURALS.get(word) or _folded(word))
    return words


def _folded(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def article(before: str) -> str:
    """The indefinite article of what a word begins."""
    vowel = before[:1].lower() in "aeiou" and not before.lower().startswith(("one", "uni", "eu"))
    return "an" if vowel or before.lower().startswith(("8", "11", "18")) else "a"


def in_case_of(model: str, word: str) -> str:
    """A word with the capital letters of another."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def with_word(sentence: Sentence, number: int, word: str) -> str:
    """The text with one word exchanged, and the article before it made to fit."""
    new = in_case_of(sentence.tokens[sentence.at[number]], word)
    if number and sentence.words[number - 1] in ("a", "an"):
        old = sentence.tokens[sentence.at[number - 1]]
        fitting = in_case_of(old, article(word))
        return sentence.replaced(
            number - 1, number, [fitting.upper() if new.isupper() else fitting, new]
        )
    return sentence.replaced(number, number, [new])


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase: words `first` to `last`; `head` is its noun, in the singular."""

    first: int
    last: int
    head: str
    is_plural: bool


def phrase_at(sentence: Sentence, first: int) -> Phrase | None:
    """The noun phrase that begins with the determiner or number at a word, if one surely does.

    It ends with a noun of the list, before a word that cannot belong to it or a sign; the noun
    of "a plate of food" is the plate.
    """
    words = sentence.words
    counted = words[first] in NUMBERS or words[first].isdigit()
    if words[first] not in DETERMINERS and not counted:
        return None
    last = _end_of_words(sentence, first)
    if last == first:
        return None
    head, is_plural = _noun(words[last])
    if last + 2 < len(words) and words[last + 1] == "of" and not sentence.closes(last):
        end = last + 2 if words[last + 2] not in DETERMINERS else last + 3
        if end >= len(words) or not _noun(words[end])[0] or not _ends(sentence, end):
            return None
        return Phrase(first, end, head, is_plural) if head else None
    agrees = is_plural if counted and words[first] not in ("one", "1") else True
    return Phrase(first, last, head, is_plural) if head and agrees else None


def _end_of_words(sentence: Sentence, first: int) -> int:
    last = first
    while last + 1 < len(sentence.words) and last - first < _MOST_WORDS:
        if last > first and _ends(sentence, last):
            break
        if sentence.words[last + 1] in _BOUNDARIES or (last > first and sentence.closes(last)):
            break
        last += 1
    return last


def _ends(sentence: Sentence, last: int) -> bool:
    """Whether a noun phrase cannot go on after a word."""
    if last + 1 == len(sentence.words) or sentence.closes(last):
        return True
    following = sentence.words[last + 1]
    if following in _BOUNDARIES:
        return True
    # "a man riding", "a bike parked", "a dog sits": a noun of ours and then a verb's form.
    is_noun = bool(_noun(sentence.words[last])[0])
    return is_noun and not _noun(following)[0] and following.endswith(("ing", "ed", "s"))


def _noun(word: str) -> tuple[str, bool]:
    """The singular of a noun and whether the word is the plural; "" where it is none of ours."""
    if word in NOUNS:
        return word, False
    if word in PLURALS:
        return PLURALS[word], True
    return "", False
