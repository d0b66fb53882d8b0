"""Errors of the databases: classified, and described without row values."""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

DATABASE_ERRORS = (DBAPIError, PoolTimeoutError, sqlite3.Error, psycopg.Error)
"""Everything that a query may raise when the store is unavailable."""


def is_store_failure(error: Exception) -> bool:
    """Tell whether the store cannot commit (full, locked, unreachable).

    False means that the operation itself is at fault.
    """
    cause = _find_cause(error)
    if isinstance(cause, PoolTimeoutError):
        return True
    if isinstance(cause, psycopg.Error):
        return not isinstance(
            cause, psycopg.DataError | psycopg.IntegrityError | psycopg.ProgrammingError
        )
    return (
        isinstance(cause, sqlite3.OperationalError | sqlite3.InternalError)
        or type(cause) is sqlite3.DatabaseError
    )


def is_conflict(error: Exception) -> bool:
    """Tell whether the transaction lost to another one and may succeed if run again."""
    return isinstance(
        _find_cause(error), psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected
    )


def describe_failure(error: Exception, *, with_connection: bool = False) -> str:
    """Return the database's message without row values.

    SQLAlchemy adds the statement, and PostgreSQL a DETAIL that may contain the whole row.

    Args:
        with_connection: include why no connection could be made. That names the host and the user:
            it is for the operator, not for everybody who can read the health.
    """
    cause = _find_cause(error)
    if isinstance(cause, psycopg.Error):
        message = cause.diag.message_primary
        if message is not None:
            return f"{message} ({cause.sqlstate})"
        reason = "; ".join(str(cause).split("\n")) if with_connection else type(cause).__name__
        return f"no connection to PostgreSQL ({reason})"
    if isinstance(cause, PoolTimeoutError):
        return "every connection to PostgreSQL is in use"
    return str(cause).strip()


def hide_values(error: Exception) -> Exception:
    """Return an error that is safe to log: PostgreSQL's errors are replaced by their message."""
    cause = _find_cause(error)
    if isinstance(cause, psycopg.Error | PoolTimeoutError):
        return RuntimeError(f"{type(cause).__name__}: {describe_failure(error)}")
    return error


def _find_cause(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
