"""One line an event, for people or for machines."""

import json
import logging
from collections.abc import Iterator

import pytest

from app.telemetry import configure_logging


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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
    assert record["time"]


def test_logging_for_people_names_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", format_name="text")
    logging.getLogger("app.relay").info("started")
    assert capsys.readouterr().err.rstrip().endswith("INFO    app.relay: started")


def test_logging_below_the_level_is_silent_and_so_is_the_http_client(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", format_name="text")
    logging.getLogger("app.relay").debug("detail")
    logging.getLogger("httpx").info("HTTP Request: POST …")
    assert capsys.readouterr().err == ""
