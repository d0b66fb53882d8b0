"""Where the command prints: results to standard output, everything else to standard error."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from app.domain.wording import write_duration

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


def print_error(sentence: str, details: Sequence[str] = ()) -> None:
    """Print what went wrong, and details on lines of their own."""
    errors.print("[bold red]relay:[/] ", end="")
    errors.print(sanitize(sentence), markup=False)
    for detail in details:
        errors.print(f"  {sanitize(detail)}", markup=False)


def report_wait(reason: str, seconds: float) -> None:
    """Print why nothing is sent, and for how long."""
    errors.print(
        f"{sanitize(reason).rstrip('.')}; retrying in {write_duration(seconds)}",
        style="dim",
        markup=False,
    )


def sanitize(text: str) -> str:
    """Put untrusted text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def write_time(moment: datetime) -> str:
    """Write a moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def write_instant(moment: datetime) -> str:
    """Write a moment in UTC, for a program."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def print_fields(fields: Mapping[str, str]) -> None:
    """Print the fields that are not empty, one a line and never wrapped, to be copied."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value:
            style = "red" if name.endswith("error") else ""
            output.print(Text.assemble((f"  {name:<{width}}  ", "dim"), (sanitize(value), style)))


@dataclass(frozen=True, slots=True)
class Listed:
    """One thing of a list: a heading and fields for a terminal, cells for a pipe."""

    heading: Text
    fields: Mapping[str, str]
    cells: Sequence[str]


def print_list(
    documents: Iterable[dict[str, Any]],
    view: Callable[[dict[str, Any]], Listed],
    *,
    as_json: bool,
    if_empty: str,
) -> None:
    """Print a list: as JSON lines, for a person at a terminal, or in a pipe separated by tabs."""
    is_empty = True
    for document in documents:
        is_empty = False
        if as_json:
            typer.echo(json.dumps(document, ensure_ascii=False))
            continue
        listed = view(document)
        if output.is_terminal:
            output.print(listed.heading)
            print_fields(listed.fields)
        else:
            typer.echo("\t".join(map(sanitize, listed.cells)))
    if is_empty and output.is_terminal:
        errors.print(if_empty, style="dim")
