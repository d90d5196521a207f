"""Embeddings under way, each computed once, and the pairs that wait for them."""

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind, Source
from moderation.types import PairScore

# What became of a pair: its score, or what kept it from one.
Outcome = PairScore | BaseException
# Is given pairs with their outcomes, as many at once as have them; it must not raise.
Answer = Callable[[Sequence[tuple[Any, Outcome]]], None]


@dataclass(slots=True, eq=False)
class Passenger:
    """A pair on its way to a score; `place` is where it stands among those it came with."""

    place: int
    pair: Any
    answer: Answer
    image: Embedding | None = None
    text: Embedding | None = None
    fault: BaseException | None = None

    def arrive(self, kind: Kind, outcome: Embedding | BaseException) -> bool:
        """Take one half, or what kept it away; whether the pair is to be answered now."""
        if self.fault is not None or (self.image is not None and self.text is not None):
            return False
        if isinstance(outcome, BaseException):
            self.fault = outcome
            return True
        if kind == "image":
            self.image = outcome
            return self.text is not None
        self.text = outcome
        return self.image is not None

    def outcome(self) -> Outcome:
        """The score of a pair that is to be answered, or what kept it from one."""
        if self.fault is not None or self.image is None or self.text is None:
            return self.fault or RuntimeError("half a pair")
        try:
            # Half as dear as `@`, for vectors.
            cosine = float(self.image.vector.dot(self.text.vector))
        # Whatever it is, whoever waits must learn of it.
        except BaseException as error:
            return error
        # `min` and `max` would make it 1, a perfect match.
        if math.isnan(cosine):
            return ArithmeticError("the model computed a vector that is not a number")
        # Rounding may leave a unit vector a little longer than one.
        return PairScore(max(-1.0, min(1.0, cosine)), self.image.notes + self.text.notes)


def _answer(complete: Sequence[Passenger]) -> None:
    """Tell those who wait, each once for all of its pairs."""
    outcomes: dict[Answer, list[tuple[Any, Outcome]]] = {}
    for passenger in complete:
        outcomes.setdefault(passenger.answer, []).append((passenger.pair, passenger.outcome()))
    for answer, told in outcomes.items():
        answer(told)


@dataclass(slots=True, eq=False)
class Flight:
    """One embedding under way, and the pairs that wait for it: first the one that began it.

    What fails reaches all of them, so only those of one `source` share it.
    """

    key: Key
    source: str
    passengers: list[Passenger] = field(default_factory=list)

    @property
    def began_at(self) -> int:
        """The place of the pair that began it among those that it came with."""
        return self.passengers[0].place


class Flights:
    """All embeddings that are under way; threads may share it."""

    def __init__(
        self, cache: EmbeddingCache, on_embeddings: Callable[[Kind, Source, int], None]
    ) -> None:
        self._cache = cache
        self._on_embeddings = on_embeddings
        self._lock = threading.Lock()
        self._under_way: dict[tuple[Key, str], Flight] = {}

    def board(self, wanted: Sequence[tuple[Key, str, Passenger]]) -> list[Flight]:
        """Let pairs have what is known, and wait for what is not.

        Each wants an embedding, by its key and source. Returns the flights that are new: the
        caller must have each `land`, whatever happens.
        """
        new: list[Flight] = []
        complete: list[Passenger] = []
        sources: Counter[tuple[Kind, Source]] = Counter()
        with self._lock:
            found = self._cache.find([key for key, _, _ in wanted])
            for (key, source, passenger), known in zip(wanted, found, strict=True):
                if known is not None:
                    sources[key.kind, "memory"] += 1
                    if passenger.arrive(key.kind, known):
                        complete.append(passenger)
                    continue
                flight = self._under_way.get((key, source))
                if flight is None:
                    flight = self._under_way[key, source] = Flight(key, source)
                    new.append(flight)
                else:
                    sources[key.kind, "in_flight"] += 1
                flight.passengers.append(passenger)
        _answer(complete)
        try:
            left = self._without_shared(new, sources)
            for (kind, came_from), count in sources.items():
                self._on_embeddings(kind, came_from, count)
        except BaseException as error:
            # Nobody else would ever land them, and whoever came later would wait for ever.
            self.land([(flight, error) for flight in new])
            raise
        return left

    def land(self, landed: Sequence[tuple[Flight, Embedding | BaseException]]) -> None:
        """Give embeddings, or what kept them away, to those who wait.

        One that has landed before stays as it was: a batch may be staged in part and refused.
        """
        complete: list[Passenger] = []
        with self._lock:
            for flight, outcome in landed:
                if self._under_way.get((flight.key, flight.source)) is not flight:
                    continue
                del self._under_way[flight.key, flight.source]
                complete += [p for p in flight.passengers if p.arrive(flight.key.kind, outcome)]
        _answer(complete)

    def give_up(self, passengers: Sequence[Passenger], error: BaseException) -> None:
        """Answer those that are not answered with an error; what they waited for goes on."""
        with self._lock:
            left = [passenger for passenger in passengers if passenger.arrive("image", error)]
        _answer(left)

    def _without_shared(
        self, new: list[Flight], sources: "Counter[tuple[Kind, Source]]"
    ) -> list[Flight]:
        """Land what another worker has computed; the flights that are left."""
        if not self._cache.is_shared:
            for flight in new:
                sources[flight.key.kind, "computed"] += 1
            return new
        left: list[Flight] = []
        landed: list[tuple[Flight, Embedding | BaseException]] = []
        for flight in new:
            found = self._cache.fetch(flight.key)
            sources[flight.key.kind, "computed" if found is None else "redis"] += 1
            if found is None:
                left.append(flight)
            else:
                landed.append((flight, found))
        self.land(landed)
        return left
