"""The benchmark's photos: drawn ones are like camera photos, read ones are as the folder says."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import open_clip
import pytest
from PIL import Image

from moderation.errors import InputRefused
from workers.bench.photos import draw_photos, read_photos


def _file(kind: str, colour: str = "red") -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, kind)
    return file.getvalue()


def _write_captions(folder: Path, *lines: str) -> None:
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(image: object, caption: object) -> str:
    return json.dumps({"image": image, "caption": caption, "label": "match"})


def test_a_seed_decides_every_byte() -> None:
    """The same seed gives the same photos and captions, however many are asked for."""
    assert list(draw_photos(3, seed=5)) == list(draw_photos(6, seed=5))[:3]


def test_no_photo_is_like_another() -> None:
    """Photos differ within a seed and between seeds, in their pixels too."""
    photos = [p for seed in range(3) for p in draw_photos(40, seed=seed, width_px=64, height_px=48)]
    assert len({photo.data for photo in photos}) == len(photos) == 120
    pixels = {Image.open(BytesIO(photo.data)).tobytes() for photo in photos}
    assert len(pixels) == len(photos)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (65, 33), (1, 1)])
def test_a_photo_is_a_colour_jpeg_of_the_asked_size(size: tuple[int, int]) -> None:
    """Any size can be drawn, and decodes as what it was asked for."""
    (photo,) = draw_photos(1, seed=0, width_px=size[0], height_px=size[1])
    with Image.open(BytesIO(photo.data)) as picture:
        picture.load()
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", size)


def test_a_file_is_as_large_as_a_photo() -> None:
    """At 640 x 480, files are in the range of COCO's, and their middle lies near its 150 kB."""
    sizes_kb = [len(photo.data) / 1000 for photo in draw_photos(60, seed=1)]
    assert min(sizes_kb) > 35
    assert max(sizes_kb) < 380
    assert 130 < np.median(sizes_kb) < 200


def test_photos_have_colour_and_large_shapes() -> None:
    """A photo is no mere noise: scaled down until grain is gone, places and channels differ."""
    for photo in draw_photos(20, seed=2):
        thumbnail = Image.open(BytesIO(photo.data)).convert("YCbCr").resize((16, 12))
        spread = np.asarray(thumbnail).reshape(-1, 3).std(axis=0)
        assert spread[0] > 15
        assert spread[1:].min() > 3


def test_captions_are_as_long_as_those_of_people() -> None:
    """As CLIP counts tokens, captions have 9 to 25 and, like COCO's, 14 on average."""
    photos = draw_photos(1500, seed=3, width_px=8, height_px=8)
    tokens = open_clip.tokenize([photo.caption for photo in photos])
    lengths = (tokens != 0).sum(dim=1).numpy()
    assert 13 < lengths.mean() < 15
    assert 2 < lengths.std() < 4
    assert 9 <= lengths.min() <= 10
    assert 20 <= lengths.max() <= 26


def test_hardly_a_caption_comes_twice() -> None:
    """A cache of captions would find next to none of them."""
    captions = [photo.caption for photo in draw_photos(3000, seed=4, width_px=8, height_px=8)]
    assert len(set(captions)) >= 2990


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    """Images of all three kinds come as they are, sorted, each with its first caption."""
    (tmp_path / "images").mkdir()
    files = {"images/c.webp": _file("WEBP"), "a.png": _file("PNG"), "b.jpg": _file("JPEG")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    _write_captions(
        tmp_path,
        _line("images/c.webp", "Ein Fuß."),
        _line("./a.png", "the first"),
        "",
        _line("a.png", "the second"),
        _line("b.jpg", "a red square"),
    )
    photos = read_photos(tmp_path)
    assert [photo.data for photo in photos] == [files[name] for name in sorted(files)]
    assert [photo.caption for photo in photos] == ["the first", "a red square", "Ein Fuß."]


def test_an_image_without_a_caption_gets_one(tmp_path: Path) -> None:
    """Made-up captions differ from image to image and are the same in every run."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(_file("JPEG"))
    without_file = [photo.caption for photo in read_photos(tmp_path)]
    assert len(set(without_file)) == 3
    assert all(len(caption.split()) >= 7 for caption in without_file)
    _write_captions(tmp_path, _line("b.jpg", "its own"))
    captions = [photo.caption for photo in read_photos(tmp_path)]
    assert captions == [without_file[0], "its own", without_file[2]]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    """What a file is follows from its content, not from its name."""
    (tmp_path / "notes.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "sound.webp").write_bytes(b"RIFF\0\0\0\0WAVE")
    (tmp_path / "picture").write_bytes(_file("PNG"))
    assert [photo.data for photo in read_photos(tmp_path)] == [_file("PNG")]


@pytest.mark.parametrize("name", ["missing", "a-file"])
def test_a_missing_folder_is_refused(tmp_path: Path, name: str) -> None:
    """What is no folder is named, with what to name instead."""
    (tmp_path / "a-file").write_bytes(_file("JPEG"))
    with pytest.raises(InputRefused, match=rf"{name} is no folder; name one"):
        read_photos(tmp_path / name)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    """Captions alone are nothing to score."""
    _write_captions(tmp_path, _line("a.jpg", "a dog"))
    with pytest.raises(InputRefused, match=r"holds no image; put JPEG, PNG or WebP files"):
        read_photos(tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"image": "a.jpg"', "write"),
        ("\udcff", "write"),
        pytest.param("[" * 100_000, "write", id="deep"),
        ('["a.jpg", "a dog"]', "write"),
        ('{"caption": "a dog"}', "write"),
        ('{"image": "a.jpg"}', "write"),
        (_line(7, "a dog"), "write"),
        (_line("a.jpg", None), "write"),
        (_line("a.jpg", " "), "write"),
        (_line("b.jpg", "a dog"), "b.jpg is no image file of the folder"),
        (_line("captions.jsonl", "a dog"), "captions.jsonl is no image file of the folder"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    """A line that gives no image a caption is refused by its number, blank lines counted."""
    (tmp_path / "a.jpg").write_bytes(_file("JPEG"))
    good = _line("a.jpg", "a dog")
    text = f"{good}\n\n{line}\n{good}\n"
    (tmp_path / "captions.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputRefused, match=rf"captions\.jsonl: line 3: .*{why}"):
        read_photos(tmp_path)
