"""Looking up one replay, and checking that it is the one that was requested."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from app.api.filters import Entity, InstantText, Types
from app.cli.client.api_models import ReplayAnswer, ReplayMatch
from app.cli.client.delivery import deliver
from app.cli.client.relay_client import CHECK_PROXIES, Document, RelayClient
from app.cli.errors import Unconfirmed
from app.domain.instants import to_datetime

PATIENCE_SECONDS: Final = 60.0  # longer than a restart of the relay


def get_replay(relay: RelayClient, replay_id: str) -> Document:
    """Get a replay."""
    # The relay writes its ids in lower case.
    return relay.get_named("/replay", "replay_id", replay_id.lower())


def confirm_replay(
    relay: RelayClient,
    started: ReplayMatch,
    body: Document,
    *,
    report_wait: Callable[[str, float], None],
) -> str:
    """Return the id of the replay that was started, if it is the one requested.

    Raises:
        Unconfirmed: it is another one; the one requested may have been started or not.
        CommandFailed: the relay does not respond, or has no such replay.
    """
    replay_id = started.replay_id
    if replay_id is not None:
        document = deliver(
            partial(get_replay, relay, replay_id),
            patience_seconds=PATIENCE_SECONDS,
            report_wait=report_wait,
        )
        if _is_same(body, relay.read(document, ReplayAnswer).filter):
            return replay_id
    raise Unconfirmed(
        f"the response names replay {replay_id}, which is not the one requested. {CHECK_PROXIES}."
        " Whether yours was started: relay replay --list"
    )


# The relay writes times as date-times, which begin with the year 1.
_Time = Annotated[InstantText, AfterValidator(to_datetime)]


class _Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_ids: list[str] | None = None
    since: _Time | None = None
    until: _Time | None = None
    types: Types | None = None
    entity: Entity | None = None
    status: str | None = None


def _is_same(body: Document, filter_: Document) -> bool:
    """Tell whether a replay has the filter of a request, which the relay writes in its own form."""
    requested = {name: value for name, value in body.items() if name != "all"}
    try:
        return _Filter.model_validate(requested) == _Filter.model_validate(filter_)
    except ValidationError:
        return False
