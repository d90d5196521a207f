"""Embeddings under way, each computed once, and the pairs that wait for them."""

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind, Source
from moderation.types import PairScore


@dataclass(slots=True, eq=False)
class Passenger:
    """A pair on its way to a score; `place` is where it stands among those it came with."""

    place: int
    scored: "Future[PairScore]"
    image: Embedding | None = None
    text: Embedding | None = None
    fault: BaseException | None = None

    def arrive(self, kind: Kind, outcome: Embedding | BaseException) -> bool:
        """Take one half, or what kept it away; whether the pair is to be settled now."""
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

    def settle(self) -> None:
        """Give the score, or what kept the pair from one, to whoever waits."""
        # One whose caller gave up: setting a cancelled future is an error.
        if not self.scored.set_running_or_notify_cancel():
            return
        try:
            self.scored.set_result(self._score())
        # Whatever ended another thread's reading must not leave this one waiting.
        except BaseException as error:
            self.scored.set_exception(error)

    def _score(self) -> PairScore:
        if self.fault is not None or self.image is None or self.text is None:
            raise self.fault or RuntimeError("half a pair")
        cosine = float(self.image.vector @ self.text.vector)
        # `min` and `max` would make it 1, a perfect match.
        if math.isnan(cosine):
            raise ArithmeticError("the model computed a vector that is not a number")
        # Rounding may leave a unit vector a little longer than one.
        return PairScore(max(-1.0, min(1.0, cosine)), self.image.notes + self.text.notes)


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
            for key, source, passenger in wanted:
                if (known := self._cache.get(key)) is not None:
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
        for passenger in complete:
            passenger.settle()
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
        for passenger in complete:
            passenger.settle()

    def give_up(self, passengers: Sequence[Passenger], error: BaseException) -> None:
        """Settle those that are not settled with an error; what they waited for goes on."""
        with self._lock:
            left = [passenger for passenger in passengers if passenger.arrive("image", error)]
        for passenger in left:
            passenger.settle()

    def _without_shared(
        self, new: list[Flight], sources: "Counter[tuple[Kind, Source]]"
    ) -> list[Flight]:
        """Land what another worker has computed; the flights that are left."""
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
