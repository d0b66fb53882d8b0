"""Replays: re-sync entities at their current desired state. A replay cannot regress."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from app.domain.clocks import Clocks
from app.domain.criteria import Criteria
from app.domain.entities import EntityRef
from app.domain.errors import FieldError, InputInvalid, ReplayNotFound, StoreUnavailable
from app.domain.event_reader import is_event_id
from app.domain.events import EventId
from app.domain.history import Matches, Replay, ReplayId, ReplayPage, ReplayStatus
from app.relay.background import repeat
from app.store import event_queries, replay_queries
from app.store.store import Store

logger = logging.getLogger(__name__)

# Events wait while a chunk commits: about 20 ms.
_CHUNK_ENTITIES: Final = 1000
# Finding targets may scan every event, so many are found at once; they take 10 MB.
_TARGETS_AHEAD: Final = 50_000
# The share of time that a replay may use while events arrive; all of it while none do.
_DUTY_CYCLE: Final = 0.1
# A replay that ends within this time is reported as completed.
_RESPONSE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05
# How often a follower checks whether it has become the leader.
_STANDBY_SECONDS: Final = 1.0


class Replayer:
    """Requeues entities, one replay after the other."""

    def __init__(
        self,
        store: Store,
        *,
        clocks: Clocks,
        wake_dispatcher: Callable[[], None],
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._clocks = clocks
        self._wake_dispatcher = wake_dispatcher
        # Only one replica requeues.
        self._is_leader = is_leader
        self._signal = asyncio.Event()

    def wake(self) -> None:
        """Look for a replay now."""
        self._signal.set()

    async def count(self, criteria: Criteria) -> Matches:
        """Count what a replay would requeue.

        Raises:
            InputInvalid: an event id is not stored.
        """
        if criteria.event_ids is not None:
            await self._require_stored(criteria.event_ids)
        return await self._store.scan(replay_queries.count_matches, criteria)

    async def _require_stored(self, event_ids: Sequence[EventId]) -> None:
        valid = [event_id for event_id in event_ids if is_event_id(event_id)]
        found = await self._store.read(event_queries.find_events, valid)
        unknown = [
            FieldError(f"/event_ids/{index}", "no event is stored under this id")
            for index, event_id in enumerate(event_ids)
            if event_id not in found
        ]
        if unknown:
            raise InputInvalid(unknown)

    async def replay(self, criteria: Criteria, *, requested_by: str | None) -> Replay:
        """Begin a replay, durably, and return its progress after at most a second.

        Raises:
            InputInvalid: an event id is not stored; no replay begins.
        """
        matches = await self.count(criteria)
        replay_id = ReplayId(str(uuid.uuid4()))
        await self._store.write(
            replay_queries.begin_replay,
            replay_id=replay_id,
            criteria=criteria,
            matches=matches,
            requested_by=requested_by,
            now=self._clocks.now(),
        )
        logger.info("replay %s of %d entities begins", replay_id, matches.entities)
        self._signal.set()
        return await self._await_end(replay_id)

    async def _await_end(self, replay_id: ReplayId) -> Replay:
        deadline = time.monotonic() + _RESPONSE_SECONDS
        while True:
            replay = await self.find(replay_id)
            if replay.status is not ReplayStatus.RUNNING or time.monotonic() >= deadline:
                return replay
            await asyncio.sleep(_POLL_SECONDS)

    async def find(self, replay_id: ReplayId) -> Replay:
        """Return a replay and its progress.

        Raises:
            ReplayNotFound: no replay has this id.
        """
        replay = await self._store.search(replay_queries.read_replay, replay_id)
        if replay is None:
            raise ReplayNotFound
        return replay

    async def list(self, before: int | None, limit: int) -> ReplayPage:
        """Return replays, newest first, with numbers below `before`."""
        return await self._store.search(replay_queries.read_replay_page, before, limit)

    async def run(self) -> None:
        """Requeue what replays ask for, including unfinished ones of earlier runs."""
        await repeat(
            self._complete_next, self._wait, logger=logger, effect="replays make no progress"
        )

    async def _complete_next(self) -> None:
        self._signal.clear()
        number = None
        if self._is_leader():
            number = await self._store.read(replay_queries.find_running_replay)
        if number is not None:
            await self._complete(number)
            # Another one may be running.
            self._signal.set()

    async def _wait(self) -> None:
        # A new leader finds what the previous one left.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self._store.replicas is None else _STANDBY_SECONDS):
                await self._signal.wait()

    async def _complete(self, number: int) -> None:
        try:
            is_unfinished = True
            while is_unfinished and self._is_leader():
                found = await self._store.scan(replay_queries.find_targets, number, _TARGETS_AHEAD)
                # Without any, one step completes the replay.
                for start in range(0, max(len(found), 1), _CHUNK_ENTITIES):
                    chunk = found[start : start + _CHUNK_ENTITIES]
                    is_unfinished = self._is_leader() and await self._requeue(number, chunk)
                    if not is_unfinished:
                        break
        except StoreUnavailable:
            raise
        except Exception:
            logger.exception("replay %d failed", number)
            await self._store.write(replay_queries.fail_replay, number)
        finally:
            self._wake_dispatcher()

    async def _requeue(self, number: int, targets: Sequence[EntityRef]) -> bool:
        events_before = self._store.events_received
        started_at = time.monotonic()
        is_unfinished = await self._store.write(
            replay_queries.requeue_targets, number, targets, self._clocks.now()
        )
        used_seconds = time.monotonic() - started_at
        self._wake_dispatcher()
        if is_unfinished and self._store.events_received != events_before:
            # Leave the store to the events for most of the time.
            await asyncio.sleep(used_seconds * (1 / _DUTY_CYCLE - 1))
        return is_unfinished
