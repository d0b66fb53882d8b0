"""The line that says which relay has started."""

import logging

from app.domain.log_fields import log_fields

logger = logging.getLogger(__name__)


def log_start(*, version: str, store: str, webhook_auth: str, supabase: str, replica: str) -> None:
    """Log the start of a relay.

    Args:
        version: of the relay.
        store: its URL without credentials.
        webhook_auth: the setting of that name.
        supabase: the host of the project.
        replica: the name of this process among those that share the store.
    """
    logger.info(
        "started",
        extra=log_fields(
            version=version,
            store=store,
            webhook_auth=webhook_auth,
            supabase=supabase,
            replica=replica,
        ),
    )
