"""Erasure in docs/guides/operate.md: the bytes of deleted users are in no file."""

import random
import re
import string
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from app.domain.events import Event
from app.store.receive import Receipt
from app.store.store import Store
from tests.docs.commands import run_region
from tests.docs.conftest import UNREACHABLE, Relay
from tests.histories import NOW, make_event
from tests.postgres import PostgresServer, run_postgres
from tests.store.store_steps import have_applied

USERS = 300
CALL = 50
LATIN = string.ascii_letters
# Three bytes each, so that a long name does not fit into a PostgreSQL row.
HAN = "".join(map(chr, range(0x4E00, 0x9F00)))
STARTS = {LATIN: "secretname", HAN: "密密密"}
SECRETS = ("secretmail", *STARTS.values())
STATISTICS = "select most_common_vals::text, histogram_bounds::text from pg_stats"


def make_users(at: int, *, seed: int) -> list[Event]:
    """Make an event for each user, in random order, with names of all lengths.

    They are random, as what PostgreSQL compresses would not be found as it was sent.
    """
    chance = random.Random(seed)  # noqa: S311 - the same rows in each run
    events = []
    for number in chance.sample(range(USERS), USERS):
        letters = chance.choices((LATIN, HAN), (4, 1))[0]
        name = "".join(chance.choices(letters, k=chance.choice((5, 100, 300, 980))))
        data = {
            "id": str(UUID(int=number)),
            "email": f"secretmail{number}@example.com",
            "username": STARTS[letters] + name,
        }
        events.append(make_event("user.updated", data, at=at, event_id=f"evt_{at}_{number}"))
    return events


def make_removals() -> list[Event]:
    return [make_event("user.deleted", {"id": str(UUID(int=n))}, at=100) for n in range(USERS)]


async def store_and_apply(store: Store, events: Sequence[Event]) -> None:
    for first in range(0, len(events), CALL):
        receipts = await store.store_events(events[first : first + CALL], NOW)
        assert set(receipts) == {Receipt.ACCEPTED}
    await have_applied(store)


async def store_users(store: Store) -> None:
    for at in range(4):
        await store_and_apply(store, make_users(at, seed=at))


def find_secrets(*folders: Path) -> dict[str, set[str]]:
    """Return the files that contain an e-mail address or a name, with what they contain."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                here = {secret for secret in SECRETS if secret.encode() in content}
                if here:
                    found[str(path.relative_to(folder))] = here
    return found


def list_files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- SQLite ---------------------------------------------------------------------------------------


async def test_sqlite_file_rewritten_after_an_erasure_contains_no_user_data(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'relay.db'}"
    store = await Store.open(url)
    await store_users(store)
    assert set().union(*find_secrets(tmp_path).values()) == set(SECRETS)
    await store_and_apply(store, make_removals())
    await store.close()

    run_region("shrink", Relay(UNREACHABLE, tmp_path))

    assert list_files(tmp_path) == {"docs", "relay.db", "relay.db.lock"}
    assert find_secrets(tmp_path) == {}
    store = await Store.open(url)
    assert await store.store_events(make_users(0, seed=0)[:1], NOW) == [Receipt.DUPLICATE]
    await store.close()
    assert find_secrets(tmp_path) == {}


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Run a separate server, whose files contain no other rows."""
    with run_postgres(durable=False) as server:
        yield server


def search_server(server: PostgresServer, url: str) -> dict[str, set[str]]:
    """Search all files of a server except its write-ahead log, after a checkpoint."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("checkpoint")
        # Compressed in its file.
        statistics = str(connection.execute(STATISTICS).fetchall())
    found = find_secrets(server.folder)
    assert not any(secret in statistics for secret in SECRETS)
    return {path: secrets for path, secrets in found.items() if not path.startswith("data/pg_wal/")}


def erase(url: str, folder: Path) -> list[int]:
    """Run the command and return the number of dead rows that it had to keep, per table."""
    printed = run_region("erase-postgresql", Relay(UNREACHABLE, folder), STORE_URL=url)
    return [int(n) for n in re.findall(r"(\d+) dead row versions cannot be removed yet", printed)]


async def test_postgresql_files_rewritten_after_an_erasure_contain_no_user_data(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.create_database()
    store = await Store.open(url)
    await store_users(store)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        # As autovacuum does.
        connection.execute("analyze")
    before = search_server(server, url)
    # Two tables, and their TOAST tables.
    assert len(before) == 4
    assert set().union(*before.values()) == set(SECRETS)
    await store_and_apply(store, make_removals())

    kept = erase(url, tmp_path)

    assert kept == [0, 0]
    # Also before a checkpoint, which only a superuser may request.
    assert [path for path in find_secrets(server.folder) if "/base/" in path] == []
    assert search_server(server, url) == {}
    # The relay keeps running.
    assert await store.store_events(make_users(0, seed=0)[:1], NOW) == [Receipt.DUPLICATE]
    await store.close()


async def test_postgresql_erasure_during_an_old_transaction_reports_kept_rows_and_can_be_repeated(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.create_database()
    store = await Store.open(url)
    await store_users(store)
    with closing(psycopg.connect(url)) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select 1")
        await store_and_apply(store, make_removals())
        assert min(erase(url, tmp_path)) >= USERS
        assert search_server(server, url) != {}
        reader.rollback()
    assert erase(url, tmp_path) == [0, 0]
    assert search_server(server, url) == {}
    await store.close()
