"""Pairs become cosines, and whatever ends a run costs only what was under way."""

import json
import resource
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moderation.demo.posts import write_labels
from moderation.scoring.model import ClipModel, load_model
from moderation.settings import Settings
from tests.integration.conftest import ImageHost, picture
from thresholds.pairs import read_pairs
from thresholds.scored import KeptCosines
from thresholds.scoring import PairScorer
from thresholds.sources import Source, read_source

SETTINGS = Settings(precision="fp32", device="cpu", decode_processes=1, fetch_allow_private=True)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Twelve labelled pairs of the generated world."""
    return write_labels(tmp_path / "labels", 12, seed=3)


@pytest.fixture(scope="module")
def model() -> ClipModel:
    """The bundled model, loaded once."""
    return load_model("demo-tiny", device="cpu")


@pytest.fixture
def image_host() -> Iterator[ImageHost]:
    """A running image host."""
    host = ImageHost()
    yield host
    host.stop()


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch: pytest.MonkeyPatch, model: ClipModel) -> None:
    """Loading takes seconds and is not what these tests are about."""
    monkeypatch.setattr("moderation.scoring.model.load_model", lambda *_, **__: model)


def _read(file: Path, **options: Any) -> Source:
    return read_source(file, options.pop("settings", SETTINGS), quiet=True, **options)


def _kept(file: Path, precision: str = "fp32") -> Path:
    (path,) = file.parent.glob(f"{file.name}.*.{precision}.cosines.jsonl")
    return path


def _write(file: Path, lines: list[dict[str, Any]]) -> Path:
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_pairs_become_labels(labels: Path) -> None:
    """Labels are in the file's order, with captions, images and the model they are of."""
    source, lines = _read(labels), _lines(labels)
    assert source.labels.is_match.tolist() == [line["label"] == "match" for line in lines]
    assert source.labels.kinds.tolist() == [line["kind"] for line in lines]
    assert source.captions == tuple(line["caption"] for line in lines)
    assert source.images == tuple(str(labels.parent / line["image"]) for line in lines)
    matched = source.labels.cosines[source.labels.is_match]
    assert matched.min() > source.labels.cosines[~source.labels.is_match].max()
    assert source.model is not None
    assert source.model.spec == "demo-tiny"
    assert source.refused == ()


def test_what_is_kept_is_not_scored_again(labels: Path) -> None:
    """A second run takes what the first one left, torn line and all, and scores the rest."""
    first = _read(labels)
    kept = _kept(labels)
    lines = kept.read_text().splitlines(keepends=True)
    marked = json.loads(lines[0]) | {"cosine": 0.123}
    kept.write_text(f"{json.dumps(marked)}\n" + "".join(lines[1:5]) + lines[5][:40])
    second = _read(labels)
    # The same pair in another batch may differ in its last bits.
    differ = np.abs(first.labels.cosines - second.labels.cosines) > 1e-5
    assert second.labels.cosines[differ].tolist() == [0.123]
    written = kept.read_text().splitlines()
    assert len(written) == 13
    assert written[5] == lines[5][:40]
    # A third run has nothing left to score.
    assert (_read(labels).labels.cosines == second.labels.cosines).all()
    assert len(kept.read_text().splitlines()) == 13


def test_a_run_that_is_stopped_goes_on(
    labels: Path, model: ClipModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """After Ctrl-C, what was scored is kept; the rest gives what a run in one go gives."""
    whole = labels.with_name("whole.jsonl")
    whole.write_bytes(labels.read_bytes())
    at_one_go = _read(whole)
    pairs = read_pairs(labels, labels.read_text(), need_labels=True)

    def stop_after(n: int) -> None:
        with PairScorer(model, SETTINGS, labels) as scorer:
            assert len(list(islice(scorer.score(pairs), n))) == n
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after(5)
    kept = len(_kept(labels).read_text().splitlines())
    assert kept >= 5
    assert f"Stopped. {kept} cosines are kept in" in " ".join(capsys.readouterr().err.split())
    resumed = _read(labels)
    np.testing.assert_allclose(resumed.labels.cosines, at_one_go.labels.cosines, atol=1e-6)
    assert resumed.images == tuple(image for image in at_one_go.images)


def test_a_changed_image_is_another(labels: Path) -> None:
    """Content names an image: one that was replaced under its name is scored anew."""
    first = _read(labels)
    (labels.parent / _lines(labels)[4]["image"]).write_bytes(picture())
    second = _read(labels)
    moved = np.abs(first.labels.cosines - second.labels.cosines) > 1e-5
    assert np.flatnonzero(moved).tolist() == [4]
    assert first.labels.images[4] != second.labels.images[4]


def test_other_numbers_are_kept_apart(labels: Path) -> None:
    """Cosines of another precision or model are not taken for the same."""
    _read(labels)
    kept = _kept(labels)
    kept.write_text("".join(f"{json.dumps(line | {'cosine': 0.5})}\n" for line in _lines(kept)))
    halved = _read(labels, settings=SETTINGS.model_copy(update={"precision": "bf16"}))
    assert (halved.labels.cosines != 0.5).all()
    assert _kept(labels, "bf16") != kept
    assert (_read(labels).labels.cosines == 0.5).all()
    other = kept.with_name(kept.name.replace(".fp32", "0.fp32"))
    kept.rename(other)
    assert (_read(labels).labels.cosines != 0.5).all()


def test_what_cannot_be_scored_ends_nothing(labels: Path, image_host: ImageHost) -> None:
    """Missing files, dead URLs, broken images and captions without a word are told by line."""
    image_host.pages["/red.jpg"] = lambda _: (200, picture())
    (labels.parent / "broken.jpg").write_bytes(b"no image")
    good = _lines(labels)
    lines: list[dict[str, Any]] = [
        {"image": "none.jpg", "caption": "a dog", "label": "match"},
        *good[:6],
        {"image": f"{image_host.url}/none.jpg", "caption": "a dog", "label": "match"},
        {"image": "broken.jpg", "caption": "a dog", "label": "match"},
        {"image": "broken.jpg", "caption": "a cat", "label": "mismatch"},
        {"image": good[0]["image"], "caption": "😀", "label": "mismatch"},
        {"image": f"{image_host.url}/red.jpg", "caption": "a dog", "label": "mismatch"},
        {"image": good[0]["image"], "caption": "a " * 6000, "label": "mismatch"},
        *good[6:],
    ]
    source = _read(_write(labels.with_name("some.jsonl"), lines))
    assert len(source.labels) == 13
    told = [problem.partition(": ") for problem in source.refused]
    assert [line for line, _, _ in told] == [f"line {n}" for n in (1, 8, 9, 10, 11, 13)]
    for (_, _, problem), says in zip(
        told, ("none.jpg", "none.jpg", "broken.jpg", "broken.jpg", "no word", "12000"), strict=True
    ):
        assert says in problem


def test_a_folder_that_takes_no_file_is_no_obstacle(
    labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where cosines cannot be kept, people are told so and the run goes on without."""
    expected = _read(labels)
    kept = _kept(labels)
    kept.unlink()
    kept.mkdir()
    again = _read(labels)
    np.testing.assert_allclose(again.labels.cosines, expected.labels.cosines, atol=1e-6)
    assert "cosines are not kept" in " ".join(capsys.readouterr().err.split())


def test_a_full_disk_is_no_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing more can be written, people are told so once, and nothing is lost till then."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with KeptCosines(tmp_path / "kept.jsonl") as kept:
        kept.add("a" * 64, "a dog", 0.3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
        try:
            kept.add("b" * 64, "a dog", 0.4)
            kept.add("c" * 64, "a dog", 0.5)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        assert kept.get("c" * 64, "a dog") == 0.5
    assert capsys.readouterr().err.count("File too large") == 1
    with KeptCosines(tmp_path / "kept.jsonl") as kept:
        assert len(kept) == 1


def test_kept_lines_of_something_else_are_passed_over(tmp_path: Path) -> None:
    """Whatever else a file holds, only cosines that can be are taken from it."""
    path = tmp_path / "kept.jsonl"
    with KeptCosines(path) as kept:
        kept.add("a" * 64, "a dog", 0.25)
    good = path.read_text()
    bad = [good.replace("0.25", "NaN"), good.replace("0.25", "7"), "[]\n", "7\n", "{}\n", "\0\n"]
    path.write_bytes("".join(line.replace("aaa", "ccc") for line in bad).encode() + b"\xff\n")
    with KeptCosines(path) as kept:
        assert len(kept) == 0
        kept.add("a" * 64, "a dog", 0.25)
    with KeptCosines(path) as kept:
        assert len(kept) == 1
        assert kept.get("a" * 64, "a dog") == 0.25


def test_a_cold_start_swaps_captions(labels: Path) -> None:
    """Unlabelled pairs are matches, and again mismatches with the captions of others."""
    lines = [line for line in _lines(labels) if line["label"] == "match"]
    file = _write(labels.with_name("new.jsonl"), [line | {"label": None} for line in lines])
    source = _read(file, cold_start=True, seed=1)
    n = len(lines)
    assert source.labels.is_match.tolist() == [True] * n + [False] * n
    assert sorted(source.captions[n:]) == sorted(source.captions[:n])
    assert source.labels.cosines[:n].min() > source.labels.cosines[n:].mean()
