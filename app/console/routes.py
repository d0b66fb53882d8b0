"""Adds the console to the application."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.application import Application
from app.console import (
    access,
    dead,
    drift,
    events,
    links,
    login,
    now,
    replays,
    revocations,
    static_files,
)
from app.console.page_route import ConsoleRoute, show_error

_fallback = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


@_fallback.get("/console/{path:path}")
async def show_not_found(request: Request) -> Response:
    """Respond to a path that no view has."""
    if request.url.path == f"{login.HOME}/":
        return RedirectResponse(login.HOME)
    return show_error(request, 404, "The console has no such page.")


def with_console(app: Application) -> Application:
    """Add the console to an API."""
    app.state.live_overview = now.make_live_overview(app)
    views = (now, revocations, dead, replays, events, access, drift)
    for module in (static_files, login, links, *views):
        app.include_router(module.router)
    app.include_router(_fallback)
    return app
