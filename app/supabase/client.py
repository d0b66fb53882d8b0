"""The PostgREST client: one pooled connection set, one request per write."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx

from app.domain.entities import Kind
from app.domain.failures import Failure, FailureKind
from app.supabase.errors import NOT_NULL_VIOLATION, read_failure
from app.supabase.planning import Action, Write, write_filter
from app.supabase.rows import write_target_row
from app.supabase.targets import MINIMAL_TARGETS, Target, Targets

# Merge, so that columns we do not know keep their values; no rows back, we know what we sent.
_UPSERT_HEADERS: Final = {
    "Content-Type": "application/json",
    "Prefer": "resolution=merge-duplicates,return=minimal,missing=default",
}
# The rows back, cut down to their keys: whether there was one.
_UPDATE_HEADERS: Final = {"Content-Type": "application/json", "Prefer": "return=representation"}
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

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float],
        targets: Targets = MINIMAL_TARGETS,
    ) -> None:
        self._http = http
        self._targets = targets
        self._clock = clock
        self._upserts: dict[tuple[Kind, tuple[str, ...]], httpx.Request] = {}

    async def apply(
        self, write: Write, on_sent: Callable[[], None] | None = None
    ) -> Failure | None:
        """Send one write. None means that Supabase holds it; it takes all of it or nothing.

        Args:
            write: what to send.
            on_sent: called when all of the request has been sent, if it comes to that.
        """
        match write.action:
            case Action.UPSERT:
                return await self._upsert(write, on_sent)
            case Action.UPDATE:
                return await self._update(write, on_sent)
            case Action.REMOVE:
                return await self._remove(write, on_sent)

    async def probe(self) -> Failure | None:
        """Read no row of every table: whether it answers, takes the key and knows our columns."""
        for kind in Kind:
            target = self._targets[kind]
            params = {"select": ",".join(target.written_columns), "limit": "0"}
            _, failure = await self._send(
                target, "GET", params, _name_schema("Accept-Profile", target)
            )
            if failure is not None:
                return failure
        return None

    async def _upsert(self, write: Write, on_sent: Callable[[], None] | None) -> Failure | None:
        # Stored rows are JSON already.
        rows = (write_target_row(write, entity.row) for entity in write.entities if entity.row)
        request = self._begin_upsert(write)
        _, failure = await self._ask(
            write.target,
            httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=f"[{','.join(rows)}]".encode(),
                extensions=request.extensions,
            ),
            on_sent,
        )
        return failure

    def _begin_upsert(self, write: Write) -> httpx.Request:
        """Give the request of such an upsert without its rows; but for these all are alike.

        To put together URL and headers took a sixth of the time that a small request takes.
        """
        key = (write.kind, write.extra)
        if key not in self._upserts:
            target = write.target
            request = self._http.build_request(
                "POST",
                f"/{target.table}",
                params={
                    "on_conflict": ",".join(target.key_columns),
                    "columns": ",".join(target.list_columns(write.extra)),
                },
                headers=_UPSERT_HEADERS | _name_schema("Content-Profile", target),
            )
            # That of no rows.
            del request.headers["Content-Length"]
            self._upserts[key] = request
        return self._upserts[key]

    async def _update(self, write: Write, on_sent: Callable[[], None] | None) -> Failure | None:
        target = write.target
        name, value = write_filter(write)
        rows = [write_target_row(write, entity.row) for entity in write.entities if entity.row]
        body, failure = await self._send(
            target,
            "PATCH",
            {name: value, "select": ",".join(target.key_columns)},
            _UPDATE_HEADERS | _name_schema("Content-Profile", target),
            rows[0].encode(),
            on_sent=on_sent,
        )
        if failure is not None:
            return failure
        return _read_update(write, body)

    async def _remove(self, write: Write, on_sent: Callable[[], None] | None) -> Failure | None:
        name, value = write_filter(write)
        _, failure = await self._send(
            write.target,
            "DELETE",
            {name: value},
            _REMOVE_HEADERS | _name_schema("Content-Profile", write.target),
            on_sent=on_sent,
        )
        return failure

    async def _send(
        self,
        target: Target,
        method: str,
        params: dict[str, str],
        headers: dict[str, str],
        content: bytes | None = None,
        *,
        on_sent: Callable[[], None] | None = None,
    ) -> tuple[bytes, Failure | None]:
        request = self._http.build_request(
            method, f"/{target.table}", params=params, headers=headers, content=content
        )
        return await self._ask(target, request, on_sent)

    async def _ask(
        self, target: Target, request: httpx.Request, on_sent: Callable[[], None] | None
    ) -> tuple[bytes, Failure | None]:
        """Give the beginning of what a success says, and what went wrong otherwise."""
        if on_sent is not None:
            request = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                stream=_Watched(request.content, on_sent),
                extensions=request.extensions,
            )
        try:
            async with asyncio.timeout(self._http.timeout.read):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _read_some(response)
                    if response.is_success:
                        return body, None
                finally:
                    await response.aclose()
        except (httpx.TimeoutException, TimeoutError) as error:
            sentence = "Supabase did not answer in time"
            return b"", Failure(FailureKind.OUTAGE, type(error).__name__, sentence)
        except (httpx.InvalidURL, UnicodeError) as error:
            sentence = "Supabase redirects to what is no URL"
            return b"", Failure(FailureKind.MISCONFIGURED, type(error).__name__, sentence)
        except httpx.HTTPError as error:
            sentence = "Supabase cannot be reached"
            return b"", Failure(FailureKind.OUTAGE, type(error).__name__, sentence)
        return b"", read_failure(
            response.status_code,
            response.headers,
            body,
            now_seconds=self._clock(),
            fields=target.fields,
        )


class _Watched(httpx.AsyncByteStream):
    """A body that tells when it has been sent."""

    def __init__(self, content: bytes, on_sent: Callable[[], None]) -> None:
        self._content = content
        self._on_sent = on_sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content
        # Whoever asks for more has sent what was there.
        self._on_sent()


def _name_schema(header: str, target: Target) -> dict[str, str]:
    return {} if target.schema is None else {header: target.schema}


def _read_update(write: Write, body: bytes) -> Failure | None:
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        # Not PostgREST: no row is to blame.
        sentence = "Supabase does not say whether a row was updated"
        return Failure(FailureKind.MISCONFIGURED, "HTTP 200", sentence)
    if rows:
        return None
    columns = ", ".join(write.target.extra[name] for name in write.missing)
    return Failure(
        FailureKind.REFUSED,
        NOT_NULL_VIOLATION,
        f"{write.target.table} has no such row to update, and for a new one the event lacks"
        f" {columns}",
    )


async def _read_some(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ERROR_BYTES:
            break
    return bytes(body)
