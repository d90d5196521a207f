"""The words between `decode` (parent) and `child`: fixed headers, never pickles.

Whatever the child says after it has seen an image may be a lie, so an answer has a few
numbers that the parent checks, and bytes whose count it knew before it asked.

    child  -> parent   hello    4 bytes count, that many bytes of JSON; before any image
    parent -> child    request  4 bytes count, that many bytes of an image file
    child  -> parent   answer   status, first frame only?, count of detail, count of pixels;
                                the detail in UTF-8, the pixels as rows of RGB
"""

import struct
from enum import IntEnum

COUNT = struct.Struct(">I")
ANSWER = struct.Struct(">B?HI")
MAX_HELLO_BYTES = 4096
MAX_DETAIL_BYTES = 300


class Status(IntEnum):
    """What became of an image in the child."""

    DECODED = 0
    TOO_MANY_PIXELS = 1
    UNSUPPORTED = 2
    CORRUPT = 3
    OUT_OF_MEMORY = 4
