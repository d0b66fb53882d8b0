"""`relay exposure`, against a fake relay."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cli.output.console import output
from tests.api.relay_harness import TRIP, USER
from tests.cli.conftest import RunCommand
from tests.cli.wire import Wire, document, problem

SINCE = "2026-01-02T03:00:00Z"
LASTING = {
    "trip_id": TRIP,
    "user_id": USER,
    "occurred_at": "2026-01-02T03:04:05.678901Z",
    "received_at": "2026-01-02T03:04:06Z",
    "applied_at": None,
    "exposed_seconds": 2471.5,
    "relay_seconds": 2471.178901,
}
APPLIED = LASTING | {
    "applied_at": "2026-01-02T03:09:18Z",
    "exposed_seconds": 312.321099,
    "relay_seconds": 0.25,
}


def make_exposure(*revocations: dict[str, Any], **summary: Any) -> dict[str, Any]:
    """Make the response of the relay."""
    return {
        "summary": {
            "revocations": len(revocations),
            "unapplied": 0,
            "p50_seconds": 0.031,
            "p95_seconds": 4.2,
            "p99_seconds": 312.4,
            "maximum_seconds": 2471.5,
        }
        | summary,
        "revocations": list(revocations),
    }


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as at a terminal, without colours."""
    monkeypatch.setattr(output, "_force_terminal", True)
    monkeypatch.setattr(output, "no_color", True)
    monkeypatch.setattr(output, "_color_system", None)


@pytest.mark.usefixtures("terminal")
def test_exposure_at_a_terminal_shows_percentiles_then_the_longest(
    wire: Wire, run: RunCommand
) -> None:
    wire.answers = [document(make_exposure(LASTING, APPLIED, revocations=1204, unapplied=1))]
    done = run("exposure", "--since", SINCE)
    assert done.code == 0
    assert done.out.splitlines() == [
        "1,204 revocations, 1 still exposed",
        "exposed: p50 31 ms, p95 4.2 s, p99 5 min, maximum 41 min",
        "",
        "41 min  2026-01-02 03:04:05 until now, still exposed; in the relay 41 min",
        f"  trip  {TRIP}",
        f"  user  {USER}",
        "5 min   2026-01-02 03:04:05 until 2026-01-02 03:09:18; in the relay 250 ms",
        f"  trip  {TRIP}",
        f"  user  {USER}",
    ]
    assert max(map(len, done.out.splitlines())) <= 80
    assert "1,202 more were shorter" in done.err


@pytest.mark.usefixtures("terminal")
def test_exposure_without_revocations_is_a_sentence(wire: Wire, run: RunCommand) -> None:
    nothing = dict.fromkeys(("p50_seconds", "p95_seconds", "p99_seconds", "maximum_seconds"))
    wire.answers = [document(make_exposure(**nothing))]
    done = run("exposure", "--since", SINCE)
    assert (done.code, done.out) == (0, "")
    assert done.err == "No revocation in this period.\n"


def test_exposure_into_a_pipe_is_separated_by_tabs(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_exposure(LASTING, APPLIED, revocations=1204))]
    done = run("exposure", "--since", SINCE)
    occurred, received = "2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:06Z"
    assert [line.split("\t") for line in done.out.splitlines()] == [
        ["2471.500000", "2471.178901", occurred, received, "", TRIP, USER],
        ["312.321099", "0.250000", occurred, received, "2026-01-02T03:09:18Z", TRIP, USER],
    ]
    assert done.err == ""


def test_exposure_as_json_is_the_relays_document(wire: Wire, run: RunCommand) -> None:
    exposure = make_exposure(LASTING) | {"new": "field"}
    wire.answers = [document(exposure)]
    assert json.loads(run("exposure", "--since", SINCE, "--json").out) == exposure


def test_exposure_sends_every_criterion(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_exposure())]
    end = "2026-01-02T04:00:00Z"
    done = run("exposure", "--since", SINCE, "--until", end, "--trip", TRIP, "-n", "7")
    assert done.code == 0
    assert wire.asked[0].path == "/revocations"
    assert wire.asked[0].query == {
        "since": [SINCE],
        "until": [end],
        "trip_id": [TRIP],
        "limit": ["7"],
    }


def test_exposure_since_a_time_ago_sends_a_timestamp(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_exposure())]
    run("exposure", "--since", "2h")
    since = datetime.fromisoformat(wire.asked[0].query["since"][0])
    assert abs(datetime.now(UTC) - timedelta(hours=2) - since) < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "missing --since"),
        (("--since", "yesterday"), "is neither a date-time"),
        (("--since", SINCE, "--limit", "201"), "201 is not in the range"),
    ],
)
def test_exposure_with_an_invalid_option_is_a_usage_error(
    wire: Wire, run: RunCommand, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run("exposure", *arguments)
    assert done.code == 2
    assert sentence in done.err
    assert wire.asked == []


def test_exposure_of_an_id_that_is_none_names_it(wire: Wire, run: RunCommand) -> None:
    errors = [{"pointer": "/query/trip_id", "detail": "must be a UUID"}]
    wire.answers = [problem(422, "input-invalid", errors=errors)]
    done = run("exposure", "--since", SINCE, "--trip", "x")
    assert done.code == 1
    assert "/query/trip_id: must be a UUID" in done.err
