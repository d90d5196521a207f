"""Parts by themselves: measured as a worker runs them."""

import time
from collections.abc import Sequence
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
    first: set[int] = set()
    encode_images = Towers.encode_images

    def slow_at_first(towers: Towers, pixels: Sequence[Any]) -> Any:
        if len(first) < 2:
            first.add(len(first))
            spent_s = time.thread_time() + 0.5
            while time.thread_time() < spent_s:
                pass
        return encode_images(towers, pixels)

    settings = Settings(precision="fp32")
    forward = Forward(load_model("demo-tiny", device="cpu"), settings, lanes=2)
    pixels, _ = decode(PHOTOS[:4], Framing(64, 64, "bicubic", "shortest", 0), settings)
    monkeypatch.setattr(Towers, "encode_images", slow_at_first)
    speed = forward.run(pixels, PHOTOS[:4], seconds=0)
    assert len(first) == 2
    # Half a second a lane is a quarter of the eight pairs' seconds.
    assert speed.cpu_s < 0.06
