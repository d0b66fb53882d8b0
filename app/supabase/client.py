"""Calls the functions of the relay in Supabase: each request is one transaction.

The wire format is public and versioned: docs/decisions/0012-one-fenced-function.md.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx

from app.domain.documents import write_row
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure
from app.supabase.errors import describe_no_response, read_request_failure, read_row_failure
from app.supabase.exchange import Exchange, ObserveExchange, ignore
from app.supabase.planning import Operation

BUDGET_MS: Final = 3000
"""The usual time budget: after that, a request tries no further row."""

_PROTOCOL: Final = 1
_HEADERS: Final = {"Content-Type": "application/json", "Content-Profile": "public"}
_CONNECT_SECONDS: Final = 5.0
# A response has a few hundred bytes for each failed row; a longer one is the page of a proxy.
_RESPONSE_BYTES: Final = 4 * 1024 * 1024


class RowPosition(NamedTuple):
    """The position of a row in a request; operations and rows are counted from 0."""

    operation: int
    row: int


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The result of an applied request; rows that are not listed here are in Supabase.

    Attributes:
        not_tried: rows that the time budget did not allow.
    """

    failures: Mapping[RowPosition, RowFailure]
    not_tried: frozenset[RowPosition]


def open_http_client(
    url: str,
    headers: dict[str, str],
    *,
    timeout_seconds: float,
    transport: httpx.AsyncBaseTransport | None = None,
    service: str = "rest",
) -> httpx.AsyncClient:
    """Open the HTTP client for one of Supabase's services: rest or auth."""
    return httpx.AsyncClient(
        base_url=f"{url}/{service}/v1",
        headers=headers,
        timeout=httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds)),
        limits=httpx.Limits(max_connections=4, max_keepalive_connections=4),
        follow_redirects=False,
        transport=transport,
    )


class SupabaseClient:
    """Calls `relay_claim` and `relay_apply`.

    Args:
        clock: Unix seconds.
        monotonic: seconds of a clock that never steps.
        observe: receives each exchange; requests that are cancelled have none.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        observe: ObserveExchange = ignore,
    ) -> None:
        self._http = http
        self._clock = clock
        self._monotonic = monotonic
        self._observe = observe

    async def claim(self) -> int | RequestFailure:
        """Claim the fence: return the epoch of later requests; earlier ones become stale."""
        document = await self._call("relay_claim", json.dumps({"protocol": _PROTOCOL}))
        if isinstance(document, RequestFailure):
            return document
        epoch = document.get("epoch")
        if document.get("protocol") != _PROTOCOL or type(epoch) is not int:
            return unexpected_response("relay_claim")
        return epoch

    async def apply(
        self, epoch: int, sequence: int, operations: Sequence[Operation], *, budget_ms: int
    ) -> ApplyResult | RequestFailure:
        """Apply operations, in order, in one transaction.

        Args:
            epoch: of the latest claim.
            sequence: greater than in every earlier request.
            operations: may be empty: a probe.
            budget_ms: after this time, no further row is tried.
        """
        request = _write_request(epoch, sequence, operations, budget_ms)
        document = await self._call("relay_apply", request)
        if isinstance(document, RequestFailure):
            return document
        try:
            return _parse_result(document, sequence, operations)
        except (KeyError, TypeError, ValueError, IndexError):
            return unexpected_response("relay_apply")

    async def call(
        self, function: str, request: Mapping[str, Any]
    ) -> dict[str, Any] | RequestFailure:
        """Call one function of the relay and return the object with which it responds."""
        # As rows are written: the text of a JSON constant must be the same in both.
        return await self._call(function, write_row(request))

    async def _call(self, function: str, request: str) -> dict[str, Any] | RequestFailure:
        began_at = self._monotonic()
        result, status = await self._exchange(function, request)
        seconds = self._monotonic() - began_at
        self._observe(Exchange(function, status, seconds, self._clock()))
        return result

    async def _exchange(
        self, function: str, request: str
    ) -> tuple[dict[str, Any] | RequestFailure, str]:
        """Return the result of a request, and its status as in `Exchange`."""
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
                    body = await _read_body(response)
                finally:
                    await response.aclose()
        except (httpx.TimeoutException, TimeoutError) as error:
            return describe_no_response(error, "Supabase did not respond in time"), "timeout"
        except (httpx.InvalidURL, UnicodeError) as error:
            name, sentence = type(error).__name__, "Supabase redirects to an invalid URL"
            return RequestFailure(RequestFailureKind.MISCONFIGURED, name, sentence), "error"
        except httpx.HTTPError as error:
            return describe_no_response(error, "Supabase cannot be reached"), "error"
        status = f"{response.status_code // 100}xx"
        if not response.is_success:
            failure = read_request_failure(
                response.status_code, response.headers, body, now_seconds=self._clock()
            )
            return failure, status
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return document, status
        return unexpected_response(function), "invalid"


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


def _parse_result(
    document: Mapping[str, Any], sequence: int, operations: Sequence[Operation]
) -> ApplyResult:
    if document["sequence"] != sequence:
        raise ValueError("the response to another request")
    if not isinstance(document["failures"], list) or not isinstance(document["not_tried"], list):
        raise TypeError("failures and not_tried must be arrays")
    failures = {
        _parse_position(each, operations): read_row_failure(each, operations[each["operation"]])
        for each in document["failures"]
    }
    not_tried = frozenset(_parse_position(each, operations) for each in document["not_tried"])
    return ApplyResult(failures, not_tried)


def _parse_position(document: Mapping[str, Any], operations: Sequence[Operation]) -> RowPosition:
    position = RowPosition(document["operation"], document["row"])
    if not all(type(number) is int for number in position):
        raise TypeError("a position must be two integers")
    if min(position) < 0 or position.row >= len(operations[position.operation].rows):
        raise IndexError("no such row")
    return position


async def _read_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _RESPONSE_BYTES:
            break
    return bytes(body)


def unexpected_response(function: str) -> RequestFailure:
    """Return the failure of a response that the function does not give."""
    return RequestFailure(
        RequestFailureKind.UNAVAILABLE,
        "HTTP 200",
        f"the response is not that of {function}: SUPABASE_URL may not be a Supabase project",
    )
