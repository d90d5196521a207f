"""From a file of matched pairs to a file of cases: the same for the same, and nothing lost."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from moderation.captions import caption_fault
from moderation.client import Post, read_posts
from moderation.errors import InputRefused
from moderation.settings import Settings
from tests.unit.media.files import animation, noise
from tests.unit.thresholds.kinds.posts import lines_of_posts, read_lines, write_lines
from thresholds.kinds.kind import Kind
from thresholds.kinds.make import destination, edits_of, plan, write
from thresholds.kinds.original import Originals, read_originals
from thresholds.kinds.table import BY_NAME, KINDS, LABELLED

UNLABELLED = tuple(kind for kind in KINDS if kind.label is None)


def read(file: Path, settings: Settings) -> Originals:
    """Read the pairs of a file."""
    return read_originals(file, settings, on_photo=lambda total: None)


def make(
    file: Path,
    out: Path,
    settings: Settings,
    *,
    kinds: tuple[Kind, ...] = LABELLED,
    seed: int = 0,
    per_kind: int | None = None,
) -> Path:
    """Make the cases of a file, and return theirs."""
    made = plan(read(file, settings).pairs, kinds, seed=seed, per_kind=per_kind)
    written = destination(out)
    write(made, written, settings)
    return written


def test_all_cases_are_posts(posts: Path, tmp_path: Path, defaults: Settings) -> None:
    """Each line is one that can be handed in: its image is there, and it has its kind's label."""
    file = make(posts, tmp_path / "made", defaults)
    lines = read_lines(file)
    assert {line["kind"] for line in lines} == {kind.name for kind in LABELLED}
    read_again = list(read_posts(file, defaults))
    assert len(read_again) == len(lines)
    for line, post in zip(lines, read_again, strict=True):
        assert isinstance(post, Post)
        assert line["label"] == post.label == BY_NAME[line["kind"]].label
        assert set(line) == {"image", "caption", "label", "kind", "of", "of_image"}


def test_unchanged_images_stay_where_they_are(
    posts: Path, tmp_path: Path, defaults: Settings
) -> None:
    """Only edited ones are written; captions of one image share them."""
    file = make(posts, tmp_path / "made", defaults)
    for line in read_lines(file):
        path = (file.parent / line["image"]).resolve()
        edited = line["kind"] in ("printed_caption", "harmless_text", "crop", "reencode", "mirror")
        assert (path.parent == tmp_path / "images") is not edited
        assert path.parent == (file.parent / "images" if edited else tmp_path / "images")
    mirrored = {line["image"] for line in read_lines(file) if line["kind"] == "mirror"}
    assert len(mirrored) == 4


def test_pairs_without_a_word_have_no_label(
    posts: Path, tmp_path: Path, defaults: Settings
) -> None:
    """They say what is expected of them instead, and are what their kind says."""
    lines = read_lines(make(posts, tmp_path / "made", defaults, kinds=UNLABELLED))
    assert len(lines) == 3 * 8
    for line in lines:
        assert (line["expect"], "label" in line) == ("unscorable", False)
        fault = caption_fault(line["caption"])
        assert fault is not None
        assert fault.value == f"caption_{line['kind']}"


def test_the_same_pairs_and_seed_give_the_same_bytes_in_any_order(
    tmp_path: Path, defaults: Settings
) -> None:
    """Neither the order of lines nor another folder matters; another seed does."""
    documents = lines_of_posts(tmp_path)
    one = make(write_lines(tmp_path / "one.jsonl", *documents), tmp_path / "a", defaults)
    documents.sort(key=lambda each: each["caption"][::-1])
    two = make(write_lines(tmp_path / "two.jsonl", *documents), tmp_path / "b", defaults)
    assert one.read_bytes() == two.read_bytes()
    images = [sorted(p.name for p in (f.parent / "images").iterdir()) for f in (one, two)]
    assert images[0] == images[1]
    other = make(tmp_path / "one.jsonl", tmp_path / "c", defaults, seed=1)
    assert other.read_bytes() != one.read_bytes()


def test_a_limit_draws_the_same_cases_in_any_order(tmp_path: Path, defaults: Settings) -> None:
    """At most so many of a kind, of those that would be made without it."""
    documents = lines_of_posts(tmp_path)
    file = write_lines(tmp_path / "posts.jsonl", *documents)
    some = make(file, tmp_path / "a", defaults, per_kind=2)
    documents.sort(key=lambda each: each["caption"][::-1])
    again = make(write_lines(file, *documents), tmp_path / "b", defaults, per_kind=2)
    assert some.read_bytes() == again.read_bytes()
    everything = read_lines(make(file, tmp_path / "c", defaults))
    lines = read_lines(some)
    assert all(line in everything for line in lines)
    names = [line["kind"] for line in lines]
    assert max(names.count(name) for name in names) == 2
    made = plan(read(file, defaults).pairs, LABELLED, seed=0, per_kind=2)
    for each in made:
        assert len(each.cases) + sum(each.not_made.values()) + each.not_tried == len(documents)


def test_a_bad_image_refuses_its_lines_and_no_others(tmp_path: Path, defaults: Settings) -> None:
    """All of them, with the line's number and a reason; the rest is read."""
    good = lines_of_posts(tmp_path)
    (tmp_path / "cut.png").write_bytes((tmp_path / "images" / "horse.png").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    file = write_lines(
        tmp_path / "posts.jsonl",
        {"image": "cut.png", "caption": "a dog"},
        *good,
        {"image": "cut.png", "caption": "a cat"},
        {"image": "text.png", "caption": "a cat"},
        {"image": "missing.png", "caption": "a cat"},
        {"image": "https://example.com/a.png", "caption": "a cat"},
        {"image": "images/cat.jpg", "caption": "..."},
        {"image": "images/cat.jpg", "caption": "a\0cat"},
        {"image": "images/cat.jpg"},
        {"image": "images/cat.jpg", "caption": "a cat", "label": "perhaps"},
        {"caption": "a cat"},
        "no JSON",
        "[]",
    )
    found = read(file, defaults)
    assert len(found.pairs) == len(good)
    assert [each.line for each in found.refused] == [1, *range(10, 21)]
    told = " / ".join(each.told() for each in found.refused)
    for part in ("cut.png", "text.png", "No such file", "is a URL", "no word", "perhaps", "JSON"):
        assert part in told


def test_images_of_too_many_pixels_are_refused(tmp_path: Path, defaults: Settings) -> None:
    """By the limit that workers have, before they are decoded; Pillow's own limit is as it was."""
    file = write_lines(tmp_path / "posts.jsonl", *lines_of_posts(tmp_path))
    before = Image.MAX_IMAGE_PIXELS
    for limit in (240 * 180 - 1, 240 * 180 // 2 - 1):
        found = read(file, defaults.model_copy(update={"max_image_pixels": limit}))
        assert found.pairs == ()
        assert all("pixels" in each.problem for each in found.refused)
    found = read(file, defaults.model_copy(update={"max_image_pixels": 240 * 180}))
    assert {pair.photo.path.name for pair in found.pairs} == {"horse.png"}
    assert before == Image.MAX_IMAGE_PIXELS


def test_mismatches_and_repetitions_are_left_out(tmp_path: Path, defaults: Settings) -> None:
    """Kinds are made of matches, and of each pair once, by whatever name its image goes."""
    documents = lines_of_posts(tmp_path)
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "images" / "horse.png").read_bytes())
    file = write_lines(
        tmp_path / "posts.jsonl",
        *documents,
        documents[0] | {"image": "copy.png"},
        documents[0] | {"label": "mismatch", "caption": "a cat"},
        documents[1] | {"label": "match"},
    )
    found = read(file, defaults)
    assert (len(found.pairs), found.mismatches, found.repeated) == (len(documents), 1, 2)
    assert all(len(pair.photo.captions) == 2 for pair in found.pairs)


def test_pictures_are_edited_as_people_see_them(tmp_path: Path, defaults: Settings) -> None:
    """Upright and on white: a turned picture is cropped turned, a clear one is not black."""
    turned = noise(64, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.new("RGBA", (64, 40), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    file = write_lines(
        tmp_path / "posts.jsonl",
        {"image": "turned.png", "caption": "a dog"},
        {"image": "clear.png", "caption": "a cat"},
    )
    lines = read_lines(make(file, tmp_path / "made", defaults, kinds=(BY_NAME["mirror"],)))
    by_caption = {line["caption"]: tmp_path / "made" / line["image"] for line in lines}
    with Image.open(by_caption["a dog"]) as dog, Image.open(by_caption["a cat"]) as cat:
        assert dog.size == (40, 64)
        # Shown after a quarter turn clockwise, and mirrored, its first corner is the first again.
        assert dog.getpixel((0, 0)) == turned.getpixel((0, 0))
        assert cat.getpixel((5, 5)) == (255, 255, 255)


def test_an_animation_keeps_its_text_kinds(tmp_path: Path, defaults: Settings) -> None:
    """Its captions can be wrong as any; its frames are not edited."""
    (tmp_path / "moving.gif").write_bytes(animation("GIF"))
    noise(64, 64).save(tmp_path / "still.png")
    file = write_lines(
        tmp_path / "posts.jsonl",
        {"image": "moving.gif", "caption": "a red wooden boat"},
        {"image": "still.png", "caption": "two dogs"},
    )
    lines = read_lines(make(file, tmp_path / "made", defaults))
    kinds = {line["kind"] for line in lines if line["of"] == 1}
    assert {"own", "random", "attribute"} <= kinds
    assert kinds.isdisjoint({"crop", "reencode", "mirror", "printed_caption", "harmless_text"})


def test_pairs_of_one_photo_name_it_by_its_content(
    posts: Path, tmp_path: Path, defaults: Settings
) -> None:
    """Edited or not, so that no split tears them apart; without an external id a line is named."""
    lines = read_lines(make(posts, tmp_path / "made", defaults))
    assert len({line["of_image"] for line in lines}) == 4
    for line in lines:
        assert line["of_image"] in {
            pair.photo.sha256 for pair in read(posts, defaults).pairs if pair.of == line["of"]
        }


def test_nothing_is_overwritten(posts: Path, tmp_path: Path, defaults: Settings) -> None:
    """What is there stays, also where a folder is named that is a file."""
    written = make(posts, tmp_path / "made", defaults)
    for out in (tmp_path / "made", written, posts):
        before = posts.read_bytes(), written.read_bytes()
        with pytest.raises(InputRefused, match="exists already"):
            destination(out)
        assert (posts.read_bytes(), written.read_bytes()) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRefused, match="is a file"):
        destination(tmp_path / "file")


def test_a_file_that_cannot_be_written_is_not_half_there(
    posts: Path, tmp_path: Path, defaults: Settings
) -> None:
    """Where the images cannot be put, there are no pairs either."""
    made = plan(read(posts, defaults).pairs, (BY_NAME["mirror"],), seed=0)
    assert edits_of(made) == 4
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "images").write_text("in the way")
    with pytest.raises(InputRefused, match="cannot be written"):
        write(made, tmp_path / "out" / "pairs.jsonl", defaults)
    assert sorted(os.listdir(tmp_path / "out")) == ["images"]


def test_images_are_found_through_links(tmp_path: Path, defaults: Settings) -> None:
    """A path with ".." that leads through a link would lead elsewhere."""
    real = tmp_path / "deep" / "down" / "real"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    file = write_lines(tmp_path / "posts.jsonl", *lines_of_posts(tmp_path))
    written = make(file, tmp_path / "link", defaults, kinds=(BY_NAME["own"],))
    assert all((written.parent / line["image"]).is_file() for line in read_lines(written))
    assert all(isinstance(post, Post) for post in read_posts(written, defaults))


def test_lines_are_ascii_json(tmp_path: Path, defaults: Settings) -> None:
    """Whatever signs a caption has, each case is one line."""
    noise(64, 64).save(tmp_path / "a.png")
    file = write_lines(
        tmp_path / "posts.jsonl", {"image": "a.png", "caption": "a blue dog\u2028\n“é😀”"}
    )
    written = make(file, tmp_path / "made.jsonl", defaults, kinds=(BY_NAME["own"],))
    (line,) = written.read_bytes().decode("ascii").splitlines()
    assert json.loads(line)["caption"] == "a blue dog\u2028\n“é😀”"
