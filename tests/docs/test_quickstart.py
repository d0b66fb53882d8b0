"""docs/quickstart.md, followed from its second step on the local Supabase."""

import json
import os
import re
from pathlib import Path

import psycopg

from app.demo.local_supabase import LocalSupabase, find_free_port
from tests.docs.commands import run_script
from tests.docs.pages import CHECKOUT, DOCS, read_blocks, read_region

STEPS = ("schema", "settings", "validate", "serve", "send", "look", "remove")


def test_page_shows_every_step_in_order() -> None:
    sources = [source for _, source, _ in read_blocks(DOCS / "quickstart.md")]
    assert sources == [f"sh/quickstart.sh#{step}" for step in ("install", *STEPS)]
    assert "export PATH" in read_region("sh/quickstart.sh#install")


def test_steps_followed_write_a_row_and_remove_it(
    tmp_path: Path, supabase_over_postgres: LocalSupabase
) -> None:
    supabase = supabase_over_postgres
    psql = tmp_path / "psql"  # the local Supabase has the schema already
    psql.write_text('#!/bin/sh\ncp "$5" applied.sql\n')
    psql.chmod(0o755)
    port = find_free_port()
    script = "\n".join(f"printf '\\nstep: {step}\\n'\n{run_step(step, port)}" for step in STEPS)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
        "SUPABASE_URL": supabase.url,
        "SUPABASE_SECRET_KEY": supabase.secret_key,
        "SUPABASE_DB_URL": str(supabase.database_url),
        "RELAY_URL": f"http://127.0.0.1:{port}",
    }
    output = run_script(script, tmp_path, environment)
    printed = dict(re.findall(r"^step: (\w+)\n((?:(?!step: ).*\n?)*)", output, re.MULTILINE))
    migrations = sorted((CHECKOUT / "supabase" / "migrations").glob("*.sql"))
    assert migrations[0].read_text().strip() in (tmp_path / "applied.sql").read_text()
    assert "applied" in printed["send"]
    rows, _, rest = printed["look"].partition("]")
    (row,) = json.loads(f"{rows}]")
    assert row["email"] == "ana@example.com"
    assert "user.created" in rest
    assert '"status":"ok"' in rest
    assert "applied" in printed["remove"]
    with psycopg.connect(str(supabase.database_url)) as database:
        assert database.execute("select from users where id = %s", [row["id"]]).fetchall() == []


def run_step(step: str, port: int) -> str:
    """Return a step's commands; the relay serves in the background, on a port of its own."""
    commands = read_region(f"sh/quickstart.sh#{step}")
    if step == "serve":
        return (
            f"{commands.strip()} --port {port} 2> relay.log &\n"
            "trap 'kill %1; wait' EXIT\n"
            "until grep -q 'listening on' relay.log; do sleep 0.1; done"
        )
    return commands.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{port}")
