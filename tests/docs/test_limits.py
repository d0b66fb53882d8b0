"""The limits that pages state are those of the code."""

import pytest

from app.api.request_body import BATCH_BYTES, EVENT_BYTES
from app.api.webhooks import MAXIMUM_WAIT_SECONDS
from app.domain import retry
from app.domain.contract import MAXIMUM_BATCH_EVENTS
from app.relay.leadership import LEASE_SECONDS
from app.server.limits import Limits
from app.store.engine import POOL_CONNECTIONS
from tests.docs.pages import DOCS

LIMITS = Limits()
WAIT_HOURS = retry.REFERENCE_WAIT_LIMIT_SECONDS / 3600


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("reference/events.md", f"JSON, at most {EVENT_BYTES // 1024} KiB"),
        (
            "reference/events.md",
            f"up to {MAXIMUM_BATCH_EVENTS:,} events and {BATCH_BYTES >> 20} MiB",
        ),
        ("reference/events.md", f"up to N seconds (at most {MAXIMUM_WAIT_SECONDS})"),
        ("guides/deploy.md", f"closes an idle connection after {LIMITS.idle_seconds:.0f} s"),
        ("guides/deploy.md", f"({LIMITS.body_seconds:.0f} s for a body"),
        ("guides/operate.md", f"unread responses fill {LIMITS.held_bytes >> 20} MiB"),
        ("guides/operate.md", f"dead after {WAIT_HOURS:.0f} h (parent)"),
        ("guides/operate.md", f"or {retry.MAXIMUM_ATTEMPTS} attempts (unique value)"),
        ("guides/operate.md", f"at most {retry.RETRY_AFTER_LIMIT_SECONDS / 60:.0f} minutes"),
        ("guides/scale.md", f"at most {POOL_CONNECTIONS + 1} connections"),  # one listens
        ("guides/scale.md", f"a lease of {LEASE_SECONDS:.0f} s"),
        ("explanation/correctness.md", f"Dead after {WAIT_HOURS:.0f} hours."),
        ("explanation/correctness.md", f"Dead after {retry.MAXIMUM_ATTEMPTS} attempts."),
        ("explanation/correctness.md", f"at most {retry.BUSY_LIMIT_SECONDS:.0f} seconds"),
    ],
)
def test_limit_on_the_page_is_that_of_the_code(page: str, sentence: str) -> None:
    assert sentence in (DOCS / page).read_text()
