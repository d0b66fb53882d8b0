"""The forms of visitors without a session: a random cookie takes the place of the session's."""

import re
import secrets
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response

from app.console.cross_site import (
    CrossSiteRequest,
    Form,
    derive_csrf_token,
    read_form,
    require_csrf_token,
)
from app.console.pages import render

_COOKIE: Final = "__Host-relay-console-login"
_NONCE: Final = re.compile(r"[\w-]{43}", re.ASCII)


def render_log_in_form(
    request: Request, template: str, *, status: int = 200, **values: Any
) -> Response:
    """Make the response that shows a form which begins a session."""
    # The same one in each tab, or the form of another tab would become invalid.
    nonce = request.cookies.get(_COOKIE, "")
    if _NONCE.fullmatch(nonce) is None:
        nonce = secrets.token_urlsafe(32)
    csrf_token = derive_csrf_token(nonce)
    response = render(request, template, None, status=status, csrf_token=csrf_token, **values)
    response.set_cookie(_COOKIE, nonce, path="/", secure=True, httponly=True, samesite="strict")
    return response


async def _read_log_in_form(request: Request) -> Form:
    nonce = request.cookies.get(_COOKIE)
    if not nonce:
        raise CrossSiteRequest(
            "The browser did not send the cookie of the form. The console needs cookies, and HTTPS"
            " unless the relay runs on localhost."
        )
    form = await read_form(request)
    require_csrf_token(form, derive_csrf_token(nonce))
    return form


LogInForm = Annotated[Form, Depends(_read_log_in_form)]
