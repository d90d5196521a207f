"""A folder of hostile files, handed in as a platform would: each gets a verdict or a refusal."""

import gzip
import json
from collections import Counter
from pathlib import Path

from PIL import Image

from tests.conftest import Machine
from tests.unit.media.files import animation, encode, noise, png, solid

HUGE = 60_000


def hostile_files() -> dict[str, bytes]:
    """Files by name, among them some honest ones."""
    photo = encode(noise(320, 240), "JPEG")
    oriented = Image.Exif()
    oriented[0x0112] = 6
    files = {
        "photo.jpg": photo,
        "png-called.jpg": encode(solid("red"), "PNG"),
        "grey.jpg": encode(solid(128, "L"), "JPEG"),
        "cmyk.jpg": encode(solid((10, 90, 0, 40), "CMYK"), "JPEG"),
        "alpha.png": encode(solid((10, 90, 0, 40), "RGBA"), "PNG"),
        "deep.png": encode(solid(40_000, "I;16"), "PNG"),
        "bits.png": encode(solid(1, "1"), "PNG"),
        "sideways.jpg": encode(noise(64, 32), "JPEG", exif=oriented),
        "still.webp": encode(solid("blue"), "WEBP"),
        "still.avif": encode(solid("blue"), "AVIF"),
        "moving.gif": animation("GIF"),
        "moving.webp": animation("WEBP"),
        "dot.png": encode(solid("red", size=(1, 1)), "PNG"),
        "thread.png": encode(solid("red", size=(1, 9_000)), "PNG"),
        "cut.jpg": photo[: len(photo) // 2],
        "noise.jpg": bytes(range(256)) * 40,
        "page.jpg": b"<html><script>alert(1)</script></html>",
        "vector.png": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
        "paper.png": b"%PDF-1.7\n",
        "old.bmp": encode(solid("red"), "BMP"),
        "layers.tiff": encode(solid("red"), "TIFF"),
        "packed.gz": gzip.compress(photo),
        "bomb.png": png(HUGE, HUGE),
        "zeros.jpg": bytes(100_000),
        "polyglot.jpg": photo + b"PK\x03\x04<?php system($_GET[0]); ?>",
    }
    files.update({f"cut-{n}.jpg": photo[:n] for n in range(1, len(photo), len(photo) // 12)})
    return files


def test_every_hostile_file_gets_its_answer(machine: Machine, tmp_path: Path) -> None:
    """Nothing is lost and nothing breaks: a verdict for each file, a refusal for the rest."""
    files = hostile_files()
    lines = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        lines.append({"image": name, "caption": "a red ball", "external_id": f"hostile-{name}"})
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "huge.jpg").write_bytes(bytes(21 * 2**20))
    refusable = ["folder.jpg", "empty.jpg", "huge.jpg", "../../etc/shadow-none", "nul\x00.jpg"]
    lines += [{"image": name, "caption": "a red ball"} for name in refusable]
    posts = tmp_path / "posts.jsonl"
    posts.write_text("\n".join(json.dumps(line) for line in lines))

    done = machine.run("submit", str(posts), "--wait", "--json", check=False)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    results = document["results"]
    outcomes = {r["external_id"].removeprefix("hostile-"): r for r in results if r["external_id"]}
    assert set(outcomes) == set(files)
    assert Counter(r["outcome"] for r in results)["refused"] == len(refusable)
    assert "queued" not in {r["outcome"] for r in results}

    honest = {
        "photo.jpg", "png-called.jpg", "grey.jpg", "cmyk.jpg", "alpha.png", "deep.png", "bits.png",
        "sideways.jpg", "still.webp", "still.avif", "moving.gif", "moving.webp", "dot.png",
        "thread.png", "polyglot.jpg",
    }  # fmt: skip
    scored = {name for name, result in outcomes.items() if result["score"] is not None}
    assert scored == honest
    assert outcomes["bomb.png"]["reason"] == "image_too_many_pixels"
    assert outcomes["cut.jpg"]["reason"] == "image_corrupt"
    assert {outcomes[name]["reason"] for name in ("vector.png", "script.jpg", "layers.tiff")} == {
        "image_unsupported"
    }
    assert machine.http.get("/readyz").status_code == 200
