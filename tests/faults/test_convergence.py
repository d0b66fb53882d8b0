"""Any history through any faults converges: Supabase holds the desired rows of the oracle.

More than the default: `make converge HISTORIES=20000`.
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Final, Literal, assert_never

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.domain.entities import EntityState
from app.domain.events import Event
from app.supabase.client import open_http_client
from tests.fake_postgrest import FakePostgrest
from tests.faults.conftest import HISTORIES_RUN
from tests.faults.harness import Harness, find_rows_held, is_orphan
from tests.faults.proxy import FaultProxy
from tests.faults.supabase import FaultyFake, FaultyReal, FaultySupabase
from tests.histories import World, find_desired_rows, histories, ref_of
from tests.postgres import PostgresServer
from tests.stores import create_postgres_store

# On the fake: half of them with foreign keys, half without.
HISTORIES: Final = int(os.environ.get("HISTORIES", "200"))
REAL_HISTORIES: Final = max(10, HISTORIES // 80)
POSTGRES_HISTORIES: Final = max(20, HISTORIES // 20)
# Ten times the usual time of a history.
_BULK_SECONDS: Final = 60 + HISTORIES * 0.15
_REAL_SECONDS: Final = 60 + REAL_HISTORIES * 5
_POSTGRES_SECONDS: Final = 60 + POSTGRES_HISTORIES * 1.5

relaxed = (
    HealthCheck.function_scoped_fixture,  # the lab is made to be shared
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
)


class Turn(StrEnum):
    """An action after the relay has received some events."""

    WAIT = "nothing is dispatched"
    BATCH = "one batch is dispatched"
    DRAIN = "everything is dispatched"
    REPEAT = "the backend repeats its events"
    REPLAY = "an operator replays events"
    RACE = "events arrive while a request is in flight"
    REFUSE = "Supabase is unavailable for a while"
    LOSE = "writes land, but their responses are lost"
    HOLD_BACK = "requests are delayed"
    DELIVER = "delayed requests arrive after later ones"
    TWICE = "requests are delivered twice"
    RIVAL = "another relay claims the fence"
    DIE = "the process dies during a batch"
    RESTART = "the process dies between batches"


_Trouble = Literal[Turn.RACE, Turn.REFUSE, Turn.LOSE, Turn.HOLD_BACK, Turn.TWICE, Turn.DIE]

# Without explanation, which repeats a failing history hundreds of times.
phases = tuple(phase for phase in Phase if phase is not Phase.explain)


@dataclass(frozen=True)
class Step:
    """Some events arrive, then an action follows.

    Attributes:
        events: the number that arrive.
        turn: the action.
        after: the number of requests that pass before it begins.
        lands: whether the affected request is executed.
    """

    events: int
    turn: Turn
    after: int
    lands: bool


steps = st.builds(
    Step,
    events=st.integers(1, 16),
    turn=st.sampled_from(Turn),
    after=st.integers(0, 4),
    lands=st.booleans(),
)
# Two at a time share batches, where neither may delay the other.
TwoHistories = tuple[tuple[World, list[Event]], tuple[World, list[Event]]]
plans = st.lists(steps, max_size=6)


@dataclass
class Trial:
    """Histories that pass through one relay to a Supabase with faults."""

    harness: Harness
    supabase: FaultySupabase
    worlds: tuple[World, ...]
    rest: list[Event]
    arrived: list[Event]

    async def take(self, count: int) -> None:
        """Receive the next events."""
        events, self.rest = self.rest[:count], self.rest[count:]
        if events:
            await self.harness.receive(*events)
            self.arrived += events

    async def perform(self, step: Step) -> None:
        """Receive some events and perform the action."""
        await self.take(step.events)
        harness = self.harness
        match step.turn:
            case Turn.WAIT:
                pass
            case Turn.BATCH:
                await harness.dispatcher.dispatch_due()
            case Turn.DRAIN:
                await harness.drain()
                await self.check_access()
            case Turn.REPEAT:
                await harness.receive(*reversed(self.arrived))
            case Turn.REPLAY:
                await harness.replay(self.arrived[step.after :])
            case Turn.RESTART:
                await harness.restart()
            case Turn.DELIVER:
                await self.supabase.deliver()
            case Turn.RIVAL:
                await self.supabase.claim_fence()
                await harness.dispatcher.dispatch_due()
            case (
                Turn.RACE | Turn.REFUSE | Turn.LOSE | Turn.HOLD_BACK | Turn.TWICE | Turn.DIE
            ) as trouble:
                await self._meet(trouble, step)
            case _:
                assert_never(step.turn)
        self.supabase.heal()

    async def _meet(self, trouble: _Trouble, step: Step) -> None:
        supabase, harness = self.supabase, self.harness
        match trouble:
            case Turn.RACE:
                supabase.hang(after=step.after, lands=step.lands)
                await harness.dispatch_while(supabase.wait_for_hanging, self.take_and_heal)
            case Turn.REFUSE:
                supabase.refuse(after=step.after)
                await harness.suffer(3)
            case Turn.LOSE:
                supabase.lose_responses(after=step.after)
                await harness.suffer(3)
            case Turn.HOLD_BACK:
                supabase.hold_back(after=step.after)
                await harness.suffer(2)
            case Turn.TWICE:
                supabase.deliver_twice(after=step.after)
                await harness.suffer(1)
            case Turn.DIE:
                supabase.hang(after=step.after, lands=step.lands)
                await harness.die_when(supabase.wait_for_hanging)
            case _:
                assert_never(trouble)

    async def take_and_heal(self) -> None:
        """Receive more while a request hangs, then resume it."""
        await self.take(16)
        self.supabase.heal()

    async def check_access(self) -> None:
        """Check that no undesired row exists once all due entities are dispatched."""
        desired = find_desired_rows(self.arrived)
        held = await self.supabase.read(*self.worlds)
        assert {ref for ref in held if desired.get(ref) is None} == set()

    async def check_end(self, *, has_foreign_keys: bool) -> None:
        """Check that Supabase holds exactly the rows of the oracle."""
        desired = find_desired_rows(self.arrived)
        expected = find_rows_held(desired, has_foreign_keys=has_foreign_keys)
        held = await self.supabase.read(*self.worlds)
        assert held == {ref: json.loads(row) for ref, row in expected.items()}
        stored = {found.entity.ref: found for found in await self.harness.find(self.arrived)}
        waiting = {
            ref
            for ref, row in desired.items()
            if has_foreign_keys and row is not None and is_orphan(ref, desired)
        }
        for ref, found in stored.items():
            if ref in waiting:
                assert found.entity.state is EntityState.PENDING
            else:
                assert found.entity.state is EntityState.APPLIED


class Lab:
    """One store for all histories of a test, and a fresh one after a history that failed.

    Args:
        make_store_url: names an empty store; it is given how many there were before.
        http: leads to Supabase.
        supabase: fails when told to.
        has_foreign_keys: whether Supabase refuses a membership without its parents.
    """

    def __init__(
        self,
        make_store_url: Callable[[int], str],
        http: httpx.AsyncClient,
        supabase: FaultySupabase,
        *,
        has_foreign_keys: bool,
    ) -> None:
        self._make_store_url = make_store_url
        self._http = http
        self._supabase = supabase
        self._has_foreign_keys = has_foreign_keys
        self._harness: Harness | None = None
        self._harnesses = 0
        self.histories = 0

    async def try_histories(self, two: TwoHistories, plan: Sequence[Step]) -> None:
        """Lead histories through the same steps, then check the end state."""
        worlds = tuple(world for world, _ in two)
        events = _interleave(*(events for _, events in two))
        # A history that fails discards its store: the next one must not find its entities.
        harness, self._harness = self._harness or await self._open_harness(), None
        self._supabase.heal()
        self.histories += len(two)
        try:
            trial = Trial(harness, self._supabase, worlds, list(events), [])
            for step in plan:
                await trial.perform(step)
            await trial.take(len(trial.rest))
            await harness.settle()
            await self._supabase.deliver()
            await trial.check_end(has_foreign_keys=self._has_foreign_keys)
            await end_waiting(harness, worlds, events)
        except BaseException:
            await harness.close()
            raise
        self._harness = harness

    async def close(self) -> None:
        if self._harness is not None:
            await self._harness.close()

    async def _open_harness(self) -> Harness:
        store_url = self._make_store_url(self._harnesses)
        self._harnesses += 1
        return await Harness.open(store_url, self._http)


def _interleave(*lists: Sequence[Event]) -> list[Event]:
    return [event for group in zip_longest(*lists) for event in group if event is not None]


async def end_waiting(harness: Harness, worlds: Sequence[World], events: Sequence[Event]) -> None:
    """Leave nothing pending to the next history on the same store."""
    desired = find_desired_rows(events)
    removals = [
        world.membership("deleted", n // 2, n % 2, at=100) for world in worlds for n in range(4)
    ]
    waiting = [
        removal
        for removal in removals
        if desired.get(ref_of(removal)) is not None and is_orphan(ref_of(removal), desired)
    ]
    if waiting:
        await harness.receive(*waiting)
        await harness.settle()


@asynccontextmanager
async def run_lab(
    make_store_url: Callable[[int], str],
    request: pytest.FixtureRequest,
    *,
    has_foreign_keys: bool,
) -> AsyncIterator[Lab]:
    """Give one before the fake."""
    postgrest = FakePostgrest(has_foreign_keys=has_foreign_keys)
    supabase = FaultyFake(postgrest)
    async with open_http_client(
        "http://supabase.test", {}, timeout_seconds=5, transport=postgrest.transport()
    ) as http:
        opened = Lab(make_store_url, http, supabase, has_foreign_keys=has_foreign_keys)
        yield opened
        await opened.close()
    request.node.user_properties.append((HISTORIES_RUN, opened.histories))


def name_file(folder: Path) -> Callable[[int], str]:
    return lambda number: f"sqlite:///{folder}/{number}.db"


@pytest.fixture(params=[True, False], ids=["foreign keys", "no foreign keys"])
async def lab(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    make = name_file(tmp_path)
    async with run_lab(make, request, has_foreign_keys=request.param) as opened:
        yield opened


@pytest.fixture
async def postgres_lab(
    postgres: PostgresServer, request: pytest.FixtureRequest
) -> AsyncIterator[Lab]:
    def make(_: int) -> str:
        return create_postgres_store(postgres)

    async with run_lab(make, request, has_foreign_keys=True) as opened:
        yield opened


@pytest.fixture
async def real_lab(
    tmp_path: Path, proxy: FaultProxy, http: httpx.AsyncClient, service_role: httpx.Client
) -> AsyncIterator[Lab]:
    supabase = FaultyReal(proxy, service_role)
    opened = Lab(name_file(tmp_path), http, supabase, has_foreign_keys=True)
    yield opened
    await opened.close()


@pytest.mark.timeout(_BULK_SECONDS)
@settings(max_examples=HISTORIES // 4, phases=phases, suppress_health_check=relaxed)
@given(two=st.tuples(histories(), histories()), plan=plans)
async def test_convergence_of_any_history_through_any_faults(
    lab: Lab, two: TwoHistories, plan: list[Step]
) -> None:
    await lab.try_histories(two, plan)


@pytest.mark.timeout(_POSTGRES_SECONDS)
@settings(max_examples=POSTGRES_HISTORIES // 2, phases=phases, suppress_health_check=relaxed)
@given(two=st.tuples(histories(), histories()), plan=plans)
async def test_convergence_on_postgresql_of_any_history_through_any_faults(
    postgres_lab: Lab, two: TwoHistories, plan: list[Step]
) -> None:
    await postgres_lab.try_histories(two, plan)


@pytest.mark.timeout(_REAL_SECONDS)
@settings(max_examples=REAL_HISTORIES // 2, phases=phases, suppress_health_check=relaxed)
@given(two=st.tuples(histories(), histories()), plan=plans)
async def test_convergence_on_the_real_supabase_of_any_history_through_any_faults(
    real_lab: Lab, two: TwoHistories, plan: list[Step]
) -> None:
    await real_lab.try_histories(two, plan)
