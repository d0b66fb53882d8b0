"""Comparing the relay's desired state with the source, and repairing it by events."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from app.cli.client.batches import BatchSender
from app.cli.client.desired_state import read_entities
from app.cli.client.drift_models import SourceReport, SourceTable
from app.cli.client.relay_client import RelayClient
from app.cli.errors import Rejected
from app.cli.source.comparison import Comparison, Counts
from app.cli.source.differences import KINDS, Differences
from app.cli.source.guards import explain_refusal
from app.cli.source.repair import send_repairs
from app.cli.source.snapshot import Snapshot
from app.cli.source.source import Source
from app.domain.drift import Difference, Effect, Repair, RepairStatus
from app.domain.event_reader import EventReader
from app.domain.instants import to_datetime
from app.settings import MembershipSettings

_SHOWN_REJECTIONS: Final = 20


class SourceReconciliation:
    """The relay's desired state on one side, a snapshot of the source on the other.

    Args:
        source: is read once, when it is first compared.
        relay: to compare with.
        sender: sends the events of a repair; None if nothing will be repaired.
        settings: the roles and statuses of this deployment.
        report_wait: receives why and how long the relay is waited for.
        report_step: receives what happens.
        report_note: receives what matters for the result.
    """

    def __init__(
        self,
        source: Source,
        relay: RelayClient,
        sender: BatchSender | None,
        settings: MembershipSettings,
        *,
        report_wait: Callable[[str, float], None],
        report_step: Callable[[str], None],
        report_note: Callable[[str], None],
    ) -> None:
        self._source = source
        self._relay = relay
        self._sender = sender
        self._settings = settings
        self._report_wait = report_wait
        self._report_step = report_step
        self._report_note = report_note
        self._resources = ExitStack()
        self._snapshot: Snapshot | None = None
        self._differences = self._resources.enter_context(Differences())
        self._counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._resources.close()

    def compare(self) -> SourceReport:
        """Compare the desired state with the snapshot.

        Raises:
            ConfigurationInvalid: the source cannot be read.
            CommandFailed: a row is invalid, or the relay does not respond.
        """
        snapshot = self._read_snapshot()
        self._differences.clear()
        self._report_step("Comparing with the relay")
        comparison = Comparison(
            snapshot,
            lambda kind: read_entities(self._relay, kind, report_wait=self._report_wait),
            self._settings.membership_roles,
            self._settings.membership_statuses,
        )
        self._counts = comparison.run(self._differences)
        tables = [
            SourceTable(
                kind=kind,
                rows=self._counts.relay_rows[kind],
                source_rows=self._counts.source_rows[kind],
                **{effect.value: self._differences.count_effect(kind, effect) for effect in Effect},
            )
            for kind in KINDS
        ]
        return SourceReport(
            source=self._source.name,
            snapshot_at=to_datetime(snapshot.at),
            tables=tables,
            differences=sum(table.count(effect) for table in tables for effect in Effect),
            plan_id=self._differences.compute_plan_id(),
            removals=self._differences.count_repairs(Repair.DELETE),
            repair=RepairStatus.NONE,
            repaired=0,
            refusal=None,
            newer=self._counts.newer,
            unsent=self._counts.unsent,
        )

    def _read_snapshot(self) -> Snapshot:
        if self._snapshot is None:
            snapshot = self._resources.enter_context(Snapshot())
            reader = EventReader(
                roles=self._settings.membership_roles, statuses=self._settings.membership_statuses
            )
            self._source.read(
                snapshot, reader, report_step=self._report_step, report_note=self._report_note
            )
            self._snapshot = snapshot
        return self._snapshot

    def read_differences(self) -> Iterator[Difference]:
        """Read what the latest comparison found, in the order of a report."""
        return self._differences.read_all()

    def find_refusal(self, max_removals: str | None, approved_plan_id: str | None) -> str | None:
        """Return why what was found must not be repaired; None if it may."""
        return explain_refusal(
            self._counts,
            self._differences.compute_plan_id() or "",
            self._differences.count_repairs(Repair.DELETE),
            max_removals=max_removals,
            approved_plan_id=approved_plan_id,
        )

    def repair(self, max_removals: str | None, approved_plan_id: str | None) -> int:
        """Send the events of the plan, and return how many.

        Raises:
            CommandFailed: the relay rejected some, or was unavailable for too long.
        """
        del max_removals, approved_plan_id  # find_refusal has checked them
        assert self._sender is not None  # noqa: S101 - given for a repair
        sent = 0
        rejected: list[str] = []
        batches = send_repairs(
            self._sender,
            self._differences,
            self._read_snapshot(),
            self._differences.compute_plan_id() or "",
        )
        for batch in batches:
            for result in batch:
                sent += 1
                rejected += [
                    f"{result.line.event_id}: {error.pointer} {error.detail}"
                    for error in result.errors
                ]
        if rejected:
            raise Rejected(f"the relay rejected some of {sent:,} events", _shorten(rejected))
        return sent


def _shorten(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _SHOWN_REJECTIONS
    return [*lines[:_SHOWN_REJECTIONS], *([f"… and {rest:,} more"] if rest > 0 else [])]
