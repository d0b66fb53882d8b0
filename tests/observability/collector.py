"""An OTLP/HTTP collector in the tests' process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

_PATIENCE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.01


@dataclass(frozen=True)
class CollectedSpan:
    """A span as it was exported.

    Attributes:
        parent: the id of the parent; empty for none.
        links: trace and span id of each.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    trace_state: str
    began_ns: int
    ended_ns: int
    is_error: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    resource: dict[str, Any]

    @property
    def context(self) -> tuple[str, str]:
        return self.trace_id, self.span_id


class Collector:
    """Keeps the spans of every export.

    Attributes:
        status: of its responses.
        headers: of each export.
    """

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def find(self, name: str) -> list[CollectedSpan]:
        """Return the spans with this name, the earliest first."""
        return sorted(
            (span for span in self.spans if span.name == name), key=lambda span: span.began_ns
        )

    def wait_for(self, name: str, count: int = 1) -> list[CollectedSpan]:
        """Wait for so many spans with this name."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(found := self.find(name)) < count:
            assert time.monotonic() < deadline, f"no {name} in {[each.name for each in self.spans]}"
            time.sleep(_PAUSE_SECONDS)
        return found

    def accept(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.headers.append(headers)
        for group in request.resource_spans:
            resource = _read_attributes(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_read_span(span, resource) for span in scope.spans]


@contextmanager
def run_collector() -> Iterator[Collector]:
    """Run a collector on loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            if collector.status == 200:
                collector.accept(body, dict(self.headers.items()))
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield collector
        server.shutdown()
        thread.join()


def _read_span(span: Span, resource: dict[str, Any]) -> CollectedSpan:
    return CollectedSpan(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        trace_state=span.trace_state,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        is_error=span.status.code == Status.STATUS_CODE_ERROR,
        attributes=_read_attributes(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        resource=resource,
    )


def _read_attributes(attributes: Any) -> dict[str, Any]:
    return {each.key: _read_value(each.value) for each in attributes if isinstance(each, KeyValue)}


def _read_value(value: AnyValue) -> Any:
    if value.WhichOneof("value") == "array_value":
        return [_read_value(each) for each in value.array_value.values]
    return getattr(value, value.WhichOneof("value") or "string_value")
