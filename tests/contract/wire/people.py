"""Rows of the migrations' own tables, which every server has."""

from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.contract.wire.driver import SECRET, Call, Row, Wire, delete

KEYS: Final = {"users": ("id",), "trips": ("id",), "trip_memberships": ("trip_id", "user_id")}


class People:
    """Users and trips with fresh ids.

    Args:
        call: as service_role.
        source: reads tables: PostgREST as service_role, or a database's URL.
    """

    def __init__(self, call: Call, source: httpx.Client | str) -> None:
        self._call = call
        self._source = source
        self._user_ids: list[str] = []
        self._trip_ids: list[str] = []

    def make_user(self, **columns: Any) -> Row:
        self._user_ids.append(str(uuid4()))
        user_id = self._user_ids[-1]
        return {"id": user_id, "email": f"{SECRET}-{user_id}", "username": SECRET, **columns}

    def make_users(self, number: int) -> list[Row]:
        return sorted((self.make_user() for _ in range(number)), key=lambda row: str(row["id"]))

    def make_trip(self, **columns: Any) -> Row:
        self._trip_ids.append(str(uuid4()))
        return {
            "id": self._trip_ids[-1],
            "name": SECRET,
            "created_by": str(UUID(int=0)),
            **columns,
        }

    def make_membership(self, trip: Row, user: Row, **columns: Any) -> Row:
        key = {"trip_id": trip["id"], "user_id": user["id"]}
        return {**key, "role": "MEMBER", "status": "ACTIVE", **columns}

    def read(self, table: str) -> list[Row]:
        """Read what stands of the rows that were made, in the order of their keys."""
        column, ids = {
            "users": ("id", self._user_ids),
            "trips": ("id", self._trip_ids),
            "trip_memberships": ("trip_id", self._trip_ids),
        }[table]
        rows: list[Row] = []
        for start in range(0, len(ids), 100):
            rows += self._read(table, column, ids[start : start + 100])
        return sorted(rows, key=lambda row: tuple(row[name] for name in KEYS[table]))

    def _read(self, table: str, column: str, ids: list[str]) -> list[Row]:
        if isinstance(self._source, httpx.Client):
            response = self._source.get(table, params={column: f"in.({','.join(ids)})"})
            assert response.status_code == httpx.codes.OK, response.text
            found: list[Row] = response.json()
            return found
        with psycopg.connect(self._source, row_factory=dict_row) as connection:
            statement = sql.SQL("select * from {} where {} = any (%s::uuid[])").format(
                sql.Identifier("public", table), sql.Identifier(column)
            )
            rows = connection.execute(statement, [ids]).fetchall()
        return [{n: str(v) if isinstance(v, UUID) else v for n, v in row.items()} for row in rows]

    def clean_up(self) -> None:
        wire = Wire(self._call)
        wire.claim()
        answer = wire.apply(
            delete("public.trips", *({"id": each} for each in self._trip_ids)),
            delete("public.users", *({"id": each} for each in self._user_ids)),
        )
        assert (answer.failures, answer.not_tried) == ([], [])
