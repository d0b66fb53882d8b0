"""`POST /webhooks` and `POST /webhooks/batch`: the way in for events.

These two are plain ASGI and run ahead of FastAPI (`app.api.application`): through its request
machinery the same work reaches half the requests a second. `app.api.openapi` documents them.
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

from app.api.application import AtOnce
from app.api.bodies import BATCH_BYTES, EVENT_BYTES, read_body, read_headers, require_json
from app.api.problems import PROBLEMS, make_fault, make_problem_of
from app.api.services import Services
from app.domain.contract import BatchItem
from app.domain.entities import EntityRef, EventStatus
from app.domain.errors import (
    InputInvalid,
    RelayError,
    RequestRejected,
    Unauthenticated,
)
from app.domain.events import Event
from app.domain.failpoints import Failpoint
from app.domain.instants import from_seconds
from app.store.receiving import Receipt

logger = logging.getLogger(__name__)

EVENT_PATH: Final = "/webhooks"
BATCH_PATH: Final = "/webhooks/batch"
MAXIMUM_WAIT_SECONDS: Final = 30
_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.ASCII | re.IGNORECASE)


_Answer = tuple[int, bytes, Sequence[tuple[bytes, bytes]]]
"""Status, body, and headers beside those of every answer."""


class _Endpoint:
    """What both have in common: how errors are answered and logged."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = cast(Services, cast(State, scope["app"].state).services)
        try:
            status, body, headers = await self._handle(services, read_headers(scope), receive)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - it is answered, and logged by who words it
            await _refuse(services, scope["path"], error)(scope, receive, send)
        else:
            await _answer(send, status, body, headers)

    async def _handle(
        self, services: Services, headers: dict[bytes, bytes], receive: Receive
    ) -> _Answer:
        raise NotImplementedError


class EventEndpoint(_Endpoint):
    """Takes one event. The order of the checks is part of the contract."""

    async def _handle(
        self, services: Services, headers: dict[bytes, bytes], receive: Receive
    ) -> _Answer:
        with services.admission.take():
            body = await read_body(receive, headers, limit_bytes=EVENT_BYTES)
            require_json(headers)
            await services.gate.admit_webhook(headers, body)
            event = _read_event(services, headers, body)
            receipt = await services.receiver.receive_event(event)
        wait_seconds = _read_wait(headers)
        if wait_seconds is not None:
            with services.admission.wait() as may_wait:
                if may_wait:
                    return await _wait(services, event, receipt, wait_seconds)
        return _name_status(receipt), _write_receipt(event, receipt.value), ()

    def take(
        self, services: Services, headers: dict[bytes, bytes], body: bytes, answer: AtOnce
    ) -> bool:
        """Take an event that has arrived whole, and give its answer when it is durable.

        The short way for what nearly every request is: signed, valid, and not waiting. Everything
        else goes the long way, which knows every answer.

        Returns:
            Whether it is taken. If not, nothing has happened and `answer` is not called.
        """
        if len(body) > EVENT_BYTES or b"prefer" in headers or not services.admission.enter():
            return False
        try:
            return self._take(services, headers, body, answer)
        except Exception:  # noqa: BLE001 - the long way says, and logs, what is wrong
            services.admission.leave()
            return False

    def _take(
        self, services: Services, headers: dict[bytes, bytes], body: bytes, answer: AtOnce
    ) -> bool:
        require_json(headers)
        if not services.gate.admits_at_once(headers, body):
            services.admission.leave()
            return False
        event = _read_event(services, headers, body)
        services.receiver.take_event(event, partial(_settle, services, event, answer))
        return True


def _read_event(services: Services, headers: dict[bytes, bytes], body: bytes) -> Event:
    """Read an event that has been verified."""
    services.reach(Failpoint.AFTER_VERIFY)
    event_id = headers.get(b"webhook-id", b"").decode("latin-1")
    return services.reader.read_event(event_id, body, now=from_seconds(services.clock()))


def _settle(
    services: Services, event: Event, answer: AtOnce, outcome: Receipt | BaseException
) -> None:
    services.admission.leave()
    if isinstance(outcome, Receipt):
        body = _write_receipt(event, outcome.value)
        answer(_name_status(outcome), _describe_body(body), body)
    else:
        refusal = _refuse(services, EVENT_PATH, outcome)
        answer(refusal.status_code, refusal.raw_headers, bytes(refusal.body))


async def _wait(services: Services, event: Event, receipt: Receipt, seconds: int) -> _Answer:
    preference = ((b"preference-applied", b"wait=%d" % seconds),)
    settled = await services.receiver.wait_until_settled(
        event.event_id, EntityRef(event.kind, event.key), seconds=seconds
    )
    if settled is EventStatus.PENDING:
        return _name_status(receipt), _write_receipt(event, receipt.value), preference
    return 200, _write_receipt(event, settled.value), preference


def _name_status(receipt: Receipt) -> int:
    return 202 if receipt is Receipt.ACCEPTED else 200


class BatchEndpoint(_Endpoint):
    """Takes up to 1,000 events in one commit; one that is wrong spoils no other."""

    async def _handle(
        self, services: Services, headers: dict[bytes, bytes], receive: Receive
    ) -> _Answer:
        with services.admission.take(), services.large_admission.take():
            body = await read_body(receive, headers, limit_bytes=BATCH_BYTES)
            require_json(headers)
            await services.gate.admit_webhook(headers, body)
            services.reach(Failpoint.AFTER_VERIFY)
            items = services.reader.read_batch(body, now=from_seconds(services.clock()))
            events = [item.event for item in items if item.event is not None]
            receipts = await services.receiver.receive_events(events) if events else []
        document = {"results": _write_results(items, receipts)}
        status = 202 if Receipt.ACCEPTED in receipts else 200
        return status, json.dumps(document, separators=(",", ":")).encode(), ()


def _write_results(items: Sequence[BatchItem], receipts: Sequence[Receipt]) -> list[Any]:
    remaining = iter(receipts)
    results: list[Any] = []
    for item in items:
        if item.event is not None:
            results.append({"event_id": item.event_id, "status": next(remaining).value})
        else:
            results.append(
                {
                    "event_id": item.event_id,
                    "status": "invalid",
                    "errors": [
                        {"pointer": error.pointer, "detail": error.detail} for error in item.errors
                    ],
                }
            )
    return results


def _write_receipt(event: Event, status: str) -> bytes:
    return b'{"event_id": %b, "status": "%b"}' % (
        encode_basestring_ascii(event.event_id).encode(),
        status.encode(),
    )


def _read_wait(headers: dict[bytes, bytes]) -> int | None:
    """Read `Prefer: wait=N` (RFC 7240); what cannot be read is no preference."""
    match = _WAIT.search(headers.get(b"prefer", b""))
    return None if match is None else min(int(match[1]), MAXIMUM_WAIT_SECONDS)


def _describe_body(body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    )


async def _answer(
    send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*_describe_body(body), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _refuse(services: Services, path: str, error: BaseException) -> Response:
    """Word the refusal that an error is, and count and log it."""
    if not isinstance(error, RelayError):
        logger.error("%s failed", path, exc_info=error)
        return make_fault()
    _, code = PROBLEMS[type(error)]
    services.measurements.rejections.labels(code).inc()
    if isinstance(error, RequestRejected):
        _log_rejection(path, error)
    return make_problem_of(error)


def _log_rejection(path: str, error: RequestRejected) -> None:
    reason = str(error)
    if isinstance(error, Unauthenticated):
        reason = error.reason
    elif isinstance(error, InputInvalid):
        reason = "; ".join(f"{problem.pointer} {problem.detail}" for problem in error.errors[:5])
    logger.info("rejected %s: %s (%s)", path, type(error).__name__, reason)
