"""One engine a process: image and caption pairs to cosines, in batches."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from moderation.batching import Batcher
from moderation.scoring.lengths import TextTower
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import Wanted, choose_precision
from moderation.scoring.text import Tokens, forget_words, tokenize
from moderation.types import Image, Note, PairScore

_REMEMBERED_WORDS = 200_000


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one forward pass did, and how long each of its pairs was staged before it."""

    forward_s: float
    waits_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    image: Image
    tokens: Tokens
    staged_s: float = field(default_factory=time.perf_counter)


class Engine:
    """Scores pairs from many threads; a batch is whatever was staged during the last one."""

    def __init__(
        self,
        model: ClipModel,
        *,
        max_batch_items: int,
        precision: Wanted = "fp32",
        on_batch: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        # Tried in fp32: in bf16 the rounding alone differs by more than the test allows.
        self.can_cut = TextTower(model).can_cut
        self.choice = choose_precision(model, precision, can_cut=self.can_cut)
        self.model = model = self.choice.model
        self._dtype = next(model.clip.parameters()).dtype
        self._on_batch = on_batch
        self._mean = torch.tensor(model.mean, device=model.device).view(1, 3, 1, 1)
        self._std = torch.tensor(model.std, device=model.device).view(1, 3, 1, 1)
        self._text = TextTower(model, can_cut=self.can_cut)
        self._tokenizing = threading.Lock()
        self._batcher: Batcher[_Pair, PairScore] = Batcher(
            self._score, max_items=max_batch_items, name="captionguard-engine"
        )

    def submit(self, image: Image, caption: str) -> "Future[PairScore]":
        """Stage one pair; the image is framed for this model. Blocks while much is staged."""
        with self._tokenizing:
            tokens = tokenize(caption, self.model.tokenizer, self.model.context_length)
            forget_words(self.model.tokenizer, at_most=_REMEMBERED_WORDS)
        return self._batcher.submit(_Pair(image, tokens))

    def close(self) -> None:
        """Finish what is staged and stop."""
        self._batcher.close()

    def _score(self, pairs: Sequence[_Pair]) -> list[PairScore]:
        started_s = time.perf_counter()
        pixels = torch.from_numpy(np.stack([pair.image.pixels for pair in pairs]))
        tokens = torch.stack([pair.tokens.ids for pair in pairs])
        cosines = self._cosines(pixels, tokens)
        self._on_batch(
            BatchReport(
                forward_s=time.perf_counter() - started_s,
                waits_s=tuple(started_s - pair.staged_s for pair in pairs),
            )
        )
        return [
            PairScore(
                cosine=cosine,
                notes=pair.image.notes
                + ((Note.CAPTION_TRUNCATED,) if pair.tokens.truncated else ()),
            )
            for pair, cosine in zip(pairs, cosines, strict=True)
        ]

    @torch.inference_mode()
    def _cosines(self, pixels: torch.Tensor, tokens: torch.Tensor) -> list[float]:
        """Cosines of n pairs; pixels uint8 (n, height, width, 3), tokens int64 (n, context)."""
        device = self.model.device
        images = pixels.to(device).permute(0, 3, 1, 2).float().div_(255)  # (n, 3, height, width)
        images = ((images - self._mean) / self._std).to(self._dtype)
        image_vectors = self.model.clip.encode_image(images).float()
        text_vectors = self._text.encode(tokens.to(device)).float()
        # (n, embedding) twice to (n,)
        cosines: list[float] = torch.nn.functional.cosine_similarity(
            image_vectors, text_vectors
        ).tolist()
        return cosines
