"""Runs queries in threads, each query in its own transaction."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from app.domain.errors import StoreUnavailable
from app.store.database_errors import DATABASE_ERRORS, hide_values
from app.store.deadline import deadline
from app.store.engine import STATEMENT_SECONDS
from app.store.store_url import is_shared

P = ParamSpec("P")
T = TypeVar("T")

_LOW_PRIORITY_NICENESS: Final = 15


class QueryPool:
    """Threads that run queries.

    Args:
        has_low_priority: use the processor only when other threads leave it idle; on Linux.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        threads: int,
        *,
        statement_seconds: int = STATEMENT_SECONDS,
        has_low_priority: bool = False,
    ) -> None:
        self._engine = engine
        self._statement_seconds = statement_seconds
        self._threads = ThreadPoolExecutor(
            threads,
            thread_name_prefix=name,
            initializer=lower_thread_priority if has_low_priority else None,
        )

    async def __call__(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query in a transaction and return its result after the commit."""

        def call(connection: Connection) -> T:
            return query(connection, *args, **kwargs)

        running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, call)
        if not is_shared(self._engine.url):
            return await running
        # Also bounds the wait behind other queries, which may all wait for a dead database.
        try:
            async with asyncio.timeout(self._statement_seconds * 2):
                return await running
        except TimeoutError as error:
            raise StoreUnavailable from error

    def close(self) -> None:
        """Finish the queries that were begun and end the threads."""
        self._threads.shutdown()

    def _run(self, query: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as plain:
                connection = plain.execution_options(statement_seconds=self._statement_seconds)
                with deadline(connection, self._statement_seconds * 2), connection.begin():
                    return query(connection)
        except DATABASE_ERRORS as error:
            raise StoreUnavailable from hide_values(error)


def lower_thread_priority() -> None:
    """Let this thread use the processor only when others leave it idle; on Linux."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY_NICENESS)
