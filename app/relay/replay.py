"""Replaying: entities are written again as they are desired now. It resends and cannot regress."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from typing import Final

from app.domain.criteria import Criteria
from app.domain.errors import FieldError, InputInvalid, ReplayNotFound, StoreUnavailable
from app.domain.event_reader import is_event_id
from app.domain.history import Matches, Replay, ReplayId, ReplayPage, ReplayStatus
from app.domain.instants import from_seconds
from app.relay.outage_log import OutageLog
from app.store.store import Store

logger = logging.getLogger(__name__)

# What one commit marks: some 20 ms that events wait behind.
_STEP_ENTITIES: Final = 1000
# Of the time in which events come in, a replay takes this share; with nobody waiting, all of it.
_SHARE: Final = 0.1
# A replay that is done by then is answered as completed.
_ANSWER_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.05


class Replayer:
    """Has entities marked to be written again, one replay after the other."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        wake_dispatcher: Callable[[], None],
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wake_dispatcher = wake_dispatcher
        # One replica is enough.
        self._is_leader = is_leader
        self._signal = asyncio.Event()
        # Set, and replaced, whenever a replay has ended.
        self._ended = asyncio.Event()

    def wake(self) -> None:
        """There may be a replay to complete."""
        self._signal.set()

    async def count(self, criteria: Criteria) -> Matches:
        """Count what a replay would mark.

        Raises:
            InputInvalid: an event id is not stored.
        """
        if criteria.event_ids is None:
            return await self._store.count_matches(criteria)
        found = await self._store.find_events(
            [id_ for id_ in criteria.event_ids if is_event_id(id_)]
        )
        unknown = [
            FieldError(f"/event_ids/{index}", "no event is stored under this id")
            for index, event_id in enumerate(criteria.event_ids)
            if event_id not in found
        ]
        if unknown:
            raise InputInvalid(unknown)
        matching = [event for event in found.values() if criteria.matches(event)]
        return Matches(len(matching), len({event.entity.ref for event in matching}))

    async def replay(self, criteria: Criteria, *, requested_by: str | None) -> Replay:
        """Begin a replay, durably, and give it as far as it has come within a moment.

        Raises:
            InputInvalid: an event id is not stored; nothing is marked then.
            StoreUnavailable: it could not be begun.
        """
        now = from_seconds(self._clock())
        # Before anything is noted: a wrong id is no replay.
        matches = await self.count(criteria)
        replay_id = ReplayId(str(uuid.uuid4()))
        await self._store.begin_replay(
            replay_id=replay_id,
            criteria=criteria,
            matches=matches,
            requested_by=requested_by,
            now=now,
        )
        logger.info("replay %s of %d entities begins", replay_id, matches.entities)
        self._signal.set()
        return await self._watch(replay_id)

    async def _watch(self, replay_id: ReplayId) -> Replay:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            ended = self._ended
            replay = await self.find(replay_id)
            remaining = deadline - time.monotonic()
            if replay.status is not ReplayStatus.RUNNING or remaining <= 0:
                return replay
            # Where another replica marks, its end is found by looking.
            seconds = remaining if self._is_leader() else min(remaining, _LOOK_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await ended.wait()

    async def find(self, replay_id: ReplayId) -> Replay:
        """Give one replay and what has come of it so far.

        Raises:
            ReplayNotFound: there is no such.
        """
        replay = await self._store.read_replay(replay_id)
        if replay is None:
            raise ReplayNotFound
        return replay

    async def list(self, before: int | None, limit: int) -> ReplayPage:
        """Give replays, newest first, those before a number."""
        return await self._store.read_replay_page(before, limit)

    async def run(self) -> None:
        """Mark what replays ask for, those included that an earlier run began; until cancelled."""
        outage = OutageLog(logger, "replays wait")
        while True:
            self._signal.clear()
            try:
                number = await self._store.find_running_replay() if self._is_leader() else None
                if number is not None:
                    await self._complete(number)
                outage.end()
                if number is None:
                    await self._wait()
            except StoreUnavailable:
                outage.begin()
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                logger.exception("looking for replays failed and is tried again")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _wait(self) -> None:
        # A replica that begins to lead finds what the one before it has left.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self._store.replicas is None else _RETRY_SECONDS):
                await self._signal.wait()

    async def _complete(self, number: int) -> None:
        try:
            while self._is_leader() and await self._advance(number):
                pass
        except StoreUnavailable:
            raise
        except Exception:
            logger.exception("replay %d is given up", number)
            await self._store.fail_replay(number)
        finally:
            self._wake_dispatcher()
        ended, self._ended = self._ended, asyncio.Event()
        ended.set()

    async def _advance(self, number: int) -> bool:
        events_before = self._store.events_stored
        started = time.monotonic()
        goes_on = await self._store.advance_replay(
            number, from_seconds(self._clock()), _STEP_ENTITIES
        )
        took_seconds = time.monotonic() - started
        self._wake_dispatcher()
        if goes_on and self._store.events_stored != events_before:
            # Events waited meanwhile: leave the store to them for most of the time.
            await asyncio.sleep(took_seconds * (1 / _SHARE - 1))
        return goes_on
