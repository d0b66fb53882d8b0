"""Reading a relay's health, and its status if there is a token."""

from dataclasses import dataclass
from typing import Final

from app.auth.claims import Scope
from app.cli.client.relay_client import Document, RelayClient, open_client, open_relay
from app.cli.client.status_models import HealthAnswer, StatusAnswer
from app.cli.errors import CommandFailed, NotThisRelay, RelayUnavailable
from app.domain.errors import ConfigurationInvalid

# A relay whose store does not respond reports its health within 5 seconds.
_TIMEOUT_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a relay responded, as documents and as models.

    Attributes:
        unreachable: why there is no health.
        missing: why there is no status, though there is health.
    """

    health_document: Document | None = None
    status_document: Document | None = None
    health: HealthAnswer | None = None
    status: StatusAnswer | None = None
    unreachable: str | None = None
    missing: str | None = None


class StatusReader:
    """Reads the status of a relay again and again.

    Args:
        url: of the relay.
        token: of an operator; None to sign one with JWT_SECRET, if that is set.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token

    def read(self) -> StatusReport:
        """Read the status now.

        Raises:
            NotThisRelay: the server is not a relay, or a relay of another version.
            ConfigurationInvalid: the given token is not one.
        """
        try:
            with open_client(self._url, _TIMEOUT_SECONDS) as client:
                relay = RelayClient(client, ())
                health_document = relay.get_health()
                health = relay.read(health_document, HealthAnswer)
        except NotThisRelay:
            raise
        except RelayUnavailable as error:
            return StatusReport(unreachable=str(error))
        status_document, status, missing = self._read_status()
        return StatusReport(health_document, status_document, health, status, missing=missing)

    def _read_status(self) -> tuple[Document | None, StatusAnswer | None, str | None]:
        try:
            with open_relay(
                self._url, self._token, Scope.EVENTS_READ, timeout_seconds=_TIMEOUT_SECONDS
            ) as relay:
                document = relay.get("/status")
                return document, relay.read(document, StatusAnswer), None
        except ConfigurationInvalid as error:
            if self._token is not None:
                raise
            return None, None, str(error)
        except CommandFailed as error:
            return None, None, str(error)
