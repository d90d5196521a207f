"""A platform for webhooks, and settings that let them reach it."""

from collections.abc import Iterator

import pytest

from moderation.settings import Settings
from tests.integration.platform import (
    Platform,
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that let webhooks reach this machine, and decisions be undone for long."""
    return settings.model_copy(
        update={"webhook_allow_private": True, "webhook_timeout_s": 60.0, "review_undo_s": 300.0}
    )


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform that takes everything."""
    with Platform().serving() as running:
        yield running
