"""Closing accounts: in time, for ever, one failure delaying no other for long."""

import itertools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import pytest

from app.domain.clocks import Clocks
from app.domain.instants import MICROSECONDS_PER_SECOND, Instant
from app.relay.account_closer import AccountCloser
from app.store import closure_queries
from app.store.closure_queries import ClosureBacklog
from app.store.store import Store
from app.supabase.auth_admin import AccountPolicy, AuthAdmin
from app.supabase.client import open_http_client
from tests.auth.issuer import Clock
from tests.fake_auth import FakeAuth, refuse
from tests.histories import NOW, World
from tests.store.store_steps import have_applied


@dataclass
class Scene:
    """A closer and its store; Auth has an account of every user."""

    store: Store
    http: httpx.AsyncClient
    auth: FakeAuth
    clock: Clock = field(default_factory=lambda: Clock(NOW / MICROSECONDS_PER_SECOND))
    is_leader: Callable[[], bool] = lambda: True

    def start(self) -> AccountCloser:
        """Start a closer, as a new process would."""
        return AccountCloser(
            self.store,
            AuthAdmin(self.http, AccountPolicy.BAN, clock=self.clock),
            clocks=Clocks(self.clock, self.clock, lambda: 0.999),
            is_leader=lambda: self.is_leader(),
        )

    async def remove(self, *users: str) -> None:
        """Remove users, also in Supabase."""
        world = World(users=users)
        events = [world.user("deleted", number, at=1) for number in range(len(users))]
        await self.store.store_events(events, NOW)
        await have_applied(self.store, now=self.now, closes_accounts=True)

    async def measure(self) -> ClosureBacklog:
        return await self.store.read(closure_queries.measure_closures, self.now)

    @property
    def now(self) -> Instant:
        return Instant(round(self.clock() * MICROSECONDS_PER_SECOND))

    @property
    def asked(self) -> list[str]:
        return [request.url.path.rpartition("/")[2] for request in self.auth.requests]


@pytest.fixture
def users() -> tuple[str, ...]:
    return tuple(sorted(World().users + World().users))


@pytest.fixture
async def scene(store: Store, users: tuple[str, ...]) -> AsyncIterator[Scene]:
    auth = FakeAuth(users)
    async with open_http_client(
        "http://supabase.test",
        {},
        timeout_seconds=5,
        transport=auth.transport(),
        service="auth",
    ) as http:
        yield Scene(store, http, auth)


async def test_accounts_of_removed_users_are_closed_and_logged(
    scene: Scene, users: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    del scene.auth.accounts[users[1]]
    await scene.remove(*users[:3])
    await scene.start().close_due()
    assert scene.auth.accounts == {users[0]: "876000h", users[2]: "876000h", users[3]: None}
    assert await scene.measure() == ClosureBacklog()
    assert [record.message for record in caplog.records if "account" in record.message] == [
        f"Auth account of user {users[0]} is banned",
        f"Auth account of user {users[1]} does not exist",
        f"Auth account of user {users[2]} is banned",
    ]
    assert "ana@example.com" not in caplog.text


async def test_account_of_a_user_that_was_created_again_is_kept(
    scene: Scene, users: tuple[str, ...]
) -> None:
    await scene.remove(users[0])
    await scene.store.store_events([World(users=users).user("created", at=2)], NOW)
    await scene.start().close_due()
    assert scene.asked == []
    assert scene.auth.accounts[users[0]] is None
    assert await scene.measure() == ClosureBacklog()


async def test_only_the_leader_closes_accounts(scene: Scene, users: tuple[str, ...]) -> None:
    await scene.remove(users[0])
    scene.is_leader = lambda: False
    closer = scene.start()
    await closer.close_due()
    assert scene.asked == []
    scene.is_leader = lambda: True
    await closer.close_due()
    assert scene.asked == [users[0]]


async def test_outage_of_auth_is_waited_out_with_backoff_also_across_a_restart(
    scene: Scene, users: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await scene.remove(*users)
    scene.auth.break_connection()
    closer = scene.start()
    began_at, asked_at = scene.clock(), []
    while scene.clock() - began_at < 3600:
        before = len(scene.asked)
        await closer.close_due()
        asked_at += [scene.clock() - began_at] * (len(scene.asked) - before)
        scene.clock.advance(1)
    # One request at a time; in the end at most one a minute, and one in five of each account.
    assert len(asked_at) == len(set(asked_at))
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert max(gaps) <= 300
    assert min(gaps[10:]) >= 59
    assert (await scene.measure()).overdue == len(users)
    scene.auth.add_trouble(lambda _: None)
    scene.clock.advance(300)
    await scene.start().close_due()
    assert set(scene.auth.accounts.values()) == {"876000h"}
    troubles = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert all("ConnectError" in each.message for each in troubles)
    # When it began, and every five minutes.
    assert 10 <= len(troubles) <= 13


async def test_account_that_always_fails_delays_no_other_for_long(
    scene: Scene, users: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await scene.remove(*users[:2])
    blocked = users[0]

    def fail(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(blocked):
            return None
        return refuse(500, "unexpected_failure", "Database error deleting user")

    scene.auth.add_trouble(fail)
    closer = scene.start()
    await closer.close_due()
    assert scene.asked == [blocked]
    scene.clock.advance(0.5)
    await closer.close_due()
    assert scene.auth.accounts[users[1]] == "876000h"
    for _ in range(600):
        scene.clock.advance(1)
        await closer.close_due()
    # Its own backoff grows to five minutes.
    assert len(scene.asked) <= 14
    await scene.remove(users[2])
    scene.clock.advance(60)
    await closer.close_due()
    assert scene.auth.accounts[users[2]] == "876000h"
    backlog = await scene.measure()
    assert backlog == ClosureBacklog(
        1, 1, "HTTP 500, Supabase Auth responded 500 (unexpected_failure)"
    )
    assert "no due Auth account" not in caplog.text
    scene.auth.add_trouble(lambda _: None)
    scene.clock.advance(300)
    await closer.close_due()
    assert "no due Auth account of a removed user is left" in caplog.text


async def test_retry_after_is_obeyed(scene: Scene, users: tuple[str, ...]) -> None:
    await scene.remove(*users[:2])
    scene.auth.respond_with(429, {}, headers={"retry-after": "120"})
    closer = scene.start()
    for _ in range(119):
        await closer.close_due()
        scene.clock.advance(1)
    assert len(scene.asked) == 1
    scene.clock.advance(1)
    await closer.close_due()
    assert len(scene.asked) == 2


async def test_rejected_key_is_an_error_for_an_operator(
    scene: Scene, users: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    await scene.remove(users[0])
    scene.auth.add_trouble(lambda _: refuse(403, "not_admin", "User not allowed"))
    await scene.start().close_due()
    (record,) = [each for each in caplog.records if "Auth" in each.message]
    assert record.levelno == logging.ERROR
    assert record.message == (
        "Auth accounts of removed users are not closed: HTTP 403, Supabase Auth responded 403"
        " (not_admin)"
    )
