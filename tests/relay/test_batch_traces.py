"""Dispatching does not depend on traces."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.instants import Instant
from app.domain.traces import AttributeValue, FinishedSpan, SpanContext
from app.relay.batch_traces import BatchTraces, SentRequest
from tests.api.relay_harness import RelayStarter, in_time, make_body, number_ids

CONTEXT = SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
REQUEST = SentRequest(
    1, 1, Instant(0), Instant(1), RequestFailure(RequestFailureKind.UNAVAILABLE, "HTTP 503", "")
)


class Span:
    """The span of a request."""

    context = CONTEXT

    def end(
        self,
        ended_at: Instant,
        *,
        status: int,
        route: str | None,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        pass


class FragileTracer:
    """A tracer that fails to record spans until it is repaired."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.is_broken = True

    def start_request(self, *_: object) -> Span:
        return Span()

    def record(self, span: FinishedSpan) -> SpanContext | None:
        if self.is_broken:
            raise RuntimeError("no span")
        self.recorded.append(span.name)
        return CONTEXT

    async def close(self, limit_seconds: float) -> None:
        pass


async def test_tracer_that_fails_never_crashes_the_dispatcher_and_is_logged_once(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tracer = FragileTracer()
    async with replace(starter, make_tracer=lambda: tracer).start() as relay:
        for user_id in number_ids(3):
            body = make_body("user.created", id=user_id)
            assert await relay.send_and_wait(body, user_id) == "applied"
        tracer.is_broken = False
        assert await relay.send_and_wait(make_body("user.created"), "evt_last") == "applied"
        assert len(relay.postgrest.writes) == 4
    messages = [each.getMessage() for each in caplog.records]
    for subject in ("the span of a request", "the spans of events"):
        assert messages.count(f"could not record {subject}") == 1
    for subject in ("requests", "events"):
        assert messages.count(f"the spans of {subject} are recorded again") == 1
    assert not [each for each in messages if "crash" in each]
    assert set(tracer.recorded) == {"relay_apply", "event user.created"}


async def test_store_that_hangs_delays_the_dispatcher_once_and_for_a_limited_time(
    starter: RelayStarter,
) -> None:
    end = threading.Event()

    def hang(_: Connection) -> None:
        end.wait()

    async with starter.start() as relay:
        store = relay.app.state.services.store
        hanging = [asyncio.ensure_future(store.read(hang)) for _ in range(2)]
        hasty = BatchTraces(store, FragileTracer(), read_seconds=0.01)
        patient = BatchTraces(store, FragileTracer(), read_seconds=3600)
        try:
            await in_time(hasty.record_request(REQUEST, ()))
            waiting = asyncio.ensure_future(patient.record_request(REQUEST, ()))
            await asyncio.sleep(0)
            await in_time(patient.record_request(REQUEST, ()))
            assert not waiting.done()
        finally:
            end.set()
            await asyncio.gather(*hanging, waiting)
