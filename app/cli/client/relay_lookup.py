"""Looking up the desired state of a membership."""

from dataclasses import fields

from app.auth.claims import Scope
from app.cli.client.api_models import EventAnswer, EventPage
from app.cli.client.relay_client import CHECK_PROXIES, open_relay
from app.cli.errors import CommandFailed, Unconfirmed
from app.doctor.access import Desired
from app.domain.errors import ConfigurationInvalid


def find_desired_state(
    url: str, token: str | None, trip_id: str, user_id: str
) -> tuple[Desired | None, str | None]:
    """Return the desired state of a membership, or None and why it is unknown."""
    entity_path = f"membership/{trip_id}/{user_id}"
    try:
        with open_relay(url, token, Scope.EVENTS_READ) as relay:
            page = relay.get("/events", {"entity": entity_path, "limit": 1})
            events = relay.read(page, EventPage).events
            if not events:
                return Desired(), None
            answer = relay.read(events[0], EventAnswer)
            if f"{answer.entity.kind}/{answer.entity.key}" != entity_path.lower():
                raise Unconfirmed(f"{url} responded about another entity. {CHECK_PROXIES}")
    except (CommandFailed, ConfigurationInvalid) as error:
        return None, str(error)
    entity = answer.entity.model_dump(
        mode="json", include={field.name for field in fields(Desired)}
    )
    return Desired(answer.event_id, answer.type, **entity), None
