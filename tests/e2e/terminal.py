"""The command at a pseudo-terminal of a given width."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.e2e.conftest import RelayProcess

_PATIENCE_SECONDS = 60.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A command that runs at a terminal.

    Attributes:
        shown: all that it has printed so far, standard error included.
    """

    relay: RelayProcess
    arguments: Sequence[str]
    columns: int = 80
    shown: str = ""
    process: subprocess.Popen[bytes] = field(init=False)
    _screen: int = field(init=False)

    def __enter__(self) -> Self:
        self._screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self.columns, 0, 0))
        self.process = subprocess.Popen(  # noqa: S603
            [Path(sys.executable).with_name("relay"), *self.arguments],
            env=self.relay.environment() | {"TERM": "xterm"},
            cwd=self.relay.folder,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._screen)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._screen, text.encode())

    def await_shown(self, text: str) -> None:
        """Read until the command has printed a text."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while text not in self.shown:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"{text!r} was not shown: {self.shown}")

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        return self.process.wait(_PATIENCE_SECONDS)

    def _read(self) -> bool:
        """Read the available output; False at the end."""
        if not select.select([self._screen], [], [], _PATIENCE_SECONDS)[0]:
            raise AssertionError(f"nothing more is shown: {self.shown}")
        try:
            chunk = os.read(self._screen, 65_536)
        except OSError:  # on Linux, the end of the command
            return False
        self.shown += _CONTROL.sub("", chunk.decode(errors="replace")).replace("\r\n", "\n")
        return bool(chunk)
