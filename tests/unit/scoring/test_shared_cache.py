"""Embeddings in a real Redis come back bit for bit; what is wrong with Redis harms no score."""

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from structlog.testing import capture_logs

from moderation.local import EmbeddedRedis
from moderation.scoring import shared_cache
from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind
from moderation.scoring.engine import BatchReport, Engine
from moderation.scoring.model import ClipModel
from moderation.scoring.shared_cache import SharedCache, SharedCacheAddress
from moderation.types import Image, Note, PairScore
from tests.conftest import Servers
from tests.unit.scoring.stock import make_model, random_images, stock_captions, stock_images
from tests.unit.threads import PATIENCE_S, all_at_once

KEY = Key("image", "5e" * 32)
TTL_S = 3600.0
_models = itertools.count()


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[redis.Redis]:
    """A client of the tests' Redis, which is empty."""
    client = redis.Redis.from_url(servers.redis_url)
    client.flushall()
    yield client
    client.close()


@contextmanager
def _cache(
    url: str, model: str | None = None, *, dimensions: int = 8, ttl_s: float = TTL_S
) -> Iterator[SharedCache]:
    """A cache of a model that no other test has, unless it is named."""
    name = f"model-{next(_models)}" if model is None else model
    cache = SharedCache(SharedCacheAddress(url, ttl_s), name, dimensions)
    try:
        yield cache
    finally:
        cache.close()


def _unit(values: Sequence[float]) -> NDArray[np.float32]:
    vector = np.array(values, dtype=np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _embedding(dimensions: int = 8, notes: tuple[Note, ...] = ()) -> Embedding:
    return Embedding(_unit(range(1, dimensions + 1)), notes)


VALUES = st.floats(-1, 1, width=32)
VECTORS = (
    st.lists(VALUES, min_size=1, max_size=64)
    .filter(lambda values: np.linalg.norm(values) > 1e-3)
    .map(_unit)
)


@settings(max_examples=100)
@given(
    vector=VECTORS,
    notes=st.sets(st.sampled_from(Note)),
    kind=st.sampled_from(["image", "text"]),
)
def test_an_embedding_comes_back_bit_for_bit(
    servers: Servers, vector: NDArray[np.float32], notes: set[Note], kind: Kind
) -> None:
    """Whatever unit vector and notes were stored, another worker reads exactly those."""
    ordered = tuple(note for note in Note if note in notes)
    model = f"roundtrip-{next(_models)}"
    key = Key(kind, "ab" * 32)
    with (
        _cache(servers.redis_url, model, dimensions=len(vector)) as one,
        _cache(servers.redis_url, model, dimensions=len(vector)) as other,
    ):
        assert other.get(key) is None
        one.put([(key, Embedding(vector, ordered))])
        found = other.get(key)
    assert found is not None
    assert found.vector.dtype == np.float32
    assert found.vector.tobytes() == vector.tobytes()
    assert found.notes == ordered


def test_what_was_read_is_kept_in_memory(servers: Servers, server: redis.Redis) -> None:
    """What one worker computed is fetched by another once, and is in its memory from then on."""
    shared = [SharedCache(SharedCacheAddress(servers.redis_url, TTL_S), "kept", 8) for _ in "ab"]
    one, other = (EmbeddingCache(max_bytes=2**20, shared=cache) for cache in shared)
    one.put([(KEY, _embedding())])
    assert other.get(KEY) is None
    fetched = other.fetch(KEY)
    assert fetched is not None
    server.flushall()
    assert other.get(KEY) is fetched
    one.close()
    other.close()


@pytest.mark.parametrize("ttl_s", [0.0001, 5.0, 3600.0])
def test_every_entry_expires(servers: Servers, server: redis.Redis, ttl_s: float) -> None:
    """Nothing stays longer than it was set to, and a time below Redis's own is no error."""
    server.flushall()
    with _cache(servers.redis_url, ttl_s=ttl_s) as cache, capture_logs() as logs:
        cache.put([(Key("image", f"{n:064x}"), _embedding()) for n in range(5)])
    names = list(server.scan_iter("*"))
    assert len(names) == 5 or ttl_s < 1
    # -2 is the answer for what is gone.
    left_ms = [server.pttl(name) for name in names]
    assert all(left == -2 or 0 <= left <= max(1, ttl_s * 1000) for left in left_ms)
    assert logs == []


def test_other_models_kinds_and_lengths_are_not_seen(servers: Servers) -> None:
    """An embedding of another model, of a caption, or of other dimensions is none of this one."""
    with (
        _cache(servers.redis_url, "aa-fp32") as cache,
        _cache(servers.redis_url, "aa-bf16") as other_precision,
        _cache(servers.redis_url, "bb-fp32") as other_model,
        _cache(servers.redis_url, "aa-fp32", dimensions=9) as other_length,
    ):
        cache.put([(KEY, _embedding())])
        assert cache.get(KEY) is not None
        assert cache.get(Key("text", KEY.sha256)) is None
        assert other_precision.get(KEY) is None
        assert other_model.get(KEY) is None
        assert other_length.get(KEY) is None


def _stored(notes: int, values: Sequence[float]) -> bytes:
    return bytes([notes]) + np.array(values, dtype="<f4").tobytes()


def _only_name(server: redis.Redis, cache: SharedCache) -> str:
    """Under which name the cache has just stored its first entry."""
    server.flushall()
    cache.put([(KEY, _embedding())])
    (name,) = server.scan_iter("*")
    assert isinstance(name, bytes)
    return name.decode()


@settings(max_examples=100)
@given(
    raw=st.binary(max_size=80)
    | st.binary(min_size=33, max_size=33)
    | st.lists(st.floats(width=32), min_size=8, max_size=8).map(partial(_stored, 0))
)
def test_garbage_is_not_taken_for_an_embedding(
    servers: Servers, server: redis.Redis, raw: bytes
) -> None:
    """Any bytes of any length are read as nothing, unless they are a unit vector; none is fatal."""
    with _cache(servers.redis_url) as cache, capture_logs() as logs:
        server.set(_only_name(server, cache), raw)
        found = cache.get(KEY)
        assert found is None or abs(np.linalg.norm(found.vector.astype(np.float64)) - 1) < 1e-3
        assert found is None or len(found.vector) == 8
        cache.put([(KEY, _embedding())])
        assert cache.get(KEY) is not None
    assert logs == []


NO_EMBEDDINGS = {
    "nothing": b"",
    "only notes": b"\0",
    "a number fewer": _stored(0, [1] + [0] * 6),
    "a number more": _stored(0, [1] + [0] * 8),
    "a byte more": _stored(0, [1] + [0] * 7) + b"\0",
    "no numbers": _stored(0, [float("nan")] * 8),
    "one no number": _stored(0, [1] + [0] * 6 + [float("nan")]),
    "infinite": _stored(0, [float("inf")] + [0] * 7),
    "huge": _stored(0, [3e38] * 8),
    "zeros": _stored(0, [0] * 8),
    "too long a vector": _stored(0, [2] + [0] * 7),
}


@pytest.mark.parametrize("raw", NO_EMBEDDINGS.values(), ids=NO_EMBEDDINGS)
def test_what_is_no_unit_vector_is_ignored(
    servers: Servers, server: redis.Redis, raw: bytes
) -> None:
    """A vector that is cut, too long, not a number or of another length counts as not there."""
    with _cache(servers.redis_url) as cache:
        server.set(_only_name(server, cache), raw)
        assert cache.get(KEY) is None


class _Host:
    """Takes connections and hangs up, or never answers; counts them."""

    def __init__(self, *, answers: bool) -> None:
        self.connections = 0
        self._open: list[socket.socket] = []
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            if self._answers:
                connection.close()
            else:
                self._open.append(connection)

    def stop(self) -> None:
        """Give everything back."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE_S)
        for connection in self._open:
            connection.close()


class _Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """Stand still."""
    stopped = _Clock()
    monkeypatch.setattr(shared_cache, "time", SimpleNamespace(monotonic=stopped.monotonic))
    return stopped


@pytest.mark.parametrize("answers", [True, False])
def test_a_redis_that_fails_is_asked_once_in_a_while(clock: _Clock, answers: bool) -> None:
    """After a fault nobody asks for a while, which costs nothing; then one tries again."""
    host = _Host(answers=answers)
    try:
        with _cache(host.url) as cache, capture_logs() as logs:
            assert cache.get(KEY) is None
            tries = host.connections
            for _ in range(50):
                assert cache.get(KEY) is None
                cache.put([(KEY, _embedding())])
            assert host.connections == tries
            assert len(logs) == 1
            clock.now_s += 3600
            cache.put([(KEY, _embedding())])
            assert host.connections > tries
            tries = host.connections
            assert cache.get(KEY) is None
            assert host.connections == tries
    finally:
        host.stop()
    assert [entry["event"] for entry in logs] == ["shared_cache_unreachable"] * 2


def test_threads_that_meet_one_fault_warn_once(clock: _Clock) -> None:
    """Where many wait for a Redis that never answers, the log says so once."""
    host = _Host(answers=False)
    try:
        with _cache(host.url) as cache, capture_logs() as logs:
            assert all_at_once([partial(cache.get, KEY)] * 8) == [None] * 8
    finally:
        host.stop()
    assert len(logs) == 1


def test_a_redis_that_comes_back_is_used_again(clock: _Clock, tmp_path: Path) -> None:
    """A real server that stops and starts again is missed for a while, not for good."""
    server = EmbeddedRedis(tmp_path / "r")
    url = server.start()
    with _cache(url) as cache, capture_logs():
        cache.put([(KEY, _embedding())])
        server.stop()
        assert cache.get(KEY) is None
        server.restart()
        try:
            clock.now_s += 3600
            cache.put([(KEY, _embedding())])
            assert cache.get(KEY) is not None
        finally:
            server.stop()


CAPTIONS = ["a dog", "two red houses", "word " * 30]


def _score_all(engine: Engine, model: ClipModel) -> list[PairScore]:
    images = random_images(model, 5)
    staged = [
        engine.score(f"{i:064x}", partial(Image, image, (Note.FIRST_FRAME_ONLY,)[i:]), caption)
        for i, image in enumerate(images)
        for caption in CAPTIONS
    ]
    return [future.result(PATIENCE_S) for future in staged]


@contextmanager
def _engine(
    model: ClipModel, url: str, reports: list[BatchReport], *, is_bf16: bool = False
) -> Iterator[Engine]:
    engine = Engine(
        model,
        max_batch_items=4,
        precision="bf16" if is_bf16 else "fp32",
        lanes=2,
        shared_cache=SharedCacheAddress(url, TTL_S),
        on_batch=reports.append,
    )
    try:
        yield engine
    finally:
        engine.close()


def test_a_second_engine_computes_nothing(
    servers: Servers, server: redis.Redis, model: ClipModel
) -> None:
    """What one worker scored, another scores exactly so, without a single forward pass."""
    server.flushall()
    first: list[BatchReport] = []
    second: list[BatchReport] = []
    with _engine(model, servers.redis_url, first) as engine:
        scores = _score_all(engine, model)
    assert sum(report.images for report in first) == 5
    with _engine(model, servers.redis_url, second) as engine:
        assert _score_all(engine, model) == scores
    assert second == []


def test_engines_of_another_precision_or_model_share_nothing(
    servers: Servers, server: redis.Redis, model: ClipModel, tmp_path: Path
) -> None:
    """bf16 never reads what fp32 stored, nor one model what another did."""
    server.flushall()
    with _engine(model, servers.redis_url, []) as engine:
        _score_all(engine, model)
    other = make_model(tmp_path)
    for candidate, is_bf16 in ((model, True), (other, False)):
        reports: list[BatchReport] = []
        with _engine(candidate, servers.redis_url, reports, is_bf16=is_bf16) as engine:
            _score_all(engine, candidate)
        assert sum(report.images for report in reports) == 5
        assert sum(report.captions for report in reports) == len(CAPTIONS)


@pytest.mark.parametrize("is_there", [True, False])
def test_scoring_goes_on_without_redis(model: ClipModel, is_there: bool) -> None:
    """With a Redis that is not there or hangs up, every pair gets its cosine all the same."""
    host = _Host(answers=True)
    if not is_there:
        host.stop()
    try:
        with _engine(model, host.url, []) as engine, capture_logs() as logs:
            scores = _score_all(engine, model)
    finally:
        if is_there:
            host.stop()
    images = random_images(model, 5)
    expected = (stock_images(model, images) @ stock_captions(model, CAPTIONS).T).flatten()
    assert [score.cosine for score in scores] == pytest.approx(expected.tolist(), abs=1e-5)
    assert {entry["event"] for entry in logs} == {"shared_cache_unreachable"}
