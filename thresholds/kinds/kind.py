"""What a kind of case is, and what its rule makes of a pair."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

from thresholds.kinds.edits import Edit
from thresholds.kinds.original import Original

if TYPE_CHECKING:
    from thresholds.kinds.swaps import Captions

Label = Literal["match", "mismatch"]


class NotMade(Exception):
    """A rule does not apply to this pair; the message says why, in words that can be counted."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A pair to be written: its caption, and what is done to the image, if anything."""

    caption: str
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What rules may look at beside the pair itself: all captions, and the seed."""

    captions: "Captions"
    seed: int

    def rng(self, what: str, *content: str) -> Random:
        """Random numbers that depend on the seed and on content alone, never on an order."""
        return Random("\0".join((str(self.seed), what, *content)))  # noqa: S311 - no secret


Rule = Callable[[Original, World], Planned]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of case; `label` is None where a pair must become unscorable.

    `what` says what is done, `expect` what CLIP makes of it.
    """

    name: str
    label: Label | None
    what: str
    expect: str
    rule: Rule
