"""`POST /console/links`: a link that opens the console once, for `relay console`."""

from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.dependencies import EventAccess, ServicesDependency
from app.api.problems import OPERATOR_ERRORS, describe_problems
from app.api.request_body import read_headers
from app.auth.authentication import read_bearer
from app.auth.link_codes import make_code, seal_token
from app.domain.instants import after, from_seconds, to_datetime
from app.store import console_links

router = APIRouter(tags=["console"], responses=describe_problems(*OPERATOR_ERRORS))

PATH: Final = "/console/links"
VALID_SECONDS: Final = 60.0


class ConsoleLink(BaseModel):
    """A link that opens the console once."""

    path: str = Field(description="To open in a browser, at the relay's URL. A secret until then.")
    expires_at: datetime = Field(description="Until then it can be opened.")


@router.post(
    PATH, operation_id="createConsoleLink", summary="Create a link to the console", status_code=201
)
async def create_console_link(
    _: EventAccess, request: Request, services: ServicesDependency, response: Response
) -> ConsoleLink:
    """Create a link that begins a session at `/console` with the token of this request.

    It works once, and for a minute. The session ends when the token expires. Needs `events:read`.
    """
    token = read_bearer(read_headers(request.scope).get(b"authorization"))
    code = make_code()
    now = from_seconds(services.clock())
    expires_at = after(now, VALID_SECONDS)
    digest, content = seal_token(code, token)
    await services.store.write(console_links.add_link, digest, content, expires_at, now)
    response.headers["Cache-Control"] = "no-store"
    return ConsoleLink(path=f"{PATH}/{code}", expires_at=to_datetime(expires_at))
