"""The system's Chromium, for pages that people look at."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a Chromium for the whole session."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        assert os.environ.get("CI") != "true", "CI must have chromium"
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        # Whoever tests as root has no sandbox of the browser; the pages are our own.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()
