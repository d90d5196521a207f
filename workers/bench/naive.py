"""What one would write first: one pair a task, stock open_clip in fp32, nothing else.

Run as a Celery app by the benchmark, so that there is something to compare with.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import redis
from celery import Celery

from workers.bench.photos import Photo
from workers.bench.rig import Rig
from workers.bench.stock import StockModel

QUEUE = "captionguard-naive"
TASK = "captionguard.naive"
DONE = "captionguard-naive-done"

_PATIENCE_S = 300.0
_URL = os.environ.get("CAPTIONGUARD_BENCH_REDIS_URL", "redis://localhost")


def naive_app(redis_url: str) -> Celery:
    """The app of the naive worker and of who sends to it."""
    app = Celery("naive", broker=redis_url.replace("unix://", "redis+socket://", 1))
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=QUEUE,
        broker_connection_retry_on_startup=True,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    return app


app = naive_app(_URL)


@lru_cache(maxsize=1)
def _model() -> StockModel:
    return StockModel(
        os.environ["CAPTIONGUARD_BENCH_MODEL"], device=os.environ["CAPTIONGUARD_BENCH_DEVICE"]
    )


@lru_cache(maxsize=1)
def _redis() -> "redis.Redis":
    return redis.Redis.from_url(_URL)


@app.task(name=TASK)  # type: ignore[untyped-decorator] # Celery has no types
def score(path: str, caption: str) -> None:
    """Read, preprocess, encode and compare one pair; store its cosine."""
    pixels = _model().preprocess(BytesIO(Path(path).read_bytes()))
    (cosine,) = _model().cosines([pixels], [caption])
    _redis().rpush(DONE, cosine)


class NaiveSender:
    """Hands photos to the naive worker and waits for their cosines."""

    def __init__(self, rig: Rig, process: "subprocess.Popen[bytes]") -> None:
        self._rig = rig
        self._process = process
        self._folder = rig.folder / "naive"
        self._folder.mkdir()
        self._app = naive_app(rig.redis_url)

    def run(self, photos: Sequence[Photo]) -> float:
        """Pairs a second, from the first message sent to the last cosine stored."""
        paths = []
        for number, photo in enumerate(photos):
            path = self._folder / str(number)
            path.write_bytes(photo.data)
            paths.append(path)
        self._rig.queue.redis.delete(DONE)
        started_s = time.perf_counter()
        for path, photo in zip(paths, photos, strict=True):
            self._app.send_task(TASK, args=[str(path), photo.caption])
        deadline_s = time.monotonic() + _PATIENCE_S
        while self._rig.queue.redis.llen(DONE) < len(photos):
            self._rig.check(self._process, "naive.log", deadline_s)
            time.sleep(0.01)
        return len(photos) / (time.perf_counter() - started_s)
