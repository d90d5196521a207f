"""Decodes many JPEGs together and frames them on a device: the work of a GPU decoder.

torchvision reads the files: with nvJPEG on "cuda", with libjpeg on "cpu", where tests run. It
comes with open_clip; torchcodec, which follows it, would be one dependency more and looks for
FFmpeg. Both call nvJPEG alike, so that only `decode_together` is to be changed.

Pictures are framed as `framing` does it: resized with antialiasing first across and then down,
each time rounded to whole numbers as Pillow does it (which at times begins with the other),
cropped, or put on the fill colour. Large ones are not averaged down first, so that they are
closer to open_clip's than Pillow's are. What this cannot read is named with the reason.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional
from torchvision.io import ImageReadMode, decode_jpeg

from moderation.media.framing import MAX_RESIZED_TO_CROP, resized_size
from moderation.media.jpeg_header import ForPillowError, JpegHeader, read_header
from moderation.types import Framing

# A picture in numbers takes 12 bytes a pixel, and the GPU's memory is the model's.
MAX_PIXELS_AT_ONCE = 32_000_000
_NO_TIME = "there was no time left for it"

# Files to pictures, (3, height, width) each, uint8, on the device; raises `RuntimeError` if one
# of them cannot be read.
Decode = Callable[[Sequence[torch.Tensor], torch.device], list[torch.Tensor]]


def decode_together(files: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Decode JPEGs, each the bytes of a file, to RGB. Raises `RuntimeError`, for all of them."""
    if device.type == "cuda":
        # The hardware's decoder writes at once, whatever is still at work on the memory it gets.
        torch.cuda.current_stream(device).synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pictures: list[torch.Tensor] = decode_jpeg(list(files), ImageReadMode.RGB, device)
    return pictures


class BatchDecoder:
    """Decodes and frames JPEGs of up to `max_pixels` on a device.

    `failures` counts files that seemed sound and could not be read.
    """

    def __init__(
        self, framing: Framing, max_pixels: int, device: str, decode: Decode = decode_together
    ) -> None:
        if framing.resize_mode == "within":
            raise ValueError("pictures for people are not decoded in batches")
        self._framing = framing
        self._max_pixels = min(max_pixels, MAX_PIXELS_AT_ONCE)
        self._device = torch.device(device)
        self._decode = decode
        self.failures = 0

    @torch.inference_mode()
    def read(
        self, files: Sequence[bytes], frames: torch.Tensor, *, until_s: float = math.inf
    ) -> list[str | None]:
        """Write each file's picture into its row of `frames`, (files, height, width, 3), uint8.

        Returns None for each, or why it is for another decoder; its row may then hold anything.
        What is not begun at `until_s` of the monotonic clock is not begun.
        """
        problems: list[str | None] = [None] * len(files)
        headers: dict[int, JpegHeader] = {}
        for place, data in enumerate(files):
            if time.monotonic() >= until_s:
                problems[place] = _NO_TIME
                continue
            try:
                headers[place] = self._header(data)
            except ForPillowError as error:
                problems[place] = str(error)
        for places in _batches(headers):
            if time.monotonic() < until_s:
                self._read(places, files, headers, frames, problems)
            else:
                for place in places:
                    problems[place] = _NO_TIME
        return problems

    def _header(self, data: bytes) -> JpegHeader:
        header = read_header(data)
        if header.width_px * header.height_px > self._max_pixels:
            raise ForPillowError("it has too many pixels")
        (width, height), _ = resized_size((header.width_px, header.height_px), self._framing)
        # Down a single column, torch takes the first pixel for all (seen with 2.15, on a CPU).
        if min(header.width_px, header.height_px, width, height) < 2:
            raise ForPillowError("it is very thin")
        frame_px = self._framing.width_px * self._framing.height_px
        if width * height > MAX_RESIZED_TO_CROP * frame_px:
            raise ForPillowError("it is very long")
        return header

    def _read(
        self,
        places: Sequence[int],
        files: Sequence[bytes],
        headers: dict[int, JpegHeader],
        frames: torch.Tensor,
        problems: list[str | None],
    ) -> None:
        """Decode some that fit together; where that fails, each half, down to what cannot be."""
        try:
            self._show(places, files, headers, frames)
        except RuntimeError as error:
            if len(places) == 1:
                self.failures += 1
                problems[places[0]] = f"it cannot be read: {error}"
                return
            for half in (places[: len(places) // 2], places[len(places) // 2 :]):
                self._read(half, files, headers, frames, problems)

    def _show(
        self,
        places: Sequence[int],
        files: Sequence[bytes],
        headers: dict[int, JpegHeader],
        frames: torch.Tensor,
    ) -> None:
        # Writable memory, since torch warns of any other.
        encoded = [torch.frombuffer(bytearray(files[p]), dtype=torch.uint8) for p in places]
        pictures = self._decode(encoded, self._device)
        alike: dict[tuple[int, int], list[int]] = {}
        for index, (place, picture) in enumerate(zip(places, pictures, strict=True)):
            size = (headers[place].height_px, headers[place].width_px)
            if picture.shape != (3, *size):
                raise RuntimeError("a picture of another size than its header says")
            alike.setdefault(size, []).append(index)
        framed = [self._frame(torch.stack([pictures[i] for i in few])) for few in alike.values()]
        order = [places[index] for few in alike.values() for index in few]
        # One way back for all: each waits for the device.
        frames[order] = torch.cat(framed).cpu()

    def _frame(self, pictures: torch.Tensor) -> torch.Tensor:
        """Frame pictures of one size: (n, 3, height, width) to (n, height, width, 3), uint8."""
        framing = self._framing
        height, width = pictures.shape[2:]
        size, resample = resized_size((width, height), framing)
        kept = (min(size[0], framing.width_px), min(size[1], framing.height_px))
        # Half to even, as `framing.frame` does it.
        left, top = (round((side - part) / 2) for side, part in zip(size, kept, strict=True))
        mode = resample.name.lower()
        across = _resize(pictures.float(), (height, size[0]), mode)[..., left : left + kept[0]]
        down = _resize(across, (size[1], kept[0]), mode)[..., top : top + kept[1], :]
        framed = down.to(torch.uint8).permute(0, 2, 3, 1)
        if kept == (framing.width_px, framing.height_px):
            return framed
        shape = (len(pictures), framing.height_px, framing.width_px, 3)
        padded = torch.full(shape, framing.fill, dtype=torch.uint8, device=framed.device)
        x, y = (framing.width_px - kept[0]) // 2, (framing.height_px - kept[1]) // 2
        padded[:, y : y + kept[1], x : x + kept[0]] = framed
        return padded


def _resize(pictures: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    if tuple(pictures.shape[2:]) == size:
        return pictures
    resized = functional.interpolate(pictures, size, mode=mode, align_corners=False, antialias=True)
    return resized.round_().clamp_(0, 255)


def _batches(headers: dict[int, JpegHeader]) -> list[list[int]]:
    """Places in order, as many together as the device's memory is meant for."""
    batches: list[list[int]] = []
    pixels = MAX_PIXELS_AT_ONCE
    for place, header in headers.items():
        size = header.width_px * header.height_px
        if pixels + size > MAX_PIXELS_AT_ONCE:
            batches.append([])
            pixels = 0
        batches[-1].append(place)
        pixels += size
    return batches
