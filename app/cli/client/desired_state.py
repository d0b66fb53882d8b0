"""Reading the relay's desired state, page by page."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from pydantic import BaseModel

from app.api.entities import MAXIMUM_LIMIT
from app.api.filters import InstantText
from app.cli.client.delivery import deliver
from app.cli.client.relay_client import RelayClient
from app.domain.entities import EntityKey, Kind

_PATIENCE_SECONDS: Final = 60.0  # longer than a restart of the relay


class EntityAnswer(BaseModel):
    """One entity of the desired state."""

    key: EntityKey
    version_at: InstantText
    is_removed: bool
    digest: str | None


class _EntityPage(BaseModel):
    entities: list[EntityAnswer]
    next_cursor: str | None


def read_entities(
    relay: RelayClient,
    kind: Kind,
    *,
    user_id: str | None = None,
    report_wait: Callable[[str, float], None],
) -> Iterator[EntityAnswer]:
    """Read every entity of a kind, in the byte order of their keys.

    Args:
        relay: needs the scope events:read.
        kind: of the entities.
        user_id: only memberships of this user.
        report_wait: as of `deliver`.

    Raises:
        CommandFailed: the relay does not respond for longer than a restart takes.
    """
    parameters: dict[str, Any] = {"kind": kind.value, "limit": MAXIMUM_LIMIT}
    if user_id is not None:
        parameters["user_id"] = user_id
    while True:
        document = deliver(
            partial(relay.get, "/entities", parameters),
            patience_seconds=_PATIENCE_SECONDS,
            report_wait=report_wait,
        )
        page = relay.read(document, _EntityPage)
        yield from page.entities
        if page.next_cursor is None:
            return
        parameters["cursor"] = page.next_cursor
