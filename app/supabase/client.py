"""The PostgREST client: one pooled connection set, one request per write."""

import asyncio
from collections.abc import Callable
from typing import Final

import httpx

from app.domain.entities import Kind
from app.domain.failures import Failure, FailureKind
from app.supabase.errors import read_failure
from app.supabase.planning import Action, Write, write_filter
from app.supabase.targets import TARGETS

# Merge, so that columns we do not know keep their values; no rows back, we know what we sent.
_UPSERT_HEADERS: Final = {
    "Content-Type": "application/json",
    "Prefer": "resolution=merge-duplicates,return=minimal,missing=default",
}
_REMOVE_HEADERS: Final = {"Prefer": "return=minimal"}
_CONNECT_SECONDS: Final = 5.0
# PostgREST's errors are a few hundred bytes; what is longer is some proxy's page.
_ERROR_BYTES: Final = 65_536


def open_http_client(
    url: str,
    headers: dict[str, str],
    *,
    timeout_seconds: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Make the one HTTP client that talks to Supabase."""
    return httpx.AsyncClient(
        base_url=f"{url}/rest/v1",
        headers=headers,
        timeout=httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds)),
        limits=httpx.Limits(max_connections=4, max_keepalive_connections=4),
        follow_redirects=False,
        transport=transport,
    )


class SupabaseClient:
    """Writes to the permission tables, and reads what comes of it."""

    def __init__(self, http: httpx.AsyncClient, *, clock: Callable[[], float]) -> None:
        self._http = http
        self._clock = clock

    async def apply(self, write: Write) -> Failure | None:
        """Send one write. None means that Supabase holds it; it takes all of it or nothing."""
        target = TARGETS[write.kind]
        match write.action:
            case Action.UPSERT:
                request = self._http.build_request(
                    "POST",
                    f"/{target.table}",
                    params={
                        "on_conflict": ",".join(target.key_columns),
                        "columns": ",".join(target.columns),
                    },
                    headers=_UPSERT_HEADERS,
                    # The rows are JSON already.
                    content=f"[{','.join(e.row for e in write.entities if e.row)}]".encode(),
                )
            case Action.REMOVE:
                name, value = write_filter(write)
                request = self._http.build_request(
                    "DELETE", f"/{target.table}", params={name: value}, headers=_REMOVE_HEADERS
                )
        return await self._send(request)

    async def probe(self) -> Failure | None:
        """Read no row of every table: whether it answers, takes the key and knows our columns."""
        for kind in Kind:
            target = TARGETS[kind]
            failure = await self._send(
                self._http.build_request(
                    "GET",
                    f"/{target.table}",
                    params={"select": ",".join(target.columns), "limit": "0"},
                )
            )
            if failure is not None:
                return failure
        return None

    async def _send(self, request: httpx.Request) -> Failure | None:
        try:
            async with asyncio.timeout(self._http.timeout.read):
                response = await self._http.send(request, stream=True)
                try:
                    if response.is_success:
                        await _read_some(response)
                        return None
                    body = await _read_some(response)
                finally:
                    await response.aclose()
        except (httpx.TimeoutException, TimeoutError) as error:
            return Failure(
                FailureKind.OUTAGE, type(error).__name__, "Supabase did not answer in time"
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            return Failure(
                FailureKind.MISCONFIGURED,
                type(error).__name__,
                "Supabase redirects to what is no URL",
            )
        except httpx.HTTPError as error:
            return Failure(FailureKind.OUTAGE, type(error).__name__, "Supabase cannot be reached")
        return read_failure(response.status_code, response.headers, body, now_seconds=self._clock())


async def _read_some(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ERROR_BYTES:
            break
    return bytes(body)
