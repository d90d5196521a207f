"""Captions of other images: any one, or the one that sounds most alike."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from thresholds.kinds.grammar import content_words
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original
from thresholds.kinds.words import (
    COLOURS,
    NO_NEWS,
    NOUNS,
    NUMBERS,
    PEOPLE,
    SCENERY,
    SYNONYMS,
    VAGUE,
)

# Below it two captions share hardly more than one frequent word: no topic.
LEAST_ALIKE = 0.2
# Above it a caption says about what the image's own ones say, and may well be true of it.
MOST_ALIKE = 0.7
# One thing that is surely elsewhere, or two words that probably are.
_ENOUGH_NEWS = 2
_LOOKED_AT = 200
_DIGITS = 6


class Captions:
    """All captions there are, in an order of their own, with whose they are."""

    def __init__(self, pairs: Sequence[Original]) -> None:
        self._pairs = pairs
        self._own: dict[str, list[int]] = defaultdict(list)
        self._rows: dict[tuple[str, str], int] = {}
        for row, pair in enumerate(pairs):
            self._own[pair.photo.sha256].append(row)
            self._rows[pair.photo.sha256, pair.caption] = row

    def another(self, pair: Original, world: World) -> str:
        """The caption of any other image that says what none of this image's own says."""
        if len(self._own) < 2:
            raise NotMade("there is no other image")
        rng = world.rng("random", pair.photo.sha256, pair.caption)
        for _ in range(_LOOKED_AT):
            other = self._pairs[rng.randrange(len(self._pairs))]
            if other.photo.sha256 != pair.photo.sha256 and says_else(other.caption, pair):
                return other.caption
        raise NotMade("no other image's caption says something else")

    def nearest(self, pair: Original) -> str:
        """The caption of another image that is most like this one, yet says something else.

        Likeness is the cosine of TF-IDF vectors of content words, from `LEAST_ALIKE`; none of
        the image's own captions may be more like it than `MOST_ALIKE`.
        """
        sha256 = pair.photo.sha256
        if not content_words(pair.caption):
            raise NotMade("no word that says what is shown")
        row = self._vectors[self._rows[sha256, pair.caption]]
        alike = (row @ self._vectors.T).tocoo()
        ranked = sorted(
            (-round(cosine, _DIGITS), int(other))
            for other, cosine in zip(alike.coords[1], alike.data.tolist(), strict=True)
            if cosine >= LEAST_ALIKE
        )
        own = self._vectors[self._own[sha256]]
        for _, number in ranked[:_LOOKED_AT]:
            other = self._pairs[number]
            if other.photo.sha256 == sha256 or not says_else(other.caption, pair):
                continue
            if (own @ self._vectors[number].T).max() <= MOST_ALIKE:
                return other.caption
        raise NotMade("no other image's caption is on its topic and says something else")

    @cached_property
    def _vectors(self) -> Any:
        """TF-IDF vectors of unit length, sparse, (captions, words)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer=content_words)
        return vectorizer.fit_transform([pair.caption for pair in self._pairs])


def says_else(caption: str, pair: Original) -> bool:
    """Whether a caption names what no caption of the pair's image does, so that it is false.

    A noun or number is enough; of scenery, people, colours and unknown words it takes two.
    """
    own = {_thing(word) for each in pair.photo.captions for word in content_words(each)}
    new = {_thing(word) for word in content_words(caption)} - own
    return sum(_news(word) for word in new) >= _ENOUGH_NEWS


def _thing(word: str) -> str:
    return SYNONYMS.get(word, word)


def _news(word: str) -> int:
    if word in SCENERY or word in PEOPLE or word in COLOURS:
        return 1
    if word in NOUNS or word in NUMBERS:
        return 2
    return 0 if word.endswith(("ing", "ed", "ly")) or word in NO_NEWS | VAGUE else 1


def random(pair: Original, world: World) -> Planned:
    """Plan another image's caption."""
    return Planned(world.captions.another(pair, world))


def same_topic(pair: Original, world: World) -> Planned:
    """Plan the most similar caption of another image."""
    return Planned(world.captions.nearest(pair))
