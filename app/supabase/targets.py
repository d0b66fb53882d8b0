"""Where each kind of entity lives in Supabase."""

from dataclasses import dataclass
from typing import Final

from app.domain.entities import Kind


@dataclass(frozen=True, slots=True)
class Target:
    """One table.

    Attributes:
        table: its name.
        columns: all that the relay writes, in the order of the rows.
        key_columns: what an upsert conflicts on.
    """

    table: str
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]


TARGETS: Final = {
    Kind.USER: Target("users", ("id", "email", "username"), ("id",)),
    Kind.TRIP: Target("trips", ("id", "name", "created_by"), ("id",)),
    Kind.MEMBERSHIP: Target(
        "trip_memberships", ("trip_id", "user_id", "role", "status"), ("trip_id", "user_id")
    ),
}
