"""All parts between a webhook and the app's screen, with Realtime."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.demo.local_supabase import run_local_supabase
from app.demo.node import find_node, run_command
from docs.generate import SNIPPETS
from tests.contract.database import MIGRATIONS
from tests.e2e.conftest import RelayProcess, run_relays
from tests.frontend.app import HERE, App, install_library, run_app
from tests.frontend.realtime_server import RealtimeServer, run_realtime
from tests.postgres import PostgresServer

HOSTED: Final = Path(__file__).parents[1] / "contract" / "hosted.sql"
COMPILE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class RealtimeStack:
    """The running parts.

    Attributes:
        database_url: of the Supabase's PostgreSQL, as a superuser.
    """

    relay: RelayProcess
    app: App
    realtime: RealtimeServer
    database_url: str


@contextmanager
def run_stack(postgres: PostgresServer, folder: Path) -> Iterator[RealtimeStack]:
    """Run everything until the block ends."""
    compiled = compile_example(folder / "example")
    database_url = postgres.create_database()
    for name in ("migrations", "app", "relays"):
        (folder / name).mkdir()
    _copy_migrations(folder / "migrations")
    with (
        run_local_supabase(migrations=folder / "migrations", postgres_url=database_url) as supabase,
        run_realtime(database_url, supabase.jwt_secret) as (realtime, realtime_url),
        run_app(supabase, folder / "app", realtime_url, compiled.as_posix()) as app,
        run_relays(folder / "relays") as make_relay,
    ):
        relay = make_relay(SUPABASE_URL=supabase.url, SUPABASE_SECRET_KEY=supabase.secret_key)
        yield RealtimeStack(relay, app, realtime, database_url)


def compile_example(folder: Path) -> Path:
    """Compile docs/snippets/typescript, strictly; return the folder of the result."""
    modules = install_library()
    (folder / "node_modules").mkdir(parents=True)
    for package in (*modules.iterdir(), HERE / "react-native"):
        (folder / "node_modules" / package.name).symlink_to(package)
    shutil.copytree(SNIPPETS / "typescript", folder / "source")
    shutil.copyfile(HERE / "tsconfig.json", folder / "tsconfig.json")
    compiler = modules / "typescript" / "bin" / "tsc"
    run_command(
        [str(find_node().executable), str(compiler), "--project", "."],
        purpose="Compiling docs/snippets/typescript",
        directory=folder,
        log=folder / "tsc.log",
        timeout_seconds=COMPILE_SECONDS,
    )
    return folder / "compiled"


def _copy_migrations(folder: Path) -> None:
    """Put Realtime's tables and functions before ours; the local Supabase has its own `auth`."""
    realtime = HOSTED.read_text().partition("create schema realtime;")
    (folder / "00000000000001_realtime.sql").write_text("".join(realtime[1:]))
    for path in MIGRATIONS.glob("*.sql"):
        shutil.copyfile(path, folder / path.name)
