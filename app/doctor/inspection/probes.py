"""Looking at a Supabase without changing it: what every request here asks, and why it is harmless.

A write that is tried here commits under no circumstances, whatever is open:

- it names no row: an upsert of no rows, an update or removal where one column is null and is not;
- it asks for exactly one row back (`Accept: application/vnd.pgrst.object+json`), and PostgREST
  rolls back what gave none or two, with all that triggers of the statement did. It asks for
  `tx=rollback` besides, where that is allowed;
- the one request that carries rows carries two, each with a null in its key.

The functions that are called here change nothing; the relay's own are given requests that they
refuse before they change anything.

Privileges (42501) and conflict targets (42P10) are looked at before the first row, so that the
answer says what was to be known. (@supabase/lite answers to inserts of no rows by itself, and does
not roll back: there, what a trigger of a statement that touches no row does would stay.)

Source: https://docs.postgrest.org/en/stable/references/api/resource_representation.html
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.errors import read_request_failure
from app.supabase.targets import Target

# What it is answered that there is no such thing, or that the caller may not.
NO_SUCH_TABLE: Final = ("PGRST205", "42P01", "3F000")
NOT_EXPOSED: Final = "PGRST106"
NO_SUCH_COLUMN: Final = ("PGRST204", "42703")
NO_SUCH_KEY: Final = "42P10"
NO_SUCH_FUNCTION: Final = ("PGRST202", "42883", "HTTP 404")
LACKS_PRIVILEGE: Final = "42501"

_SINGULAR: Final = {
    "Accept": "application/vnd.pgrst.object+json",
    "Content-Type": "application/json",
}
_ROLL_BACK: Final = "return=minimal,tx=rollback"
# What PostgREST says to a statement that ran and gave not one row: it was rolled back.
_RAN_AND_ROLLED_BACK: Final = "PGRST116"
# The description of a large project's tables and functions takes some megabytes.
_ANSWER_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A table as PostgREST's own description shows it.

    Attributes:
        columns: all of them.
        required: those that are NOT NULL and have no default.
    """

    columns: frozenset[str]
    required: tuple[str, ...]


class Inspection:
    """Looks at a project as one kind of caller."""

    def __init__(self, http: httpx.AsyncClient, *, clock: Callable[[], float]) -> None:
        self._http = http
        self._clock = clock

    async def read_rows(
        self,
        target: Target,
        columns: Sequence[str],
        *,
        filters: Mapping[str, str] | None = None,
        limit: int = 1,
    ) -> list[dict[str, Any]] | RequestFailure:
        """Read at most `limit` rows; with 0, only whether it would be allowed."""
        return await self.read_table(
            target.table, columns, schema=target.schema, filters=filters, limit=limit
        )

    async def read_table(
        self,
        table: str,
        columns: Sequence[str],
        *,
        schema: str | None = None,
        filters: Mapping[str, str] | None = None,
        limit: int = 1,
    ) -> list[dict[str, Any]] | RequestFailure:
        """Read at most `limit` rows of any table."""
        select = ",".join(_quote(column) for column in columns)
        answer = await self._ask(
            "GET",
            f"/{table}",
            params={"select": select, **(filters or {}), "limit": str(limit)},
            headers={} if schema is None else {"Accept-Profile": schema},
        )
        if isinstance(answer, list) and all(isinstance(row, dict) for row in answer):
            return answer
        return answer if isinstance(answer, RequestFailure) else _not_postgrest()

    async def upsert_nothing(
        self, target: Target, conflict_columns: Sequence[str] | None = None
    ) -> RequestFailure | None:
        """Upsert no rows. None means that the statement would run."""
        return await self._try(
            "POST",
            target,
            params={
                "on_conflict": ",".join(
                    _quote(c) for c in (conflict_columns or target.key_columns)
                ),
                "columns": ",".join(_quote(column) for column in target.written_columns),
            },
            prefer=f"resolution=merge-duplicates,{_ROLL_BACK}",
            content=[],
        )

    async def insert_nothing(self, target: Target) -> RequestFailure | None:
        """Insert no rows. None means that the caller holds the privilege."""
        return await self._try("POST", target, params=_insert_columns(target), content=[])

    async def insert_impossible(self, target: Target, user_id: str) -> RequestFailure | None:
        """Insert two rows that have a null in their key, as whoever would let himself in.

        Row Level Security is asked about each row before NOT NULL is. None means that even the
        null was taken, and that the two were rolled back for being two.
        """
        own = target.columns.get("user_id")
        rows = [
            {
                column: _make_value(column == own, user_id, field, number)
                for field, column in target.columns.items()
            }
            for number in (1, 2)
        ]
        nulled = next(column for column in target.key_columns if column != own)
        return await self._try(
            "POST",
            target,
            params=_insert_columns(target),
            content=[{**row, nulled: None} for row in rows],
        )

    async def update_nothing(self, target: Target) -> RequestFailure | None:
        """Update no rows. None means that the caller holds the privilege on some column."""
        failure: RequestFailure | None = None
        for column in target.columns.values():
            failure = await self._try(
                "PATCH", target, params=_match_nothing(target), content={column: None}
            )
            if failure is None or failure.code != LACKS_PRIVILEGE:
                return failure
        return failure

    async def remove_nothing(self, target: Target) -> RequestFailure | None:
        """Remove no rows. None means that the caller holds the privilege."""
        return await self._try("DELETE", target, params=_match_nothing(target))

    async def describe_tables(self) -> Mapping[str, TableDescription] | RequestFailure:
        """Read PostgREST's own description (OpenAPI 2), which only the relay's key may see."""
        answer = await self._ask("GET", "/", params={}, headers={})
        if isinstance(answer, RequestFailure):
            return answer
        definitions = answer.get("definitions") if isinstance(answer, dict) else None
        if not isinstance(definitions, dict):
            return {}
        return {name: _read_description(definition) for name, definition in definitions.items()}

    async def call(self, function: str, arguments: Mapping[str, str]) -> Any:
        """Call a function that changes nothing; its result, or a `RequestFailure`."""
        return await self._ask(
            "POST",
            f"/rpc/{function}",
            params={},
            headers={"Content-Type": "application/json", "Content-Profile": "public"},
            content=arguments,
        )

    async def _try(
        self,
        method: str,
        target: Target,
        *,
        params: Mapping[str, Any],
        prefer: str = _ROLL_BACK,
        content: object = None,
    ) -> RequestFailure | None:
        profile = {} if target.schema is None else {"Content-Profile": target.schema}
        answer = await self._ask(
            method,
            f"/{target.table}",
            params=params,
            headers={**_SINGULAR, **profile, "Prefer": prefer},
            content=content,
        )
        if isinstance(answer, RequestFailure) and answer.code != _RAN_AND_ROLLED_BACK:
            return answer
        return None

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        content: object = None,
    ) -> Any:
        try:
            response = await self._http.request(
                method,
                path,
                params=params,
                headers=headers,
                content=None if content is None else json.dumps(content),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return RequestFailure(
                RequestFailureKind.UNAVAILABLE, type(error).__name__, "Supabase cannot be reached"
            )
        if not response.is_success:
            return read_request_failure(
                response.status_code,
                response.headers,
                response.content,
                now_seconds=self._clock(),
            )
        if not response.content:
            return None
        if len(response.content) > _ANSWER_BYTES:
            return _not_postgrest()
        try:
            return response.json()
        except ValueError:
            return _not_postgrest()


def _not_postgrest() -> RequestFailure:
    return RequestFailure(
        RequestFailureKind.MISCONFIGURED, "no PostgREST", "what answers is not PostgREST"
    )


def _quote(name: str) -> str:
    """Write a column's name for a query: quoted where it holds what PostgREST reads as its own."""
    if name.replace("_", "a").isalnum():
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _match_nothing(target: Target) -> Mapping[str, Any]:
    """Give the filter that no row of any type can pass."""
    return {target.key_columns[0]: ["is.null", "not.is.null"]}


def _insert_columns(target: Target) -> Mapping[str, str]:
    return {"columns": ",".join(_quote(column) for column in target.columns.values())}


def _make_value(is_own: bool, user_id: str, field: str, number: int) -> str:
    """Make a value that any of the usual types takes; the two rows differ in every other."""
    if is_own or field in ("user_id", "created_by"):
        return user_id
    if field in ("id", "trip_id"):
        return f"00000000-0000-0000-0000-00000000000{number}"
    if field == "role":
        return "OWNER" if number == 1 else "MEMBER"
    return "ACTIVE" if field == "status" else f"relay-doctor-{number}"


def _read_description(definition: object) -> TableDescription:
    if not isinstance(definition, dict):
        return TableDescription(frozenset(), ())
    properties, required = definition.get("properties"), definition.get("required")
    columns: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
    return TableDescription(
        frozenset(columns),
        tuple(
            name
            for name in (required if isinstance(required, list) else ())
            if isinstance(columns.get(name), dict) and "default" not in columns[name]
        ),
    )
