"""Runs the text tower at the length of the captions instead of at the full context.

A causal tower reads a caption up to its end token, and what follows changes nothing: CLIP's
77 places are mostly padding. Whether that holds for the model at hand is tried, not assumed.
"""

import torch
from torch import nn

from moderation.scoring.clones import clone
from moderation.scoring.model import ClipModel
from moderation.scoring.probes import CAPTIONS, TOO_LONG
from moderation.scoring.shapes import parts

# Lengths come in steps, so that few different shapes occur.
_STEP = 8
# Captions of a length go so many at a time; what is left joins the next longer ones, since a
# pass of its own would cost more.
_FEWEST = 8
# Rounding differs with the shape of a matrix product; this is far below what a cosine shows.
_SAME = 1e-5


class TextTower:
    """Encodes captions in buckets of like length, cut to it where that changes nothing.

    Threads may share one: each length has a module of its own over the same weights.
    """

    def __init__(self, model: ClipModel, *, can_cut: bool | None = None) -> None:
        """Try whether cutting changes nothing; `can_cut` is the answer where it is known."""
        self._context_length = model.context_length
        self._clips = {model.context_length: model.clip}
        if can_cut is not False:
            for length in range(_STEP, model.context_length, _STEP):
                self._clips[length] = _cut(model.clip, model.context_length, length)
        self.can_cut = self._prove(model) if can_cut is None else can_cut

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Vectors, (n, embedding), of token ids on the CPU, (n, context_length)."""
        if not self.can_cut:
            return self.encode_at(tokens, self._context_length)
        vectors: torch.Tensor | None = None
        for length, rows in (
            (length, part) for length, bucket in self.buckets(tokens) for part in parts(bucket)
        ):
            encoded = self.encode_at(tokens[rows], length)
            if vectors is None:
                vectors = encoded.new_empty((len(tokens), encoded.shape[1]))
            vectors[rows] = encoded
        if vectors is None:
            raise ValueError("no captions")
        return vectors

    def buckets(self, tokens: torch.Tensor) -> list[tuple[int, list[int]]]:
        """Lengths at which to read token ids, (n, context_length), each with its rows."""
        if not self.can_cut:
            return [(self._context_length, list(range(len(tokens))))]
        return _buckets(self._needed(tokens))

    def encode_at(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        """Vectors, (n, embedding), of token ids, (n, context_length), all read at one length."""
        vectors: torch.Tensor = self._clips[length].encode_text(tokens[:, :length])
        return vectors

    def _needed(self, tokens: torch.Tensor) -> list[int]:
        """The length of each caption, padding not counted, rounded up to a step."""
        # Padding is what all rows end in; a full row has none.
        is_padding = tokens == tokens[:, -1:]
        trailing = is_padding.flip(1).int().cumprod(1).sum(1)
        # One of the trailing tokens may be the end token itself, where the row is full.
        lengths = (self._context_length - trailing + 1).tolist()
        return [min(self._context_length, -(-length // _STEP) * _STEP) for length in lengths]

    @torch.inference_mode()
    def _prove(self, model: ClipModel) -> bool:
        tokens = model.tokenizer([*CAPTIONS, TOO_LONG], context_length=self._context_length)
        try:
            for index, length in enumerate(self._needed(tokens)):
                row = tokens[index : index + 1].to(model.device)
                expected = self.encode_at(row, self._context_length)
                alike = torch.nn.functional.cosine_similarity(expected, self.encode_at(row, length))
                if not bool((alike > 1 - _SAME).all()):
                    return False
        except (RuntimeError, AssertionError, IndexError):
            return False
        return True


def _cut(clip: nn.Module, context_length: int, length: int) -> nn.Module:
    """The same model with room for `length` tokens; its towers share the weights."""
    shorter: dict[torch.Tensor, torch.Tensor] = {
        tensor: nn.Parameter(tensor[:length], requires_grad=False)
        for name, tensor in clip.named_parameters()
        if name.rsplit(".", 1)[-1] == "positional_embedding"
        and "visual" not in name
        and tensor.shape[0] == context_length
    }
    # Masks are buffers that open_clip leaves out of the state.
    masks = {
        mask: mask[:length, :length]
        for name, mask in clip.named_buffers()
        if name.rsplit(".", 1)[-1] == "attn_mask" and mask.shape == (context_length, context_length)
    }
    return clone(clip, {**shorter, **masks})


def _buckets(needed: list[int]) -> list[tuple[int, list[int]]]:
    """Each length with its rows, every row once; what is left over goes with the next longer."""
    buckets: list[tuple[int, list[int]]] = []
    waiting: list[int] = []
    longest = max(needed, default=0)
    for length in sorted(set(needed)):
        waiting += [row for row, own in enumerate(needed) if own == length]
        whole = len(waiting) if length == longest else len(waiting) // _FEWEST * _FEWEST
        if whole:
            buckets.append((length, waiting[:whole]))
            waiting = waiting[whole:]
    return buckets
