"""Fixtures: relays with a history."""

import pytest

from tests.api.replaying import settle
from tests.api.running import RunningRelay


@pytest.fixture
async def storied(relay: RunningRelay) -> RunningRelay:
    """A relay with a history that Supabase holds: four events of three entities."""
    await settle(relay)
    return relay
