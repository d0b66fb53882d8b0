"""The services that endpoints use."""

from collections.abc import Callable
from dataclasses import dataclass

from app.api.concurrency import ConcurrencyLimiter
from app.api.webhook_log import WebhookLog
from app.auth.authentication import Authenticator
from app.doctor.access_reader import AccessReader
from app.domain.event_reader import EventReader
from app.domain.failpoints import FailpointHook
from app.relay.health import HealthReporter
from app.relay.leader_reader import LeaderReader
from app.relay.measurements import Measurements
from app.relay.receive import Receiver
from app.relay.reconcile import Reconciler
from app.relay.replay import Replayer
from app.relay.status import StatusReporter
from app.relay.store_size import StoreSizeReader
from app.store.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """One relay's services, as `app.state.services`.

    Attributes:
        clock: Unix seconds.
        in_flight: slots of authenticated webhooks until their commit.
        batches_in_flight: additional slots of batches.
        waits: slots of `Prefer: wait`; a request without one gets its response at once.
        begin_stop: ends waits and dispatching; may be called twice. The server calls it before it
            waits for open requests.
    """

    clock: Callable[[], float]
    authenticator: Authenticator
    reader: EventReader
    receiver: Receiver
    replayer: Replayer
    reconciler: Reconciler
    access: AccessReader
    health: HealthReporter
    leader: LeaderReader
    status: StatusReporter
    store: Store
    store_size: StoreSizeReader
    in_flight: ConcurrencyLimiter
    batches_in_flight: ConcurrencyLimiter
    waits: ConcurrencyLimiter
    hit: FailpointHook
    measurements: Measurements
    webhook_log: WebhookLog
    begin_stop: Callable[[], object]
