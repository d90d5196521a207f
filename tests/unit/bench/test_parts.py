"""Parts by themselves: measured as a worker runs them."""

import threading
import time
from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moderation.errors import SetupError
from moderation.scoring.model import load_model
from moderation.scoring.towers import Towers
from moderation.settings import Settings
from moderation.types import Framing
from tests.unit.media.files import encode, noise
from workers.bench.parts import Forward, decode
from workers.bench.photos import Photo

FRAMING = Framing(24, 24, "bicubic", "shortest", 0)
PHOTOS = [Photo(encode(noise(40, 30, n), "JPEG"), "a caption") for n in range(40)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_photos_are_decoded_where_a_worker_decodes_them() -> None:
    """The ceiling of a pipeline that decodes on a GPU is not that of Pillow alone."""
    settings = Settings(decode_processes=1, decode_device="cuda")
    with pytest.raises(SetupError, match="torch sees no GPU"):
        decode(PHOTOS, FRAMING, settings, model_device="cuda")
    images, speed = decode(PHOTOS, FRAMING, Settings(decode_processes=2), model_device="cpu")
    assert [image.shape for image in images] == [(24, 24, 3)] * len(PHOTOS)
    assert speed.per_s > 0


def test_the_first_batch_of_a_lane_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that has just started is slower, and the ceiling would be too low by that."""
    clock = threading.local()
    batches = count()
    encode_images = Towers.encode_images

    def slow_at_first(towers: Towers, pixels: Sequence[Any]) -> Any:
        clock.cpu_s = getattr(clock, "cpu_s", 0.0) + (1000.0 if next(batches) < 2 else 4.0)
        return encode_images(towers, pixels)

    settings = Settings(precision="fp32")
    forward = Forward(load_model("demo-tiny", device="cpu"), settings, lanes=2)
    pixels, _ = decode(PHOTOS[:4], Framing(64, 64, "bicubic", "shortest", 0), settings)
    monkeypatch.setattr(Towers, "encode_images", slow_at_first)
    times = SimpleNamespace(
        perf_counter=time.perf_counter, thread_time=lambda: getattr(clock, "cpu_s", 0.0)
    )
    monkeypatch.setattr("workers.bench.parts.time", times)
    assert forward.run(pixels, PHOTOS[:4], seconds=0).cpu_s == 1.0
    assert next(batches) == 4
