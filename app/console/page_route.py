"""The class of the console's routes: checks the origin, and responds to errors with pages."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from app.api.problems import describe_fields, find_reason, find_status
from app.console.cross_site import CrossSiteRequest, require_same_origin
from app.console.pages import HEADERS, prepare_templates, render
from app.console.session import LogInRequired
from app.domain.errors import FieldError, InputInvalid, RelayError, TemporarilyUnavailable
from app.domain.wording import write_duration

logger = logging.getLogger(__name__)

LOG_IN_PATH: Final = "/console/login"

_SAFE_METHODS: Final = ("GET", "HEAD")
_FAILED: Final = "Internal error, which the relay's log describes."


class ConsoleRoute(APIRoute):
    """A route of the console.

    Attributes:
        limit_seconds: how long a handler may take. A view with a limit of its own has a lower one.
    """

    limit_seconds: ClassVar[float] = 30.0

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle errors around FastAPI's own handler."""
        handle = super().get_route_handler()
        path = self.path  # logged instead of the URL, which may hold a code

        async def handle_request(request: Request) -> Response:
            await prepare_templates()
            try:
                request.app.state.services.authenticator.require_operator_access()
                if request.method not in _SAFE_METHODS:
                    require_same_origin(request.headers)
                async with asyncio.timeout(self.limit_seconds):
                    return await handle(request)
            except LogInRequired:
                return _request_log_in(request)
            except CrossSiteRequest as error:
                logger.info("rejected %s: cross-site-request", path)
                return show_error(request, HTTPStatus.FORBIDDEN, str(error))
            except RequestValidationError as error:
                return _show_relay_error(request, InputInvalid(describe_fields(error.errors())))
            except RelayError as error:
                logger.info("rejected %s: %s", path, find_reason(error))
                return _show_relay_error(request, error)
            except TimeoutError:
                logger.warning("%s took longer than %.0f s", path, self.limit_seconds)
                return _show_timeout(request, self.limit_seconds)
            except Exception as error:
                logger.exception("%s failed", path)
                status, code = find_status(error)
                return show_error(request, status, _FAILED, code=code)

        return handle_request


def show_error(
    request: Request,
    status: int,
    sentence: str,
    *,
    code: str | None = None,
    fields: tuple[FieldError, ...] = (),
) -> Response:
    """Make the page of an error."""
    return render(
        request,
        "error.html",
        # Of a request that failed after its session was opened: the page keeps the navigation.
        getattr(request.state, "console_session", None),
        status=status,
        title=HTTPStatus(status).phrase,
        sentence=sentence,
        code=code,
        fields=fields,
    )


def _show_timeout(request: Request, seconds: float) -> Response:
    sentence = (
        f"The relay could not make this page within {write_duration(seconds)}: its store is slow,"
        " or the filters match very many events."
    )
    if request.method not in _SAFE_METHODS:
        sentence += " Before you send the form again, see whether it had its effect."
    return show_error(request, HTTPStatus.SERVICE_UNAVAILABLE, sentence)


def _show_relay_error(request: Request, error: RelayError) -> Response:
    status, code = find_status(error)
    fields = error.errors if isinstance(error, InputInvalid) else ()
    response = show_error(request, status, str(error), code=code, fields=fields)
    if isinstance(error, TemporarilyUnavailable):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _request_log_in(request: Request) -> Response:
    """Lead to the log-in page, and from there back to the page that was wanted."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    log_in = LOG_IN_PATH
    if request.method in _SAFE_METHODS and path != "/console":
        log_in += f"?next={quote(path)}"
    if "hx-request" in request.headers or "text/event-stream" in request.headers.get("accept", ""):
        return Response(status_code=401, headers={**HEADERS, "HX-Redirect": LOG_IN_PATH})
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        # Browsers send the cookie only from the console's own pages, not along a link to it.
        return render(request, "reload.html", None, path=path)
    return RedirectResponse(log_in, HTTPStatus.SEE_OTHER, HEADERS)
