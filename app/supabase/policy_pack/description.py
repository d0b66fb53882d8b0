"""The description of a project's tables that the policy pack is generated for, from a TOML file."""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.domain.errors import ConfigurationInvalid
from app.supabase.policy_pack.tables import (
    ChatMessages,
    ChatReactions,
    ChatReadReceipts,
    Locations,
    Memberships,
    Trips,
    TripTable,
    UserPresence,
    Users,
)


class PackTables(BaseModel):
    """Every table that a pack is generated for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: Users = Field(default_factory=Users)
    trips: Trips = Field(default_factory=Trips)
    memberships: Memberships = Field(default_factory=Memberships)
    chat_messages: ChatMessages | None = None
    chat_reactions: ChatReactions | None = None
    chat_read_receipts: ChatReadReceipts | None = None
    user_presence: UserPresence | None = None
    locations: Locations | None = None
    trip_tables: tuple[TripTable, ...] = ()

    @model_validator(mode="after")
    def _check_tables(self) -> Self:
        for section, table in (
            ("chat_reactions", self.chat_reactions),
            ("chat_read_receipts", self.chat_read_receipts),
        ):
            if table is not None and self.chat_messages is None:
                raise ValueError(f"{section} needs the section chat_messages")
        names = [table.name for table in (self.users, self.trips, self.memberships, *self.rows)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{repeated[0]} is described twice")
        events = [table.event for table in self.rows]
        if repeated := sorted({event for event in events if events.count(event) > 1}):
            raise ValueError(f"two tables have the event {repeated[0]}")
        return self

    @property
    def rows(self) -> Sequence[TripTable]:
        """The tables whose rows follow a trip."""
        known = (
            self.chat_messages,
            self.chat_reactions,
            self.chat_read_receipts,
            self.user_presence,
            self.locations,
        )
        return (*(table for table in known if table is not None), *self.trip_tables)


def read_tables(path: Path) -> PackTables:
    """Read a description.

    Raises:
        ConfigurationInvalid: one sentence for each problem, with its section and key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(f"{path} is not TOML: {error}.") from error
    try:
        return PackTables.model_validate(document)
    except ValidationError as error:
        raise ConfigurationInvalid(*_describe(path, error)) from error


def _describe(path: Path, error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"]))
        yield f"{path}: {place + ': ' if place else ''}{_say(problem)}."


def _say(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "is unknown"
    return str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
