"""Thumbnails: decoded by the real sandbox, small, without what files carry along."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from moderation.media.blobs import BlobStore
from moderation.settings import Settings
from thresholds.report.thumbnails import SIDE_PX, thumbnails

_SECRET = b"taken at 52.5 north"


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Take one decoder, and small files only."""
    return Settings(decode_processes=1, max_image_bytes=200_000)


def _write(path: Path, size: tuple[int, int], *, colour: str = "#884400") -> Path:
    exif = Image.Exif()
    exif[0x010E] = _SECRET.decode()
    Image.new("RGB", size, colour).save(path, exif=exif)
    return path


def _opened(uri: str) -> tuple[bytes, Image.Image]:
    assert uri.startswith("data:image/webp;base64,")
    data = base64.b64decode(uri.split(",")[1])
    return data, Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("size", "shown"),
    [((600, 300), (SIDE_PX, SIDE_PX // 2)), ((300, 600), (SIDE_PX // 2, SIDE_PX))],
)
def test_a_thumbnail_is_the_whole_picture_and_nothing_else(
    tmp_path: Path, settings: Settings, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    """It keeps the picture's proportions and colour, and none of its metadata."""
    path = str(_write(tmp_path / "a.jpg", size))
    assert _SECRET in Path(path).read_bytes()
    data, image = _opened(thumbnails([path], settings)[path])
    assert image.size == shown
    assert image.getpixel((10, 10)) == pytest.approx((0x88, 0x44, 0), abs=6)
    assert _SECRET not in data
    assert len(data) < 5000
    assert not image.getexif()


def test_a_white_picture_is_not_trimmed_away(tmp_path: Path, settings: Settings) -> None:
    """A picture that is one colour all over is still there, whichever colour that is."""
    paths = [str(_write(tmp_path / f"{c}.png", (50, 50), colour=c)) for c in ("white", "#fefefe")]
    assert list(thumbnails(paths, settings)) == paths


def test_what_cannot_be_shown_is_left_out(tmp_path: Path, settings: Settings) -> None:
    """Missing, broken, too large and unreachable images cost their picture and no more."""
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "large.jpg").write_bytes(bytes(settings.max_image_bytes + 1))
    good = str(_write(tmp_path / "good.png", (30, 30)))
    done: list[None] = []
    found = thumbnails(
        [
            str(tmp_path / "missing.jpg"),
            str(tmp_path / "broken.jpg"),
            str(tmp_path / "large.jpg"),
            str(tmp_path),
            "",
            "a\0b",
            "http://127.0.0.1:9/image.jpg",
            good,
            good,
        ],
        settings,
        on_done=lambda: done.append(None),
    )
    assert list(found) == [good]
    assert len(done) == 9


def test_images_of_decisions_come_from_the_blob_store(tmp_path: Path, settings: Settings) -> None:
    """With a store names are its keys, and a path is none of them."""
    blobs = BlobStore(tmp_path / "blobs", max_bytes=settings.max_image_bytes)
    path = _write(tmp_path / "a.png", (30, 30))
    key = blobs.put(path.read_bytes())
    assert list(thumbnails([key, str(path)], settings, blobs=blobs)) == [key]
