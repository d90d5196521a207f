"""The pairs of a run: each handed in as if never seen before, or on purpose again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from workers.bench.photos import Photo, draw_photos, read_photos

_POOL = 256


@dataclass(frozen=True, slots=True)
class PairSource:
    """A pool of photos, given out again and again in files and captions that differ.

    What follows the end of an image file costs a decoder nothing, nor do blanks after a
    caption a model; both are other content, so that no cache and no flight knows them.
    """

    pool: Sequence[Photo]
    _rounds: "count[int]"

    @staticmethod
    def open(folder: Path | None, *, seed: int) -> "PairSource":
        """The photos of a folder, or drawn ones. Raises `InputRefused` for a bad folder."""
        photos = read_photos(folder) if folder else list(draw_photos(_POOL, seed=seed))
        return PairSource(photos[:_POOL], count(1))

    def fresh(self, number: int) -> list[Photo]:
        """So many pairs, none of which was given out before."""
        return list(self.stream(number))

    def stream(self, number: int) -> Iterator[Photo]:
        """The same one after the other: of many, all the files at once would fill the memory."""
        return islice(self._endless(), number)

    def _endless(self) -> Iterator[Photo]:
        for round_ in self._rounds:
            mark, blanks = b"\0benchmark %d" % round_, " " * round_
            for photo in self.pool:
                yield Photo(photo.data + mark, photo.caption + blanks)
