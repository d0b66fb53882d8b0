"""Explain a user's access as far as the relay's own key allows, for the console."""

import asyncio
from typing import Final

from app.doctor.access import Access, Desired, explain_rows
from app.doctor.probes import ProbeClient
from app.doctor.trip_reading import Outcome
from app.supabase.targets import Targets

# An operator waits for it.
_LIMIT_SECONDS: Final = 5.0


class AccessReader:
    """Reads the rows in Supabase with the relay's key, one question at a time.

    The dispatcher uses the same few connections.
    """

    def __init__(self, relay: ProbeClient, targets: Targets) -> None:
        self._relay = relay
        self._targets = targets
        self._turn = asyncio.Lock()

    async def explain(self, user_id: str, trip_id: str, desired: Desired) -> Access:
        """Explain whether a user should be able to read a trip."""
        try:
            async with asyncio.timeout(_LIMIT_SECONDS), self._turn:
                return await explain_rows(
                    self._relay, self._targets, user_id=user_id, trip_id=trip_id, desired=desired
                )
        except TimeoutError:
            return Access(
                Outcome.UNREACHABLE,
                f"Supabase did not respond within {_LIMIT_SECONDS:.0f} seconds.",
                desired=desired,
            )
