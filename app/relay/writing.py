"""Writing one batch, until each of its entities is taken or refused, or nobody is served."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from app.domain.entities import EntityRef, Kind, PendingEntity
from app.domain.failpoints import Failpoint, Reach
from app.domain.failures import Failure, FailureKind
from app.relay.contested import settle_contested
from app.store.dispatching import Applied, Batch, Ended, Outcome, Refused
from app.supabase.planning import Write, plan_batch
from app.supabase.targets import Targets


class Stopped(Exception):
    """No entity would fare better: the rest of the batch waits."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(slots=True, eq=False)
class OpenBatch:
    """A batch that is not recorded yet.

    Attributes:
        batch: as it was begun.
        left: what Supabase has not been told yet.
        outcomes: what is known of it so far.
        sent: what Supabase may have been told to write.
        has_left: set once its first request has been sent, or none will be.
        is_answered: whether nothing of it is out any more.
        is_certain: whether it is known of all that was sent what came of it.
    """

    batch: Batch
    left: list[Write]
    outcomes: list[Outcome] = field(default_factory=list)
    sent: list[PendingEntity] = field(default_factory=list)
    has_left: asyncio.Event = field(default_factory=asyncio.Event)
    is_answered: bool = False
    is_certain: bool = False

    def end(self) -> Ended:
        """Give what is to be recorded."""
        if self.is_certain:
            return Ended(self.batch, self.outcomes)
        uncertain: set[EntityRef] = {entity.ref for entity in self.batch.entities}
        uncertain -= {entity.ref for write in self.left for entity in write.entities}
        uncertain -= {outcome.entity.ref for outcome in self.outcomes}
        return Ended(self.batch, self.outcomes, uncertain)


class BatchWriter:
    """Writes batches: halves what is refused, and settles what is contested.

    Args:
        targets: where to.
        send: sends one write; raises Stopped where no other would fare better.
        judge: says what becomes of an entity that was refused.
        pick_partners: gives those that are to be tried with contested entities of a kind, other
            than these. None of them is in another open batch.
        reach: named points.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        send: Callable[[OpenBatch, Write], Awaitable[Failure | None]],
        judge: Callable[[PendingEntity, Failure], Refused],
        pick_partners: Callable[[Kind, Collection[EntityRef]], Awaitable[list[PendingEntity]]],
        reach: Reach,
    ) -> None:
        self._targets = targets
        self._send = send
        self._judge = judge
        self._pick_partners = pick_partners
        self._reach = reach

    def open(self, batch: Batch) -> OpenBatch:
        """Plan a batch."""
        return OpenBatch(batch, plan_batch(batch.entities, self._targets))

    async def write(self, open_batch: OpenBatch) -> None:
        """Write all of it.

        Raises:
            Stopped: nobody is served. What is known by then stands in the outcomes.
        """
        try:
            while open_batch.left:
                await self._write(open_batch, open_batch.left.pop(0))
        except Stopped as stopped:
            # Any other answer has said that it did nothing.
            open_batch.is_certain = stopped.failure.kind is not FailureKind.OUTAGE
            raise
        open_batch.is_certain = True

    async def _write(self, open_batch: OpenBatch, write: Write) -> None:
        contested: list[tuple[PendingEntity, Failure]] = []
        await self._apply(open_batch, write, contested)
        if contested:
            await self._settle(open_batch, write.kind, contested)

    async def _apply(
        self, open_batch: OpenBatch, write: Write, contested: list[tuple[PendingEntity, Failure]]
    ) -> None:
        failure = await self._send(open_batch, write)
        if failure is None:
            open_batch.outcomes += map(Applied, write.entities)
        elif pieces := write.break_up(failure):
            # Until the culprit is alone: one bad entity never holds up another.
            for piece in pieces:
                await self._apply(open_batch, piece, contested)
                self._reach(Failpoint.IN_SPLIT)
        elif failure.kind is FailureKind.CONTESTED:
            contested.append((write.entities[0], failure))
        else:
            open_batch.outcomes.append(self._judge(write.entities[0], failure))

    async def _settle(
        self, open_batch: OpenBatch, kind: Kind, contested: list[tuple[PendingEntity, Failure]]
    ) -> None:
        # Whoever holds the value may have been refused in an earlier batch, and wait.
        known = {entity.ref for entity, _ in contested}
        others = await self._pick_partners(kind, known)
        together = [entity for entity, _ in contested] + others

        async def write_alone(entity: PendingEntity) -> Failure | None:
            (write,) = plan_batch([entity], self._targets)
            failure = await self._send(open_batch, write)
            for update in write.break_up(failure) if failure is not None else ():
                failure = await self._send(open_batch, update)
            return failure

        applied: list[PendingEntity] = []
        refused = contested
        if len(together) > 1:
            applied, refused = await settle_contested(together, write_alone)
        open_batch.outcomes += map(Applied, applied)
        open_batch.outcomes += [self._judge(entity, failure) for entity, failure in refused]
