"""The relay's client of the functions, on any server."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx

from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.keys import read_key
from tests.contract.wire.conftest import Server
from tests.contract.wire.driver import Call


@asynccontextmanager
async def open_relay_client(server: Server) -> AsyncIterator[SupabaseClient]:
    """Open the client that the relay has; where there is no HTTP, with HTTP's part played here."""
    project = server.project
    url, headers, transport = "http://postgresql", {}, None
    if project is None:
        transport = httpx.MockTransport(partial(_respond, server.call))
    else:
        url, headers = project.url.rstrip("/"), read_key(project.secret_key)[1]
    async with open_http_client(url, headers, timeout_seconds=30, transport=transport) as http:
        yield SupabaseClient(http, clock=time.time)


def _respond(call: Call, request: httpx.Request) -> httpx.Response:
    answer = call(request.url.path.rpartition("/")[2], json.loads(request.content)["request"])
    if answer.code is not None:
        return httpx.Response(400, json={"code": answer.code, "message": ""})
    return httpx.Response(200, json=answer.body)
