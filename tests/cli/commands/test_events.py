"""`relay events`, against a fake relay."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.relay_harness import TRIP, USER
from tests.cli.conftest import RunCommand
from tests.cli.documents import make_event, make_page
from tests.cli.wire import Wire, document, problem


def test_events_into_a_pipe_are_separated_by_tabs(wire: Wire, run: RunCommand) -> None:
    dead = make_event(
        "evt_2", "dead", last_error_code="23514", last_error="violates\n\x1b[31m\tcheck"
    )
    wire.answers = [document(make_page(make_event(), dead))]
    done = run("events")
    assert done.code == 0
    key, error = f"membership/{TRIP}/{USER}", "23514: violates [31m check"
    assert [line.split("\t") for line in done.out.splitlines()] == [
        ["2026-01-02T03:04:08Z", "applied", "membership.created", key, "evt_1", ""],
        ["2026-01-02T03:04:08Z", "dead", "membership.created", key, "evt_2", error],
    ]


def test_events_pages_until_the_limit_and_past_an_empty_page(wire: Wire, run: RunCommand) -> None:
    full = [make_event(f"evt_{n}") for n in range(200)]
    wire.answers = [
        document(make_page(*full, cursor="a")),
        document(make_page(cursor="b")),
        document(make_page(make_event("last"), make_event("too many"), cursor="c")),
    ]
    done = run("events", "--limit", "201", "--json")
    listed = [json.loads(line)["event_id"] for line in done.out.splitlines()]
    assert listed == [event["event_id"] for event in full] + ["last"]
    asked = [(query.get("cursor"), query["limit"]) for query in (a.query for a in wire.asked)]
    assert asked == [(None, ["200"]), (["a"], ["1"]), (["b"], ["1"])]


def test_events_ends_after_the_last_page(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_page(make_event()))]
    assert run("events", "-n", "500", "--json").out.count("\n") == 1
    assert len(wire.asked) == 1


def test_events_sends_every_criterion(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_page())]
    done = run(
        *("events", "--since", "2026-01-02T03:04:05+01:00", "--status", "superseded"),
        *("--type", "membership.*,user.deleted", "--type", "trip.created"),
        *("--entity", f"membership/{TRIP}/{USER}"),
        *("--error-code", "23514", "--error", "violates a check"),
    )
    assert done.code == 0
    assert wire.asked[0].query == {
        "since": ["2026-01-02T03:04:05+01:00"],
        "types": ["membership.*", "user.deleted", "trip.created"],
        "entity": [f"membership/{TRIP}/{USER}"],
        "status": ["superseded"],
        "error_code": ["23514"],
        "error": ["violates a check"],
        "limit": ["20"],
    }


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_events_since_a_time_ago_sends_a_timestamp(
    wire: Wire, run: RunCommand, text: str, ago: timedelta
) -> None:
    wire.answers = [document(make_page())]
    run("events", "--since", text)
    since = datetime.fromisoformat(wire.asked[0].query["since"][0])
    assert abs(datetime.now(UTC) - ago - since) < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--since", "yesterday"), "is neither a date-time"),
        (("--until", "2026-01-02T03:04:05"), "is neither a date-time"),
        (("--since", "999999999w"), "is neither a date-time"),
        (("--entity", "chat/1"), "is not of the form user/<id>"),
        (("--entity", "user/"), "is not of the form user/<id>"),
        (("--status", "lost"), "'lost' is not one of"),
        (("--url", "relay.example.com"), "is not of the form https://"),
        (("evt_1", "--status", "dead"), "goes without other criteria"),
        (("--limit", "0"), "0 is not in the range"),
    ],
)
def test_events_with_an_invalid_option_is_a_usage_error(
    wire: Wire, run: RunCommand, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run("events", *arguments)
    assert done.code == 2
    assert sentence in done.err
    assert wire.asked == []


def test_event_by_id_as_json_is_the_relays_document(wire: Wire, run: RunCommand) -> None:
    event = make_event() | {"new": "field"}
    wire.answers = [document(event)]
    assert json.loads(run("events", "evt_1", "--json").out) == event


@pytest.mark.parametrize("event_id", ["a/b", "..", "%2e", "a?b#c", "evt_1"])
def test_event_with_an_odd_id_is_requested_by_that_id(
    wire: Wire, run: RunCommand, event_id: str
) -> None:
    from urllib.parse import unquote

    wire.answers = [document(make_event(event_id))]
    assert run("events", event_id).code == 0
    assert unquote(wire.asked[0].path) == f"/events/{event_id}"
    assert wire.asked[0].path.count("/") == 2


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (make_event(), "Supabase holds this change."),
        (make_event(status="pending"), "waits for its turn"),
        (make_event(status="pending", last_error_code="23505"), "The relay retries it."),
        (make_event(status="pending", last_error_code="23503"), "is not in Supabase yet"),
        (make_event(status="superseded"), "replaced this one; the membership is applied."),
        (make_event(status="dead"), "relay replay evt_1"),
        (make_event(status="new one"), "The event is new one."),
    ],
)
def test_event_by_id_explains_its_status(
    wire: Wire, run: RunCommand, event: dict[str, object], sentence: str
) -> None:
    wire.answers = [document(event)]
    done = run("events", "evt_1")
    assert done.code == 0
    assert sentence in " ".join(done.out.split())


def test_event_by_id_shows_every_field(wire: Wire, run: RunCommand) -> None:
    event = make_event(
        status="pending",
        is_removed=True,
        attempts=2,
        applied_at="2026-01-02T03:04:01Z",
        pending_since="2026-01-02T03:04:02Z",
        next_attempt_at="2026-01-02T03:04:03Z",
        last_error_code="23505",
        last_error="duplicate key [/red]",
    )
    wire.answers = [document(event | {"request_id": "req-1", "trace_id": "4bf92f35"})]
    lines = run("events", "evt_1").out.splitlines()
    shown = dict(line.strip().split("  ", 1) for line in lines if "  " in line)
    assert {name: value.strip() for name, value in shown.items()} == {
        "pending": "membership.created  evt_1",
        "happened": "2026-01-02 03:04:05.678901 UTC",
        "received": "2026-01-02 03:04:08.000000 UTC, 2.3 s later",
        "request": "req-1",
        "trace": "4bf92f35",
        "entity": f"membership/{TRIP}/{USER}",
        "entity state": "pending; Supabase should hold no row",
        "desired since": "2026-01-02 03:04:05.678901 UTC",
        "applied": "2026-01-02 03:04:01.000000 UTC",
        "pending since": "2026-01-02 03:04:02.000000 UTC",
        "rejected": "2 times",
        "last error": "23505: duplicate key [/red]",
        "next attempt": "2026-01-02 03:04:03.000000 UTC",
    }


def test_event_that_is_unknown_is_a_sentence(wire: Wire, run: RunCommand) -> None:
    wire.answers = [problem(404, "event-not-found", "No event is stored under this id.")]
    done = run("events", "evt_1")
    assert (done.code, done.out) == (1, "")
    assert "No event is stored under this id." in done.err
    assert "RETENTION_DAYS" in done.err


def test_events_without_a_match_print_nothing(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_page())]
    done = run("events")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_event_of_another_id_is_rejected(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_event("evt_another"))]
    done = run("events", "evt_1")
    assert (done.code, done.out) == (3, "")
    assert "responded to /events/evt_1 with evt_another" in done.err
