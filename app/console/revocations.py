"""The view Revocations: how long revoked memberships still gave access."""

import asyncio
from enum import StrEnum
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from app.api.dependencies import ServicesDependency
from app.api.revocations import Exposure
from app.console.page_route import ConsoleRoute
from app.console.pages import render
from app.console.session import ConsoleSession
from app.domain.exposure import BUCKET_SECONDS, ExposureFilter, ExposureReport
from app.domain.instants import Instant, after, from_seconds
from app.domain.wording import write_duration
from app.store import revocation_queries

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_LISTED: Final = 50
# The percentiles of very many revocations take longer than an operator waits.
_MEASURE_SECONDS: Final = 10.0


class Period(StrEnum):
    """A period until now."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def seconds(self) -> float:
        """Its length."""
        return {Period.HOUR: 3600.0, Period.DAY: 86_400.0, Period.WEEK: 604_800.0}[self]


class Bar(NamedTuple):
    """A bar of the histogram.

    Attributes:
        percent: of the longest bar.
    """

    label: str
    revocations: int
    percent: float


@router.get("/console/revocations")
async def show_revocations(
    request: Request,
    session: ConsoleSession,
    services: ServicesDependency,
    period: Period = Period.DAY,
) -> Response:
    """Show the exposure of a period: percentiles, a histogram, and the longest ones."""
    now = from_seconds(services.clock())
    criteria = ExposureFilter(after(now, -period.seconds))
    exposure, bars = None, list[Bar]()
    try:
        async with asyncio.timeout(_MEASURE_SECONDS):
            report, counts = await services.store.scan(_measure, criteria, now)
        exposure, bars = Exposure.model_validate(report), _draw(counts)
    except TimeoutError:
        pass  # The page says so.
    return render(
        request,
        "revocations.html",
        session,
        view="revocations",
        period=period,
        periods=list(Period),
        exposure=exposure,
        bars=bars,
        limit_seconds=_MEASURE_SECONDS,
    )


def _measure(
    connection: Connection, criteria: ExposureFilter, now: Instant
) -> tuple[ExposureReport, list[int]]:
    return (
        revocation_queries.read_exposure(connection, criteria, now, _LISTED),
        revocation_queries.count_by_exposure(connection, criteria, now),
    )


def _draw(counts: list[int]) -> list[Bar]:
    """Draw the histogram from the first to the last bucket that is not empty."""
    labels = [f"≤ {write_duration(seconds)}" for seconds in BUCKET_SECONDS]
    labels.append(f"> {write_duration(BUCKET_SECONDS[-1])}")
    filled = [number for number, count in enumerate(counts) if count]
    if not filled:
        return []
    longest = max(counts)
    return [
        Bar(labels[number], counts[number], round(100 * counts[number] / longest, 1))
        for number in range(filled[0], filled[-1] + 1)
    ]
