"""Looking up the desired state of a membership."""

import uuid

import pytest

from app.cli.client.relay_lookup import find_desired_state
from tests.api.relay_harness import JWT_SECRET, TRIP, USER
from tests.cli.documents import make_event, make_page
from tests.cli.wire import Wire, document


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)


def test_membership_is_found_by_ids_in_upper_case(wire: Wire) -> None:
    wire.answers = [document(make_page(make_event()))]
    desired, silence = find_desired_state(wire.url, None, TRIP.upper(), USER.upper())
    assert desired is not None
    assert (desired.event_id, silence) == ("evt_1", None)


def test_response_about_another_membership_is_rejected(wire: Wire) -> None:
    wire.answers = [document(make_page(make_event()))]
    desired, silence = find_desired_state(wire.url, None, TRIP, str(uuid.uuid4()))
    assert desired is None
    assert "another entity" in str(silence)
