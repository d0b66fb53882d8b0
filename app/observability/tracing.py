"""Traces by OpenTelemetry: the only module that names it. Its variables configure it."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import SpanContext as OtelSpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.domain import traces
from app.domain.degradation import Degradation
from app.domain.instants import Instant
from app.domain.traces import AttributeValue, FinishedSpan, SpanContext

logger = logging.getLogger(__name__)

_SERVICE_NAME: Final = "supabase-sync-relay"
_NANOSECONDS: Final = 1000
_KINDS: Final = {
    traces.SpanKind.INTERNAL: SpanKind.INTERNAL,
    traces.SpanKind.CLIENT: SpanKind.CLIENT,
}
# Methods that are not registered would be names of any number.
_METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
_OTHER_METHOD: Final = "_OTHER"
_SERVER_ERROR: Final = 500
# The parents: an empty context, so that no span of the surrounding code becomes one.
_NO_CONTEXT: Final = Context()
# It logs malformed headers with their values, which are secrets.
_HEADERS_LOG: Final = "opentelemetry.util.re"


class OpenTelemetryTracer:
    """Exports spans by OTLP over HTTP, in the background.

    Args:
        version: of the relay.
        replica: the name of this process among those that share the store.
    """

    def __init__(self, *, version: str, replica: str) -> None:
        _route_logs()
        defaults = {
            "service.name": _SERVICE_NAME,
            "service.version": version,
            "service.instance.id": replica,
        }
        # Attributes that are given here win over those of the environment.
        given = dict(OTELResourceDetector().detect().attributes)
        self._provider = TracerProvider(
            resource=Resource.create(defaults | given), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(_ReportingExporter()))
        self._tracer = self._provider.get_tracer("app.observability", version)
        self._propagator = TraceContextTextMapPropagator()

    def start_request(
        self, method: str, headers: Mapping[bytes, bytes], began_at: Instant
    ) -> "_RequestSpan":
        """Start the span of a request, as a child of the sender's span if it gave one."""
        carrier = {
            name: headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        method = method if method in _METHODS else _OTHER_METHOD
        span = self._tracer.start_span(
            _name_request(method, None),
            self._propagator.extract(carrier, _NO_CONTEXT),
            SpanKind.SERVER,
            {"http.request.method": method, "url.scheme": "http"},
            start_time=began_at * _NANOSECONDS,
        )
        return _RequestSpan(span, method)

    def record(self, span: FinishedSpan) -> SpanContext | None:
        """Export a span; return its ids, or None if it is not sampled."""
        parent = NonRecordingSpan(_to_otel(span.parent))
        recorded = self._tracer.start_span(
            span.name,
            set_span_in_context(parent, _NO_CONTEXT),
            _KINDS[span.kind],
            span.attributes,
            [Link(_to_otel(each)) for each in span.links],
            start_time=span.began_at * _NANOSECONDS,
        )
        if span.is_error:
            recorded.set_status(StatusCode.ERROR)
        # Clocks of replicas differ.
        recorded.end(max(span.began_at, span.ended_at) * _NANOSECONDS)
        return _find_context(recorded)

    async def close(self, limit_seconds: float) -> None:
        """Export what is left, or drop it when the time is up."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            # The loop may have closed meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        # Not in the loop's executor, whose threads the end of the process waits for.
        threading.Thread(target=shut_down, name="traces-shutdown", daemon=True).start()
        try:
            async with asyncio.timeout(limit_seconds):
                await done.wait()
        except TimeoutError:
            logger.warning("the collector did not accept the last spans in time; dropped them")


class _RequestSpan:
    """The open span of one HTTP request."""

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method
        self.context = _find_context(span)

    def end(
        self,
        ended_at: Instant,
        *,
        status: int,
        route: str | None,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        """End the span; only a server error is an error of it."""
        span = self._span
        if span.is_recording():
            span.update_name(_name_request(self._method, route))
            known = {**attributes, "http.response.status_code": status}
            if route is not None:
                known["http.route"] = route
            if status >= _SERVER_ERROR:
                known["error.type"] = str(status)
                span.set_status(StatusCode.ERROR)
            # At once: each call takes a lock.
            span.set_attributes(known)
        span.end(ended_at * _NANOSECONDS)


class _ReportingExporter(SpanExporter):
    """Exports by OTLP, and logs when that begins to fail and when it works again."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._outage = Degradation(logger, "the collector accepts spans again")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.end()
        else:
            self._outage.note(
                "the collector does not accept spans, so they are dropped; check the collector and"
                " OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _LibraryLog(logging.Handler):
    """Logs warnings of OpenTelemetry once for each module, with a reminder every few minutes."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._warnings = Degradation(logger, "")

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.name == _HEADERS_LOG:
            message = str(record.msg).replace("%s", "(hidden)")
        self._warnings.note(
            f"OpenTelemetry: {message}",
            cause=(record.name, record.lineno),
            level=logging.WARNING,
        )


def _route_logs() -> None:
    """Replace the library's lines, of which each failed export and each dropped span has one."""
    library = logging.getLogger("opentelemetry")
    library.handlers = [_LibraryLog()]
    library.propagate = False


def _name_request(method: str, route: str | None) -> str:
    # As the semantic conventions for HTTP say.
    name = "HTTP" if method == _OTHER_METHOD else method
    return name if route is None else f"{name} {route}"


def _find_context(span: Span) -> SpanContext | None:
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return SpanContext(f"{context.trace_id:032x}", f"{context.span_id:016x}")


def _to_otel(context: SpanContext) -> OtelSpanContext:
    return OtelSpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
