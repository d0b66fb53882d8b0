"""No body of one request becomes another request, behind any proxy."""

import itertools
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.e2e.conftest import RelayProcess
from tests.proxies.conftest import read_stored_ids
from tests.proxies.programs import Proxy
from tests.proxies.wire import Answer, Client, Event, make_event, write_request

SENDERS: Final = 2

# Bodies that become requests if the relay parses them. Empty lines before them are ignored; this
# many do not reach the relay in one piece with the head.
PAYLOADS: Final = (
    b"GET /health/live HTTP/1.1\r\nX-Pad: ",
    b"\r\n" * 25_000 + b"GET /health/live HTTP/1.1\r\nX-Pad: ",
    b"GET /health/live HTTP/1.1\r\nHost: relay\r\n\r\n",
    b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-Length: 400\r\n\r\n",
)
# Targets with the response status of an unsigned POST.
TARGETS: Final = {"/webhooks": 401, "/nothing": 404}
HEALTH: Final = write_request("/health/ready", {}, method="GET")


@dataclass(frozen=True, slots=True)
class Attack:
    """An unsigned request with a request for its body.

    Attributes:
        upgrade: what it asks to become.
        is_chunked: how its body is sent.
        target: that it is sent to.
        payload: its body.
        is_paused: whether the body comes only after the head has been answered, or ignored.
    """

    upgrade: str
    is_chunked: bool
    target: str
    payload: bytes
    is_paused: bool

    def launch(self, proxy: Proxy) -> list[int]:
        """Send it, and then what anybody may ask on the same connection.

        Returns the response statuses: fewer than two if the connection was closed instead.
        """
        chunk_bytes = len(self.payload) // 2 if self.is_chunked else None
        headers = {
            "Connection": "upgrade",
            "Upgrade": self.upgrade,
            "Content-Type": "application/json",
        }
        request = write_request(self.target, headers, self.payload, chunk_bytes=chunk_bytes)
        head_end = request.index(b"\r\n\r\n") + 4
        with Client(proxy.connect) as attacker, suppress(ConnectionError):
            if self.is_paused:
                attacker.send(request[:head_end])
                with Client(proxy.connect) as other:
                    # Answered after the relay has seen what the proxy forwards of the head.
                    other.ask(HEALTH, method="GET")
                attacker.send(request[head_end:])
            else:
                attacker.send(request)
            attacker.read()
            attacker.ask(HEALTH, method="GET")
        return attacker.statuses


def list_attacks() -> list[Attack]:
    """Give every combination, in an order of no meaning."""
    variants = itertools.product(
        ("h2c", "websocket", "foo"), (False, True), TARGETS, PAYLOADS, (False, True)
    )
    attacks = [Attack(*variant) for variant in variants]
    random.Random(1).shuffle(attacks)  # noqa: S311 - an order, not a secret
    return attacks


def send_until(
    ended: threading.Event, proxy: Proxy, secret: str
) -> list[tuple[Event, Answer | None]]:
    """Send signed events over one connection, one after another."""
    with Client(proxy.connect) as client:
        return [send_event(client, secret) for _ in iter(ended.is_set, True)]


def send_event(client: Client, secret: str) -> tuple[Event, Answer | None]:
    """Send a signed event; return no response if the connection was closed instead."""
    event = make_event(secret)
    try:
        return event, client.post(event)
    except ConnectionError:
        client.close()
        return event, None


def test_signed_event_never_receives_the_response_of_another_request(
    relay: RelayProcess, proxy: Proxy
) -> None:
    """Attacks and signed events share the proxy's connections to the relay.

    An event that follows an attack at once is likely to use the attack's connection.
    """
    ended = threading.Event()
    sent = []
    refusals = []
    with ThreadPoolExecutor(SENDERS) as pool, Client(proxy.connect) as client:
        senders = [pool.submit(send_until, ended, proxy, relay.secret) for _ in range(SENDERS)]
        try:
            for attack in list_attacks():
                refusals.append((attack, attack.launch(proxy)))
                sent.append(send_event(client, relay.secret))
        finally:
            ended.set()
        sent += [pair for sender in senders for pair in sender.result()]
    assert_all_are_accepted(relay, sent)
    wrong = [pair for pair in refusals if pair[1] != [TARGETS[pair[0].target], 200]]
    assert wrong == []


def assert_all_are_accepted(relay: RelayProcess, sent: list[tuple[Event, Answer | None]]) -> None:
    """Check that each response names the sender's own event, and that it is stored."""
    stored = read_stored_ids(relay)
    answers = Counter("none" if answer is None else f"{answer.status}" for _, answer in sent)
    foreign = [
        (event.event_id, answer.body)
        for event, answer in sent
        if answer is not None
        and (
            answer.status != 202
            or answer.document != {"event_id": event.event_id, "status": "accepted"}
        )
    ]
    lost = [event.event_id for event, _ in sent if event.event_id not in stored]
    assert (len(lost), len(foreign)) == (0, 0), f"of {len(sent)}: {answers}, {foreign[:2]}"
    assert answers == {"202": len(sent)}
