"""`relay replay`: have something written to Supabase again, and watch it."""

import sys
from typing import Annotated, Any

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.api_models import ReplayMatch
from app.cli.client.relay_client import CHECK_THE_WAY, Document, RemoteRelay, open_relay
from app.cli.client.replay_lookup import confirm_replay
from app.cli.errors import Misused, Unconfirmed
from app.cli.output.console import count, errors, output, report_wait
from app.cli.output.replay_views import (
    end_with,
    list_replays,
    print_replay,
    show_replay,
    watch_replay,
)
from app.domain.entities import EntityState


def replay(
    event_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[EVENT_ID]…", help="These events.")
    ] = None,
    since: options.Since = None,
    until: options.Until = None,
    types: options.Types = None,
    entity: options.Entity = None,
    status: Annotated[
        EntityState | None, typer.Option(help="Only events that stand there now.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything; instead of any criterion.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what matches.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until all of it is written.")
    ] = True,
    patience: Annotated[
        float,
        typer.Option("--still-seconds", min=1, help="Stay no longer than nothing moves for."),
    ] = 300.0,
    show: Annotated[
        str | None,
        typer.Option("--show", metavar="REPLAY_ID", help="How far an earlier replay is."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="The latest replays.")] = False,
    as_json: options.AsJson = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Re-sync the entities of matching events with Supabase.

    What is desired now is written, so that no replay can bring back a stale
    state. It counts first and asks. Ctrl-C ends the watching only: the relay goes
    on. Needs `replay:write`. Exit code 0: done; 1: refused, or some of it is
    dead; 3: no relay there, or nothing moves.

    Examples:
      relay replay --status dead --since 2h
      relay replay --show REPLAY_ID
    """
    criteria: dict[str, Any] = {
        "event_ids": event_ids or None,
        "since": since,
        "until": until,
        "types": types or None,
        "entity": _split_entity(entity),
        "status": status,
        "all": everything or None,
    }
    body = {name: value for name, value in criteria.items() if value is not None}
    _check_choice(body, show=show, list_=list_)
    with open_relay(url, token, Scope.REPLAY_WRITE) as relay:
        if list_:
            list_replays(relay, as_json=as_json)
        elif show is not None:
            show_replay(relay, show, as_json=as_json)
        elif dry_run:
            _show_match(*_count(relay, body), as_json=as_json)
        elif yes or _confirm(relay, body):
            _start(relay, body, patience=patience if wait else None, as_json=as_json)


def _check_choice(body: Document, *, show: str | None, list_: bool) -> None:
    if sum((bool(body), show is not None, list_)) > 1:
        raise Misused("--show and --list take no criterion beside them")
    if "all" in body and len(body) > 1:
        raise Misused("--all takes no other criterion beside it")
    if not body and show is None and not list_:
        raise Misused(
            "say what to replay: EVENT_ID, --since, --until, --type, --entity, --status, or --all"
        )


def _split_entity(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    kind, _, key = text.partition("/")
    return {"kind": kind, "key": key}


def _count(relay: RemoteRelay, body: Document) -> tuple[Document, ReplayMatch]:

    document = relay.post("/replay", {**body, "dry_run": True})
    match = relay.read(document, ReplayMatch)
    if match.status != "dry_run":
        raise Unconfirmed(
            "the relay was asked to count what matches, and the answer is that of a replay."
            f" {CHECK_THE_WAY}"
        )
    return document, match


def _describe(match: ReplayMatch) -> str:
    return f"{count(match.matched_events, 'event')} of {count(match.entities, 'entity')}"


def _show_match(document: Document, match: ReplayMatch, *, as_json: bool) -> None:
    if as_json:
        output.print_json(data=document)
    else:
        output.print(f"{_describe(match)} would be replayed.")


def _confirm(relay: RemoteRelay, body: Document) -> bool:
    if not sys.stdin.isatty():
        raise Misused("nobody is there to be asked: give --yes, or --dry-run to count")
    _, match = _count(relay, body)
    if not match.matched_events:
        errors.print("No event meets that; nothing is replayed.")
        return False
    errors.print(
        f"{_describe(match)}: each entity is written to Supabase again as it is desired now."
    )
    if not typer.confirm("Replay?", err=True):
        errors.print("Nothing is replayed.")
        raise typer.Exit(1)
    return True


def _start(relay: RemoteRelay, body: Document, *, patience: float | None, as_json: bool) -> None:

    document = relay.post("/replay", body)
    started = relay.read(document, ReplayMatch)
    replay_id = confirm_replay(relay, started, body, report_wait=report_wait)
    if patience is None:
        if as_json:
            output.print_json(data=document)
        else:
            output.print(f"Replay [bold]{replay_id}[/]: {_describe(started)}.")
            errors.print(f"How far it is: relay replay --show {replay_id}", style="dim")
        return
    errors.print(f"Replay [bold]{replay_id}[/]: {_describe(started)}.")
    document, last = watch_replay(relay, replay_id, patience_seconds=patience)
    print_replay(document, last, as_json=as_json)
    end_with(last)
