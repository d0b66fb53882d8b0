"""`relay events`: list received events, or show one."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.api_models import EventAnswer, EventPage
from app.cli.client.relay_client import Document, RelayClient, open_relay
from app.cli.errors import UsageError
from app.cli.output.console import output, print_list
from app.cli.output.event_views import list_event, show_event
from app.domain.entities import EventStatus

_PAGE_EVENTS: Final = 200  # the most that the relay returns at once


def events(
    event_id: Annotated[
        str | None, typer.Argument(metavar="[EVENT_ID]", help="Show everything about this event.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="List at most N, newest first.")
    ] = 20,
    since: options.Since = None,
    until: options.Until = None,
    types: options.Types = None,
    entity: options.Entity = None,
    status: Annotated[
        EventStatus | None, typer.Option(help="Only events that have this status now.")
    ] = None,
    error_code: options.ErrorCode = None,
    error: options.Error = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document a line.")
    ] = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """List received events and what became of them, or show one.

    Into a pipe, each event is one line of received, status, type, entity, event
    id and error, separated by tabs. Needs the scope events:read.

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
        "error_code": error_code,
        "error": error,
    }
    given = {name: value for name, value in criteria.items() if value is not None}
    if event_id is not None and given:
        raise UsageError("EVENT_ID goes without other criteria")
    with open_relay(url, token, Scope.EVENTS_READ) as relay:
        if event_id is None:
            print_list(
                islice(_page(relay, given, limit), limit),
                lambda document: list_event(relay.read(document, EventAnswer)),
                as_json=as_json,
                if_empty="No event matches.",
            )
            return
        document = relay.get_named("/events", "event_id", event_id)
        if as_json:
            output.print_json(data=document)
        else:
            show_event(relay.read(document, EventAnswer))


def _page(relay: RelayClient, criteria: dict[str, Any], limit: int) -> Iterator[Document]:
    cursor: dict[str, str] = {}
    while limit > 0:
        parameters = {**criteria, **cursor, "limit": min(limit, _PAGE_EVENTS)}
        page = relay.read(relay.get("/events", parameters), EventPage)
        yield from page.events
        limit -= len(page.events)
        # A page may be short, even empty, before the last one: only the cursor tells.
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}
