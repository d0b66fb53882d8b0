"""The application as a whole: start, rejected settings, and stop."""

import asyncio
import contextlib
import os
import socket
import sqlite3
from collections.abc import Iterator

import pytest

from app.api.health import VERSION
from app.api.routes import create_api
from app.domain.errors import ConfigurationInvalid
from tests.api.relay_harness import (
    SUPABASE_KEY,
    RelayStarter,
    in_time,
    make_body,
)
from tests.auth.issuer import KEY_SET_URL, private_pem, public_jwk
from tests.fake_postgrest import FakePostgrest, is_write


@contextlib.contextmanager
def nothing_opened(starter: RelayStarter) -> Iterator[None]:
    """Check that the block changes no file and sends no request."""
    before = {path: path.read_bytes() for path in starter.folder.iterdir()}
    yield
    assert {path: path.read_bytes() for path in starter.folder.iterdir()} == before
    assert starter.postgrest.requests == []
    assert starter.key_server.requests == []


def test_app_made_has_opened_nothing_yet(starter: RelayStarter) -> None:
    with nothing_opened(starter):
        starter.make_app(jwt_jwks_url=KEY_SET_URL)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("supabase_service_role_key", "sb_publishable_swordfish", "publishable"),
        ("supabase_service_role_key", "swordfish", "SUPABASE_SECRET_KEY"),
        ("supabase_service_role_key", "sb_secret_sword\u200bfish", "SUPABASE_SECRET_KEY"),
        ("webhook_secrets", "swordfish", "WEBHOOK_SECRETS"),
        ("webhook_secrets", "whsec_swordfish", "WEBHOOK_SECRETS"),
        ("jwt_algorithms", "none", "JWT_ALGORITHMS"),
        ("jwt_algorithms", "RS256", "JWT_JWKS_URL"),
    ],
)
def test_app_with_an_unusable_setting_names_it_and_opens_nothing(
    starter: RelayStarter, setting: str, value: str, words: str
) -> None:
    with nothing_opened(starter):
        with pytest.raises(ConfigurationInvalid, match=words) as caught:
            starter.make_app(**{setting: value})
        assert "swordfish" not in str(caught.value)


def test_app_with_several_unusable_settings_names_them_all(starter: RelayStarter) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        starter.make_app(
            supabase_service_role_key="swordfish",
            webhook_secrets="swordfish",
            jwt_algorithms="none",
            store_url="mysql://host/relay",
        )
    names = ("SUPABASE_SECRET_KEY", "WEBHOOK_SECRETS", "JWT_ALGORITHMS", "STORE_URL")
    assert len(caught.value.sentences) == len(names)
    for name, sentence in zip(names, caught.value.sentences, strict=True):
        assert name in sentence


@pytest.mark.parametrize(
    "store_url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://somewhere/relay",
        "relay.db",
        "sqlite:////no/folder/relay.db",
    ],
)
async def test_app_with_a_store_that_cannot_be_opened_does_not_start(
    starter: RelayStarter, store_url: str
) -> None:
    with pytest.raises(ConfigurationInvalid, match="STORE_URL"):
        async with starter.start(store_url=store_url):
            pass
    assert starter.postgrest.requests == []


async def test_app_over_a_store_in_use_does_not_start_and_leaves_the_other_alone(
    starter: RelayStarter,
) -> None:
    async with starter.start() as relay:
        with pytest.raises(ConfigurationInvalid, match="another relay"):
            async with starter.start():
                pass
        assert (await relay.send(make_body("trip.created"))).status_code == 202


def test_app_without_jwt_settings_warns_once_made(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    starter.make_app()
    assert caplog.text == ""
    starter.make_app(jwt_secret=None)
    assert "JWT_SECRET" in caplog.text
    assert "403" in caplog.text


async def test_app_logs_what_has_started_without_credentials(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with starter.start():
        pass
    (record,) = [each for each in caplog.records if each.name == "app.observability.start_line"]
    fields = vars(record)["fields"]
    assert fields == {
        "version": VERSION,
        "store": f"sqlite:///{starter.folder / 'relay.db'}",
        "webhook_auth": "hmac",
        "supabase": "project.supabase.test",
        "replica": f"{socket.gethostname()}/{os.getpid()}",
    }


@pytest.mark.parametrize(("seconds", "warns"), [(3600, False), (3601, True), (10**9, True)])
def test_app_with_a_wide_tolerance_warns(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture, seconds: int, warns: bool
) -> None:
    starter.make_app(webhook_tolerance_seconds=seconds)
    assert ("WEBHOOK_TOLERANCE_SECONDS" in caplog.text) == warns


async def test_app_takes_the_tolerance_of_its_settings(starter: RelayStarter) -> None:
    async with starter.start(webhook_tolerance_seconds=1) as relay:
        content = b'{"events": []}'
        headers = relay.sign("evt_1", content)
        relay.clock.advance(1)
        assert (await relay.post("/webhooks/batch", content, headers)).status_code == 422
        relay.clock.advance(1)
        assert (await relay.post("/webhooks/batch", content, headers)).status_code == 401


async def test_app_sends_its_key_to_supabase_only(starter: RelayStarter) -> None:
    starter.key_server.keys.append(public_jwk("ES256"))
    async with starter.start(jwt_jwks_url=KEY_SET_URL) as relay:
        await relay.send_and_wait(make_body("trip.created"))
        headers = dict(relay.bear("events:read", key=("ES256", private_pem("ES256"))))
        assert (await relay.http.get("/events/evt_1", headers=headers)).status_code == 200
    (asked,) = starter.key_server.requests
    assert SUPABASE_KEY not in str(asked.headers.raw)
    assert {request.url.host for request in starter.postgrest.requests} == {"project.supabase.test"}
    assert {request.headers["apikey"] for request in starter.postgrest.requests} == {SUPABASE_KEY}


@pytest.mark.parametrize("suffix", ["", "/", "/rest/v1", "/rest/v1/"])
async def test_app_with_any_form_of_the_supabase_url_reaches_supabase(
    starter: RelayStarter, suffix: str
) -> None:
    async with starter.start(supabase_url=f"https://project.supabase.test{suffix}") as relay:
        await relay.send_and_wait(make_body("trip.created"))
    (write,) = starter.postgrest.writes
    assert write.url.path == "/rest/v1/rpc/relay_apply"


async def test_app_writes_in_an_order_that_foreign_keys_allow(starter: RelayStarter) -> None:
    postgrest = FakePostgrest(api_key=SUPABASE_KEY, has_foreign_keys=True)
    starter = RelayStarter(starter.folder, postgrest)
    postgrest.hang()
    async with starter.start() as relay:
        # The membership comes first, as it may.
        await relay.send(make_body("membership.created"), "evt_1")
        await relay.send(make_body("trip.created"), "evt_2")
        await relay.send(make_body("user.created"), "evt_3")
        postgrest.heal()
        assert await relay.send_and_wait(make_body("membership.created"), "evt_1") == "applied"
        removal = make_body("trip.deleted", at="2026-01-02T03:00:01Z")
        assert await relay.send_and_wait(removal, "evt_4") == "applied"
    assert {table: len(rows) for table, rows in postgrest.tables.items()} == {
        "users": 1,
        "trips": 0,
        "trip_memberships": 0,
    }


async def test_app_restarted_applies_pending_entities(
    starter: RelayStarter, postgrest: FakePostgrest
) -> None:
    postgrest.break_connection()
    async with starter.start() as relay:
        assert (await relay.send(make_body("trip.created"))).status_code == 202
    assert postgrest.rows("trips") == []
    postgrest.heal()
    async with starter.start() as relay:
        assert await relay.send_and_wait(make_body("trip.created")) == "applied"
    assert postgrest.rows("trips") == [make_body("trip.created")["data"]]


async def test_app_stopped_finishes_the_open_batch(
    starter: RelayStarter, postgrest: FakePostgrest
) -> None:
    async with starter.start() as relay:
        gate = postgrest.hang(of=is_write)
        await relay.send(make_body("trip.created"))
        await in_time(postgrest.wait_for_writes(1))
        asyncio.get_running_loop().call_soon(gate.set)
    assert read_states(starter) == [("applied",)]


async def test_app_stopped_abandons_a_batch_that_hangs_and_keeps_it_pending(
    starter: RelayStarter, postgrest: FakePostgrest, caplog: pytest.LogCaptureFixture
) -> None:
    app = starter.make_app(shutdown_seconds=1)
    lifespan = app.router.lifespan_context(app)
    await lifespan.__aenter__()
    # The fence is claimed, and the probe has been answered.
    await in_time(postgrest.wait_for_requests(2))
    postgrest.hang()
    receiver = app.state.services.receiver
    reader = app.state.services.reader
    event = reader.read_event(
        "evt_1",
        b'{"type": "user.deleted", "timestamp": "2026-01-02T03:00:00Z",'
        b' "data": {"id": "123e4567-e89b-12d3-a456-426614174000"}}',
        now=2**60,
    )
    await receiver.receive_event(event)
    await in_time(postgrest.wait_for_writes(1))
    async with asyncio.timeout(60):
        await lifespan.__aexit__(None, None, None)
    assert "abandoned" in caplog.text
    assert read_states(starter) == [("pending",)]
    # The file is free again.
    postgrest.heal()
    async with starter.start():
        pass


def read_states(starter: RelayStarter) -> list[tuple[str]]:
    with contextlib.closing(sqlite3.connect(starter.folder / "relay.db")) as connection:
        return connection.execute("SELECT state FROM entities").fetchall()


async def test_app_stopped_leaves_no_task_and_no_connection(starter: RelayStarter) -> None:
    before = asyncio.all_tasks()
    async with starter.start() as relay:
        await relay.send(make_body("trip.created"))
    assert asyncio.all_tasks() == before
    assert not (starter.folder / "relay.db-wal").exists()


def test_api_without_a_lifespan_has_its_document() -> None:
    assert create_api().openapi()["info"]["title"]
