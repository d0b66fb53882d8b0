"""A read transaction of several queries, on a thread that yields to all others."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine

from app.domain.errors import StoreUnavailable
from app.store.database_errors import DATABASE_ERRORS, hide_values
from app.store.deadline import deadline
from app.store.query_pool import lower_thread_priority
from app.store.store_url import is_shared

P = ParamSpec("P")
T = TypeVar("T")

# A query may read every entity.
_STATEMENT_SECONDS: Final = 300
# Requests to Supabase happen between two queries.
_IDLE_SECONDS: Final = 60


class Snapshot:
    """Sees the store as it was at the first query, until the block ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._resources = ExitStack()
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="store-snapshot", initializer=lower_thread_priority
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def run(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query and return its result.

        Raises:
            StoreUnavailable: the database failed or did not respond in time.
        """

        def call() -> T:
            try:
                connection = self._begin()
                with deadline(connection, _STATEMENT_SECONDS):
                    return query(connection, *args, **kwargs)
            except DATABASE_ERRORS as error:
                raise StoreUnavailable from hide_values(error)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _begin(self) -> Connection:
        if self._connection is None:
            plain = self._resources.enter_context(self._engine.connect())
            options: dict[str, Any] = {
                "statement_seconds": _STATEMENT_SECONDS,
                "idle_seconds": _IDLE_SECONDS,
            }
            if is_shared(self._engine.url):
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            self._connection = plain.execution_options(**options)
            self._resources.enter_context(self._connection.begin())
        return self._connection

    def _close(self) -> None:
        # The transaction only read: there is nothing to lose.
        with suppress(*DATABASE_ERRORS):
            self._resources.close()
