"""Stores that hang: no statement fails, and no commit ends."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from app.domain.failpoints import Failpoint

_FILE_SYSTEM_BYTES: Final = 64 * 1024 * 1024


class Stall:
    """Blocks every commit between `begin` and `end`."""

    def __init__(self) -> None:
        self._may_commit = threading.Event()
        self._may_commit.set()
        self.commits = 0

    def __call__(self, point: Failpoint) -> None:
        if point is Failpoint.BEFORE_COMMIT:
            self.commits += 1
            assert self._may_commit.wait(60)

    def begin(self) -> None:
        self._may_commit.clear()

    def end(self) -> None:
        self._may_commit.set()


@contextmanager
def mount_file_system(folder: Path) -> Iterator[Path]:
    """Mount a file system that can be frozen; skips the test where that is impossible."""
    if os.geteuid() != 0 or shutil.which("fsfreeze") is None or shutil.which("mkfs.ext4") is None:
        pytest.skip("freezing a file system takes root, fsfreeze and mkfs.ext4")
    image, mounted = folder / "image", folder / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(_FILE_SYSTEM_BYTES)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)  # noqa: S603, S607
    mount = ["mount", "-o", "loop", str(image), str(mounted)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)  # noqa: S603, S607


@contextmanager
def freeze(mounted: Path) -> Iterator[None]:
    """Freeze a file system, so that writes hang; for a minute at most."""
    script = 'fsfreeze -f "$1" && echo frozen; timeout 60 head -c 1 > /dev/null; fsfreeze -u "$1"'
    with subprocess.Popen(  # noqa: S603
        ["sh", "-c", script, "sh", mounted],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as freezer:
        assert freezer.stdin is not None
        assert freezer.stdout is not None
        if freezer.stdout.readline().strip() != "frozen":
            freezer.stdin.close()
            pytest.skip("the file system cannot be frozen here")
        yield
        freezer.stdin.close()
    assert freezer.returncode == 0
