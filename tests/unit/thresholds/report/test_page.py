"""The page: whole, the same each time, quiet, and safe whatever strangers wrote."""

import re
from datetime import date
from functools import lru_cache
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.unit.thresholds.report.labels import make_artifact, make_figures, make_labels
from thresholds.report import words
from thresholds.report.measure import measure
from thresholds.report.page import render

_DAY = date(2026, 11, 22)
_VOID = {"meta", "img", "br"}
_HOSTILE = '<script>alert(1)</script><img src="https://evil.example/x"> {{ 7 * 7 }} $a_b$ "\'&'
_PIXEL = "data:image/webp;base64,UklGRg=="


class _Page(HTMLParser):
    """Notes elements, ids, attributes and text; fails where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            # Whatever spaces it has: line breaks and those that are none say the same.
            self.texts.append(" ".join(data.split()))


def _spaced(text: str) -> str:
    return text.replace("\xa0", " ")


@lru_cache
def _plain() -> str:
    return render(make_figures(), make_artifact(), on=_DAY)


@lru_cache
def _with_captions(caption: str, *, kind: str = "own") -> str:
    labels = make_labels(gap=0.05)
    labels.kinds[:] = np.full(len(labels), kind)
    figures = measure(labels, make_artifact(), name=kind, prevalence=0.1)
    thumbnails = {figures.flagged_matches[0].row: _PIXEL}
    return render(
        figures, make_artifact(), on=_DAY, captions=(caption,) * len(labels), thumbnails=thumbnails
    )


def test_the_page_is_well_formed() -> None:
    """Tags nest, ids are there once, what refers to one finds it, and headings have no gaps."""
    page = _Page(_with_captions("a dog"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    for _, attributes in page.elements:
        for value in attributes.values():
            for name in re.findall(r"^#(.+)$|url\(#(.+?)\)", value or ""):
                assert "".join(name) in ids
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(lower <= upper + 1 for upper, lower in pairwise(levels))


def test_nothing_is_loaded_and_no_script_runs() -> None:
    """The page refers to nothing outside itself, and its policy forbids it."""
    page = _Page(_with_captions("a dog"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in page.elements
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert "@import" not in _plain()
    assert "url(http" not in _plain()


def test_strangers_words_are_shown_as_they_are() -> None:
    """Markup, templates and formulas in captions, kinds and file names stay text."""
    page = _Page(_with_captions(_HOSTILE, kind=_HOSTILE[:40]))
    assert page.texts.count(_HOSTILE) > 10
    assert not any(tag == "script" for tag, _ in page.elements)
    captions = [of for tag, of in page.elements if (tag, of.get("class")) == ("p", "caption")]
    assert captions
    assert all(attributes["dir"] == "auto" for attributes in captions)


def test_a_caption_that_is_no_text_does_no_harm() -> None:
    """Control characters and halves of characters are left out, and long captions are cut."""
    page = _with_captions("a\0b\ud800c\x1bd" + 5000 * "e")
    page.encode("utf-8")
    assert "a b c d" + (200 - 7) * "e" + "…" in page
    assert 201 * "e" not in page


def test_the_same_figures_give_the_same_page() -> None:
    """Two runs differ in no byte; another day differs in its date only."""
    page = _plain()
    assert render(make_figures(), make_artifact(), on=_DAY) == page
    other = render(make_figures(), make_artifact(), on=date(2027, 1, 2))
    assert other.replace("2027-01-02", "2026-11-22") == page


def test_each_picture_is_svg_that_follows_the_page() -> None:
    """Pictures are XML with a label, their text is text, and every colour is a variable."""
    page = _plain()
    pictures = re.findall(r"<figure>(<svg.*?</svg>)</figure>", page, flags=re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        root = ElementTree.fromstring(picture)  # noqa: S314 - our own
        assert root.attrib["role"] == "img"
        assert len(root.attrib["aria-label"]) > 60
        assert len(list(root.iter("{http://www.w3.org/2000/svg}text"))) > 8
        assert not re.search(r"#[0-9a-fA-F]{6}\b(?![^<]*url)", re.sub(r'"#\w+"', "", picture))
        assert "DejaVu" not in picture
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            assert text.attrib["fill"].startswith("var(--")
    defined = set(re.findall(r"(--[\w-]+):", page))
    assert set(re.findall(r"var\((--[\w-]+)\)", page)) <= defined


def test_the_page_says_what_the_figures_say() -> None:
    """Recall, precision at its prevalence, and reviews are those of the figures, with n."""
    figures, text = make_figures(), " ".join(_Page(_plain()).texts)
    at = figures.operating_point
    for interval in (at.recall, at.false_positive_rate, at.precision):
        assert _spaced(words.percent(interval.point)) in text
        assert f"95 % interval: {_spaced(words.percents(interval))}" in text
    assert _spaced(words.precision_says(figures)) in text
    assert "300 matches and 300 mismatches" in text
    assert figures.calibration in text
    for sentence in re.findall(r"[^.]*\b(?:precision|accuracy)\b \d[^.]*", text):
        assert "of posts are mismatched" in sentence


@pytest.mark.parametrize(
    ("artifact", "options", "said"),
    [
        ({}, {"gap": 0.0, "n": 200}, "Of no use on such posts."),
        ({}, {"n": 100}, "Few labels."),
        ({"threshold": 1e-12}, {}, "nothing at all would be flagged"),
    ],
)
def test_what_should_worry_stands_on_top(
    artifact: dict[str, float], options: dict[str, float], said: str
) -> None:
    """A model that tells nothing, few labels, and a threshold without flags are said plainly."""
    made = make_artifact(**artifact)
    figures = measure(make_labels(**options), made, name="x", prevalence=0.1)
    page = render(figures, made, on=_DAY)
    assert said in page
    assert said not in _plain()


def test_a_cold_start_is_named() -> None:
    """A calibration without labels says so."""
    page = render(make_figures(), make_artifact().model_copy(update={"cold_start": True}), on=_DAY)
    assert "Made without labels." in page
    assert "Made without labels." not in _plain()


def test_mistakes_without_captions_are_counted_only() -> None:
    """Cosines have nothing to show; pairs without an image at hand have a place for it."""
    assert "without images and\ncaptions" in _plain()
    assert 'class="thumbnail"' not in _plain()
    page = _with_captions("a dog")
    assert page.count(_PIXEL) == 1
    assert page.count("image not at hand") == 23


@pytest.mark.parametrize(("n", "gap"), [(60, 0.5), (60, 0.0), (2000, -0.05)])
def test_every_shape_of_labels_can_be_drawn(n: int, gap: float) -> None:
    """Perfect, useless and swapped labels, few and many, give a page without a NaN."""
    figures = measure(make_labels(n, gap=gap), make_artifact(), name="x", prevalence=0.1)
    page = render(figures, make_artifact(), on=_DAY)
    _Page(page)
    assert not re.search(r"\b(nan|inf|None)\b", page)
