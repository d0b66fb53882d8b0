"""Waking those who wait for an entity."""

from app.domain.entities import EntityKey, EntityRef, Kind
from app.relay.settlements import Settlements

ONE, OTHER = (EntityRef(Kind.TRIP, EntityKey(name)) for name in ("one", "other"))


def test_settlement_of_an_entity_wakes_all_who_watch_it_and_nobody_else() -> None:
    settlements = Settlements()
    with (
        settlements.watch(ONE) as first,
        settlements.watch(ONE) as second,
        settlements.watch(OTHER) as other,
    ):
        settlements.announce([ONE])
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)


def test_settlement_after_the_watch_wakes_nobody() -> None:
    settlements = Settlements()
    with settlements.watch(ONE) as signal:
        pass
    settlements.announce([ONE])
    assert not signal.is_set()


def test_settlement_that_nobody_watches_is_nothing() -> None:
    Settlements().announce([ONE, OTHER])
