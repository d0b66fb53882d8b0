"""The view Events: received events by the API's filters, and one event with its timeline."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import ServicesDependency
from app.api.events import EventBody, read_event, read_events
from app.api.filters import TYPE_PATTERNS
from app.console.event_filters import EVENT_ID, read_given, read_query
from app.console.page_route import ConsoleRoute
from app.console.pages import HEADERS, render
from app.console.session import ConsoleSession
from app.domain.cause_guide import CauseGuide, find_cause_guide
from app.domain.entities import EntityKey, EventStatus, Kind, split_membership_key
from app.domain.event_text import explain_event
from app.domain.status_text import Tone
from app.domain.wording import count, write_duration

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_PATH = "/console/events"


class Step(NamedTuple):
    """A step of an event's timeline; the moment is None if it is unknown."""

    label: str
    moment: datetime | None
    detail: str = ""
    tone: Tone = Tone.NEUTRAL


@router.get(_PATH)
async def show_events(
    request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """List events, newest first."""
    given = read_given(request.query_params)
    if EVENT_ID in given:
        return RedirectResponse(f"{_PATH}/{quote(given[EVENT_ID])}", 303, HEADERS)
    page = await read_events(services, read_query(given))
    filters = {name: value for name, value in given.items() if name not in ("cursor", "limit")}
    return render(
        request,
        "events.html",
        session,
        view="events",
        page=page,
        given=given,
        filters=filters,
        patterns=list(TYPE_PATTERNS),
        statuses=list(EventStatus),
        is_replayable=bool(filters) and filters.get("status") != EventStatus.SUPERSEDED,
    )


@router.get(_PATH + "/{event_id:path}")
async def show_event(
    event_id: str, request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Show one event, its timeline and its entity."""
    event = await read_event(services, event_id)
    entity = event.entity
    member = None
    if entity.kind is Kind.MEMBERSHIP:
        trip_id, user_id = split_membership_key(EntityKey(entity.key))
        member = {"user": user_id, "trip": trip_id}
    return render(
        request,
        "event.html",
        session,
        view="events",
        event=event,
        sentence=explain_event(event.status, entity.kind, entity.state, entity.last_error_code),
        guide=_find_guide(event),
        steps=list(_list_steps(event)),
        member=member,
    )


def _find_guide(event: EventBody) -> CauseGuide | None:
    if event.status is not EventStatus.DEAD:
        return None
    return find_cause_guide(event.entity.last_error_code or "", event.entity.last_error or "")


def _list_steps(event: EventBody) -> Iterator[Step]:
    entity = event.entity
    yield Step("Happened at the source", event.timestamp)
    delay_seconds = (event.received_at - event.timestamp).total_seconds()
    # Two clocks differ by less than a second: a shorter delay says nothing.
    delay = f"{write_duration(delay_seconds)} later" if delay_seconds >= 1 else ""
    yield Step("Received by the relay", event.received_at, delay)
    if event.status is EventStatus.SUPERSEDED:
        yield Step("Superseded", None, f"by the version of {_write(entity.desired_version_at)}")
        return
    error = ": ".join(part for part in (entity.last_error_code, entity.last_error) if part)
    is_dead = event.status is EventStatus.DEAD
    if entity.attempts or error:
        tone = Tone.BAD if is_dead else Tone.WARNING
        attempts = f"Failed {count(entity.attempts, 'time')}" if entity.attempts else "Failed"
        yield Step(attempts, None, error, tone)
    match event.status:
        case EventStatus.APPLIED:
            yield Step("Applied to Supabase", entity.applied_at, "", Tone.GOOD)
        case EventStatus.PENDING if entity.next_attempt_at is None:
            yield Step("Waits", None, "no replica dispatches", Tone.WARNING)
        case EventStatus.PENDING:
            yield Step("Next attempt", entity.next_attempt_at)
        case EventStatus.DEAD:
            yield Step("Dead", None, "not retried until it is replayed", Tone.BAD)


def _write(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
