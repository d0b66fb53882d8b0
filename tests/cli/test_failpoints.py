"""Arming a failpoint."""

import subprocess
import sys

import pytest

from app.cli.failpoints import arm_failpoint
from app.domain.errors import ConfigurationInvalid
from app.domain.failpoints import Failpoint


@pytest.mark.parametrize("text", [None, ""])
def test_failpoint_that_is_not_armed_does_nothing(text: str | None) -> None:
    for point in Failpoint:
        arm_failpoint(text)(point)


@pytest.mark.parametrize("text", ["nowhere", "after-commit:x", "after-commit:-1", "after-commit:²"])
def test_failpoint_that_there_is_not_is_refused_with_all_there_are(text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="after-commit"):
        arm_failpoint(text)


@pytest.mark.parametrize(("text", "survived"), [("after-write", 0), ("after-write:3", 2)])
def test_failpoint_reached_so_often_kills_the_process(text: str, survived: int) -> None:
    script = (
        "from app.cli.failpoints import arm_failpoint\n"
        "from app.domain.failpoints import Failpoint\n"
        f"reach = arm_failpoint({text!r})\n"
        "for _ in range(5):\n"
        "    reach(Failpoint.BEFORE_WRITE)\n"
        "    reach(Failpoint.AFTER_WRITE)\n"
        "    print('alive', flush=True)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count("alive")) == (-9, survived)
