"""A whole relay for tests: the real app on a real SQLite file, with a fake Supabase."""

import asyncio
import contextlib
import hashlib
import json
import resource
import sqlite3
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from fastapi import FastAPI
from starlette.types import Message

from app.api.application import Application
from app.auth.signatures import sign
from app.domain.failpoints import FailpointHook, noop
from app.domain.traces import Tracer
from app.main import create_app
from app.settings import Settings
from tests.auth.issuer import KEY_SET_URL, Clock, KeyServer, mint
from tests.fake_auth import FakeAuth
from tests.fake_postgrest import FakePostgrest

NOW: Final = 1_767_323_045.0
"""2026-01-02T03:04:05Z, where the clock of a relay in tests starts."""

WEBHOOK_SECRET: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
JWT_SECRET: Final = "the-secret-of-the-tokens-of-these-tests"
SUPABASE_KEY: Final = "sb_secret_the_key_of_these_tests"

USER: Final = "123e4567-e89b-12d3-a456-426614174000"
TRIP: Final = "456e7890-e89b-12d3-a456-426614174001"
_IDS: Final[dict[str, dict[str, str]]] = {
    "user": {"id": USER},
    "trip": {"id": TRIP},
    "membership": {"trip_id": TRIP, "user_id": USER},
}
_REST: Final[dict[str, dict[str, str]]] = {
    "user": {"email": "ada@example.com", "username": "ada"},
    "trip": {"name": "Lisbon", "created_by": USER},
    "membership": {"role": "MEMBER", "status": "ACTIVE"},
}
_PATIENCE_SECONDS: Final = 60.0

Key = tuple[str, str]
"""An algorithm, and what signs tokens by it."""

HS256: Final[Key] = ("HS256", JWT_SECRET)

Body = dict[str, Any]
Fields = dict[str, str]


def make_body(event_type: str, *, at: str = "2026-01-02T03:00:00Z", **changes: Any) -> Body:
    """Make the body of an event: valid, with `changes` to its data."""
    kind, _, action = event_type.partition(".")
    data = _IDS[kind] | ({} if action == "deleted" else _REST[kind]) | changes
    return {"type": event_type, "timestamp": at, "data": data}


HISTORY: Final = {
    "evt_user": make_body("user.created"),
    "evt_trip": make_body("trip.created"),
    "evt_member": make_body("membership.created"),
    "evt_trip_again": make_body("trip.updated", at="2026-01-02T03:00:01Z", name="Porto"),
}
"""Four events of three entities, by id."""


def refuse_rows(postgrest: FakePostgrest, *, of: str | None = None) -> None:
    """Have Supabase reject rows for good: any, or those of one table."""
    postgrest.fail_row(
        lambda _operation, table, _row: of in (None, table),
        "23514",
        'new row violates check constraint "c"',
    )


def assert_problem(response: httpx.Response, status: int, code: str) -> Body:
    """Check that a response is this RFC 9457 problem, and return its body."""
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), response.text
    body: Body = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"/docs/problems#{code}"
    assert body["title"]
    assert body.keys() <= {"type", "title", "status", "code", "detail", "errors"}
    return body


def pointers(problem: Body) -> list[str]:
    """Return the pointers of a 422."""
    assert all(error["detail"] for error in problem["errors"])
    return [error["pointer"] for error in problem["errors"]]


@dataclass(frozen=True)
class RunningRelay:
    """A started relay.

    Attributes:
        app: the application.
        http: calls it.
        clock: its time.
        postgrest: its Supabase.
        folder: holds its store, and nothing else.
    """

    app: FastAPI
    http: httpx.AsyncClient
    clock: Clock
    postgrest: FakePostgrest
    folder: Path

    def sign(self, event_id: str, content: bytes, *, secret: str = WEBHOOK_SECRET) -> Fields:
        """Make the headers of a signed webhook."""
        timestamp = int(self.clock())
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(
                secret, webhook_id=event_id, timestamp=timestamp, body=content
            ),
        }

    def bear(self, scope: str, *, key: Key = HS256, **claims: Any) -> Fields:
        """Make the header that carries a token; a claim given as None is left out."""
        said = {"sub": "ops@nomadcrew.test", "exp": int(self.clock()) + 60, "scope": scope} | claims
        given = {name: value for name, value in said.items() if value is not None}
        token = mint(given, key[1], key[0], None)
        return {"authorization": f"Bearer {token}"}

    def bear_for(
        self, content: bytes, scope: str = "webhooks:write", *, key: Key = HS256, **claims: Any
    ) -> Fields:
        """Make the header that carries a token for a webhook of this body."""
        digest = hashlib.sha256(content).hexdigest()
        return self.bear(scope, key=key, request_body_sha256=digest, **claims)

    async def post(
        self, path: str, content: bytes | AsyncIterable[bytes], headers: Fields | None = None
    ) -> httpx.Response:
        """Post it as it stands, declared to be JSON unless `headers` say otherwise."""
        fields = {"content-type": "application/json"} | (headers or {})
        # As a client sends them that knows no Latin-1.
        raw = [(name.encode(), value.encode()) for name, value in fields.items()]
        return await self.http.post(path, content=content, headers=raw)

    async def send(
        self,
        body: object,
        event_id: str = "evt_1",
        *,
        path: str = "/webhooks",
        headers: Fields | None = None,
    ) -> httpx.Response:
        """Post a webhook that is signed; bytes go as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.post(path, content, self.sign(event_id, content) | (headers or {}))

    async def send_and_wait(self, body: object, event_id: str = "evt_1") -> str:
        """Post a webhook, wait until it is settled and give its status; again changes nothing."""
        response = await self.send(body, event_id, headers={"prefer": "wait=10"})
        assert response.status_code == httpx.codes.OK, response.text
        status: str = response.json()["status"]
        return status

    async def send_batch(self, *events: object) -> httpx.Response:
        """Post a signed batch."""
        return await self.send({"events": list(events)}, "batch_1", path="/webhooks/batch")

    async def replay(self, filter_: object, **claims: Any) -> httpx.Response:
        """Post to /replay with a valid token."""
        return await self.post(
            "/replay", json.dumps(filter_).encode(), self.bear("replay:write", **claims)
        )

    async def look_up(self, quoted_event_id: str) -> httpx.Response:
        """Get an event with a valid token."""
        return await self.http.get(f"/events/{quoted_event_id}", headers=self.bear("events:read"))

    async def watch_health(self, is_awaited: Callable[[Body], bool]) -> Body:
        """Get /health until it says what is awaited, and give that."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                body: Body = (await self.http.get("/health")).json()
                if is_awaited(body):
                    return body

    async def break_off(self, path: str, content: bytes, headers: Fields) -> list[Message]:
        """Post half of a body and disconnect; return what the relay sent nevertheless."""
        received: list[Message] = [
            {"type": "http.request", "body": content[:9], "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return received.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await self.app(scope, receive, send)
        return sent

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in the store's file by a connection of one's own."""
        with contextlib.closing(sqlite3.connect(self.folder / "relay.db")) as connection:
            rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows

    def read_files(self) -> bytes:
        """Give every byte that the relay has on disk."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))


@dataclass(frozen=True)
class RelayStarter:
    """Starts relays in one folder, over one Supabase, by one clock.

    Attributes:
        folder: where the store is.
        postgrest: the Supabase.
        key_server: the issuer's key set, at `KEY_SET_URL`.
        auth: the Auth of the same project.
        clock: the time.
        hit: called at each named failpoint.
        make_tracer: makes the tracer of each relay.
    """

    folder: Path
    postgrest: FakePostgrest
    key_server: KeyServer = field(default_factory=KeyServer)
    auth: FakeAuth = field(default_factory=lambda: FakeAuth(api_key=SUPABASE_KEY))
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    hit: FailpointHook = noop
    make_tracer: Callable[[], Tracer | None] = lambda: None

    def make_settings(self, **changes: object) -> Settings:
        """Make the settings of a deployment, untouched by the environment."""
        values: dict[str, Any] = {
            "supabase_url": "https://project.supabase.test",
            "supabase_service_role_key": SUPABASE_KEY,
            "webhook_secrets": WEBHOOK_SECRET,
            "jwt_secret": JWT_SECRET,
            "store_url": f"sqlite:///{self.folder / 'relay.db'}",
            "shutdown_seconds": 1,
            "drift_check_seconds": 0,
        }
        return Settings(_env_file=None, **(values | changes))

    def make_app(self, **changes: object) -> Application:
        """Make the application, not started."""
        return create_app(
            self.make_settings(**changes),
            transport=httpx.MockTransport(self._carry),
            clock=self.clock,
            monotonic=self.clock,
            hit=self.hit,
            tracer=self.make_tracer(),
        )

    @contextlib.asynccontextmanager
    async def start(self, **changes: object) -> AsyncIterator[RunningRelay]:
        """Start a relay, with `changes` to its settings."""
        app = self.make_app(**changes)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://relay.test"
            ) as http,
        ):
            yield RunningRelay(app, http, self.clock, self.postgrest, self.folder)
            # Nothing hangs past its test.
            self.postgrest.release()

    async def _carry(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) == KEY_SET_URL:
            return self.key_server(request)
        if request.url.path.startswith("/auth/"):
            return await self.auth.respond(request)
        return await self.postgrest.respond(request)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let this process write to no file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class SlowBody:
    """A body that arrives in two parts, the second one on demand.

    Attributes:
        begun: set as soon as the relay reads it.
        rest: set by the test, to let the rest arrive.
    """

    content: bytes
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    rest: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content[:1]
        self.begun.set()
        await self.rest.wait()
        yield self.content[1:]


async def stream(content: bytes, *, chunk_bytes: int = 16_384) -> AsyncIterator[bytes]:
    """Send a body in chunks, with no length declared."""
    for start in range(0, len(content), chunk_bytes):
        yield content[start : start + chunk_bytes]


def number_ids(count: int) -> Iterator[str]:
    """Give ids of users, all different."""
    return (str(uuid.UUID(int=n)) for n in range(1, count + 1))


async def in_time(awaitable: Awaitable[None]) -> None:
    """Wait for something that must happen soon."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await awaitable
