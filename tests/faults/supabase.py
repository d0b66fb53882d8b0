"""A Supabase that can be made to fail: the fake at the wire, and the real one behind the proxy."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import httpx

from app.domain.entities import EntityKey, EntityRef, Kind
from tests.fake_postgrest import FakePostgrest
from tests.faults.harness import KEY_COLUMNS, TABLES, Rows
from tests.faults.proxy import Answer, FaultProxy, Hang, HoldBack, Reset, Twice
from tests.histories import World

LOST_CONNECTION = {
    "code": "PGRST000",
    "message": "Database connection error. Retrying the connection.",
    "details": None,
    "hint": None,
}
CLAIM = {"request": '{"protocol": 1}'}


class FaultySupabase(Protocol):
    """The faults of both. Each begins after `after` requests and lasts until healed."""

    def refuse(self, *, after: int) -> None:
        """Respond that the database is unavailable."""

    def lose_responses(self, *, after: int) -> None:
        """Execute requests and send no response."""

    def hang(self, *, after: int, lands: bool) -> None:
        """Send no response, whether or not the request lands."""

    def hold_back(self, *, after: int) -> None:
        """Hold requests back until they are delivered; callers lose their connection."""

    def deliver_twice(self, *, after: int) -> None:
        """Execute the next request twice and return the second response."""

    async def wait_for_hanging(self) -> None:
        """Wait until a request hangs."""

    def heal(self) -> None:
        """End the fault; hanging requests resume, held-back ones stay held back."""

    async def deliver(self) -> None:
        """Deliver the held-back requests, the latest first."""

    async def claim_fence(self) -> None:
        """Claim the fence, as another relay would."""

    async def read(self, *worlds: World) -> Rows:
        """Return the rows of these worlds."""


class FaultyFake:
    """The fake."""

    def __init__(self, postgrest: FakePostgrest) -> None:
        self._postgrest = postgrest
        self._held_back: list[httpx.Request] = []

    def refuse(self, *, after: int) -> None:
        self._postgrest.respond_with(503, LOST_CONNECTION, of=_beyond(after))

    def lose_responses(self, *, after: int) -> None:
        self._postgrest.lose_responses(of=_beyond(after))

    def hang(self, *, after: int, lands: bool) -> None:
        self._postgrest.hang(of=_beyond(after), lands=lands)

    def hold_back(self, *, after: int) -> None:
        is_held = _beyond(after)

        def hold(request: httpx.Request) -> httpx.Response | None:
            if not is_held(request):
                return None
            self._held_back.append(request)
            raise httpx.ReadError("the request is held back")

        self._postgrest.add_trouble(hold)

    def deliver_twice(self, *, after: int) -> None:
        is_beyond, is_over = _beyond(after), _beyond(1)
        self._postgrest.deliver_twice(of=lambda r: is_beyond(r) and not is_over(r))

    async def wait_for_hanging(self) -> None:
        await self._postgrest.wait_for_hanging()

    def heal(self) -> None:
        self._postgrest.heal()

    async def deliver(self) -> None:
        held_back, self._held_back = self._held_back, []
        for request in reversed(held_back):
            await self._postgrest.respond(request)

    async def claim_fence(self) -> None:
        await self._postgrest.respond(
            httpx.Request("POST", "http://supabase.test/rest/v1/rpc/relay_claim", json=CLAIM)
        )

    async def read(self, *worlds: World) -> Rows:
        # The requests of a finished history are not needed again.
        self._postgrest.requests.clear()
        held: Rows = {}
        for ref in (ref for world in worlds for ref in world.refs()):
            row = self._postgrest.tables[TABLES[ref.kind]].get(tuple(ref.key.split("/")))
            if row is not None:
                held[ref] = row
        return held


class FaultyReal:
    """The real one; reads bypass the proxy, so a fault hides no rows."""

    def __init__(self, proxy: FaultProxy, service_role: httpx.Client) -> None:
        self._proxy = proxy
        self._service_role = service_role

    def refuse(self, *, after: int) -> None:
        self._proxy.inject(Answer(503, LOST_CONNECTION), after=after)

    def lose_responses(self, *, after: int) -> None:
        self._proxy.inject(Reset(lands=True), after=after)

    def hang(self, *, after: int, lands: bool) -> None:
        self._proxy.inject(Hang(lands=lands), after=after)

    def hold_back(self, *, after: int) -> None:
        self._proxy.inject(HoldBack(), after=after)

    def deliver_twice(self, *, after: int) -> None:
        self._proxy.inject(Twice(), after=after, requests=1)

    async def wait_for_hanging(self) -> None:
        await self._proxy.wait_for_hanging()

    def heal(self) -> None:
        self._proxy.heal()

    async def deliver(self) -> None:
        await self._proxy.deliver()

    async def claim_fence(self) -> None:
        response = await asyncio.to_thread(self._service_role.post, "rpc/relay_claim", json=CLAIM)
        response.raise_for_status()

    async def read(self, *worlds: World) -> Rows:
        return await asyncio.to_thread(read_rows, self._service_role, *worlds)


def read_rows(service_role: httpx.Client, *worlds: World) -> Rows:
    """Return the rows of these worlds in the real Supabase."""
    users = ",".join(user for world in worlds for user in world.users)
    trips = ",".join(trip for world in worlds for trip in world.trips)
    filters = {
        Kind.USER: {"id": f"in.({users})"},
        Kind.TRIP: {"id": f"in.({trips})"},
        Kind.MEMBERSHIP: {"trip_id": f"in.({trips})"},
    }
    held: Rows = {}
    for kind, table in TABLES.items():
        response = service_role.get(table, params=filters[kind])
        response.raise_for_status()
        for row in response.json():
            key = "/".join(row[column] for column in KEY_COLUMNS[kind])
            held[EntityRef(kind, EntityKey(key))] = row
    return held


def _beyond(count: int) -> Callable[[httpx.Request], bool]:
    passed = 0

    def pick(_: httpx.Request) -> bool:
        nonlocal passed
        passed += 1
        return passed > count

    return pick
