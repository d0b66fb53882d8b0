"""The source of truth: a snapshot file, or the backend's database."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.cli.source.database import open_source, read_database
from app.cli.source.outbox import Outbox
from app.cli.source.queries import BUILT_IN_QUERIES, read_queries
from app.cli.source.snapshot import Snapshot
from app.cli.source.snapshot_file import read_snapshot_file
from app.domain.event_reader import EventReader
from app.domain.instants import from_seconds

_HIDDEN_URL: Final = "$BACKEND_DB_URL"


@dataclass(frozen=True, slots=True)
class Source:
    """Where to read the source.

    Attributes:
        file: a snapshot; None for a database.
        db_url: of the backend's PostgreSQL; None for a file.
        queries: a file of queries; None for the built-in ones.
        wait_seconds: how long to wait until the outbox is sent.
    """

    file: Path | None
    db_url: str | None
    queries: Path | None
    wait_seconds: float

    @property
    def name(self) -> str:
        """For people, without a password."""
        return str(self.file) if self.file is not None else "the database"

    def write_options(self) -> list[str]:
        """Write the options of this source; a URL with a password is not repeated."""
        if self.file is not None:
            return ["--source-file", str(self.file)]
        words = ["--source-db-url", self._hide_password()]
        if self.queries is not None:
            words += ["--source-queries", str(self.queries)]
        return words

    def _hide_password(self) -> str:
        try:
            has_password = "password" in conninfo_to_dict(self.db_url or "")
        except psycopg.ProgrammingError:
            has_password = True
        return _HIDDEN_URL if has_password else str(self.db_url)

    def read(
        self,
        snapshot: Snapshot,
        reader: EventReader,
        *,
        report_step: Callable[[str], None],
        report_note: Callable[[str], None],
    ) -> None:
        """Read the source into a snapshot, once the relay has received everything before it.

        Args:
            snapshot: an empty one.
            reader: knows the roles and statuses of this deployment.
            report_step: receives what happens.
            report_note: receives what matters for the result.

        Raises:
            ConfigurationInvalid: the source cannot be read.
            Rejected: a row is invalid, or is there twice.
        """
        report_step(f"Reading {self.name}")
        if self.file is not None:
            read_snapshot_file(self.file, snapshot, reader, now=from_seconds(time.time()))
            return
        queries = BUILT_IN_QUERIES if self.queries is None else read_queries(self.queries)
        outbox = read_database(self.db_url or "", queries, snapshot, reader)
        self._settle_outbox(outbox, snapshot, report_step, report_note)

    def _settle_outbox(
        self,
        outbox: Outbox,
        snapshot: Snapshot,
        report_step: Callable[[str], None],
        report_note: Callable[[str], None],
    ) -> None:
        if not outbox.exists:
            report_note(
                "The database has no table relay_outbox: events that are on their way may show as"
                " differences."
            )
            return
        connect = partial(open_source, self.db_url or "")
        outbox.wait(
            connect,
            seconds=self.wait_seconds,
            report_wait=lambda count: report_step(f"Waiting for the outbox: {count:,}"),
        )
        unsent = outbox.exclude_unsent(connect, snapshot)
        if unsent:
            report_note(
                f"Still in the outbox: {unsent:,}. The entities of these events do not count."
            )
