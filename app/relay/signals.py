"""The signals of the replicas that share a store."""

from app.relay.dispatch import Dispatcher
from app.relay.leadership import Leadership
from app.relay.outcome_notifier import OutcomeNotifier
from app.relay.replay import Replayer
from app.store import notifications


def handle_signal(
    dispatcher: Dispatcher,
    replayer: Replayer,
    leadership: Leadership,
    notifier: OutcomeNotifier,
    payload: str,
) -> None:
    """Wake the part of this relay that another one has work for."""
    match payload:
        case notifications.EVENT:
            dispatcher.wake()
        case notifications.REPLAY:
            replayer.wake()
        case notifications.LEASE:
            leadership.poll_now()
        case notifications.SETTLED:
            notifier.publish()
        case _:
            pass  # The listener's own.
