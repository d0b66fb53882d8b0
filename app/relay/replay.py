"""Replaying: entities are written again as they are desired now. It resends and cannot regress."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from app.domain.contract import is_event_id
from app.domain.entities import EntityRef, EntityState, EventStatus
from app.domain.errors import FieldError, InputInvalid
from app.domain.events import EventId
from app.domain.history import Replay, ReplayId
from app.domain.instants import from_seconds
from app.store.replaying import EntityPage
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
        # Before anything is noted: a wrong id is no replay.
        named = None if request.event_ids is None else await self._match_ids(request)
        replay = Replay(ReplayId(str(uuid.uuid4())), "running", matched_events=0, entities=0)
        if not dry_run:
            await self._store.begin_replay(
                replay,
                requested_by=requested_by,
                criteria=request.describe(),
                now=from_seconds(self._clock()),
            )
        matched = entities = 0
        pages = self._read_pages(request.state) if named is None else _cut_pages(named)
        async for page in pages:
            matched += page.matched_events
            entities += len(page.refs)
            if page.refs and not dry_run:
                await self._store.mark_for_replay(page.refs, from_seconds(self._clock()))
                self._wake_dispatcher()
        replay = replace(replay, status="completed", matched_events=matched, entities=entities)
        if not dry_run:
            await self._store.end_replay(replay)
        return replay

    async def _read_pages(self, state: EntityState | None) -> AsyncIterator[EntityPage]:
        after: EntityRef | None = None
        while True:
            page = await self._store.read_entity_page(state, after, _PAGE_ENTITIES)
            yield page
            if len(page.refs) < _PAGE_ENTITIES:
                return
            after = page.refs[-1]

    async def _match_ids(self, request: ReplayRequest) -> EntityPage:
        event_ids = request.event_ids or ()
        found = await self._store.find_events([id_ for id_ in event_ids if is_event_id(id_)])
        unknown = [
            FieldError(f"/event_ids/{index}", "no event is stored under this id")
            for index, event_id in enumerate(event_ids)
            if event_id not in found
        ]
        if unknown:
            raise InputInvalid(unknown)
        wanted = None if request.state is None else EventStatus(request.state.value)
        matching = [event for event in found.values() if wanted is None or event.status is wanted]
        refs = tuple(dict.fromkeys(event.entity.ref for event in matching))
        return EntityPage(refs, matched_events=len(matching))


async def _cut_pages(page: EntityPage) -> AsyncIterator[EntityPage]:
    matched = page.matched_events
    for start in range(0, len(page.refs), _PAGE_ENTITIES):
        yield EntityPage(page.refs[start : start + _PAGE_ENTITIES], matched)
        matched = 0
