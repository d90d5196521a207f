"""Captions of other images: never the image's own, nor what may be true of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.thresholds.kinds.posts import original, world
from thresholds.kinds.kind import NotMade, World
from thresholds.kinds.long import CUT_TOKENS
from thresholds.kinds.make import plan
from thresholds.kinds.original import Original
from thresholds.kinds.swaps import Captions, says_else, things_in
from thresholds.kinds.table import BY_NAME, LABELLED

_TEXT = (
    "a an the one two three man dogs horse red blue large wooden table beach ball boats is are "
    "riding on in with of and holding no Paris left photo sitting 3 cat there couple , . A BLUE "
    "Angela Merkel"
)
WORDS = _TEXT.split()
CAPTIONS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
PHOTOS = st.lists(st.lists(CAPTIONS, min_size=1, max_size=3, unique=True), min_size=1, max_size=6)


def pairs_of(photos: list[list[str]]) -> list[Original]:
    """Make the pairs of photos with captions; photos are told apart by all of them."""
    found = {}
    for captions in photos:
        for caption in captions:
            if any(sign.isalnum() for sign in caption):
                rest = [other for other in captions if other != caption]
                pair = original(caption, *rest)
                found[tuple(sorted(captions)), caption] = Original(
                    original(*sorted(captions)).photo, caption, pair.of
                )
    return sorted(found.values(), key=lambda pair: (pair.photo.sha256, pair.caption))


@settings(max_examples=150, deadline=None)
@given(PHOTOS, st.integers(0, 3))
def test_no_mismatch_has_a_caption_of_its_own_image(photos: list[list[str]], seed: int) -> None:
    """Whatever the captions are, what is labelled a mismatch is none of the image's own."""
    pairs = pairs_of(photos)
    for each in plan(pairs, LABELLED, seed=seed):
        for case in each.cases:
            own = case.original.photo.captions
            if each.kind.label == "mismatch":
                assert case.planned.caption not in own, each.kind.name
            else:
                assert case.planned.caption == case.original.caption


def test_a_random_caption_says_something_else() -> None:
    """A caption of another image that could be true of this one is not taken."""
    pair = original("A dog on a beach.", "A brown dog with a ball")
    twin = original("a dog with a ball on a beach")
    own = things_in(pair.caption) | things_in(pair.photo.captions[1])
    assert not says_else(things_in(twin.caption), own)
    for seed in range(30):
        planned = BY_NAME["random"].rule(pair, world(pair, twin, seed=seed))
        assert planned.caption not in (*pair.photo.captions, twin.caption)


def test_the_nearest_caption_is_on_the_topic() -> None:
    """Of all that say something else, the one that shares most is taken; no near-duplicate."""
    pair = original("Two horses eat grass in a field.")
    near = original("Two horses eat apples from a bucket in a field.")
    found = BY_NAME["same_topic"].rule(pair, world(pair, near))
    assert found.caption == near.caption
    duplicate = original("Two horses eat grass in a field near a fence.")
    assert BY_NAME["same_topic"].rule(pair, world(pair, near, duplicate)) == found
    lonely = original("A submarine, periscope up")
    with pytest.raises(NotMade, match="topic"):
        BY_NAME["same_topic"].rule(lonely, world(lonely))


@pytest.mark.parametrize("kind", ["random", "printed_caption", "long_early", "long_late"])
def test_one_image_alone_has_no_other_caption(kind: str) -> None:
    """A wrong caption has to come from somewhere."""
    pair = original("A dog on a beach.")
    with pytest.raises(NotMade, match="no other image"):
        BY_NAME[kind].rule(pair, World(Captions([pair]), 0))


def test_the_printed_and_the_long_captions_are_those_of_the_random_kind() -> None:
    """The same wrong caption in all of them: what differs is where it stands."""
    pair = original("A dog on a beach.")
    around = world(pair)
    wrong = BY_NAME["random"].rule(pair, around).caption
    assert BY_NAME["printed_caption"].rule(pair, around).caption == wrong
    assert BY_NAME["long_early"].rule(pair, around).caption.startswith(wrong)
    assert BY_NAME["long_late"].rule(pair, around).caption.endswith(wrong)


def test_the_late_error_lies_behind_the_cut_and_the_early_one_before_it() -> None:
    """77 tokens are at most 77 words: after as many, nothing is read any more."""
    pair = original("A dog on a beach.", "A dog runs.")
    wrong = BY_NAME["random"].rule(pair, world(pair)).caption
    late = BY_NAME["long_late"].rule(pair, world(pair)).caption
    early = BY_NAME["long_early"].rule(pair, world(pair)).caption
    assert len(late.removesuffix(wrong).split()) >= CUT_TOKENS
    assert len(early.split()) > CUT_TOKENS
    assert all("A dog runs." in text for text in (late, early))
