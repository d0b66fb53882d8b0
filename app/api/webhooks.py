"""`POST /webhooks` and `POST /webhooks/batch`: plain ASGI endpoints that bypass FastAPI.

`app.api.application` says why, and `app.api.webhook_docs` documents them.
"""

import json
import logging
import re
from collections.abc import Sequence
from functools import partial
from json.encoder import encode_basestring_ascii
from typing import Any, Final, cast

from starlette.datastructures import State
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.application import SendResponse
from app.api.problems import error_response
from app.api.request_body import BATCH_BYTES, EVENT_BYTES, read_body, read_headers, require_json
from app.api.request_trace import Headers
from app.api.services import Services
from app.api.webhook_log import WebhookRequest
from app.domain.entities import EntityRef, EventStatus
from app.domain.errors import RelayError
from app.domain.event_reader import BatchItem
from app.domain.events import Event
from app.domain.failpoints import Failpoint
from app.domain.instants import from_seconds
from app.store.receive import Receipt

logger = logging.getLogger(__name__)

EVENT_PATH: Final = "/webhooks"
BATCH_PATH: Final = "/webhooks/batch"
MAXIMUM_WAIT_SECONDS: Final = 30
_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.ASCII | re.IGNORECASE)
_JSON: Final[Headers] = ((b"content-type", b"application/json"),)

_Success = tuple[int, bytes, Headers]
"""Status, body and additional headers."""


class _Endpoint:
    """Sends responses, and handles errors."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = cast(Services, cast(State, scope["app"].state).services)
        headers = read_headers(scope)
        log = services.webhook_log
        request = log.open_request(scope["path"], headers, scope.get("client"), log.monotonic())
        try:
            status, body, more_headers = await self._handle(services, request, headers, receive)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - logged there
            response = _make_error_response(services, request, error)
            response.raw_headers.extend(request.trace.response_headers)
            await response(scope, receive, send)
            return
        length = (b"content-length", b"%d" % len(body))
        all_headers = [*_JSON, length, *more_headers, *request.trace.response_headers]
        await send({"type": "http.response.start", "status": status, "headers": all_headers})
        await send({"type": "http.response.body", "body": body})

    async def _handle(
        self,
        services: Services,
        request: WebhookRequest,
        headers: dict[bytes, bytes],
        receive: Receive,
    ) -> _Success:
        raise NotImplementedError


class EventEndpoint(_Endpoint):
    """Accepts one event. The order of the checks is part of the contract."""

    async def _handle(
        self,
        services: Services,
        request: WebhookRequest,
        headers: dict[bytes, bytes],
        receive: Receive,
    ) -> _Success:
        body = await read_body(receive, limit_bytes=EVENT_BYTES)
        require_json(headers)
        await services.authenticator.authenticate_webhook(headers, body)
        with services.in_flight.acquire():
            request.event = event = _read_event(services, headers, body)
            receipt = await services.receiver.receive_event(event, trace=request.stored_trace)
        services.measurements.receive_event.observe(services.webhook_log.measure_seconds(request))
        status, result = _get_status(receipt), receipt.value
        more_headers: Headers = ()
        seconds = _read_wait(headers)
        if seconds is not None and services.waits.try_acquire():
            try:
                settled = await services.receiver.wait_until_settled(
                    event.event_id, EntityRef(event.kind, event.key), seconds=seconds
                )
            finally:
                services.waits.release()
            more_headers = ((b"preference-applied", b"wait=%d" % seconds),)
            if settled is not EventStatus.PENDING:
                status, result = 200, settled.value
        services.webhook_log.note_event(request, status, result)
        return status, _write_receipt(event, result), more_headers

    def try_fast_path(
        self,
        services: Services,
        headers: dict[bytes, bytes],
        body: bytes,
        client: object,
        send_response: SendResponse,
    ) -> bool:
        """Accept a signed and valid event without a task, and respond after its commit.

        Declines everything else, which the regular path then handles, and has no effect on it.
        Calls `send_response` once, later, if it returns True.

        Returns:
            Whether the event is accepted.
        """
        try:
            return self._accept(services, headers, body, client, send_response)
        except RelayError:
            return False
        except Exception:
            logger.exception("the fast path failed; the regular path handles the request")
            return False

    def _accept(
        self,
        services: Services,
        headers: dict[bytes, bytes],
        body: bytes,
        client: object,
        send_response: SendResponse,
    ) -> bool:
        began_at = services.webhook_log.monotonic()
        if b"prefer" in headers or not services.authenticator.has_valid_signature(headers, body):
            return False
        if not services.in_flight.try_acquire():
            return False
        try:
            require_json(headers)
            event = _read_event(services, headers, body)
            request = services.webhook_log.open_request(EVENT_PATH, headers, client, began_at)
            request.event = event
            respond = partial(_respond_after_commit, services, request, event, send_response)
            services.receiver.enqueue_event(event, respond, trace=request.stored_trace)
        except BaseException:
            services.in_flight.release()
            raise
        return True


class BatchEndpoint(_Endpoint):
    """Accepts up to 1,000 events in one commit. An invalid event does not affect the others."""

    async def _handle(
        self,
        services: Services,
        request: WebhookRequest,
        headers: dict[bytes, bytes],
        receive: Receive,
    ) -> _Success:
        body = await read_body(receive, limit_bytes=BATCH_BYTES)
        require_json(headers)
        await services.authenticator.authenticate_webhook(headers, body)
        with services.in_flight.acquire(), services.batches_in_flight.acquire():
            services.hit(Failpoint.AFTER_VERIFY)
            items = services.reader.read_batch(body, now=from_seconds(services.clock()))
            events = [item.event for item in items if item.event is not None]
            receipts: list[Receipt] = []
            if events:
                receipts = await services.receiver.receive_events(
                    events, trace=request.stored_trace
                )
        if events:
            seconds = services.webhook_log.measure_seconds(request)
            services.measurements.receive_batch.observe(seconds)
        document = {"results": _write_results(items, receipts)}
        status = 202 if Receipt.ACCEPTED in receipts else 200
        services.webhook_log.note_batch(request, status, items, receipts)
        return status, json.dumps(document, separators=(",", ":")).encode(), ()


def _read_event(services: Services, headers: dict[bytes, bytes], body: bytes) -> Event:
    services.hit(Failpoint.AFTER_VERIFY)
    event_id = headers.get(b"webhook-id", b"").decode("latin-1")
    return services.reader.read_event(event_id, body, now=from_seconds(services.clock()))


def _respond_after_commit(
    services: Services,
    request: WebhookRequest,
    event: Event,
    send_response: SendResponse,
    outcome: Receipt | BaseException,
) -> None:
    services.in_flight.release()
    own_headers = request.trace.response_headers
    if isinstance(outcome, Receipt):
        status = _get_status(outcome)
        services.webhook_log.note_event(request, status, outcome.value)
        send_response(status, _JSON, _write_receipt(event, outcome.value), own_headers)
        services.measurements.receive_event.observe(services.webhook_log.measure_seconds(request))
    else:
        response = _make_error_response(services, request, outcome)
        headers = tuple(response.raw_headers)
        send_response(response.status_code, headers, bytes(response.body), own_headers)


def _make_error_response(
    services: Services, request: WebhookRequest, error: BaseException
) -> Response:
    services.webhook_log.note_error(request, error)
    return error_response(services.measurements, request.path or EVENT_PATH, error)


def _get_status(receipt: Receipt) -> int:
    return 202 if receipt is Receipt.ACCEPTED else 200


def _write_receipt(event: Event, status: str) -> bytes:
    event_id = encode_basestring_ascii(event.event_id).encode()
    return b'{"event_id": %b, "status": "%b"}' % (event_id, status.encode())


def _write_results(items: Sequence[BatchItem], receipts: Sequence[Receipt]) -> list[Any]:
    remaining = iter(receipts)
    results: list[dict[str, Any]] = []
    for item in items:
        if item.event is not None:
            results.append({"event_id": item.event_id, "status": next(remaining).value})
        else:
            errors = [{"pointer": each.pointer, "detail": each.detail} for each in item.errors]
            results.append({"event_id": item.event_id, "status": "invalid", "errors": errors})
    return results


def _read_wait(headers: dict[bytes, bytes]) -> int | None:
    """Read `Prefer: wait=N` (RFC 7240) in seconds. A malformed preference is ignored."""
    match = _WAIT.search(headers.get(b"prefer", b""))
    return None if match is None else min(int(match[1]), MAXIMUM_WAIT_SECONDS)
