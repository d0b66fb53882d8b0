"""Refuses requests that another site makes a browser send.

Three defenses, each sufficient: SameSite cookies, the origin of the request, and a token in the
form that only the console's own pages know.
"""

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.datastructures import ImmutableMultiDict

from app.domain.errors import MediaTypeUnsupported

CSRF_FIELD: Final = "csrf"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_FIELDS_LIMIT: Final = 100

Form = ImmutableMultiDict[str, str]


class CrossSiteRequest(Exception):
    """The request was not sent by one of the console's own pages; the sentence says how."""


def require_same_origin(headers: Mapping[str, str]) -> None:
    """Check that the relay's own pages sent a request.

    Browsers send `Sec-Fetch-Site` to secure origins; else `Origin` must have the host of `Host`. As
    Go's `http.CrossOriginProtection`, but a request without either is refused.

    Raises:
        CrossSiteRequest: another site sent it, or it is unknown.
    """
    site = headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    origin = headers.get("origin")
    if site is not None or origin is None:
        raise CrossSiteRequest("The request was not sent by a page of this console.")
    host = headers.get("host")
    if not host or _read_host(origin) != host.lower():
        raise CrossSiteRequest(
            f"The request was sent by a page of another host ({origin}). A proxy before the relay"
            " must keep the header Host."
        )


def _read_host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # it is no URL
        return ""


def derive_csrf_token(secret: str) -> str:
    """Derive the field `csrf` of a form from the secret in a cookie."""
    return hmac.digest(secret.encode(), b"relay console csrf", "sha256").hex()


async def read_form(request: Request) -> Form:
    """Read the form that a request posts."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM_TYPE:
        raise MediaTypeUnsupported(f"The content type must be {_FORM_TYPE}.")
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_LIMIT))
    except ValueError as error:
        raise CrossSiteRequest("The form has too many fields.") from error


def require_csrf_token(form: Form, expected: str) -> None:
    """Check the field `csrf` of a form.

    Raises:
        CrossSiteRequest: it is missing or wrong.
    """
    if not hmac.compare_digest(form.get(CSRF_FIELD, "").encode(), expected.encode()):
        raise CrossSiteRequest(
            "The form does not belong to this session. Go back, reload the page and send it again."
        )
