"""Whether anything answers at SUPABASE_URL, whether it is a Supabase, and what its clock says."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import httpx

# Supabase answers for a project that was paused: https://supabase.com/docs/guides/troubleshooting
_PAUSED: Final = 540


class Obstacle(StrEnum):
    """Why nothing of use came back."""

    NAME_UNKNOWN = "name-unknown"
    CERTIFICATE_REFUSED = "certificate-refused"
    TLS_FAILED = "tls-failed"
    REFUSED = "connection-refused"
    TIMED_OUT = "timed-out"
    BROKEN = "connection-broken"
    PAUSED = "project-paused"
    REDIRECTED = "redirected"
    NOT_SUPABASE = "not-supabase"
    KEY_REFUSED = "key-refused"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Reach:
    """What one request to PostgREST's root came to.

    Attributes:
        obstacle: None where PostgREST answered.
        detail: a few words of the network's, or the HTTP status.
        ahead_seconds: how far the clock there is ahead of ours; None where it was not said.
    """

    obstacle: Obstacle | None
    detail: str = ""
    ahead_seconds: float | None = None


async def reach_supabase(http: httpx.AsyncClient, *, clock: Callable[[], float]) -> Reach:
    """Ask once."""
    asked_at = clock()
    try:
        response = await http.get("/", headers={"Accept": "application/json"})
    except httpx.TimeoutException:
        return Reach(Obstacle.TIMED_OUT)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return _read_error(error)
    ahead_seconds = _read_ahead(response.headers.get("date"), asked_at, clock())
    obstacle = _read_status(response)
    return Reach(obstacle, f"HTTP {response.status_code}", ahead_seconds)


def _read_status(response: httpx.Response) -> Obstacle | None:
    is_json = "json" in response.headers.get("content-type", "")
    match response.status_code:
        case code if code == _PAUSED:
            return Obstacle.PAUSED
        case code if 300 <= code < 400:
            return Obstacle.REDIRECTED
        # A project may keep the description to itself; its tables say the rest.
        case 200 | 403 | 404 | 406 if is_json and _is_supabase(response):
            return None
        case 401 if is_json and _is_supabase(response):
            return Obstacle.KEY_REFUSED
        case code if code >= 500:
            return Obstacle.FAILING
        case _:
            return Obstacle.NOT_SUPABASE


def _is_supabase(response: httpx.Response) -> bool:
    try:
        document = response.json()
    except ValueError:
        return False
    if not isinstance(document, dict):
        return False
    # PostgREST's description; its errors; the errors of the gateway before it.
    return "swagger" in document or {"code", "message"} <= set(document) or "message" in document


def _read_error(error: Exception) -> Reach:
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return Reach(Obstacle.CERTIFICATE_REFUSED, cause.verify_message)
            case ssl.SSLError():
                return Reach(Obstacle.TLS_FAILED, cause.reason or "")
            case socket.gaierror():
                return Reach(Obstacle.NAME_UNKNOWN)
            case ConnectionRefusedError():
                return Reach(Obstacle.REFUSED)
            case _:
                pass
    return Reach(Obstacle.BROKEN, type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__


def _read_ahead(date: str | None, asked_at: float, answered_at: float) -> float | None:
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    # The header is cut off to whole seconds; anywhere between asking and answering is no skew.
    if asked_at - 1 <= moment <= answered_at + 1:
        return 0.0
    return moment - (answered_at if moment > answered_at else asked_at)
