"""`relay send --file`: send a file of events, or standard input, and resume after a kill."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, BinaryIO, Final

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from app.cli.client.batches import BatchSender, LineResult
from app.cli.client.ndjson import gather_batches, read_lines
from app.cli.client.relay_client import open_client
from app.cli.client.resume_file import Progress, ResumeFile, Tally, read_file_version
from app.cli.errors import CommandFailed
from app.cli.output.console import count, errors, output, report_wait, sanitize, write_duration
from app.domain.errors import ConfigurationInvalid
from app.store.private_files import open_private

STANDARD_INPUT: Final = Path("-")
_SHOWN_REJECTS: Final = 20


def send_file(
    path: Path,
    *,
    url: str,
    secret: str,
    rejects: Path | None,
    patience_seconds: float,
    as_json: bool,
) -> None:
    """Send every event of an NDJSON file in batches, and report each rejected line.

    Raises:
        ConfigurationInvalid: a file cannot be opened.
        CommandFailed: the relay rejects every batch, or was unavailable for too long.
        typer.Exit: with code 1 if lines were rejected, with 130 after Ctrl-C.
    """
    started_at = time.monotonic()
    with ExitStack() as stack:
        file = stack.enter_context(_open_input(path))
        progress, resume_file = _find_progress(path, url)
        reporter = stack.enter_context(_Reporter(path, rejects, progress))
        client = stack.enter_context(open_client(url))
        sender = BatchSender(client, secret, patience_seconds, report_wait)
        try:
            _send_lines(file, sender, progress, resume_file, reporter)
        except CommandFailed as error:
            error.details = (*error.details, _describe_resuming(progress, resume_file))
            raise
        except KeyboardInterrupt as error:
            hint = _describe_resuming(progress, resume_file)
            errors.print(f"Stopped. {hint}", markup=False)
            raise typer.Exit(130) from error
    _show_summary(progress.tally, time.monotonic() - started_at, as_json=as_json)
    if progress.tally.conflict or progress.tally.invalid:
        raise typer.Exit(1)


@contextmanager
def _open_input(path: Path) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _find_progress(path: Path, url: str) -> tuple[Progress, ResumeFile | None]:
    if not path.is_file():  # standard input, or a pipe
        return Progress(url, ""), None
    resume_file = ResumeFile(path)
    fresh = Progress(url, read_file_version(path))
    kept = resume_file.read()
    if kept is None:
        return fresh, resume_file
    if (kept.url, kept.file_version) == (fresh.url, fresh.file_version):
        errors.print(f"Resuming after line {kept.tally.lines:,} of {path}.", style="dim")
        return kept, resume_file
    changed = f"the last run sent to {kept.url}" if kept.url != url else "it has changed since"
    errors.print(f"Sending {path} from its beginning: {changed}.", style="dim")
    return fresh, resume_file


def _send_lines(
    file: BinaryIO,
    sender: BatchSender,
    progress: Progress,
    resume_file: ResumeFile | None,
    reporter: "_Reporter",
) -> None:
    if progress.offset:
        file.seek(progress.offset)
    lines = read_lines(file, number=progress.tally.lines, offset=progress.offset)
    for batch in gather_batches(lines):
        for result in sender.send(batch):
            setattr(progress.tally, result.status, getattr(progress.tally, result.status) + 1)
            if result.errors:
                reporter.report(result)
        progress.tally.lines, progress.offset = batch[-1].number, batch[-1].end
        progress.rejects_bytes = reporter.flush(progress)
        if resume_file is not None:
            try:
                resume_file.write(progress)
            except OSError as error:
                errors.print(
                    f"{resume_file.path} cannot be written ({error.strerror}): after an"
                    " interruption, the file is sent from its beginning.",
                    style="dim",
                )
                resume_file = None
    if resume_file is not None:
        resume_file.remove()


def _describe_resuming(progress: Progress, resume_file: ResumeFile | None) -> str:
    done = f"Lines up to {progress.tally.lines:,} are done"
    if resume_file is None or not resume_file.path.exists():
        return f"{done}; sent again, they are duplicates and do no harm."
    return f"{done}; the same command resumes there."


class _Reporter:
    """Writes rejected lines to the screen and to the file of rejects, and moves the bar."""

    def __init__(self, source: Path, rejects: Path | None, progress: Progress) -> None:
        self._shown = 0
        self._rejects = None
        if rejects is not None:
            self._rejects = _open_rejects(rejects, source, keep_bytes=progress.rejects_bytes)
        self._bars = Bars(
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[events]:,} events"),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
        total = source.stat().st_size if source.is_file() else None
        self._bar = self._bars.add_task("", total=total, completed=progress.offset, events=0)

    def __enter__(self) -> "_Reporter":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()
        if self._rejects is not None:
            self._rejects.close()

    def report(self, result: LineResult) -> None:
        if self._rejects is not None:
            self._rejects.write(_write_reject(result))
        if self._shown == _SHOWN_REJECTS:
            hint = "" if self._rejects else "; --rejects FILE writes all of them"
            errors.print(f"… further rejected lines are only counted{hint}.", style="dim")
        elif self._shown < _SHOWN_REJECTS:
            for error in result.errors:
                place = f"{error.pointer} " if error.pointer else ""
                errors.print(
                    f"line {result.line.number}: {result.status}: {place}{sanitize(error.detail)}",
                    markup=False,
                )
        self._shown += 1

    def flush(self, progress: Progress) -> int:
        """Show the progress, and return the length of the file of rejects."""
        events = progress.tally.accepted + progress.tally.duplicate
        self._bars.update(self._bar, completed=progress.offset, events=events)
        if self._rejects is None:
            return 0
        self._rejects.flush()
        return self._rejects.tell()


def _open_rejects(path: Path, source: Path, *, keep_bytes: int) -> IO[bytes]:
    if path.exists() and source != STANDARD_INPUT and path.samefile(source):
        raise ConfigurationInvalid("--rejects names the file of events itself")
    try:
        file = open_private(path, "r+b" if keep_bytes and path.exists() else "wb")
        # The lines that a killed run wrote after its last progress are sent and written again.
        file.truncate(min(keep_bytes, file.seek(0, os.SEEK_END)))
        file.seek(0, os.SEEK_END)
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be written: {error.strerror}") from error
    return file


def _write_reject(result: LineResult) -> bytes:
    """Write a rejected line so that it can be fixed and sent: the event, and its errors."""
    about: dict[str, object] = {
        "line": result.line.number,
        "status": result.status,
        "errors": [asdict(error) for error in result.errors],
    }
    text = result.line.content.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        about = {**document, **about}
    elif text:
        about["text"] = text
    try:
        return json.dumps(about).encode() + b"\n"
    except RecursionError:
        return json.dumps({**about, "data": None}).encode() + b"\n"


def _show_summary(tally: Tally, seconds: float, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(tally)))
        return
    parts = [f"[green]{tally.accepted:,} accepted[/]"]
    parts += [f"{tally.duplicate:,} duplicate"] * bool(tally.duplicate)
    parts += [f"[bold red]{tally.conflict:,} conflict[/]"] * bool(tally.conflict)
    parts += [f"[bold red]{tally.invalid:,} invalid[/]"] * bool(tally.invalid)
    took = write_duration(seconds)
    output.print(f"{count(tally.lines, 'line')}: {', '.join(parts)} [dim]{took}[/]")
