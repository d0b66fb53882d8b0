"""The HTTP API: every router, the endpoints in front of them, and the document."""

from fastapi import FastAPI
from starlette.types import Lifespan

from app.api import (
    console_links,
    documentation,
    entities,
    events,
    health,
    metrics,
    reconcile,
    replay,
    revocations,
    status,
    webhook_docs,
)
from app.api.application import Application
from app.api.openapi import describe_api
from app.api.problems import register_handlers
from app.api.request_body import BATCH_BYTES, REPLAY_BYTES
from app.api.webhooks import BATCH_PATH, EVENT_PATH, BatchEndpoint, EventEndpoint


def create_api(lifespan: Lifespan[FastAPI] | None = None) -> Application:
    """Make the HTTP API; without a lifespan, only for its OpenAPI document."""
    single = EventEndpoint()
    app = Application(
        bypass_endpoints={EVENT_PATH: single, BATCH_PATH: BatchEndpoint()},
        fast_path=(EVENT_PATH, single.try_fast_path),
        body_limits={BATCH_PATH: BATCH_BYTES, replay.PATH: REPLAY_BYTES},
        title="NomadCrew Supabase relay",
        version=health.VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
    )
    register_handlers(app)
    for module in (
        webhook_docs,
        health,
        status,
        metrics,
        entities,
        events,
        revocations,
        replay,
        reconcile,
        console_links,
        documentation,
    ):
        app.include_router(module.router)
    describe_api(app)
    app.state.documentation = documentation.Documentation(app)
    return app
