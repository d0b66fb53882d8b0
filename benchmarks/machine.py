"""The machine of a measurement, and the processors of each process."""

import os
import platform
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Final

_PACKAGES: Final = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httpx",
    "sqlalchemy",
    "psycopg",
)


def split_processors() -> tuple[set[int], int]:
    """Give the processors of the servers, and the one of the load: the last."""
    available = sorted(os.sched_getaffinity(0))
    return set(available[:-1] or available), available[-1]


@contextmanager
def on_processors(processors: Collection[int]) -> Iterator[None]:
    """Have this thread, and those that it starts, run there until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def on_processor(processor: int) -> AbstractContextManager[None]:
    """Have this thread, and those that it starts, run there until the block ends."""
    return on_processors({processor})


def on_one_processor() -> AbstractContextManager[None]:
    """Have what is started run on one of our processors, so that machines are alike in that."""
    return on_processor(min(os.sched_getaffinity(0)))


def describe_machine() -> dict[str, str]:
    """Say what this is: figures of two machines are not to be compared."""
    servers, load = split_processors()
    return {
        "processor": _read_processor(),
        "processors": f"servers on {_write(servers)}, load on {load}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package: version(package) for package in _PACKAGES},
    }


def _read_processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _write(processors: set[int]) -> str:
    return ", ".join(map(str, sorted(processors)))
