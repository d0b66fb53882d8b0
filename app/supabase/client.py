"""The client of the functions that write to Supabase: one request, one transaction, one answer.

The wire format is public and versioned: docs/decisions/0012-one-fenced-function.md.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx

from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure
from app.supabase.errors import read_request_failure, read_row_failure
from app.supabase.planning import Operation

BUDGET_MS: Final = 3000
"""The usual time budget: after that, a request tries no further row."""

_PROTOCOL: Final = 1
_HEADERS: Final = {"Content-Type": "application/json", "Content-Profile": "public"}
_CONNECT_SECONDS: Final = 5.0
# An answer names each row that failed, at most some hundred bytes for each; what is longer is some
# proxy's page.
_ANSWER_BYTES: Final = 4 * 1024 * 1024


class RowPlace(NamedTuple):
    """One row of a request: operations and rows are counted from 0."""

    operation: int
    row: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request that was applied; rows that are not named here are in Supabase.

    Attributes:
        failures: rows that failed.
        not_tried: rows for which there was no time.
    """

    failures: Mapping[RowPlace, RowFailure]
    not_tried: frozenset[RowPlace]


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
    """Calls `relay_claim` and `relay_apply`."""

    def __init__(self, http: httpx.AsyncClient, *, clock: Callable[[], float]) -> None:
        self._http = http
        self._clock = clock

    async def claim(self) -> int | RequestFailure:
        """Invalidate every earlier request; give the epoch of those that follow."""
        document = await self._call("relay_claim", json.dumps({"protocol": _PROTOCOL}))
        if isinstance(document, RequestFailure):
            return document
        epoch = document.get("epoch")
        if document.get("protocol") != _PROTOCOL or type(epoch) is not int:
            return _unexpected_answer()
        return epoch

    async def apply(
        self, epoch: int, sequence: int, operations: Sequence[Operation], *, budget_ms: int
    ) -> Answer | RequestFailure:
        """Apply operations in one transaction; without any it only shows that Supabase answers.

        Args:
            epoch: of the latest claim.
            sequence: greater than that of every request before.
            operations: in their order.
            budget_ms: after so long no further row is tried.
        """
        request = _write_request(epoch, sequence, operations, budget_ms)
        document = await self._call("relay_apply", request)
        if isinstance(document, RequestFailure):
            return document
        try:
            return _read_answer(document, sequence, operations)
        except (KeyError, TypeError, ValueError, IndexError):
            return _unexpected_answer()

    async def _call(self, function: str, request: str) -> dict[str, Any] | RequestFailure:
        try:
            async with asyncio.timeout(self._http.timeout.read):
                response = await self._http.send(
                    self._http.build_request(
                        "POST",
                        f"/rpc/{function}",
                        headers=_HEADERS,
                        content=json.dumps({"request": request}).encode(),
                    ),
                    stream=True,
                )
                try:
                    body = await _read_some(response)
                finally:
                    await response.aclose()
        except (httpx.TimeoutException, TimeoutError) as error:
            return _unavailable(error, "Supabase did not answer in time")
        except (httpx.InvalidURL, UnicodeError) as error:
            sentence = "Supabase redirects to something that is no URL"
            return RequestFailure(RequestFailureKind.MISCONFIGURED, type(error).__name__, sentence)
        except httpx.HTTPError as error:
            return _unavailable(error, "Supabase cannot be reached")
        if not response.is_success:
            return read_request_failure(
                response.status_code, response.headers, body, now_seconds=self._clock()
            )
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return _unexpected_answer()
        return document if isinstance(document, dict) else _unexpected_answer()


def _write_request(
    epoch: int, sequence: int, operations: Sequence[Operation], budget_ms: int
) -> str:
    # Stored rows are JSON already.
    written = ",".join(
        f'{{"operation":"{operation.verb}","table":{json.dumps(operation.target.qualified_name)},'
        f'"key":{json.dumps(operation.target.key_columns)},"rows":[{",".join(operation.rows)}]}}'
        for operation in operations
    )
    return (
        f'{{"epoch":{epoch},"sequence":{sequence},"budget_ms":{budget_ms},'
        f'"operations":[{written}]}}'
    )


def _read_answer(
    document: Mapping[str, Any], sequence: int, operations: Sequence[Operation]
) -> Answer:
    if document["sequence"] != sequence:
        raise ValueError("the answer to another request")
    if not isinstance(document["failures"], list) or not isinstance(document["not_tried"], list):
        raise TypeError("rows are named in arrays")
    failures = {
        _read_place(each, operations): read_row_failure(each, operations[each["operation"]])
        for each in document["failures"]
    }
    not_tried = frozenset(_read_place(each, operations) for each in document["not_tried"])
    return Answer(failures, not_tried)


def _read_place(document: Mapping[str, Any], operations: Sequence[Operation]) -> RowPlace:
    place = RowPlace(document["operation"], document["row"])
    if not all(type(number) is int for number in place):
        raise TypeError("a number of a row")
    if min(place) < 0 or place.row >= len(operations[place.operation].rows):
        raise IndexError("there is no such row")
    return place


async def _read_some(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ANSWER_BYTES:
            break
    return bytes(body)


def _unavailable(error: Exception, sentence: str) -> RequestFailure:
    return RequestFailure(RequestFailureKind.UNAVAILABLE, type(error).__name__, sentence)


def _unexpected_answer() -> RequestFailure:
    return RequestFailure(
        RequestFailureKind.UNAVAILABLE,
        "HTTP 200",
        "the answer is not that of relay_apply: SUPABASE_URL may not be a Supabase project",
    )
