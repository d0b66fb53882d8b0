"""`relay send --file`: a file of events, or standard input, into a relay, from where it stood."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, BinaryIO, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app.cli.client.batches import BatchSender, Verdict
from app.cli.client.ndjson import EventLine, Place, gather_batches, read_lines
from app.cli.client.relay_client import open_client
from app.cli.client.resume_file import Bookmark, Tally, find_place
from app.cli.client.resume_file import Progress as Sent
from app.cli.errors import CommandFailed
from app.cli.output.console import count, errors, output, report_wait, tidy, write_duration
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
    """Send every event of an NDJSON file in batches, and tell of each line that was not taken.

    Beside the file is kept how far that went, until all of it is done.

    Raises:
        ConfigurationInvalid: a file cannot be opened.
        CommandFailed: the relay takes nothing from here, or was away for too long.
        typer.Exit: with code 1 if lines were refused, with 130 by Ctrl-C.
    """
    started_at = time.monotonic()
    with ExitStack() as stack:
        file = stack.enter_context(_open_input(path))
        sending = _Sending(path, file, url=url, rejects=rejects)
        stack.callback(sending.close)
        client = stack.enter_context(open_client(url))
        sender = BatchSender(
            client, secret, patience_seconds=patience_seconds, report_wait=report_wait
        )
        try:
            sending.run(sender)
        except CommandFailed as error:
            sentence = f"{str(error).rstrip('.')}. {sending.say_how_to_go_on()}"
            raise type(error)(sentence) from error
        except KeyboardInterrupt as error:
            errors.print(f"Stopped. {sending.say_how_to_go_on()}", markup=False)
            raise typer.Exit(130) from error
    _show_summary(sending.tally, time.monotonic() - started_at, as_json=as_json)
    if sending.tally.conflict or sending.tally.invalid:
        raise typer.Exit(1)


class _Sending:
    """One file on its way: where it stands, what was refused, and the bar."""

    def __init__(self, path: Path, file: BinaryIO, *, url: str, rejects: Path | None) -> None:
        self._file = file
        self._url = url
        self._bookmark = None if path == STANDARD_INPUT else Bookmark.of(path)
        self._place = Place.start()
        self.tally = Tally()
        self._rejects_shown = 0
        kept = self._resume(path)
        self._rejects = None if rejects is None else _open_rejects(rejects, path, keep_bytes=kept)
        self._bar = _make_bar()
        total = None if path == STANDARD_INPUT else os.fstat(file.fileno()).st_size
        self._task = self._bar.add_task("", total=total, completed=self._place.offset, events=0)

    def _resume(self, path: Path) -> int:
        """Go to where an earlier run stood, and give how much of its rejects counts."""
        sent = None if self._bookmark is None else self._bookmark.read()
        if sent is None:
            return 0
        if sent.url != self._url:
            reason = f"the last run sent to {sent.url}"
        else:
            place = find_place(self._file, sent)
            if place is not None:
                self._place, self.tally = place, sent.tally
                errors.print(f"Going on after line {place.lines:,} of {path}.", style="dim")
                return sent.rejects_bytes
            reason = "it has changed since the last run"
        errors.print(f"Starting {path} anew: {reason}.", style="dim")
        return 0

    def run(self, sender: BatchSender) -> None:
        """Send what there still is."""
        with self._bar:
            for batch in gather_batches(read_lines(self._file, self._place)):
                self._take(batch, sender.send(batch))
        if self._bookmark is not None:
            self._bookmark.remove()

    def _take(self, batch: list[EventLine], verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            number = getattr(self.tally, verdict.status) + 1
            setattr(self.tally, verdict.status, number)
            if verdict.errors:
                self._report(verdict)
        self._place = batch[-1].place
        self.tally.lines = self._place.lines
        self._note()
        self._bar.update(
            self._task,
            completed=self._place.offset,
            events=self.tally.accepted + self.tally.duplicate,
        )

    def _report(self, verdict: Verdict) -> None:
        if self._rejects is not None:
            self._rejects.write(_write_reject(verdict))
        if self._rejects_shown == _SHOWN_REJECTS:
            hint = "" if self._rejects else "; --rejects FILE writes all of them"
            errors.print(f"… further lines that are refused are only counted{hint}.", style="dim")
        elif self._rejects_shown < _SHOWN_REJECTS:
            for error in verdict.errors:
                place = f"{error.pointer} " if error.pointer else ""
                errors.print(
                    f"line {verdict.line.place.lines}: {verdict.status}: {place}"
                    f"{tidy(error.detail)}",
                    markup=False,
                )
        self._rejects_shown += 1

    def _note(self) -> None:
        """Remember that what has been read so far is done with."""
        rejects_bytes = 0
        if self._rejects is not None:
            self._rejects.flush()
            rejects_bytes = self._rejects.tell()
        if self._bookmark is None:
            return
        place = self._place
        sent = Sent(self._url, place.offset, place.digest.hexdigest(), self.tally, rejects_bytes)
        try:
            self._bookmark.write(sent)
        except OSError as error:
            errors.print(
                f"{self._bookmark.path} cannot be written ({error.strerror}): if this run is"
                " interrupted, the next begins anew, and finds duplicates.",
                style="dim",
            )
            self._bookmark = None

    def say_how_to_go_on(self) -> str:
        """Give the sentence for somebody whose run has ended too early."""
        done = f"Done as far as line {self._place.lines:,}"
        if self._bookmark is None:
            return f"{done}; sent again, the same lines are duplicates and do no harm."
        return f"{done}; the same command goes on from there."

    def close(self) -> None:
        """Close what it opened."""
        if self._rejects is not None:
            self._rejects.close()


def _write_reject(verdict: Verdict) -> bytes:
    """Write a refused line so that it can be mended and sent: the event, and what is wrong."""
    line = verdict.line
    places = [{"pointer": error.pointer, "detail": error.detail} for error in verdict.errors]
    about: dict[str, object] = {
        "line": line.place.lines,
        "status": verdict.status,
        "errors": places,
    }
    text = line.content.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        about |= {name: value for name, value in document.items() if name not in about}
    elif text:
        about["text"] = text
    try:
        return json.dumps(about).encode() + b"\n"
    except RecursionError:
        return json.dumps({**about, "data": None}).encode() + b"\n"


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


def _open_rejects(path: Path, source: Path, *, keep_bytes: int) -> IO[bytes]:
    if path.exists() and source != STANDARD_INPUT and path.samefile(source):
        raise ConfigurationInvalid("--rejects names the file of events itself")
    try:
        file = open_private(path, "r+b" if keep_bytes and path.exists() else "wb")
        # What a killed run wrote after its last bookmark is written once more.
        file.truncate(min(keep_bytes, file.seek(0, os.SEEK_END)))
        file.seek(0, os.SEEK_END)
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be written: {error.strerror}") from error
    return file


def _make_bar() -> Progress:
    return Progress(
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


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
