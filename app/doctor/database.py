"""A transaction in a project's database that is always rolled back, as any caller."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg

from app.supabase.identifiers import quote_text

CONNECT_SECONDS: Final = 10
# Without a search_path, names in expressions carry their schema. The timeouts keep a statement from
# delaying the app and the relay.
_SETTINGS: Final = (
    "set local search_path = ''; set local statement_timeout = '15s';"
    " set local lock_timeout = '200ms'; set local standard_conforming_strings = on"
)


class DatabaseUnreadable(Exception):
    """The database could not be read; the message contains no secret."""


class CallerUnavailable(Exception):
    """The role of the URL may not become the caller's; the message says so."""


class StatementFailed(Exception):
    """PostgreSQL rejected a statement.

    Attributes:
        code: the SQLSTATE.
    """

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(error.diag.message_primary or type(error).__name__)
        self.code = error.sqlstate or ""


class Role(StrEnum):
    """The roles that an app has."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"

    @property
    def people(self) -> str:
        """The people who have the role."""
        return "Anyone with the app's key" if self is Role.ANON else "Any signed-in user"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller as PostgREST and Realtime set it; `subject` is the `sub` of the token."""

    role: Role
    subject: str | None = None


class Transaction:
    """A transaction that is rolled back, as the role of the URL."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, without parameters; a failed one leaves the transaction usable.

        Raises:
            StatementFailed: with the SQLSTATE.
        """
        try:
            with self._connection.transaction():
                cursor = self._connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError as error:
            if self._connection.closed:
                raise
            raise StatementFailed(error) from error
        except psycopg.Error as error:
            raise StatementFailed(error) from error

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo the statements and settings of the block."""
        with self._connection.transaction(force_rollback=True):
            yield

    @contextmanager
    def as_caller(self, caller: Caller, *, topic: str = "") -> Iterator[None]:
        """Become a caller as PostgREST and Realtime do; the block is undone.

        Raises:
            CallerUnavailable: the role of the URL may not become the caller's.
        """
        claims = {"role": caller.role} | ({"sub": caller.subject} if caller.subject else {})
        settings = {
            "role": caller.role,
            "request.jwt.claims": json.dumps(claims),
            "request.jwt.claim.sub": caller.subject or "",
            "request.jwt.claim.role": caller.role,
            "request.headers": "{}",
            "realtime.topic": topic,
        }
        calls = [
            f"set_config('{name}', {quote_text(value)}, true)" for name, value in settings.items()
        ]
        with self.undone():
            try:
                self.run(f"select {', '.join(calls)}")
            except StatementFailed as error:
                message = f"the role of --db-url may not become {caller.role}; use postgres"
                raise CallerUnavailable(message) from error
            yield


@contextmanager
def open_connection(url: str, *, read_only: bool) -> Iterator[psycopg.Connection[Any]]:
    """Open a connection whose one transaction is rolled back.

    Raises:
        DatabaseUnreadable: no connection, or no result in time.
    """
    try:
        # No prepared statements: a hosted project's pooler may not keep them.
        connection = psycopg.connect(
            url,
            connect_timeout=CONNECT_SECONDS,
            application_name="relay doctor",
            prepare_threshold=None,
        )
        try:
            connection.read_only = read_only
            connection.execute(_SETTINGS)
            yield connection
            connection.rollback()
        finally:
            connection.close()
    except psycopg.OperationalError as error:
        raise DatabaseUnreadable(str(error).strip().partition("\n")[0]) from error
    except psycopg.Error as error:
        # The message may quote the URL, and with it the password.
        raise DatabaseUnreadable(error.sqlstate or "the URL is malformed") from error


@contextmanager
def open_transaction(url: str, *, read_only: bool) -> Iterator[Transaction]:
    """Open a transaction that is rolled back.

    Raises:
        DatabaseUnreadable: no connection, or no result in time.
    """
    with open_connection(url, read_only=read_only) as connection:
        yield Transaction(connection)
