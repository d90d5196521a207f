"""Runs the text tower at the length of the captions instead of at the full context.

A causal tower reads a caption up to its end token, and what follows changes nothing: CLIP's
77 places are mostly padding. Whether that holds for the model at hand is tried, not assumed.
"""

import torch

from moderation.scoring.model import ClipModel

# Lengths come in steps, so that few different shapes occur.
_STEP = 8
# Rounding differs with the shape of a matrix product; this is far below what a cosine shows.
_SAME = 1e-5
_PROBES = (
    "a dog",
    "two red balls left of a blue house",
    "a man in a green coat walks his dog along the beach while the sun goes down over the sea",
    "word " * 300,
)


class _Tower(torch.nn.Module):
    """`encode_text` as a module's call, so that its parts can be replaced for one call."""

    def __init__(self, clip: torch.nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.clip.encode_text(tokens)  # type: ignore[operator]
        return vectors


class TextTower:
    """Encodes captions, cut to the longest of a batch where that changes nothing."""

    def __init__(self, model: ClipModel, *, can_cut: bool | None = None) -> None:
        """Try whether cutting changes nothing; `can_cut` is the answer where it is known."""
        self._tower = _Tower(model.clip)
        self._context_length = model.context_length
        self._sized = {
            name: tensor
            for name, tensor in self._tower.state_dict(keep_vars=True).items()
            if name.rsplit(".", 1)[-1] == "positional_embedding"
            and "visual" not in name
            and tensor.shape[0] == model.context_length
        }
        # Masks are buffers that open_clip leaves out of the state.
        self._masks = {
            name: tensor
            for name, tensor in self._tower.named_buffers()
            if name.rsplit(".", 1)[-1] == "attn_mask"
            and tensor.shape == (model.context_length, model.context_length)
        }
        self.can_cut = self._prove(model) if can_cut is None else can_cut

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Vectors, (n, embedding), of token ids, (n, context_length)."""
        if not self.can_cut:
            return self._full(tokens)
        return self._cut(tokens, self._needed(tokens))

    def _full(self, tokens: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self._tower(tokens)
        return vectors

    def _cut(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        if length == self._context_length:
            return self._full(tokens)
        replaced = {name: tensor[:length] for name, tensor in self._sized.items()}
        replaced |= {name: mask[:length, :length] for name, mask in self._masks.items()}
        vectors: torch.Tensor = torch.func.functional_call(
            self._tower, replaced, (tokens[:, :length],)
        )
        return vectors

    def _needed(self, tokens: torch.Tensor) -> int:
        """The longest caption of a batch, padding not counted, rounded up to a step."""
        # Padding is what all rows end in; a full row has none.
        is_padding = tokens == tokens[:, -1:]
        trailing = is_padding.flip(1).int().cumprod(1).sum(1)
        # One of the trailing tokens may be the end token itself, where the row is full.
        longest = int((self._context_length - trailing + 1).max())
        return min(self._context_length, -(-longest // _STEP) * _STEP)

    @torch.inference_mode()
    def _prove(self, model: ClipModel) -> bool:
        tokens = model.tokenizer(list(_PROBES), context_length=self._context_length)
        tokens = tokens.to(model.device)
        try:
            for index in range(len(tokens)):
                row = tokens[index : index + 1]
                expected, cut = self._full(row), self._cut(row, self._needed(row))
                alike = torch.nn.functional.cosine_similarity(expected, cut)
                if not bool((alike > 1 - _SAME).all()):
                    return False
        except (RuntimeError, AssertionError, IndexError):
            return False
        return True
