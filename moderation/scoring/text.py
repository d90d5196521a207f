"""Captions to tokens, and whether the model sees all of a caption."""

from dataclasses import dataclass

import torch

from moderation.scoring.model import Tokenizer


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, int64, (context_length,); `truncated` when the model sees not all of it."""

    ids: torch.Tensor
    truncated: bool


def tokenize(caption: str, tokenizer: Tokenizer, context_length: int) -> Tokens:
    """Tokenize one caption as the model's own tokenizer does.

    open_clip's tokenizers cut silently. One more place shows it: where a caption fits,
    the rows agree; where it was cut, the end token stands where a word would go on.
    """
    ids = tokenizer([caption], context_length=context_length)[0]
    longer = tokenizer([caption], context_length=context_length + 1)[0]
    # A caption may spell the end token, and CLIP's text tower reads up to the first of them.
    end = getattr(tokenizer, "eot_token_id", None)
    ends_early = end is not None and int((ids == end).sum()) > 1
    return Tokens(ids=ids, truncated=ends_early or not torch.equal(ids, longer[:context_length]))
