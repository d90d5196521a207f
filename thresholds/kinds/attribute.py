"""A colour, size or material exchanged for another of its class."""

from collections.abc import Iterator

from thresholds.kinds.grammar import Sentence, parse, with_word
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original
from thresholds.kinds.words import (
    AUXILIARIES,
    COLOURS,
    CONJUNCTIONS,
    DETERMINERS,
    LOOK_ALIKE,
    MATERIALS,
    PEOPLE,
    PICTURES,
    PREPOSITIONS,
    PRONOUNS,
    SIZES,
)

_CLASSES = COLOURS | SIZES | MATERIALS
# A word before one of these stands alone.
_ENDING = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | PRONOUNS | AUXILIARIES | {""}
# What goes with a colour, size or material without being described by it.
_FIXED = {
    "little": {"bit", "league", "more", "too", "while", "food", "water"},
    "long": {"shot", "time", "sleeve", "sleeves", "sleeved", "way"},
    "short": {"sleeve", "sleeves", "sleeved"},
    "orange": {"juice", "peel", "peels", "slice", "slices", "tree", "trees"},
    "red": {"wine", "light", "bull", "cross"},
    "white": {"wine", "house", "water"},
    "green": {"tea", "light", "bean", "beans", "pepper", "peppers", "onion", "onions"},
    "black": {"bear", "bears", "pepper", "eye", "tie", "board", "olives", "beans"},
    "blue": {"jay", "jeans", "cheese"},
    "brown": {"bear", "bears", "rice"},
    "big": {"ben", "bird"},
    "tall": {"as"},
    "brick": {"lined"},
}
_PHOTO = {"photo", "picture", "photograph", "image", "shot", "portrait"}
_LINKS = {"is", "are", "was", "were"}


def attribute(pair: Original, world: World) -> Planned:
    """Plan the caption with one attribute changed into what no caption of the image says."""
    sentence = parse(pair.caption)
    own = {word for caption in pair.photo.captions for word in parse(caption).words}
    choices = [
        (number, other)
        for number, others in _attributes(sentence)
        for other in others
        if other not in own and not any(row & own for row in LOOK_ALIKE if other in row)
    ]
    if not choices:
        has_any = next(_attributes(sentence), None)
        raise NotMade("others might be true too" if has_any else "no colour, size or material")
    number, other = world.rng("attribute", pair.photo.sha256, pair.caption).choice(choices)
    return Planned(with_word(sentence, number, other))


def _attributes(sentence: Sentence) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield each word that describes a thing, by number, with what it could be changed into."""
    words = sentence.words
    is_grey = "black and white" in " ".join(words) and not _PHOTO.isdisjoint(words)
    for number, word in enumerate(words):
        others = _CLASSES.get(word, ())
        if not others or (is_grey and word in ("black", "white")):
            continue
        following = words[number + 1] if number + 1 < len(words) else ""
        if following in _FIXED.get(word, ()) or following in PEOPLE | PICTURES:
            continue
        goes_on = following == "and" and not _CLASSES.keys().isdisjoint(words[number + 2 :][:1])
        before_a_noun = (following not in _ENDING or goes_on) and not sentence.closes(number)
        if before_a_noun or (word in COLOURS and _is_said_of_a_subject(sentence, number)):
            yield number, others


def _is_said_of_a_subject(sentence: Sentence, number: int) -> bool:
    """Whether a colour is the predicate, as in "the kitchen is yellow"."""
    return number > 0 and sentence.words[number - 1] in _LINKS
