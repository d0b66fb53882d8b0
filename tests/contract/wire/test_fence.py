"""Only the latest claim writes, and only with rising sequences."""

import itertools

import pytest

from tests.contract.wire.driver import Answer, Wire, delete, upsert
from tests.contract.wire.people import People


def assert_stale(answer: Answer) -> None:
    assert answer.code == "PT409", answer
    assert answer.status in (None, 409)


def test_claim_raises_the_epoch_and_starts_the_sequences_anew(any_wire: Wire) -> None:
    assert any_wire.apply(sequence=1000).code is None
    before = any_wire.epoch

    after = any_wire.claim()

    assert after > before
    assert any_wire.apply(sequence=1).code is None


@pytest.mark.parametrize("protocol", ["2", "0", "null", '"one"'])
def test_claim_of_another_protocol_is_refused_and_raises_nothing(
    any_wire: Wire, protocol: str
) -> None:
    answer = any_wire.send("relay_claim", f'{{"protocol": {protocol}}}')

    assert answer.code in ("0A000", "SUP")
    assert any_wire.apply().code is None


def test_claim_without_a_protocol_is_refused(any_wire: Wire) -> None:
    assert any_wire.send("relay_claim", "{}").code in ("0A000", "SUP")


def test_request_of_an_earlier_or_unknown_epoch_changes_nothing(
    any_wire: Wire, people: People
) -> None:
    old = any_wire.epoch
    new = any_wire.claim()

    for epoch in (old, new + 1, 0, -1):
        assert_stale(any_wire.apply(upsert("public.users", people.make_user()), epoch=epoch))

    assert people.read("users") == []
    assert any_wire.apply(sequence=1).code is None


@pytest.mark.parametrize("sequence", [7, 6, 1, 0, -1])
def test_request_with_a_repeated_or_lower_sequence_changes_nothing(
    any_wire: Wire, people: People, sequence: int
) -> None:
    user = people.make_user()
    assert any_wire.apply(upsert("public.users", user), sequence=7).failures == []

    assert_stale(any_wire.apply(delete("public.users", {"id": user["id"]}), sequence=sequence))

    assert people.read("users") == [user]


def test_sequences_may_leave_numbers_out(any_wire: Wire) -> None:
    for sequence in (1, 5, 2**40, 2**53 - 1):
        assert any_wire.apply(sequence=sequence).code is None


def test_requests_delivered_twice_and_in_any_order_end_as_the_latest_says(
    any_wire: Wire, people: People
) -> None:
    user = people.make_user()
    requests = [upsert("public.users", {**user, "username": f"version {n}"}) for n in range(1, 4)]
    for order in itertools.permutations((1, 2, 3)):
        any_wire.claim()
        latest = 0
        for sequence in (*order, *order):
            answer = any_wire.apply(requests[sequence - 1], sequence=sequence)
            if sequence > latest:
                assert answer.failures == []
                latest = sequence
            else:
                assert_stale(answer)
        assert people.read("users") == [{**user, "username": "version 3"}]


def test_of_two_claimants_the_later_writes_and_the_earlier_cannot(
    any_wire: Wire, people: People
) -> None:
    user = people.make_user()
    former, latter = any_wire, Wire(any_wire.send)
    assert former.apply(upsert("public.users", user)).failures == []

    latter.claim()

    assert_stale(former.apply(delete("public.users", {"id": user["id"]})))
    assert latter.apply(upsert("public.users", {**user, "username": "Ada"})).failures == []
    assert_stale(former.apply(delete("public.users", {"id": user["id"]}), sequence=1000))
    assert people.read("users") == [{**user, "username": "Ada"}]
    former.claim()
    assert former.apply(delete("public.users", {"id": user["id"]})).failures == []
    assert_stale(latter.apply())
    assert people.read("users") == []


def test_request_without_an_epoch_or_a_sequence_is_refused(any_wire: Wire) -> None:
    for request in ('{"operations": []}', f'{{"epoch": {any_wire.epoch}, "operations": []}}'):
        assert_stale(any_wire.send("relay_apply", request))


def test_request_that_is_no_json_is_refused(any_wire: Wire) -> None:
    assert any_wire.send("relay_apply", "{").code is not None
    assert any_wire.apply().code is None
