"""Stock open_clip, fp32, as its documentation shows it: what all figures are compared with."""

from collections.abc import Sequence
from io import BytesIO
from typing import IO

import open_clip
import torch
from PIL import Image, ImageCms, ImageOps

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

    def preprocess(self, file: IO[bytes], *, as_shown: bool = False) -> torch.Tensor:
        """An image file as the tower wants it, (3, height, width).

        Stock open_clip ignores on which side a camera was held and what colours a file's
        profile gives; with `as_shown` it gets the picture as people see it, as ours does.
        """
        with Image.open(file) as image:
            pixels: torch.Tensor = self._transform(_as_shown(image) if as_shown else image)
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


def _as_shown(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    if not profile:
        return upright
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(upright, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return upright
    return shown or upright
