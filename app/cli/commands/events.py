"""`relay events`: what came in, and what became of it."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.api_models import EventAnswer, EventPage
from app.cli.client.relay_client import Document, RemoteRelay, open_relay
from app.cli.errors import Misused
from app.cli.output.console import output
from app.cli.output.event_views import EventList, show_event, write_plain_line
from app.domain.entities import EventStatus

_PAGE_EVENTS: Final = 200  # as many as the relay gives at once


def events(
    event_id: Annotated[
        str | None, typer.Argument(metavar="[EVENT_ID]", help="Of one event: all there is on it.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="How many to list, newest first.")
    ] = 20,
    since: options.Since = None,
    until: options.Until = None,
    types: options.Types = None,
    entity: options.Entity = None,
    status: Annotated[
        EventStatus | None, typer.Option(help="Only those that stand there now.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: one JSON document a line.")
    ] = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """List received events and what became of them, or show one.

    Piped, it is one event a line, with tabs between received, status, type,
    entity, event id and error. Needs `events:read`. Exit code 0: found; 1:
    refused or not found; 3: no relay there.

    Examples:
      relay events --status dead --since 2h
      relay events EVENT_ID
    """
    criteria = {
        "since": since,
        "until": until,
        "types": types or None,
        "entity": entity,
        "status": status,
    }
    given = {name: value for name, value in criteria.items() if value is not None}
    if event_id is not None and given:
        raise Misused("an EVENT_ID takes no other criterion beside it")
    with open_relay(url, token, Scope.EVENTS_READ) as relay:
        if event_id is None:
            _list(relay, islice(_page(relay, given, limit), limit), as_json=as_json)
        else:
            document = relay.get_named(_name_path(event_id), "event_id", event_id)
            _show(relay, document, as_json=as_json)


def _page(relay: RemoteRelay, criteria: dict[str, Any], limit: int) -> Iterator[Document]:

    cursor: dict[str, str] = {}
    while limit > 0:
        parameters = {**criteria, **cursor, "limit": min(limit, _PAGE_EVENTS)}
        page = relay.read(relay.get("/events", parameters), EventPage)
        yield from page.events
        limit -= len(page.events)
        # A page may be short, even empty, while there is more: the cursor alone says so.
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}


def _list(relay: RemoteRelay, found: Iterator[Document], *, as_json: bool) -> None:

    if as_json:
        for document in found:
            _write_json_line(document)
        return
    answers = (relay.read(document, EventAnswer) for document in found)
    if not output.is_terminal:
        for answer in answers:
            typer.echo(write_plain_line(answer))
        return
    EventList().show(answers)


def _show(relay: RemoteRelay, document: Document, *, as_json: bool) -> None:

    if as_json:
        output.print_json(data=document)
    else:
        show_event(relay.read(document, EventAnswer))


def _write_json_line(document: Document) -> None:

    typer.echo(json.dumps(document, ensure_ascii=False))


def _name_path(event_id: str) -> str:

    # Dots too: alone between slashes they would be taken for folders.
    return f"/events/{quote(event_id, safe='').replace('.', '%2E')}"
