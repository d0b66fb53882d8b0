"""A local Supabase for the demo and the tests, which leaves nothing behind.

It is `@supabase/lite` over PGlite or a PostgreSQL, with the privileges of hosted Supabase
(`supabase_lite/*.sql`). It serves PostgREST at `<url>/rest/v1` and Auth at `<url>/auth/v1`, no
Realtime.
"""

import hashlib
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from app.demo.node import (
    LocalSupabaseError,
    Node,
    build_once,
    find_node,
    install_packages,
    read_tail,
    run_command,
    run_process,
)

CHECKOUT: Final = Path(__file__).resolve().parents[2]
LITE: Final = Path(__file__).with_name("supabase_lite")
GUARD: Final = LITE / "exit_with_parent.mjs"

_MIGRATE_SECONDS: Final = 120.0
_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_POLL_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class LocalSupabase:
    """A running local Supabase.

    Attributes:
        url: as in `SUPABASE_URL`.
        publishable_key: `apikey` of anon, and of a user together with their token.
        secret_key: `apikey` of service_role.
        jwt_secret: signs users' tokens with HS256.
        pid: the process, and its process group.
        database_url: of the PostgreSQL below it; None over PGlite, which is part of the process.
    """

    url: str
    publishable_key: str
    secret_key: str
    jwt_secret: str
    pid: int
    database_url: str | None


@contextmanager
def run_local_supabase(
    *,
    migrations: Path | None = None,
    extra_sql: Sequence[Path] = (),
    postgres_url: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[LocalSupabase]:
    """Run a local Supabase with a fresh database until the block ends.

    The first run installs it and builds the database; later runs copy the database and start in
    2 s. Both stay in the checkout's `.local/`. Your own PostgreSQL is migrated each time, and keeps
    its content.

    Args:
        migrations: a directory of `<version>_<name>.sql`; the checkout's by default.
        extra_sql: files applied after the migrations, in this order.
        postgres_url: an empty database and a superuser of it, to be used instead of PGlite.
        report: called with one sentence before each step that may take long.

    Raises:
        LocalSupabaseError: no checkout, no Node.js, or SQL that the database rejects. The sentence
            includes the tail of the log.
    """
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise LocalSupabaseError(
            "The local Supabase needs a checkout of the repository: clone it and run this there."
        )
    sql_files = _list_sql_files(migrations or CHECKOUT / "supabase" / "migrations", extra_sql)
    with tempfile.TemporaryDirectory(
        prefix="relay-supabase-", ignore_cleanup_errors=True
    ) as directory:
        project = Path(directory) / "project"
        node = find_node()
        modules = install_packages(
            node, manifests=LITE, guard=GUARD, cache=CHECKOUT / ".local", report=report
        )
        lite = _Lite(node, modules)
        if postgres_url is None:
            shutil.copytree(lite.build_template(sql_files, report), project)
        else:
            report("Migrating the local Supabase's database …")
            project.mkdir()
            lite.migrate(project, sql_files, postgres_url)
        report("Starting the local Supabase …")
        with lite.run_server(project, postgres_url) as supabase:
            yield supabase


def _list_sql_files(migrations: Path, extra_sql: Sequence[Path]) -> Mapping[str, Path]:
    """Name every SQL file as a migration; the names give the order."""
    files = {"00000000000000_hosted_defaults.sql": LITE / "hosted_defaults.sql"}
    own = {path.name: path for path in sorted(migrations.glob("*.sql"))}
    if not own:
        raise LocalSupabaseError(f"There are no migrations in {migrations}.")
    files |= own
    files |= {f"{90000000000000 + n}_{path.name}": path for n, path in enumerate(extra_sql)}
    files["99999999999999_keep_privileges.sql"] = LITE / "keep_privileges.sql"
    return files


@dataclass(frozen=True, slots=True)
class _Lite:
    """An installed `@supabase/lite`."""

    node: Node
    modules: Path

    def build_template(self, sql_files: Mapping[str, Path], report: Callable[[str], None]) -> Path:
        """Build a project with a migrated database, once for each set of SQL files.

        Migrating takes 5 s; copying the resulting 39 MB takes 0.2 s.
        """
        digest = hashlib.sha256((LITE / "package-lock.json").read_bytes())
        for name, path in sql_files.items():
            digest.update(f"\0{name}\0".encode() + path.read_bytes())

        def build(project: Path) -> None:
            report("Building the local Supabase's database (once for these migrations) …")
            self.migrate(project, sql_files, postgres_url=None)

        return build_once(CHECKOUT / ".local" / f"database-{digest.hexdigest()[:16]}", build)

    def migrate(
        self, project: Path, sql_files: Mapping[str, Path], postgres_url: str | None
    ) -> None:
        """Apply SQL files to the database of a new project."""
        _write_configuration(project, port=0, keys={}, postgres_url=postgres_url)
        (project / "supabase" / "migrations").mkdir()
        for name, path in sql_files.items():
            shutil.copyfile(path, project / "supabase" / "migrations" / name)
        run_command(
            self._command("migration", "up"),
            purpose="Building the local Supabase's database",
            directory=project,
            log=project / "migrate.log",
            timeout_seconds=_MIGRATE_SECONDS,
            environment=_environment(project),
        )

    @contextmanager
    def run_server(self, project: Path, postgres_url: str | None) -> Iterator[LocalSupabase]:
        """Serve a project until the block ends."""
        port = find_free_port()
        keys = {
            "publishable_key": f"sb_publishable_{secrets.token_urlsafe(32)}",
            "secret_key": f"sb_secret_{secrets.token_urlsafe(32)}",
            "jwt_secret": secrets.token_urlsafe(32),
        }
        _write_configuration(project, port=port, keys=keys, postgres_url=postgres_url)
        log = project / "server.log"
        with run_process(
            # Without --no-admin, callers on this machine without a key would be service_role.
            self._command("start", "--no-admin"),
            directory=project,
            log=log,
            environment=_environment(project.parent),
        ) as process:
            url = f"http://127.0.0.1:{port}"
            supabase = LocalSupabase(url=url, pid=process.pid, database_url=postgres_url, **keys)
            _await_server(supabase, process, log)
            yield supabase

    def _command(self, *arguments: str) -> list[str]:
        program = self.modules / "@supabase" / "lite" / "dist" / "cli" / "index.js"
        return [str(self.node.executable), "--import", GUARD.as_uri(), str(program), *arguments]


def _environment(directory: Path) -> Mapping[str, str]:
    return {"LITE_TELEMETRY": "0", "LOCAL_SUPABASE_DIRECTORY": str(directory)}


def _await_server(supabase: LocalSupabase, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server responds and has the privileges that the migrations gave."""
    deadline = time.monotonic() + _READY_SECONDS
    # trust_env: a proxy of this machine is not for its own addresses.
    with httpx.Client(trust_env=False, timeout=_POLL_TIMEOUT_SECONDS) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LocalSupabaseError(f"The local Supabase did not start. {read_tail(log)}")
            try:
                # Another server on this port does not accept this key.
                response = client.post(
                    f"{supabase.url}/rest/v1/rpc/restore_privileges",
                    headers={"apikey": supabase.secret_key},
                    json={},
                )
            except httpx.TransportError:
                pass
            else:
                if response.status_code == httpx.codes.NO_CONTENT:
                    return
            time.sleep(_POLL_SECONDS)
    raise LocalSupabaseError(
        f"The local Supabase was not ready after {_READY_SECONDS:.0f} seconds. {read_tail(log)}"
    )


def _write_configuration(
    project: Path, *, port: int, keys: Mapping[str, str], postgres_url: str | None
) -> None:
    path = project / "supabase" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    lines = [
        "[api]",
        f"port = {port}",
        "[db]",
        f"driver = {json.dumps('postgres' if postgres_url else 'pglite')}",
        f"url = {json.dumps(postgres_url or 'supabase/.temp/data')}",
        "[auth]",
        *(f"{name} = {json.dumps(value)}" for name, value in keys.items()),
    ]
    path.write_text("\n".join(lines) + "\n")


def find_free_port() -> int:
    """Find a port below those of outgoing connections, which could take it before the server."""
    while True:
        port = 20000 + secrets.randbelow(10000)
        with closing(socket.socket()) as probe:
            # As the server does: a port whose connections are closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
