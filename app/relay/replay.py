"""Replaying: entities are written again as they are desired now. It resends and cannot regress."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.contract import is_event_id
from app.domain.entities import EntityRef, EntityState, EventStatus
from app.domain.errors import FieldError, InputInvalid
from app.domain.events import EventId
from app.domain.history import Replay, ReplayId
from app.domain.instants import from_seconds
from app.store.store import Store

# A page is one commit: short enough that receiving hardly notices.
_PAGE_ENTITIES: Final = 1000


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What is to be replayed: the events that meet every criterion given.

    Attributes:
        event_ids: these events; None for no such criterion.
        state: events whose entity stands there at their version; None for no such criterion.
        everything: said in so many words, where there is no criterion.
    """

    event_ids: tuple[EventId, ...] | None
    state: EntityState | None
    everything: bool

    def describe(self) -> str:
        """Give the criteria as JSON, for the audit."""
        return json.dumps(
            {"event_ids": self.event_ids, "status": self.state, "all": self.everything}
        )


class Replayer:
    """Marks entities to be written again."""

    def __init__(
        self, store: Store, *, clock: Callable[[], float], wake_dispatcher: Callable[[], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._wake_dispatcher = wake_dispatcher

    async def replay(
        self, request: ReplayRequest, *, requested_by: str | None, dry_run: bool
    ) -> Replay:
        """Mark what matches, or with `dry_run` only count it.

        Raises:
            InputInvalid: an event id is not stored; nothing is marked then.
            StoreUnavailable: some may be marked; asking again does no harm.
        """
        if request.event_ids is None:
            matched, entities = await self._mark_by_state(request.state, dry_run=dry_run)
        else:
            matched, refs = await self._match_ids(request.event_ids, request.state)
            entities = len(refs)
            for start in range(0, 0 if dry_run else entities, _PAGE_ENTITIES):
                await self._mark(refs[start : start + _PAGE_ENTITIES])
        replay = Replay(ReplayId(str(uuid.uuid4())), "completed", matched, entities)
        if not dry_run:
            await self._store.record_replay(
                replay,
                requested_by=requested_by,
                criteria=request.describe(),
                now=from_seconds(self._clock()),
            )
        return replay

    async def _mark_by_state(self, state: EntityState | None, *, dry_run: bool) -> tuple[int, int]:
        matched = entities = 0
        after: EntityRef | None = None
        while True:
            page = await self._store.read_entity_page(state, after, _PAGE_ENTITIES)
            matched += page.matched_events
            entities += len(page.refs)
            if page.refs and not dry_run:
                await self._mark(page.refs)
            if len(page.refs) < _PAGE_ENTITIES:
                return matched, entities
            after = page.refs[-1]

    async def _match_ids(
        self, event_ids: Sequence[EventId], state: EntityState | None
    ) -> tuple[int, list[EntityRef]]:
        found = await self._store.find_events([id_ for id_ in event_ids if is_event_id(id_)])
        unknown = [
            FieldError(f"/event_ids/{index}", "no event is stored under this id")
            for index, event_id in enumerate(event_ids)
            if event_id not in found
        ]
        if unknown:
            raise InputInvalid(unknown)
        wanted = None if state is None else EventStatus(state.value)
        matching = [event for event in found.values() if wanted is None or event.status is wanted]
        return len(matching), list(dict.fromkeys(event.entity.ref for event in matching))

    async def _mark(self, refs: Sequence[EntityRef]) -> None:
        await self._store.mark_for_replay(refs, from_seconds(self._clock()))
        self._wake_dispatcher()
