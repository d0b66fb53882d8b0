"""Checks for drift: requests, results and differences."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from app.domain.drift import (
    Difference,
    DifferenceKind,
    DifferencePage,
    DriftStatus,
    Effect,
    Origin,
    ReconcileId,
    ReconcileRequest,
    ReconcileStatus,
    Reconciliation,
    ReconciliationPage,
    Repair,
    RepairStatus,
    TableDrift,
)
from app.domain.entities import EntityKey, EntityRef, Kind
from app.domain.instants import Instant
from app.store.schema import differences, events, reconciliations

# Older checks are forgotten: a week of scheduled ones.
_KEPT_CHECKS: Final = 1000
# Events wait while a chunk commits.
_CHUNK_ROWS: Final = 1000
# Leaks come first in a report, though they may be found last.
_POSITIONS_PER_EFFECT: Final = 2**40


def begin_reconciliation(
    connection: Connection,
    reconcile_id: ReconcileId,
    request: ReconcileRequest,
    requested_by: str | None,
    now: Instant,
) -> None:
    """Record that a check is requested."""
    connection.execute(
        insert(reconciliations).values(
            reconcile_id=reconcile_id,
            requested_at=now,
            requested_by=requested_by,
            request=json.dumps(asdict(request)),
            status=ReconcileStatus.RUNNING,
        )
    )


def forget_differences(connection: Connection, first: int, last: int) -> bool:
    """Delete some differences of a range of checks; return whether more may be left."""
    of_checks = select(differences.c.reconciliation, differences.c.position).where(
        differences.c.reconciliation.between(first, last)
    )
    chunk = tuple_(differences.c.reconciliation, differences.c.position).in_(
        of_checks.limit(_CHUNK_ROWS)
    )
    return connection.execute(delete(differences).where(chunk)).rowcount == _CHUNK_ROWS


def add_differences(
    connection: Connection, number: int, first_position: int, found: Sequence[Difference]
) -> None:
    """Record differences.

    Args:
        first_position: the number of differences that were recorded before.
    """
    rows = [
        {
            "reconciliation": number,
            "position": list(Effect).index(each.effect) * _POSITIONS_PER_EFFECT + position,
            "kind": each.ref.kind,
            "key": each.ref.key,
            "difference": each.kind,
            "effect": each.effect,
            "origin": each.origin,
            "columns": json.dumps(each.columns),
            "repair": each.repair,
            "note": each.note,
        }
        for position, each in enumerate(found, first_position)
    ]
    if rows:
        connection.execute(insert(differences), rows)


def finish_reconciliation(connection: Connection, result: Reconciliation) -> None:
    """Record the result of a check."""
    tables = [[each.kind, each.table, each.rows, dict(each.counts)] for each in result.tables]
    connection.execute(
        update(reconciliations)
        .where(reconciliations.c.number == result.number)
        .values(
            status=result.status,
            finished_at=result.finished_at,
            result=json.dumps(
                {
                    "failure": result.failure,
                    "tables": tables,
                    "plan_id": result.plan_id,
                    "removals": result.removals,
                    "repair": result.repair,
                    "repaired": result.repaired,
                    "leaks_left": result.leaks_left,
                    "refusal": result.refusal,
                }
            ),
        )
    )
    oldest = result.number - _KEPT_CHECKS
    connection.execute(delete(reconciliations).where(reconciliations.c.number < oldest))


def find_running_reconciliation(connection: Connection) -> Reconciliation | None:
    """Return the oldest check that has not finished; None without any."""
    is_running = reconciliations.c.status == ReconcileStatus.RUNNING
    statement = select(reconciliations).where(is_running).order_by(reconciliations.c.number)
    row = connection.execute(statement.limit(1)).one_or_none()
    return None if row is None else _to_reconciliation(row)


def read_drift_status(connection: Connection) -> DriftStatus:
    """Read the newest finished and the newest completed check."""
    has_finished = reconciliations.c.status != ReconcileStatus.RUNNING
    latest = _read_newest(connection, has_finished)
    if latest is None or latest.status is ReconcileStatus.COMPLETED:
        return DriftStatus(latest, latest)
    has_completed = reconciliations.c.status == ReconcileStatus.COMPLETED
    return DriftStatus(latest, _read_newest(connection, has_completed))


def read_first_received_at(connection: Connection) -> Instant | None:
    """Return when the oldest stored event was received; None if none is stored."""
    received_at: Instant | None = connection.execute(
        select(func.min(events.c.received_at))
    ).scalar_one()
    return received_at


def read_reconciliation(connection: Connection, reconcile_id: ReconcileId) -> Reconciliation | None:
    """Read one check; None if it does not exist."""
    row = connection.execute(
        select(reconciliations).where(reconciliations.c.reconcile_id == reconcile_id)
    ).one_or_none()
    return None if row is None else _to_reconciliation(row)


def read_reconciliation_page(
    connection: Connection, before: int | None, limit: int
) -> ReconciliationPage:
    """Read checks, newest first, those before a number."""
    statement = select(reconciliations).order_by(reconciliations.c.number.desc()).limit(limit + 1)
    if before is not None:
        statement = statement.where(reconciliations.c.number < before)
    rows = connection.execute(statement).all()
    page = tuple(map(_to_reconciliation, rows[:limit]))
    return ReconciliationPage(page, page[-1].number if len(rows) > limit else None)


def read_difference_page(
    connection: Connection, number: int, after: int | None, limit: int
) -> DifferencePage:
    """Read differences of a check: leaks first, then what denies, then the rest."""
    statement = (
        select(differences)
        .where(differences.c.reconciliation == number)
        .order_by(differences.c.position)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(differences.c.position > after)
    rows = connection.execute(statement).all()
    page = tuple(map(_to_difference, rows[:limit]))
    return DifferencePage(page, rows[limit - 1].position if len(rows) > limit else None)


def _read_newest(connection: Connection, condition: ColumnElement[bool]) -> Reconciliation | None:
    statement = select(reconciliations).where(condition).order_by(reconciliations.c.number.desc())
    row = connection.execute(statement.limit(1)).one_or_none()
    return None if row is None else _to_reconciliation(row)


def _to_reconciliation(row: Row[Any]) -> Reconciliation:
    result: dict[str, Any] = json.loads(row.result or "{}")
    tables = tuple(
        TableDrift(
            Kind(kind), table, rows, {Effect(effect): count for effect, count in counts.items()}
        )
        for kind, table, rows, counts in result.pop("tables", ())
    )
    repair = RepairStatus(result.pop("repair", RepairStatus.NONE))
    return Reconciliation(
        number=row.number,
        reconcile_id=ReconcileId(row.reconcile_id),
        requested_at=Instant(row.requested_at),
        requested_by=row.requested_by,
        request=ReconcileRequest(**json.loads(row.request)),
        status=ReconcileStatus(row.status),
        finished_at=row.finished_at,
        tables=tables,
        repair=repair,
        **result,
    )


def _to_difference(row: Row[Any]) -> Difference:
    return Difference(
        ref=EntityRef(Kind(row.kind), EntityKey(row.key)),
        kind=DifferenceKind(row.difference),
        effect=Effect(row.effect),
        origin=Origin(row.origin),
        columns=tuple(json.loads(row.columns)),
        repair=Repair(row.repair),
        note=row.note,
    )
