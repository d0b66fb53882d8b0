"""Fixtures: a visitor of the console."""

import pytest

from tests.api.relay_harness import RunningRelay
from tests.console.browsing import Visitor


@pytest.fixture
def visitor(relay: RunningRelay) -> Visitor:
    return Visitor(relay)


@pytest.fixture
def operator(visitor: Visitor) -> Visitor:
    """A visitor with a session that may read."""
    visitor.sign_in()
    return visitor
