"""Files of cosines: whatever their form, the same labels, or a refusal that names the line."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import InputRefused
from moderation.settings import Settings
from thresholds.sources import Source, read_source

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "cosine": st.floats(-1, 1),
            "label": st.sampled_from(["match", "mismatch"]),
            "image": TEXT,
            "kind": TEXT,
            "weight": st.floats(1e-3, 1e3),
            "caption": TEXT,
            "note": TEXT,
        }
    ),
    min_size=1,
    max_size=20,
)


def _csv(rows: list[dict[str, Any]], *, newline: str = "\r\n") -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0].keys(), lineterminator=newline)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _source(folder: Path, data: str | bytes) -> Source:
    path = folder / "labels"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_source(path, Settings(), quiet=True)


def _refusal(folder: Path, data: str | bytes) -> str:
    with pytest.raises(InputRefused) as caught:
        _source(folder, data)
    return str(caught.value)


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_and_json_say_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    newline: str,
    has_mark: bool,
) -> None:
    """Both forms give the labels that were written, with either line end and a byte order mark."""
    folder = tmp_path_factory.mktemp("forms")
    mark = "\ufeff" if has_mark else ""
    lines = newline.join(json.dumps(row) for row in rows)
    for text in (_csv(rows, newline=newline), lines):
        source = _source(folder, mark + text)
        assert source.model is None
        labels = source.labels
        assert labels.cosines.tolist() == [row["cosine"] for row in rows]
        assert labels.is_match.tolist() == [row["label"] == "match" for row in rows]
        assert labels.weights.tolist() == [row["weight"] for row in rows]
        for given_, name in (
            (labels.images.tolist(), "image"),
            (labels.kinds.tolist(), "kind"),
            (source.captions, "caption"),
        ):
            assert list(given_) == [row[name] for row in rows]


def test_two_columns_are_enough(tmp_path: Path) -> None:
    """Without an image each pair has one of its own, without a weight each weighs 1."""
    source = _source(tmp_path, "label,cosine\nmatch,0.3\n\n mismatch , 1e-1\n")
    assert source.labels.cosines.tolist() == [0.3, 0.1]
    assert len(np.unique(source.labels.images)) == 2
    assert source.labels.weights.tolist() == [1, 1]
    assert (source.captions, source.images) == ((), ())


def test_images_beside_the_file_are_found(tmp_path: Path) -> None:
    """An image's name is a path where there is such a file, and a mere name where not."""
    (tmp_path / "dog.jpg").write_bytes(b"x")
    source = _source(tmp_path, "cosine,label,image\n0.3,match,dog.jpg\n0.1,mismatch,17\n")
    assert source.images == (str(tmp_path / "dog.jpg"), "17")
    assert source.labels.images.tolist() == ["dog.jpg", "17"]


GOOD = {"cosine": 0.3, "label": "match"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cosine": "nan"}, "cosine must be a number, is 'nan'"),
        ({"cosine": "inf"}, "cosine must be a number"),
        ({"cosine": ""}, "cosine must be a number"),
        ({"cosine": "0,3"}, "cosine must be a number, is '0,3'"),
        ({"cosine": 1.01}, "cosine must lie between -1 and 1"),
        ({"cosine": -2}, "cosine must lie between -1 and 1"),
        ({"label": "yes"}, "label must be match or mismatch, is 'yes'"),
        ({"label": "1"}, "could mean either"),
        ({"label": "true"}, "could mean either"),
        ({"label": "Match"}, "label must be match or mismatch"),
        ({"label": ""}, "label must be match or mismatch"),
        ({"weight": "0"}, "weight must be above 0"),
        ({"weight": "-1"}, "weight must be above 0"),
        ({"weight": "x"}, "weight must be a number"),
        ({"image": ""}, "image must be a name"),
        ({"split": "test"}, "split must be fit, choose or report, is 'test'"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    """One bad field refuses the file, with the line that people find it on."""
    plain = {"weight": "1", "image": "a", "split": "fit"}
    good = GOOD | {name: plain[name] for name in change if name in plain}
    rows = [good, good | change, good]
    message = _refusal(tmp_path, _csv(rows))
    assert message.startswith(f"{tmp_path / 'labels'}: line 3: ")
    assert problem in message
    lines = "\n".join(json.dumps(row) for row in rows)
    assert f"{tmp_path / 'labels'}: line 2: " in _refusal(tmp_path, lines)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"cosine": true, "label": "match"}', "cosine must be a number, is True"),
        ('{"cosine": NaN, "label": "match"}', "cosine must be a number"),
        ('{"cosine": 1e999, "label": "match"}', "cosine must be a number"),
        ('{"cosine": null, "label": "match"}', "cosine must be a number"),
        ('{"cosine": 0.3, "label": 1}', "could mean either"),
        ('{"cosine": 0.3}', "has no label"),
        ('{"label": "match"}', "has no cosine"),
        ('{"cosine": 0.3, "label": "match", "image": "a"}', "has image, as the first line has not"),
        ('{"cosine": 0.3, "label"', "no JSON"),
        ("0.3", "no JSON object"),
    ],
)
def test_a_wrong_json_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    """What JSON can say beyond CSV is refused as well."""
    message = _refusal(tmp_path, f"{json.dumps(GOOD)}\n\n{line}\n")
    assert f"{tmp_path / 'labels'}: line 3: " in message
    assert problem in message


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \n\n", "is empty"),
        (b"cosine,label\n", "has no labels"),
        (b"cos,label\n0.3,match\n", "no column cosine"),
        (b"image,caption\na,b\n", "no column cosine and no column label"),
        (b"cosine;label\n0.3;match\n", "separated by commas"),
        (b"cosine,label,label\n0.3,match,match\n", "the column label twice"),
        (b"cosine,label\n0.3,match\n0.3\n", "line 3: has 1 fields, the header has 2"),
        (b"cosine,label\n0.3,match,x\n", "line 2: has 3 fields, the header has 2"),
        (b'cosine,label\n0.3,"match\n', "is no CSV"),
        (b"cosine,label\n0.3,match\xff\n", "line 2 is not UTF-8"),
        ("cosine,label\n0.3,match\n".encode("utf-16"), "is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    """Empty files, other encodings and headers that say something else are told apart."""
    assert problem in _refusal(tmp_path, data)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """So is a file that is not there, or a folder."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputRefused, match="cannot be read"):
            read_source(path, Settings())


def test_duplicate_images_across_splits_are_refused_by_name(tmp_path: Path) -> None:
    """An image whose rows are in two splits would be fitted on and reported on."""
    rows = [GOOD | {"image": f"photo {n // 2}.jpg", "split": "fit"} for n in range(6)]
    rows[3] |= {"split": "choose"}
    message = _refusal(tmp_path, _csv(rows))
    assert "duplicate images across splits: the image photo 1.jpg is in choose and fit" in message


def test_the_model_of_cosines_is_loaded_for_its_hashes(tmp_path: Path) -> None:
    """With a name, labels know whose cosines they are; a wrong name is refused."""
    path = tmp_path / "labels.csv"
    path.write_text("cosine,label\n0.3,match\n")
    source = read_source(path, Settings(device="cpu"), model="demo-tiny")
    assert source.model is not None
    assert source.model.spec == "demo-tiny"
    assert source.model.fingerprint.startswith(source.model.weights_sha256[:16])
