"""Which captions CLIP cannot say anything about: those without a word in them."""

import re

import regex

from moderation.types import Reason

_URL = regex.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+|\b[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}/\S*",
    regex.IGNORECASE,
)
_BARE_DOMAIN = regex.compile(r"[\p{Ll}\p{N}-]+(?:\.[\p{Ll}\p{N}-]+)*\.[a-z]{2,24}")
_KEYCAP = regex.compile(r"[0-9#*]\uFE0F?\u20E3")
_WORD = regex.compile(r"[\p{L}\p{N}]")
_EMOJI = regex.compile(r"[\p{Extended_Pictographic}\p{Regional_Indicator}]|\u20E3")

# Most captions: a letter, and nothing that an address or a keycap has; a full stop ends there
# or before a blank.
_PLAIN = re.compile(r"[0-9 ,'!?-]*[A-Za-z][A-Za-z0-9 ,'!?-]*(?:\. [A-Za-z0-9 ,'!?-]*)*\.?")

NO_WORD = "the caption has no word that could match the image"


def caption_fault(caption: str) -> Reason | None:
    """Why a caption cannot be scored, or None when it holds at least one word.

    A caption of URLs alone is `caption_url_only`, one of emoji and signs alone is
    `caption_emoji_only`, and one of white space and punctuation is `caption_empty`.
    """
    if _PLAIN.fullmatch(caption):
        return None
    without_keycaps = _KEYCAP.sub(" ", caption)
    without_urls = _URL.sub(" ", without_keycaps)
    if _BARE_DOMAIN.fullmatch(without_urls.strip()):
        return Reason.CAPTION_URL_ONLY
    if _WORD.search(without_urls):
        return None
    if without_urls != without_keycaps:
        return Reason.CAPTION_URL_ONLY
    if _EMOJI.search(caption):
        return Reason.CAPTION_EMOJI_ONLY
    return Reason.CAPTION_EMPTY
