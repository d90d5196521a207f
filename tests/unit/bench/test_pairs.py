"""Pairs that are handed out as new are new to every cache, and cost what they cost."""

from io import BytesIO

import numpy as np
from open_clip import SimpleTokenizer
from PIL import Image

from workers.bench.pairs import PairSource


def test_no_pair_is_handed_out_twice() -> None:
    """Files and captions all differ, also when the pool has been gone through many times."""
    source = PairSource.open(None, seed=3)
    pairs = source.fresh(700) + source.fresh(300)
    assert len({pair.data for pair in pairs}) == 1000
    assert len({pair.caption for pair in pairs}) == 1000


def test_many_pairs_come_one_after_the_other() -> None:
    """A stream gives out as many as asked for, and what follows it is new all the same."""
    source = PairSource.open(None, seed=3)
    stream = source.stream(600)
    pairs = [next(stream), *stream, *source.fresh(300)]
    assert len({pair.data for pair in pairs}) == 900


def test_what_makes_them_new_changes_nothing_for_the_model() -> None:
    """The same photo handed out again has the same pixels and the same tokens."""
    source = PairSource.open(None, seed=3)
    size = len(source.pool)
    pairs, tokenizer = source.fresh(2 * size), SimpleTokenizer()
    for first, second in zip(pairs[:20], pairs[size : size + 20], strict=True):
        pixels = [np.asarray(Image.open(BytesIO(pair.data))) for pair in (first, second)]
        assert np.array_equal(*pixels)
        assert tokenizer.encode(first.caption) == tokenizer.encode(second.caption)
