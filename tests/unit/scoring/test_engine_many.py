"""Many pairs staged at once fare as each would alone, and what fails for one fails for no other."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.errors import Unscorable
from moderation.scoring.engine import Pair
from moderation.scoring.flights import Outcome
from moderation.scoring.model import ClipModel
from moderation.types import Image, PairScore, Reason
from tests.unit.scoring.engines import (
    CACHES,
    CAPTIONS,
    IMAGES,
    PAIRS,
    TOLERANCE,
    Gate,
    held,
    opened,
    stock_cosines,
)
from tests.unit.threads import PATIENCE_S

Read = Callable[[Sequence[int]], list[Image | BaseException]]


@pytest.fixture(scope="module")
def stock(model: ClipModel) -> torch.Tensor:
    """What open_clip alone says of all pairs."""
    return stock_cosines(model)


def _pairs(numbers: Sequence[tuple[int, int]], source: str = "") -> list[Pair]:
    return [Pair(str(i), CAPTIONS[c], source) for i, c in numbers]


def _reading(numbers: Sequence[tuple[int, int]], bad: frozenset[int], read: list[int]) -> Read:
    """Decodes the images of pairs, but for bad ones, and notes which it was asked for."""

    def decode(places: Sequence[int]) -> list[Image | BaseException]:
        images = [numbers[place][0] for place in places]
        read.extend(images)
        return [_fault(i) if i in bad else Image(IMAGES[i].copy()) for i in images]

    return decode


def _fault(image: int) -> Unscorable:
    return Unscorable(Reason.IMAGE_CORRUPT, f"image {image}")


class Told:
    """Keeps what an engine tells of pairs, and waits for it."""

    def __init__(self) -> None:
        self.twice: list[Pair] = []
        self._lock = threading.Lock()
        self._told: dict[int, Future[Outcome]] = {}

    def __call__(self, told: Sequence[tuple[Pair, Outcome]]) -> None:
        """Be told."""
        for pair, outcome in told:
            future = self._future(pair)
            if future.done():
                self.twice.append(pair)
            else:
                future.set_result(outcome)

    def of(self, pair: Pair) -> Outcome:
        """What was told of a pair."""
        return self._future(pair).result(PATIENCE_S)

    def detail(self, pair: Pair) -> Outcome | str:
        """The same, or the words of what its image failed with."""
        outcome = self.of(pair)
        return outcome.detail if isinstance(outcome, Unscorable) else outcome

    def _future(self, pair: Pair) -> "Future[Outcome]":
        with self._lock:
            return self._told.setdefault(id(pair), Future())


@settings(max_examples=60)
@given(
    chunks=st.lists(st.lists(PAIRS, max_size=20), max_size=5),
    bad=st.frozensets(st.integers(0, len(IMAGES) - 1), max_size=3),
    cache=st.sampled_from(list(CACHES)),
    n_callers=st.integers(1, 3),
)
def test_many_fare_as_one(
    model: ClipModel,
    stock: torch.Tensor,
    chunks: list[list[tuple[int, int]]],
    bad: frozenset[int],
    cache: str,
    n_callers: int,
) -> None:
    """In whatever chunks pairs come, each gets open_clip's cosine or its own image's fault.

    Of a chunk no image is read twice, and with memory for it no sound one is ever read twice.
    """
    read: list[int] = []

    def stage(numbers: list[tuple[int, int]]) -> list[Outcome | str]:
        asked: list[int] = []
        told = Told()
        pairs = _pairs(numbers)
        engine.score_all(pairs, _reading(numbers, bad, asked), told)
        assert len(asked) == len(set(asked))
        read.extend(asked)
        outcomes = [told.detail(pair) for pair in pairs]
        assert not told.twice
        return outcomes

    with opened(model, cache_bytes=CACHES[cache]) as engine, ThreadPoolExecutor(n_callers) as do:
        outcomes = list(do.map(stage, chunks))
        if cache == "large":
            sound = [number for number in read if number not in bad]
            assert len(sound) == len(set(sound))
    for numbers, found in zip(chunks, outcomes, strict=True):
        for (image, caption), outcome in zip(numbers, found, strict=True):
            if image in bad:
                assert outcome == f"image {image}"
            else:
                assert isinstance(outcome, PairScore)
                expected = float(stock[image, caption])
                assert outcome.cosine == pytest.approx(expected, abs=TOLERANCE)


def test_a_chunk_and_single_pairs_share_what_is_under_way(
    model: ClipModel, stock: torch.Tensor
) -> None:
    """What one caller computes, others wait for, however many they bring."""
    gate, read, told = Gate(), list[int](), Told()
    numbers = [(0, 0), (1, 0), (0, 1)]
    with held(model, gate, lanes=1) as engine:
        engine.score("7", lambda: Image(IMAGES[7].copy()), CAPTIONS[2])
        assert gate.reached.wait(PATIENCE_S)
        single = engine.score("0", lambda: Image(IMAGES[0].copy()), CAPTIONS[0])
        pairs = _pairs(numbers)
        engine.score_all(pairs, _reading(numbers, frozenset(), read), told)
        again = _pairs(numbers)
        engine.score_all(again, _reading(numbers, frozenset(), read), told)
        gate.go_on.set()
        scores = [told.of(pair) for pair in (*pairs, *again)]
        cosines = [score.cosine for score in scores if isinstance(score, PairScore)]
        assert single.result(PATIENCE_S).cosine == cosines[0]
    assert read == [1]
    assert sum(report.images for report in gate.reports) == 3
    assert cosines == pytest.approx([float(stock[n]) for n in (*numbers, *numbers)], abs=TOLERANCE)


def test_a_fault_is_shared_within_its_source_only(model: ClipModel) -> None:
    """A blob that is missing is no fault of a fetched file of that name in the same chunk."""

    def read(places: Sequence[int]) -> list[Image | BaseException]:
        return [_fault(place) if place == 0 else Image(IMAGES[0].copy()) for place in places]

    told = Told()
    with opened(model) as engine:
        pairs = [Pair("0", CAPTIONS[0], source) for source in ("blob", "url", "blob")]
        engine.score_all(pairs, read, told)
        outcomes = [told.detail(pair) for pair in pairs]
    assert outcomes[0] == outcomes[2] == "image 0"
    assert isinstance(outcomes[1], PairScore)


@pytest.mark.parametrize("error", [ArithmeticError("no disk"), KeyboardInterrupt("no disk")])
def test_what_reading_raises_reaches_those_whom_it_concerns(
    model: ClipModel, error: BaseException
) -> None:
    """Pairs whose images were to be read get the error; one whose image is known is scored."""

    def read(_: Sequence[int]) -> list[Image | BaseException]:
        raise error

    told = Told()
    with opened(model) as engine:
        engine.score("0", lambda: Image(IMAGES[0].copy()), CAPTIONS[0]).result(PATIENCE_S)
        pairs = _pairs([(0, 1), (1, 1), (1, 2)])
        with pytest.raises(type(error), match="no disk"):
            engine.score_all(pairs, read, told)
        assert isinstance(told.of(pairs[0]), PairScore)
        assert [told.of(pair) for pair in pairs[1:]] == [error] * 2


@pytest.mark.parametrize("failing", ["image", "text"])
def test_a_failing_callback_leaves_nothing_under_way(model: ClipModel, failing: str) -> None:
    """Its pair gets the error, and the next with the same image and caption gets its score."""
    fails = [failing]

    def count(kind: str, source: str, count: int) -> None:
        if kind in fails:
            fails.remove(kind)
            raise ArithmeticError("no metric")

    numbers, told = [(0, 0)], Told()
    with opened(model, on_embeddings=count) as engine:
        pair, later = _pairs([*numbers, *numbers])
        with pytest.raises(ArithmeticError, match="no metric"):
            engine.score_all([pair], _reading(numbers, frozenset(), []), told)
        assert isinstance(told.of(pair), ArithmeticError)
        engine.score_all([later], _reading(numbers, frozenset(), []), told)
        assert isinstance(told.of(later), PairScore)


def test_a_caption_that_no_utf8_writes_leaves_no_image_under_way(model: ClipModel) -> None:
    """It fails by itself: the next pair with its image, however soon, gets its score."""
    with opened(model) as engine:
        with pytest.raises(UnicodeEncodeError):
            engine.score("0", lambda: Image(IMAGES[0].copy()), "\ud800")
        later = engine.score("0", lambda: Image(IMAGES[0].copy()), CAPTIONS[0])
        assert isinstance(later.result(PATIENCE_S), PairScore)


def test_too_few_images_are_an_error_and_not_a_hang(model: ClipModel) -> None:
    """Whoever reads loses no pair."""
    told = Told()
    with opened(model) as engine:
        pairs = _pairs([(0, 0), (1, 0)])
        with pytest.raises(RuntimeError, match="1 images for 2"):
            engine.score_all(pairs, lambda places: [Image(IMAGES[0].copy())], told)
        assert all(isinstance(told.of(pair), RuntimeError) for pair in pairs)


def test_who_gave_up_harms_nobody(model: ClipModel) -> None:
    """A pair whose caller has given up is left out; its neighbours are scored."""
    gate = Gate()
    with held(model, gate, lanes=1) as engine:
        scores = [
            engine.score(str(n), lambda: Image(IMAGES[0].copy()), CAPTIONS[n]) for n in range(3)
        ]
        assert scores[1].cancel()
        gate.go_on.set()
        assert all(isinstance(scores[n].result(PATIENCE_S), PairScore) for n in (0, 2))


def test_a_closed_engine_says_so_to_all(model: ClipModel) -> None:
    """What can no longer be staged fails at once, and nobody waits for it."""
    with opened(model) as engine:
        pass
    told, pairs = Told(), _pairs([(0, 0), (1, 1)])
    with pytest.raises(RuntimeError, match="closed"):
        engine.score_all(pairs, _reading([(0, 0), (1, 1)], frozenset(), []), told)
    assert all(isinstance(told.of(pair), RuntimeError) for pair in pairs)


def test_more_than_may_be_staged_is_staged_in_time(model: ClipModel) -> None:
    """A chunk larger than the room for it waits for room, and loses nothing."""
    told, numbers = Told(), [(n % len(IMAGES), n % len(CAPTIONS)) for n in range(40)]
    with opened(model, max_batch_items=1, lanes=1, cache_bytes=0) as engine:
        pairs = [Pair(f"{place}", f"{CAPTIONS[c]} {place}") for place, (_, c) in enumerate(numbers)]
        staging = threading.Thread(
            target=engine.score_all, args=(pairs, _reading(numbers, frozenset(), []), told)
        )
        staging.start()
        assert all(isinstance(told.of(pair), PairScore) for pair in pairs)
        staging.join(PATIENCE_S)
