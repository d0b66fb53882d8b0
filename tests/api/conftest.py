"""Fixtures: relays with a history."""

import pytest

from tests.api.relay_harness import RunningRelay
from tests.api.replaying import settle


@pytest.fixture
async def storied(relay: RunningRelay) -> RunningRelay:
    """A relay with a history that Supabase holds: four events of three entities."""
    await settle(relay)
    return relay
