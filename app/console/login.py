"""Logging in by pasting a token, and logging out."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import ServicesDependency
from app.api.services import Services
from app.console.forms import SessionForm
from app.console.log_in_forms import LogInForm, render_log_in_form
from app.console.page_route import LOG_IN_PATH, ConsoleRoute
from app.console.pages import HEADERS
from app.console.session import TokenRejected, begin_session, check_token, end_session

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

HOME: Final = "/console"
# Only the console's own pages: a redirect must not lead to another site.
_LOCAL_PATH: Final = re.compile(r"/console(?:[/?][\x21-\x5b\x5d-\x7e]*)?")


@router.get(LOG_IN_PATH)
async def show_log_in(
    request: Request, wanted: Annotated[str, Query(alias="next")] = HOME
) -> Response:
    """Show the form."""
    return render_log_in_form(request, "login.html", wanted=wanted, problem=None)


@router.post(LOG_IN_PATH)
async def log_in(form: LogInForm, request: Request, services: ServicesDependency) -> Response:
    """Begin a session with the token of the form."""
    token = form.get("token", "").strip().removeprefix("Bearer ").strip()
    wanted = form.get("next", HOME)
    try:
        return await log_in_with(services, token, wanted)
    except TokenRejected as error:
        return render_log_in_form(
            request, "login.html", status=error.status, wanted=wanted, problem=str(error)
        )


async def log_in_with(services: Services, token: str, wanted: str) -> Response:
    """Begin a session, and lead to the wanted page.

    Raises:
        TokenRejected: the token opens no session.
    """
    claims = await check_token(services.authenticator, token)
    place = wanted if _LOCAL_PATH.fullmatch(wanted) else HOME
    response = RedirectResponse(place, 303, HEADERS)
    begin_session(response, token, claims, services.clock())
    return response


@router.post("/console/logout")
async def log_out(_: SessionForm) -> Response:
    """End the session. The token itself stays valid until it expires."""
    response = RedirectResponse(LOG_IN_PATH, 303, HEADERS)
    end_session(response)
    return response
