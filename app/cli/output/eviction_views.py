"""How the result of an eviction looks."""

import json
from collections.abc import Sequence

import typer
from rich.text import Text

from app.cli.client.eviction import RemovalResult
from app.cli.output.console import STATUS_STYLES, errors, output, sanitize
from app.domain.entities import split_membership_key
from app.domain.wording import count, write_duration

_AT_THE_SOURCE = (
    "Remove the member in the backend too: as long as it has the membership, its next event, or a"
    " repair from the backend, gives access again."
)


def show_results(results: Sequence[RemovalResult], user_id: str, *, as_json: bool) -> None:
    """Print what is in force, what is not and why, and what is left to do."""
    if as_json:
        typer.echo(json.dumps(_make_document(results, user_id)))
        return
    in_force = [each for each in results if each.is_in_force]
    if in_force:
        seconds = max(each.seconds for each in in_force)
        output.print(
            Text.assemble(
                ("in force", STATUS_STYLES["applied"]),
                f" in Supabase after {write_duration(seconds)}:"
                f" {count(len(in_force), 'membership')} of user {user_id} removed",
            )
        )
    for result in results:
        if not result.is_in_force:
            _show_obstacle(result)
        elif result.removal.was_removed:
            errors.print(
                f"The relay had removed {result.removal.key} before and wrote nothing. If Supabase"
                f" still has the row: relay replay {result.removal.event_id}",
                markup=False,
            )
    errors.print(_AT_THE_SOURCE, style="dim", markup=False)


def _show_obstacle(result: RemovalResult) -> None:
    verb = "accepted, " if result.status == "pending" else ""
    output.print(
        Text.assemble(
            (f"{verb}{sanitize(result.status)}", STATUS_STYLES.get(result.status, "yellow")),
            f": membership {result.removal.key}: {sanitize(result.reason or '')}",
        )
    )
    errors.print(f"  relay events {result.removal.event_id}", style="dim", markup=False)


def _make_document(results: Sequence[RemovalResult], user_id: str) -> dict[str, object]:
    return {
        "user_id": user_id,
        "in_force": all(each.is_in_force for each in results),
        "removals": [
            {
                "trip_id": split_membership_key(each.removal.key)[0],
                "event_id": each.removal.event_id,
                "status": each.status,
                "seconds": round(each.seconds, 3),
                "reason": each.reason,
            }
            for each in results
        ],
    }
