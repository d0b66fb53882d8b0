"""A real PgBouncer in transaction mode, before a PostgreSQL of the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from app.demo.local_supabase import find_free_port
from tests.daemons import run_daemon
from tests.postgres import PostgresServer
from tests.postgres_binaries import choose_owner

SESSIONS: Final = 5
"""How many sessions of the server its clients share: fewer than two relays have connections."""

_CONFIGURATION: Final = """
[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
"""


@dataclass(frozen=True, slots=True)
class Pgbouncer:
    """A pooler that runs.

    Attributes:
        port: of 127.0.0.1.
    """

    port: int

    def lead_to(self, url: str) -> str:
        """Return the URL of a database of the server through the pooler."""
        return make_url(url).set(port=self.port).render_as_string(hide_password=False)


def find_pgbouncer() -> str | None:
    """Find the program, also where Debian puts it, which is not on every user's PATH."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def run_pgbouncer(program: str, postgres: PostgresServer) -> Iterator[Pgbouncer]:
    """Run one until the block ends; it ends with us too if we are killed.

    Raises:
        DaemonError: it does not start.
    """
    # The guard removes it as well.
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port = find_free_port()
        server = make_url(postgres.url)
        users = folder / "users"
        users.touch(0o600)
        users.write_text(f'"{server.username}" "{server.password}"\n')
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(
                server_port=postgres.port, port=port, users=users, sessions=SESSIONS
            )
        )
        with run_daemon([program, configuration], folder, port, choose_owner()):
            yield Pgbouncer(port)
