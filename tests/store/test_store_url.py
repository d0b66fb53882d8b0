"""How a store is named without credentials."""

import pytest

from app.store.store_url import describe_store, read_store_url


@pytest.mark.parametrize(
    ("store_url", "description"),
    [
        ("sqlite:////data/relay.db", "sqlite:////data/relay.db"),
        ("postgres://ada:swordfish@db:5433/relay?sslpassword=x", "postgresql://db:5433/relay"),
        ("postgresql://ada:swordfish@db/relay", "postgresql://db/relay"),
    ],
)
def test_store_is_described_without_credentials(store_url: str, description: str) -> None:
    assert describe_store(read_store_url(store_url)) == description
