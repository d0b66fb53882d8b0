"""Check that SUPABASE_URL is a Supabase project that accepts the key, and compare the clocks."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from app.doctor.findings import Finding, Fix, command, ok, problem, setting
from app.doctor.project import Project

# The leeway that verifiers grant tokens; a webhook's timestamp may be further off.
_LEEWAY_SECONDS: Final = 30.0
# Supabase's status for a paused project: https://supabase.com/docs/guides/troubleshooting
_PAUSED: Final = 540
_URL: Final = setting("SUPABASE_URL=https://YOUR-PROJECT.supabase.co")
_WAITS: Final = "The relay accepts events, but writes none until Supabase is reachable."


async def check_connectivity(
    project: Project, *, clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Send one request to PostgREST's root.

    Returns:
        The finding about SUPABASE_URL; then one about the clock, if Supabase sent its time.
    """
    sent_at = clock()
    try:
        response = await project.http.get(
            "/", headers={**project.relay_headers, "Accept": "application/json"}
        )
    except httpx.TimeoutException:
        what = "SUPABASE_URL does not respond in time."
        return [_unusable(what, "A firewall blocks it, or the project is overloaded.")]
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return [_explain_error(error)]
    findings = [_evaluate_response(response)]
    with suppress(KeyError, ValueError, OverflowError):
        findings.append(_evaluate_clock(_read_ahead(response, sent_at, clock())))
    return findings


def _unusable(what: str, why: str = "", fix: Fix = _URL) -> Finding:
    return problem("supabase", what, f"{why} {_WAITS}".strip(), fix)


def _explain_error(error: Exception) -> Finding:
    # httpx and asyncio wrap the error of the operating system or of TLS.
    *_, cause = error, *(each for each in _list_causes(error) if isinstance(each, OSError))
    return _unusable(
        f"The connection to SUPABASE_URL fails: {type(cause).__name__}, {cause}.",
        "If your own authority issued the certificate, set SSL_CERT_FILE to the authority's.",
    )


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _list_causes(inner)
        error = error.__cause__ or error.__context__


def _evaluate_response(response: httpx.Response) -> Finding:
    status = response.status_code
    is_supabase = _is_supabase(response)
    # A project may hide its description; a check of its tables shows the rest.
    if status in (200, 403, 404, 406) and is_supabase:
        return ok("supabase", "SUPABASE_URL is a Supabase project and accepts the relay's key.")
    if status == 401 and is_supabase:
        return _unusable(
            "Supabase rejected the relay's API key.",
            "The key belongs to another project, or was revoked.",
            setting("SUPABASE_SECRET_KEY=sb_secret_…"),
        )
    if status == _PAUSED:
        return _unusable(
            "The Supabase project is paused.",
            "Supabase pauses inactive projects; the dashboard restores them.",
            command("open https://supabase.com/dashboard/projects"),
        )
    if status >= 500:
        what = f"Supabase responds with an error (HTTP {status})."
        return _unusable(what, fix=command("relay doctor"))
    return _unusable(
        f"SUPABASE_URL is not a Supabase project (HTTP {status}).",
        "It must be the project's URL, not the dashboard's or your app's.",
    )


def _is_supabase(response: httpx.Response) -> bool:
    if "json" not in response.headers.get("content-type", ""):
        return False
    try:
        document = response.json()
    except ValueError:
        return False
    # PostgREST's description, or an error of PostgREST or of the gateway before it.
    return isinstance(document, dict) and ("swagger" in document or "message" in document)


def _evaluate_clock(ahead_seconds: float) -> Finding:
    check, seconds = "clock", abs(ahead_seconds)
    if seconds < 2:
        return ok(check, "This machine's clock agrees with Supabase's.")
    direction = "behind" if ahead_seconds > 0 else "ahead of"
    what = f"This machine's clock is {seconds:.0f} s {direction} Supabase's."
    if seconds <= _LEEWAY_SECONDS:
        return ok(check, what)
    why = "Tokens tolerate 30 s and webhooks 300 s. The relay rejects events from the future."
    return problem(check, what, why, command("timedatectl set-ntp true"))


def _read_ahead(response: httpx.Response, sent_at: float, received_at: float) -> float:
    """Read how far Supabase's clock is ahead of this machine's.

    Raises:
        KeyError, ValueError, OverflowError: the response has no time.
    """
    moment = parsedate_to_datetime(response.headers["date"]).timestamp()
    return max(moment - received_at, 0.0) or min(moment - sent_at, 0.0)
