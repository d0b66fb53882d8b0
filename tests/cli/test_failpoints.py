"""Arming a failpoint."""

import os
import signal
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


@pytest.mark.parametrize(
    "text",
    ["nowhere", "after-commit:x", "after-commit:-1", "after-commit:²", "after-commit:1:sleep"],
)
def test_unknown_failpoint_is_rejected_with_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="after-commit"):
        arm_failpoint(text)


@pytest.mark.parametrize(("text", "survived"), [("after-write", 0), ("after-write:3", 2)])
def test_failpoint_hit_the_given_number_of_times_kills_the_process(
    text: str, survived: int
) -> None:
    script = (
        "from app.cli.failpoints import arm_failpoint\n"
        "from app.domain.failpoints import Failpoint\n"
        f"hit = arm_failpoint({text!r})\n"
        "for _ in range(5):\n"
        "    hit(Failpoint.BEFORE_WRITE)\n"
        "    hit(Failpoint.AFTER_WRITE)\n"
        "    print('alive', flush=True)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count("alive")) == (-9, survived)


def test_failpoint_that_stops_the_process_lets_it_continue() -> None:
    script = (
        "from app.cli.failpoints import arm_failpoint\n"
        "from app.domain.failpoints import Failpoint\n"
        "hit = arm_failpoint('after-write:2:stop')\n"
        "for _ in range(4):\n"
        "    hit(Failpoint.AFTER_WRITE)\n"
        "    print('alive', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:  # noqa: S603
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WSTOPSIG(status) == signal.SIGSTOP
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0].count(b"alive") == 4
