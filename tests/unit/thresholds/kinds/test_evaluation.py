"""Cases of the generated world, scored with the bundled model as calibrating and evaluating do."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from moderation.demo.posts import write_labels
from moderation.errors import InputRefused
from moderation.settings import Settings
from tests.unit.thresholds.kinds.posts import write_lines
from thresholds.kinds.make import destination, plan, write
from thresholds.kinds.original import read_originals
from thresholds.kinds.table import BY_NAME
from thresholds.sources import Source, read_source

N_SCENES = 60
KINDS = ("own", "random", "attribute", "crop", "reencode", "mirror", "long_late")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Labels of some kinds, with the model's cosines."""
    folder = tmp_path_factory.mktemp("kinds")
    settings = Settings(data_dir=folder / "data")
    file = write_labels(folder / "scenes", N_SCENES, 7, mismatch_share=0)
    originals = read_originals(file, settings, on_photo=lambda total: None)
    made = plan(originals.pairs, [BY_NAME[name] for name in KINDS], seed=0)
    out = destination(folder / "cases")
    write(made, out, settings)
    return read_source(out, settings, model="demo-tiny", quiet=True)


def test_pairs_of_a_photo_are_one_group(source: Source) -> None:
    """An edited picture is another file, but never on another side of a split."""
    assert len(np.unique(source.labels.images)) == N_SCENES
    assert set(source.labels.kinds) == set(KINDS)


def test_scores_say_what_was_expected_of_the_kinds(source: Source) -> None:
    """Random captions are told from own ones, and what was saved again is not."""
    labels = source.labels
    own = labels.kinds == "own"

    def auc(kind: str) -> float:
        rows = own | (labels.kinds == kind)
        return float(roc_auc_score(own[rows], labels.cosines[rows]))

    assert auc("random") > 0.98
    assert auc("random") >= auc("attribute") > 0.8
    assert 0.35 < auc("reencode") < 0.65
    assert labels.is_match[np.isin(labels.kinds, ["own", "crop", "reencode", "mirror"])].all()
    assert not labels.is_match[np.isin(labels.kinds, ["random", "attribute", "long_late"])].any()


def test_the_photo_behind_an_edited_one_must_be_named(tmp_path: Path) -> None:
    """What is no name is refused with its line, before anything is scored."""
    line = {"image": "a.png", "caption": "a dog", "label": "match", "of_image": 3}
    file = write_lines(tmp_path / "pairs.jsonl", line)
    with pytest.raises(InputRefused, match="line 1: of_image"):
        read_source(file, Settings(data_dir=tmp_path), model="demo-tiny", quiet=True)
