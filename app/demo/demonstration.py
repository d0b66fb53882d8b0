"""What `relay demo` shows: a stranger, a member, a stranger again, on a real local Supabase."""

import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx
import typer
from pydantic import SecretStr
from rich.table import Table

from app.auth.tokens import mint_token
from app.auth.webhook_keys import generate_symmetric_secret
from app.cli.client.delivery import confirm_event, deliver
from app.cli.client.relay_client import make_failure, translated_failures
from app.cli.client.signing import (
    TIMEOUT_SECONDS,
    make_body,
    make_event_id,
    name_endpoint,
    sign_body,
)
from app.cli.output.console import errors, output, report_wait
from app.demo.local_supabase import LocalSupabase, LocalSupabaseError, run_local_supabase
from app.observability.logging import configure_logging
from app.settings import Settings

_LIMIT_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.002


def run_demonstration(*, once: bool, port: int) -> None:
    """Show the point; then serve until Ctrl-C, unless once is enough."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    configure_logging(level="WARNING", format_name="text")
    try:
        with ExitStack() as stack:
            supabase = stack.enter_context(run_local_supabase(report=_report))
            secret, jwt_secret = generate_symmetric_secret(), secrets.token_urlsafe(48)
            relay_url = stack.enter_context(_run_relay(supabase, secret, jwt_secret, port))
            _report(f"Relay on {relay_url}, Supabase on {supabase.url}")
            # One client: making one costs 30 ms, which is not the relay's.
            client = stack.enter_context(httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS))
            _Proof(supabase, relay_url, secret, client).show()
            if not once:
                _invite(supabase, relay_url, secret, jwt_secret)
                signal.pause()
    except LocalSupabaseError as error:
        errors.print(f"[bold red]relay demo:[/] {error}")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _report("Stopped.")


class _Proof:
    """Denied, granted, denied: each step measured from the POST to what the user can read."""

    def __init__(
        self, supabase: LocalSupabase, relay_url: str, secret: str, client: httpx.Client
    ) -> None:
        self._supabase = supabase
        self._client = client
        self._relay_url = relay_url
        self._secret = secret
        self._user_id = str(uuid.uuid4())
        self._trip_id = str(uuid.uuid4())
        self._table = Table(title="What the user reads of the trip's chat", title_justify="left")
        for column in ("step", "as the user, through Row Level Security", "after"):
            self._table.add_column(column)

    def show(self) -> None:
        self._prepare()
        membership = {"trip_id": self._trip_id, "user_id": self._user_id}
        self._check("a stranger", None, expects_message=False)
        self._check(
            "membership.created",
            membership | {"role": "MEMBER", "status": "ACTIVE"},
            expects_message=True,
        )
        self._check("membership.deleted", membership, expects_message=False)
        output.print(self._table)

    def _prepare(self) -> None:
        """Create a trip with a message in it, the user being no member."""
        owner_id = str(uuid.uuid4())
        for event_type, data in (
            ("user.created", {"id": owner_id, "email": "ana@example.com", "username": "ana"}),
            ("user.created", {"id": self._user_id, "email": "bo@example.com", "username": "bo"}),
            ("trip.created", {"id": self._trip_id, "name": "Lisbon", "created_by": owner_id}),
        ):
            self._send(event_type, data, wait=True)
        self._client.post(
            f"{self._supabase.url}/rest/v1/chat_messages",
            headers={"apikey": self._supabase.secret_key},
            json={"trip_id": self._trip_id, "user_id": owner_id, "body": "Tram 28 at nine?"},
        ).raise_for_status()

    def _check(self, step: str, data: dict[str, str] | None, *, expects_message: bool) -> None:
        started = time.perf_counter()
        if data is not None:
            self._send(step, data, wait=False)
        messages = self._await_messages(expects_message=expects_message)
        took = (time.perf_counter() - started) * 1000
        seen = ", ".join(f"“{message}”" for message in messages)
        self._table.add_row(
            step,
            f"[green]{seen}[/]" if messages else "[red]nothing[/]",
            "" if data is None else f"{took:.0f} ms",
        )

    def _await_messages(self, *, expects_message: bool) -> list[str]:
        now = int(time.time())
        claims = {"sub": self._user_id, "role": "authenticated", "iat": now, "exp": now + 600}
        token = mint_token(claims, secret=self._supabase.jwt_secret)
        headers = {
            "apikey": self._supabase.publishable_key,
            "Authorization": f"Bearer {token}",
        }
        deadline = time.monotonic() + _LIMIT_SECONDS
        while True:
            response = self._client.get(
                f"{self._supabase.url}/rest/v1/chat_messages",
                params={"select": "body", "trip_id": f"eq.{self._trip_id}"},
                headers=headers,
            )
            response.raise_for_status()
            messages = [row["body"] for row in response.json()]
            if bool(messages) is expects_message:
                return messages
            if time.monotonic() > deadline:
                errors.print("[bold red]relay demo:[/] the permission did not arrive in time")
                raise typer.Exit(1)
            time.sleep(_POLL_SECONDS)

    def _send(self, event_type: str, data: dict[str, str], *, wait: bool) -> None:
        body, event_id = make_body(event_type, data), make_event_id()
        endpoint = name_endpoint(self._relay_url)

        def attempt() -> None:
            headers = sign_body(
                self._secret, body, event_id=event_id, wait_seconds=10 if wait else None
            )
            with translated_failures(self._relay_url):
                response = self._client.post(
                    endpoint, content=body, headers=headers | {"connection": "close"}
                )
            if not response.is_success:
                raise make_failure(response)
            confirm_event(response, event_id)

        deliver(attempt, patience_seconds=_LIMIT_SECONDS, report_wait=report_wait)


@contextmanager
def _run_relay(supabase: LocalSupabase, secret: str, jwt_secret: str, port: int) -> Iterator[str]:
    """Run the relay in a thread of this process, so that it cannot outlive it."""
    # Here and not above: `relay send` need not wait for what only a server needs.
    from app.main import create_app
    from app.server.limits import Limits
    from app.server.server import RelayServer

    with tempfile.TemporaryDirectory(prefix="relay-demo-") as folder:
        settings = Settings(
            _env_file=None,
            supabase_url=supabase.url,
            supabase_service_role_key=SecretStr(supabase.secret_key),
            webhook_secrets=(SecretStr(secret),),
            jwt_secret=SecretStr(jwt_secret),
            store_url=f"sqlite:///{Path(folder) / 'relay.db'}",
            host="127.0.0.1",
            port=_choose_port(port),
        )
        server = RelayServer(
            create_app(settings),
            limits=Limits(),
            shutdown_seconds=2,
            host=settings.host,
            port=settings.port,
        )
        thread = threading.Thread(target=server.run, name="relay")
        thread.start()
        try:
            _await(lambda: server.started or not thread.is_alive())
            if not server.started:
                raise typer.Exit(1)
            yield f"http://{settings.host}:{settings.port}"
        finally:
            server.should_exit = True
            thread.join()


def _choose_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            errors.print("[bold red]relay demo:[/] the relay did not start in time")
            raise typer.Exit(1)
        time.sleep(0.01)


def _invite(supabase: LocalSupabase, relay_url: str, secret: str, jwt_secret: str) -> None:
    trip_id, user_id = uuid.uuid4(), uuid.uuid4()
    output.print(
        f"""
Try it from a second terminal, in this folder:

  source .venv/bin/activate
  export RELAY_URL={relay_url} WEBHOOK_SECRETS={secret}
  export JWT_SECRET={jwt_secret}
  relay send user.created id={user_id} email=cy@example.com username=cy --wait 5
  relay send trip.created id={trip_id} name=Porto created_by={user_id} --wait 5
  relay events
  relay replay --all
  curl -s {relay_url}/health
  curl -s -H 'apikey: {supabase.secret_key}' {supabase.url}/rest/v1/trips

Ctrl-C stops everything.""",
        markup=False,
    )


def _report(sentence: str) -> None:
    errors.print(sentence, style="dim")
