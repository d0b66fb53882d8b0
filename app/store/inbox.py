"""Receiving into PostgreSQL: one function call, one round trip and one commit for all that waits.

The function runs the statements of `app.store.statements`, so that both databases do the same. It
is made of their text and named after it: replicas of two versions can run side by side.

All replicas receive one after the other (an advisory lock): whoever takes the locks of many
entities in the order of his events would sooner or later wait for another in a circle, and an event
could be stored under a removed trip because neither of two transactions sees the other. The lock is
held by the server for the time of the call; a replica that is paused does not hold it up.
"""

import hashlib
import re
import time
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, func, select

from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.store import statements
from app.store.grouping import FRESH_SECONDS, GroupThread
from app.store.receiving import Arrival, Receipt
from app.store.signals import CHANNEL, EVENT
from app.store.watchdog import Watchdog

MAXIMUM_EVENTS: Final = 2000
_CALL_SECONDS: Final = 10.0
# How long a call waits for the others: less than its callers would.
_LOCK_MILLISECONDS: Final = 4000

_RECEIPTS: Final = (Receipt.ACCEPTED, Receipt.DUPLICATE, Receipt.CONFLICT)
_FIELDS: Final[dict[str, str]] = {
    "event_id": "text",
    "type": "text",
    "kind": "text",
    "key": "text",
    "trip_id": "text",
    "user_id": "text",
    "occurred_at": "bigint",
    "is_removal": "boolean",
    "received_at": "bigint",
    "digest": "bytea",
    "row": "text",
    "data": "text",
}


def _write_body() -> str:
    def bind(statement: str) -> str:
        return re.sub(r"(?<!:):(\w+)", r"v_\1", statement).strip()

    def read_removal(statement: str) -> str:
        return f"""
        SELECT found.removed_at, found.removal_sequence INTO v_removed_at, v_removal_sequence
        FROM ({bind(statement)}) AS found;
        v_is_older := v_removed_at IS NOT NULL
          AND (v_removed_at, TRUE, v_removal_sequence) > (v_occurred_at, v_is_removal, v_sequence);
        """  # noqa: S608 - our own statements

    variables = "\n".join(f"    v_{name} {kind};" for name, kind in _FIELDS.items())
    move = f"""
        {bind(statements.UPSERT_ENTITY)};
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count = 0 THEN
            {bind(statements.NOTE_LATEST_EVENT)};
        END IF;
        """
    # Canonical JSON, as `domain.documents.write_row` writes it.
    erase = f"""
        v_data := '{{"id":"' || v_key || '"}}';
        {bind(statements.ERASE_EVENTS)};
        """
    return f"""
DECLARE
{variables}
    v_sequence bigint;
    v_event_sequence bigint;
    v_priority smallint;
    v_removed_at bigint;
    v_removal_sequence bigint;
    v_is_older boolean;
    v_count bigint;
    v_receipts smallint[] := '{{}}';
BEGIN
    PERFORM pg_advisory_xact_lock('events'::regclass::oid::bigint);
    FOR {", ".join(f"v_{name}" for name in _FIELDS)} IN
        SELECT * FROM unnest({", ".join(f"p_{name}" for name in _FIELDS)})
    LOOP
        {bind(statements.INSERT_EVENT)} RETURNING sequence INTO v_sequence;
        IF v_sequence IS NULL THEN
            SELECT CASE WHEN events.digest = v_digest THEN 1 ELSE 2 END INTO v_count
            FROM events WHERE events.event_id = v_event_id;
            v_receipts := v_receipts || v_count::smallint;
            CONTINUE;
        END IF;
        v_receipts := v_receipts || 0::smallint;
        v_event_sequence := v_sequence;
        v_priority := CASE
            WHEN NOT v_is_removal THEN 1 WHEN v_kind = 'membership' THEN 0 ELSE 2 END;
        IF v_kind = 'membership' THEN
            {read_removal(statements.SELECT_PARENTS_REMOVAL)}
            IF v_is_older THEN
                v_occurred_at := v_removed_at;
                v_is_removal := TRUE;
                v_sequence := v_removal_sequence;
                v_row := NULL;
                v_priority := 0;
            END IF;
            {move}
            CONTINUE;
        END IF;
        {move}
        IF v_row IS NULL THEN
            {bind(statements.REMEMBER_REMOVAL)};
            IF v_kind = 'trip' THEN
                {bind(statements.CASCADE_FROM_TRIP)};
            ELSE
                {bind(statements.CASCADE_FROM_USER)};
                {erase}
            END IF;
        ELSIF v_kind = 'user' THEN
            {read_removal(statements.SELECT_OWN_REMOVAL)}
            IF v_is_older THEN
                v_occurred_at := v_removed_at;
                v_sequence := v_removal_sequence;
                {erase}
            END IF;
        END IF;
    END LOOP;
    IF 0 = ANY (v_receipts) THEN
        PERFORM pg_notify('{CHANNEL}', '{EVENT}');
    END IF;
    RETURN v_receipts;
END
"""  # noqa: S608 - our own statements


_PARAMETERS: Final = ", ".join(f"p_{name} {kind}[]" for name, kind in _FIELDS.items())
_DEFINITION: Final = (
    f"({_PARAMETERS}) RETURNS smallint[]"
    f" LANGUAGE plpgsql SET lock_timeout = {_LOCK_MILLISECONDS}"
    f" AS $function${_write_body()}$function$"
)
FUNCTION: Final = f"relay_receive_{hashlib.sha256(_DEFINITION.encode()).hexdigest()[:12]}"
_CALL: Final = (
    f"SELECT {FUNCTION}({', '.join(f'%s::{kind}[]' for kind in _FIELDS.values())})"
).encode()


def create_function(connection: Connection) -> None:
    """Make the function, unless it is there."""
    if connection.execute(select(func.to_regproc(FUNCTION))).scalar_one() is None:
        connection.exec_driver_sql(f"CREATE FUNCTION {FUNCTION}{_DEFINITION}")


class Inbox(GroupThread[Arrival]):
    """Stores events in groups; `store_events` returns after the commit that holds them."""

    def __init__(self, engine: Engine, watchdog: Watchdog, *, hit: FailpointHook = noop) -> None:
        super().__init__("store-inbox", maximum_weight=MAXIMUM_EVENTS)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._watchdog = watchdog
        self._hit = hit
        self._connection: Connection | None = None
        self._used_at = 0.0
        self.start()

    def commit(self, group: Sequence[Arrival]) -> list[list[Receipt]]:
        """Store all of it by one call."""
        events = [(event, arrival.received_at) for arrival in group for event in arrival.events]
        connection = self._open_connection()
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the inbox speaks PostgreSQL")
        arguments: list[list[Any]] = [
            [received_at for _, received_at in events]
            if name == "received_at"
            else [getattr(event, name) for event, _ in events]
            for name in _FIELDS
        ]
        self._hit(Failpoint.BEFORE_COMMIT)
        with self._watchdog.limit(connection, _CALL_SECONDS):
            found = driver.execute(_CALL, arguments).fetchone()
        self._hit(Failpoint.AFTER_COMMIT)
        self._used_at = time.monotonic()
        numbers = chain.from_iterable(found or ())
        receipts = (_RECEIPTS[number] for number in numbers)
        return [list(islice(receipts, len(arrival.events))) for arrival in group]

    def discard(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _open_connection(self) -> Connection:
        if self._connection is not None and time.monotonic() - self._used_at > FRESH_SECONDS:
            # Back into the pool, which tries it before it hands it out again.
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection
