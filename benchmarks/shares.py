"""Limiting processes to a share of a processor, as if on separate small machines."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
# Shorter than the kernel's 100 ms: a process that waits 65 ms of each would be no slower machine,
# but one that stalls.
_PERIOD_MICROSECONDS: Final = 10_000


@contextmanager
def hold_to_share(pids: Iterable[int], share: float, *, root: Path = _ROOT) -> Iterator[bool]:
    """Hold each process to a share of one processor until the block ends.

    Returns False, and limits nothing, where control groups are not writable: that needs root, and
    the controller of the processor.
    """
    groups: list[Path] = []
    try:
        try:
            for pid in pids:
                groups.append(_make_group(root, f"relay-bench-{pid}"))
                _limit(groups[-1], share)
                (groups[-1] / "cgroup.procs").write_text(str(pid))
        except OSError:
            _remove(groups)
            yield False
        else:
            yield True
    finally:
        _remove(groups)


def _make_group(root: Path, name: str) -> Path:
    # Version 1 has a tree for each controller, version 2 one for all.
    group = (root / "cpu" if (root / "cpu" / "cpu.cfs_quota_us").exists() else root) / name
    group.mkdir()
    return group


def _limit(group: Path, share: float) -> None:
    quota = round(share * _PERIOD_MICROSECONDS)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        # "r+": the file exists only where the controller is enabled, and must not be created.
        with (group / "cpu.max").open("r+") as file:
            file.write(f"{quota} {_PERIOD_MICROSECONDS}")


def _remove(groups: list[Path]) -> None:
    while groups:
        group = groups.pop()
        procs = group / "cgroup.procs"
        with suppress(OSError):
            for pid in procs.read_text().split():
                # It may have ended since.
                with suppress(OSError):
                    (group.parent / procs.name).write_text(pid)
        with suppress(OSError):
            group.rmdir()
