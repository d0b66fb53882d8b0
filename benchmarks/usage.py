"""What processes use: memory, and the processor's time."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import psutil

from tests.postgres import PostgresServer

# Gives the processes of one part; they may come and go.
FindProcesses = Callable[[], Iterable[psutil.Process]]


def find_by_pid(*pids: int) -> FindProcesses:
    """Give what finds these processes."""
    return lambda: map(psutil.Process, pids)


def find_of_postgres(server: PostgresServer) -> FindProcesses:
    """Give what finds all processes of a PostgreSQL."""

    def find() -> Iterable[psutil.Process]:
        postmaster = psutil.Process(server.pid)
        return [postmaster, *postmaster.children()]

    return find


def read_memory(pid: int) -> float:
    """Give the resident memory of a process in MB."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


class Meter:
    """Counts the processor's time of several parts from its start to its reading."""

    def __init__(self, parts: Mapping[str, FindProcesses]) -> None:
        self._parts = parts
        self._started = self._read_all()

    def read(self) -> dict[str, float]:
        """Give the seconds that each part has used since the start."""
        return {
            name: sum(seconds - self._started[name].get(pid, 0.0) for pid, seconds in now.items())
            for name, now in self._read_all().items()
        }

    def _read_all(self) -> dict[str, dict[int, float]]:
        return {name: _read(find()) for name, find in self._parts.items()}


def _read(processes: Iterable[psutil.Process]) -> dict[int, float]:
    seconds = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[process.pid] = times.user + times.system
    return seconds
