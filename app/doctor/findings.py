"""What the doctor says: findings, each with what is wrong, why it matters and the fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What was found."""

    FINE = "fine"
    PROBLEM = "problem"
    UNCHECKED = "could-not-check"


class FixKind(StrEnum):
    """What is to be done with the text of a fix."""

    SQL = "sql"
    """To be run in the project: the dashboard's SQL editor, or psql."""
    SETTING = "setting"
    """An environment variable of the relay."""
    COMMAND = "command"
    """To be run in a shell."""


@dataclass(frozen=True, slots=True)
class Fix:
    """How to put it right, ready to paste."""

    kind: FixKind
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        check: its name for machines; the table follows the colon where there is one.
        what: one sentence: what is the case.
        why: why that matters; empty where all is well.
        fix: what to do about it; None where all is well.
    """

    check: str
    verdict: Verdict
    what: str
    why: str = ""
    fix: Fix | None = None


def fine(check: str, what: str) -> Finding:
    """Report that all is well."""
    return Finding(check, Verdict.FINE, what)


def problem(check: str, what: str, why: str, fix: Fix) -> Finding:
    """Report what is wrong."""
    return Finding(check, Verdict.PROBLEM, what, why, fix)


def unchecked(check: str, what: str, why: str, fix: Fix) -> Finding:
    """Report what could not be seen; the fix says how it could be, or makes it needless."""
    return Finding(check, Verdict.UNCHECKED, what, why, fix)


def sql(*lines: str) -> Fix:
    """Make a fix of SQL statements."""
    return Fix(FixKind.SQL, "\n".join(lines))


def setting(text: str) -> Fix:
    """Make a fix of an environment variable."""
    return Fix(FixKind.SETTING, text)


def command(text: str) -> Fix:
    """Make a fix of a command line."""
    return Fix(FixKind.COMMAND, text)


def judge(findings: Sequence[Finding]) -> Verdict:
    """Sum up: a problem outweighs what could not be checked, and that outweighs what is fine."""
    verdicts = {finding.verdict for finding in findings}
    for verdict in (Verdict.PROBLEM, Verdict.UNCHECKED):
        if verdict in verdicts:
            return verdict
    return Verdict.FINE
