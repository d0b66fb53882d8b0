"""The recorder's observations: when Supabase responded to the request of each row."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.recorder import LINE_BYTES, TIME_BYTES

_POLL_SECONDS: Final = 0.02


@dataclass
class Recording:
    """A recorder's notes, read on from where they were read last.

    Attributes:
        url: what `SUPABASE_URL` is to be.
        path: of the recorder's file.
    """

    url: str
    path: Path
    _read_bytes: int = 0

    def await_rows(
        self, keys: Sequence[str], *, seconds: float, removal: bool = False
    ) -> dict[str, float]:
        """Wait until Supabase has applied each membership; return the time of its first response.

        Rows applied before the last call do not count.

        Raises:
            RuntimeError: some never arrived.
        """
        missing, arrived = set(keys), dict[str, float]()
        sign = "-" if removal else "+"
        deadline = time.monotonic() + seconds
        while True:
            # Reading disturbs the measurement: wait until enough rows are possible.
            if self._count_unread() >= len(missing) or time.monotonic() > deadline:
                for answered_at, line_sign, key in self._read_on():
                    if line_sign == sign and key in missing:
                        missing.remove(key)
                        arrived[key] = answered_at
            if not missing:
                return arrived
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(missing)} of {len(keys)} rows never arrived in Supabase")
            time.sleep(_POLL_SECONDS)

    def await_any_row(self, *, seconds: float) -> None:
        """Wait until Supabase has applied any membership since the last call.

        Raises:
            RuntimeError: it never did.
        """
        deadline = time.monotonic() + seconds
        while not self._count_unread():
            if time.monotonic() > deadline:
                raise RuntimeError("no row arrived in Supabase")
            time.sleep(_POLL_SECONDS)

    def list_answers(self) -> list[float]:
        """Return the response times of all requests that applied memberships."""
        text = self.path.read_bytes()
        whole = len(text) // LINE_BYTES * LINE_BYTES
        # All lines of one request have the same time.
        times = {text[start : start + TIME_BYTES] for start in range(0, whole, LINE_BYTES)}
        return sorted(map(float, times))

    def _count_unread(self) -> int:
        return (self.path.stat().st_size - self._read_bytes) // LINE_BYTES

    def _read_on(self) -> list[tuple[float, str, str]]:
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            text = file.read()
        whole = len(text) // LINE_BYTES * LINE_BYTES
        self._read_bytes += whole
        lines = (line.split(" ") for line in text[:whole].decode().splitlines())
        return [(float(answered_at), sign, key) for answered_at, sign, key in lines]
