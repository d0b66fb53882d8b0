"""Calling the relay's functions, through PostgREST or in PostgreSQL itself."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psycopg

from app.supabase.comparison import digest_texts

# Every row value contains this; no response may contain it, except that of one function.
SECRET: Final = "a-value-of-a-row"
READS_VALUES: Final = "relay_read"
# The code of the local Supabase for errors with codes that it does not know: 57014, 0A000.
UNKNOWN: Final = "SUP"
# Its code for 42P01.
UNKNOWN_TABLE: Final = "PGRST205"

Row = dict[str, Any]
Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call.

    Attributes:
        code: None, or the SQLSTATE of an error that ended the request as a whole.
        status: of HTTP; None in PostgreSQL itself.
        body: the JSON.
    """

    code: str | None
    status: int | None
    body: Any

    @property
    def failures(self) -> list[Row]:
        """The rows that failed; the request as a whole did not."""
        assert self.code is None, self
        found: list[Row] = self.body["failures"]
        return found

    @property
    def not_tried(self) -> list[Row]:
        assert self.code is None, self
        found: list[Row] = self.body["not_tried"]
        return found

    @property
    def buckets(self) -> list[tuple[int, int]]:
        """The number of rows and the sum of their digests, in each range of one table."""
        assert self.code is None, self
        (table,) = self.body["tables"]
        return [(rows, total) for rows, total in table["buckets"]]

    @property
    def constants(self) -> Row:
        assert self.code is None, self
        (table,) = self.body["tables"]
        found: Row = table["constants"]
        return found

    @property
    def rows(self) -> list[list[str | None]]:
        """The texts of the rows that were read."""
        assert self.code is None, self
        found: list[list[str | None]] = self.body["rows"]
        return found


Call = Callable[[str, str], Answer]


def call_over_http(client: httpx.Client, function: str, request: str) -> Answer:
    response = client.post(f"rpc/{function}", json={"request": request})
    assert function == READS_VALUES or SECRET not in response.text
    code = None if response.is_success else response.json()["code"]
    return Answer(code, response.status_code, response.json())


class PostgresCaller:
    """Call as a role that the connection's may become, over a pool as PostgREST has."""

    def __init__(self, database_url: str, role: str) -> None:
        self._database_url = database_url
        self._role = role
        self._idle: list[psycopg.Connection[Any]] = []

    def __call__(self, function: str, request: str) -> Answer:
        connection = self._idle.pop() if self._idle else self._connect()
        answer = self._call(connection, function, request)
        self._idle.append(connection)
        return answer

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._database_url, autocommit=True, prepare_threshold=None)
        connection.execute("select set_config('role', %s, false)", [self._role])
        return connection

    @staticmethod
    def _call(connection: psycopg.Connection[Any], function: str, request: str) -> Answer:
        statement = f"select public.{function}(%s)::text".encode()
        try:
            row = connection.execute(statement, [request]).fetchone()
        except psycopg.Error as error:
            code, text = error.sqlstate, error.diag.message_primary or ""
        else:
            assert row is not None
            code, text = None, row[0]
        assert function == READS_VALUES or SECRET not in text
        return Answer(code, None, None if code else json.loads(text))

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


class Wire:
    """A relay's side of the contract: it claims, and numbers its requests."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.epoch = 0
        self.sequence = 0

    def claim(self) -> int:
        answer = self._call("relay_claim", '{"protocol": 1}')
        assert answer.code is None, answer
        assert answer.body.keys() == {"protocol", "epoch"}
        assert answer.body["protocol"] == 1
        self.epoch, self.sequence = answer.body["epoch"], 0
        return self.epoch

    def apply(
        self,
        *operations: Operation,
        budget_ms: int = 3000,
        epoch: int | None = None,
        sequence: int | None = None,
    ) -> Answer:
        """Send a request; with the next sequence of the latest claim by default."""
        if sequence is None:
            sequence = self.sequence = self.sequence + 1
        request = {
            "epoch": self.epoch if epoch is None else epoch,
            "sequence": sequence,
            "budget_ms": budget_ms,
            "operations": operations,
        }
        answer = self._call("relay_apply", json.dumps(request, ensure_ascii=False))
        if answer.code is None:
            assert answer.body.keys() == {"sequence", "failures", "not_tried"}
            assert answer.body["sequence"] == sequence
        return answer

    def digest(
        self,
        table: str,
        *,
        key: Sequence[str] = ("id",),
        left_out: Sequence[Sequence[str]] = (),
        **fields: Any,
    ) -> Answer:
        """Digest one table.

        Args:
            fields: of the request: columns, constants, thresholds.
        """
        given = {"table": table, "key": key, "columns": [], "except": left_out, **fields}
        return self._call("relay_digest", json.dumps({"tables": [given]}, ensure_ascii=False))

    def read(
        self,
        table: str,
        *,
        key: Sequence[str] = ("id",),
        start: str | None = None,
        end: str | None = None,
        **fields: Any,
    ) -> Answer:
        """Read one page of a table.

        Args:
            fields: of the request: columns, after, limit.
        """
        span = {"from": start, "to": end}
        request = {"table": table, "key": key, "columns": [], "limit": 1000, **span, **fields}
        return self._call("relay_read", json.dumps(request, ensure_ascii=False))

    def send(self, function: str, request: str) -> Answer:
        """Send a text unchanged."""
        return self._call(function, request)


def upsert(table: str, *rows: Row, key: Sequence[str] = ("id",)) -> Operation:
    return {"operation": "upsert", "table": table, "key": key, "rows": rows}


def update(table: str, *rows: Row, key: Sequence[str] = ("id",)) -> Operation:
    return {"operation": "update", "table": table, "key": key, "rows": rows}


def delete(table: str, *rows: Row, key: Sequence[str] = ("id",)) -> Operation:
    return {"operation": "delete", "table": table, "key": key, "rows": rows}


def expect_buckets(
    rows: Iterable[Sequence[str | None]], thresholds: Sequence[str] = ()
) -> list[tuple[int, int]]:
    """Compute the buckets of these texts as the relay does; thresholds are in the order of text."""
    counts, totals = [0] * (len(thresholds) + 1), [0] * (len(thresholds) + 1)
    for texts in rows:
        bucket = bisect_right(thresholds, texts[0] or "")
        counts[bucket] += 1
        totals[bucket] += digest_texts(tuple(texts))
    return list(zip(counts, totals, strict=True))


def without_messages(failures: list[Row]) -> list[Row]:
    """Leave out what PostgreSQL may word otherwise in another version."""
    return [{name: row[name] for name in row if name != "message"} for row in failures]


def failure(row: int, sqlstate: str, operation: int = 0, /, **names: str) -> Row:
    """Give what is reported of a row of an operation."""
    return {"operation": operation, "row": row, "sqlstate": sqlstate, **names}
