"""All kinds, with their labels and what to expect of CLIP."""

from thresholds.kinds import long, pictures, swaps, unscorable
from thresholds.kinds.attribute import attribute
from thresholds.kinds.count import count
from thresholds.kinds.entity import entity
from thresholds.kinds.kind import Kind
from thresholds.kinds.negation import negation
from thresholds.kinds.word_order import word_order

_CHANCE = "near chance on stock CLIP"
_SAME = "the score must hardly move"
_NEVER = "unscorable, never a silent pass"

KINDS: tuple[Kind, ...] = (
    Kind("own", "match", "the pair as it is", "the scores of matches", pictures.own),
    Kind("random", "mismatch", "another image's caption", "easy: AUC of .95 and up", swaps.random),
    Kind(
        "same_topic", "mismatch", "another image's most similar caption", "hard", swaps.same_topic
    ),
    Kind("attribute", "mismatch", "a colour, size or material changed", _CHANCE, attribute),
    Kind("count", "mismatch", "a number changed", _CHANCE, count),
    Kind("negation", "mismatch", "what is there, denied", _CHANCE, negation),
    Kind("word_order", "mismatch", "two things change places", _CHANCE, word_order),
    Kind("entity", "mismatch", "another name (news)", "60 to 66 % accuracy", entity),
    Kind(
        "printed_caption",
        "mismatch",
        "the wrong caption, printed on the image too",
        "evades CLIP: text in the image dominates",
        pictures.printed_caption,
    ),
    Kind(
        "harmless_text",
        "match",
        "a date, time or file name printed on the image",
        "control: how many matches get flagged",
        pictures.harmless_text,
    ),
    Kind("crop", "match", "80 to 95 % of each side kept", _SAME, pictures.crop),
    Kind("reencode", "match", "saved as JPEG of quality 30, 50 or 70", _SAME, pictures.reencode),
    Kind("mirror", "match", "left and right exchanged", _SAME, pictures.mirror),
    Kind(
        "long_early",
        "mismatch",
        "over 77 tokens, the wrong sentence first",
        "seen, thinned by what is true",
        long.long_early,
    ),
    Kind(
        "long_late",
        "mismatch",
        "over 77 tokens, the wrong sentence last",
        "not seen: the late part is cut",
        long.long_late,
    ),
    Kind("empty", None, "no word in the caption", _NEVER, unscorable.empty),
    Kind("emoji_only", None, "nothing but emoji", _NEVER, unscorable.emoji_only),
    Kind("url_only", None, "nothing but addresses", _NEVER, unscorable.url_only),
)
BY_NAME = {kind.name: kind for kind in KINDS}
LABELLED = tuple(kind for kind in KINDS if kind.label is not None)
