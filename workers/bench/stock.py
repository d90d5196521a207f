"""Stock open_clip, fp32, as its documentation shows it: what all figures are compared with."""

from collections.abc import Sequence
from typing import IO

import open_clip
import torch
from PIL import Image

from moderation.scoring.model import load_model


class StockModel:
    """The towers and the preprocessing of open_clip itself, with a model's weights."""

    def __init__(self, spec: str, *, device: str) -> None:
        self._model = load_model(spec, device=device)
        framing = self._model.framing
        self._transform = open_clip.image_transform(
            (framing.height_px, framing.width_px),
            is_train=False,
            mean=self._model.mean,
            std=self._model.std,
            interpolation=framing.interpolation,
            resize_mode=framing.resize_mode,
            fill_color=framing.fill,
        )

    def preprocess(self, file: IO[bytes]) -> torch.Tensor:
        """An image file as the tower wants it, (3, height, width)."""
        with Image.open(file) as image:
            pixels: torch.Tensor = self._transform(image)
            return pixels

    @torch.inference_mode()
    def cosines(self, pixels: Sequence[torch.Tensor], captions: Sequence[str]) -> list[float]:
        """The cosine of each image with its caption, in one batch."""
        clip, device = self._model.clip, self._model.device
        images = clip.encode_image(torch.stack(list(pixels)).to(device), normalize=True)
        tokens = self._model.tokenizer(list(captions)).to(device)
        texts = clip.encode_text(tokens, normalize=True)
        cosines: list[float] = (images * texts).sum(dim=-1).cpu().tolist()
        return cosines
