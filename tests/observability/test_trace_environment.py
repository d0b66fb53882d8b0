"""When the environment asks for traces, and what is said if they cannot be had."""

import asyncio
import logging
import sys
import time
from collections.abc import Iterator

import pytest

from app.domain.errors import ConfigurationInvalid
from app.observability.trace_environment import close_tracer, open_tracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
URL = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def library_log() -> Iterator[None]:
    """Leave the library's log as it was."""
    library = logging.getLogger("opentelemetry")
    handlers, propagate = library.handlers, library.propagate
    yield
    library.handlers, library.propagate = handlers, propagate


def opens(**environ: str) -> bool:
    tracer = open_tracer(environ, version="1", replica="r")
    if tracer is not None:
        asyncio.run(tracer.close(5))
    return tracer is not None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {ENDPOINT: URL},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{URL}/v1/traces"},
        {ENDPOINT: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_SDK_DISABLED": ""},
        # The variable of the signal wins.
        {
            ENDPOINT: URL,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
    ],
)
def test_environment_that_names_a_collector_asks_for_traces(environ: dict[str, str]) -> None:
    assert opens(**environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "relay", "OTEL_TRACES_SAMPLER": "always_on"},
        {ENDPOINT: ""},
        {ENDPOINT: URL, "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: URL, "OTEL_SDK_DISABLED": "True"},
        {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_environment_without_a_collector_asks_for_none(environ: dict[str, str]) -> None:
    assert not opens(**environ)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin: .* use otlp or none"),
        (
            {ENDPOINT: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: .* http/protobuf only; unset it",
        ),
        (
            {ENDPOINT: URL, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json: .* http/protobuf only",
        ),
    ],
)
def test_exporter_that_the_relay_lacks_is_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=sentence):
        opens(**environ)


def test_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "app.observability.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigurationInvalid, match=r"pip install 'supabase-sync-relay\[otel\]'"):
        opens(**{ENDPOINT: URL})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "max_queue_size must be a positive integer"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be"),
    ],
)
def test_variable_that_the_library_does_not_accept_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationInvalid, match=f"OTEL_.* variables: {reason}.*; correct"):
        opens(**{ENDPOINT: URL})


def test_headers_of_the_collector_are_never_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key:secret-of-the-vendor")
    assert opens(**{ENDPOINT: URL})
    assert "Header format invalid" in caplog.text
    assert "secret-of-the-vendor" not in caplog.text


class HangingTracer:
    """Notes how long it may take to close."""

    limit_seconds = 0.0

    async def close(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds


@pytest.mark.parametrize(
    ("passed_seconds", "least", "most"), [(0, 1.9, 2), (7, 0.5, 1), (9, 0.2, 0.2)]
)
async def test_last_spans_have_the_rest_of_the_stop_and_at_most_two_seconds(
    passed_seconds: float, least: float, most: float
) -> None:
    tracer = HangingTracer()
    began_at = time.monotonic() - passed_seconds
    await close_tracer(tracer, lambda: began_at, 8)  # type: ignore[arg-type]
    assert least <= tracer.limit_seconds <= most
