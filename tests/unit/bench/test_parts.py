"""Parts by themselves: measured as a worker runs them."""

import pytest
import torch

from moderation.errors import SetupError
from moderation.settings import Settings
from moderation.types import Framing
from tests.unit.media.files import encode, noise
from workers.bench.parts import decode
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
