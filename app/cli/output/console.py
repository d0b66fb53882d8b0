"""Where the command prints: results to standard output, everything else to standard error."""

from datetime import UTC, datetime

from rich.console import Console

output = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

STATUS_STYLES = {
    "applied": "green",
    "completed": "green",
    "pending": "yellow",
    "running": "yellow",
    "superseded": "blue",
    "dead": "bold red",
    "failed": "bold red",
}


def complain(command: str, sentence: str) -> None:
    """Print what went wrong: a sentence that says what to do about it."""
    errors.print(f"[bold red]{command}:[/] ", end="")
    errors.print(tidy(sentence), markup=False)


def report_wait(reason: str, seconds: float) -> None:
    """Tell the user why nothing is sent, and for how long."""
    errors.print(
        f"{tidy(reason).rstrip('.')}; again in {write_duration(seconds)}", style="dim", markup=False
    )


def tidy(text: str) -> str:
    """Make a text from elsewhere safe for a terminal: on one line, and without control codes."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def write_time(moment: datetime) -> str:
    """Write a moment in UTC, to the second, as the relay's log does."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def write_duration(seconds: float) -> str:
    """Write a duration as a person would say it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def count(number: int, noun: str) -> str:
    """Write a number and its noun: 1 event, 2,000 events, 1 entity, 3 entities."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"
