"""Rows on their way into a snapshot: checked as the relay checks events, errors collected."""

from collections.abc import Sequence
from typing import Any, Final

from app.cli.errors import Rejected
from app.cli.source.snapshot import Snapshot
from app.domain.entities import Kind
from app.domain.errors import FieldError, InputInvalid
from app.domain.event_reader import EventReader

_SHOWN_ERRORS: Final = 20
_OTHER_CHOICES: Final = (
    "Roles and statuses: set MEMBERSHIP_ROLES and MEMBERSHIP_STATUSES as the relay has them."
)


class RowCollector:
    """Adds rows to a snapshot, and reports every one that is invalid at the end."""

    def __init__(self, snapshot: Snapshot, reader: EventReader) -> None:
        self._snapshot = snapshot
        self._reader = reader
        self._shown: list[str] = []
        self._invalid_rows = 0
        self._has_other_choice = False

    def add(self, place: str, kind: Kind, sent: Any) -> None:
        """Add one row.

        Args:
            place: where the row stands, for a person.
            sent: its fields, as the source has them.
        """
        try:
            row = self._reader.read_row(kind, sent)
        except InputInvalid as error:
            self.report(place, error.errors)
            return
        if not self._snapshot.add_row(kind, row, sent):
            self.report(place, [FieldError("", f"the source has this {kind} twice")])

    def report(self, place: str, errors: Sequence[FieldError]) -> None:
        """Note that a row is invalid."""
        self._invalid_rows += 1
        for error in errors:
            self._has_other_choice |= error.detail.startswith("must be one of")
            if self._invalid_rows <= _SHOWN_ERRORS:
                pointer = f"{error.pointer} " if error.pointer else ""
                self._shown.append(f"{place}: {pointer}{error.detail}")

    def raise_errors(self, source: str) -> None:
        """End with the errors, if there are any.

        Raises:
            Rejected: names the first rows that are invalid.
        """
        if not self._invalid_rows:
            return
        details = list(self._shown)
        if self._invalid_rows > _SHOWN_ERRORS:
            details.append(f"… and {self._invalid_rows - _SHOWN_ERRORS:,} more rows")
        if self._has_other_choice:
            details.append(_OTHER_CHOICES)
        rows = "1 row" if self._invalid_rows == 1 else f"{self._invalid_rows:,} rows"
        raise Rejected(f"{source} has {rows} that no event could carry; nothing is sent", details)
