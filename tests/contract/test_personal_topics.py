"""What each user is told on their personal topic, in both instances of the policy pack."""

import json
from uuid import UUID, uuid4

import pytest

from tests.contract.database import REFUSED, Refused
from tests.contract.instances import CALLERS, INSTANCES, OURS, PUBLISHED, Instance, Trip
from tests.contract.test_realtime_topics import ask_as_realtime_does

every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=lambda it: it.name)
only_ours = pytest.mark.parametrize("instance", [OURS], ids=["ours"])
only_published = pytest.mark.parametrize("instance", [PUBLISHED], ids=["published"])
KINDS = ("message", "reaction", "receipt", "presence")


def say(trip: Trip, text: str = "Tram 28 at nine?") -> UUID:
    """Write a message of the fellow's."""
    message_id = uuid4()
    row = {**trip.instance.message(trip.id, trip.fellow_id, message_id), trip.instance.body: text}
    trip.insert("message", row)
    return message_id


def tell_both(event: str, trip: Trip) -> set[tuple[str, UUID]]:
    return {(event, trip.caller_id), (event, trip.fellow_id)}


@every_instance
@pytest.mark.parametrize("caller", [it for it in CALLERS if it not in ("anon", "trip deleted")])
def test_new_message_is_sent_to_active_members_and_to_nobody_else(trip: Trip, caller: str) -> None:
    trip.become(caller)
    trip.forget()

    say(trip)

    expected = {("message.created", trip.fellow_id)}
    if caller == "active":
        expected.add(("message.created", trip.caller_id))
    assert set(trip.read_sent()) == expected


@every_instance
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row_is_told_when_created_updated_and_deleted(trip: Trip, kind: str) -> None:
    table = trip.instance.tables[kind]
    row = trip.make_row(kind, trip.caller_id)
    mine = f"from {table} where user_id = $1"
    change = {
        "message": f"{trip.instance.body} = 'Or at ten?'",
        "reaction": f"{trip.instance.reaction} = '🎉'",
        "receipt": f"{trip.instance.read} = null",
        "presence": "status = 'away'",
    }[kind]

    trip.database.run(f"update {table} set {change} where user_id = $1", trip.caller_id)  # noqa: S608
    assert set(trip.read_sent()) == tell_both(f"{kind}.updated", trip)
    trip.database.run(f"delete {mine}", trip.caller_id)
    assert set(trip.read_sent()) == tell_both(f"{kind}.deleted", trip)
    trip.insert(kind, row)
    messages = trip.read_messages()

    assert {(it.event, it.user_id) for it in messages} == tell_both(f"{kind}.created", trip)
    payload = messages[0].payload
    assert set(payload) == {"id", "table", "trip_id", "row"}
    assert (payload["table"], payload["trip_id"]) == (table, str(trip.id))
    told = payload["row"]
    assert {name: told[name] for name in row} == json.loads(json.dumps(row, default=str))


@every_instance
@pytest.mark.parametrize(
    ("way", "is_told"),
    [
        ("removed", True),
        ("inactive", True),
        ("user deleted", True),
        ("trip deleted", False),
    ],
)
def test_revocation_is_told_to_the_former_member_and_to_the_others(
    trip: Trip, way: str, is_told: bool
) -> None:
    trip.become(way)

    messages = [it for it in trip.read_messages() if it.event.startswith(("access.", "member."))]
    ids = {"trip_id": str(trip.id), "user_id": str(trip.caller_id)}
    (revoked,) = [it for it in messages if it.user_id == trip.caller_id]
    assert revoked.event == "access.revoked"
    assert revoked.payload == ids | {"id": revoked.payload["id"]}
    (to_fellow,) = [it for it in messages if it.user_id == trip.fellow_id]
    assert to_fellow.event == ("member.removed" if is_told else "access.revoked")


@every_instance
def test_access_gained_is_told_to_the_new_member_and_to_the_others(trip: Trip) -> None:
    trip.become("inactive")
    trip.forget()

    trip.database.run("update trip_memberships set status = 'ACTIVE'")

    assert set(trip.read_sent()) == {
        ("access.granted", trip.caller_id),
        ("member.added", trip.fellow_id),
    }


@every_instance
def test_change_that_leaves_access_and_rows_as_they_are_is_not_told(trip: Trip) -> None:
    trip.database.run("update trip_memberships set role = 'ADMIN'")
    trip.database.run(
        f"update {trip.instance.tables['message']} set {trip.instance.body} = $1",  # noqa: S608
        "hello",
    )

    assert trip.read_sent() == []


@every_instance
def test_deleted_trip_tells_its_members_of_their_access_and_of_no_row(trip: Trip) -> None:
    trip.database.run("delete from trips where id = $1", trip.id)

    assert set(trip.read_sent()) == tell_both("access.revoked", trip)


@every_instance
def test_statement_that_changes_many_rows_sends_one_refetch_to_each_member(trip: Trip) -> None:
    table, body = trip.instance.tables["message"], trip.instance.body
    trip.database.run(
        f"insert into {table} (trip_id, user_id, {body})"  # noqa: S608
        " select $1, $2, 'hello' from generate_series(1, 251)",
        trip.id,
        trip.fellow_id,
    )
    messages = trip.read_messages()
    assert {(it.event, it.user_id) for it in messages} == tell_both("refetch", trip)
    assert len(messages) == 2
    for message in messages:
        assert message.payload["trip_ids"] == [str(trip.id)]
        assert message.payload["table"] == table

    trip.database.run(f"delete from {table}")  # noqa: S608

    assert {event for event, _ in trip.read_sent() if event.startswith("message")} == set()


@only_ours
def test_row_too_large_to_send_arrives_as_its_ids(trip: Trip) -> None:
    message_id = say(trip, "\x01" * 8000)

    for message in trip.read_messages():
        assert message.payload["truncated"] is True
        assert message.payload["row"] == {
            "id": str(message_id),
            "trip_id": str(trip.id),
            "user_id": str(trip.fellow_id),
        }
        assert len(json.dumps(message.payload)) < 1000


@only_ours
def test_longest_message_of_emoji_is_sent_whole(trip: Trip) -> None:
    say(trip, "😀" * 8000)

    assert [it.payload["row"]["body"] for it in trip.read_messages()] == ["😀" * 8000] * 2


@every_instance
def test_column_that_clients_may_not_read_is_not_sent(trip: Trip) -> None:
    table, body = trip.instance.tables["message"], trip.instance.body
    trip.database.run_script(
        f"revoke select on {table} from authenticated;"  # noqa: S608 - ours
        f"grant select (id, trip_id, {body}) on {table} to authenticated"
    )

    say(trip)

    for message in trip.read_messages():
        assert set(message.payload["row"]) == {"id", "trip_id", body}


@only_published
def test_message_deleted_softly_is_told_as_deleted_and_its_reactions_no_more(trip: Trip) -> None:
    first = trip.message_ids[trip.fellow_id]
    table = trip.instance.tables["message"]
    trip.database.run(f"update {table} set deleted_at = now() where id = $1", first)  # noqa: S608
    assert set(trip.read_sent()) == tell_both("message.deleted", trip)

    trip.insert("reaction", {**trip.make_row("reaction", trip.caller_id), "reaction": "🎉"})
    trip.database.run(f"update {table} set message = 'hidden' where id = $1", first)  # noqa: S608
    assert trip.read_sent() == []
    with trip.database.as_caller("authenticated", trip.caller_id):
        assert trip.database.run(f"select 1 from {table} where id = $1", first) == []  # noqa: S608
        assert trip.database.run("select 1 from supabase_chat_reactions") == []

    trip.database.run(f"update {table} set deleted_at = null where id = $1", first)  # noqa: S608
    assert set(trip.read_sent()) == tell_both("message.created", trip)


@only_published
def test_trip_deleted_softly_gives_no_access_and_tells_nothing(trip: Trip) -> None:
    trip.database.run("update trips set deleted_at = now() where id = $1", trip.id)
    trip.forget()

    say(trip)

    assert trip.read_sent() == []
    with trip.database.as_caller("authenticated", trip.caller_id):
        for table in ("trips", "supabase_chat_messages", "locations"):
            assert trip.database.run(f"select 1 from {table}") == []  # noqa: S608 - ours
        (row,) = trip.database.run("select is_trip_member($1) as result", trip.id)
        assert row["result"] is False


@only_published
def test_membership_deleted_softly_is_a_revocation(trip: Trip) -> None:
    trip.database.run(
        "update trip_memberships set deleted_at = now() where user_id = $1", trip.caller_id
    )
    assert set(trip.read_sent()) == {
        ("access.revoked", trip.caller_id),
        ("member.removed", trip.fellow_id),
    }

    say(trip)

    assert trip.read_sent() == [("message.created", trip.fellow_id)]


@only_ours
def test_batch_of_revocations_too_large_to_tell_in_full_tells_those_who_lost_access(
    trip: Trip,
) -> None:
    users = [uuid4() for _ in range(200)]
    for user_id in users:
        trip.insert("account", trip.instance.account(user_id))
    trip.database.run(
        "insert into trip_memberships select $1, id, 'MEMBER', 'ACTIVE' from users"
        " on conflict do nothing",
        trip.id,
    )
    assert trip.read_sent() == []

    trip.database.run("delete from trip_memberships where user_id = any ($1::uuid[])", users[:100])

    assert set(trip.read_sent()) == {("access.revoked", user_id) for user_id in users[:100]}


SHARING = [
    ({"is_sharing_enabled": True}, True),
    ({"is_sharing_enabled": True, "sharing_expires_at": "2100-01-01"}, True),
    ({"is_sharing_enabled": True, "sharing_expires_at": "2026-01-01"}, False),
    ({"is_sharing_enabled": False}, False),
    ({"is_sharing_enabled": None}, False),
    ({"is_sharing_enabled": True, "deleted_at": "2026-01-01"}, False),
]


@only_published
@pytest.mark.parametrize(("values", "is_visible"), SHARING)
def test_location_is_read_by_others_and_sent_only_while_it_is_shared(
    trip: Trip, values: dict[str, object], is_visible: bool
) -> None:
    trip.database.run("delete from locations")
    trip.forget()
    trip.insert("location", trip.instance.location(trip.id, trip.fellow_id, **values))

    expected = tell_both("location.created", trip) if is_visible else set()
    assert set(trip.read_sent()) == expected
    with trip.database.as_caller("authenticated", trip.caller_id):
        assert bool(trip.database.run("select 1 from locations")) is is_visible
    is_deleted = "deleted_at" in values
    with trip.database.as_caller("authenticated", trip.fellow_id):
        assert bool(trip.database.run("select 1 from locations")) is not is_deleted


@only_published
def test_location_no_longer_shared_is_told_as_deleted(trip: Trip) -> None:
    mine = "where user_id = $1"
    trip.database.run(f"update locations set is_sharing_enabled = false {mine}", trip.caller_id)  # noqa: S608
    assert set(trip.read_sent()) == tell_both("location.deleted", trip)
    trip.database.run(f"update locations set latitude = 0 {mine}", trip.caller_id)  # noqa: S608
    assert trip.read_sent() == []


BREAK = {
    "no Realtime": "drop function realtime.send(jsonb, text, text, boolean)",
    "send raises": """
        create or replace function realtime.send(
          payload jsonb, event text, topic text, private boolean default true
        ) returns void language plpgsql as $$ begin raise exception 'broken'; end $$
    """,
    "no partition": "drop table realtime.messages_of_today",
}


@every_instance
@pytest.mark.parametrize("how", BREAK)
def test_error_of_realtime_fails_no_write(trip: Trip, how: str) -> None:
    trip.database.run_script(BREAK[how])

    message_id = say(trip)
    trip.database.run("update trip_memberships set status = 'INACTIVE'")

    table = trip.instance.tables["message"]
    assert trip.database.run(f"select 1 from {table} where id = $1", message_id)  # noqa: S608


def signal(trip: Trip, event: object = "typing", payload: object = "{}") -> None:
    trip.database.run("select send_trip_signal($1, $2, $3::jsonb)", trip.id, event, payload)


@every_instance
def test_signal_is_sent_to_the_other_members_with_the_sender(trip: Trip) -> None:
    with trip.database.as_caller("authenticated", trip.caller_id):
        signal(trip, payload='{"is_typing": true, "user_id": "somebody else"}')
        trip.database.run("reset role")
        (message,) = trip.read_messages()

    assert (message.event, message.user_id) == ("signal.typing", trip.fellow_id)
    assert message.payload == {
        "id": message.payload["id"],
        "trip_id": str(trip.id),
        "user_id": str(trip.caller_id),
        "payload": {"is_typing": True, "user_id": "somebody else"},
    }


@every_instance
@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "active"])
def test_signal_of_anyone_but_an_active_member_is_refused(trip: Trip, caller: str) -> None:
    role, caller_id = trip.become(caller)

    with trip.database.as_caller(role, caller_id), pytest.raises(Refused, match=REFUSED):
        signal(trip)


@only_ours
@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("", "{}"),
        ("Typing", "{}"),
        ("message.created", "{}"),
        ("a" * 65, "{}"),
        (None, "{}"),
        ("typing\n", "{}"),
        ("typing", None),
        ("typing", json.dumps("x" * 4096)),
    ],
)
def test_signal_out_of_bounds_is_refused(trip: Trip, event: object, payload: object) -> None:
    with (
        trip.database.as_caller("authenticated", trip.caller_id),
        pytest.raises(Refused, match="22023"),
    ):
        signal(trip, event, payload)


@every_instance
@pytest.mark.parametrize(
    ("form", "allowed"),
    [
        ("user:{own}", {"read broadcast"}),
        ("user:{fellow}", set()),
        ("user:{upper}", set()),
        ("user:{own}:x", set()),
        ("user:", set()),
    ],
)
def test_personal_topic_is_heard_by_its_user_alone_and_nobody_sends_to_it(
    trip: Trip, form: str, allowed: set[str]
) -> None:
    own = str(trip.caller_id)
    topic = form.format(own=own, fellow=trip.fellow_id, upper=own.upper())

    assert ask_as_realtime_does(trip.database, "authenticated", trip.caller_id, topic) == allowed
    assert ask_as_realtime_does(trip.database, "anon", trip.caller_id, topic) == set()


@only_ours
@pytest.mark.parametrize("sub", ["", "service", "null", "1", "{}", "0000", None])
def test_token_whose_sub_is_no_uuid_reads_nothing_and_raises_nothing(
    trip: Trip, sub: str | None
) -> None:
    with trip.database.undone():
        trip.database.run(
            "select set_config('role', 'authenticated', true),"
            " set_config('request.jwt.claims', $1, true), set_config('realtime.topic', $2, true)",
            json.dumps({"role": "authenticated"} | ({} if sub is None else {"sub": sub})),
            f"user:{sub}",
        )
        for table in (*trip.instance.tables.values(), "realtime.messages"):
            assert trip.database.run(f"select 1 from {table}") == []  # noqa: S608 - ours
        for call in (
            "is_trip_member(gen_random_uuid())",
            "(select count(*) from active_trip_ids())",
        ):
            (row,) = trip.database.run(f"select {call} as result")
            assert not row["result"]


@only_ours
def test_client_cannot_call_what_the_triggers_call(trip: Trip) -> None:
    functions = trip.database.run("""
        select function.oid::regprocedure::text as name
        from pg_catalog.pg_proc as function
        where function.pronamespace = 'trip_access'::regnamespace and not (
          function.proname in ('caller_id', 'active_trip_ids', 'is_trip_member', 'send_signal'))
          and (pg_catalog.has_function_privilege('authenticated', function.oid, 'execute')
            or pg_catalog.has_function_privilege('anon', function.oid, 'execute'))
    """)
    assert functions == []


@pytest.mark.parametrize("instance", [OURS], ids=["ours"])
@pytest.mark.parametrize("words", ["messages", "presence", "read-receipts"])
def test_topic_with_the_apps_name_is_a_topic_of_the_trip(
    trip: Trip, instance: Instance, words: str
) -> None:
    assert instance is trip.instance
    topic = f"trip-{words}-{trip.id}"

    everything = {"read broadcast", "read presence", "write broadcast", "write presence"}
    asked = ask_as_realtime_does(trip.database, "authenticated", trip.caller_id, topic)
    assert asked == everything
    assert ask_as_realtime_does(trip.database, "authenticated", uuid4(), topic) == set()
