"""The checks of docs/guides/integrate.md, for a member and a stranger on the local Supabase."""

import json
import time
import uuid
from pathlib import Path

import httpx

from app.auth.tokens import mint_token
from app.demo.local_supabase import LocalSupabase
from tests.docs.commands import run_script
from tests.docs.pages import read_region
from tests.e2e.conftest import JWT_SECRET, run_relays
from tests.e2e.test_access import Trip, make_trip


def run_checks(trip: Trip, supabase: LocalSupabase, user: str) -> list[str]:
    """Return what each check prints."""
    now = int(time.time())
    claims = {"sub": user, "role": "authenticated", "iat": now, "exp": now + 600}
    # Each command's output ends where the next begins.
    commands = read_region("sh/checks.sh#checks").replace("\n# ", "\necho\n# ")
    environment = {
        **trip.relay.environment(),
        "SUPABASE_URL": supabase.url,
        "SUPABASE_SECRET_KEY": supabase.secret_key,
        "KEY": supabase.publishable_key,
        "USER_TOKEN": mint_token(claims, secret=supabase.jwt_secret),
        "TRIP": trip.id,
        "NO_PROXY": "127.0.0.1",
    }
    printed = run_script(commands, trip.folder, environment)
    return [line for line in printed.splitlines() if line]


def test_checks_of_a_member_and_of_a_stranger_print_what_the_page_expects(
    tmp_path: Path, local_supabase: LocalSupabase, service_role: httpx.Client
) -> None:
    with run_relays(tmp_path) as make:
        relay = make(SUPABASE_URL=local_supabase.url, SUPABASE_SECRET_KEY=local_supabase.secret_key)
        settings = {"JWT_SECRET": JWT_SECRET}
        trip = make_trip(relay, settings, tmp_path, service_role)
        trip.move_member("membership.created")

        messages, write, health, users = run_checks(trip, local_supabase, trip.user)
        strangers_messages, strangers_write, *_ = run_checks(
            trip, local_supabase, str(uuid.uuid4())
        )

    assert [message["body"] for message in json.loads(messages)] == ["Tram 28 at nine?"]
    assert json.loads(strangers_messages) == []
    assert (write, strangers_write) == ("403", "403")
    assert '"status":"ok"' in health
    assert '"pending":0' in health
    assert json.loads(users)[0].keys() == {"id", "email", "username"}
