"""The tables that the policy pack knows: their columns, keys, events and visibility."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from app.supabase.identifiers import name_table, quote

Names = Sequence[str]
Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[^\x00]+$")]
TableName = Annotated[str, StringConstraints(pattern=r"^[^.\x00]{1,63}(\.[^.\x00]{1,63})?$")]
_OWN_EVENTS: Final = ("access", "member", "refetch", "signal")


class Table(BaseModel):
    """A table of the project.

    Attributes:
        table: with or without its schema, by default public.
        columns: the project's names of our columns, where they differ. An optional column counts
            only if it is named here.
        keep_policies: leave its policies and privileges as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: ClassVar[Names] = ()
    optional: ClassVar[Names] = ()

    table: TableName
    columns: Mapping[str, Name] = {}
    keep_policies: bool = False

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        known = (*self.required, *self.optional)
        if unknown := sorted(set(self.columns) - set(known)):
            raise ValueError(
                f"columns: unknown {', '.join(unknown)}; it may have {', '.join(known)}"
            )
        return self

    @property
    def schema_name(self) -> str:
        """The schema, as it is."""
        schema, _, _ = self.table.rpartition(".")
        return schema or "public"

    @property
    def table_name(self) -> str:
        """The name without the schema, as it is."""
        return self.table.rpartition(".")[2]

    @property
    def quoted_table_name(self) -> str:
        """The name without the schema, for a column of the row that a policy is about."""
        return quote(self.table_name)

    @property
    def name(self) -> str:
        """The qualified name, quoted."""
        return name_table(self.schema_name, self.table_name)

    @cached_property
    def raw_columns(self) -> Mapping[str, str]:
        """The project's name of each of our columns that the table has."""
        return {name: name for name in self.required} | dict(self.columns)

    @cached_property
    def c(self) -> Mapping[str, str]:
        """The same, quoted: `table.c.trip_id` in a template."""
        return {name: quote(column) for name, column in self.raw_columns.items()}


class Users(Table):
    """The users that the relay writes."""

    required: ClassVar[Names] = ("id",)
    table: TableName = "users"


class Trips(Table):
    """The trips that the relay writes. With `deleted_at`, a trip deleted softly gives no access."""

    required: ClassVar[Names] = ("id",)
    optional: ClassVar[Names] = ("deleted_at",)
    table: TableName = "trips"


class Memberships(Table):
    """The memberships that the relay writes; `deleted_at` likewise."""

    required: ClassVar[Names] = ("trip_id", "user_id", "status")
    optional: ClassVar[Names] = ("deleted_at",)
    table: TableName = "trip_memberships"


class TripTable(Table):
    """A table whose rows follow a trip.

    Attributes:
        event: the noun of its events, as in `message.created`.
        broadcast: tell the members of a trip of its changes.
        client_insert: the columns that members set in rows of their own; none: they insert nothing.
        client_update: likewise.
        client_delete: whether members delete rows of their own.
    """

    required: ClassVar[Names] = ("id", "trip_id", "user_id")
    optional: ClassVar[Names] = ("deleted_at",)
    key: ClassVar[Names] = ("id",)
    indexed: ClassVar[Sequence[Names]] = (("trip_id",), ("user_id",))
    followed: ClassVar[Names] = ("trip_id",)

    event: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}$")]
    broadcast: bool = True
    client_insert: tuple[Name, ...] = ()
    client_update: tuple[Name, ...] = ()
    client_delete: bool = False

    @model_validator(mode="after")
    def _check_event(self) -> Self:
        if self.event in _OWN_EVENTS:
            raise ValueError(f"event: {self.event} is one of the relay's own")
        return self

    @property
    def function(self) -> str:
        """The trigger function that tells of its changes, quoted."""
        schema = "" if self.schema_name == "public" else f"{self.schema_name}_"
        return quote(f"broadcast_{schema}{self.table_name}"[:63])

    @property
    def ids(self) -> Sequence[str]:
        """The columns that are left of a row too large to send."""
        ours = ("id", "trip_id", "user_id", "message_id")
        return tuple(self.raw_columns[name] for name in ours if name in self.raw_columns)

    @property
    def identity(self) -> Sequence[str]:
        """The columns by which a row stays the same row of the same trip, quoted."""
        return tuple(self.c[name] for name in dict.fromkeys((*self.key, *self._trip)))

    @property
    def _trip(self) -> Sequence[str]:
        return ("trip_id",) if "trip_id" in self.c else ("message_id",)

    def visible(self, prefix: str) -> Names:
        """Write the conditions on a row that members may read, apart from their membership."""
        return (f"{prefix}{self.c['deleted_at']} is null",) if "deleted_at" in self.c else ()

    @property
    def own_or_visible(self) -> Names:
        """Write the same conditions for the policy."""
        return self.visible("")


class ChatMessages(TripTable):
    """The messages of a trip's chat."""

    required: ClassVar[Names] = ("id", "trip_id", "user_id", "created_at")
    indexed: ClassVar[Sequence[Names]] = (("trip_id", "created_at"), ("user_id",))
    event: str = "message"


class ChatReactions(TripTable):
    """Reactions to messages. Without `trip_id`, a reaction has the trip of its message."""

    required: ClassVar[Names] = ("id", "message_id", "user_id")
    optional: ClassVar[Names] = ("trip_id",)
    indexed: ClassVar[Sequence[Names]] = (("message_id",), ("trip_id",), ("user_id",))
    followed: ClassVar[Names] = ("trip_id", "message_id")
    event: str = "reaction"


class ChatReadReceipts(TripTable):
    """The last message that each member has read."""

    required: ClassVar[Names] = ("trip_id", "user_id", "message_id")
    optional: ClassVar[Names] = ("id",)
    key: ClassVar[Names] = ("trip_id", "user_id")
    indexed: ClassVar[Sequence[Names]] = (("trip_id",), ("user_id",), ("message_id",))
    followed: ClassVar[Names] = ("trip_id", "user_id")
    event: str = "receipt"


class UserPresence(TripTable):
    """The presence of each member in a trip."""

    required: ClassVar[Names] = ("trip_id", "user_id")
    optional: ClassVar[Names] = ("id", "typing_in_trip_id")
    key: ClassVar[Names] = ("trip_id", "user_id")
    indexed: ClassVar[Sequence[Names]] = (("trip_id",), ("user_id",), ("typing_in_trip_id",))
    followed: ClassVar[Names] = ("trip_id", "user_id")
    event: str = "presence"


class Locations(TripTable):
    """Where members are; others read it only while it is shared."""

    required: ClassVar[Names] = (
        "id",
        "trip_id",
        "user_id",
        "is_sharing_enabled",
        "sharing_expires_at",
    )
    followed: ClassVar[Names] = ("trip_id", "user_id")
    event: str = "location"

    def visible(self, prefix: str) -> Names:
        """Write the conditions on a location that is shared."""
        enabled = f"{prefix}{self.c['is_sharing_enabled']}"
        expires_at = f"{prefix}{self.c['sharing_expires_at']}"
        shared = (enabled, f"({expires_at} is null or {expires_at} > now())")
        return (*shared, *super().visible(prefix))

    @property
    def own_or_visible(self) -> Names:
        """Write the conditions on a location that is shared, or the caller's."""
        own = f"{self.c['user_id']} = (select trip_access.caller_id())"
        enabled, unexpired, *standing = self.visible("")
        return (*standing, f"({own} or {enabled} and {unexpired})")
