"""Two things that change places: "a man rides a horse" becomes "a horse rides a man"."""

from thresholds.kinds.grammar import Phrase, Sentence, parse, phrase_at
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original
from thresholds.kinds.words import (
    CONJUNCTIONS,
    DETERMINERS,
    INTRANSITIVE,
    NUMBERS,
    PASSIVE,
    PICTURES,
    PLACES,
    PRONOUNS,
    SYNONYMS,
    TRANSITIVE,
)

_FINITE = {third for third, _ in (TRANSITIVE | INTRANSITIVE).values()} | {"is", "are"}
_TRANSITIVE = {form for forms in TRANSITIVE.values() for form in forms}
_INTRANSITIVE = {form for forms in INTRANSITIVE.values() for form in forms} | PASSIVE
# The one thing's inside is the other's front: "a man in front of a mirror" is true both ways.
_FACED = {"mirror", "laptop", "computer", "television", "tv", "camera", "monitor", "desk"}
# "In the corner", "on the side" are no things that could be elsewhere.
_PARTS = {
    "top", "side", "front", "back", "middle", "corner", "center", "end", "edge", "row", "pair",
    "couple", "bunch", "piece", "lot", "number", "variety", "distance", "background",
}  # fmt: skip


def word_order(pair: Original, world: World) -> Planned:
    """Plan the caption with the two things around a verb or a place exchanged."""
    sentence = parse(pair.caption)
    for first in range(len(sentence.words)):
        left = phrase_at(sentence, first)
        if left is not None and (first == 0 or not _hangs_on_another(sentence, first)):
            swapped = _swapped(sentence, left)
            if swapped is not None:
                return Planned(swapped)
    raise NotMade("no two things around a verb or a place that could change places")


def _hangs_on_another(sentence: Sentence, first: int) -> bool:
    """Whether the phrase may hang on words before it, so that what it does is not its own."""
    before = sentence.words[:first]
    if before[-1] == "of":
        return before[-2:-1] != ("up",) and PICTURES.isdisjoint(before[-2:])
    return before[-1] not in ("is", "are", "see", "with") and not sentence.closes(first - 1)


def _swapped(sentence: Sentence, left: Phrase) -> str | None:
    start = _after_link(sentence, left.last + 1)
    if start is None or start >= len(sentence.words):
        return None
    right = phrase_at(sentence, start)
    if right is None or _alike(sentence, left, right):
        return None
    link = sentence.words[left.last + 1 : start]
    before = sentence.words[left.first - 1] if left.first else ""
    if not _FINITE.isdisjoint((*link, before)) and left.is_plural != right.is_plural:
        return None
    if before in ("is", "are") and sentence.words[right.first] == "the":
        return None
    if link == ("at",) or not PRONOUNS.isdisjoint(sentence.words[right.last :]):
        return None
    if link[-3:] == ("in", "front", "of") and {left.head, right.head} & _FACED:
        return None
    # A verb after the second thing would get another subject; a list goes on after a comma.
    following = sentence.words[right.last + 1 : right.last + 2]
    if following and following[0] in (*_FINITE, *CONJUNCTIONS, "of", "has"):
        return None
    if sentence.before_comma(right.last):
        return None
    return _exchanged(sentence, left, right, start)


def _after_link(sentence: Sentence, at: int) -> int | None:
    """The number of the word after "that is sitting on", "rides", "on top of"; None without one."""
    words = (*sentence.words, "")
    at += words[at] in ("that", "which", "who")
    at += words[at] in ("is", "are")
    if words[at] in _TRANSITIVE and words[at + 1] in DETERMINERS | NUMBERS.keys():
        return at + 1
    at += words[at] in _INTRANSITIVE
    for place in PLACES:
        if words[at : at + len(place)] == place:
            return at + len(place)
    return None


def _alike(sentence: Sentence, left: Phrase, right: Phrase) -> bool:
    said = {sentence.words[n] for each in (left, right) for n in range(each.first, each.last + 1)}
    heads = SYNONYMS.get(left.head, left.head), SYNONYMS.get(right.head, right.head)
    return heads[0] == heads[1] or bool(said & (PICTURES | _PARTS))


def _exchanged(sentence: Sentence, left: Phrase, right: Phrase, start: int) -> str:
    first, second = (sentence.original(each.first, each.last) for each in (left, right))
    between = "".join(sentence.tokens[sentence.at[left.last] + 1 : sentence.at[start]])
    if first[0].isupper() and second[0].islower():
        first, second = first[0].lower() + first[1:], second[0].upper() + second[1:]
    return sentence.replaced(left.first, right.last, [second + between + first])
