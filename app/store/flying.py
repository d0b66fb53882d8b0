"""Noting what a request may still write, and having it written once more when it can no longer."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from app.domain.entities import EntityKey, EntityRef, Kind
from app.domain.instants import Instant
from app.store import statements
from app.store.cursors import Cursor
from app.store.write_session import WriteSession


def note_flight(cursor: Cursor, refs: Iterable[EntityRef], until: Instant) -> int:
    """Note that requests for these entities may land until then, and name the note."""
    values = {"until": until, "refs": _write_refs(refs)}
    (number,) = cursor.execute(statements.NOTE_FLIGHT, values).fetchone()
    return int(number)


def end_flight(session: WriteSession, number: int, uncertain: Collection[EntityRef]) -> None:
    """Take a note back, but for those entities of which it is not certain what came."""
    if uncertain:
        values = {"number": number, "refs": _write_refs(uncertain)}
        session.cursor.execute(statements.NARROW_FLIGHT, values)
    else:
        session.cursor.execute(statements.FORGET_FLIGHT, {"number": number})


def end_flights(session: WriteSession, now: Instant, out: Collection[int]) -> int:
    """Have what late requests may have undone written once more, and say how many.

    What another such request may write after now is left to the end of that one.

    Args:
        session: to write with.
        now: past the end of those that are meant.
        out: notes that may be taken back yet, as what they are of is being written.
    """
    over: set[EntityRef] = set()
    standing: set[EntityRef] = set()
    for number, until, refs in session.cursor.execute(statements.SELECT_FLIGHTS).fetchall():
        if until <= now:
            over |= _read_refs(refs)
        elif number not in out:
            standing |= _read_refs(refs)
    if not over:
        return 0
    session.cursor.execute(statements.FORGET_FLIGHTS_OVER, {"now": now})
    _have_written(session, over - standing, now)
    return len(over - standing)


def write_again(
    session: WriteSession, refs: Sequence[EntityRef], now: Instant, until: Instant
) -> None:
    """Have entities written once more, now and after the last time that a request may land."""
    note_flight(session.cursor, refs, until)
    _have_written(session, refs, now)


def _have_written(session: WriteSession, refs: Collection[EntityRef], now: Instant) -> None:
    session.cursor.executemany(
        statements.WRITE_AGAIN,
        [{"kind": ref.kind.value, "key": ref.key, "now": now} for ref in sorted(refs)],
    )


def _write_refs(refs: Iterable[EntityRef]) -> str:
    keys: defaultdict[str, list[EntityKey]] = defaultdict(list)
    for ref in refs:
        keys[ref.kind.value].append(ref.key)
    return json.dumps(keys)


def _read_refs(text: str) -> set[EntityRef]:
    return {EntityRef(Kind(kind), key) for kind, keys in json.loads(text).items() for key in keys}
