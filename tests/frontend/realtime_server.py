"""A small Realtime: real WebSockets and policies, for the parts that access depends on.

It speaks to the real supabase-js and asks the real policies of a real PostgreSQL. It delivers the
rows of realtime.messages, and the clients' broadcasts and presence. It has no Postgres Changes and
no limits, and it proves nothing about the hosted service.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import psycopg
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from app.auth.tokens import mint_token
from tests.frontend.phoenix import VERSION, Message, decode, encode
from tests.frontend.realtime_channel import Channel, ReadRefused
from tests.frontend.realtime_policies import BROADCAST, PRESENCE, RealtimePolicies
from tests.frontend.realtime_tokens import TokenRefused, read_claims
from tests.frontend.realtime_topics import Join, Topics

_NOTIFICATIONS: Final = "realtime_messages"
# In the place of logical replication.
_ANNOUNCE: Final = f"""
    create or replace function realtime.announce() returns trigger language plpgsql as $$
    begin
      perform pg_notify('{_NOTIFICATIONS}', new.id::text);
      return null;
    end $$;
    create or replace trigger announce after insert on realtime.messages
      for each row execute function realtime.announce();
"""
_SERVICE_RESTART: Final = 1012


class RealtimeServer:
    """Serves clients until its block ends; see `run_realtime`.

    Attributes:
        policies: of the database, with what it was asked.
    """

    def __init__(self, database_url: str, jwt_secret: str) -> None:
        self.policies = RealtimePolicies(database_url)
        self._is_down = False
        self._has_public_channels = True
        self._secret = jwt_secret
        self._lock = threading.RLock()
        self._connections: set[ServerConnection] = set()
        self._topics = Topics()
        self._seconds_ahead = 0.0

    def close_connections(self) -> None:
        """Close every connection, as a deployment does. The clients connect again."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close(_SERVICE_RESTART)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Close every connection, and refuse new ones until the block ends."""
        self._is_down = True
        try:
            self.close_connections()
            yield
        finally:
            self._is_down = False

    @contextmanager
    def no_public_access(self) -> Iterator[None]:
        """Turn "Allow public access" off until the block ends, which closes every connection."""
        self._has_public_channels = False
        try:
            self.close_connections()
            yield
        finally:
            self._has_public_channels = True

    def stop_channels(self, topic: str, text: str) -> None:
        """Send a system error to all that have joined a topic, and close their channels."""
        with self._lock:
            for key, channel in self._topics.list_joins():
                if channel.topic == topic:
                    self._shut_down(key, text)

    def advance_clock(self, seconds: float) -> None:
        """Let time pass, and look at the tokens of all channels as Realtime does now and then."""
        with self._lock:
            self._seconds_ahead += seconds
            for key, channel in self._topics.list_joins():
                try:
                    self._verify(channel.token)
                except TokenRefused as refused:
                    self._shut_down(key, refused.text)

    def refuse_connections(self, connection: ServerConnection, request: Request) -> Response | None:
        """Check a request for a WebSocket."""
        if self._is_down:
            return connection.respond(503, "")
        query = parse_qs(urlsplit(request.path).query)
        if query.get("vsn") != [VERSION] or "apikey" not in query:
            return Response(401, "Unauthorized", Headers(), b"")
        return None

    def serve_client(self, connection: ServerConnection) -> None:
        """Answer a client's messages until it goes."""
        with self._lock:
            self._connections.add(connection)
        try:
            for frame in connection:
                with self._lock:
                    self._receive(connection, decode(frame))
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
                for key in [key for key, _ in self._topics.list_joins() if key[0] is connection]:
                    self._topics.remove(key)

    def deliver_rows(self, listener: psycopg.Connection, rows: psycopg.Connection) -> None:
        """Deliver the rows of realtime.messages in the order of their commits."""
        for notification in listener.notifies():
            if not notification.payload:
                return
            row = rows.execute(
                "select topic, event, payload, private, id from realtime.messages where id = %s",
                (notification.payload,),
            ).fetchone()
            if row is not None:
                topic, event, payload, is_private, row_id = row
                with self._lock:
                    self._topics.broadcast(
                        topic, is_private, event, payload, message_id=str(row_id)
                    )

    def _receive(self, connection: ServerConnection, message: Message) -> None:
        key = (connection, message.topic)
        channel = self._topics.get(key)
        if message.event == "phx_join":
            self._join(key, message)
        elif message.event in ("phx_leave", "heartbeat"):
            _reply(connection, message, "ok", {})
            if channel is not None and message.join_ref == channel.join_ref:
                self._topics.remove(key)
                channel.close()
        elif channel is None:
            _reply(connection, message, "error", {"reason": "unmatched topic"})
        elif message.join_ref == channel.join_ref:
            match message.event:
                case "access_token":
                    self._renew_token(key, channel, message.payload["access_token"])
                case "broadcast":
                    self._pass_on(connection, channel, message)
                case "presence":
                    self._share_presence(connection, channel, message)
                case _:
                    pass  # Realtime ignores it too

    def _join(self, key: Join, message: Message) -> None:
        connection = key[0]
        if (earlier := self._topics.get(key)) is not None:
            self._topics.remove(key)
            earlier.close()
        config = message.payload.get("config", {})
        if not (self._has_public_channels or config.get("private")):
            reason = "PrivateOnly: This project only allows private channels"
            _reply(connection, message, "error", {"reason": reason})
            return
        token = message.payload.get("access_token", "")
        if not token or token.startswith("sb_"):
            token = self._mint_anon_token()
        try:
            claims = self._verify(token)
            channel = Channel.from_join(message, partial(_send, connection), token, claims)
            channel.authorize(self.policies)
        except TokenRefused as refused:
            _reply(connection, message, "error", {"reason": f"{refused.code}: {refused.text}"})
            return
        except ReadRefused as refused:
            _reply(connection, message, "error", {"reason": f"Unauthorized: {refused}"})
            return
        self._topics.add(key, channel)
        _reply(connection, message, "ok", {"postgres_changes": []})
        if config.get("broadcast", {}).get("replication_ready"):
            channel.send_system("ok", "Replication connection established")
        if channel.has_presence and channel.can_hear(PRESENCE):
            channel.send("presence_state", self._topics.list_presence(channel))

    def _renew_token(self, key: Join, channel: Channel, token: str | None) -> None:
        if not token or token.startswith("sb_") or token == channel.token:
            return
        channel.token = token
        try:
            channel.claims = self._verify(token)
            channel.authorize(self.policies)
        except TokenRefused as refused:
            self._shut_down(key, refused.text)
        except ReadRefused as refused:
            self._shut_down(key, str(refused))

    def _pass_on(self, connection: ServerConnection, channel: Channel, message: Message) -> None:
        """Pass a client's broadcast on; one that is not allowed gets no reply."""
        if not channel.can_send(BROADCAST, self.policies):
            return
        event, payload = message.payload["event"], message.payload["payload"]
        exempt = None if channel.has_echo else channel
        self._topics.broadcast(channel.topic, channel.is_private, event, payload, exempt=exempt)
        if channel.has_acknowledgements:
            _reply(connection, message, "ok", {})

    def _share_presence(
        self, connection: ServerConnection, channel: Channel, message: Message
    ) -> None:
        if message.payload["event"] == "untrack":
            self._topics.set_presence(channel, None)
        elif channel.can_send(PRESENCE, self.policies):
            self._topics.set_presence(channel, message.payload["payload"])
        else:
            _reply(connection, message, "error", {})
            return
        _reply(connection, message, "ok", {})

    def _shut_down(self, key: Join, text: str) -> None:
        channel = self._topics.remove(key)
        channel.send_system("error", text)
        channel.close()

    def _verify(self, token: str) -> dict[str, Any]:
        return read_claims(token, self._secret, time.time() + self._seconds_ahead)

    def _mint_anon_token(self) -> str:
        """Give a client without a token the one that hosted Supabase makes of its key."""
        claims = {"role": "anon", "exp": int(time.time() + self._seconds_ahead) + 3600}
        return mint_token(claims, secret=self._secret)


def _reply(
    connection: ServerConnection, message: Message, status: str, response: dict[str, Any]
) -> None:
    payload = {"status": status, "response": response}
    _send(
        connection,
        encode(Message(message.topic, "phx_reply", payload, message.join_ref, message.ref)),
    )


def _send(connection: ServerConnection, frame: str | bytes) -> None:
    with suppress(ConnectionClosed):  # its own thread removes its channels
        connection.send(frame)


@contextmanager
def run_realtime(database_url: str, jwt_secret: str) -> Iterator[tuple[RealtimeServer, str]]:
    """Serve a database's Realtime until the block ends; yield it and its URL."""
    realtime = RealtimeServer(database_url, jwt_secret)
    with (
        psycopg.connect(database_url, autocommit=True) as listener,
        psycopg.connect(database_url, autocommit=True) as rows,
        serve(
            realtime.serve_client,
            "127.0.0.1",
            0,
            process_request=realtime.refuse_connections,
            ping_interval=None,  # the protocol has heartbeats; pings use the tests' random numbers
        ) as server,
    ):
        rows.execute(_ANNOUNCE)
        listener.execute(f"listen {_NOTIFICATIONS}")
        threads = [
            threading.Thread(target=server.serve_forever),
            threading.Thread(target=realtime.deliver_rows, args=(listener, rows)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield realtime, f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            with psycopg.connect(database_url, autocommit=True) as stopper:
                stopper.execute(f"notify {_NOTIFICATIONS}")
            realtime.close_connections()
            server.shutdown()
            for thread in threads:
                thread.join()
