"""Programs that the tests of `deploy/` need."""

import os
import shutil

import pytest


@pytest.fixture
def promtool() -> str:
    """Return the program, which CI has to have; elsewhere the test says that it was skipped."""
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is not installed: apt-get install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found
