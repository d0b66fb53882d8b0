"""Why Supabase rejects rows for good, and the fix: for the runbook and the console."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# How PostgreSQL begins the message of a delete that rows of other tables prevent.
_ON_DELETE: Final = "update or delete on table"


@dataclass(frozen=True, slots=True)
class CauseGuide:
    """One class of causes.

    Attributes:
        codes: SQLSTATEs, or the beginning of some.
        title: of the codes, in Markdown.
        cause: in Markdown without links.
        fix: likewise.
        is_of_delete: whether it explains deletes only; None for both.
    """

    codes: tuple[str, ...]
    title: str
    cause: str
    fix: str
    is_of_delete: bool | None = None


_GUIDES: Final = (
    CauseGuide(
        ("23514", "22001", "22P02", "23502"),
        "`23514`, `22001`, `22P02`, `23502`",
        "A check, length, enum or NOT NULL in Supabase that the contract does not have.",
        "The table, then replay. Or send a newer event with a valid value, which replaces the dead"
        " one.",
    ),
    CauseGuide(
        ("23503",),
        "`23503` on a write",
        "The parent was missing for 24 hours.",
        "Send the parent, then replay.",
        is_of_delete=False,
    ),
    CauseGuide(
        ("23503", "23001"),
        "`23503` on a delete",
        "Rows of another table, which the message names, still reference the row after 24 hours.",
        "`relay doctor --db-url …` prints the fix for the foreign key; then replay.",
        is_of_delete=True,
    ),
    CauseGuide(
        ("54000",),
        "`54000`",
        "A value too large for an index.",
        "The index, or the value at its source.",
    ),
    CauseGuide(
        ("42",),
        "`42…`",
        "A trigger or policy rejects this one row.",
        "The trigger, then replay.",
    ),
    CauseGuide(
        ("P0002",),
        "`P0002`",
        "The row is missing in Supabase, and the event lacks `extra` columns that a new row needs.",
        "Send an event with them.",
    ),
    CauseGuide(
        ("23505",),
        "`23505`",
        "Another row holds the e-mail address or name.",
        "Remove that row, or change the value.",
    ),
)


def list_cause_guides() -> Iterator[CauseGuide]:
    """List every class of causes."""
    yield from _GUIDES


def find_cause_guide(code: str, message: str) -> CauseGuide | None:
    """Find the explanation of an error; None if it has none."""
    is_delete = message.startswith(_ON_DELETE)
    for guide in _GUIDES:
        if guide.is_of_delete in (None, is_delete) and code.startswith(guide.codes):
            return guide
    return None
