"""A PostgREST of three tables at the wire, with the functions that the relay writes through.

It knows the functions of the relay and reads of the tables, and responds to anything else as
PostgREST would: with an error, never with more than was asked for. Sources: DESIGN.md, "Applying
to Supabase", and https://docs.postgrest.org/en/stable/
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import httpx

from tests.fake_wire import FakeWire

COLUMNS: Final = {
    "users": ("id", "email", "username"),
    "trips": ("id", "name", "created_by"),
    "trip_memberships": ("trip_id", "user_id", "role", "status"),
}
KEYS: Final = {"users": ("id",), "trips": ("id",), "trip_memberships": ("trip_id", "user_id")}
FUNCTIONS: Final = ("relay_claim", "relay_apply", "relay_digest", "relay_read")
PROTOCOL: Final = 1
_OPERATIONS: Final = ("delete", "upsert", "update")
_PARENTS: Final = {"trip_id": "trips", "user_id": "users"}
_REST: Final = "/rest/v1/"

Row = dict[str, str | None]
Operation = tuple[str, str, int]
"""An operation in short: its name, its table (without `public.`) and its number of rows."""

RowPicker = Callable[[str, str, Row], bool]
"""Picks rows, given the operation, the table (without `public.`) and the row as it was sent."""

Undo = Callable[[], None]

_summaries: WeakKeyDictionary[httpx.Request, tuple[Operation, ...]] = WeakKeyDictionary()


def read_operations(request: httpx.Request) -> list[dict[str, Any]]:
    """Read the operations of a `relay_apply` request, as they were sent; of any other, none."""
    if request.method != "POST" or request.url.path != f"{_REST}rpc/relay_apply":
        return []
    operations: list[dict[str, Any]] = (_read_argument(request) or {}).get("operations", [])
    return operations


def is_write(request: httpx.Request) -> bool:
    """Pick what would change a row: neither a claim, nor a probe, which applies nothing."""
    return any(count for _, _, count in _summarize(request))


@dataclass(frozen=True)
class RowFailure:
    """Why a row was rejected; the response omits names that are None."""

    sqlstate: str
    message: str | None = None
    schema: str | None = None
    table: str | None = None
    column: str | None = None
    constraint: str | None = None


class FakePostgrest(FakeWire):
    """Holds the written rows and every request.

    Subclasses may override `find_failure`, which rejects rows, and `_respond`.

    Args:
        api_key: what `apikey` must be; None lets any caller in.
        has_foreign_keys: whether memberships need their trip and user, and go with them.
        unique: the columns whose values must be unique, by table.

    Attributes:
        tables: the rows by table and primary key.
        epoch: of the fence.
        sequence: of the fence.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        has_foreign_keys: bool = False,
        unique: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.tables: dict[str, dict[tuple[str, ...], Row]] = {table: {} for table in COLUMNS}
        self.epoch = 0
        self.sequence = 0
        self._api_key = api_key
        self._has_foreign_keys = has_foreign_keys
        self._unique = unique or {}
        self._has_functions = True
        self._is_fence_locked = False
        self._budget_rows: int | None = None
        self._row_troubles: list[tuple[RowPicker, RowFailure]] = []

    @property
    def writes(self) -> list[httpx.Request]:
        """The requests that would change a row, in order of arrival."""
        return [request for request in self.requests if is_write(request)]

    @property
    def operations(self) -> list[Operation]:
        """The operations of all writes, in order."""
        return [operation for request in self.writes for operation in _summarize(request)]

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table by key."""
        return [row for _, row in sorted(self.tables[table].items())]

    async def wait_for_writes(self, count: int) -> None:
        """Wait until this many writes have arrived; they may still be in flight."""
        await self._wait_until(lambda: len(self.writes) >= count)

    def fail_row(
        self, predicate: RowPicker, sqlstate: str, message: str | None = None, **names: str
    ) -> Undo:
        """Reject the rows picked from now on; the other rows of a request are applied.

        Args:
            predicate: picks the rows.
            sqlstate: of the failure.
            message: of the failure.
            **names: `schema`, `table`, `column` and `constraint` of the failure.

        Returns:
            Lets them through again, as `heal` does.
        """
        trouble = (predicate, RowFailure(sqlstate, message, **names))
        self._row_troubles.append(trouble)

        def undo() -> None:
            self._row_troubles = [other for other in self._row_troubles if other is not trouble]

        return undo

    def set_budget(self, rows: int | None) -> None:
        """Try only this many rows of each request from now on; None for all, as after `heal`."""
        self._budget_rows = rows

    def lock_fence(self) -> Undo:
        """Fail every claim and write from now on as if the row of the fence were locked.

        Returns:
            Unlocks it, as `heal` does.
        """
        self._is_fence_locked = True

        def unlock() -> None:
            self._is_fence_locked = False

        return unlock

    def drop_functions(self) -> None:
        """Drop the relay's functions, as before the migration; `heal` does not restore them."""
        self._has_functions = False

    def install_functions(self) -> None:
        """Restore the relay's functions; the fence keeps its state."""
        self._has_functions = True

    def heal(self) -> None:
        """End every trouble and every hanging request."""
        super().heal()
        self._row_troubles = []
        self._budget_rows = None
        self._is_fence_locked = False

    def find_failure(self, operation: str, table: str, row: Row) -> RowFailure | None:
        """Return why a constraint rejects a row; None if none does.

        Args:
            operation: `upsert` or `update`.
            table: one of the three.
            row: with every column, as it would be inserted or is after the update.
        """
        missing = next((column for column in COLUMNS[table] if row[column] is None), None)
        if missing is not None:
            return RowFailure(
                "23502",
                f'null value in column "{missing}" of relation "{table}" violates not-null'
                " constraint",
                "public",
                table,
                missing,
            )
        for column in self._unique.get(table, ()):
            if self._is_taken(table, column, row):
                constraint = f"{table}_{column}_key"
                sentence = f'duplicate key value violates unique constraint "{constraint}"'
                return RowFailure("23505", sentence, "public", table, constraint=constraint)
        if self._has_foreign_keys and operation == "upsert" and table == "trip_memberships":
            for column, parent in _PARENTS.items():
                if (row[column],) not in self.tables[parent]:
                    constraint = f"{table}_{column}_fkey"
                    sentence = (
                        f'insert or update on table "{table}" violates foreign key constraint'
                        f' "{constraint}"'
                    )
                    return RowFailure("23503", sentence, "public", table, column, constraint)
        return None

    def _is_taken(self, table: str, column: str, row: Row) -> bool:
        key = _read_key(table, row)
        return any(
            other[column] == row[column] for at, other in self.tables[table].items() if at != key
        )

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if self._api_key is not None and request.headers.get("apikey") != self._api_key:
            return httpx.Response(401, json={"message": "Invalid API key", "hint": "Check it."})
        name = request.url.path.removeprefix(_REST)
        if name.startswith("rpc/"):
            return self._call(name.removeprefix("rpc/"), request)
        if name not in COLUMNS:
            sentence = f"Could not find the table 'public.{name}' in the schema cache"
            return _refuse(404, "PGRST205", sentence)
        if request.method != "GET":
            return _refuse(405, "PGRST117", f"Unsupported HTTP method: {request.method}")
        return self._select(name, request)

    def _call(self, function: str, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return _refuse(405, "PGRST101", f"Cannot use the {request.method} method on RPC")
        try:
            names = ", ".join(json.loads(request.content))
        except (ValueError, TypeError):
            return _refuse(400, "PGRST102", "Empty or invalid json")
        if function not in FUNCTIONS or not self._has_functions or names != "request":
            return _refuse(
                404,
                "PGRST202",
                f"Could not find the function public.{function}({names}) in the schema cache",
                details=f"Searched for the function public.{function} with parameter {names} or"
                " with a single unnamed json/jsonb parameter, but no matches were found in the"
                " schema cache.",
            )
        argument = _read_argument(request)
        if argument is None:
            return _refuse(400, "22P02", "invalid input syntax for type json")
        if function == "relay_digest":
            return self._compare({"tables": [self._digest(each) for each in argument["tables"]]})
        if function == "relay_read":
            return self._compare({"rows": self._read(argument)})
        if self._is_fence_locked:
            return _refuse(500, "55P03", "canceling statement due to lock timeout")
        return self._claim(argument) if function == "relay_claim" else self._apply(argument)

    def _compare(self, found: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"epoch": self.epoch, "sequence": self.sequence} | found)

    def _digest(self, given: dict[str, Any]) -> dict[str, Any]:
        excluded = {tuple(key) for key in given["except"]}
        buckets = [[0, 0] for _ in range(len(given["thresholds"]) + 1)]
        for key, row in self.tables[_shorten(given["table"])].items():
            if key not in excluded:
                texts = [row[column] for column in (*given["key"], *given["columns"])]
                bucket = buckets[bisect_right(given["thresholds"], key[0])]
                bucket[0] += 1
                bucket[1] += digest_texts(texts)
        return {"buckets": buckets, "constants": {}}

    def _read(self, given: dict[str, Any]) -> list[list[str | None]]:
        table = self.tables[_shorten(given["table"])]
        start, end = given["from"] or "", given["to"] or "\x7f"
        after = tuple(given["after"] or ())
        picked = [
            row for key, row in sorted(table.items()) if start <= key[0] < end and key > after
        ]
        columns = (*given["key"], *given["columns"])
        return [[_cut(row[column]) for column in columns] for row in picked[: given["limit"]]]

    def _claim(self, argument: dict[str, Any]) -> httpx.Response:
        if argument.get("protocol") != PROTOCOL:
            return _refuse(400, "0A000", "unsupported protocol")
        self.epoch, self.sequence = self.epoch + 1, 0
        return httpx.Response(200, json={"protocol": PROTOCOL, "epoch": self.epoch})

    def _apply(self, argument: dict[str, Any]) -> httpx.Response:
        if argument.get("epoch") != self.epoch or argument.get("sequence", 0) <= self.sequence:
            return _refuse(409, "PT409", "stale request")
        operations = argument.get("operations", [])
        if any(operation["operation"] not in _OPERATIONS for operation in operations):
            return _refuse(400, "22023", "unknown operation")
        self.sequence = argument["sequence"]
        failures: list[dict[str, Any]] = []
        not_tried: list[dict[str, int]] = []
        tried = 0
        for number, operation in enumerate(operations):
            for index, row in enumerate(operation["rows"]):
                place = {"operation": number, "row": index}
                if tried == self._budget_rows:
                    not_tried.append(place)
                    continue
                tried += 1
                failure = self._apply_row(operation, row)
                if failure is not None:
                    named = {
                        name: value for name, value in asdict(failure).items() if value is not None
                    }
                    failures.append(place | named)
        body = {"sequence": self.sequence, "failures": failures, "not_tried": not_tried}
        return httpx.Response(200, json=body)

    def _apply_row(self, operation: dict[str, Any], row: Row) -> RowFailure | None:
        name, table = operation["operation"], _shorten(operation["table"])
        for predicate, failure in self._row_troubles:
            if predicate(name, table, row):
                return failure
        misfit = _find_misfit(operation, row)
        if misfit is not None:
            return misfit
        key = _read_key(table, row)
        held = self.tables[table].get(key)
        if name == "delete":
            self.delete(table, key)
            return None
        # An upsert is checked like an insert, even if the row exists.
        before: Row = dict.fromkeys(COLUMNS[table])
        if name == "update":
            if held is None:
                return RowFailure("P0002")
            before = held
        found = self.find_failure(name, table, before | row)
        if found is None:
            self.tables[table][key] = (held or {}) | row
        return found

    def delete(self, table: str, key: tuple[str, ...]) -> None:
        """Delete a row, with the memberships that refer to it."""
        self.tables[table].pop(key, None)
        if not self._has_foreign_keys or table == "trip_memberships":
            return
        column = next(column for column, parent in _PARENTS.items() if parent == table)
        memberships = self.tables["trip_memberships"]
        for member in [at for at, row in memberships.items() if row[column] == key[0]]:
            del memberships[member]

    def _select(self, table: str, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        columns = params.get("select", ",".join(COLUMNS[table])).split(",")
        for column in columns:
            if column not in COLUMNS[table]:
                return _refuse(400, "42703", f"column {table}.{column} does not exist")
        try:
            picked = list(self._filter(table, params))
        except _FilterRefused as error:
            return _refuse(400, "PGRST100", f"failed to parse filter ({error})")
        limit = int(params.get("limit", len(picked)))
        rows = [{column: row[column] for column in columns} for row in picked[:limit]]
        return httpx.Response(200, json=rows)

    def _filter(self, table: str, params: httpx.QueryParams) -> Iterator[Row]:
        conditions = [
            _read_filter(table, name, value)
            for name, value in params.multi_items()
            if name not in ("select", "limit")
        ]
        for row in self.rows(table):
            if all(row[column] in values for column, values in conditions):
                yield row


def digest_texts(texts: Sequence[str | None]) -> int:
    """Compute the digest of a row, as `relay_digest` does."""
    joined = "\x1f".join("\\N" if text is None else text for text in texts)
    return int(hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()[:8], 16)


def _cut(text: str | None) -> str | None:
    """Shorten a long text, as `relay_read` does."""
    if text is None or len(text) <= 100:
        return text
    return text[:100] + hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _find_misfit(operation: dict[str, Any], row: Row) -> RowFailure | None:
    """Return a table or column of a row that the database lacks."""
    table = _shorten(operation["table"])
    if table not in COLUMNS:
        return RowFailure("42P01", f'relation "{operation["table"]}" does not exist')
    for column in [*operation["key"], *row]:
        if column not in COLUMNS[table]:
            sentence = f'column "{column}" of relation "{table}" does not exist'
            return RowFailure("42703", sentence)
    if tuple(operation["key"]) != KEYS[table]:  # the only one that this database has
        sentence = (
            "there is no unique or exclusion constraint matching the ON CONFLICT specification"
        )
        return RowFailure("42P10", sentence)
    return None


class _FilterRefused(Exception):
    """A request that PostgREST could not read either, or that this fake does not know."""


def _read_filter(table: str, column: str, value: str) -> tuple[str, list[str]]:
    """Read `column=eq.value` or `column=in.(value,value)`."""
    operator, _, operand = value.partition(".")
    if column not in COLUMNS[table]:
        raise _FilterRefused(column)
    if operator == "eq":
        return column, [operand]
    if operator == "in" and operand.startswith("(") and operand.endswith(")"):
        return column, operand[1:-1].split(",")
    raise _FilterRefused(value)


def _read_argument(request: httpx.Request) -> dict[str, Any] | None:
    """Read the JSON text that a function receives; None if invalid."""
    try:
        argument = json.loads(json.loads(request.content)["request"])
    except (ValueError, TypeError, LookupError):
        return None
    return argument if isinstance(argument, dict) else None


def _summarize(request: httpx.Request) -> tuple[Operation, ...]:
    # Cached: waiting for writes reads every request again and again.
    if request not in _summaries:
        _summaries[request] = tuple(
            (operation["operation"], _shorten(operation["table"]), len(operation["rows"]))
            for operation in read_operations(request)
        )
    return _summaries[request]


def _shorten(table: str) -> str:
    return table.removeprefix("public.")


def _read_key(table: str, row: Row) -> tuple[str, ...]:
    return tuple(row.get(column) or "" for column in KEYS[table])


def _refuse(status: int, code: str, message: str, *, details: str | None = None) -> httpx.Response:
    body = {"code": code, "details": details, "hint": None, "message": message}
    return httpx.Response(status, json=body)
