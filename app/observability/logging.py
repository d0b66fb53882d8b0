"""Logging: one record per line, as text or as JSON."""

import json
import logging
import logging.config
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

_INDENT: Final = "  "
_NEEDS_QUOTES: Final = re.compile(r'^$|[\s"=]')


class _UtcFormatter(logging.Formatter):
    """Writes times by RFC 3339, in UTC with milliseconds."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - its name and arguments are logging's
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextFormatter(_UtcFormatter):
    """Writes lines that cannot control a terminal.

    Escapes control and invisible characters, as paths and ids come from unauthenticated callers.
    Indents further lines, so that only records begin at the margin. Structured fields follow the
    message as key=value, in quotes where a value has spaces.
    """

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        fields = [f" {name}={_quote(value)}" for name, value in _fields_of(record).items()]
        lines = [_escape(self.formatMessage(record) + "".join(fields))]
        # Not `record.exc_text`, which another handler's formatter may have set.
        traceback = self.formatException(record.exc_info) if record.exc_info else ""
        for text in (traceback, record.stack_info or ""):
            lines += [_INDENT + _escape(line) for line in text.split("\n") if line]
        return "\n".join(lines)


class _JsonFormatter(JsonFormatter, _UtcFormatter):
    """Writes one JSON object per line, in ASCII, with the structured fields as its members."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data.update(_fields_of(record))


def _fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the structured fields of a record (`app.domain.log_fields`)."""
    return getattr(record, "fields", {})


def _quote(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if _NEEDS_QUOTES.search(text) else text


def _escape(text: str) -> str:
    """Escape control characters, line separators, bidirectional marks and surrogates."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def configure_logging(*, level: str, format_name: Literal["text", "json"]) -> None:
    """Write all logs to standard error, those of libraries too."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {
                    "()": _TextFormatter,
                    "fmt": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
                },
                "json": {
                    "()": _JsonFormatter,
                    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                    # uvicorn's messages again, with colours; `add_fields` adds the fields.
                    "reserved_attrs": [*RESERVED_ATTRS, "color_message", "fields"],
                },
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": format_name}},
            "root": {"level": level, "handlers": ["stderr"]},
            "loggers": {
                # A line per request to Supabase; the metrics count them.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "alembic": {"level": "WARNING"},
                "uvicorn": {"level": level},
            },
        }
    )
