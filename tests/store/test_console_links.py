"""One-time links in the store."""

import asyncio

from sqlalchemy import func, select

from app.domain.instants import Instant
from app.store.console_links import add_link, take_link
from app.store.schema import console_links
from app.store.store import Store

DIGEST, OTHER = b"d" * 32, b"o" * 32
NOW, EXPIRY = Instant(1_000), Instant(2_000)


async def count_links(store: Store) -> int:
    return await store.read(
        lambda connection: int(
            connection.execute(select(func.count()).select_from(console_links)).scalar_one()
        )
    )


async def test_link_is_taken_exactly_once(store: Store) -> None:
    await store.write(add_link, DIGEST, b"sealed", EXPIRY, NOW)
    takes = (store.write(take_link, DIGEST, NOW) for _ in range(8))
    taken = await asyncio.gather(*takes)
    assert (taken.count(b"sealed"), taken.count(None)) == (1, 7)
    assert await count_links(store) == 0


async def test_unknown_link_is_not_taken(store: Store) -> None:
    await store.write(add_link, DIGEST, b"sealed", EXPIRY, NOW)
    assert await store.write(take_link, OTHER, NOW) is None
    assert await count_links(store) == 1


async def test_expired_link_is_not_taken(store: Store) -> None:
    await store.write(add_link, DIGEST, b"sealed", EXPIRY, NOW)
    assert await store.write(take_link, DIGEST, EXPIRY) is None


async def test_new_link_deletes_those_that_have_expired(store: Store) -> None:
    await store.write(add_link, DIGEST, b"sealed", EXPIRY, NOW)
    await store.write(add_link, OTHER, b"sealed", Instant(9_000), EXPIRY)
    assert await count_links(store) == 1
