"""One failing row delays no others, on a real PostgreSQL behind the local Supabase."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import pytest

from app.cli.client.signing import sign_body
from app.demo.local_supabase import LocalSupabase, run_local_supabase
from tests.e2e.conftest import RelayProcess, await_that, run_relays
from tests.postgres import PostgresServer

# The relay's promise, doubled for a busy machine.
OTHERS_SECONDS: Final = 5.0
OTHERS_AFTER_TIMEOUT_SECONDS: Final = 15.0
_PATIENCE: Final = 2.0


@dataclass
class Project:
    """A relay, its Supabase, and the database below it."""

    relay: RelayProcess
    db_url: str
    statements: list[str] = field(default_factory=list)

    def run(self, statement: str, *, undo: str = "") -> list[tuple[Any, ...]]:
        """Run SQL as the owner of the database; `undo` runs at the end of the test."""
        if undo:
            self.statements.append(undo)
        with psycopg.connect(self.db_url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def restore(self) -> None:
        while self.statements:
            self.run(self.statements.pop())

    def send(self, *changes: tuple[str, dict[str, str]]) -> list[str]:
        """Send changes in batches, and return the ids of their events."""
        ids = [f"evt_{uuid.uuid4()}" for _ in changes]
        now = datetime.now(UTC).isoformat()
        events = [
            {"id": id_, "type": type_, "timestamp": now, "data": data}
            for id_, (type_, data) in zip(ids, changes, strict=True)
        ]
        for start in range(0, len(events), 1000):
            body = json.dumps({"events": events[start : start + 1000]}).encode()
            headers = sign_body(self.relay.secret, body)
            answer = self.relay.post_body(body, headers, "/webhooks/batch")
            assert answer.status_code == 202, answer.text
        return ids

    def apply(self, *changes: tuple[str, dict[str, str]]) -> None:
        """Send changes and wait until Supabase holds them."""
        self.send(*changes)
        self.relay.await_settled()

    def count(self, table: str, column: str, ids: Sequence[str]) -> int:
        ((count,),) = self.run(
            f"select count(*) from public.{table}"  # noqa: S608
            f" where {column} in ({', '.join(repr(id_) for id_ in ids)})"
        )
        return int(count)

    def await_that(self, condition: Callable[[], bool], seconds: float) -> None:
        await_that(
            condition,
            seconds * _PATIENCE,
            lambda: f"{self.relay.health()} {self.relay.log[-3000:]}",
        )

    def show_event(self, event_id: str) -> dict[str, Any]:
        said = self.relay.run("events", event_id, "--json")
        assert said.returncode == 0, said.stderr
        event: dict[str, Any] = json.loads(said.stdout)
        return event


@dataclass
class Trip:
    """A trip with members, all in Supabase."""

    id: str
    members: list[str]


@pytest.fixture(scope="module")
def supabase(postgres: PostgresServer) -> Iterator[LocalSupabase]:
    with run_local_supabase(postgres_url=postgres.create_database()) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, supabase: LocalSupabase) -> Iterator[Project]:
    with run_relays(tmp_path_factory.mktemp("relays")) as make:
        relay = make(SUPABASE_URL=supabase.url, SUPABASE_SECRET_KEY=supabase.secret_key)
        assert supabase.database_url is not None
        yield Project(relay, supabase.database_url)


@pytest.fixture
def project(shared: Project) -> Iterator[Project]:
    yield shared
    shared.restore()


def user(id_: str, name: str | None = None) -> tuple[str, dict[str, str]]:
    name = name or id_
    return "user.created", {"id": id_, "email": f"{id_}@example.com", "username": name}


def new_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def make_trip(project: Project, members: int) -> Trip:
    owner, *users = new_ids(members + 1)
    trip = Trip(str(uuid.uuid4()), users)
    project.apply(
        *(user(id_) for id_ in (owner, *users)),
        ("trip.created", {"id": trip.id, "name": "Lisbon", "created_by": owner}),
        *(
            (
                "membership.created",
                {"trip_id": trip.id, "user_id": id_, "role": "MEMBER", "status": "ACTIVE"},
            )
            for id_ in users
        ),
    )
    assert project.count("trip_memberships", "user_id", users) == members
    return trip


def test_locked_row_delays_no_other_revocation_and_is_reported(project: Project) -> None:
    trip = make_trip(project, 6)
    locked, *others = trip.members
    with psycopg.connect(project.db_url) as session:
        session.execute(
            "select * from public.trip_memberships where user_id = %s for update", [locked]
        )
        (event_id, *_) = project.send(
            *(("membership.deleted", {"trip_id": trip.id, "user_id": id_}) for id_ in trip.members)
        )
        granted = new_ids(20)
        project.send(*(user(id_) for id_ in granted))
        project.await_that(
            lambda: project.count("trip_memberships", "user_id", others) == 0, OTHERS_SECONDS
        )
        project.await_that(lambda: project.count("users", "id", granted) == 20, OTHERS_SECONDS)
        assert project.count("trip_memberships", "user_id", [locked]) == 1
        event = project.show_event(event_id)
        assert event["status"] == "pending"
        assert event["entity"]["last_error_code"] == "55P03"
        # A row that is busy for a minute is reported.
        project.await_that(lambda: locked in str(project.relay.health()["checks"]["supabase"]), 70)
        # Other changes are applied as before.
        late = new_ids(1)
        project.send(user(late[0]))
        project.await_that(lambda: project.count("users", "id", late) == 1, OTHERS_SECONDS)
        session.rollback()
    # Once unlocked, the row is deleted within the longest backoff of a busy row.
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", [locked]) == 0, OTHERS_SECONDS + 1
    )
    project.await_that(lambda: project.relay.health()["status"] == "ok", OTHERS_SECONDS)


def test_row_too_large_for_an_index_delays_no_others(project: Project) -> None:
    trip = make_trip(project, 3)
    project.run(
        "create unique index too_small on public.users (username)",
        undo="drop index public.too_small",
    )
    # 700 different emoji do not compress.
    name = "".join(chr(0x1F300 + number) for number in range(700))
    large, *small = new_ids(21)
    (event_id, *_) = project.send(
        user(large, name),
        *(user(id_) for id_ in small),
        *(("membership.deleted", {"trip_id": trip.id, "user_id": id_}) for id_ in trip.members),
    )
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", trip.members) == 0, OTHERS_SECONDS
    )
    project.await_that(lambda: project.count("users", "id", small) == 20, OTHERS_SECONDS)
    project.await_that(lambda: project.show_event(event_id)["status"] == "dead", OTHERS_SECONDS)
    assert project.show_event(event_id)["entity"]["last_error_code"] == "54000"
    assert project.relay.health()["backlog"]["dead"] >= 1


def test_trip_whose_cascade_exceeds_the_timeout_delays_no_others(project: Project) -> None:
    slow, other = make_trip(project, 2), make_trip(project, 2)
    project.run(
        "create table public.photos (trip_id uuid references public.trips on delete cascade);"
        "create function public.sleep_long() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(60); return old; end $$;"
        "create trigger slow before delete on public.photos"
        " for each row execute function public.sleep_long()",
        undo="drop table public.photos; drop function public.sleep_long()",
    )
    project.run(f"insert into public.photos values ('{slow.id}')")  # noqa: S608
    (event_id, *_) = project.send(
        ("trip.deleted", {"id": slow.id}), ("trip.deleted", {"id": other.id})
    )
    # The members' access does not wait for the cascade.
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", slow.members + other.members) == 0,
        OTHERS_SECONDS,
    )
    project.await_that(
        lambda: project.count("trips", "id", [other.id]) == 0, OTHERS_AFTER_TIMEOUT_SECONDS
    )
    while_it_lasts = make_trip_while_in_trouble(project)
    assert while_it_lasts < OTHERS_AFTER_TIMEOUT_SECONDS * _PATIENCE
    project.await_that(
        lambda: slow.id in str(project.relay.health()["checks"]["supabase"]),
        OTHERS_AFTER_TIMEOUT_SECONDS,
    )
    assert project.show_event(event_id)["status"] == "pending"
    # @supabase/lite leaves out the SQLSTATE of a timeout.
    assert project.show_event(event_id)["entity"]["last_error_code"] in ("57014", "HTTP 500")
    project.run("truncate public.photos")
    project.await_that(lambda: project.count("trips", "id", [slow.id]) == 0, 60)


def make_trip_while_in_trouble(project: Project) -> float:
    """Return the seconds of a grant and its revocation together."""
    started = time.monotonic()
    owner, member, trip = new_ids(3)
    ids = {"trip_id": trip, "user_id": member}
    project.send(
        user(owner),
        user(member),
        ("trip.created", {"id": trip, "name": "Porto", "created_by": owner}),
        ("membership.created", ids | {"role": "MEMBER", "status": "ACTIVE"}),
    )
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", [member]) == 1,
        OTHERS_AFTER_TIMEOUT_SECONDS,
    )
    project.send(("membership.deleted", ids))
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", [member]) == 0,
        OTHERS_AFTER_TIMEOUT_SECONDS,
    )
    return time.monotonic() - started


@pytest.mark.parametrize("code", ["42501", "42883", "38000", "XX000", "P0001"])
def test_trigger_that_raises_for_one_row_delays_no_others(project: Project, code: str) -> None:
    trip = make_trip(project, 2)
    bad, *good = new_ids(21)
    project.run(
        "create function public.refuse() returns trigger language plpgsql as $$ begin"
        f" if new.id = '{bad}' then raise exception 'no: %', new.email using errcode = '{code}';"
        " end if; return new; end $$;"
        "create trigger refuse before insert on public.users"
        " for each row execute function public.refuse()",
        undo="drop function public.refuse() cascade",
    )
    (event_id, *_) = project.send(
        user(bad),
        *(user(id_) for id_ in good),
        *(("membership.deleted", {"trip_id": trip.id, "user_id": id_}) for id_ in trip.members),
    )
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", trip.members) == 0, OTHERS_SECONDS
    )
    project.await_that(lambda: project.count("users", "id", good) == 20, OTHERS_SECONDS)

    def has_failed() -> bool:
        return bool(project.show_event(event_id)["entity"]["last_error"])

    project.await_that(has_failed, OTHERS_SECONDS)
    event = project.show_event(event_id)
    assert event["entity"]["last_error_code"] == code
    assert "@" not in event["entity"]["last_error"]


def test_rows_that_time_out_when_more_than_a_hundred_are_written_at_once(
    project: Project,
) -> None:
    trip = make_trip(project, 5)
    project.run(
        "create function public.limit_statement() returns trigger language plpgsql as $$ begin"
        " if (select count(*) from written) > 100 then perform pg_sleep(60); end if;"
        " return null; end $$;"
        "create trigger limit_statement after insert on public.users"
        " referencing new table as written"
        " for each statement execute function public.limit_statement()",
        undo="drop function public.limit_statement() cascade",
    )
    users = new_ids(2400)
    project.send(*(user(id_) for id_ in users))
    project.send(
        *(("membership.deleted", {"trip_id": trip.id, "user_id": id_}) for id_ in trip.members)
    )
    project.await_that(
        lambda: project.count("trip_memberships", "user_id", trip.members) == 0,
        OTHERS_AFTER_TIMEOUT_SECONDS,
    )
    # Twenty-four requests would suffice; the relay has to find the limit, at 5 s each.
    project.await_that(lambda: project.count("users", "id", users) == 2400, 30)
