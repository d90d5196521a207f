"""Another number of things."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from thresholds.kinds.grammar import Sentence, in_case_of, parse
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original
from thresholds.kinds.words import (
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    INTRANSITIVE,
    IRREGULAR,
    NOUNS,
    NUMBER_WORDS,
    NUMBERS,
    PEOPLE,
    PLURALS,
    PREPOSITIONS,
    PRONOUNS,
    TRANSITIVE,
    VAGUE,
    plural,
)

_CLOSED = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | PRONOUNS | AUXILIARIES
# Two and three are easily miscounted, by people too; far more is no hard case.
_LEAST_APART = 2
_USUAL_MOST, _MOST_MORE, _MOST = 6, 3, 10
_MOST_ADJECTIVES = 3
_OF_ONE = {
    "is": "are",
    "was": "were",
    "has": "have",
    **{third: base for base, (third, _) in (TRANSITIVE | INTRANSITIVE).items()},
}
_ING = {ing for _, ing in (TRANSITIVE | INTRANSITIVE).values()}
# Before a number they make it a name, a time or about that many.
_NOT_COUNTED = {"about", "number", "no", "room", "route", "gate", "at", "than", "or", "nearly"}
_SEVERAL_PEOPLE = {"people", "men", "women", "boys", "girls", "kids", "children", "players"}


@dataclass(frozen=True, slots=True)
class _Counted:
    """Words `first` to `last` say a number of things; another goes before `rest` in their place."""

    first: int
    last: int
    value: int
    rest: tuple[str, ...] = ()


def count(pair: Original, world: World) -> Planned:
    """Plan the caption with a number changed by two or more, or with several things for one."""
    sentence = parse(pair.caption)
    own = {word for caption in pair.photo.captions for word in parse(caption).words}
    ways = [*_numbers(sentence), *_couples(sentence), *_first_thing(sentence, own)]
    if not ways:
        raise NotMade("no number that can be changed")
    if own & VAGUE:
        raise NotMade("a caption speaks of a group or of several")
    rng = world.rng("count", pair.photo.sha256, pair.caption)
    counted = rng.choice(ways)
    numbers = _others(counted.value, own)
    if not numbers:
        raise NotMade("others might be true too")
    model = sentence.tokens[sentence.at[counted.first]]
    other = rng.choice(numbers)
    word = str(other) if model.isdigit() else in_case_of(model, NUMBER_WORDS[other])
    text = sentence.replaced(counted.first, counted.last, [word, *counted.rest])
    return Planned(text.upper() if pair.caption.isupper() else text)


def _others(value: int, own: set[str]) -> list[int]:
    """Numbers that nobody takes for `value`, none of them said of the image."""
    said = {NUMBERS[word] for word in own if word in NUMBERS}
    said |= {int(word) for word in own if word.isdecimal()}
    most = min(max(_USUAL_MOST, value + _MOST_MORE), _MOST)
    return [n for n in range(2, most + 1) if abs(n - value) >= _LEAST_APART and n not in said]


def _numbers(sentence: Sentence) -> Iterator[_Counted]:
    """Yield each number above one that counts things."""
    for number, word in enumerate(sentence.words):
        value = NUMBERS.get(word) or (int(word) if word.isdecimal() and len(word) < 3 else 0)
        before = sentence.words[number - 1] if number else ""
        if 2 <= value <= _MOST and before not in _NOT_COUNTED and _counts(sentence, number):
            yield _Counted(number, number, value)


def _couples(sentence: Sentence) -> Iterator[_Counted]:
    """Yield each "a couple of" things."""
    words = sentence.words
    for number in range(len(words) - 3):
        is_couple = words[number : number + 3] in (("a", "couple", "of"), ("a", "pair", "of"))
        if is_couple and _counts(sentence, number + 2):
            yield _Counted(number, number + 2, 2)


def _counts(sentence: Sentence, number: int) -> bool:
    """Whether a plural comes soon after, with nothing but adjectives between."""
    for at in range(number + 1, min(number + 2 + _MOST_ADJECTIVES, len(sentence.words))):
        word = sentence.words[at]
        if sentence.closes(at - 1) or word in _CLOSED:
            return False
        if word in PLURALS or (word.endswith("s") and not word.endswith("ss") and len(word) > 3):
            return True
    return False


def _first_thing(sentence: Sentence, own: set[str]) -> Iterator[_Counted]:
    """Yield "A brown dog is" as "… brown dogs are", where all that follows allows it."""
    words = sentence.words
    head = _first_noun(sentence)
    if head is None or not PRONOUNS.isdisjoint(words):
        return
    many = plural(words[head])
    of_people = words[head] in PEOPLE or words[head].endswith("er")
    if many in own or IRREGULAR.get(words[head]) == words[head]:
        return
    if of_people and own & _SEVERAL_PEOPLE:
        return
    named = (*(sentence.original(n, n) for n in range(1, head)), many)
    relative = words[head + 1 : head + 2] in (("that",), ("which",), ("who",))
    verb = head + 2 if relative else head + 1
    # A second verb would have to agree too.
    if not _OF_ONE.keys().isdisjoint(words[verb + 1 :]) or _joins_a_verb(words):
        return
    if verb < len(words) and words[verb] in _OF_ONE and not sentence.closes(head):
        between = (words[head + 1],) if relative else ()
        yield _Counted(0, verb, 1, (*named, *between, _OF_ONE[words[verb]]))
    elif not relative and (verb == len(words) or words[verb] in PREPOSITIONS | _ING):
        yield _Counted(0, head, 1, named)


def _joins_a_verb(words: tuple[str, ...]) -> bool:
    """Whether an "and" is followed by what may be a verb: "holds a spoon and looks at it"."""
    after = [word for before, word in pairwise(words) if before == "and"]
    return any(word.endswith("s") and word not in PLURALS for word in after)


def _first_noun(sentence: Sentence) -> int | None:
    """The number of the noun that "A", "An" or "One" begins, unless it is part of a longer one."""
    words = sentence.words
    if words[:1] not in (("a",), ("an",), ("one",)):
        return None
    for number in range(1, min(2 + _MOST_ADJECTIVES, len(words))):
        following = words[number + 1] if number + 1 < len(words) else ""
        ends = sentence.closes(number) or following in _OF_ONE or following in _CLOSED | _ING
        if words[number] in NOUNS and ends:
            return number if following != "of" else None
        if words[number] in _CLOSED or sentence.closes(number):
            return None
    return None
