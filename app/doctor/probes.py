"""Read a Supabase project and probe writes without changing anything.

A probed write never commits, even if the project permits it:

- It names no row: an upsert of no rows, an update or delete where one column is both null and not.
- It asks for exactly one row back (`Accept: application/vnd.pgrst.object+json`); PostgREST rolls
  back a statement that returns none or two, including its triggers. Where the server allows it,
  `tx=rollback` asks for the same.
- The one probe that carries rows carries two, each with a null in its key.

The functions called here change nothing; those of the relay that write receive requests that they
reject.

PostgreSQL checks privileges (42501) and conflict targets (42P10) before the first row, so the error
code is the result. (@supabase/lite responds to inserts of no rows by itself, and does not roll
back: it keeps the effect of a statement trigger that runs without a row.)

Source: https://docs.postgrest.org/en/stable/references/api/resource_representation.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.errors import read_request_failure
from app.supabase.targets import Target

# Codes of things that do not exist, and of a missing privilege.
NO_SUCH_TABLE: Final = ("PGRST205", "42P01", "3F000")
NOT_EXPOSED: Final = "PGRST106"
NO_SUCH_COLUMN: Final = ("PGRST204", "42703")
NO_SUCH_KEY: Final = "42P10"
NO_SUCH_FUNCTION: Final = ("PGRST202", "42883", "HTTP 404")
LACKS_PRIVILEGE: Final = "42501"

_ROLL_BACK: Final = "return=minimal,tx=rollback"
# PostgREST's error for a statement that ran, did not return one row, and was rolled back.
_RAN_AND_ROLLED_BACK: Final = "PGRST116"
# The description of a large project's tables and functions has some megabytes.
_RESPONSE_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProbeClient:
    """Reads and probes a project as one caller, which the headers name."""

    http: httpx.AsyncClient
    headers: Mapping[str, str]

    async def read_rows(
        self,
        table: Target | str,
        columns: Iterable[str],
        *,
        filters: Mapping[str, str] | None = None,
        limit: int = 1,
    ) -> list[dict[str, Any]] | RequestFailure:
        """Read at most `limit` rows; with 0, only learn whether the caller may.

        Args:
            table: a target, or the name of a table in the default schema.
            columns: the columns to read.
            filters: column to PostgREST's operator and value.
            limit: of rows.
        """
        name, schema = (table, None) if isinstance(table, str) else (table.table, table.schema)
        params = {"select": _list(columns), **(filters or {}), "limit": str(limit)}
        headers = {} if schema is None else {"Accept-Profile": schema}
        rows = await self._request("GET", f"/{name}", params=params, headers=headers)
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return rows
        return rows if isinstance(rows, RequestFailure) else _not_postgrest()

    async def probe_upsert(
        self, target: Target, conflict_columns: Sequence[str] | None = None
    ) -> RequestFailure | None:
        """Upsert no rows. None: the statement would run."""
        params = {
            "on_conflict": _list(conflict_columns or target.key_columns),
            "columns": _list(target.written_columns),
        }
        prefer = f"resolution=merge-duplicates,{_ROLL_BACK}"
        return await self._probe("POST", target, params=params, prefer=prefer, json=[])

    async def probe_insert(self, target: Target) -> RequestFailure | None:
        """Insert no rows. None: the caller has the privilege."""
        params = {"columns": _list(target.columns.values())}
        return await self._probe("POST", target, params=params, json=[])

    async def probe_invalid_insert(self, target: Target, user_id: str) -> RequestFailure | None:
        """Insert two rows for the user that have a null in their key.

        PostgreSQL checks Row Level Security before NOT NULL. None: the key may even be null, and
        PostgREST rolled the two rows back for being two.
        """
        own = target.columns.get("user_id")
        nulled = next(column for column in target.key_columns if column != own)
        rows = [
            {
                column: None if column == nulled else _make_value(field, user_id, number)
                for field, column in target.columns.items()
            }
            for number in (1, 2)
        ]
        params = {"columns": _list(target.columns.values())}
        return await self._probe("POST", target, params=params, json=rows)

    async def probe_update(self, target: Target) -> RequestFailure | None:
        """Update no rows. None: the caller has the privilege on some column."""
        failure: RequestFailure | None = None
        for column in target.columns.values():
            failure = await self._probe(
                "PATCH", target, params=_match_no_row(target), json={column: None}
            )
            if failure is None or failure.code != LACKS_PRIVILEGE:
                return failure
        return failure

    async def probe_delete(self, target: Target) -> RequestFailure | None:
        """Delete no rows. None: the caller has the privilege."""
        return await self._probe("DELETE", target, params=_match_no_row(target))

    async def read_required_columns(self, target: Target) -> Sequence[str] | None:
        """Read the NOT NULL columns without default in PostgREST's description (OpenAPI 2).

        None: it does not describe the columns. Only the relay's key may read the description, which
        covers the default schema only.
        """
        if target.schema is not None:
            return None
        description = await self._request("GET", "/")
        try:
            table = description["definitions"][target.table]
            columns, required = table["properties"], table.get("required", [])
            return (
                [name for name in required if "default" not in columns[name]] if columns else None
            )
        except (KeyError, TypeError, AttributeError):
            return None

    async def call(self, function: str, arguments: Mapping[str, str]) -> Any:
        """Call a function that changes nothing; return its result, or a `RequestFailure`."""
        headers = {"Content-Profile": "public"}
        return await self._request("POST", f"/rpc/{function}", headers=headers, json=arguments)

    async def _probe(
        self, method: str, target: Target, *, prefer: str = _ROLL_BACK, **content: Any
    ) -> RequestFailure | None:
        headers = {"Accept": "application/vnd.pgrst.object+json", "Prefer": prefer}
        if target.schema is not None:
            headers["Content-Profile"] = target.schema
        result = await self._request(method, f"/{target.table}", headers=headers, **content)
        if isinstance(result, RequestFailure) and result.code != _RAN_AND_ROLLED_BACK:
            return result
        return None

    async def _request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any
    ) -> Any:
        """Send a request with httpx's `params` and `json`; return the JSON of the response."""
        all_headers = {**self.headers, **(headers or {})}
        try:
            response = await self.http.request(method, path, headers=all_headers, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return RequestFailure(
                RequestFailureKind.UNAVAILABLE, type(error).__name__, "Supabase is unreachable"
            )
        if not response.is_success:
            return read_request_failure(
                response.status_code, response.headers, response.content, now_seconds=0.0
            )
        if not response.content:
            return None
        if len(response.content) > _RESPONSE_BYTES:
            return _not_postgrest()
        try:
            return response.json()
        except ValueError:
            return _not_postgrest()


def _not_postgrest() -> RequestFailure:
    return RequestFailure(
        RequestFailureKind.MISCONFIGURED, "not PostgREST", "the response is not PostgREST's"
    )


def _list(columns: Iterable[str]) -> str:
    """Write columns for a query, quoted where a name has characters that PostgREST interprets."""
    return ",".join(
        name
        if name.replace("_", "a").isalnum()
        else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for name in columns
    )


def _match_no_row(target: Target) -> Mapping[str, Any]:
    return {target.key_columns[0]: ["is.null", "not.is.null"]}


def _make_value(field: str, user_id: str, number: int) -> str:
    """Make a value that any of the usual types accepts; different in the two rows."""
    match field:
        case "user_id" | "created_by":
            return user_id
        case "id" | "trip_id":
            return f"00000000-0000-0000-0000-00000000000{number}"
        case "role":
            return "OWNER" if number == 1 else "MEMBER"
        case "status":
            return "ACTIVE"
        case _:
            return f"relay-doctor-{number}"
