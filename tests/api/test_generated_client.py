"""A client that is generated from the OpenAPI document works with a relay."""

import importlib
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import httpx
import pytest

from app.auth.signatures import sign
from tests.api.relay_harness import TRIP, USER, WEBHOOK_SECRET, RunningRelay, make_body
from tests.auth.issuer import Clock

DOCUMENT: Final = Path(__file__).parents[2] / "openapi/openapi.json"
PACKAGE: Final = "generated_relay_client"
_BIN: Final = Path(sys.executable).parent


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Generate the client, without a warning, and have it importable."""
    folder = tmp_path_factory.mktemp("generated")
    process = subprocess.run(  # noqa: S603
        [_BIN / "openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none",
         "--output-path", folder / PACKAGE, "--fail-on-warning"],
        # It formats what it has made, by the ruff beside it.
        env={**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert "warning" not in (process.stdout + process.stderr).lower()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield PACKAGE
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def models(package: str) -> ModuleType:
    return importlib.import_module(f"{package}.models")


def find_operation(package: str, name: str) -> Any:
    """Import the coroutine that calls an operation, `<tag>.<operation>`."""
    return importlib.import_module(f"{package}.api.{name}").asyncio


class Signer(httpx.Auth):
    """Signs a webhook when its bytes are final, as the document says of the headers."""

    requires_request_body = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        event_id = request.headers.get("webhook-id")
        if event_id is None:
            yield request
            return
        timestamp = int(self._clock())
        request.headers["webhook-timestamp"] = str(timestamp)
        request.headers["webhook-signature"] = sign(
            WEBHOOK_SECRET,
            webhook_id=event_id,
            timestamp=timestamp,
            body=request.content,
        )
        yield request


@pytest.fixture
def backend(package: str, relay: RunningRelay) -> Any:
    """The generated client, as the backend has it."""
    return importlib.import_module(package).Client(
        base_url="http://relay.test",
        httpx_args={"transport": httpx.ASGITransport(relay.app), "auth": Signer(relay.clock)},
        raise_on_unexpected_status=True,
    )


@pytest.fixture
def operator(package: str, relay: RunningRelay) -> Any:
    """The generated client, as ops have it."""
    header = relay.bear("events:read replay:write")["authorization"]
    return importlib.import_module(package).AuthenticatedClient(
        base_url="http://relay.test",
        token=header.removeprefix("Bearer "),
        httpx_args={"transport": httpx.ASGITransport(relay.app)},
        raise_on_unexpected_status=True,
    )


def read_event(models: ModuleType, event_type: str, **more: str) -> Any:
    prefix = "Batch" if "id" in more else ""
    name = prefix + "".join(part.capitalize() for part in event_type.split("."))
    return getattr(models, name).from_dict(make_body(event_type) | more)


async def test_generated_client_sends_looks_up_lists_and_replays(
    package: str, models: ModuleType, relay: RunningRelay, backend: Any, operator: Any
) -> None:
    receipt = await find_operation(package, "webhooks.post_webhook")(
        client=backend,
        body=read_event(models, "user.created"),
        webhook_id="evt_user",
        prefer="wait=10",
    )
    assert receipt == models.Receipt("evt_user", models.ReceiptStatus.APPLIED)
    result = await find_operation(package, "webhooks.post_webhook_batch")(
        client=backend,
        body=models.Batch(
            [
                read_event(models, "trip.created", id="evt_trip"),
                read_event(models, "membership.created", id="evt_member"),
            ]
        ),
        webhook_id="batch_1",
    )
    assert [(each.event_id, each.status.value) for each in result.results] == [
        ("evt_trip", "accepted"),
        ("evt_member", "accepted"),
    ]
    await relay.watch_health(lambda body: body["backlog"]["pending"] == 0)

    event = await find_operation(package, "events.get_event")("evt_member", client=operator)
    assert event.entity.key == f"{TRIP}/{USER}"
    assert event.received_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    list_events = find_operation(package, "events.list_events")
    page = await list_events(
        client=operator,
        types=[models.ListEventsTypesItem("trip.*"), models.ListEventsTypesItem("user.*")],
        since=datetime(2026, 1, 2, tzinfo=UTC),
        limit=1,
    )
    assert [event.event_id for event in page.events] == ["evt_trip"]
    page = await list_events(
        client=operator,
        types=[models.ListEventsTypesItem("trip.*"), models.ListEventsTypesItem("user.*")],
        since=datetime(2026, 1, 2, tzinfo=UTC),
        cursor=page.next_cursor,
    )
    assert [event.event_id for event in page.events] == ["evt_user"]
    assert page.next_cursor is None

    post_replay = find_operation(package, "replay.post_replay")
    dry = await post_replay(client=operator, body=models.ReplayBody(all_=True, dry_run=True))
    assert (dry.status, dry.replay_id, dry.entities) == ("dry_run", None, 3)
    begun = await post_replay(client=operator, body=models.ReplayBody(event_ids=["evt_user"]))
    assert begun.status is models.ReplayStatus.COMPLETED
    report = await find_operation(package, "replay.get_replay")(begun.replay_id, client=operator)
    assert (report.marked, report.filter_["event_ids"]) == (1, ["evt_user"])
    listed = await find_operation(package, "replay.list_replays")(client=operator)
    assert [replay.replay_id for replay in listed.replays] == [begun.replay_id]


async def test_generated_client_reads_problems(
    package: str, models: ModuleType, backend: Any, operator: Any
) -> None:
    problem = await find_operation(package, "events.get_event")("evt_none", client=operator)
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.code) == (404, "event-not-found")
    problem = await find_operation(package, "replay.post_replay")(
        client=operator, body=models.ReplayBody(event_ids=["evt_none"])
    )
    assert [error.pointer for error in problem.errors] == ["/event_ids/0"]
    problem = await find_operation(package, "events.list_events")(client=backend)
    assert (problem.status, problem.code) == (401, "unauthenticated")


async def test_generated_client_reads_health(
    package: str, models: ModuleType, backend: Any
) -> None:
    health = await find_operation(package, "health.get_health")(client=backend)
    assert isinstance(health.status, models.HealthStatus)
    assert health.backlog.pending == 0
