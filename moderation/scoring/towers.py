"""Both towers of a model as they run in earnest: pixels and tokens to unit vectors."""

from collections.abc import Callable, Sequence

import numpy as np
import structlog
import torch
from torch.nn.functional import normalize

from moderation.scoring.lanes import Lane, Lanes, Passes, Vectors
from moderation.scoring.lengths import TextTower
from moderation.scoring.model import ClipModel
from moderation.scoring.probes import probe_tokens
from moderation.scoring.replay import Record, Recordings
from moderation.scoring.shapes import parts
from moderation.types import Pixels

__all__ = ["Towers", "Vectors"]

log = structlog.get_logger()


class Towers:
    """Encodes batches; threads may share one, each has a lane of its own on a GPU.

    `can_cut` says whether captions may be cut, where that is known already. With `record`,
    which makes what records a lane's passes, each shape is recorded once and then replayed;
    `faults` are those that could not be.
    """

    def __init__(
        self,
        model: ClipModel,
        *,
        can_cut: bool | None = None,
        record: Callable[[], Record] | None = None,
    ) -> None:
        self.model = model
        self.faults: list[str] = []
        self._text = TextTower(model, can_cut=can_cut)
        self.can_cut = self._text.can_cut
        self._dtype = next(model.clip.parameters()).dtype
        width = model.framing.width_px
        mean, std = torch.tensor(model.mean), torch.tensor(model.std)
        # One value for each number in a row of pixels, (width * 3,): with rows as long as that
        # the CPU takes many at a time, and with the three colours of a pixel it does not.
        self._scale = (1 / (255 * std)).repeat(width).to(model.device)
        self._shift = (-mean / std).repeat(width).to(model.device)
        self.dimensions = self._dimensions()
        self._lanes: Lanes | None = None
        if model.device.type == "cuda" or record is not None:
            self._lanes = self._open_lanes(record)

    @torch.inference_mode()
    def replaying(self, record: Callable[[], Record]) -> "Towers":
        """The same towers with passes that are recorded and replayed."""
        return Towers(self.model, can_cut=self.can_cut, record=record)

    @torch.inference_mode()
    def encode_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Unit vectors, (n, embedding), of framed images, each uint8 (height, width, 3)."""
        if self._lanes is not None:
            with self._lanes.one() as lane:
                return lane.encode_images(pixels)
        return np.concatenate(
            [
                _units(self.model.clip.encode_image(self._normalised(part))).numpy()
                for part in parts(pixels)
            ]
        )

    @torch.inference_mode()
    def encode_captions(self, tokens: Sequence[torch.Tensor]) -> Vectors:
        """Unit vectors, (n, embedding), of token ids, each int64 (context_length,)."""
        stacked = torch.stack(list(tokens))
        if self._lanes is not None:
            with self._lanes.one() as lane:
                return lane.encode_captions(stacked)
        vectors: Vectors = _units(self._text.encode(stacked)).numpy()
        return vectors

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

    def _open_lanes(self, record: Callable[[], Record] | None) -> Lanes:
        passes = Passes(self._image_pass, self._caption_pass, self._text.buckets)
        if self.model.device.type == "cuda":
            # Lanes' streams do not wait for the one on which the weights were made.
            torch.cuda.synchronize(self.model.device)

        def open_lane() -> Lane:
            recordings = record and Recordings(record(), self._tell_fault)
            return Lane(self.model, passes, self.dimensions, recordings)

        return Lanes(open_lane)

    def _image_pass(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = self.model.framing.height_px, self.model.framing.width_px
        rows = torch.empty(pixels.shape, dtype=self._dtype, device=pixels.device)
        # In one kernel: whole numbers are read, and what the model computes with is written.
        torch.addcmul(self._shift, pixels, self._scale, out=rows)
        images = rows.view(-1, height, width, 3).permute(0, 3, 1, 2)
        return _units(self.model.clip.encode_image(images))

    def _caption_pass(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        return _units(self._text.encode_at(tokens, length))

    def _tell_fault(self, why: str) -> None:
        self.faults.append(why)
        log.warning("pass_not_replayed", why=why)

    @torch.inference_mode()
    def _dimensions(self) -> int:
        vectors = self._text.encode_at(probe_tokens(self.model, 1), self.model.context_length)
        return int(vectors.shape[1])


def _units(vectors: torch.Tensor) -> torch.Tensor:
    return normalize(vectors.float(), dim=-1)
