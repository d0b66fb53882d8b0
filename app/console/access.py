"""The view Who can read?: what is known of one user's access to one trip."""

from dataclasses import fields
from typing import NamedTuple
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from app.api.dependencies import ServicesDependency
from app.api.events import EventBody, EventQuery, read_events
from app.api.request_body import read_model
from app.api.services import Services
from app.console.event_filters import read_given
from app.console.page_route import ConsoleRoute
from app.console.pages import render
from app.console.session import ConsoleSession
from app.doctor.access import Access, Desired

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


class Question(BaseModel):
    """A user and a trip."""

    model_config = ConfigDict(extra="forbid")

    user: UUID
    trip: UUID


class Answer(NamedTuple):
    """What is known.

    Attributes:
        event: the latest event of the membership; None if the relay received none, or purged it.
    """

    access: Access
    event: EventBody | None


@router.get("/console/access")
async def show_access(
    request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Show the form, and what is known if it is filled in."""
    given = read_given(request.query_params)
    answer = await _answer(services, given) if given else None
    return render(request, "access.html", session, view="access", given=given, answer=answer)


async def _answer(services: Services, given: dict[str, str]) -> Answer:
    question = read_model(Question, given)
    user_id, trip_id = str(question.user), str(question.trip)
    query = EventQuery.model_validate({"entity": f"membership/{trip_id}/{user_id}", "limit": 1})
    events = (await read_events(services, query)).events
    event = events[0] if events else None
    access = await services.access.explain(user_id, trip_id, _read_desired(event))
    return Answer(access, event)


def _read_desired(event: EventBody | None) -> Desired:
    if event is None:
        return Desired()
    names = {field.name for field in fields(Desired)}
    entity = event.entity.model_dump(mode="json", include=names)
    return Desired(event.event_id, event.type, **entity)
