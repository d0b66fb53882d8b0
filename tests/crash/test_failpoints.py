"""`kill -9` at each named failpoint: every promise survives the process."""

from typing import Final

import pytest

from app.domain.failpoints import Failpoint
from tests.crash.backend import Delivery
from tests.crash.scene import Scene, ref_of_delivery
from tests.e2e.conftest import await_that
from tests.fake_postgrest import is_write

_EVENTS: Final = 160
_PATIENCE_SECONDS: Final = 60.0
# At most: those of the first health check and of the purge.
_COMMITS_OF_A_START: Final = 3


@pytest.mark.parametrize(
    ("failpoint", "is_stored", "is_in_supabase"),
    [
        (Failpoint.AFTER_VERIFY, False, False),
        (Failpoint.BEFORE_WRITE, True, False),
        (Failpoint.AFTER_WRITE, True, True),
    ],
)
def test_relay_killed_at_one_event_holds_all_of_it_or_nothing(
    scene: Scene, failpoint: Failpoint, *, is_stored: bool, is_in_supabase: bool
) -> None:
    scene.relay.restart(failpoint)
    event = scene.backend.make_event("user.created", scene.backend.user_row())

    scene.backend.deliver(scene.relay, [event])
    scene.relay.await_death()

    assert scene.read_stored_ids() == ([event.event_id] if is_stored else [])
    assert len(scene.supabase.rows("users")) == is_in_supabase
    assert is_stored or event.event_id not in scene.backend.acknowledged
    # Nobody repeats it: a stored event is applied all the same, any other leaves no trace.
    scene.relay.restart()
    scene.settle()
    assert len(scene.supabase.rows("users")) == is_stored


@pytest.mark.parametrize(
    ("failpoint", "is_stored"),
    [(Failpoint.BEFORE_COMMIT, False), (Failpoint.AFTER_COMMIT, True)],
)
def test_relay_killed_at_a_commit_has_acknowledged_only_those_before_it(
    scene: Scene, failpoint: Failpoint, *, is_stored: bool
) -> None:
    # While Supabase is unavailable, the relay commits no outcome and little else.
    scene.supabase.respond_with(503, of=is_write)
    scene.relay.restart(f"{failpoint}:{_COMMITS_OF_A_START + 2}")
    rows = [scene.backend.user_row() for _ in range(_COMMITS_OF_A_START + 2)]

    sent = _deliver_until_death(scene, "user.created", rows)

    assert {event.event_id for event in sent[:-1]} == scene.backend.acknowledged
    assert scene.read_stored_ids() == [
        event.event_id for event in (sent if is_stored else sent[:-1])
    ]
    scene.supabase.heal()
    scene.relay.restart()
    scene.settle()
    assert len(scene.supabase.rows("users")) == len(sent) - 1 + is_stored


@pytest.mark.parametrize(
    "failpoint",
    [
        f"{Failpoint.BEFORE_COMMIT}:15",
        f"{Failpoint.AFTER_COMMIT}:15",
        f"{Failpoint.AFTER_WRITE}:6",
    ],
)
def test_relay_killed_under_load_applies_what_it_acknowledged(scene: Scene, failpoint: str) -> None:
    scene.relay.restart(failpoint)
    scene.backend.deliver(scene.relay, scene.backend.make_parents())

    scene.backend.deliver(scene.relay, scene.backend.make_history(_EVENTS))
    scene.relay.await_death()

    assert scene.backend.acknowledged
    scene.relay.restart()
    scene.settle()
    # A sender repeats unacknowledged events, however late.
    scene.backend.deliver(scene.relay, scene.backend.unacknowledged)
    assert scene.backend.unacknowledged == []
    scene.settle()


@pytest.mark.parametrize("writes_before", [1, 2, 5])
def test_relay_killed_while_splitting_applies_all_but_the_rejected_row(
    scene: Scene, writes_before: int
) -> None:
    """A request that fails as a whole is split; the next process starts splitting again."""
    users = [scene.backend.user_row(name=f"user-{n}") for n in range(7)]
    users.append(scene.backend.user_row(name="poison"))
    events = [scene.backend.make_event("user.created", user) for user in users]
    scene.supabase.respond_with(
        500,
        {"code": "57014", "message": "canceling statement due to statement timeout"},
        of=lambda request: is_write(request) and b"poison" in request.content,
    )

    scene.relay.restart(f"{Failpoint.AFTER_WRITE}:{writes_before}")
    scene.backend.deliver_together(scene.relay, events)
    scene.relay.await_death()

    scene.relay.restart()
    # Whether the relay responded before its death is chance.
    scene.backend.deliver(scene.relay, scene.backend.unacknowledged)
    await_that(
        lambda: scene.relay.health()["backlog"]["pending"] == 1,
        _PATIENCE_SECONDS,
        lambda: scene.relay.log,
    )
    assert len(scene.supabase.rows("users")) == len(users) - 1
    scene.supabase.heal()
    scene.settle()


def test_relay_killed_before_it_recorded_a_rejected_row_finds_it_again(scene: Scene) -> None:
    users = [scene.backend.user_row(name=name) for name in ("fine", "rejected", "fine as well")]
    events = [scene.backend.make_event("user.created", user) for user in users]
    scene.supabase.fail_row(lambda _, __, row: row.get("username") == "rejected", "23514")

    scene.relay.restart(Failpoint.AFTER_WRITE)
    scene.backend.deliver_together(scene.relay, events)
    scene.relay.await_death()

    scene.relay.restart()
    scene.backend.deliver(scene.relay, scene.backend.unacknowledged)
    scene.settle(refused={ref_of_delivery(events[1])})


def test_relay_killed_while_migrating_starts_from_the_same_folder(scene: Scene) -> None:
    scene.relay.launch(Failpoint.IN_MIGRATION)
    scene.relay.await_death()

    scene.relay.restart()
    scene.backend.deliver(scene.relay, scene.backend.make_parents())
    scene.backend.deliver(scene.relay, scene.backend.make_history(_EVENTS))
    assert scene.backend.unacknowledged == []
    scene.settle()


def test_relay_killed_after_the_commit_of_an_erasure_leaves_no_trace_once_started(
    scene: Scene,
) -> None:
    backend = scene.backend
    users = [backend.user_row(name=f"traceable-{n}") for n in range(_COMMITS_OF_A_START + 1)]
    scene.supabase.respond_with(503, of=is_write)
    scene.relay.restart(f"{Failpoint.AFTER_COMMIT}:{_COMMITS_OF_A_START + len(users) + 1}")
    for user in users:
        backend.deliver(scene.relay, [backend.make_event("user.created", user)])
    assert scene.relay.is_alive

    sent = _deliver_until_death(scene, "user.deleted", [{"id": user["id"]} for user in users])

    assert scene.read_stored_ids()[-1] == sent[-1].event_id
    address = users[len(sent) - 1]["email"].encode()
    assert address in _read_files(scene)
    scene.supabase.heal()
    scene.relay.restart()
    assert address not in _read_files(scene)
    scene.settle()


@pytest.mark.parametrize("kind", ["trip", "user"])
def test_membership_removed_by_an_unrecorded_cascade_is_restored(scene: Scene, kind: str) -> None:
    """Supabase removed parent and children, the relay died, and the parent was created again."""
    backend = scene.backend
    user = backend.user_row()
    trip = {"id": backend.user_row()["id"], "name": "Lisbon", "created_by": user["id"]}
    parents = {"user": user, "trip": trip}
    created = [backend.make_event(f"{name}.created", row) for name, row in parents.items()]
    removed = backend.make_event(f"{kind}.deleted", {"id": parents[kind]["id"]})
    joined = backend.make_event(
        "membership.created",
        {"trip_id": trip["id"], "user_id": user["id"], "role": "MEMBER", "status": "ACTIVE"},
    )
    created_again = backend.make_event(f"{kind}.created", parents[kind])

    # The fourth write is that of the removal; the membership is newer, and it stands.
    scene.relay.restart(f"{Failpoint.AFTER_WRITE}:4")
    for event in (*created, joined):
        backend.deliver(scene.relay, [event])
        scene.relay.await_settled()
    backend.deliver(scene.relay, [removed])
    scene.relay.await_death()
    assert scene.supabase.rows("trip_memberships") == []
    # Supabase is unavailable until the relay knows that the parent exists again.
    scene.supabase.respond_with(503, of=is_write)
    scene.relay.restart()
    backend.deliver(scene.relay, backend.unacknowledged)
    scene.supabase.heal()

    assert created_again.event_id in backend.acknowledged
    scene.settle()


def _deliver_until_death(
    scene: Scene, event_type: str, rows: list[dict[str, str]]
) -> list[Delivery]:
    """Send events one after another, each in a separate commit; return those sent."""
    sent: list[Delivery] = []
    for row in rows:
        sent.append(scene.backend.make_event(event_type, row))
        scene.backend.deliver(scene.relay, sent[-1:])
        if sent[-1].event_id not in scene.backend.acknowledged:
            break
    scene.relay.await_death()
    return sent


def _read_files(scene: Scene) -> bytes:
    return b"".join(path.read_bytes() for path in scene.relay.folder.glob("relay.db*"))
