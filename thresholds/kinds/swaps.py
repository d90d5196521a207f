"""Captions of other images: any one, or the one that sounds most alike."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

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
        self._things = [things_in(pair.caption) for pair in pairs]
        self._said: dict[str, frozenset[str]] = {}

    def another(self, pair: Original, world: World) -> str:
        """The caption of any other image that says what none of this image's own says."""
        if len(self._own) < 2:
            raise NotMade("there is no other image")
        rng = world.rng("random", pair.photo.sha256, pair.caption)
        for _ in range(_LOOKED_AT):
            row = rng.randrange(len(self._pairs))
            if self._is_wrong(row, pair):
                return self._pairs[row].caption
        raise NotMade("no other image's caption says something else")

    def nearest(self, pair: Original) -> str:
        """The caption of another image that is most like this one, yet says something else.

        Likeness is the cosine of TF-IDF vectors of content words, from `LEAST_ALIKE`; none of
        the image's own captions may be more like it than `MOST_ALIKE`.
        """
        row = self._rows[pair.photo.sha256, pair.caption]
        if not self._things[row]:
            raise NotMade("no word that says what is shown")
        vectors, transposed = self._vectors
        alike = (vectors[row] @ transposed).tocoo()
        rows, cosines = alike.coords[1], np.round(alike.data, _DIGITS)
        on_topic = cosines >= LEAST_ALIKE
        rows, cosines = rows[on_topic], cosines[on_topic]
        own = vectors[self._own[pair.photo.sha256]]
        ranked: list[int] = rows[np.lexsort((rows, -cosines))][:_LOOKED_AT].tolist()
        for other in ranked:
            if self._is_wrong(other, pair) and (own @ vectors[other].T).max() <= MOST_ALIKE:
                return self._pairs[other].caption
        raise NotMade("no other image's caption is on its topic and says something else")

    def _is_wrong(self, row: int, pair: Original) -> bool:
        """Whether the caption of a row is another image's, and says something else."""
        sha256 = pair.photo.sha256
        if self._pairs[row].photo.sha256 == sha256:
            return False
        if sha256 not in self._said:
            self._said[sha256] = frozenset().union(*map(things_in, pair.photo.captions))
        return says_else(self._things[row], self._said[sha256])

    @cached_property
    def _vectors(self) -> tuple[Any, Any]:
        """TF-IDF vectors of unit length, sparse, (captions, words), and (words, captions)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer=content_words)
        vectors = vectorizer.fit_transform([pair.caption for pair in self._pairs])
        return vectors, vectors.T.tocsr()


def things_in(caption: str) -> frozenset[str]:
    """The content words of a caption, one name for things that have several."""
    return frozenset(SYNONYMS.get(word, word) for word in content_words(caption))


def says_else(things: frozenset[str], own: frozenset[str]) -> bool:
    """Whether a caption names what no caption of an image does, so that it is false of it.

    A noun or number is enough; of scenery, people, colours and unknown words it takes two.
    """
    return sum(_news(word) for word in things - own) >= _ENOUGH_NEWS


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
