"""`relay replay`: re-sync entities, and watch the progress."""

import sys
from typing import Annotated, Any, Final

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.api_models import ReplayAnswer, ReplayMatch, ReplayPage
from app.cli.client.relay_client import Document, RelayClient, open_relay
from app.cli.errors import NotFinished, Rejected, RelayUnavailable, UsageError
from app.cli.output.console import errors, output, print_list
from app.cli.output.replay_views import (
    get_replay,
    list_replay,
    show_replay,
    show_replay_result,
    watch_replay,
)
from app.domain.entities import EntityState
from app.domain.wording import count

_LISTED: Final = 20


def replay(
    event_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[EVENT_ID]…", help="Replay these events.")
    ] = None,
    since: options.Since = None,
    until: options.Until = None,
    types: options.Types = None,
    entity: options.Entity = None,
    status: Annotated[
        EntityState | None, typer.Option(help="Only events that have this status now.")
    ] = None,
    error_code: options.ErrorCode = None,
    error: options.Error = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Replay everything, without other criteria.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what matches.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until every entity is applied.")
    ] = True,
    stall_timeout: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="Stop waiting after so long without progress."),
    ] = 300.0,
    show: Annotated[
        str | None,
        typer.Option("--show", metavar="REPLAY_ID", help="Show the progress of this replay."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the latest replays.")] = False,
    as_json: options.AsJson = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Re-sync the entities of matching events with Supabase.

    The relay writes the current desired state of each entity: a replay never
    brings back an older one. The command first counts the matching events and
    asks for confirmation. Ctrl-C stops the command, not the replay. Needs the
    scope replay:write. The exit code is 1 if an entity is dead, and 4 if the
    replay makes no progress.

    Examples:
      relay replay --status dead --error-code 23514
      relay replay --show REPLAY_ID
    """
    criteria: dict[str, Any] = {
        "event_ids": event_ids or None,
        "since": since,
        "until": until,
        "types": types or None,
        "entity": _split_entity(entity),
        "status": status,
        "error_code": error_code,
        "error": error,
        "all": everything or None,
    }
    body = {name: value for name, value in criteria.items() if value is not None}
    if sum((bool(body), show is not None, list_)) > 1:
        raise UsageError("--show and --list go without criteria and without each other")
    if everything and len(body) > 1:
        raise UsageError("--all goes without other criteria")
    if not body and show is None and not list_:
        raise UsageError(
            "criteria are missing: EVENT_ID, --since, --until, --type, --entity, --status,"
            " --error-code, --error or --all"
        )
    with open_relay(url, token, Scope.REPLAY_WRITE) as relay:
        if list_:
            print_list(
                relay.read(relay.get("/replay", {"limit": _LISTED}), ReplayPage).replays,
                lambda document: list_replay(relay.read(document, ReplayAnswer)),
                as_json=as_json,
                if_empty="No replay yet.",
            )
        elif show is not None:
            document = get_replay(relay, show)
            answer = relay.read(document, ReplayAnswer)
            if as_json:
                output.print_json(data=document)
            else:
                show_replay(answer)
            _check_result(answer)
        elif dry_run:
            document, match = _count(relay, body)
            if as_json:
                output.print_json(data=document)
            else:
                output.print(f"{_describe(match)} would be replayed.")
        elif yes or _confirm(relay, body):
            _start(relay, body, stall_timeout=stall_timeout if wait else None, as_json=as_json)


def _split_entity(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    kind, _, key = text.partition("/")
    return {"kind": kind, "key": key}


def _count(relay: RelayClient, body: Document) -> tuple[Document, ReplayMatch]:
    document = relay.post("/replay", {**body, "dry_run": True})
    return document, relay.read(document, ReplayMatch)


def _describe(match: ReplayMatch) -> str:
    return f"{count(match.matched_events, 'event')} of {count(match.entities, 'entity')}"


def _confirm(relay: RelayClient, body: Document) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("a replay needs confirmation: add --yes, or --dry-run to count only")
    _, match = _count(relay, body)
    if not match.matched_events:
        errors.print("No event matches; nothing is replayed.")
        return False
    errors.print(
        f"{_describe(match)}: the relay will write each entity's current desired state to Supabase."
    )
    if not typer.confirm("Replay?", err=True):
        errors.print("Nothing is replayed.")
        raise typer.Exit(1)
    return True


def _start(
    relay: RelayClient, body: Document, *, stall_timeout: float | None, as_json: bool
) -> None:
    document = relay.post("/replay", body)
    started = relay.read(document, ReplayMatch)
    replay_id = str(started.replay_id)
    look_again = f"relay replay --show {replay_id}"
    console = errors if stall_timeout is not None or as_json else output
    console.print(f"Replay [bold]{replay_id}[/]: {_describe(started)}.")
    if stall_timeout is None:
        if as_json:
            output.print_json(data=document)
        errors.print(f"Progress: {look_again}", style="dim")
        return
    try:
        document = watch_replay(relay, replay_id, stall_timeout=stall_timeout)
    except KeyboardInterrupt as error:
        errors.print(f"\nThe replay continues. Progress: {look_again}")
        raise typer.Exit(130) from error
    except (RelayUnavailable, NotFinished) as error:
        error.details = (
            *error.details,
            f"The replay continues when it can. Progress: {look_again}",
        )
        raise
    answer = relay.read(document, ReplayAnswer)
    if as_json:
        output.print_json(data=document)
    else:
        show_replay_result(answer)
    _check_result(answer)


def _check_result(answer: ReplayAnswer) -> None:
    if answer.status == "failed":
        raise Rejected("the relay could not requeue every entity. Its log says why. Start again.")
    if answer.dead:
        raise typer.Exit(1)
