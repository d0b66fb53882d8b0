"""Closing the Auth accounts of removed users, on the leader and apart from the dispatcher."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.instants import after
from app.domain.log_fields import log_fields
from app.domain.retry import RETRY_AFTER_LIMIT_SECONDS, backoff_seconds
from app.relay.background import repeat
from app.store import closure_queries
from app.store.closure_queries import Closure
from app.store.store import Store
from app.supabase.auth_admin import AuthAdmin, ClosedAccount

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
# The longest backoff of one account. Its failure may be its own: a foreign key to auth.users, say.
_BACKOFF_LIMIT_SECONDS: Final = 300.0
_ENDINGS: Final = {
    ClosedAccount.BANNED: "is banned",
    ClosedAccount.DELETED: "is deleted",
    ClosedAccount.ABSENT: "does not exist",
}


class AccountCloser:
    """Closes due accounts one after the other, and retries for ever.

    A failure delays the account, and the next request too: Auth may be unavailable.
    """

    def __init__(
        self,
        store: Store,
        auth: AuthAdmin,
        *,
        clocks: Clocks,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._auth = auth
        self._clocks = clocks
        self._is_leader = is_leader
        self._failures = 0
        self._resume_at = clocks.monotonic()
        self._trouble = Degradation(
            logger, "no due Auth account of a removed user is left", monotonic=clocks.monotonic
        )

    async def run(self) -> None:
        """Close accounts as they become due, until cancelled."""
        await repeat(
            self.close_due,
            lambda: asyncio.sleep(_POLL_SECONDS),
            logger=logger,
            effect="Auth accounts of removed users are not closed",
        )

    async def close_due(self) -> None:
        """Close every due account, up to the first failure."""
        while self._is_leader() and self._clocks.monotonic() >= self._resume_at:
            due = await self._store.read(closure_queries.find_due_closure, self._clocks.now())
            if due is None:
                return
            await self._close(due)

    async def _close(self, due: Closure) -> None:
        ending = "is kept: the user was created again"
        if not due.is_desired:
            result = await self._auth.close_account(due.user_id)
            if isinstance(result, RequestFailure):
                await self._postpone(due, result)
                return
            self._failures = 0
            ending = _ENDINGS[result]
        others_fail = await self._store.write(closure_queries.finish_closure, due)
        logger.info(
            "Auth account of user %s %s",
            due.user_id,
            ending,
            extra=log_fields(entity=f"user/{due.user_id}", attempts=due.attempts or None),
        )
        if not others_fail:
            self._trouble.end()

    async def _postpone(self, due: Closure, failure: RequestFailure) -> None:
        self._failures += 1
        jitter = self._clocks.jitter
        asked_seconds = min(failure.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
        pause_seconds = max(asked_seconds, backoff_seconds(self._failures, jitter()))
        self._resume_at = self._clocks.monotonic() + pause_seconds
        is_misconfigured = failure.kind is RequestFailureKind.MISCONFIGURED
        self._trouble.note(
            f"Auth accounts of removed users are not closed: {failure.code}, {failure.message}",
            cause=(failure.code, failure.message),
            level=logging.ERROR if is_misconfigured else logging.WARNING,
        )
        own_seconds = backoff_seconds(due.attempts + 1, jitter(), _BACKOFF_LIMIT_SECONDS)
        due_at = after(self._clocks.now(), max(asked_seconds, own_seconds))
        await self._store.write(
            closure_queries.postpone_closure, due, due_at, failure.code, failure.message
        )
