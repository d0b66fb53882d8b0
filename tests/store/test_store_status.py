"""What is seen of a store from beside it, whichever database keeps it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url

from app.domain.errors import ConfigurationInvalid
from app.store.engine import open_engine
from app.store.schema_upgrade import upgrade_store
from app.store.store_status import SchemaStatus, inspect_store
from app.store.store_url import is_shared, read_store_url
from tests.postgres import PostgresServer


def test_empty_store_is_absent_and_stays_empty(
    empty_url: str,
) -> None:
    state = inspect_store(empty_url)

    assert (state.schema, state.revision) == (SchemaStatus.ABSENT, None)
    url = read_store_url(empty_url)
    if is_shared(url):
        engine = open_engine(url)
        assert inspect(engine).get_table_names() == []
        engine.dispose()
    else:
        assert not Path(str(url.database)).exists()


def test_store_of_a_relay_that_was_killed_before_it_made_its_tables_is_absent(
    tmp_path: Path,
) -> None:
    (tmp_path / "relay.db").touch()
    state = inspect_store(f"sqlite:///{tmp_path / 'relay.db'}")
    assert (state.schema, state.revision) == (SchemaStatus.ABSENT, None)


def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("create table alien (id)")
    with pytest.raises(ConfigurationInvalid, match="alembic_version"):
        inspect_store(f"sqlite:///{tmp_path / 'other.db'}")


def test_migrated_store_is_current_and_told_without_its_password(store_url: str) -> None:
    _, head = upgrade_store(store_url)

    state = inspect_store(store_url)

    url = read_store_url(store_url)
    assert (state.schema, state.revision, state.head) == (SchemaStatus.CURRENT, head, head)
    assert state.is_behind_pooler is (False if is_shared(url) else None)
    assert str(url.database) in state.place
    assert url.password is None or url.password not in repr(state)


def test_store_of_a_newer_version_is_reported_as_newer(store_url: str, engine: Engine) -> None:
    upgrade_store(store_url)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))

    state = inspect_store(store_url)

    assert (state.schema, state.revision) == (SchemaStatus.NEWER, "9999")


def test_role_without_create_privilege_names_the_missing_grant(
    postgres: PostgresServer,
) -> None:
    url = make_url(postgres.create_database())
    owner = url.render_as_string(hide_password=False)
    role = f"guest_{url.database}"
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"create role {role} login password 'hunter2'")
        connection.execute("revoke create on schema public from public")
    guest = url.set(username=role, password="hunter2").render_as_string(hide_password=False)

    with pytest.raises(ConfigurationInvalid) as caught:
        inspect_store(guest)
    sentence = str(caught.value)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sentence.partition("the owner of the database: ")[2].encode())

    assert "hunter2" not in sentence
    assert inspect_store(guest).schema is SchemaStatus.ABSENT
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"drop owned by {role}")
        connection.execute(f"drop role {role}")


@pytest.mark.parametrize("change", [{"password": "hunter2"}, {"port": 9}, {"database": "nowhere"}])
def test_postgres_that_refuses_the_login_is_one_sentence_without_the_password(
    postgres: PostgresServer, change: dict[str, object]
) -> None:
    url = make_url(postgres.url).set(**change)  # type: ignore[arg-type]  # as SQLAlchemy types it

    with pytest.raises(ConfigurationInvalid, match="STORE_URL cannot be opened") as caught:
        inspect_store(url.render_as_string(hide_password=False))

    assert str(url.password) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="names a directory that does not exist"):
        inspect_store(f"sqlite:///{tmp_path}/nowhere/relay.db")
