"""What the crash tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.scene import Scene, open_scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene whose history is always the same."""
    with open_scene(tmp_path, seed=1) as scene:
        yield scene
