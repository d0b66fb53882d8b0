"""Log records as text and as JSON."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from app.domain.log_fields import log_fields
from app.observability.logging import configure_logging

FORGED: Final = "2026-01-02T03:04:05.678Z ERROR   app.relay: forged"
HOSTILE: Final = [
    pytest.param(chr(code), id=f"U+{code:04X}")
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        0xD800,
    )
]


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leave the process's logging as it was."""
    names = (None, "alembic", "httpcore", "httpx", "uvicorn", "uvicorn.error")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.filters[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, filters, level) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.filters[:] = handlers, filters
        logger.setLevel(level)


def log_failure(logger: logging.Logger, message: str, failure: str) -> None:
    try:
        raise ValueError(failure)
    except ValueError:
        logger.exception(message, stack_info=True)


def test_logging_for_machines_is_one_json_object_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", format_name="json")
    logging.getLogger("app.relay").warning("it\nbreaks %s", "lines")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == (
        "WARNING",
        "app.relay",
        "it\nbreaks lines",
    )


def test_logging_for_people_names_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", format_name="text")
    logging.getLogger("app.relay").info("started")
    assert capsys.readouterr().err.rstrip().endswith("INFO    app.relay: started")


def test_logging_has_times_in_utc_to_the_millisecond(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = logging.makeLogRecord({"name": "app", "msg": "x", "levelno": 20, "levelname": "INFO"})
    record.created = 1_767_323_045.678
    configure_logging(level="INFO", format_name="text")
    logging.getLogger("app").handle(record)
    configure_logging(level="INFO", format_name="json")
    logging.getLogger("app").handle(record)
    text, machine = capsys.readouterr().err.splitlines()
    assert text.split()[0] == "2026-01-02T03:04:05.678Z"
    assert json.loads(machine)["time"] == "2026-01-02T03:04:05.678Z"


@pytest.mark.parametrize("character", HOSTILE)
@pytest.mark.parametrize("format_name", ["text", "json"])
def test_logging_escapes_control_characters(
    capsys: pytest.CaptureFixture[str], format_name: Any, character: str
) -> None:
    configure_logging(level="INFO", format_name=format_name)
    logging.getLogger(f"app.{character}").info("a%sb", character)
    written = capsys.readouterr().err
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert character not in written[:-1]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("format_name", ["text", "json"])
def test_logging_indents_lines_of_messages(
    capsys: pytest.CaptureFixture[str], format_name: Any, end: str
) -> None:
    configure_logging(level="INFO", format_name=format_name)
    said = f"said{end}{FORGED}"
    logging.getLogger("app").info(said)
    logging.getLogger("app").info("%s", said)
    log_failure(logging.getLogger(said), said, said)
    for line in capsys.readouterr().err.splitlines():
        assert not line.startswith(FORGED[:24])
        assert line.isprintable()


def test_logging_for_people_keeps_a_traceback_on_lines_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", format_name="text")
    log_failure(logging.getLogger("app"), "failed", "bad \x1b[31m")
    first, second, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR   app: failed")
    assert second == "  Traceback (most recent call last):"
    assert "  ValueError: bad \\x1b[31m" in others
    assert "  Stack (most recent call last):" in others
    assert all(line.startswith("  ") for line in others)


def test_logging_escapes_a_traceback_that_another_handler_has_formatted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", format_name="text")
    other = logging.StreamHandler(sys.stdout)
    logging.getLogger().handlers.insert(0, other)
    log_failure(logging.getLogger("app"), "failed", "bad \x1b[31m")
    assert "\x1b" not in capsys.readouterr().err


def test_logging_for_machines_has_no_colours_of_the_servers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", format_name="json")
    logging.getLogger("uvicorn.error").info(
        "Started server process [%d]", 1, extra={"color_message": "Started \x1b[36m%d\x1b[0m"}
    )
    record = json.loads(capsys.readouterr().err)
    assert record.keys() == {"time", "level", "logger", "message"}


@pytest.mark.parametrize("format_name", ["text", "json"])
def test_logging_writes_structured_fields(
    capsys: pytest.CaptureFixture[str], format_name: Any
) -> None:
    configure_logging(level="INFO", format_name=format_name)
    fields = log_fields(code="a b", status=401, client=None, reason='"\n=\x1b', type="")
    logging.getLogger("app").info("done", extra=fields)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    if format_name == "json":
        document = json.loads(line)
        assert document.keys() == {
            "time",
            "level",
            "logger",
            "message",
            "code",
            "status",
            "reason",
            "type",
        }
        assert (document["status"], document["reason"]) == (401, '"\n=\x1b')
    else:
        assert line.endswith(r'''done code="a b" status=401 reason="\"\n=\u001b" type=""''')


def test_logging_below_the_level_is_silent_and_so_is_the_http_client(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", format_name="text")
    logging.getLogger("app.relay").debug("detail")
    logging.getLogger("httpx").info("HTTP Request: POST …")
    assert capsys.readouterr().err == ""
