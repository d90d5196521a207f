"""A report in a browser: quiet, readable, whole, in light and dark, on desks and phones."""

import base64
import io
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.contrast import CLASHES, FAINT
from tests.unit.thresholds.report.labels import make_artifact, make_labels
from thresholds.labels import Labels
from thresholds.report.measure import measure
from thresholds.report.page import render

SCHEMES = ("light", "dark")
WIDTHS_PX = (1280, 390)
CAPTIONS = (
    "a dog & a cat on <b>grass</b>",
    "كلب يركض على الشاطئ مع طفلين صغيرين",
    "כלב רץ על החוף",
    "W" * 300,
    "a long sentence of many words " * 20,
    "犬が海辺を走っている 🐕‍🦺",
)
LONG_KIND = "a_kind_with_a_name_that_goes_on_and_on_" * 3 + "withoutanyspace" * 4


def _thumbnail() -> str:
    out = io.BytesIO()
    Image.new("RGB", (200, 120), "#336699").save(out, format="WEBP")
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def _write(path: Path, labels: Labels, *, threshold: float = 0.35, traffic: float | None) -> str:
    artifact = make_artifact(threshold=threshold)
    figures = measure(
        labels, artifact, name="labels.jsonl", prevalence=0.1, traffic_per_day=traffic
    )
    mistakes = (*figures.passed_mismatches, *figures.flagged_matches)
    page = render(
        figures,
        artifact,
        captions=[CAPTIONS[row % len(CAPTIONS)] for row in range(len(labels))],
        thumbnails={mistake.row: _thumbnail() for mistake in mistakes[1:]},
        on=date(2026, 11, 22),
    )
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


def _perfect() -> Labels:
    return make_labels(200, gap=0.5)


def _strange() -> Labels:
    labels = make_labels(gap=0.06)
    long = np.where(labels.kinds == "count", LONG_KIND, labels.kinds)
    return Labels.of(
        labels.cosines, labels.is_match, kinds=long, images=labels.images, splits=labels.splits
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a report with captions of many scripts and kinds of long names; return its URL."""
    return _write(tmp_path_factory.mktemp("report") / "report.html", _strange(), traffic=1_234_567)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that must be quiet: no request but the page itself, nothing on the console."""
    pages: list[Page] = []

    def opened(url: str, **options: Any) -> Page:
        noise: list[str] = []
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda request: noise.append(request.url))
        page.goto(url)
        assert [entry for entry in noise if not entry.startswith("data:image/webp")] == [url]
        return page

    yield opened
    for page in pages:
        page.close()


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_report_is_readable(
    open_page: Callable[..., Page], report: str, tmp_path: Path, scheme: str, width_px: int
) -> None:
    """Text has contrast, fits its width, and no word of a picture lies over another."""
    page = open_page(report, color_scheme=scheme, viewport={"width": width_px, "height": 900})
    page.screenshot(path=tmp_path / f"{scheme}-{width_px}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    assert page.evaluate(FAINT) == []
    assert page.evaluate(CLASHES) == []


@pytest.mark.parametrize(
    ("labels", "threshold"), [(_perfect, 0.35), (_strange, 0.001), (_strange, 0.999)]
)
def test_extreme_pictures_are_readable(
    open_page: Callable[..., Page],
    tmp_path: Path,
    labels: Callable[[], Labels],
    threshold: float,
) -> None:
    """Perfect labels and thresholds at the ends move words, but not over each other."""
    url = _write(tmp_path / "report.html", labels(), threshold=threshold, traffic=None)
    page = open_page(url, viewport={"width": 390, "height": 900})
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(CLASHES) == []


def test_pictures_follow_light_and_dark(open_page: Callable[..., Page], report: str) -> None:
    """All four pictures and the thumbnails are there, on paper of either scheme's colour."""
    seen = []
    for scheme in SCHEMES:
        page = open_page(report, color_scheme=scheme, viewport={"width": 1280, "height": 900})
        boxes = page.evaluate(
            "[...document.querySelectorAll('figure svg')].map(svg => svg.getBoundingClientRect())"
        )
        assert len(boxes) == 4
        assert all(box["width"] > 400 and box["height"] > 300 for box in boxes)
        loaded = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(loaded) == 23
        assert set(loaded) == {200}
        seen.append(
            page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, "
                "...[...document.querySelectorAll('figure svg text')]"
                ".map(text => getComputedStyle(text).fill)]"
            )
        )
    light, dark = seen
    assert len(light) == len(dark) > 40
    assert not set(light) & set(dark)


def test_print_is_dark_on_white_and_cuts_no_picture(
    open_page: Callable[..., Page], report: str, tmp_path: Path
) -> None:
    """Also whose screen is dark prints on white A4; pictures stay on one page."""
    page = open_page(report, color_scheme="dark")
    printed = page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(FAINT) == []
    insides = page.evaluate(
        "[...document.querySelectorAll('figure')].map(each => getComputedStyle(each).breakInside)"
    )
    assert insides == ["avoid"] * 4


def test_right_to_left_captions_start_on_the_right(
    open_page: Callable[..., Page], report: str
) -> None:
    """Arabic and Hebrew captions run from the right, Latin ones from the left."""
    page = open_page(report)
    told = page.evaluate(
        "[...document.querySelectorAll('p.caption')]"
        ".map(each => [each.textContent, getComputedStyle(each).direction])"
    )
    assert len(told) == 24
    for text, direction in told:
        assert direction == ("rtl" if text in CAPTIONS[1:3] else "ltr")
    assert {direction for _, direction in told} == {"ltr", "rtl"}
