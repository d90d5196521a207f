"""The words between `encoder` (parent) and `encoder_child`, and the memory that both share.

    child  -> parent   hello    4 bytes count, that many bytes of JSON; before any pixels
    parent -> child    request  how many images, then a `SIZE` for each of `PLACES`
    child  -> parent   answer   a `COUNT` for each of `PLACES`: bytes of the JPEG, 0 for none

Shared memory holds `PLACES` places for pixels, rows of RGB; then as many places for JPEGs.
"""

import struct

# Some images a turn, so that waking each other costs little; few, since all are held at once.
PLACES = 4
LONGEST_SIDE_PX = 1600
PIXELS_BYTES = LONGEST_SIDE_PX * LONGEST_SIDE_PX * 3
# More than noise makes, and more than the few hundred bytes that one pixel takes.
JPEG_BYTES = PIXELS_BYTES
SHARED_BYTES = PLACES * (PIXELS_BYTES + JPEG_BYTES)

# How many images; the height and the width of each; bytes of each answer.
REQUEST = struct.Struct(f">B{2 * PLACES}H")
ANSWER = struct.Struct(f">{PLACES}I")


def pixels_at(place: int) -> int:
    """Where in shared memory the pixels of an image are."""
    return place * PIXELS_BYTES


def jpeg_at(place: int) -> int:
    """Where in shared memory the JPEG of an image is."""
    return PLACES * PIXELS_BYTES + place * JPEG_BYTES
