"""Reports of these tests have rough intervals."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _few_resamples() -> Iterator[None]:
    """Draw few resamples: many take a second a report."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thresholds.resampling.RESAMPLES", 50)
        yield
