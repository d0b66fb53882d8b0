"""`relay reconcile` of a source, against a real relay and a real PostgreSQL."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, RunCommand
from tests.cli.source.backend import Backend, create_backend
from tests.cli.source.sides import ANA, BEN, CAT, OLD_TRIP, TRIP, Row, kind_of, member, trip, user
from tests.docs.conftest import JWT_SECRET, SECRET, UNREACHABLE, Relay, run_relay
from tests.postgres import PostgresServer

ROWS = (user(), user(BEN, "ben"), trip(), member(role="OWNER"), member(BEN))
HEADINGS = "               relay  source  leaks  denies  other\n"


@pytest.fixture
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay with an empty store."""
    with run_relay(tmp_path_factory.mktemp("relay"), UNREACHABLE) as relay:
        yield relay


@pytest.fixture
def call(relay: Relay, run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Run a command of this relay's operator."""
    monkeypatch.setenv("RELAY_URL", relay.url)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("WEBHOOK_SECRETS", SECRET)
    return run


def write_time(minutes: float = 0.0) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def write_file(path: Path, *rows: Row, minutes: float = 1.0) -> Path:
    """Write a snapshot of some minutes ago."""
    documents: list[object] = [{"snapshot_at": write_time(minutes)}]
    documents += [{"kind": kind_of(row), "data": row} for row in rows]
    path.write_text("".join(f"{json.dumps(each)}\n" for each in documents))
    return path


@pytest.fixture
def reconcile(call: RunCommand, tmp_path: Path) -> Callable[..., Done]:
    """Compare the relay with a file of rows."""

    def reconcile_rows(*rows: Row, options: tuple[str, ...] = (), minutes: float = 1.0) -> Done:
        path = write_file(tmp_path / "snapshot.ndjson", *rows, minutes=minutes)
        return call("reconcile", "--source-file", path.name, *options)

    return reconcile_rows


Reconcile = Callable[..., Done]
REPAIR = ("--repair", "--yes")


def test_empty_relay_is_filled_from_a_file(reconcile: Reconcile) -> None:
    compared = reconcile(*ROWS)
    assert compared.code == 1
    assert compared.out.startswith(
        "The relay differs from the source: 5 differences.\n"
        f"{HEADINGS}"
        "  memberships      0       2      0       2      0\n"
        "  trips            0       1      0       1      0\n"
        "  users            0       2      0       2      0\n"
    )
    assert compared.err == "Next: relay reconcile --source-file snapshot.ndjson --repair\n"
    repaired = reconcile(*ROWS, options=REPAIR)
    assert repaired.code == 0
    assert repaired.out.endswith(
        "5 events sent. Second comparison:\nThe relay equals the source: 5 rows.\n"
    )
    assert reconcile(*ROWS).code == 0


def test_leaks_are_found_and_revoked(reconcile: Reconcile, call: RunCommand) -> None:
    cat = user(CAT, "cat")
    reconcile(cat, *ROWS, member(CAT), minutes=3, options=REPAIR)
    rows = (cat, *ROWS[:-1], member(BEN, status="INACTIVE"))
    compared = reconcile(*rows, minutes=2)
    assert "leaks: 2, access that should be revoked\n" in compared.out
    assert (
        f"  membership/{TRIP}/{BEN}\n"
        "    different (status); changed without an event; repair: write\n"
        f"  membership/{TRIP}/{CAT}\n"
        "    extra; changed without an event; repair: delete\n"
    ) in compared.out
    refused = reconcile(*rows, minutes=2, options=REPAIR)
    assert "the source has 2 memberships, and the relay 3" in refused.err
    plan = refused.err.split()[-1]
    assert reconcile(*rows, minutes=2, options=(*REPAIR, "--approve", plan)).code == 0
    listed = call("events", "--limit", "2", "--json").out
    events = [json.loads(line) for line in listed.splitlines()]
    assert {event["entity"]["key"]: event["type"] for event in events} == {
        f"{TRIP}/{CAT}": "membership.deleted",
        f"{TRIP}/{BEN}": "membership.updated",
    }


def test_later_true_event_wins_over_a_repair(reconcile: Reconcile, relay: Relay) -> None:
    reconcile(*ROWS, minutes=5, options=REPAIR)
    ids = (f"trip_id={TRIP}", f"user_id={BEN}")
    # The source removed the member, and added them again after the snapshot: that event is late.
    removed = reconcile(*ROWS[:-1], minutes=2)
    plan = removed.err.split()[-1]
    assert reconcile(*ROWS[:-1], minutes=2, options=(*REPAIR, "--approve", plan)).code == 0
    late = ("role=ADMIN", "status=ACTIVE", "--timestamp", write_time(1))
    relay.send("membership.created", *ids, *late)
    compared = reconcile(*ROWS[:-1], minutes=2)
    assert compared.code == 0
    assert "1 entity changed after the snapshot: not compared.\n" in compared.out
    assert reconcile(*ROWS[:-1], member(BEN, role="ADMIN"), minutes=0).code == 0


def test_small_source_is_refused_until_its_plan_is_approved(reconcile: Reconcile) -> None:
    reconcile(*ROWS, minutes=3, options=REPAIR)
    refused = reconcile(*ROWS[:-1], options=(*REPAIR, "--max-removals", "100%"))
    assert refused.code == 1
    assert "not repaired: the source has 1 memberships, and the relay 2" in refused.err
    command = refused.err.splitlines()[-1].strip()
    assert command.startswith("relay reconcile --source-file snapshot.ndjson --repair --approve ")
    approval = command.split()[-2:]
    other = reconcile(*ROWS[:-2], options=(*REPAIR, *approval))
    assert other.code == 1
    assert "is out of date" in other.err
    approved = reconcile(*ROWS[:-1], options=(*REPAIR, *approval))
    assert approved.code == 0
    assert reconcile(*ROWS[:-1]).code == 0


def test_empty_source_is_refused(reconcile: Reconcile) -> None:
    reconcile(*ROWS, minutes=3, options=REPAIR)
    refused = reconcile(options=(*REPAIR, "--json", "--max-removals", "100%"))
    assert refused.code == 1
    report = json.loads(refused.out)
    assert (report["repair"], report["refusal"]) == ("refused", "the source is empty")
    assert (report["removals"], report["repaired"]) == (5, 0)


def test_trip_without_its_memberships_is_removed_with_them(reconcile: Reconcile) -> None:
    rows = (*ROWS, trip(OLD_TRIP), member(ANA, OLD_TRIP))
    reconcile(*rows, minutes=3, options=REPAIR)
    plan = json.loads(reconcile(*ROWS, options=("--json",)).out)["plan_id"]
    assert reconcile(*ROWS, options=(*REPAIR, "--approve", plan)).code == 0


def test_report_is_json_and_differences_are_a_file(reconcile: Reconcile, tmp_path: Path) -> None:
    done = reconcile(*ROWS, options=("--json", "--output", "differences.ndjson"))
    report = json.loads(done.out)
    assert report["tables"][0] == {
        "kind": "membership",
        "rows": 0,
        "source_rows": 2,
        "leaks": 0,
        "denies": 2,
        "other": 0,
    }
    assert (report["source"], report["differences"]) == ("snapshot.ndjson", 5)
    path = tmp_path / "differences.ndjson"
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 5
    assert lines[0] == {
        "kind": "membership",
        "key": f"{TRIP}/{ANA}",
        "difference": "missing",
        "effect": "denies",
        "origin": "unknown_to_us",
        "columns": [],
        "repair": "write",
        "note": None,
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_invalid_file_ends_with_2_and_sends_nothing(reconcile: Reconcile, call: RunCommand) -> None:
    done = reconcile(user(), {**user(), "email": ""}, options=REPAIR)
    assert done.code == 2
    assert "line 3: /data/email must not be empty" in done.err
    assert call("events", "--json").out == ""


@pytest.fixture
def backend(postgres: PostgresServer) -> Backend:
    backend = create_backend(postgres)
    backend.insert(*ROWS)
    return backend


def test_relay_is_repaired_from_a_database(backend: Backend, call: RunCommand) -> None:
    options = ("--source-db-url", backend.url)
    compared = call("reconcile", *options)
    assert compared.code == 1
    # The URL holds a password.
    assert "Next: relay reconcile --source-db-url '$BACKEND_DB_URL' --repair\n" in compared.err
    assert call("reconcile", *options, *REPAIR).code == 0
    assert call("reconcile", *options).out == "The relay equals the source: 5 rows.\n"


def test_unsent_events_are_left_out(backend: Backend, call: RunCommand) -> None:
    options = ("--source-db-url", backend.url, "--wait", "0")
    backend.record("membership.created", member(BEN))
    assert call("reconcile", *options, *REPAIR).code == 0
    left = call("reconcile", *options)
    assert left.code == 0
    assert "Still in the outbox: 1. The entities of these events do not count.\n" in left.err
    assert "1 entity with unsent events: not compared." in left.out
    backend.execute("delete from relay_outbox")
    assert call("reconcile", *options).code == 1


def test_database_without_an_outbox_is_mentioned(
    postgres: PostgresServer, call: RunCommand
) -> None:
    backend = create_backend(postgres, has_outbox=False)
    done = call("reconcile", "--source-db-url", backend.url)
    assert done.code == 0
    assert "no table relay_outbox" in done.err
