"""Holding processes to a share of a processor, where that can be done, and where it cannot."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.shares import hold_to_share
from benchmarks.usage import Meter, find_by_pid


def test_hold_without_controller_holds_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    with hold_to_share([os.getpid()], 0.5, root=tmp_path) as is_held:
        assert not is_held
    assert list(tmp_path.iterdir()) == []


def test_hold_where_groups_can_be_written_bounds_processor_time() -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(busy) as process:  # noqa: S603 - ours
        try:
            with hold_to_share([process.pid], 0.1) as is_held:
                if not is_held:
                    pytest.skip("control groups cannot be written here")
                meter = Meter({"busy": find_by_pid(process.pid)})
                started = time.monotonic()
                while (elapsed := time.monotonic() - started) < 1.0:
                    # It works, and no more than its share; the system counts in hundredths.
                    assert meter.read()["busy"] <= 0.1 * elapsed + 0.03
                assert meter.read()["busy"] > 0
        finally:
            process.kill()
