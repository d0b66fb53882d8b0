"""Personal topics: what the triggers add to a message, a batch of memberships, a deleted trip."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import uuid4

import psycopg

from benchmarks.figures import Measurement
from benchmarks.machine import on_processors
from benchmarks.scene import Scene
from tests.contract.database import create_project_database
from tests.postgres import run_postgres

_MEMBERS: Final = 10
_BATCH: Final = 500
_TABLES: Final = ("trip_memberships", "chat_messages", "chat_reactions", "chat_read_receipts")


@dataclass(slots=True)
class _Project:
    """A database with our migrations and Realtime's tables, and trips of ten members.

    Attributes:
        trips: with their members.
        sequence: of the latest request.
    """

    connection: psycopg.Connection
    epoch: int = 0
    sequence: int = 0
    trips: dict[str, Sequence[str]] = field(default_factory=dict)

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(sql.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def with_triggers(self, *, enabled: bool, do: Callable[[], float]) -> float:
        """Time something with the triggers on or off."""
        for table in _TABLES:
            switch = "enable" if enabled else "disable"
            self.run(f"alter table {table} {switch} trigger user")
        try:
            return do()
        finally:
            for table in _TABLES:
                self.run(f"alter table {table} enable trigger user")
            self.run("truncate realtime.messages")

    def apply(self, operation: str, status: str) -> float:
        """Time one request of the relay about every membership, in milliseconds."""
        rows = [
            {"trip_id": trip, "user_id": user, "role": "MEMBER", "status": status}
            for trip, users in self.trips.items()
            for user in users
        ]
        self.sequence += 1
        request = {
            "epoch": self.epoch,
            "sequence": self.sequence,
            "budget_ms": 3000,
            "operations": [
                {
                    "operation": operation,
                    "table": "public.trip_memberships",
                    "key": ["trip_id", "user_id"],
                    "rows": rows,
                }
            ],
        }
        started = time.perf_counter()
        ((response,),) = self.run("select relay_apply(%s)", json.dumps(request))
        duration = time.perf_counter() - started
        if response["failures"] or response["not_tried"]:
            raise RuntimeError(f"relay_apply: {response}")
        return 1000 * duration


def measure_fan_out(scene: Scene) -> list[Measurement]:
    """Measure writes with the triggers and without them."""
    scene.report("fan_out: writes with and without personal topics")
    with on_processors(scene.two_processors), run_postgres() as postgres:
        url = create_project_database(postgres)
        with psycopg.connect(url, autocommit=True) as connection:
            project = _fill(_Project(connection))
            writes: dict[str, Callable[[], float]] = {
                "a message": lambda: _send_messages(project, 20 if scene.is_quick else 200),
                f"relay_apply, {_BATCH} revocations": lambda: _revoke(project),
                f"relay_apply, {_BATCH} rows unchanged": lambda: project.apply("upsert", "ACTIVE"),
                "a deleted trip of 5,000 messages": lambda: _delete_trip(project),
            }
            figures = {
                name: scene.run_in_turn(
                    {
                        "with": partial(project.with_triggers, enabled=True, do=do),
                        "without": partial(project.with_triggers, enabled=False, do=do),
                    }
                )
                for name, do in writes.items()
            }
    measurement = Measurement(
        "Personal topics",
        f"PostgreSQL with our migrations and realtime.send as published; trips of {_MEMBERS}"
        " members; each write with the triggers and without them",
    )
    for name, found in figures.items():
        measurement.add(f"{name}, with", "ms", found["with"])
        measurement.add(f"{name}, without", "ms", found["without"])
    return [measurement]


def _fill(project: _Project) -> _Project:
    project.trips = {
        str(uuid4()): [str(uuid4()) for _ in range(_MEMBERS)] for _ in range(_BATCH // _MEMBERS)
    }
    for trip, users in project.trips.items():
        project.run("insert into trips values (%s, 'Rome', %s)", trip, users[0])
        project.run(
            "insert into users select id::uuid, id, id from unnest(%s::text[]) as id", list(users)
        )
    ((claim,),) = project.run("select relay_claim('{\"protocol\": 1}')")
    project.epoch = claim["epoch"]
    project.apply("upsert", "ACTIVE")
    project.run("truncate realtime.messages")
    return project


def _send_messages(project: _Project, count: int) -> float:
    trip, users = next(iter(project.trips.items()))
    started = time.perf_counter()
    for _ in range(count):
        project.run(
            "insert into chat_messages (trip_id, user_id, body) values (%s, %s, 'hello')",
            trip,
            users[0],
        )
    return 1000 * (time.perf_counter() - started) / count


def _revoke(project: _Project) -> float:
    try:
        return project.apply("upsert", "INACTIVE")
    finally:
        project.apply("upsert", "ACTIVE")


def _delete_trip(project: _Project) -> float:
    trip = str(uuid4())
    users = next(iter(project.trips.values()))
    project.run("insert into trips values (%s, 'Rome', %s)", trip, users[0])
    project.run(
        "insert into trip_memberships select %s::uuid, id::uuid, 'MEMBER', 'ACTIVE'"
        " from unnest(%s::text[]) as id",
        trip,
        list(users),
    )
    project.run(
        "insert into chat_messages (trip_id, user_id, body)"
        " select %s::uuid, %s::uuid, 'hello' from generate_series(1, 5000)",
        trip,
        users[0],
    )
    project.run(
        "insert into chat_reactions (message_id, trip_id, user_id, emoji)"
        " select id, trip_id, user_id, '👍' from chat_messages where trip_id = %s",
        trip,
    )
    started = time.perf_counter()
    project.run("delete from trips where id = %s", trip)
    return 1000 * (time.perf_counter() - started)
