"""What is there, denied."""

from collections.abc import Iterator

from thresholds.kinds.grammar import Sentence, in_case_of, parse, phrase_at
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original
from thresholds.kinds.words import (
    INTRANSITIVE,
    NEGATIONS,
    NUMBERS,
    PICTURES,
    PLURALS,
    TRANSITIVE,
    VAGUE,
)

_ING = {ing for _, ing in (TRANSITIVE | INTRANSITIVE).values()}


def negation(pair: Original, world: World) -> Planned:
    """Plan the caption with its first thing, its verb or what comes with it denied."""
    sentence = parse(pair.caption)
    if not NEGATIONS.isdisjoint(sentence.words) or any(w.endswith("n't") for w in sentence.words):
        raise NotMade("already a negation")
    ways = [*_no_subject(sentence), *_no_verb(sentence), *_without(sentence)]
    if not ways:
        raise NotMade("no part that can be denied for sure")
    return Planned(world.rng("negation", pair.photo.sha256, pair.caption).choice(ways))


def _no_subject(sentence: Sentence) -> Iterator[str]:
    """Yield "A dog on a beach" as "No dog on a beach", "There is a dog" as "There is no dog"."""
    words = sentence.words
    start = 2 if words[:2] in (("there", "is"), ("there", "are")) else 0
    if start == len(words):
        return
    if words[start] in PLURALS and start + 1 < len(words):
        first = sentence.original(start, start)
        no = in_case_of(first, "no") if start == 0 else "no"
        rest = first.lower() if start == 0 and not first.isupper() else first
        yield sentence.replaced(start, start, [no, rest])
        return
    if words[start : start + 3] in (("a", "couple", "of"), ("a", "pair", "of")):
        yield sentence.replaced(start, start + 2, [_cased(sentence, start, "no")])
        return
    if words[start : start + 2] == ("a", "few"):
        yield sentence.replaced(start, start + 1, [_cased(sentence, start, "no")])
        return
    phrase = phrase_at(sentence, start)
    if phrase is None or words[start] == "the" or PICTURES & set(words[start : phrase.last + 1]):
        return
    yield sentence.replaced(start, start, [_cased(sentence, start, "no")])


def _no_verb(sentence: Sentence) -> Iterator[str]:
    """Yield "is riding" as "is not riding"."""
    for number, word in enumerate(sentence.words[:-1]):
        # That several are not riding leaves others who are.
        some = not VAGUE.isdisjoint(sentence.words[:number])
        if word in ("is", "are") and sentence.words[number + 1] in _ING and not some:
            old = sentence.original(number, number)
            yield sentence.replaced(number, number, [old, "NOT" if old.isupper() else "not"])


def _without(sentence: Sentence) -> Iterator[str]:
    """Yield "a kitchen with a sink" as "a kitchen without a sink"."""
    words = sentence.words
    for number, word in enumerate(words[1:-1], 1):
        if word != "with" or words[number - 1].endswith(("ed", "ing")):
            continue
        has = words[number + 1]
        phrase = phrase_at(sentence, number + 1)
        if phrase is None or has in NUMBERS or PICTURES & set(words[number : phrase.last + 1]):
            continue
        # "Without a sink and a tub" denies both; it is false all the same.
        before = words[number - 1]
        if before in PLURALS or _ends_a_phrase(sentence, number):
            yield sentence.replaced(number, number, [_cased(sentence, number, "without")])


def _ends_a_phrase(sentence: Sentence, number: int) -> bool:
    """Whether a noun phrase ends right before a word."""
    for first in range(max(0, number - 5), number):
        phrase = phrase_at(sentence, first)
        if phrase is not None and phrase.last == number - 1:
            return True
    return False


def _cased(sentence: Sentence, number: int, word: str) -> str:
    old = sentence.original(number, number)
    if old == "A" and "".join(sentence.tokens).isupper():
        return word.upper()
    return in_case_of(old, word)
