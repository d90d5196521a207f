"""Captions without a word: they must become `unscorable`, so they have no label."""

from thresholds.kinds.kind import Planned, World
from thresholds.kinds.original import Original

EMPTY = ("", " ", "\n", "...", "\u200b")
EMOJI = ("😀", "🐶🏖️", "❤️❤️❤️", "👍🏽", "🎉 🎂 🎈")
URLS = (
    "https://example.com/post/17",
    "www.example.com",
    "http://example.org/a?b=c#d",
    "example.com/sale https://example.net",
)


def empty(pair: Original, world: World) -> Planned:
    """Plan a caption of nothing, white space or punctuation."""
    return Planned(_any(pair, world, "empty", EMPTY))


def emoji_only(pair: Original, world: World) -> Planned:
    """Plan a caption of emoji."""
    return Planned(_any(pair, world, "emoji_only", EMOJI))


def url_only(pair: Original, world: World) -> Planned:
    """Plan a caption of addresses."""
    return Planned(_any(pair, world, "url_only", URLS))


def _any(pair: Original, world: World, name: str, captions: tuple[str, ...]) -> str:
    return world.rng(name, pair.photo.sha256, pair.caption).choice(captions)
