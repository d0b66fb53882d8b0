"""The users and trips between which all memberships are: the same in every process, untold."""

import random
from functools import cache
from typing import Final

from benchmarks.requests import make_uuid

TRIPS: Final = 100
USERS: Final = 4000


@cache
def name_parents() -> tuple[list[str], list[str]]:
    """Give the ids of all trips, and of all users."""
    source = random.Random(3)  # noqa: S311
    return [make_uuid(source) for _ in range(TRIPS)], [make_uuid(source) for _ in range(USERS)]


def name_membership(number: int) -> tuple[str, str]:
    """Give trip and user of one of `TRIPS * USERS` memberships; neighbours are of other trips."""
    trips, users = name_parents()
    return trips[number % TRIPS], users[number // TRIPS]


def name_memberships(first: int, count: int) -> list[str]:
    """Give the keys of memberships, as the relay writes them."""
    return ["/".join(name_membership(number)) for number in range(first, first + count)]
