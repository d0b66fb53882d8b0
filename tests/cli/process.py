"""The `relay` command as a process of its own, with the given settings only."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from app.demo.local_supabase import LocalSupabase
from tests.forked import run_forked_relay

WEBHOOK_SECRET = "whsec_ZG9jdG9yLWRvY3Rvci1kb2N0b3ItZG9jdG9yLWRvY3Rvcg=="
JWT_SECRET = "the secret of the operators' tokens, long enough"


def name_settings(supabase: LocalSupabase) -> dict[str, str]:
    """Return the settings of a deployment on this Supabase."""
    return {
        "SUPABASE_URL": supabase.url,
        "SUPABASE_SECRET_KEY": supabase.secret_key,
        "SUPABASE_PUBLISHABLE_KEY": supabase.publishable_key,
        "SUPABASE_JWT_SECRET": supabase.jwt_secret,
        "WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "JWT_SECRET": JWT_SECRET,
    }


def run_relay_command(
    folder: Path, settings: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder until it ends."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "COLUMNS": "200"}
    return run_forked_relay(*arguments, folder=folder, environment=environment | settings)


def read_json(done: subprocess.CompletedProcess[str]) -> Any:
    """Read what `--json` printed."""
    return json.loads(done.stdout)
