"""The view Now: what `relay status` shows."""

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response

from app.api.dependencies import ServicesDependency
from app.api.health import HealthBody, make_health_body
from app.api.services import Services
from app.api.status import StatusBody, make_status_body
from app.console.live import LiveFragment
from app.console.page_route import ConsoleRoute
from app.console.pages import render, render_fragment
from app.console.session import ConsoleSession
from app.domain import status_text
from app.domain.errors import StoreUnavailable
from app.domain.instants import from_seconds, to_datetime
from app.domain.status_text import Sentence, Tone

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

# As long as the health takes at most.
_STATUS_SECONDS: Final = 5.0


class Fact(NamedTuple):
    """A line of the overview."""

    label: str
    sentence: Sentence


class Overview(NamedTuple):
    """What the view shows.

    Attributes:
        status: None while the store cannot be read in time.
        problems: why the relay is not ok.
        other_dead: dead entities of other causes than the listed ones.
    """

    health: HealthBody
    status: StatusBody | None
    problems: list[Fact]
    facts: list[Fact]
    other_dead: int


@router.get("/console")
async def show_now(
    request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Show the state of the relay."""
    overview = await read_overview(services)
    return render(request, "now.html", session, view="now", overview=overview)


@router.get("/console/now/stream")
async def stream_now(
    request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Send the overview again whenever it has changed, as server-sent events."""
    live: LiveFragment = request.app.state.live_overview
    return live.respond(lambda: not session.claims.is_expired(services.clock()))


def make_live_overview(app: FastAPI) -> LiveFragment:
    """Make the overview that all streams share."""

    async def compute() -> str:
        services: Services = app.state.services
        overview = await read_overview(services)
        now = to_datetime(from_seconds(services.clock()))
        return render_fragment("overview.html", now, overview=overview)

    return LiveFragment(compute)


async def read_overview(services: Services, *, limit_seconds: float = _STATUS_SECONDS) -> Overview:
    """Read the state of the relay; the health alone if the store cannot be read in time."""
    report, status = await asyncio.gather(
        services.health.report(), _read_status(services, limit_seconds)
    )
    health = make_health_body(report)
    dead = health.backlog.dead or 0
    shown = 0 if status is None else sum(cause.entities for cause in status.dead)
    return Overview(
        health,
        status,
        problems=list(_list_problems(health)),
        facts=list(_list_facts(health, status)),
        other_dead=max(0, dead - shown),
    )


async def _read_status(services: Services, limit_seconds: float) -> StatusBody | None:
    try:
        async with asyncio.timeout(limit_seconds):
            return make_status_body(await services.status.report())
    except (StoreUnavailable, TimeoutError):
        return None


def _list_problems(health: HealthBody) -> Iterator[Fact]:
    for name, check in health.checks:
        if check.status != "ok":
            tone = Tone.BAD if check.status == "down" else Tone.WARNING
            yield Fact(name.capitalize(), Sentence(check.reason or check.status, tone))


def _list_facts(health: HealthBody, status: StatusBody | None) -> Iterator[Fact]:
    yield Fact("Backlog", status_text.describe_backlog(**health.backlog.model_dump()))
    if status is not None:
        yield Fact("Revocations", _describe_revocations(status))
        yield Fact(
            "Circuit breaker", status_text.describe_breaker(status.circuit_breaker, status.at)
        )
        for held in status.held_rows:
            trial_at, is_delete = held.next_trial_at, held.is_delete
            yield Fact(
                "Held",
                status_text.describe_held(held.kind, trial_at, status.at, is_delete=is_delete),
            )
        yield Fact("Leader", status_text.describe_leader(status.leader, status.replica))
    drift = health.drift.model_dump(exclude={"plan_id"})
    yield Fact("Drift", status_text.describe_drift(**drift))


def _describe_revocations(status: StatusBody) -> Sentence:
    if status.revocations is None:
        return Sentence("too many in the last hour to measure here", Tone.WARNING)
    return status_text.describe_exposure(status.revocations)
