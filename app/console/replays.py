"""Replaying from the console: what would be replayed, and the progress of a replay."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import ServicesDependency
from app.api.replay import read_replay
from app.auth.claims import Scope
from app.console.event_filters import read_given, read_replay_criteria
from app.console.forms import ReplayForm
from app.console.page_route import ConsoleRoute
from app.console.pages import HEADERS, render
from app.console.session import ConsoleSession
from app.domain.history import ReplayStatus

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_PATH: Final = "/console/replays"


@router.get(_PATH + "/new")
async def confirm_replay(
    request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Count what would be replayed, and ask for confirmation."""
    session.claims.require(Scope.REPLAY_WRITE)
    given = read_given(request.query_params)
    matches = await services.replayer.count(read_replay_criteria(given))
    return render(
        request, "confirm_replay.html", session, view="dead", given=given, matches=matches
    )


@router.post(_PATH)
async def begin_replay(
    form: ReplayForm, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Begin a replay and lead to its progress."""
    replay = await services.replayer.replay(
        read_replay_criteria(read_given(form)), requested_by=session.claims.subject
    )
    return RedirectResponse(f"{_PATH}/{replay.replay_id}", 303, HEADERS)


@router.get(_PATH + "/{replay_id}")
async def show_replay(
    replay_id: str, request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Show how far a replay is."""
    session.claims.require(Scope.REPLAY_WRITE)
    report = (await read_replay(services, replay_id)).shorten()
    settled = report.applied + report.dead + report.superseded
    is_settled = report.status is ReplayStatus.FAILED or (
        report.status is ReplayStatus.COMPLETED and report.waiting == 0
    )
    return render(
        request,
        "replay.html",
        session,
        view="dead",
        replay=report,
        settled=settled,
        # Entities that changed since the replay was counted may be requeued as well.
        total=max(settled + report.waiting, report.entities),
        is_settled=is_settled,
    )
