"""A local Supabase for the demo and the tests: started, awaited, and gone without a trace.

It is `@supabase/lite` over PGlite or a PostgreSQL, made to hold privileges as hosted Supabase does
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

import httpx

from app.demo.node import (
    Node,
    NodeError,
    NodeSource,
    build_once,
    find_node,
    install_packages,
    read_tail,
    run_command,
    run_process,
)

CHECKOUT = Path(__file__).resolve().parents[2]
LITE = Path(__file__).with_name("supabase_lite")
GUARD = LITE / "exit_with_parent.mjs"
MIGRATE_SECONDS = 120.0
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
POLL_TIMEOUT_SECONDS = 10.0


class LocalSupabaseError(RuntimeError):
    """The local Supabase cannot run; `str(error)` is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class LocalSupabase:
    """A running local Supabase.

    Attributes:
        url: what `SUPABASE_URL` would be.
        publishable_key: `apikey` of anon, and of a user together with his token.
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


def _report_nothing(_sentence: str) -> None:
    pass


@contextmanager
def run_local_supabase(
    *,
    migrations: Path | None = None,
    extra_sql: Sequence[Path] = (),
    port: int | None = None,
    postgres_url: str | None = None,
    node_source: NodeSource | None = None,
    report: Callable[[str], None] = _report_nothing,
) -> Iterator[LocalSupabase]:
    """Run a local Supabase with a fresh database until the block ends.

    The first run installs it and builds the database (10 s here); later ones copy the database and
    start in 2 s. Both are kept in the checkout's `.local/`. A PostgreSQL of yours is migrated each
    time, and keeps what it then holds.

    Args:
        migrations: a directory of `<version>_<name>.sql`; the checkout's by default.
        extra_sql: files applied after the migrations, in this order.
        port: of 127.0.0.1; a free one by default.
        postgres_url: an empty database and a superuser of it, to be used instead of PGlite.
        node_source: use the Node.js of this place only.
        report: called with one sentence before each step that can take long.

    Raises:
        LocalSupabaseError: no checkout, no Node.js, SQL that the database refuses, a taken port.
            The sentence includes the tail of the log.
    """
    if not (LITE / "package-lock.json").is_file():
        raise LocalSupabaseError(
            "The local Supabase needs a checkout of the repository: clone it and run this there."
        )
    if port is not None and not _is_free(port):
        raise LocalSupabaseError(f"Port {port} of 127.0.0.1 is taken; choose another.")
    sql_files = _list_sql_files(migrations or CHECKOUT / "supabase" / "migrations", extra_sql)
    with tempfile.TemporaryDirectory(
        prefix="relay-supabase-", ignore_cleanup_errors=True
    ) as directory:
        project = Path(directory) / "project"
        try:
            node = find_node(node_source)
            modules = install_packages(
                node,
                manifests=LITE,
                guard=GUARD,
                cache=CHECKOUT / ".local",
                report=report,
            )
            if postgres_url is None:
                shutil.copytree(_build_template(node, modules, sql_files, report), project)
            else:
                report("Migrating the local Supabase's database …")
                project.mkdir()
                _migrate(node, modules, project, sql_files, postgres_url)
        except NodeError as error:
            raise LocalSupabaseError(str(error)) from error
        report("Starting the local Supabase …")
        with _run_server(
            node, modules, project, port or find_free_port(), postgres_url
        ) as supabase:
            yield supabase


def _list_sql_files(migrations: Path, extra_sql: Sequence[Path]) -> Mapping[str, Path]:
    """Name every SQL file as a migration; the order of the names is the order of application."""
    files = {"00000000000000_hosted_defaults.sql": LITE / "hosted_defaults.sql"}
    own = {path.name: path for path in sorted(migrations.glob("*.sql"))}
    if not own:
        raise LocalSupabaseError(f"There are no migrations in {migrations}.")
    files |= own
    files |= {f"{90000000000000 + n}_{path.name}": path for n, path in enumerate(extra_sql)}
    files["99999999999999_keep_privileges.sql"] = LITE / "keep_privileges.sql"
    return files


def _build_template(
    node: Node, modules: Path, sql_files: Mapping[str, Path], report: Callable[[str], None]
) -> Path:
    """Build a project whose database is migrated, once for each set of SQL files.

    Migrating takes 5 s, copying the 39 MB that come of it 0.2 s.
    """
    digest = hashlib.sha256((LITE / "package-lock.json").read_bytes())
    for name, path in sql_files.items():
        digest.update(f"\0{name}\0".encode() + path.read_bytes())

    def build(project: Path) -> None:
        report("Building the local Supabase's database (once for these migrations) …")
        _migrate(node, modules, project, sql_files, postgres_url=None)

    return build_once(CHECKOUT / ".local" / f"database-{digest.hexdigest()[:16]}", build)


def _migrate(
    node: Node,
    modules: Path,
    project: Path,
    sql_files: Mapping[str, Path],
    postgres_url: str | None,
) -> None:
    _write_configuration(project, port=0, keys={}, postgres_url=postgres_url)
    (project / "supabase" / "migrations").mkdir()
    for name, path in sql_files.items():
        shutil.copyfile(path, project / "supabase" / "migrations" / name)
    run_command(
        [*_name_lite(node, modules), "migration", "up"],
        purpose="Building the local Supabase's database",
        directory=project,
        log=project / "migrate.log",
        timeout_seconds=MIGRATE_SECONDS,
        environment=_name_environment(project),
    )


@contextmanager
def _run_server(
    node: Node, modules: Path, project: Path, port: int, postgres_url: str | None
) -> Iterator[LocalSupabase]:
    keys = {
        "publishable_key": f"sb_publishable_{secrets.token_urlsafe(32)}",
        "secret_key": f"sb_secret_{secrets.token_urlsafe(32)}",
        "jwt_secret": secrets.token_urlsafe(32),
    }
    _write_configuration(project, port=port, keys=keys, postgres_url=postgres_url)
    log = project / "server.log"
    with run_process(
        # Without --no-admin a caller on this machine without any key would be service_role.
        [*_name_lite(node, modules), "start", "--no-admin"],
        directory=project,
        log=log,
        environment=_name_environment(project.parent),
    ) as process:
        url = f"http://127.0.0.1:{port}"
        supabase = LocalSupabase(url=url, pid=process.pid, database_url=postgres_url, **keys)
        _await_server(supabase, process, log)
        yield supabase


def _await_server(supabase: LocalSupabase, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers and holds the privileges that the migrations gave."""
    deadline = time.monotonic() + READY_SECONDS
    # trust_env: a proxy set for this machine is not for its own address.
    with httpx.Client(trust_env=False, timeout=POLL_TIMEOUT_SECONDS) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LocalSupabaseError(f"The local Supabase did not start. {read_tail(log)}")
            try:
                # Only ours takes this key; whatever else listens on the port does not count.
                answer = client.post(
                    f"{supabase.url}/rest/v1/rpc/restore_privileges",
                    headers={"apikey": supabase.secret_key},
                    json={},
                )
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
            time.sleep(POLL_SECONDS)
    raise LocalSupabaseError(
        f"The local Supabase was not ready after {READY_SECONDS:.0f} seconds. {read_tail(log)}"
    )


def _name_lite(node: Node, modules: Path) -> list[str]:
    lite = modules / "@supabase" / "lite" / "dist" / "cli" / "index.js"
    return [str(node.executable), "--import", GUARD.as_uri(), str(lite)]


def _name_environment(directory: Path) -> Mapping[str, str]:
    return {"LITE_TELEMETRY": "0", "LOCAL_SUPABASE_DIRECTORY": str(directory)}


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
    """Find a port below those that Linux and macOS give to outgoing connections.

    One of theirs could be taken in the second that the server needs to bind it.
    """
    while True:
        port = 20000 + secrets.randbelow(10000)
        if _is_free(port):
            return port


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        # As the server does: connections that are only closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
