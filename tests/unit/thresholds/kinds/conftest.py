"""A folder of posts, and settings without servers."""

from pathlib import Path

import pytest

from moderation.settings import Settings
from tests.unit.thresholds.kinds.posts import lines_of_posts, write_lines


@pytest.fixture
def defaults(tmp_path: Path) -> Settings:
    """Settings without servers."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """A file of matched pairs, two captions a picture."""
    return write_lines(tmp_path / "posts.jsonl", *lines_of_posts(tmp_path))
