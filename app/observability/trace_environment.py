"""Opens the exporter of traces, if the standard `OTEL_*` variables ask for one, and closes it.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from app.domain.errors import ConfigurationInvalid
from app.domain.traces import Tracer

_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_CLOSE_SECONDS: Final = 2.0
_MINIMUM_CLOSE_SECONDS: Final = 0.2
_INSTALL: Final = "pip install 'supabase-sync-relay[otel]'"


def open_tracer(environ: Mapping[str, str], *, version: str, replica: str) -> Tracer | None:
    """Open the tracer that the environment asks for; None without such a request.

    Args:
        environ: the environment; OpenTelemetry itself reads the one of the process.
        version: of the relay.
        replica: the name of this process among those that share the store.

    Raises:
        ConfigurationInvalid: OpenTelemetry is not installed or does not accept its variables, or
            its exporter is another one.
    """
    reason = _find_request(environ)
    if reason is None:
        return None
    for name in _PROTOCOLS:
        protocol = _read(environ, name)
        if protocol not in ("", _PROTOCOL):
            raise ConfigurationInvalid(
                f"{name}={protocol}: the relay exports traces by {_PROTOCOL} only; unset it, and"
                " use the collector's port for HTTP (usually 4318)"
            )
        if protocol:
            break
    try:
        from app.observability.tracing import OpenTelemetryTracer
    except ImportError as error:
        raise ConfigurationInvalid(
            f"{reason} asks for traces, but OpenTelemetry is not installed"
            f" ({error.name} is missing): run {_INSTALL}, or unset {reason}"
        ) from error
    try:
        return OpenTelemetryTracer(version=version, replica=replica)
    except Exception as error:  # of the library and of its plugins
        raise ConfigurationInvalid(
            f"OpenTelemetry does not accept the OTEL_* variables: {error}; correct the variable, or"
            f" unset {reason}"
        ) from error


async def close_tracer(
    tracer: Tracer, stop_began_at: Callable[[], float], shutdown_seconds: float
) -> None:
    """Export the last spans, for a moment: a collector that hangs must not delay a stop.

    Args:
        stop_began_at: when the stop began, on the monotonic clock.
        shutdown_seconds: how long the stop may take.
    """
    seconds_left = stop_began_at() + shutdown_seconds - time.monotonic()
    await tracer.close(max(_MINIMUM_CLOSE_SECONDS, min(_CLOSE_SECONDS, seconds_left)))


def _find_request(environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable that asks for traces."""
    if _read(environ, "OTEL_SDK_DISABLED").lower() == "true":
        return None
    exporter = _read(environ, _EXPORTER)
    match exporter:
        case "otlp":
            return _EXPORTER
        case "none":
            return None
        case "":
            return next((name for name in _ENDPOINTS if _read(environ, name)), None)
        case _:
            raise ConfigurationInvalid(
                f"{_EXPORTER}={exporter}: the relay has no such exporter; use otlp or none"
            )


def _read(environ: Mapping[str, str], name: str) -> str:
    # As the specification says, an empty variable is one that is not set.
    return environ.get(name, "").strip()
