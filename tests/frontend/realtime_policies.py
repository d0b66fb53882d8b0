"""The questions that Realtime asks the policies of realtime.messages.

As in its published source (`Realtime.Tenants.Authorization`): in a transaction that is rolled back,
it becomes the caller with the topic set. May they read? It looks for a row that it wrote before.
May they write? It tries to. The policies are never asked about a message that is delivered.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import psycopg
from psycopg.errors import InsufficientPrivilege

Question = Literal["read", "write"]

BROADCAST: Final = "broadcast"
PRESENCE: Final = "presence"
_INSERT: Final = "insert into realtime.messages (id, topic, extension) values (%s, %s, %s)"


@dataclass(slots=True)
class RealtimePolicies:
    """The policies of a database."""

    database_url: str
    _asked: list[tuple[Question, str]] = field(default_factory=list)

    def list_questions(self, topic: str) -> list[Question]:
        """Return what was asked about a topic so far."""
        return [question for question, about in self._asked if about == topic]

    def ask_read(
        self, topic: str, claims: Mapping[str, Any], extensions: Sequence[str]
    ) -> dict[str, bool]:
        """Return which extensions' messages the caller may read.

        Raises:
            psycopg.Error: a policy raised an error.
        """
        self._asked.append(("read", topic))
        rows = {extension: uuid.uuid4() for extension in extensions}
        with self._rolled_back() as connection:
            for extension, row_id in rows.items():
                connection.execute(_INSERT, (row_id, topic, extension))
            _become_caller(connection, topic, claims)
            found = connection.execute(
                "select id from realtime.messages where id = any(%s)", (list(rows.values()),)
            ).fetchall()
        return {extension: (row_id,) in found for extension, row_id in rows.items()}

    def ask_write(
        self, topic: str, claims: Mapping[str, Any], extensions: Sequence[str]
    ) -> dict[str, bool]:
        """Return which extensions' messages the caller may write.

        Raises:
            psycopg.Error: a policy raised an error.
        """
        self._asked.append(("write", topic))
        allowed = {}
        with self._rolled_back() as connection:
            _become_caller(connection, topic, claims)
            for extension in extensions:
                try:
                    with connection.transaction():
                        connection.execute(_INSERT, (uuid.uuid4(), topic, extension))
                except InsufficientPrivilege:
                    allowed[extension] = False
                else:
                    allowed[extension] = True
        return allowed

    @contextmanager
    def _rolled_back(self) -> Iterator[psycopg.Connection]:
        with (
            psycopg.connect(self.database_url) as connection,
            connection.transaction(force_rollback=True),
        ):
            yield connection


def _become_caller(connection: psycopg.Connection, topic: str, claims: Mapping[str, Any]) -> None:
    settings = {
        "role": claims["role"],
        "realtime.topic": topic,
        "request.jwt.claims": json.dumps(claims),
        "request.jwt.claim.sub": claims.get("sub", ""),
        "request.jwt.claim.role": claims["role"],
        "request.headers": "{}",
    }
    for name, value in settings.items():
        connection.execute("select set_config(%s, %s, true)", (name, value))
