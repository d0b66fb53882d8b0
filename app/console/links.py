"""One-time links, which `relay console` prints."""

from typing import Final

from fastapi import APIRouter, Request, Response

from app.api.console_links import PATH
from app.api.dependencies import ServicesDependency
from app.api.services import Services
from app.auth.link_codes import digest_code, open_token
from app.console.log_in_forms import LogInForm, render_log_in_form
from app.console.login import HOME, log_in_with
from app.console.page_route import ConsoleRoute
from app.console.session import TokenRejected
from app.domain.instants import from_seconds
from app.store import console_links

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_OPEN_PATH: Final = "/console/login/link"
_USED: Final = "This link has expired or was opened before. Run `relay console` again."


@router.get(PATH + "/{code}")
async def show_link(request: Request, code: str) -> Response:
    """Show a button: programs that preview links must not use it up."""
    return render_log_in_form(request, "link.html", code=code, problem=None)


@router.post(_OPEN_PATH)
async def open_link(form: LogInForm, request: Request, services: ServicesDependency) -> Response:
    """Begin a session with the token that the link was created with."""
    try:
        return await log_in_with(services, await _take_token(services, form.get("code", "")), HOME)
    except TokenRejected as error:
        return render_log_in_form(
            request, "link.html", status=error.status, code=None, problem=str(error)
        )


async def _take_token(services: Services, code: str) -> str:
    now = from_seconds(services.clock())
    content = await services.store.write(console_links.take_link, digest_code(code), now)
    if content is None:
        raise TokenRejected(410, _USED)
    return open_token(code, content)
