"""Rows that somebody changes past the relay are found and repaired, on real processes."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.cli.client.signing import sign_body
from app.demo.local_supabase import LocalSupabase, run_local_supabase
from tests.e2e.conftest import RelayProcess, await_that, run_relays
from tests.local import open_as_user, open_rest
from tests.postgres import PostgresServer

Body = dict[str, Any]

CHECK_SECONDS = 60.0


@pytest.fixture(scope="module", params=["pglite", "postgresql"])
def own_supabase(request: pytest.FixtureRequest) -> Iterator[LocalSupabase]:
    """A Supabase that this file's relay alone writes to: rows of others would be drift."""
    url = None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
    with run_local_supabase(postgres_url=url) as supabase:
        yield supabase


@pytest.fixture(scope="module")
def relay(
    own_supabase: LocalSupabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelayProcess]:
    with run_relays(tmp_path_factory.mktemp("relays")) as make:
        yield make(
            SUPABASE_URL=own_supabase.url,
            SUPABASE_SECRET_KEY=own_supabase.secret_key,
            DRIFT_CHECK_SECONDS="0",
        )


@pytest.fixture(scope="module")
def editor(own_supabase: LocalSupabase) -> Iterator[httpx.Client]:
    """Somebody with the service key, who writes past the relay."""
    with open_rest(own_supabase, own_supabase.secret_key) as client:
        yield client


def send(relay: RelayProcess, event_type: str, **data: str) -> None:
    answer = relay.post(event_type, data)
    assert (answer.status_code, answer.json()["status"]) == (200, "applied"), answer.text


def send_user(relay: RelayProcess) -> str:
    user_id = str(uuid.uuid4())
    send(relay, "user.created", id=user_id, email=f"{user_id}@example.com", username="ana")
    return user_id


def send_trip(relay: RelayProcess, owner: str) -> str:
    trip_id = str(uuid.uuid4())
    send(relay, "trip.created", id=trip_id, name="Lisbon", created_by=owner)
    return trip_id


def send_member(relay: RelayProcess, trip: str, user: str, status: str = "ACTIVE") -> None:
    send(relay, "membership.created", trip_id=trip, user_id=user, role="MEMBER", status=status)


def check(relay: RelayProcess, **request: object) -> tuple[Body, list[Body]]:
    """Run one check; return its report and what differs."""
    with relay.operator("events:read", "replay:write") as operator:
        answer = operator.post("/reconcile", json=request)
        assert answer.status_code == 202, answer.text
        report: Body = answer.json()
        path = f"/reconcile/{report['reconcile_id']}"
        await_that(
            lambda: operator.get(path).json()["status"] != "running",
            CHECK_SECONDS,
            lambda: relay.log,
        )
        report = operator.get(path).json()
        assert report["status"] == "completed", report
        found: list[Body] = operator.get(f"{path}/differences").json()["differences"]
        return report, found


def read_tables(editor: httpx.Client) -> dict[str, list[Body]]:
    tables: dict[str, list[Body]] = {}
    for table, order in (
        ("users", "id"), ("trips", "id"), ("trip_memberships", "trip_id,user_id")
    ):  # fmt: skip
        answer = editor.get(table, params={"order": order})
        tables[table] = answer.raise_for_status().json()
    return tables


def test_edits_past_the_relay_are_named_and_repaired(
    relay: RelayProcess, editor: httpx.Client
) -> None:
    ana, bo, cy = (send_user(relay) for _ in range(3))
    trip, other = send_trip(relay, ana), send_trip(relay, bo)
    send_member(relay, trip, ana)
    send_member(relay, trip, bo)
    send_member(relay, trip, cy, "INACTIVE")
    before = read_tables(editor)
    assert check(relay)[1] == []
    stranger = str(uuid.uuid4())
    in_trip = {"trip_id": f"eq.{trip}"}
    edits = [
        editor.delete("trip_memberships", params=in_trip | {"user_id": f"eq.{ana}"}),
        editor.patch(
            "trip_memberships",
            params=in_trip | {"user_id": f"eq.{bo}"},
            json={"role": "ADMIN"},
        ),
        editor.patch(
            "trip_memberships",
            params=in_trip | {"user_id": f"eq.{cy}"},
            json={"status": "ACTIVE"},
        ),
        editor.post("users", json={"id": stranger, "email": "x@example.com", "username": "x"}),
        editor.post(
            "trip_memberships",
            json={"trip_id": trip, "user_id": stranger, "role": "OWNER", "status": "ACTIVE"},
        ),
        editor.patch("users", params={"id": f"eq.{ana}"}, json={"username": "edited"}),
        editor.delete("trips", params={"id": f"eq.{other}"}),
    ]
    for edit in edits:
        assert edit.is_success, edit.text

    report, found = check(relay)

    named = {
        (each["kind"], each["key"]): (
            each["difference"], each["effect"], each["origin"], each["columns"], each["repair"]
        )
        for each in found
    }  # fmt: skip
    assert named == {
        ("membership", f"{trip}/{cy}"): (
            "different", "leaks", "changed_by_somebody_else", ["status"], "write",
        ),
        ("membership", f"{trip}/{stranger}"): ("extra", "leaks", "unknown_to_us", [], "delete"),
        ("membership", f"{trip}/{ana}"): (
            "missing", "denies", "changed_by_somebody_else", [], "write",
        ),
        ("trip", other): ("missing", "denies", "changed_by_somebody_else", [], "write"),
        ("membership", f"{trip}/{bo}"): (
            "different", "other", "changed_by_somebody_else", ["role"], "write",
        ),
        ("user", ana): ("different", "other", "changed_by_somebody_else", ["username"], "write"),
        ("user", stranger): ("extra", "other", "unknown_to_us", [], "delete"),
    }  # fmt: skip
    effects = [each["effect"] for each in found]
    assert effects == ["leaks"] * 2 + ["denies"] * 2 + ["other"] * 3
    assert (report["removals"], report["repair"], report["repaired"]) == (2, "automatic", 1)

    repaired, rest = check(relay, repair=True, max_removals="2")

    assert len(rest) == 6  # the leak that a revocation explains was repaired by itself
    assert (repaired["repair"], repaired["repaired"]) == ("requested", 6)
    relay.await_settled()
    assert check(relay)[1] == []
    assert read_tables(editor) == before


def test_removed_member_whose_row_is_put_back_is_removed_by_the_next_check(
    relay: RelayProcess, editor: httpx.Client, own_supabase: LocalSupabase
) -> None:
    owner, user = send_user(relay), send_user(relay)
    trip = send_trip(relay, owner)
    send_member(relay, trip, user)
    message = {"trip_id": trip, "user_id": owner, "body": "Tram 28 at nine?"}
    editor.post("chat_messages", json=message).raise_for_status()
    send(relay, "membership.deleted", trip_id=trip, user_id=user)
    row = {"trip_id": trip, "user_id": user, "role": "MEMBER", "status": "ACTIVE"}
    with open_as_user(own_supabase, uuid.UUID(user)) as app:
        assert app.get("chat_messages").json() == []
        editor.post("trip_memberships", json=row).raise_for_status()
        assert [each["body"] for each in app.get("chat_messages").json()] == [message["body"]]

        report, found = check(relay)
        relay.await_settled()

        assert [(each["key"], each["effect"], each["origin"]) for each in found] == [
            (f"{trip}/{user}", "leaks", "removed_by_us")
        ]
        assert (report["repair"], report["removals"]) == ("automatic", 0)
        assert app.get("chat_messages").json() == []
        assert app.get("trip_memberships").json() == []
    assert check(relay)[1] == []


def test_edits_in_a_trip_with_more_members_than_a_page_are_named(
    relay: RelayProcess, editor: httpx.Client
) -> None:
    trip = send_trip(relay, send_user(relay))
    users = sorted(str(uuid.uuid4()) for _ in range(2500))
    for start in range(0, len(users), 1000):
        some = users[start : start + 1000]
        send_batch(
            relay,
            "user.created",
            [{"id": each, "email": f"{each}@example.com", "username": "ana"} for each in some],
        )
        member = {"trip_id": trip, "role": "MEMBER", "status": "ACTIVE"}
        send_batch(relay, "membership.created", [member | {"user_id": each} for each in some])
    relay.await_settled()
    assert check(relay)[1] == []
    lost = [users[0], users[999], users[1000], users[1001], users[-1]]
    for user in lost:
        where = {"trip_id": f"eq.{trip}", "user_id": f"eq.{user}"}
        editor.delete("trip_memberships", params=where).raise_for_status()

    found = check(relay, repair=True)[1]

    named = [(each["kind"], each["key"], each["difference"]) for each in found]
    assert named == [("membership", f"{trip}/{user}", "missing") for user in lost]
    relay.await_settled()
    assert check(relay)[1] == []


def test_checks_while_events_arrive_find_nothing(relay: RelayProcess) -> None:
    users = [str(uuid.uuid4()) for _ in range(300)]
    for number in range(4):
        rows = [{"id": each, "email": f"{each}@x.com", "username": str(number)} for each in users]
        send_batch(relay, "user.updated", rows)
        assert check(relay)[1] == []
    send_batch(relay, "user.deleted", [{"id": each} for each in users])
    assert check(relay)[1] == []
    relay.await_settled()
    assert check(relay)[1] == []


def send_batch(relay: RelayProcess, event_type: str, rows: list[dict[str, str]]) -> None:
    timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    events = [
        {"id": str(uuid.uuid4()), "type": event_type, "timestamp": timestamp, "data": row}
        for row in rows
    ]
    body = json.dumps({"events": events}).encode()
    answer = relay.post_body(body, sign_body(relay.secret, body), "/webhooks/batch")
    assert answer.status_code == 202, answer.text
