"""Wires the packages together, and nothing else does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial

import httpx
from fastapi import FastAPI

from app.api.application import Application
from app.api.concurrency import MAXIMUM_BATCHES, ConcurrencyLimiter
from app.api.health import VERSION
from app.api.request_spans import RequestSpans
from app.api.routes import create_api
from app.api.services import Services
from app.api.webhook_log import WebhookLog
from app.auth.authentication import Authenticator
from app.auth.jwks import KeySet
from app.auth.signatures import SignatureVerifier
from app.auth.tokens import TokenVerifier
from app.console.routes import with_console
from app.doctor.access_reader import AccessReader
from app.doctor.probes import ProbeClient
from app.domain.clocks import Clocks
from app.domain.errors import ConfigurationInvalid
from app.domain.event_reader import EventReader
from app.domain.failpoints import FailpointHook, noop
from app.domain.traces import Tracer
from app.observability.start_line import log_start
from app.observability.trace_environment import close_tracer
from app.relay.account_closer import AccountCloser
from app.relay.background import start, stop_within
from app.relay.batch_traces import BatchTraces
from app.relay.dispatch import Dispatcher
from app.relay.health import HealthReporter
from app.relay.leader_reader import LeaderReader
from app.relay.leadership import Leadership, name_replica
from app.relay.measurements import Measurements
from app.relay.outcome_notifier import OutcomeNotifier
from app.relay.purge import Purger
from app.relay.receive import Receiver
from app.relay.reconcile import Reconciler
from app.relay.replay import Replayer
from app.relay.signals import handle_signal
from app.relay.status import StatusReporter
from app.relay.store_size import StoreSizeReader
from app.settings import Settings
from app.store import notifications
from app.store.store import Store
from app.store.store_url import describe_store, read_store_url
from app.supabase.auth_admin import AccountPolicy, AuthAdmin
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.keys import read_key

logger = logging.getLogger(__name__)

_LONG_TOLERANCE_SECONDS = 3600


def create_app(
    settings: Settings,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    hit: FailpointHook = noop,
    tracer: Tracer | None = None,
) -> Application:
    """Make one relay. It opens nothing before its lifespan begins.

    Args:
        transport: carries requests to Supabase and the key set; None for the network.
        clock: Unix seconds.
        monotonic: seconds of a clock that never steps.
        hit: called at each named failpoint.
        tracer: exports spans, and is closed with the relay; None without tracing.

    Raises:
        ConfigurationInvalid: settings are unusable. Names them all.
    """
    clocks = Clocks(clock, monotonic)
    key_set_client = httpx.AsyncClient(transport=transport)
    _check_credentials(settings, key_set_client)
    _warn_about_settings(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as resources:
            stop_began_at = cache(time.monotonic)
            if tracer is not None:
                seconds = settings.shutdown_seconds
                resources.push_async_callback(close_tracer, tracer, stop_began_at, seconds)
            closes_accounts = settings.auth_on_user_deleted is not AccountPolicy.KEEP
            measurements = Measurements(VERSION)
            store = await Store.open(
                settings.store_url, hit=hit, observe_commit=measurements.commit.observe
            )
            resources.push_async_callback(store.close)
            _, key_headers = read_key(settings.supabase_service_role_key.get_secret_value())
            open_client = partial(
                open_http_client,
                settings.supabase_url,
                key_headers,
                timeout_seconds=settings.supabase_timeout_seconds,
                transport=transport,
            )
            http = await resources.enter_async_context(open_client())
            # Its connections are its own: it never delays the dispatcher.
            auth_http = await resources.enter_async_context(open_client(service="auth"))
            await resources.enter_async_context(key_set_client)

            notifier = OutcomeNotifier()
            supabase = SupabaseClient(
                http, clock=clock, monotonic=monotonic, observe=measurements.observe_exchange
            )
            dispatcher = Dispatcher(
                store,
                supabase,
                notifier,
                clocks=clocks,
                targets=settings.targets,
                hit=hit,
                measurements=measurements,
                traces=None if tracer is None else BatchTraces(store, tracer),
                closes_accounts=closes_accounts,
            )
            leadership = _make_leadership(store, dispatcher)
            leader = LeaderReader(dispatcher, leadership)
            purger = Purger(
                store,
                clocks=clocks,
                retention_days=settings.retention_days,
                is_leader=leader.is_leader,
            )
            replayer = Replayer(
                store, clocks=clocks, wake_dispatcher=dispatcher.wake, is_leader=leader.is_leader
            )
            reconciler = Reconciler(
                store,
                dispatcher,
                supabase,
                targets=settings.targets,
                clocks=clocks,
                interval_seconds=settings.drift_check_seconds,
                is_leader=leader.is_leader,
            )
            receiver = Receiver(
                store,
                notifier,
                clocks=clocks,
                wake_dispatcher=dispatcher.wake,
                measurements=measurements,
            )

            # Closes in reverse order: the dispatcher ends before the lease is released.
            dispatching = await resources.enter_async_context(AsyncExitStack())
            if leadership is not None and store.replicas is not None:
                dispatching.push_async_callback(leadership.release)
                start(dispatching, "leadership", leadership.run())
                store.replicas.listen(
                    notifications.Pooler(settings.store_pooler),
                    partial(handle_signal, dispatcher, replayer, leadership, notifier),
                )
            start(resources, "purger", purger.run())
            start(resources, "replayer", replayer.run())
            task = asyncio.create_task(dispatcher.run(), name="dispatcher")
            dispatching.push_async_callback(
                stop_within, settings.shutdown_seconds, dispatcher.stop, task
            )
            start(dispatching, "reconciler", reconciler.run())
            if closes_accounts:
                auth = AuthAdmin(auth_http, settings.auth_on_user_deleted, clock=clock)
                closer = AccountCloser(store, auth, clocks=clocks, is_leader=leader.is_leader)
                start(dispatching, "account closer", closer.run())

            @cache
            def begin_stop() -> asyncio.Task[None]:
                stop_began_at()
                # While the server waits for open requests, so that both have SHUTDOWN_SECONDS.
                receiver.end_waits()
                return asyncio.create_task(dispatching.aclose(), name="stop")

            resources.push_async_callback(begin_stop)
            app.state.services = Services(
                clock=clock,
                authenticator=Authenticator(
                    settings.webhook_auth,
                    signatures=_make_signature_verifier(settings),
                    tokens=_make_token_verifier(settings, key_set_client, clock),
                    clock=clock,
                ),
                reader=EventReader(
                    roles=settings.membership_roles,
                    statuses=settings.membership_statuses,
                    extra_fields=settings.targets.extra,
                ),
                receiver=receiver,
                replayer=replayer,
                reconciler=reconciler,
                access=AccessReader(ProbeClient(http, {}), settings.targets),
                health=HealthReporter(
                    store, dispatcher, clocks, leadership, closes_accounts=closes_accounts
                ),
                leader=leader,
                status=StatusReporter(store, leader, clocks),
                store=store,
                store_size=StoreSizeReader(store),
                in_flight=ConcurrencyLimiter(settings.max_in_flight),
                batches_in_flight=ConcurrencyLimiter(MAXIMUM_BATCHES),
                waits=ConcurrencyLimiter(settings.max_in_flight),
                hit=hit,
                measurements=measurements,
                webhook_log=WebhookLog(settings.log_webhooks, clock=clock, tracer=tracer),
                begin_stop=begin_stop,
            )
            log_start(
                version=VERSION,
                store=describe_store(read_store_url(settings.store_url)),
                webhook_auth=settings.webhook_auth,
                supabase=httpx.URL(settings.supabase_url).host,
                replica=name_replica(),
            )
            yield

    app = with_console(create_api(lifespan))
    if tracer is not None:
        app.add_middleware(RequestSpans, tracer=tracer, clock=clock)
    return app


def _check_credentials(settings: Settings, key_set_client: httpx.AsyncClient) -> None:
    """Report everything that cannot be used, before anything is opened."""
    sentences: list[str] = []
    for check in (
        lambda: read_key(settings.supabase_service_role_key.get_secret_value()),
        lambda: _make_signature_verifier(settings),
        lambda: _make_token_verifier(settings, key_set_client, time.time),
        lambda: read_store_url(settings.store_url),
    ):
        try:
            check()
        except ConfigurationInvalid as error:
            sentences += error.sentences
    if sentences:
        raise ConfigurationInvalid(*sentences)


def _make_signature_verifier(settings: Settings) -> SignatureVerifier | None:
    if not settings.webhook_secrets:
        return None
    return SignatureVerifier(
        [secret.get_secret_value() for secret in settings.webhook_secrets],
        tolerance_seconds=settings.webhook_tolerance_seconds,
    )


def _make_token_verifier(
    settings: Settings, key_set_client: httpx.AsyncClient, clock: Callable[[], float]
) -> TokenVerifier | None:
    secret, url = settings.jwt_secret, settings.jwt_jwks_url
    if secret is None and url is None:
        return None
    return TokenVerifier(
        algorithms=settings.effective_jwt_algorithms,
        secret=None if secret is None else secret.get_secret_value(),
        key_set=None if url is None else KeySet(url, key_set_client, clock=time.monotonic),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        clock=clock,
    )


def _warn_about_settings(settings: Settings) -> None:
    if settings.jwt_secret is None and settings.jwt_jwks_url is None:
        logger.warning(
            "without JWT_SECRET or JWT_JWKS_URL, /console, /events and /replay respond with 403"
        )
    if settings.webhook_tolerance_seconds > _LONG_TOLERANCE_SECONDS:
        logger.warning(
            "WEBHOOK_TOLERANCE_SECONDS=%d: a captured request can be replayed for that long",
            settings.webhook_tolerance_seconds,
        )


def _make_leadership(store: Store, dispatcher: Dispatcher) -> Leadership | None:
    """Make the leadership of one relay among those that share the store, if it is shared."""
    if store.replicas is None:
        return None
    leadership = Leadership(
        store.replicas,
        holder=name_replica(),
        on_gain=dispatcher.wake,
        get_status=lambda: dispatcher.status,
    )
    dispatcher.require_leadership(leadership)
    return leadership
