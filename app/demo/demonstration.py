"""The demonstration: a user is denied, granted and denied access, on a real local Supabase."""

import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from pydantic import SecretStr

from app.auth.tokens import mint_token
from app.auth.webhook_keys import generate_symmetric_secret
from app.cli.client.delivery import confirm_event, post
from app.cli.client.signing import make_body, make_event_id, sign_body
from app.demo.local_supabase import LocalSupabase
from app.main import create_app
from app.server.limits import Limits
from app.server.server import RelayServer, bind_sockets
from app.settings import Settings

_LIMIT_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.002
_HOST: Final = "127.0.0.1"


class DemonstrationFailed(Exception):
    """The relay did not do what the demonstration shows; `str(error)` is a sentence."""


@dataclass(frozen=True, slots=True)
class DemoRelay:
    """The relay of the demonstration; its store is deleted at the end."""

    url: str
    webhook_secret: str
    jwt_secret: str
    store_url: str


@contextmanager
def run_relay(supabase: LocalSupabase, port: int) -> Iterator[DemoRelay]:
    """Run a relay in a thread of this process, which it thus cannot outlive.

    Raises:
        DemonstrationFailed: the relay does not start.
    """
    try:
        sockets = bind_sockets(_HOST, port)
    except OSError:
        sockets = bind_sockets(_HOST, 0)
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as folder:
        relay = DemoRelay(
            url=f"http://{_HOST}:{sockets[0].getsockname()[1]}",
            webhook_secret=generate_symmetric_secret(),
            jwt_secret=generate_symmetric_secret(),
            store_url=f"sqlite:///{Path(folder) / 'relay.db'}",
        )
        settings = Settings(
            _env_file=None,
            supabase_url=supabase.url,
            supabase_service_role_key=SecretStr(supabase.secret_key),
            webhook_secrets=(SecretStr(relay.webhook_secret),),
            jwt_secret=SecretStr(relay.jwt_secret),
            store_url=relay.store_url,
        )
        server = RelayServer(create_app(settings), limits=Limits(), shutdown_seconds=2)
        thread = threading.Thread(target=server.run, args=(sockets,), name="relay")
        thread.start()
        try:
            deadline = time.monotonic() + _LIMIT_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise DemonstrationFailed("the relay did not start")
                time.sleep(0.01)
            yield relay
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True, slots=True)
class Step:
    """What a user could read after an event, and when; before the first one, it has no type."""

    event_type: str | None
    messages: list[str]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A trip with one chat message, and a user who is not a member yet."""

    supabase: LocalSupabase
    relay: DemoRelay
    client: httpx.Client
    user_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trip_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def run(self) -> Iterator[Step]:
        """Add the user to the trip and remove them again, and yield what they read after each.

        Raises:
            DemonstrationFailed: a change takes too long.
        """
        self._create_trip()
        membership = {"trip_id": self.trip_id, "user_id": self.user_id}
        yield self._await_messages(None, are_expected=False)
        active = membership | {"role": "MEMBER", "status": "ACTIVE"}
        for event_type, data in (
            ("membership.created", active),
            ("membership.deleted", membership),
        ):
            started = time.perf_counter()
            self._send(event_type, data)
            yield self._await_messages(event_type, are_expected=data is active, started=started)

    def _create_trip(self) -> None:
        owner_id = str(uuid.uuid4())
        for event_type, data in (
            ("user.created", {"id": owner_id, "email": "ana@example.com", "username": "ana"}),
            ("user.created", {"id": self.user_id, "email": "bo@example.com", "username": "bo"}),
            ("trip.created", {"id": self.trip_id, "name": "Lisbon", "created_by": owner_id}),
        ):
            self._send(event_type, data, wait_seconds=10)
        self.client.post(
            f"{self.supabase.url}/rest/v1/chat_messages",
            headers={"apikey": self.supabase.secret_key},
            json={"trip_id": self.trip_id, "user_id": owner_id, "body": "Tram 28 at nine?"},
        ).raise_for_status()

    def _send(
        self, event_type: str, data: Mapping[str, str], *, wait_seconds: int | None = None
    ) -> None:
        body, event_id = make_body(event_type, data), make_event_id()
        headers = sign_body(
            self.relay.webhook_secret, body, event_id=event_id, wait_seconds=wait_seconds
        )
        url = f"{self.relay.url}/webhooks"
        confirm_event(post(self.client, url, content=body, headers=headers), event_id)

    def _await_messages(
        self, event_type: str | None, *, are_expected: bool, started: float | None = None
    ) -> Step:
        """Read the chat as the user, through Row Level Security, until it is as expected."""
        started = time.perf_counter() if started is None else started
        now = int(time.time())
        claims = {"sub": self.user_id, "role": "authenticated", "iat": now, "exp": now + 600}
        token = mint_token(claims, secret=self.supabase.jwt_secret)
        headers = {
            "apikey": self.supabase.publishable_key,
            "Authorization": f"Bearer {token}",
        }
        while True:
            response = self.client.get(
                f"{self.supabase.url}/rest/v1/chat_messages",
                params={"select": "body", "trip_id": f"eq.{self.trip_id}"},
                headers=headers,
            )
            response.raise_for_status()
            messages = [row["body"] for row in response.json()]
            seconds = time.perf_counter() - started
            if bool(messages) is are_expected:
                return Step(event_type, messages, seconds * 1000)
            if seconds > _LIMIT_SECONDS:
                raise DemonstrationFailed(f"{event_type} was not applied in time")
            time.sleep(_POLL_SECONDS)
