"""The fake PostgREST on a real socket, for a relay in another process to write to."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.fake_postgrest import FakePostgrest


@contextmanager
def serve_postgrest(postgrest: FakePostgrest, pause: Callable[[], float]) -> Iterator[str]:
    """Serve it on a free port of loopback until the block ends, and give its URL.

    Args:
        postgrest: what answers; look at its tables while nobody writes.
        pause: gives the seconds that go by before a request takes effect, and again before it is
            answered: a kill must be able to fall into either.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        request = await _read_request(scope, receive)
        if request is None:
            return
        await asyncio.sleep(pause())
        answer = await postgrest.respond(request)
        await asyncio.sleep(pause())
        await send(
            {
                "type": "http.response.start",
                "status": answer.status_code,
                "headers": [(name.lower(), value) for name, value in answer.headers.raw],
            }
        )
        await send({"type": "http.response.body", "body": answer.content})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="supabase")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def _read_request(scope: Scope, receive: Receive) -> httpx.Request | None:
    """Read a whole request; None where its sender died in the middle of it."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    target = scope["raw_path"].decode() + "?" + scope["query_string"].decode()
    return httpx.Request(
        scope["method"],
        f"http://supabase{target.removesuffix('?')}",
        headers=scope["headers"],
        content=bytes(body),
    )
