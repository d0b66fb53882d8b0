"""A PostgREST of three tables at the wire, which can be told to fail in every way that one does.

It knows the requests that the relay makes and answers anything else as PostgREST would: with an
error, never with more than was asked for. Source: https://docs.postgrest.org/en/stable/
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import httpx

COLUMNS: Final = {
    "users": ("id", "email", "username"),
    "trips": ("id", "name", "created_by"),
    "trip_memberships": ("trip_id", "user_id", "role", "status"),
}
KEYS: Final = {"users": ("id",), "trips": ("id",), "trip_memberships": ("trip_id", "user_id")}
_PARENTS: Final = {"trip_id": "trips", "user_id": "users"}

Row = dict[str, str | None]
Picker = Callable[[httpx.Request], bool]
"""Says which requests meet a trouble."""

Trouble = Callable[[httpx.Request], httpx.Response | None]
"""Answers or raises in place of the tables; None lets a request through."""


def is_write(request: httpx.Request) -> bool:
    """Pick what would change something: all but the relay's look whether Supabase is there."""
    return request.method != "GET"


def _any_request(_: httpx.Request) -> bool:
    return True


class FakePostgrest:
    """Holds the rows that were written, and every request that came in.

    Args:
        api_key: what `apikey` must be; None lets any caller in.
        has_foreign_keys: whether memberships need their trip and user, and go with them.

    Attributes:
        tables: the rows by table and primary key.
        requests: in the order they arrived, those that were refused or hang included.
    """

    def __init__(self, *, api_key: str | None = None, has_foreign_keys: bool = False) -> None:
        self.tables: dict[str, dict[tuple[str, ...], Row]] = {table: {} for table in COLUMNS}
        self.requests: list[httpx.Request] = []
        self._api_key = api_key
        self._has_foreign_keys = has_foreign_keys
        self._trouble: Trouble | None = None
        self._gate: asyncio.Event | None = None
        self._hangs: Picker = _any_request
        self._lands = False
        self._hanging = asyncio.Event()
        self._arrived = asyncio.Condition()

    @property
    def writes(self) -> list[httpx.Request]:
        """The requests that would change something."""
        return [request for request in self.requests if is_write(request)]

    @property
    def received_bytes(self) -> bytes:
        """Everything that callers have sent: lines, headers and bodies."""
        return b"\n".join(
            b"%b %b %b %b"
            % (r.method.encode(), str(r.url).encode(), repr(r.headers.raw).encode(), r.content)
            for r in self.requests
        )

    def rows(self, table: str) -> list[Row]:
        """Give the rows of a table, by key."""
        return [row for _, row in sorted(self.tables[table].items())]

    async def wait_for_writes(self, count: int) -> None:
        """Wait until so many writes have arrived; they may not have been answered yet."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.writes) >= count)

    async def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have arrived, reads included."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    def answer_with(
        self,
        status: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        of: Picker = _any_request,
    ) -> None:
        """Answer requests (all, or those `of` picks) with this from now on.

        Args:
            status: of the answer.
            body: bytes as they are, None for none, anything else as JSON.
            headers: of the answer.
            of: picks the requests.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            return httpx.Response(status, content=b"" if body is None else content, headers=headers)

        self._trouble = answer

    def break_connection(
        self, error: Callable[[str], httpx.TransportError] = httpx.ConnectError
    ) -> None:
        """Have every request end in a network error from now on."""

        def fail(_: httpx.Request) -> httpx.Response | None:
            raise error("the network is gone")

        self._trouble = fail

    def lose_answers(
        self,
        error: Callable[[str], httpx.TransportError] = httpx.ReadError,
        *,
        of: Picker = _any_request,
    ) -> None:
        """Do what requests ask for, but have them end in a network error from now on."""

        def lose(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            self._answer(request)
            raise error("the answer is lost")

        self._trouble = lose

    def hang(self, *, of: Picker = _any_request, lands: bool = False) -> asyncio.Event:
        """Leave requests without an answer from now on, until the event given is set.

        Args:
            of: picks the requests.
            lands: whether what they ask for is done before they hang.
        """
        self._gate, self._hangs, self._lands = asyncio.Event(), of, lands
        self._hanging.clear()
        return self._gate

    async def wait_for_hanging(self) -> None:
        """Wait until a request hangs."""
        await self._hanging.wait()

    def release(self) -> None:
        """Let go of what hangs."""
        if self._gate is not None:
            self._gate.set()

    def heal(self) -> None:
        """End every trouble, and what hangs."""
        self._trouble = None
        self.release()

    def transport(self) -> httpx.AsyncBaseTransport:
        """Give the wire to it."""
        return httpx.MockTransport(self.answer)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        if self._gate is not None and not self._gate.is_set() and self._hangs(request):
            landed = self._answer(request) if self._lands else None
            self._hanging.set()
            await self._gate.wait()
            if landed is not None:
                return landed
        answer = None if self._trouble is None else self._trouble(request)
        return self._answer(request) if answer is None else answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self._api_key is not None and request.headers.get("apikey") != self._api_key:
            return httpx.Response(401, json={"message": "Invalid API key", "hint": "Check it."})
        table = request.url.path.removeprefix("/rest/v1/")
        if table not in COLUMNS:
            sentence = f"Could not find the table 'public.{table}' in the schema cache"
            return _refuse(404, "PGRST205", sentence)
        try:
            match request.method:
                case "GET":
                    return self._select(table, request)
                case "POST":
                    return self._upsert(table, request)
                case "DELETE":
                    return self._delete(table, request)
                case _:
                    return _refuse(405, "PGRST117", "Unsupported HTTP method")
        except _FilterRefused as error:
            return _refuse(400, "PGRST100", f"failed to parse filter ({error})")

    def _select(self, table: str, request: httpx.Request) -> httpx.Response:
        columns = request.url.params.get("select", ",".join(COLUMNS[table])).split(",")
        for column in columns:
            if column not in COLUMNS[table]:
                return _refuse(400, "42703", f"column {table}.{column} does not exist")
        picked = list(self._filter(table, request))
        limit = int(request.url.params.get("limit", len(picked)))
        rows = [{column: row[column] for column in columns} for row in picked[:limit]]
        return httpx.Response(200, json=rows)

    def _upsert(self, table: str, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        if params.get("on_conflict") != ",".join(KEYS[table]):
            sentence = (
                "there is no unique or exclusion constraint matching the ON CONFLICT specification"
            )
            return _refuse(400, "42P10", sentence)
        if "resolution=merge-duplicates" not in request.headers.get("prefer", ""):
            return _refuse(409, "23505", "duplicate key value violates unique constraint")
        columns = params.get("columns", "").split(",")
        for column in columns:
            if column not in COLUMNS[table]:
                sentence = f"Could not find the '{column}' column of '{table}' in the schema cache"
                return _refuse(400, "PGRST204", sentence)
        rows = json.loads(request.content)
        written: dict[tuple[str, ...], Row] = {}
        for row in rows:
            written_row = {column: row.get(column) for column in columns}
            failure = self._find_fault(table, written_row)
            if failure is not None:
                return failure
            written[tuple(row[column] for column in KEYS[table])] = written_row
        if len(written) < len(rows):
            sentence = "ON CONFLICT DO UPDATE command cannot affect row a second time"
            return _refuse(500, "21000", sentence)
        for key, row in written.items():
            self.tables[table][key] = self.tables[table].get(key, {}) | row
        return httpx.Response(201)

    def _find_fault(self, table: str, row: Row) -> httpx.Response | None:
        for column in COLUMNS[table]:
            if row.get(column) is None:
                return _refuse(
                    400,
                    "23502",
                    f'null value in column "{column}" of relation "{table}"'
                    " violates not-null constraint",
                    details=f"Failing row contains ({', '.join(map(str, row.values()))}).",
                )
        if not self._has_foreign_keys or table != "trip_memberships":
            return None
        for column, parent in _PARENTS.items():
            if (row[column],) not in self.tables[parent]:
                return _refuse(
                    409,
                    "23503",
                    f'insert or update on table "{table}" violates foreign key constraint'
                    f' "{table}_{column}_fkey"',
                    details=f'Key ({column})=({row[column]}) is not present in table "{parent}".',
                )
        return None

    def _delete(self, table: str, request: httpx.Request) -> httpx.Response:
        if not request.url.params:
            # Supabase loads safeupdate: a DELETE of everything is taken for a slip.
            return _refuse(400, "21000", "DELETE requires a WHERE clause")
        for row in list(self._filter(table, request)):
            del self.tables[table][tuple(str(row[column]) for column in KEYS[table])]
            if self._has_foreign_keys and table != "trip_memberships":
                self._cascade(table, row)
        return httpx.Response(204)

    def _cascade(self, table: str, parent: Row) -> None:
        column = next(column for column, name in _PARENTS.items() if name == table)
        memberships = self.tables["trip_memberships"]
        for key in [key for key, row in memberships.items() if row[column] == parent["id"]]:
            del memberships[key]

    def _filter(self, table: str, request: httpx.Request) -> Iterator[Row]:
        conditions = [
            _read_filter(table, name, value)
            for name, value in request.url.params.multi_items()
            if name not in ("select", "limit", "columns", "on_conflict")
        ]
        for row in self.rows(table):
            if all(condition(row) for condition in conditions):
                yield row


class _FilterRefused(Exception):
    """What PostgREST could not read either."""


_Condition = Callable[[Row], bool]


def _read_filter(table: str, name: str, value: str) -> _Condition:
    """Read `column=operator.value` or `or=(…)`, `and=(…)`."""
    if name in ("or", "and"):
        return _read_tree(table, name, value)
    if name not in COLUMNS[table]:
        raise _FilterRefused(name)
    operator, _, operand = value.partition(".")
    match operator:
        case "eq":
            return lambda row: row[name] == operand
        case "in":
            choices = _split(operand)
            return lambda row: row[name] in choices
        case _:
            raise _FilterRefused(operator)


def _read_tree(table: str, name: str, value: str) -> _Condition:
    conditions: list[_Condition] = []
    for part in _split(value):
        nested = re.fullmatch(r"(or|and)(\(.*\))", part)
        if nested is not None:
            conditions.append(_read_tree(table, nested[1], nested[2]))
        else:
            column, _, rest = part.partition(".")
            conditions.append(_read_filter(table, column, rest))
    combine = any if name == "or" else all
    return lambda row: combine(condition(row) for condition in conditions)


def _split(text: str) -> list[str]:
    """Split `(a,b(c,d))` at its outer commas."""
    if not (text.startswith("(") and text.endswith(")")):
        raise _FilterRefused(text)
    parts, depth = [""], 0
    for character in text[1:-1]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _refuse(status: int, code: str, message: str, *, details: str | None = None) -> httpx.Response:
    body = {"code": code, "message": message, "details": details, "hint": None}
    return httpx.Response(status, json=body)
