"""Captions to tokens, and whether the model sees all of a caption."""

import threading
from dataclasses import dataclass

import numpy as np
import torch

from moderation.scoring.model import Tokenizer
from moderation.scoring.words import Words

_REMEMBERED_WORDS = 200_000
# Words of natural language have fewer; what is longer fills the context all the same.
_MOST_CHARS_A_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, int64, (context_length,); `truncated` when the model sees not all of it."""

    ids: torch.Tensor
    truncated: bool


class CaptionTokenizer:
    """Tokenizes captions for one model; threads may share it."""

    def __init__(self, tokenizer: Tokenizer, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._words = Words.of(tokenizer)
        self._tokenizing = threading.Lock()

    def tokenize(self, caption: str) -> Tokens:
        """Tokens as the model's own tokenizer makes them."""
        with self._tokenizing:
            forget_words(self._tokenizer, at_most=_REMEMBERED_WORDS)
            if self._words is None:
                return tokenize(caption, self._tokenizer, self._context_length)
            return self._from_words(self._words, _bounded(caption, self._context_length))

    def _from_words(self, words: Words, caption: str) -> Tokens:
        inner = words.encode(caption)
        room = self._context_length - 2
        row = [words.start, *inner[:room], words.end]
        # By numpy, which makes a short row in a fraction of the time.
        ids = np.zeros(self._context_length, dtype=np.int64)
        ids[: len(row)] = row
        # A caption may spell the end token, and CLIP's text tower reads up to the first of them.
        truncated = len(inner) > room or words.end in inner
        return Tokens(torch.from_numpy(ids), truncated)


def tokenize(caption: str, tokenizer: Tokenizer, context_length: int) -> Tokens:
    """Tokenize one caption as the model's own tokenizer does.

    open_clip's tokenizers cut silently. One more place shows it: where a caption fits,
    the rows agree; where it was cut, the end token stands where a word would go on.
    """
    seen = _bounded(caption, context_length)
    ids = tokenizer([seen], context_length=context_length)[0]
    longer = tokenizer([seen], context_length=context_length + 1)[0]
    # A caption may spell the end token, and CLIP's text tower reads up to the first of them.
    end = getattr(tokenizer, "eot_token_id", None)
    ends_early = end is not None and int((ids == end).sum()) > 1
    cut = not torch.equal(ids, longer[:context_length])
    return Tokens(ids=ids, truncated=ends_early or cut)


def _bounded(caption: str, context_length: int) -> str:
    """At least what fits, whatever it holds: the merges of an endless word take very long."""
    if len(caption) <= context_length * _MOST_CHARS_A_TOKEN:
        return caption
    return " ".join(caption.split())[: context_length * _MOST_CHARS_A_TOKEN]


def forget_words(tokenizer: Tokenizer, *, at_most: int) -> None:
    """Bound the memory of a tokenizer that keeps every word it has ever seen.

    open_clip's does; its special tokens, kept as themselves, stay.
    """
    cache = getattr(tokenizer, "cache", None)
    if isinstance(cache, dict) and len(cache) > at_most:
        for word in [word for word, tokens in cache.items() if word != tokens]:
            del cache[word]
