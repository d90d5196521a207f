"""Another name: of a place, a nationality, a maker, a person."""

from collections.abc import Iterator

from thresholds.kinds.grammar import Sentence, article, in_case_of, parse
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.names import FIRST_NAMES, NAMES, PEOPLE_NAMES, TITLES
from thresholds.kinds.original import Original

_LONGEST = 4


def entity(pair: Original, world: World) -> Planned:
    """Plan the caption with a name that no caption of the image has."""
    sentence = parse(pair.caption)
    said = " ".join(pair.photo.captions).lower()
    if pair.caption.isupper() or pair.caption.istitle():
        raise NotMade("capital letters do not tell names")
    names = list(_names(sentence))
    if not names:
        raise NotMade("no name that is known")
    rng = world.rng("entity", pair.photo.sha256, pair.caption)
    first, last, others = rng.choice(names)
    choices = [name for name in sorted(others) if name.lower() not in said]
    if not choices:
        raise NotMade("others might be true too")
    other = rng.choice(choices)
    if first and sentence.words[first - 1] in ("a", "an"):
        before = sentence.original(first - 1, first - 1)
        fitting = in_case_of(before, article(other))
        return Planned(sentence.replaced(first - 1, last, [fitting, other]))
    return Planned(sentence.replaced(first, last, [other]))


def _names(sentence: Sentence) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Yield each name: its first and last word, and what it can be exchanged for."""
    at = 0
    while at < len(sentence.words):
        for length in range(_LONGEST, 0, -1):
            row = _row(sentence, at, at + length - 1)
            if row is not None:
                yield at, at + length - 1, row
                at += length - 1
                break
        at += 1


def _row(sentence: Sentence, first: int, last: int) -> frozenset[str] | None:
    if last >= len(sentence.words):
        return None
    text = sentence.original(first, last)
    words = text.split(" ")
    if not text[0].isupper() or len(words) != last - first + 1:
        return None
    for row in NAMES.values():
        if text in row or text.title() in row:
            return row
    is_person = words[0] in FIRST_NAMES | TITLES and 2 <= len(words) <= 3
    capitals = all(word[0].isupper() and word.isalpha() for word in words)
    return frozenset(PEOPLE_NAMES) if is_person and capitals else None
