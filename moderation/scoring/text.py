"""Captions to tokens, and whether the model sees all of a caption."""

from dataclasses import dataclass

import torch

from moderation.scoring.model import Tokenizer

# Words of natural language have fewer; what is longer fills the context all the same.
_MOST_CHARS_A_TOKEN = 32


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
    seen = caption
    if len(caption) > context_length * _MOST_CHARS_A_TOKEN:
        # More than fits whatever it holds, and byte pair encoding of one endless word takes
        # time that grows faster than its length.
        seen = " ".join(caption.split())[: context_length * _MOST_CHARS_A_TOKEN]
    ids = tokenizer([seen], context_length=context_length)[0]
    longer = tokenizer([seen], context_length=context_length + 1)[0]
    # A caption may spell the end token, and CLIP's text tower reads up to the first of them.
    end = getattr(tokenizer, "eot_token_id", None)
    ends_early = end is not None and int((ids == end).sum()) > 1
    cut = not torch.equal(ids, longer[:context_length])
    return Tokens(ids=ids, truncated=ends_early or cut)


def forget_words(tokenizer: Tokenizer, *, at_most: int) -> None:
    """Bound the memory of a tokenizer that keeps every word it has ever seen.

    open_clip's does; its special tokens, kept as themselves, stay.
    """
    cache = getattr(tokenizer, "cache", None)
    if isinstance(cache, dict) and len(cache) > at_most:
        for word in [word for word, tokens in cache.items() if word != tokens]:
            del cache[word]
