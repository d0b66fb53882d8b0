"""PostgREST over a real PostgreSQL, as hosted Supabase runs it and the local one does not.

Covers the doctor's requests only. The SQL has the shape that PostgREST 12 to 14 run, so PostgreSQL
itself checks keys, privileges and policies, in its own order. A statement that must return one row
and does not is rolled back, as by PostgREST.
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from email.utils import formatdate
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from psycopg import sql

from app.demo.local_supabase import CHECKOUT, LITE
from app.supabase.migration_files import list_function_files, list_migrations
from tests.postgres import PostgresServer

SECRET_KEY: Final = "sb_secret_hosted"
PUBLISHABLE_KEY: Final = "sb_publishable_hosted"
JWT_SECRET: Final = "the secret of the hosted project's tokens"
URL: Final = "https://project.supabase.test"

PRIVATE_ONLY: Final = {
    "status": "error",
    "response": {"reason": "PrivateOnly: This project only allows private channels"},
}

_BASE: Final = (
    LITE / "hosted_defaults.sql",
    CHECKOUT / "tests" / "contract" / "hosted.sql",
    *list_function_files(),
)
_STATUS: Final = {"42501": 403, "42P01": 404, "23503": 409, "23505": 409}
_OPERATORS: Final = {"eq": "=", "neq": "<>"}


class HostedProject:
    """One project: its database, and PostgREST as an `httpx` transport.

    Attributes:
        db_url: of the database, as its owner.
        requests: every request that PostgREST received.
        ahead_seconds: how far PostgREST's clock is ahead.
        refuses_connections: whether requests fail.
        join_reply: Realtime's reply to the join of a public channel; None if it does not answer.
    """

    def __init__(self, db_url: str) -> None:
        self.db_url = db_url
        self.requests: list[httpx.Request] = []
        self.ahead_seconds = 0.0
        self.refuses_connections = False
        self.join_reply: dict[str, Any] | None = PRIVATE_ONLY
        self._connections = ExitStack()

    def close(self) -> None:
        """Close the connections to the database."""
        self._connections.close()

    @cached_property
    def _owner(self) -> psycopg.Connection[Any]:
        # The owner's name is relay, and the default search_path has the schema of that name.
        options = "-c search_path=public"
        connection = psycopg.connect(self.db_url, autocommit=True, options=options)
        return self._connections.enter_context(closing(connection))

    @cached_property
    def _authenticator(self) -> psycopg.Connection[Any]:
        return self._connections.enter_context(closing(psycopg.connect(self.db_url)))

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.respond)

    def run(self, script: str) -> list[tuple[Any, ...]]:
        """Run SQL as the owner of the database."""
        cursor = self._owner.execute(script)
        return cursor.fetchall() if cursor.description else []

    def digest(self) -> str:
        """Digest every row outside the system's schemas."""
        names = self.run(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema') order by 1"
        )
        rows = [(name, sorted(self.run(f"select t::text from {name} as t"))) for (name,) in names]  # noqa: S608
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def respond(self, request: httpx.Request) -> httpx.Response:
        if self.refuses_connections:
            raise httpx.ConnectError("refused")
        self.requests.append(request)
        is_poll = request.url.path == "/realtime/v1/longpoll"
        response = self._poll(request) if is_poll else self._route(request)
        response.headers["date"] = formatdate(time.time() + self.ahead_seconds, usegmt=True)
        return response

    def _route(self, request: httpx.Request) -> httpx.Response:
        role, claims = _authenticate(request)
        if role is None:
            return _error(401, None, "Invalid API key")
        for header in ("accept-profile", "content-profile"):
            if request.headers.get(header, "public") != "public":
                return _error(406, "PGRST106", "The schema must be one of the following: public")
        name = request.url.path.removeprefix("/rest/v1/")
        if not name:
            return self._describe() if role == "service_role" else _error(403, None, "no")
        connection = self._authenticator
        try:
            connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            rows = _run(connection, request, name)
        except psycopg.Error as error:
            connection.rollback()
            code = error.sqlstate or "XX000"
            if code == "42883":
                return _error(404, "PGRST202", f"Could not find the function public.{name}")
            status = 401 if (code, role) == ("42501", "anon") else _STATUS.get(code, 400)
            if code.startswith("PT"):
                status = int(code[2:])
            return _error(status, code, error.diag.message_primary or "")
        if "vnd.pgrst.object" in request.headers.get("accept", "") and len(rows) != 1:
            connection.rollback()
            return _error(406, "PGRST116", "Cannot coerce the result to a single JSON object")
        connection.commit()
        if name.startswith("rpc/"):
            return httpx.Response(200, json=rows[0])
        return httpx.Response(200, json=rows if request.method == "GET" else None)

    def _poll(self, request: httpx.Request) -> httpx.Response:
        """Answer as Phoenix does, which Realtime runs on: a session, an acceptance, messages."""
        if self.join_reply is None:
            return httpx.Response(404, text="404 page not found")
        if "token" not in request.url.params:
            return httpx.Response(200, json={"status": 410, "token": "session", "messages": []})
        if request.method == "POST":
            join = json.loads(request.content)
            assert (join["event"], join["payload"]["config"]["private"]) == ("phx_join", False)
            return httpx.Response(200, json={"status": 200})
        reply = {"event": "phx_reply", "ref": "1", "payload": self.join_reply}
        messages = [json.dumps({"topic": "realtime:x", **reply})]
        return httpx.Response(200, json={"status": 200, "token": "session", "messages": messages})

    def _describe(self) -> httpx.Response:
        columns = self.run(
            "select relname, attname, attnotnull, atthasdef or attidentity = 'd' from pg_attribute"
            " join pg_class on pg_class.oid = attrelid where relkind = 'r' and attnum > 0"
            " and relnamespace = 'public'::regnamespace and not attisdropped order by 1, attnum"
        )
        definitions: dict[str, Any] = {}
        for table, column, not_null, has_default in columns:
            definition = definitions.setdefault(table, {"required": [], "properties": {}})
            definition["properties"][column] = {"default": "x"} if has_default else {}
            if not_null:
                definition["required"].append(column)
        return httpx.Response(200, json={"swagger": "2.0", "definitions": definitions})


def _authenticate(request: httpx.Request) -> tuple[str | None, str]:
    apikey = request.headers.get("apikey")
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    if apikey == SECRET_KEY:
        return "service_role", '{"role": "service_role"}'
    if apikey != PUBLISHABLE_KEY:
        return None, ""
    if not bearer:
        return "anon", '{"role": "anon"}'
    part = bearer.split(".")[1]
    claims = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
    return json.loads(claims)["role"], claims


def _run(
    connection: psycopg.Connection[Any], request: httpx.Request, name: str
) -> list[dict[str, Any]]:
    params = request.url.params
    content: Any = json.loads(request.content) if request.content else None
    if name.startswith("rpc/"):
        call = sql.SQL("select {}({})").format(
            sql.Identifier("public", name.removeprefix("rpc/")),
            sql.SQL(", ").join(
                [
                    sql.SQL("{} => {}").format(sql.Identifier(argument), sql.Literal(value))
                    for argument, value in content.items()
                ]
            ),
        )
        return [row for (row,) in connection.execute(call).fetchall()]
    table = sql.Identifier("public", name)
    where = sql.SQL(" and ").join([sql.SQL("true"), *_read_filters(params)])
    columns = [sql.Identifier(c) for c in params.get("columns", "").split(",") if c]
    match request.method:
        case "GET":
            selected = sql.SQL(", ").join(map(sql.Identifier, params["select"].split(",")))
            statement = sql.SQL("select {} from {} where {} limit {}").format(
                selected, table, where, sql.Literal(int(params["limit"]))
            )
        case "POST":
            statement = sql.SQL(
                "insert into {table} ({columns}) select {columns}"
                " from json_populate_recordset(null::{table}, {rows}){conflict} returning 1"
            ).format(
                table=table,
                columns=sql.SQL(", ").join(columns),
                rows=sql.Literal(json.dumps(content)),
                conflict=_write_conflict(params.get("on_conflict"), columns),
            )
        case "PATCH":
            (column,) = content
            statement = sql.SQL("update {} set {} = null where {} returning 1").format(
                table, sql.Identifier(column), where
            )
        case _:
            statement = sql.SQL("delete from {} where {} returning 1").format(table, where)
    cursor = connection.execute(statement)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, map(str, row), strict=True)) for row in cursor.fetchall()]


def _write_conflict(target: str | None, columns: list[sql.Identifier]) -> sql.Composable:
    if target is None:
        return sql.SQL("")
    return sql.SQL(" on conflict ({}) do update set {}").format(
        sql.SQL(", ").join(map(sql.Identifier, target.split(","))),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(c) for c in columns),
    )


def _read_filters(params: httpx.QueryParams) -> Iterator[sql.Composable]:
    for column, text in params.multi_items():
        if column in ("select", "limit", "columns", "on_conflict"):
            continue
        operator, _, value = text.partition(".")
        if text in ("is.null", "not.is.null"):
            negated = "is not null" if text.startswith("not") else "is null"
            yield sql.SQL("{} " + negated).format(sql.Identifier(column))
        else:
            yield sql.SQL("{}::text " + _OPERATORS[operator] + " {}").format(
                sql.Identifier(column), sql.Literal(value)
            )


def _error(status: int, code: str | None, message: str) -> httpx.Response:
    document = {"code": code, "details": None, "hint": None, "message": message}
    return httpx.Response(status, json={k: v for k, v in document.items() if v or k != "code"})


class HostedServer:
    """Any number of projects in one PostgreSQL; the connections of the latest are open."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self._latest: HostedProject | None = None
        self._bare = self._make_template(_BASE)
        self._migrated = self._make_template(list_migrations(), self._bare)

    def close(self) -> None:
        if self._latest is not None:
            self._latest.close()

    def make_project(self, script: str | None = None) -> HostedProject:
        """Make a project with the tables of our migrations, or with those of a script.

        Either has the functions through which the relay writes.
        """
        self.close()
        if self._latest is not None:
            self._postgres.drop_database(self._latest.db_url)
        project = self._latest = self._copy(self._migrated if script is None else self._bare)
        if script is not None:
            project.run(script)
        return project

    def _make_template(
        self, scripts: Sequence[Path], template: HostedProject | None = None
    ) -> HostedProject:
        project = self._copy(template)
        for script in scripts:
            project.run(script.read_text())
        project.close()
        return project

    def _copy(self, template: HostedProject | None) -> HostedProject:
        name = None if template is None else template.db_url.rpartition("/")[2]
        return HostedProject(self._postgres.create_database(template=name))
