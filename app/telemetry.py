"""Logs: one line an event, for people or for machines."""

import logging
import logging.config
from typing import Literal


def configure_logging(*, level: str, format_name: Literal["text", "json"]) -> None:
    """Send all logs to standard error in one form, the server's own included."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
                },
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": format_name}},
            "root": {"level": level, "handlers": ["stderr"]},
            "loggers": {
                # One line a request to Supabase says nothing that metrics do not say better.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "alembic": {"level": "WARNING"},
                "uvicorn": {"level": level},
            },
        }
    )
