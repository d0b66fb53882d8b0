"""`AUTH_ON_USER_DELETED`: what becomes of the accounts of removed users, and who is told."""

import asyncio
import logging

import pytest

from tests.api.relay_harness import USER, RelayStarter, RunningRelay, make_body
from tests.api.test_metrics import read_samples


async def remove_user(relay: RunningRelay) -> None:
    assert await relay.send_and_wait(make_body("user.deleted")) == "applied"


@pytest.mark.parametrize(("policy", "account"), [("ban", {USER: "876000h"}), ("delete", {})])
async def test_account_of_a_removed_user_is_closed_by_the_key_of_the_relay(
    starter: RelayStarter, policy: str, account: dict[str, str]
) -> None:
    starter.auth.accounts[USER] = None
    async with starter.start(auth_on_user_deleted=policy) as relay:
        await remove_user(relay)
        async with asyncio.timeout(60):
            while (await read_samples(relay))["relay_pending_accounts"]:
                pass
    assert starter.auth.accounts == account
    assert len(starter.auth.requests) == 1


async def test_account_is_kept_by_default(starter: RelayStarter) -> None:
    async with starter.start() as relay:
        await remove_user(relay)
        assert relay.query("SELECT count(*) FROM account_closures") == [(0,)]
    assert starter.auth.requests == []


async def test_account_that_waited_is_closed_after_a_restart(starter: RelayStarter) -> None:
    starter.auth.accounts[USER] = None
    starter.auth.break_connection()
    async with starter.start(auth_on_user_deleted="ban") as relay:
        await remove_user(relay)
        await starter.auth.wait_for_requests(1)
    starter.auth.add_trouble(lambda _: None)
    starter.clock.advance(300)
    async with starter.start(auth_on_user_deleted="ban"):
        await starter.auth.wait_for_requests(2)
    assert starter.auth.accounts == {USER: "876000h"}


async def test_overdue_account_degrades_health_and_delays_no_row(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    starter.auth.accounts[USER] = None
    starter.auth.respond_with(403, {"code": 403, "error_code": "not_admin", "msg": "no"})
    async with starter.start(auth_on_user_deleted="delete") as relay:
        await remove_user(relay)
        await starter.auth.wait_for_requests(1)
        assert (await relay.watch_health(lambda health: health["status"] == "ok"))["status"] == "ok"
        gate = starter.auth.hang()
        starter.clock.advance(61)
        await starter.auth.wait_for_hanging()
        health = await relay.watch_health(lambda health: health["status"] == "degraded")
        assert health["checks"]["supabase"]["reason"] == (
            "1 Auth accounts of removed users are not closed: HTTP 403, Supabase Auth responded 403"
            " (not_admin)"
        )
        assert (await read_samples(relay))["relay_pending_accounts"] == 1
        # While Auth hangs, rows are written.
        assert await relay.send_and_wait(make_body("trip.created"), "evt_2") == "applied"
        starter.auth.add_trouble(lambda _: None)
        gate.set()
        await relay.watch_health(lambda health: health["status"] == "ok")
    assert starter.auth.accounts == {}
    assert "no due Auth account of a removed user is left" in caplog.text


async def test_overdue_account_is_no_trouble_once_accounts_are_kept(starter: RelayStarter) -> None:
    starter.auth.break_connection()
    async with starter.start(auth_on_user_deleted="ban") as relay:
        await remove_user(relay)
        await starter.auth.wait_for_requests(1)
        async with asyncio.timeout(60):
            while relay.query("SELECT max(attempts) FROM account_closures") != [(1,)]:
                await relay.http.get("/health")
    starter.clock.advance(61)
    async with starter.start() as relay:
        await relay.watch_health(lambda health: health["status"] == "ok")
        assert (await read_samples(relay))["relay_pending_accounts"] == 0
