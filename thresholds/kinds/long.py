"""Captions longer than what CLIP reads, with what is wrong in front of or behind the cut."""

from thresholds.kinds.grammar import parse
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original

# CLIP reads 77 tokens of which two are signs of its own; a word is one token or more.
CUT_TOKENS = 77

# True of any photo, so that nothing but the swapped caption is wrong.
_FILLER = (
    "This is a picture that somebody took and then put here for others to look at.",
    "Whoever wants to say something about it is welcome to leave a comment below.",
    "There is more to come on another day, so stay tuned and tell your friends about it.",
    "Thank you for taking the time to read all of this, it really means a lot to us.",
    "As always, feel free to share the post with anyone who may enjoy it as much as we do.",
    "If you have any questions, write to us, and we will answer as soon as we can.",
)


def long_early(pair: Original, world: World) -> Planned:
    """Plan another image's caption, and then true ones until it is too long."""
    wrong = _sentence(world.captions.another(pair, world))
    if len(parse(wrong).words) > CUT_TOKENS // 2:
        raise NotMade("the other caption is long by itself")
    return Planned(f"{wrong} {_true_text(pair)}")


def long_late(pair: Original, world: World) -> Planned:
    """Plan true captions until it is too long, and then another image's."""
    return Planned(f"{_true_text(pair)} {_sentence(world.captions.another(pair, world))}")


def _true_text(pair: Original) -> str:
    """The image's own captions, this one first, filled up to `CUT_TOKENS` words."""
    others = [caption for caption in pair.photo.captions if caption != pair.caption]
    sentences: list[str] = []
    words = 0
    for text in (pair.caption, *others, *_FILLER):
        if words >= CUT_TOKENS:
            break
        sentences.append(_sentence(text))
        words += len(parse(text).words)
    return " ".join(sentences)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text.rstrip(',;:')}."
