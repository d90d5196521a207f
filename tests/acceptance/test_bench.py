"""`captionguard bench` measures the real thing and says what it found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workers.bench.photos import draw_photos

KEYS = {
    "naive_pairs_per_s",
    "stock_batch_pairs_per_s",
    "forward_pairs_per_s",
    "decode_images_per_s",
    "ceiling_pairs_per_s",
    "pipeline_pairs_per_s",
    "pipeline_over_ceiling",
    "pipeline_over_naive",
    "queue_us_per_item",
    "duplicate_cost_ratio",
    "latency_ms",
    "latency_idle_ms",
    "max_abs_cosine_drift",
    "verdict_flips",
    "peak_memory_bytes",
    "machine",
    "versions",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some photos with captions, as an operator may have them."""
    lines = []
    for number, photo in enumerate(draw_photos(12, seed=4, width_px=320, height_px=240)):
        (tmp_path / f"{number}.jpg").write_bytes(photo.data)
        lines.append(json.dumps({"image": f"{number}.jpg", "caption": photo.caption}))
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.timeout(600)
def test_every_figure_is_measured(folder: Path) -> None:
    """One run gives every key, in one JSON document, and the figures fit together.

    Of its two workers each gets some of the posts.
    """
    command = [
        sys.executable,
        "-m",
        "moderation",
        "bench",
        "--model",
        "demo-tiny",
        "--seconds",
        "5",
        "--workers",
        "2",
    ]
    done = subprocess.run(
        [*command, "--images", str(folder), "--json"],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) >= KEYS
    positive = [name for name in KEYS if name.endswith(("_per_s", "_bytes"))]
    assert all(figures[name] > 0 for name in positive)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    assert figures["latency_idle_ms"] > 0
    assert figures["pipeline_over_naive"] == pytest.approx(
        figures["pipeline_pairs_per_s"] / figures["naive_pairs_per_s"]
    )
    assert figures["workers"] == 2
    assert len(figures["worker_shares"]) == 2
    assert min(figures["worker_shares"]) > 0
    assert sum(figures["worker_shares"]) == pytest.approx(1)
    assert figures["compared_pairs"] >= 100
    assert 0 <= figures["verdict_flips"] <= figures["compared_pairs"]


def test_a_folder_without_images_is_said(tmp_path: Path) -> None:
    """A mistake in the command line ends it at once with what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "moderation", "bench", "--images", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "image" in done.stderr
