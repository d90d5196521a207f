"""A report of what moderators decided, and one of pairs that are scored for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moderation.demo import MODEL_CALIBRATION
from moderation.demo.captions import Swap
from moderation.demo.posts import stream, write_posts
from moderation.store import case_states, submissions, verdicts
from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.decisions import Answer
from moderation.types import ImageRef, NewSubmission, PairScore
from moderation.verdict import decide
from moderation.wiring import Services
from tests.integration.conftest import picture
from tests.integration.traffic import open_no_case
from thresholds.artifact import read_artifact
from thresholds.splits import Split, split_of


def _report(*arguments: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "thresholds", "report", *map(str, arguments)],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_report_of_decisions(services: Services, tmp_path: Path) -> None:
    """Audited pairs stand for all that were not, and images come out of the blob store."""
    calibration = read_artifact(MODEL_CALIBRATION).to_calibration()
    rng = np.random.default_rng(1)
    is_match = np.arange(240) % 2 == 0
    cosines = np.clip(rng.normal(np.where(is_match, 0.85, 0.74), 0.05), -1, 1)
    keys = [services.blobs.put(picture((n, 90, 200))) for n in range(240)]
    new = [
        NewSubmission("acme", None, "default", f"caption {n}", ImageRef(blob=key))
        for n, key in enumerate(keys)
    ]
    with services.database.begin() as connection:
        ids = [item.id for item in submissions.accept(connection, new, message_id="m")]
        judged = [decide(PairScore(float(cosine)), calibration) for cosine in cosines]
        verdicts.record(connection, list(zip(ids, judged, strict=True)), open_no_case)
        is_flagged = np.array([verdict.outcome == "flag" for verdict in judged])
        cases = add_cases(
            connection,
            [
                NewCase(id_, Route.FLAGGED) if flag else NewCase(id_, Route.AUDIT, 0.25)
                for id_, flag in zip(ids, is_flagged, strict=True)
            ],
        )
        answers = [Answer.MATCH if match else Answer.MISMATCH for match in is_match]
        case_states.resolve(connection, dict(zip(cases, answers, strict=True)))
    out = tmp_path / "report.html"
    done = _report(
        MODEL_CALIBRATION,
        "--from-decisions",
        "--out",
        out,
        "--json",
        env={
            "CAPTIONGUARD_DATABASE_URL": services.settings.database_url.get_secret_value(),
            "CAPTIONGUARD_DATA_DIR": str(services.settings.data_dir),
        },
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    is_held = np.array([split_of(key) is Split.REPORT for key in keys])
    found, missed = (is_held & ~is_match & of for of in (is_flagged, ~is_flagged))
    recall = found.sum() / (found.sum() + 4 * missed.sum())
    assert document["operating_point"]["recall"]["point"] == pytest.approx(recall)
    assert document["is_weighted"]
    assert document["labels_name"] == "decisions of moderators"
    shown = min(12, document["matches_flagged"]) + min(12, document["mismatches_passed"])
    assert shown > 5
    assert out.read_text().count('<img src="data:image/webp;base64,') == shown


def test_a_report_of_pairs(tmp_path: Path) -> None:
    """Pairs are scored with the calibration's model; a line that cannot be is told, status 3."""
    posts = stream(3, 200, 0.5, swaps=[Swap.COLOUR], held_out=False)
    file, out = tmp_path / "pairs.jsonl", tmp_path / "report.html"
    write_posts(posts, file, tmp_path / "images")
    with file.open("a") as lines:
        lines.write('{"image": "missing.jpg", "caption": "a dog", "label": "match"}\n')
    done = _report(
        MODEL_CALIBRATION,
        file,
        "--out",
        out,
        "--json",
        env={"CAPTIONGUARD_DATA_DIR": str(tmp_path), "CAPTIONGUARD_MODEL": "ViT-B-32:random"},
    )
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == "demo-tiny"
    assert len(document["refused"]) == 1
    assert "line 201" in document["refused"][0]
    (colour,) = [kind for kind in document["kinds"] if not kind["is_match"]]
    assert colour["kind"] == "colour"
    assert colour["auc"]["point"] > 0.95
    assert document["mismatches_passed"] > 0
    assert '<img src="data:image/webp;base64,' in out.read_text()
