"""The findings of `relay doctor`: the result of each check, and the fix for what is wrong."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The result of a check."""

    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class FixKind(StrEnum):
    """Where a fix belongs: in the project's SQL editor, the relay's environment or a shell."""

    SQL = "sql"
    SETTING = "setting"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Fix:
    """A fix, ready to paste."""

    kind: FixKind
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: names the check for programs; the table follows a colon.
        what: one sentence: what is the case, and of which thing.
        why: the consequence; empty if the status is ok.
        fix: what to do about it; None if the status is ok.
        needs_optional_key: the check was skipped because an optional key was not given, or because
            only a person can do it.
    """

    check: str
    status: Status
    what: str
    why: str = ""
    fix: Fix | None = None
    needs_optional_key: bool = False


def ok(check: str, what: str) -> Finding:
    """Report a check that found nothing wrong."""
    return Finding(check, Status.OK, what)


def problem(check: str, what: str, why: str, fix: Fix) -> Finding:
    """Report something wrong."""
    return Finding(check, Status.PROBLEM, what, why, fix)


def skipped(
    check: str, what: str, why: str, fix: Fix, *, needs_optional_key: bool = True
) -> Finding:
    """Report a check that could not be done; the fix makes it possible, or needless."""
    return Finding(check, Status.SKIPPED, what, why, fix, needs_optional_key)


def sql(*lines: str) -> Fix:
    """Make a fix to run in the project."""
    return Fix(FixKind.SQL, "\n".join(lines))


def setting(text: str) -> Fix:
    """Make a fix of an environment variable."""
    return Fix(FixKind.SETTING, text)


def command(text: str) -> Fix:
    """Make a fix of a command line."""
    return Fix(FixKind.COMMAND, text)


USE_DB_URL = command("relay doctor --db-url postgresql://…")
"""The fix of what only the project's catalog shows."""
