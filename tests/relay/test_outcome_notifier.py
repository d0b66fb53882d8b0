"""Waking the subscribers of an entity."""

from app.domain.entities import EntityKey, EntityRef, Kind
from app.relay.outcome_notifier import OutcomeNotifier

ONE, OTHER = (EntityRef(Kind.TRIP, EntityKey(name)) for name in ("one", "other"))


def test_outcome_of_an_entity_wakes_all_of_its_subscribers_only() -> None:
    notifier = OutcomeNotifier()
    with (
        notifier.subscribe(ONE) as first,
        notifier.subscribe(ONE) as second,
        notifier.subscribe(OTHER) as other,
    ):
        notifier.publish([ONE])
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)


def test_outcome_after_the_subscription_wakes_nobody() -> None:
    notifier = OutcomeNotifier()
    with notifier.subscribe(ONE) as signal:
        pass
    notifier.publish([ONE])
    assert not signal.is_set()


def test_outcome_without_subscribers_is_ignored() -> None:
    OutcomeNotifier().publish([ONE, OTHER])
