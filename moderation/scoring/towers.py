"""Both towers of a model as they run in earnest: pixels and tokens to unit vectors."""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from moderation.scoring.lengths import TextTower
from moderation.scoring.model import ClipModel
from moderation.scoring.probes import probe_tokens
from moderation.scoring.shapes import parts
from moderation.types import Pixels

Vectors = NDArray[np.float32]


class Towers:
    """Encodes batches; threads may share one, each has a stream of its own on a GPU.

    `can_cut` says whether captions may be cut, where that is known already.
    """

    def __init__(self, model: ClipModel, *, can_cut: bool | None = None) -> None:
        self.model = model
        self._text = TextTower(model, can_cut=can_cut)
        self.can_cut = self._text.can_cut
        self._dtype = next(model.clip.parameters()).dtype
        width = model.framing.width_px
        mean, std = torch.tensor(model.mean), torch.tensor(model.std)
        # One value for each number in a row of pixels, (width * 3,): with rows as long as that
        # the CPU takes many at a time, and with the three colours of a pixel it does not.
        self._scale = (1 / (255 * std)).repeat(width).to(model.device)
        self._shift = (-mean / std).repeat(width).to(model.device)
        self._lane = threading.local()
        self.dimensions = self.encode_captions(list(probe_tokens(model, 1).cpu())).shape[1]

    @torch.inference_mode()
    def encode_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Unit vectors, (n, embedding), of framed images, each uint8 (height, width, 3)."""
        if self.model.device.type == "cuda":
            with torch.cuda.stream(self._stream()):
                return self._forward_images(self._normalised_on_gpu(pixels))
        return np.concatenate(
            [self._forward_images(self._normalised(part)) for part in parts(pixels)]
        )

    @torch.inference_mode()
    def encode_captions(self, tokens: Sequence[torch.Tensor]) -> Vectors:
        """Unit vectors, (n, embedding), of token ids, each int64 (context_length,)."""
        stacked = torch.stack(list(tokens))
        if self.model.device.type == "cuda":
            with torch.cuda.stream(self._stream()):
                on_device = stacked.pin_memory().to(self.model.device, non_blocking=True)
                return _units(self._text.encode(on_device))
        return _units(self._text.encode(stacked))

    def _forward_images(self, images: torch.Tensor) -> Vectors:
        return _units(self.model.clip.encode_image(images))

    def _normalised(self, pixels: Sequence[Pixels]) -> torch.Tensor:
        """Colours as the model wants them, (n, 3, height, width), image by image.

        One image fits the CPU's cache, and a batch does not: ten times as fast.
        """
        height, width = self.model.framing.height_px, self.model.framing.width_px
        rows = torch.empty(len(pixels), height, width * 3, dtype=self._dtype)
        for place, image in zip(rows, pixels, strict=True):
            values = torch.from_numpy(image).view(height, width * 3).float()
            place.copy_(torch.addcmul(self._shift, values, self._scale))
        return rows.view(-1, height, width, 3).permute(0, 3, 1, 2)

    def _normalised_on_gpu(self, pixels: Sequence[Pixels]) -> torch.Tensor:
        """The same with a copy that runs while another lane computes: pinned, not waited for."""
        height, width = self.model.framing.height_px, self.model.framing.width_px
        pinned = torch.empty(len(pixels), height, width * 3, dtype=torch.uint8, pin_memory=True)
        for place, image in zip(pinned, pixels, strict=True):
            place.copy_(torch.from_numpy(image).view(height, width * 3))
        values = pinned.to(self.model.device, non_blocking=True).float()
        rows = torch.addcmul(self._shift, values, self._scale).to(self._dtype)
        return rows.view(-1, height, width, 3).permute(0, 3, 1, 2)

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._lane, "stream"):
            self._lane.stream = torch.cuda.Stream(self.model.device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._lane.stream
        return stream


def _units(vectors: torch.Tensor) -> Vectors:
    # Copying to the CPU waits for the device, and for this lane's stream only.
    units: Vectors = normalize(vectors.float(), dim=-1).cpu().numpy()
    return units
