"""Check that a signed-out user cannot open a public Realtime channel, by trying to.

Realtime asks no policy about public channels. Whether it allows them is a setting of the project
that no SQL shows ("Allow public access", `private_only` in github.com/supabase/realtime), and that
Realtime checks first, with the error PrivateOnly. This joins a channel of a name that nobody uses,
by long polling, for which a client of HTTP is enough:
https://hexdocs.pm/phoenix/Phoenix.Socket.html
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

import httpx

from app.doctor.catalog import Catalog
from app.doctor.findings import Finding, command, ok, problem, setting, skipped
from app.doctor.project import Project
from app.doctor.realtime import MESSAGES

_CHECK: Final = "public-channels"
_WHY: Final = (
    "No policy applies to a public channel: anyone with the app's key hears and sends on a topic"
    " that a member opened without config: { private: true }."
)
_SWITCH: Final = setting("Supabase dashboard, Realtime, Settings: switch off Allow public access")
_PRIVATE_ONLY: Final = "PrivateOnly"


async def check_public_channels(project: Project, catalog: Catalog | None) -> Finding:
    """Try to join a public channel as a signed-out user, unless the catalog shows no Realtime."""
    if catalog is not None and not any(t.full_name == MESSAGES for t in catalog.tables):
        return ok(_CHECK, "The project has no Realtime, and so no public channels.")
    key = (project.app_headers or {}).get("apikey")
    if key is None:
        return skipped(
            _CHECK,
            "Whether public Realtime channels are allowed was not checked.",
            "The check needs the app's key.",
            command("relay doctor --publishable-key sb_publishable_…"),
        )
    try:
        reply = await _join(project.http, key)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        # Only a person can check it: this is no failure of the doctor.
        return skipped(
            _CHECK,
            "Whether public Realtime channels are allowed could not be checked:"
            f" Realtime does not answer by long polling ({type(error).__name__}).",
            _WHY,
            _SWITCH,
        )
    if _PRIVATE_ONLY in str(reply.get("response")):
        return ok(_CHECK, "Realtime allows private channels only.")
    if reply.get("status") == "ok":
        what = "Realtime allows public channels: a signed-out user joined one."
        return problem(_CHECK, what, _WHY, _SWITCH)
    reason = dict(reply.get("response") or {}).get("reason", "no reason given")
    what = f"Whether public Realtime channels are allowed could not be checked: {reason}."
    return skipped(_CHECK, what, _WHY, _SWITCH)


async def _join(http: httpx.AsyncClient, key: str) -> Mapping[str, Any]:
    """Join a public channel, and return the payload of Realtime's reply."""
    url = f"{str(http.base_url).rstrip('/').removesuffix('/rest/v1')}/realtime/v1/longpoll"
    params = {"vsn": "1.0.0", "apikey": key}
    # A poll without a session opens one.
    session = (await http.get(url, params=params)).json()
    params["token"] = session["token"]
    message = {
        "topic": f"realtime:relay-doctor-{uuid.uuid4()}",
        "event": "phx_join",
        "payload": {"config": {"private": False, "postgres_changes": []}, "access_token": key},
        "ref": "1",
    }
    await http.post(
        url,
        params=params,
        content=json.dumps(message),
        headers={"Content-Type": "application/json"},
    )
    messages = (await http.get(url, params=params)).json()["messages"]
    for text in messages:
        received = json.loads(text) if isinstance(text, str) else text
        if received["event"] == "phx_reply" and received["ref"] == "1":
            payload: Mapping[str, Any] = received["payload"]
            return payload
    raise ValueError("no reply to the join")
