"""The queries that read the backend's database."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid

_SECTIONS: Final = {"users": Kind.USER, "trips": Kind.TRIP, "memberships": Kind.MEMBERSHIP}
_HEADER: Final = re.compile(r"^--[ \t]*(users|trips|memberships)[ \t]*$", re.MULTILINE)
_EXPLANATION: Final = (
    "it must hold three queries, each below a line that names its rows: `-- users`, `-- trips` and"
    " `-- memberships`"
)

BUILT_IN_QUERIES: Final[Mapping[Kind, str]] = {
    Kind.USER: "select id, email, username from users",
    # The creator's account may be gone; access does not depend on this column.
    Kind.TRIP: """
        select id, name,
               coalesce(created_by, '00000000-0000-0000-0000-000000000000') as created_by
        from trips
        where deleted_at is null""",
    Kind.MEMBERSHIP: """
        select m.trip_id, m.user_id, m.role, m.status
        from trip_memberships m
        join trips t on t.id = m.trip_id
        where m.deleted_at is null and t.deleted_at is null""",
}
"""For the schema of docs/guides/integrate.md. The columns have the names of the event's fields."""


def read_queries(path: Path) -> dict[Kind, str]:
    """Read the three queries of a file.

    Raises:
        ConfigurationInvalid: it cannot be read, or does not hold them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"{path} is not UTF-8") from error
    _, *parts = _HEADER.split(text)
    names, bodies = parts[::2], parts[1::2]
    queries = {
        _SECTIONS[name]: body.strip().removesuffix(";")
        for name, body in zip(names, bodies, strict=True)
    }
    if sorted(names) != sorted(_SECTIONS) or not all(queries.values()):
        raise ConfigurationInvalid(f"{path} cannot be used: {_EXPLANATION}")
    return queries
