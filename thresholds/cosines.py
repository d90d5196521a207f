"""Files of cosines with labels, CSV or JSON lines: no model is needed to read them."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moderation.errors import InputRefused
from thresholds.labels import OWN, Labels
from thresholds.splits import Split, check_splits

_NEEDED = ("cosine", "label")
_KNOWN = (*_NEEDED, "image", "kind", "weight", "split", "caption")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CosineFile:
    """What a file of cosines says; captions and images only where it has them."""

    labels: Labels
    captions: tuple[str, ...]
    images: tuple[str, ...]


def read_cosines(path: Path, text: str) -> CosineFile:
    """Read `cosine,label[,image,kind,weight,split,caption]`; other columns are ignored.

    Raises `InputRefused` at the first line that is wrong, with its number.
    """
    rows = [_checked(row, path, line) for line, row in _rows(path, text)]
    if not rows:
        raise InputRefused(f"{path} has no labels; nothing was done")
    has = {name for name in _KNOWN if name in rows[0][1]}
    for line, row in rows:
        if missing := sorted(name for name in has if name not in row):
            raise wrong_line(path, line, f"has no {missing[0]}, as the first line has")
        if more := sorted(name for name in row if name not in has):
            raise wrong_line(path, line, f"has {more[0]}, as the first line has not")

    def column(name: str) -> list[Any]:
        return [row[name] for _, row in rows]

    labels = Labels.of(
        np.array(column("cosine"), dtype=np.float64),
        np.array(column("label"), dtype=np.bool_),
        images=np.array(column("image"), dtype=np.str_) if "image" in has else None,
        weights=np.array(column("weight"), dtype=np.float64) if "weight" in has else None,
        kinds=np.array(column("kind"), dtype=np.str_) if "kind" in has else None,
        splits=np.array(column("split"), dtype=np.str_) if "split" in has else None,
    )
    check_splits(labels)
    return CosineFile(
        labels,
        captions=tuple(column("caption")) if "caption" in has else (),
        images=tuple(column("image")) if "image" in has else (),
    )


def wrong_line(path: Path, line: int, problem: str) -> InputRefused:
    """The error for a line that makes a file unusable."""
    return InputRefused(f"{path}: line {line}: {problem}; nothing was done")


def is_json(text: str) -> bool:
    """Whether a file is one of JSON lines; else it is taken for CSV."""
    return text.lstrip().startswith(("{", "["))


def read_label(value: object) -> bool:
    """Whether a label says match. Raises `ValueError` for all other words than the two."""
    if value == "match":
        return True
    if value == "mismatch":
        return False
    raise ValueError(
        f"label must be match or mismatch, is {value!r}; numbers and true or false could mean "
        "either"
    )


def read_weight(value: object) -> float:
    """A weight, 1/π of a pair drawn with probability π. Raises `ValueError`."""
    weight = _number(value, "weight")
    if weight <= 0:
        raise ValueError(f"weight must be above 0, is {weight}")
    return weight


def read_split(value: object) -> str:
    """The name of a split. Raises `ValueError` for another word."""
    if value not in tuple(Split):
        raise ValueError(f"split must be fit, choose or report, is {value!r}")
    return str(value)


def read_kind(value: object) -> str:
    """What is wrong with a mismatch, in a word; none where nothing is known."""
    return OWN if value is None else str(value).strip()


def _checked(row: Row, path: Path, line: int) -> tuple[int, Row]:
    for name in _NEEDED:
        if name not in row:
            raise wrong_line(path, line, f"has no {name}")
    read: dict[str, Callable[[object], Any]] = {
        "cosine": _cosine,
        "label": read_label,
        "image": _image,
        "kind": read_kind,
        "weight": read_weight,
        "split": read_split,
        "caption": str,
    }
    try:
        return line, {name: read[name](row[name]) for name in _KNOWN if name in row}
    except ValueError as error:
        raise wrong_line(path, line, str(error)) from error


def _rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    return read_objects(path, text) if is_json(text) else _csv_rows(path, text)


def read_objects(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    """Lines with their numbers, each a JSON object. Raises `InputRefused`."""
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            document = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise wrong_line(path, line, f"is no JSON: {error}") from error
        if not isinstance(document, dict):
            raise wrong_line(path, line, "is no JSON object")
        yield line, document


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if header is None:
                header = _header(path, fields)
                continue
            if len(fields) != len(header):
                problem = f"has {len(fields)} fields, the header has {len(header)}"
                raise wrong_line(path, reader.line_num, problem)
            row = dict(zip(header, (field.strip() for field in fields), strict=True))
            yield reader.line_num, row
    except csv.Error as error:
        raise wrong_line(path, reader.line_num, f"is no CSV: {error}") from error


def _header(path: Path, fields: list[str]) -> list[str]:
    header = [field.strip() for field in fields]
    for name in _KNOWN:
        if header.count(name) > 1:
            raise InputRefused(f"{path}: the header has the column {name} twice")
    if missing := [name for name in _NEEDED if name not in header]:
        raise InputRefused(
            f"{path}: the header has no column {' and no column '.join(missing)}; it must name "
            f"cosine and label, separated by commas, and is {','.join(header)[:200]!r}"
        )
    return header


def _cosine(value: object) -> float:
    cosine = _number(value, "cosine")
    if abs(cosine) > 1:
        raise ValueError(f"cosine must lie between -1 and 1, is {cosine}")
    return cosine


def _number(value: object, name: str) -> float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a number, is {value!r}")
    return number


def _image(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"image must be a name, is {value!r}")
    return str(value)
