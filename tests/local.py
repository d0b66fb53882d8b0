"""One local Supabase for all tests, and clients of its PostgREST."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import UUID

import httpx
import pytest

from app.auth.tokens import mint_token
from app.demo.local_supabase import LocalSupabase, run_local_supabase
from tests.loopback import NO_TLS
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def local_supabase() -> Iterator[LocalSupabase]:
    """Start one for the whole session, as each test uses fresh ids."""
    with run_local_supabase() as supabase:
        yield supabase


@pytest.fixture(scope="session")
def supabase_over_postgres(postgres: PostgresServer) -> Iterator[LocalSupabase]:
    """Start one over a real PostgreSQL, which tests can query."""
    with run_local_supabase(postgres_url=postgres.create_database()) as supabase:
        yield supabase


def open_rest(
    supabase: LocalSupabase, apikey: str, *, user_token: str | None = None
) -> httpx.Client:
    """Open a client of PostgREST: `client.get("users", params={"id": "eq.…"})`."""
    headers = {"apikey": apikey}
    if user_token is not None:
        headers["Authorization"] = f"Bearer {user_token}"
    return httpx.Client(
        base_url=f"{supabase.url}/rest/v1/",
        headers=headers,
        trust_env=False,
        verify=NO_TLS,
        timeout=30,
    )


@pytest.fixture(scope="session")
def anon(local_supabase: LocalSupabase) -> Iterator[httpx.Client]:
    """Give a client with the publishable key only."""
    with open_rest(local_supabase, local_supabase.publishable_key) as client:
        yield client


@pytest.fixture(scope="session")
def service_role(local_supabase: LocalSupabase) -> Iterator[httpx.Client]:
    """Give a client with the relay's key."""
    with open_rest(local_supabase, local_supabase.secret_key) as client:
        yield client


def open_as_user(supabase: LocalSupabase, user_id: UUID) -> httpx.Client:
    """Open a client of PostgREST like the app's when this user is signed in."""
    token = mint_token(
        {
            "sub": str(user_id),
            "role": "authenticated",
            "aud": "authenticated",
            "exp": int(time.time()) + 3600,
        },
        secret=supabase.jwt_secret,
    )
    return open_rest(supabase, supabase.publishable_key, user_token=token)


@pytest.fixture
def as_user(local_supabase: LocalSupabase) -> Iterator[Callable[[UUID], httpx.Client]]:
    """Give a function that opens a client of a signed-in user."""
    with ExitStack() as stack:
        yield lambda user_id: stack.enter_context(open_as_user(local_supabase, user_id))
