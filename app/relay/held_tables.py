"""How the dispatcher's status shows the tables that are held as misconfigured."""

from collections.abc import Iterator

from app.domain.clocks import Clocks
from app.domain.instants import after
from app.relay.dispatcher_status import HeldRows
from app.relay.table_evidence import TableEvidence
from app.supabase.targets import Inactive, Targets


def describe_held(evidence: TableEvidence, targets: Targets) -> Iterator[str]:
    """Make a sentence for each held table."""
    for place, failure in evidence.held.items():
        yield (
            f"{'deletes' if place.is_delete else 'writes'} of"
            f" {targets[place.kind].qualified_name} wait until the table is as"
            f" configured: {failure.code}, {failure.message}"
        )


def list_held_rows(evidence: TableEvidence, targets: Targets, clocks: Clocks) -> Iterator[HeldRows]:
    """List what waits, and until when."""
    deletes_inactive = targets.memberships.inactive is Inactive.REMOVE
    now = clocks.now()
    for place, seconds in evidence.list_trials(clocks.monotonic()).items():
        yield HeldRows(place.kind, place.is_delete, deletes_inactive, after(now, seconds))
