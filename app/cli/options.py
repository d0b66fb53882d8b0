"""The options that several commands share."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.domain.contract import DATA_SCHEMAS
from app.domain.entities import Kind
from app.domain.events import EventType
from app.domain.instants import parse_timestamp

DEFAULT_URL = "http://127.0.0.1:8080"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)


def _check_url(url: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url) is None:
        raise typer.BadParameter(f"{url!r} is not of the form https://relay.example.com")
    return url.rstrip("/")


def complete_types(incomplete: str) -> Iterator[str]:
    """Complete an event type."""
    return (event_type for event_type in EventType if event_type.startswith(incomplete))


def complete_fields(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the fields of the given event type."""
    given = context.params.get("event_type")
    if given not in list(EventType):
        return []
    fields = DATA_SCHEMAS[EventType(given)].json_schema()["required"]
    return [f"{field}=" for field in fields if field.startswith(incomplete)]


def _complete_patterns(incomplete: str) -> Iterator[str]:
    patterns = [*(f"{kind}.*" for kind in Kind), *EventType]
    return (pattern for pattern in patterns if pattern.startswith(incomplete))


def read_time(text: str | None) -> str | None:
    """Return an RFC 3339 date-time; `15m`, `2h` and `3d` are times ago."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is None:
            parse_timestamp(text)
            return text
        moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is neither a date-time with an offset like 2026-01-02T03:04:05Z nor a time"
            " ago like 15m, 2h or 3d"
        ) from error
    return moment.isoformat().replace("+00:00", "Z")


def _check_entity(text: str | None) -> str | None:
    if text is not None:
        kind, _, key = text.partition("/")
        if kind not in list(Kind) or not key:
            raise typer.BadParameter(
                f"{text!r} is not of the form user/<id>, trip/<id> or"
                " membership/<trip_id>/<user_id>"
            )
    return text


def _split_types(texts: list[str] | None) -> list[str]:
    return [word.strip() for text in texts or [] for word in text.split(",") if word.strip()]


Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="RELAY_URL",
        callback=_check_url,
        metavar="URL",
        help="The URL of the relay.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="RELAY_TOKEN",
        metavar="TOKEN",
        help="An operator's token; default: one signed with JWT_SECRET.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        callback=read_time,
        metavar="TIME",
        help="Only events received then or later: RFC 3339, or 15m, 2h, 3d ago.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(callback=read_time, metavar="TIME", help="Only events received before then."),
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        callback=_split_types,
        autocompletion=_complete_patterns,
        metavar="TYPE",
        help="Only events of this type, as user.deleted or membership.*; can be repeated.",
    ),
]
Entity = Annotated[
    str | None,
    typer.Option(
        "--entity",
        callback=_check_entity,
        metavar="ENTITY",
        help="Only events of user/<id>, trip/<id> or membership/<trip_id>/<user_id>.",
    ),
]
ErrorCode = Annotated[
    str | None,
    typer.Option(
        "--error-code", metavar="CODE", help="Only events that fail with this code, as 23514."
    ),
]
Error = Annotated[
    str | None,
    typer.Option(
        "--error", metavar="MESSAGE", help="Only events that fail with exactly this message."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
