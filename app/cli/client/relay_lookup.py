"""Ask a relay for its state of a membership."""

from app.auth.claims import Scope
from app.cli.client.api_models import EventAnswer, EventPage
from app.cli.client.relay_client import CHECK_THE_WAY, open_relay
from app.cli.errors import CommandFailed, Unconfirmed
from app.doctor.access import Desired
from app.domain.errors import ConfigurationInvalid

_FIELDS = (
    "state",
    "is_removed",
    "desired_version_at",
    "pending_since",
    "next_attempt_at",
    "last_error_code",
    "last_error",
)


def ask_relay(
    url: str, token: str | None, trip_id: str, user_id: str
) -> tuple[Desired | None, str | None]:
    """Ask for the membership; None and the error if the relay cannot be asked."""
    parameters = {"entity": f"membership/{trip_id}/{user_id}", "limit": 1}
    try:
        with open_relay(url, token, Scope.EVENTS_READ) as relay:
            events = relay.read(relay.get("/events", parameters), EventPage).events
            if not events:
                return Desired(), None
            answer = relay.read(events[0], EventAnswer)
            if f"{answer.entity.kind}/{answer.entity.key}" != str(parameters["entity"]).lower():
                raise Unconfirmed(
                    f"{url} was asked about another entity than it answers about. {CHECK_THE_WAY}"
                )
            event = answer.model_dump(mode="json")
    except (CommandFailed, ConfigurationInvalid) as error:
        return None, str(error)
    entity = event["entity"]
    return Desired(event["event_id"], event["type"], **{n: entity[n] for n in _FIELDS}), None
