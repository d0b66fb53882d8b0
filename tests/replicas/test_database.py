"""A PostgreSQL that is unreachable, paused, read-only or full: no acknowledged event is lost."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from app.cli.client.signing import sign_body
from tests.e2e.conftest import await_that
from tests.loopback import NO_TLS
from tests.postgres import PostgresServer, run_postgres
from tests.replicas.cluster import Cluster, Replica, open_cluster, start_all

_LONGEST_ANSWER_SECONDS: Final = 20.0
_RECOVERY_SECONDS: Final = 15.0
# More than two relays have.
_ROLE_CONNECTIONS: Final = 30


@pytest.fixture(scope="module")
def fragile() -> Iterator[PostgresServer]:
    """Run one of its own, to be broken."""
    with run_postgres(durable=False, max_connections=40) as server:
        yield server


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, fragile: PostgresServer) -> Iterator[Cluster]:
    """Two relays, started, on the fragile server; each test leaves them recovered and settled."""
    folder = tmp_path_factory.mktemp("pair")
    with open_cluster(folder, fragile.create_database(), 2) as cluster:
        start_all(cluster.replicas)
        cluster.deliver(cluster.backend.make_parents())
        cluster.settle()
        yield cluster


@pytest.fixture
def limited(tmp_path: Path, postgres: PostgresServer) -> Iterator[Cluster]:
    """Two relays, started, whose role may have so many connections and no more."""
    url = make_url(postgres.create_database())
    role = f"limited_{url.database}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'limited' CONNECTION LIMIT {_ROLE_CONNECTIONS}"
        )
        admin.execute(f"ALTER DATABASE {url.database} OWNER TO {role}")
    store_url = url.set(username=role, password="limited").render_as_string(hide_password=False)
    with open_cluster(tmp_path, store_url, 2) as cluster:
        start_all(cluster.replicas)
        cluster.deliver(cluster.backend.make_parents())
        cluster.settle()
        yield cluster


def ask_health(replica: Replica) -> httpx.Response:
    return httpx.get(f"{replica.url}/health", timeout=60, trust_env=False, verify=NO_TLS)


def assert_refused_in_time(cluster: Cluster, *, can_be_read: bool = False) -> None:
    """Nothing can be stored, is answered so, and by when: many at once, and the health too."""

    def post(number: int) -> httpx.Response:
        replica = cluster.replicas[number % 2]
        event = cluster.backend.make_event("user.created", cluster.backend.user_row())
        headers = sign_body(replica.secret, event.body, event_id=event.event_id)
        return replica.post_body(event.body, headers)

    def look(number: int) -> httpx.Response:
        with cluster.replicas[number % 2].operator("events:read") as operator:
            return operator.get("/events", timeout=60)

    began_at = time.monotonic()
    with ThreadPoolExecutor(42) as threads:
        answering, looking = threads.map(post, range(20)), threads.map(look, range(20))
        if can_be_read:
            # Then only writers notice.
            answering = iter([*answering])
        asking = threads.map(ask_health, cluster.replicas)
        answers, looks, healths = [*answering], [*looking], [*asking]
    assert {answer.status_code for answer in answers} == {503}, [a.text for a in answers]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert {look.status_code for look in looks} <= {200, 503}
    assert {(one.status_code, one.json()["status"]) for one in healths} == {(503, "down")}
    assert time.monotonic() - began_at < 2 * _LONGEST_ANSWER_SECONDS
    slowest = max(answer.elapsed.total_seconds() for answer in [*answers, *looks, *healths])
    assert slowest < _LONGEST_ANSWER_SECONDS


def assert_recovers(cluster: Cluster, *, unasked: bool = True) -> None:
    """It heals by itself, and what was acknowledged or is sent again is applied.

    `unasked`: even before anything is sent, once it has looked.
    """
    if unasked:
        await_health(cluster)
    cluster.deliver(cluster.backend.unacknowledged)
    assert cluster.backend.unacknowledged == []
    cluster.settle()
    await_health(cluster)


def await_health(cluster: Cluster) -> None:
    await_that(
        lambda: all(one.health()["status"] == "ok" for one in cluster.replicas),
        _RECOVERY_SECONDS,
        lambda: str([one.health() for one in cluster.replicas]),
    )


@pytest.mark.parametrize("how", ["killed", "paused", "read-only"])
def test_database_unavailable_is_503_in_time_and_recovers(
    pair: Cluster, fragile: PostgresServer, how: str
) -> None:
    breaking: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "killed": (fragile.kill, fragile.start),
        "paused": (fragile.pause, fragile.resume),
        "read-only": (
            lambda: make_read_only(fragile, is_so=True),
            lambda: make_read_only(fragile, is_so=False),
        ),
    }
    break_it, mend_it = breaking[how]
    # A paused one lets each request wait for seconds.
    with pair.delivering(pair.backend.make_history(2 if how == "paused" else 300)):
        break_it()
    try:
        assert_refused_in_time(pair, can_be_read=how == "read-only")
    finally:
        mend_it()
    assert_recovers(pair, unasked=how != "read-only")


def make_read_only(server: PostgresServer, *, is_so: bool) -> None:
    setting = "on" if is_so else "off"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        connection.execute("SELECT pg_reload_conf()")
    # Then PostgreSQL has told its open connections too.
    await_that(lambda: read_default(server) == setting, _RECOVERY_SECONDS)


def read_default(server: PostgresServer) -> str:
    """Read what a new connection has."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        ((setting,),) = connection.execute("SHOW default_transaction_read_only").fetchall()
    return str(setting)


def test_database_paused_for_a_moment_delays_and_loses_nothing(
    pair: Cluster, fragile: PostgresServer
) -> None:
    history = pair.backend.make_history(300)
    with pair.delivering(history):
        for _ in range(5):
            fragile.pause()
            time.sleep(0.3)  # the pause is the test
            fragile.resume()
    assert_recovers(pair)


def test_database_that_ends_every_connection_is_connected_to_again(pair: Cluster) -> None:
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay'"
    )
    # Idle, and in the middle of everything.
    pair.query(terminate)
    event = pair.backend.make_event("user.created", pair.backend.user_row())
    answers = []
    for replica in pair.replicas:
        headers = sign_body(replica.secret, event.body, event_id=event.event_id)
        answers.append(replica.post_body(event.body, headers).status_code)
    assert set(answers) <= {200, 202, 503}
    with pair.delivering(pair.backend.make_history(300)):
        for _ in range(5):
            pair.query(terminate)
    assert_recovers(pair)
    # Without waiting for a poll.
    events = pair.backend.make_event("user.created", pair.backend.user_row())
    standby = pair.standbys()[0]
    pair.backend.deliver(standby, [events])
    pair.settle()


def test_database_that_refuses_connections_is_503_in_time_and_recovers(
    pair: Cluster, fragile: PostgresServer
) -> None:
    name = pair.store_url.rpartition("/")[2]
    with psycopg.connect(fragile.url, autocommit=True) as admin:
        # To a superuser no limit applies but this.
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            assert_refused_in_time(pair)
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert_recovers(pair, unasked=False)


def test_database_without_free_connections_is_503_in_time_and_recovers(
    limited: Cluster, postgres: PostgresServer
) -> None:
    with ExitStack() as others:
        with limited.delivering(limited.backend.make_history(300)):
            use_up_connections(limited.store_url, postgres, others)
        assert_refused_in_time(limited)
    assert_recovers(limited)


def use_up_connections(store_url: str, server: PostgresServer, others: ExitStack) -> None:
    """Let another client of the same role hold all of its connections."""
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'relay' AND usename = %s"
    )
    role = make_url(store_url).username
    count = 0
    with psycopg.connect(server.url, autocommit=True) as admin:
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while count < _ROLE_CONNECTIONS:
            assert time.monotonic() < deadline, f"only {count}"
            try:
                others.enter_context(psycopg.connect(store_url, application_name="another"))
                count += 1
            except psycopg.OperationalError:
                admin.execute(terminate, [role])
