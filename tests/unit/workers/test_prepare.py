"""Posts on their way to the engine: together where they wait together, each for itself."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from errno import EMFILE
from pathlib import Path
from typing import Any, ClassVar, cast
from uuid import uuid4

import numpy as np
import pytest

from moderation.demo import MODEL_NAME
from moderation.errors import Unscorable
from moderation.media.answers import Answer
from moderation.media.blobs import BlobStore
from moderation.media.decode import DecoderPool, open_decoder
from moderation.media.files import ImageFile
from moderation.metrics import Metrics
from moderation.scoring.engine import Engine, open_engine
from moderation.scoring.flights import Outcome
from moderation.scoring.model import ClipModel, load_model
from moderation.settings import Settings
from moderation.types import Image, ImageRef, PairScore, Reason, Submission
from moderation.wiring import Services
from tests.conftest import eventually
from tests.unit.media.files import encode, noise
from tests.unit.scoring.engines import Gate, held
from tests.unit.threads import PATIENCE_S
from workers.journey import Carrier, Journey
from workers.prepare import Preparation


class Turns:
    """Holds the decoder's first turn until it may go on, and counts the images of each."""

    def __init__(self, pool: DecoderPool) -> None:
        self.images: list[int] = []
        self.started, self.go_on = threading.Event(), threading.Event()
        self.threads, self.at_once = pool.threads, pool.at_once
        self._pool = pool

    def decode_all(self, files: Sequence[ImageFile]) -> list[Answer]:
        """Decode as the pool does."""
        self.images.append(len(files))
        self.started.set()
        assert self.go_on.wait(PATIENCE_S)
        return self._pool.decode_all(files)


@pytest.fixture(scope="module")
def model() -> ClipModel:
    """The bundled model."""
    return load_model(MODEL_NAME, device="cpu")


@pytest.fixture
def engine(model: ClipModel) -> Iterator[Engine]:
    """One lane that knows nothing yet."""
    engine = open_engine(model, Settings(forward_lanes=1, precision="fp32"))
    yield engine
    engine.close()


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """A blob store on a disk, and metrics; there are no servers."""
    blobs = BlobStore(tmp_path / "blobs", max_bytes=10**6)
    nothing = cast("Any", None)
    return Services(Settings(), nothing, nothing, blobs, Metrics())


@pytest.fixture
def turns(model: ClipModel) -> Iterator[Turns]:
    """One decoder."""
    with open_decoder(model.framing, Settings(decode_processes=1)) as pool:
        yield Turns(pool)


def _journey(key: str, caption: str = "a dog", url: str | None = None) -> Journey:
    return Journey(
        Submission(
            id=uuid4(),
            platform="p",
            external_id=None,
            policy="default",
            caption=caption,
            image=ImageRef(blob=None if url else key, url=url),
            created_at=datetime.now(UTC),
            attempts=1,
        ),
        Carrier(),
        cast("Any", None),
    )


def test_single_posts_that_wait_are_decoded_together(
    services: Services, engine: Engine, turns: Turns
) -> None:
    """Posts of as many messages share one turn of a decoder, if they came during the last."""
    keys = [services.blobs.put(encode(noise(8, 8, seed), "PNG")) for seed in range(6)]
    journeys = [_journey(key) for key in keys]
    outcomes = Outcomes()
    preparation = Preparation(services, cast("DecoderPool", turns), engine, outcomes)
    preparation.begin(journeys[:1])
    assert turns.started.wait(PATIENCE_S)
    for journey in journeys[1:]:
        preparation.begin([journey])
    turns.go_on.set()
    scores = [outcomes.of(journey) for journey in journeys]
    preparation.close()
    assert turns.images == [1, 5]
    assert len({score.cosine for score in scores if isinstance(score, PairScore)}) == 6
    assert all({"queue_wait", "fetch", "decode"} <= set(j.stages_s) for j in journeys)


def test_one_bad_post_harms_no_neighbour(services: Services, engine: Engine, turns: Turns) -> None:
    """Of posts that are prepared together, each one's fault is its own."""
    good = [services.blobs.put(encode(noise(8, 8, seed), "PNG")) for seed in range(3)]
    text = services.blobs.put(b"just some text")
    wrong: dict[int, tuple[Journey, Reason]] = {
        1: (_journey("0" * 64), Reason.IMAGE_NOT_FOUND),
        2: (_journey(text), Reason.IMAGE_UNSUPPORTED),
        4: (_journey(good[0], " "), Reason.CAPTION_EMPTY),
    }
    sound = iter(good)
    journeys = [wrong[n][0] if n in wrong else _journey(next(sound)) for n in range(6)]
    turns.go_on.set()
    outcomes = Outcomes()
    preparation = Preparation(services, cast("DecoderPool", turns), engine, outcomes)
    preparation.begin(journeys)
    for place, journey in enumerate(journeys):
        outcome = outcomes.of(journey)
        if place in wrong:
            assert isinstance(outcome, Unscorable)
            assert outcome.reason is wrong[place][1]
        else:
            assert isinstance(outcome, PairScore)
    preparation.close()


def test_a_known_blob_is_not_looked_at(services: Services, engine: Engine, turns: Turns) -> None:
    """A blob that was scored keeps its score also when it is gone, and costs no decoder."""
    turns.go_on.set()
    data = encode(noise(8, 8), "PNG")
    key = services.blobs.put(data)
    outcomes = Outcomes()
    preparation = Preparation(services, cast("DecoderPool", turns), engine, outcomes)
    first, again = _journey(key), _journey(key)
    preparation.begin([first])
    score = outcomes.of(first)
    before = list(turns.images)
    preparation.begin([again])
    assert outcomes.of(again) == score
    preparation.close()
    assert turns.images == before


class Outcomes:
    """Where prepared journeys end up; each is waited for."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._seen: list[Journey] = []

    def __call__(self, journeys: Sequence[Journey]) -> None:
        """Take some."""
        with self._news:
            self._seen += journeys
            self._news.notify_all()

    def of(self, journey: Journey) -> Outcome | None:
        """The outcome of a journey that has come once."""
        with self._news:
            assert self._news.wait_for(lambda: journey in self._seen, PATIENCE_S)
            assert self._seen.count(journey) == 1
        return journey.outcome


class File(bytes):
    """A fetched file that tells when nobody has it any more."""

    gone: ClassVar[list[int]] = []

    def __del__(self) -> None:
        self.gone.append(len(self))


class Web:
    """Images of a network."""

    files: ClassVar[dict[str, bytes]] = {
        f"https://example.org/{seed}": encode(noise(8, 8, seed), "PNG") for seed in range(7)
    }

    def fetch(self, url: str) -> bytes:
        """Fetch one."""
        return File(self.files[url])

    def close(self) -> None:
        """Nothing is open."""


def test_a_fetched_file_is_let_go_when_it_is_decoded(
    model: ClipModel, services: Services, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pairs wait for the lanes, or for room before them.

    What they wait with is pixels, which are bounded.
    """
    monkeypatch.setattr("workers.prepare.open_fetcher", lambda _: Web())
    turns.go_on.set()
    gate, outcomes = Gate(), Outcomes()
    with held(model, gate, lanes=1, max_batch_items=1) as engine:
        preparation = Preparation(services, cast("DecoderPool", turns), engine, outcomes)
        journeys = [_journey("", url=url) for url in Web.files]
        preparation.begin(journeys[:1])
        assert gate.reached.wait(PATIENCE_S)
        preparation.begin(journeys[1:])
        eventually(lambda: len(turns.images) == len(journeys))
        preparation.kept.drop(journey.submission.id for journey in journeys)
        eventually(lambda: sorted(File.gone) == sorted(map(len, Web.files.values())))
        gate.go_on.set()
        assert all(isinstance(outcomes.of(journey), PairScore) for journey in journeys)
        preparation.close()


class Broken:
    """A decoder whose pool fails as a whole, as with no file descriptor left."""

    threads, at_once = 1, 16

    def decode_all(self, files: Sequence[ImageFile]) -> list[Answer]:
        """Decode nothing."""
        for file in files:
            file.close()
        raise OSError(EMFILE, "Too many open files")


def test_one_that_waits_for_anothers_image_outlives_its_neighbours_fault(
    model: ClipModel, services: Services, engine: Engine
) -> None:
    """It gets the score of the image that somebody else decodes, and the lanes live on."""
    shared, other = (services.blobs.put(encode(noise(8, 8, seed), "PNG")) for seed in range(2))
    image = Image(np.zeros((model.framing.height_px, model.framing.width_px, 3), np.uint8))
    begun, go_on = threading.Event(), threading.Event()

    def read() -> Image:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return image

    with ThreadPoolExecutor(1) as elsewhere:
        first = elsewhere.submit(engine.score, shared, read, "a dog", source="blob")
        assert begun.wait(PATIENCE_S)
        outcomes = Outcomes()
        preparation = Preparation(services, cast("DecoderPool", Broken()), engine, outcomes)
        waiting, failing = _journey(shared), _journey(other)
        preparation.begin([waiting, failing])
        assert isinstance(outcomes.of(failing), OSError)
        go_on.set()
        assert outcomes.of(waiting) == first.result().result(PATIENCE_S)
        later = engine.score(other, lambda: image, "a cat")
        assert isinstance(later.result(PATIENCE_S), PairScore)
        preparation.close()
