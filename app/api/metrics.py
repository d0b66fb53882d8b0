"""`GET /metrics`: for Prometheus."""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api.dependencies import ServicesDependency
from app.api.services import Services
from app.relay.health import Health, HealthStatus

router = APIRouter(tags=["health"])

_GAUGE_VALUES = {HealthStatus.OK: 1.0, HealthStatus.DEGRADED: 0.5, HealthStatus.DOWN: 0.0}


class MetricsResponse(Response):
    """Source: https://prometheus.io/docs/instrumenting/exposition_formats/."""

    media_type = "text/plain"


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Get Prometheus metrics",
    response_class=MetricsResponse,
)
async def get_metrics(services: ServicesDependency) -> Response:
    """Counters, durations, the backlog and its age; revocations have metrics of their own.

    Responds as well while the store or Supabase is down.
    """
    measurements = services.measurements
    health, size = await asyncio.gather(services.health.report(), services.store_size.read())
    _show_health(services, health)
    measurements.show_store_size(size)
    measurements.leader.set(services.leader.is_leader())
    measurements.breaker_open.set(services.leader.is_breaker_open())
    measurements.in_flight.set(services.in_flight.used)
    measurements.maximum_in_flight.set(services.in_flight.limit)
    measurements.waiting.set(services.waits.used)
    return Response(generate_latest(measurements.registry), media_type=CONTENT_TYPE_LATEST)


def _show_health(services: Services, health: Health) -> None:
    measurements = services.measurements
    measurements.health.set(_GAUGE_VALUES[health.status])
    measurements.oldest_pending.set(health.oldest_pending_seconds)
    measurements.oldest_removal.set(health.oldest_removal_seconds)
    if health.backlog is not None:
        measurements.pending.set(health.backlog.pending)
        measurements.dead.set(health.backlog.dead)
    if health.closures is not None:
        measurements.pending_accounts.set(health.closures.pending)
    if health.drift is not None:
        measurements.show_drift(health.drift)
