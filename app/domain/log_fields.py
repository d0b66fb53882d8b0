"""Structured fields of log records."""

from collections.abc import Mapping


def log_fields(**fields: str | float | None) -> dict[str, Mapping[str, str | float]]:
    """Return the `extra` argument of a logging call with these fields; None leaves one out.

    `app.observability.logging` writes them: as members of a JSON line, as key=value in text.
    """
    return {"fields": {name: value for name, value in fields.items() if value is not None}}
