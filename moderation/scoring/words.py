"""The tokens of captions word by word, each word worked out once.

open_clip's own tokenizer repairs, splits and merges every caption anew, twice for ours, who
want to know what was cut. Its merges are kept; only the words' tokens are remembered.
"""

import re
from typing import Any

import regex
from open_clip import SimpleTokenizer

# For text of these alone, repairing Unicode and HTML changes nothing.
_PLAIN = re.compile(r"[A-Za-z0-9 .,!?'\"():;/+-]*")
_MOST_WORDS = 200_000
# Longer ones are no words of a language and are not met again; each would take kilobytes.
_LONGEST_WORD_CHARS = 64
_PROBES = (
    "A dog's 2 red balls, left of (a) house!",
    "ÀÉ naïve 東京 😀 &amp; “quoted”\tand <b>more</b>",
    "isn't it?!  <end_of_text> nowhere--else",
)


class Words:
    """Token ids of captions, as `SimpleTokenizer.encode` gives them."""

    def __init__(self, tokenizer: SimpleTokenizer) -> None:
        self._tokenizer = tokenizer
        self._pattern = regex.compile(tokenizer.pat.pattern, regex.IGNORECASE)
        self.start, self.end = tokenizer.sot_token_id, tokenizer.eot_token_id
        self._ids: dict[str, tuple[int, ...]] = {}

    @classmethod
    def of(cls, tokenizer: Any) -> "Words | None":
        """The words of a tokenizer, if it is open_clip's own and they are the same."""
        if type(tokenizer) is not SimpleTokenizer or tokenizer.reduction_fn is not None:
            return None
        words = cls(tokenizer)
        is_same = all(words.encode(probe) == tokenizer.encode(probe) for probe in _PROBES)
        return words if is_same else None

    def encode(self, caption: str) -> list[int]:
        """Token ids of all of a caption, without those of its start and end."""
        ids: list[int] = []
        # No token reaches over a blank.
        for word in self._words(caption):
            known = self._ids.get(word)
            ids += known if known is not None else self._learn(word)
        return ids

    def _words(self, caption: str) -> list[str]:
        if _PLAIN.fullmatch(caption):
            return caption.lower().split()
        cleaned: str = self._tokenizer.clean_fn(caption)
        return cleaned.split(" ")

    def _learn(self, word: str) -> tuple[int, ...]:
        tokenizer = self._tokenizer
        ids: list[int] = []
        for part in self._pattern.findall(word):
            letters = "".join(tokenizer.byte_encoder[byte] for byte in part.encode())
            ids += (tokenizer.encoder[piece] for piece in tokenizer.bpe(letters).split(" "))
            if len(part) > _LONGEST_WORD_CHARS:
                tokenizer.cache.pop(letters, None)
        if len(word) <= _LONGEST_WORD_CHARS:
            # Strangers invent words without end.
            if len(self._ids) >= _MOST_WORDS:
                self._ids.clear()
            self._ids[word] = tuple(ids)
        return tuple(ids)
