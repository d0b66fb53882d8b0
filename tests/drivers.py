"""Node.js programs that read a command per JSON line and write a result per line."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.demo.node import Node, read_tail


class Driver:
    """A running program; `ask` is not thread-safe."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, **command: Any) -> Any:
        """Send a command and return its result.

        Raises:
            AssertionError: the program ended, or returned `{"fault": …}`.
        """
        # Both are pipes, see `run_driver`.
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the program ended. {read_tail(self._log)}") from None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the program ended. {read_tail(self._log)}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "fault" in answer:
            raise AssertionError(answer["fault"])
        return answer


@contextmanager
def run_driver(node: Node, script: Path, *arguments: str, folder: Path) -> Iterator[Driver]:
    """Run a program until the block ends: its standard input ends then, or when we do.

    Args:
        node: what runs it.
        script: the program.
        arguments: its arguments.
        folder: its working directory, where its log goes.
    """
    log = folder / f"{script.stem}.log"
    with (
        log.open("ab") as errors,
        subprocess.Popen(  # noqa: S603 - our own program
            [node.executable, script, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Driver(process, log)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
