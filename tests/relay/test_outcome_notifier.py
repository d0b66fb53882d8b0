"""Waking those who wait for an entity."""

from app.domain.entities import EntityKey, EntityRef, Kind
from app.relay.outcome_notifier import OutcomeNotifier

ONE, OTHER = (EntityRef(Kind.TRIP, EntityKey(name)) for name in ("one", "other"))


def test_settlement_of_an_entity_wakes_all_who_watch_it_and_nobody_else() -> None:
    notifier = OutcomeNotifier()
    with (
        notifier.subscribe(ONE) as first,
        notifier.subscribe(ONE) as second,
        notifier.subscribe(OTHER) as other,
    ):
        notifier.publish([ONE])
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)


def test_settlement_after_the_watch_wakes_nobody() -> None:
    notifier = OutcomeNotifier()
    with notifier.subscribe(ONE) as signal:
        pass
    notifier.publish([ONE])
    assert not signal.is_set()


def test_settlement_that_nobody_watches_is_nothing() -> None:
    OutcomeNotifier().publish([ONE, OTHER])
