"""Go, for the tests of clients/go: found on PATH, with its caches in this checkout."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

import pytest

CHECKOUT: Final = Path(__file__).parents[1]
GO_MODULE: Final = CHECKOUT / "clients" / "go"
OUTBOX_SQL: Final = GO_MODULE / "sql" / "relay_outbox.sql"
GO_SECONDS: Final = 540
"""The first run compiles the standard library twice, once for the race detector."""
_CACHES: Final = CHECKOUT / ".local"


def run_go(
    *arguments: str, folder: Path = GO_MODULE, environment: Mapping[str, str] | None = None
) -> str:
    """Run a go command that must succeed, and return its standard output."""
    done = _run(arguments, folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def require_module(folder: Path = GO_MODULE) -> None:
    """Download the modules that a module needs, or skip the test where that is not possible."""
    done = _run(["mod", "download"], folder, None)
    if done.returncode != 0:
        _skip(f"the Go modules of {folder.name} are not available: {done.stderr.strip()[-500:]}")


def has_c_compiler() -> bool:
    """Tell whether the race detector can be used."""
    if shutil.which("gcc") or shutil.which("clang"):
        return True
    if _is_required():
        pytest.fail("no C compiler for the race detector; on Debian: apt-get install gcc")
    return False


def _find_go() -> str:
    go = shutil.which("go")
    return go if go is not None else _skip("no go on PATH; on Debian: apt-get install golang")


def go_environment() -> dict[str, str]:
    """Return an environment in which Go keeps its caches in this checkout."""
    return {
        **os.environ,
        # Without -modcacherw, `make clean` could not remove the cache.
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOCACHE": str(_CACHES / "go-cache"),
        "GOMODCACHE": str(_CACHES / "go-mod"),
    }


def _run(
    arguments: list[str] | tuple[str, ...], folder: Path, environment: Mapping[str, str] | None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the commands are ours
        [_find_go(), *arguments],
        cwd=folder,
        env={**go_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=GO_SECONDS,
    )


def _skip(reason: str) -> NoReturn:
    if _is_required():
        pytest.fail(f"REQUIRE_GO is set, and {reason}")
    pytest.skip(reason)


def _is_required() -> bool:
    return bool(os.environ.get("REQUIRE_GO"))
