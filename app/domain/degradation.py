"""Logging what does not work: when it begins, every few minutes while it lasts, when it ends."""

import logging
import time
from collections.abc import Callable
from typing import Final

from app.domain.log_fields import log_fields

REMINDER_SECONDS: Final = 300.0
_MINUTE_SECONDS: Final = 60


class Degradation:
    """One degradation of the service, of which attempts fail and in the end succeed again.

    Meanwhile every attempt fails, perhaps many a second, so most are not logged. A reminder needs
    an attempt: what is not retried has no reminder.

    Args:
        recovery: what the log says when it ends, at INFO.
        monotonic: seconds of a clock that never steps.
    """

    def __init__(
        self,
        logger: logging.Logger,
        recovery: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._recovery = recovery
        self._monotonic = monotonic
        self._began_at: float | None = None
        self._logged_at = 0.0
        # Since the last reminder. Causes that alternate are not logged each time.
        self._causes: set[object] = set()

    @property
    def is_ongoing(self) -> bool:
        """Whether the last attempt failed."""
        return self._began_at is not None

    def note(
        self,
        message: str,
        *,
        cause: object = None,
        level: int = logging.WARNING,
        error: BaseException | None = None,
    ) -> None:
        """Record a failed attempt. Logged if it is the first, has a new cause, or as a reminder.

        Args:
            level: WARNING if it heals by itself, ERROR if it needs an operator.
            error: logged with its traceback.
        """
        now = self._monotonic()
        if self._began_at is None:
            self._began_at = self._logged_at = now
        elif now - self._logged_at >= REMINDER_SECONDS:
            self._logged_at = now
            self._causes.clear()
            message += f" (for {(now - self._began_at) / _MINUTE_SECONDS:.0f} minutes)"
        if cause not in self._causes:
            self._causes.add(cause)
            self._logger.log(level, "%s", message, exc_info=error)

    def end(self) -> None:
        """Record a successful attempt."""
        if self._began_at is not None:
            lasted = round(self._monotonic() - self._began_at, 1)
            self._logger.info("%s", self._recovery, extra=log_fields(lasted_seconds=lasted))
            self.forget()

    def forget(self) -> None:
        """End without a word: another degradation has taken its place."""
        self._began_at = None
        self._causes.clear()
