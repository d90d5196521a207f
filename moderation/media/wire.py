"""The words between `decode` (parent) and `child`: fixed headers, never pickles.

Whatever the child says after it has seen an image may be a lie, so an answer has a few
numbers that the parent checks. The pixels lie in memory that both share, as many as the
framing says and nothing else, and the parent copies them.

    child  -> parent   hello    4 bytes count, that many bytes of JSON; before any image
    parent -> child    request  4 bytes count, is there a hash?, 32 bytes SHA-256; that many
                                bytes of an image file
    child  -> parent   answer   status, first frame only?, count of detail; the detail in UTF-8;
                                before it, the pixels are in place as rows of RGB
"""

import struct
from enum import IntEnum

COUNT = struct.Struct(">I")
REQUEST = struct.Struct(">I?32s")
ANSWER = struct.Struct(">B?H")
MAX_HELLO_BYTES = 4096
MAX_DETAIL_BYTES = 300


class Status(IntEnum):
    """What became of an image in the child."""

    DECODED = 0
    TOO_MANY_PIXELS = 1
    UNSUPPORTED = 2
    CORRUPT = 3
    OUT_OF_MEMORY = 4
