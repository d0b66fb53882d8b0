"""Logging an outage of the store: when it begins and when it ends, not at each attempt."""

import logging


class OutageLog:
    """One background task's view of whether the store is available.

    Args:
        logger: of the task.
        task: what cannot be done meanwhile, for the log.
    """

    def __init__(self, logger: logging.Logger, task: str) -> None:
        self._logger = logger
        self._task = task
        self._is_ongoing = False

    def begin(self) -> None:
        """Note that an attempt failed because the store is unavailable."""
        if not self._is_ongoing:
            self._logger.warning("%s: the store is unavailable; retrying", self._task)
        self._is_ongoing = True

    def end(self) -> None:
        """Note that an attempt succeeded."""
        if self._is_ongoing:
            self._logger.info("%s: the store is available again", self._task)
        self._is_ongoing = False
