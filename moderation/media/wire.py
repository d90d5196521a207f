"""The words between `decode` (parent) and `child`: fixed numbers, never pickles.

Whatever the child says after it has seen an image may be a lie, so an answer has a few
numbers that the parent checks. Answers and pixels lie in memory that both share, of a size
that nobody can change, and the parent copies them; so it is woken once for many images.

    child  -> parent   hello    4 bytes count, that many bytes of JSON; before any image
    parent -> child    requests the turn, how many images, a `REQUEST` and a file descriptor
                                (SCM_RIGHTS) for each
    child  -> parent   one byte when all have their answer in shared memory

Shared memory holds so many places for pixels, rows of RGB, at most as many as the framing says;
then as many places for an `ANSWER`. An answer counts if it bears the number of the turn, and is
written when its image's pixels are in place. How many places a kind of child has, both know.
"""

import struct
from enum import IntEnum

# Enough that waking each other costs little beside 5 ms an image.
MAX_IMAGES = 16
# A GPU is worth waking for many: starting its work costs as much for one as for a batch.
MAX_BATCH_IMAGES = 64
MAX_HELLO_BYTES = 4096
MAX_DETAIL_BYTES = 300
COUNT = struct.Struct(">I")
TURN = struct.Struct(">IB")
# Bytes of the file, whether there is a hash, SHA-256.
REQUEST = struct.Struct(">Q?32s")
# Turn, status, first frame only?, height and width, microseconds, bytes of detail, detail in UTF-8.
ANSWER = struct.Struct(f">IB?HHIH{MAX_DETAIL_BYTES}s")


class Status(IntEnum):
    """What became of an image in the child."""

    DECODED = 0
    TOO_MANY_PIXELS = 1
    UNSUPPORTED = 2
    CORRUPT = 3
    OUT_OF_MEMORY = 4
    UNREADABLE = 5
    HANDED_ON = 6
