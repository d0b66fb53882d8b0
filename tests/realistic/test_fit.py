"""The relay writes to an existing project's tables by configuration alone."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from app.cli.client.signing import sign_body
from app.demo.local_supabase import LocalSupabase
from tests.e2e.conftest import RelayMaker, await_that
from tests.realistic.conftest import (
    PLACE_AND_TIME,
    WRITTEN_PLACE_AND_TIME,
    Project,
    write_settings,
)

SETTLE_SECONDS = 60.0


def test_all_nine_event_types_land_in_columns_of_other_names(project: Project) -> None:
    owner, user = project.sign_up(), project.sign_up()
    project.add_user(owner, "ana")
    project.add_user(user, "bo", avatarUrl="https://example.com/bo.png", phone="+351 555 0100")
    (profile,) = project.rows("profiles", id=user)
    assert profile.pop("created_at")
    assert profile == {
        "id": user,
        "supabase_id": user,
        "email": f"bo-{user}@example.com",
        "username": f"bo-{user}",
        "display_name": "Bo",
        "avatar_url": "https://example.com/bo.png",
        "deleted_at": None,
    }
    trip = project.add_trip(owner)
    whole = {"id": trip, "created_by": owner, "deleted_at": None, **WRITTEN_PLACE_AND_TIME}
    assert project.rows("trips", id=trip) == [whole | {"title": "Lisbon"}]

    ids = {"trip_id": trip, "user_id": user}
    project.change("membership.created", **ids, role="MEMBER", status="ACTIVE")
    project.change("membership.updated", **ids, role="ADMIN", status="ACTIVE")
    (member,) = project.rows("trip_members", trip_id=trip)
    assert member.pop("joined_at")
    assert member == {
        "trip_id": trip,
        "member_id": user,
        "role": "ADMIN",
        "status": "ACTIVE",
        "deleted_at": None,
    }
    project.change("trip.updated", id=trip, name="Porto", created_by=user)
    assert project.rows("trips", id=trip) == [whole | {"title": "Porto", "created_by": user}]
    project.change("user.updated", id=user, email=f"b-{user}@example.com", username=f"b-{user}")
    (profile,) = project.rows("profiles", id=user)
    assert (profile["username"], profile["display_name"], profile["avatar_url"]) == (
        f"b-{user}",
        "Bo",
        "https://example.com/bo.png",
    )

    project.change("membership.deleted", **ids)
    assert project.rows("trip_members", trip_id=trip) == []
    project.change("trip.deleted", id=trip)
    assert project.rows("trips", id=trip) == []
    project.change("user.deleted", id=user)
    assert project.rows("profiles", id=user) == []


def test_membership_change_takes_effect_for_the_user_where_any_row_is_access(
    project: Project,
) -> None:
    owner, user = project.sign_up(), project.sign_up()
    trip = project.add_trip(owner)
    ids = {"trip_id": trip, "user_id": user, "role": "MEMBER"}
    assert project.read_chat(user, trip) == []
    project.change("membership.created", **ids, status="ACTIVE")
    assert project.read_chat(user, trip) == ["Tram 28 at nine?"]
    project.change("membership.updated", **ids, status="INACTIVE")
    assert project.read_chat(user, trip) == []
    assert project.rows("trip_members", trip_id=trip) == []
    project.change("membership.updated", **ids, status="ACTIVE")
    assert project.read_chat(user, trip) == ["Tram 28 at nine?"]
    project.change("membership.deleted", trip_id=trip, user_id=user)
    assert project.read_chat(user, trip) == []


def test_row_that_was_deleted_softly_is_revived_by_every_kind_of_write(project: Project) -> None:
    owner, user = project.sign_up(), project.sign_up()
    trip = project.add_trip(owner)
    row = {"trip_id": trip, "user_id": user, "role": "MEMBER", "status": "ACTIVE"}
    project.change("membership.created", **row)
    gone = {"deleted_at": "2026-01-01T00:00:00Z"}
    project.touch("trip_members", "trip_id", trip, gone)
    assert project.read_chat(user, trip) == []
    project.change("membership.updated", **row | {"role": "ADMIN"})
    assert project.read_chat(user, trip) == ["Tram 28 at nine?"]
    project.touch("trips", "id", trip, gone)
    assert project.read_chat(user, trip) == []
    # Without the columns that a new row needs: an update.
    project.change("trip.updated", id=trip, name="Porto", created_by=owner)
    assert project.read_chat(user, trip) == ["Tram 28 at nine?"]


def test_new_row_without_a_required_column_names_it_and_heals_by_a_complete_event(
    project: Project,
) -> None:
    owner, trip = project.sign_up(), str(uuid.uuid4())
    row: dict[str, Any] = {"id": trip, "name": "Secret plans", "created_by": owner}
    half = {"startDate": "2026-05-01", "destinationLatitude": 38.7}
    event = project.look_up("trip.created", **row, **half)
    assert event["status"] == "dead"
    sentence = event["entity"]["last_error"]
    assert sentence == (
        "trips has no such row to update, and the event lacks end_date, destination_longitude"
        " for a new one"
    )
    assert "Secret plans" not in project.relay.log
    project.change("trip.updated", **row, **PLACE_AND_TIME)
    assert [found["title"] for found in project.rows("trips", id=trip)] == ["Secret plans"]


def test_row_whose_user_has_not_signed_up_waits_until_the_user_does(
    project: Project,
) -> None:
    owner, trip = str(uuid.uuid4()), str(uuid.uuid4())
    event = project.look_up(
        "trip.created", id=trip, name="Lisbon", created_by=owner, **PLACE_AND_TIME
    )
    assert event["status"] == "pending"
    assert event["entity"]["last_error_code"] == "23503"
    project.sign_up(owner)
    # The relay knows the referenced user by another key: the trip becomes due with the user.
    project.add_user(owner, "late")
    project.relay.await_settled()
    assert [row["created_by"] for row in project.rows("trips", id=trip)] == [owner]


def test_usernames_that_two_users_swap_are_swapped(project: Project) -> None:
    one, other = project.sign_up(), project.sign_up()
    project.add_user(one, "one")
    project.add_user(other, "other")
    names = {one: f"one-{one}", other: f"other-{other}"}
    # Without the display name that a new row needs: the conflict is between updates.
    send(
        project,
        ("user.updated", {"id": one, "email": f"{one}@example.com", "username": names[other]}),
        ("user.updated", {"id": other, "email": f"{other}@example.com", "username": names[one]}),
    )
    project.relay.await_settled()
    assert [project.rows("profiles", id=user)[0]["username"] for user in (one, other)] == [
        names[other],
        names[one],
    ]


def test_batch_of_complete_and_incomplete_rows_lands_and_none_delays_another(
    project: Project,
) -> None:
    owner = project.sign_up()
    there = [project.add_trip(owner) for _ in range(3)]
    new, lacking = [str(uuid.uuid4()) for _ in range(3)], str(uuid.uuid4())
    base = {"name": "Porto", "created_by": owner}
    moved = PLACE_AND_TIME | {"endDate": "2026-05-09"}
    wrong = str(uuid.uuid4())
    sent = send(
        project,
        *(("trip.created", {"id": trip, **base, **moved}) for trip in new),
        *(("trip.updated", {"id": trip, **base}) for trip in there[:2]),
        ("trip.updated", {"id": there[2], **base, "endDate": "2026-05-10"}),
        ("trip.created", {"id": lacking, **base}),
        ("trip.created", {"id": wrong, **base, **moved, "startDate": "in spring"}),
    )
    project.relay.await_settled()
    ends = dict.fromkeys(new, "2026-05-09") | dict.fromkeys(there[:2], "2026-05-08")
    ends[there[2]] = "2026-05-10"
    for trip, end_date in ends.items():
        (row,) = project.rows("trips", id=trip)
        assert (row["title"], row["end_date"]) == ("Porto", end_date)
    with project.relay.operator("events:read") as operator:
        statuses = [operator.get(f"/events/{event_id}").json()["status"] for event_id in sent]
    assert statuses == ["applied"] * 6 + ["dead"] * 2


def test_user_with_null_for_a_field_is_written_anew(project: Project) -> None:
    user = project.sign_up()
    project.add_user(user, "ada", avatarUrl=None)
    (profile,) = project.rows("profiles", id=user)
    assert (profile["display_name"], profile["avatar_url"]) == ("Ada", None)


def test_new_user_without_a_field_is_dead_and_the_column_is_named(project: Project) -> None:
    user = project.sign_up()
    row = {"id": user, "email": f"{user}@example.com", "username": user, "displayName": "Ada"}
    event = project.look_up("user.created", **row)
    assert event["status"] == "dead"
    assert event["entity"]["last_error_code"] == "P0002"
    assert event["entity"]["last_error"].endswith("the event lacks avatar_url for a new one")
    assert project.rows("profiles", id=user) == []


def test_user_deleted_erases_extra_fields_too(project: Project) -> None:
    user = project.sign_up()
    picture = f"https://example.com/{uuid.uuid4()}.png"
    project.add_user(user, "ada", avatarUrl=picture)

    def holds_picture() -> bool:
        files = sorted(project.relay.folder.glob("relay.db*"))
        return any(picture.encode() in path.read_bytes() for path in files)

    assert holds_picture()
    project.change("user.deleted", id=user)
    await_that(lambda: not holds_picture(), SETTLE_SECONDS)
    assert picture not in project.relay.log


@pytest.mark.parametrize(
    ("changes", "code", "name"),
    [
        ({"table": "hidden.profiles"}, "42P01", "hidden.profiles"),
        ({"table": "profile"}, "42P01", "profile"),
        ({"columns": {"username": "handle"}}, "42703", "handle"),
        ({"copy": {"auth_id": "id"}}, "42703", "auth_id"),
    ],
)
def test_missing_target_holds_its_table_alone_and_is_named_by_health(
    make_relay: RelayMaker,
    realistic_supabase: LocalSupabase,
    changes: dict[str, Any],
    code: str,
    name: str,
) -> None:
    relay = make_relay(**write_settings(realistic_supabase, TARGET_USERS=changes))
    for _ in range(2):
        user = str(uuid.uuid4())
        row = {"id": user, "email": f"{user}@example.com", "username": user}
        relay.post("user.created", row | {"displayName": "Ada", "avatarUrl": ""}, wait=0)

    def reads_reason() -> bool:
        reason = str(relay.health()["checks"]["supabase"].get("reason"))
        return code in reason and name in reason

    await_that(reads_reason, SETTLE_SECONDS, lambda: str(relay.health()))
    assert relay.health()["status"] == "degraded"
    # Nothing else waits: a removal needs no table of users.
    removal = {"trip_id": str(uuid.uuid4()), "user_id": str(uuid.uuid4())}
    answer = relay.post("membership.deleted", removal)
    assert answer.json()["status"] == "applied"


def send(project: Project, *changes: tuple[str, dict[str, Any]]) -> list[str]:
    """Send changes in one batch, so that they are dispatched together; gives their event ids."""
    events = [
        {
            "id": f"evt-{uuid.uuid4()}",
            "type": event_type,
            "timestamp": datetime.now(UTC).isoformat(),
            "data": data,
        }
        for event_type, data in changes
    ]
    body = json.dumps({"events": events}).encode()
    answer = project.relay.post_body(body, sign_body(project.relay.secret, body), "/webhooks/batch")
    assert {result["status"] for result in answer.json()["results"]} == {"accepted"}
    return [str(event["id"]) for event in events]
