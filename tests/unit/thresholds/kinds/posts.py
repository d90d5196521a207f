"""Small pictures with captions, as files and as what the rules see of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.unit.media.files import noise
from thresholds.kinds.kind import World
from thresholds.kinds.original import Original, Photo
from thresholds.kinds.swaps import Captions

OTHERS = (
    "Two horses graze in a green meadow near a fence.",
    "A bathroom with a toilet, a sink and a window.",
    "Three pizzas with mushrooms on a wooden stove.",
)
OWN = {
    "horse.png": (
        "A man rides a brown horse on a beach.",
        "A horse and its rider at the sea in Spain.",
    ),
    "cat.jpg": ("A white cat sleeping on a chair.", "The cat is sleeping on a chair."),
    "bus.webp": ("Three red buses drive down a street.", "Red buses on a beach."),
    "bowl.png": ("A bowl of apples on a kitchen table.", "There are green apples in a bowl."),
}


def photo(*captions: str, **fields: Any) -> Photo:
    """Name a photo by its captions."""
    sha256 = hashlib.sha256("|".join(captions).encode()).hexdigest()
    told: dict[str, Any] = {
        "width_px": 320,
        "height_px": 240,
        "is_animated": False,
        "is_lossless": True,
    }
    return Photo(sha256, Path("photo.png"), **(told | fields), captions=captions)


def original(caption: str, *more: str, **fields: Any) -> Original:
    """Make a pair of a photo with this caption, and more captions of the same."""
    return Original(photo(caption, *more, **fields), caption, 1)


def world(*pairs: Original, seed: int = 0) -> World:
    """Put the pairs among others."""
    return World(Captions([*pairs, *(original(caption) for caption in OTHERS)]), seed)


def lines_of_posts(folder: Path) -> list[dict[str, str]]:
    """Write the pictures of `OWN`, and return a line for each caption."""
    (folder / "images").mkdir()
    documents = []
    for number, (name, captions) in enumerate(OWN.items()):
        noise(240 + 10 * number, 180, seed=number).save(folder / "images" / name)
        documents += [
            {"image": f"images/{name}", "caption": caption, "external_id": f"{name}-{k}"}
            for k, caption in enumerate(captions)
        ]
    return documents


def write_lines(file: Path, *documents: Any) -> Path:
    """Write lines of JSON, and texts as they are."""
    lines = (each if isinstance(each, str) else json.dumps(each) for each in documents)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read lines of JSON."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
