"""Posts and labels: what `make demo` and the calibration are fed with."""

import json
from io import BytesIO
from pathlib import Path

from PIL import Image

from moderation.demo.captions import Swap
from moderation.demo.posts import POST_SIDE_PX, stream, write_labels, write_posts


def test_stream_names_are_unique_and_shares_are_exact() -> None:
    """Every post has a name of its own, and exactly the asked share is wrong."""
    posts = list(stream(5, 40, 0.25))
    assert len({post.image_name for post in posts}) == 40
    assert sum(post.label == "mismatch" for post in posts) == 10
    assert all((post.kind == "match") == (post.label == "match") for post in posts)


def test_stream_images_are_jpegs_for_people() -> None:
    """Images decode, and are larger than what the model looks at."""
    (post,) = stream(1, 1, 0.0)
    picture = Image.open(BytesIO(post.image))
    assert (picture.format, picture.size) == ("JPEG", (POST_SIDE_PX, POST_SIDE_PX))


def test_same_seed_same_posts() -> None:
    """A seed decides every byte, and another seed gives other posts."""
    assert list(stream(2, 5)) == list(stream(2, 5))
    assert list(stream(2, 5)) != list(stream(3, 5))


def test_swaps_come_in_equal_parts() -> None:
    """Several ways of being wrong share the wrong posts evenly."""
    kinds = [post.kind for post in stream(0, 16, swaps=list(Swap))]
    assert {kind: kinds.count(kind) for kind in Swap} == dict.fromkeys(Swap, 2)


def test_labels_name_their_images(tmp_path: Path) -> None:
    """Each line's image lies where the line says, seen from the file."""
    file = write_labels(tmp_path / "labels", 6, seed=1)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 6
    assert all((file.parent / line["image"]).stat().st_size > 0 for line in lines)
    assert {line["label"] for line in lines} == {"match", "mismatch"}


def test_images_may_lie_beside_the_file(tmp_path: Path) -> None:
    """Paths stay relative to the file when the folder is elsewhere."""
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "pairs.jsonl"
    write_posts(stream(1, 1), file, tmp_path / "b")
    line = json.loads(file.read_text())
    assert line["image"] == "../b/scene-0000.jpg"
