"""The PostgREST client: one pooled connection set, one request per write."""

import asyncio
import json
from collections.abc import Callable
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

    async def apply(self, write: Write) -> Failure | None:
        """Send one write. None means that Supabase holds it; it takes all of it or nothing."""
        match write.action:
            case Action.UPSERT:
                return await self._upsert(write)
            case Action.UPDATE:
                return await self._update(write)
            case Action.REMOVE:
                return await self._remove(write)

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

    async def _upsert(self, write: Write) -> Failure | None:
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

    async def _update(self, write: Write) -> Failure | None:
        target = write.target
        name, value = write_filter(write)
        rows = [write_target_row(write, entity.row) for entity in write.entities if entity.row]
        body, failure = await self._send(
            target,
            "PATCH",
            {name: value, "select": ",".join(target.key_columns)},
            _UPDATE_HEADERS | _name_schema("Content-Profile", target),
            rows[0].encode(),
        )
        if failure is not None:
            return failure
        return _read_update(write, body)

    async def _remove(self, write: Write) -> Failure | None:
        name, value = write_filter(write)
        _, failure = await self._send(
            write.target,
            "DELETE",
            {name: value},
            _REMOVE_HEADERS | _name_schema("Content-Profile", write.target),
        )
        return failure

    async def _send(
        self,
        target: Target,
        method: str,
        params: dict[str, str],
        headers: dict[str, str],
        content: bytes | None = None,
    ) -> tuple[bytes, Failure | None]:
        request = self._http.build_request(
            method, f"/{target.table}", params=params, headers=headers, content=content
        )
        return await self._ask(target, request)

    async def _ask(self, target: Target, request: httpx.Request) -> tuple[bytes, Failure | None]:
        """Give the beginning of what a success says, and what went wrong otherwise."""
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
