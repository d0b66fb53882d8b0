"""Looking up one replay, and making sure that it is the one that was asked for."""

from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import quote

from app.cli.client.api_models import ReplayAnswer, ReplayMatch
from app.cli.client.delivery import deliver
from app.cli.client.relay_client import CHECK_THE_WAY, Document, RemoteRelay
from app.cli.errors import Unconfirmed
from app.domain.criteria import write_criteria

_PATIENCE_SECONDS: Final = 60.0  # a restart of the relay takes less


def get_replay(relay: RemoteRelay, replay_id: str) -> Document:
    """Ask where one replay stands.

    Raises:
        CommandFailed: there is none of that id.
    """
    path = f"/replay/{quote(replay_id, safe='').replace('.', '%2E')}"
    # The relay writes its ids in small letters.
    return relay.get_named(path, "replay_id", replay_id.lower())


def confirm_replay(
    relay: RemoteRelay,
    started: ReplayMatch,
    body: Document,
    *,
    report_wait: Callable[[str, float], None],
) -> str:
    """Give the id of the replay that was started, once it is sure that it is the one asked for.

    Raises:
        Unconfirmed: it is another one; this one may have been started or not.
        CommandFailed: the relay does not answer, or knows of no such replay.
    """
    replay_id = started.replay_id
    if replay_id is not None:
        document = deliver(
            partial(get_replay, relay, replay_id),
            patience_seconds=_PATIENCE_SECONDS,
            report_wait=report_wait,
        )
        if _is_asked(body, relay.read(document, ReplayAnswer).filter):
            return replay_id
    raise Unconfirmed(
        f"the answer names replay {replay_id}, which is not what was asked for. {CHECK_THE_WAY}."
        " Whether this one was started: relay replay --list"
    )


def _is_asked(body: Document, filter_: Document) -> bool:
    """Tell whether a replay's filter is what the relay writes of what was asked for."""
    from app.api.replay import ReplayBody, write_filter  # FastAPI comes with it

    criteria = ReplayBody.model_validate(body).criteria
    return write_filter(write_criteria(criteria)) == filter_
