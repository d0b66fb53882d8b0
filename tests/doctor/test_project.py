"""Keys of apps are recognised, and users' tokens are sent beside the right key."""

import httpx
import pytest

from app.doctor.project import Project, read_app_key, read_subject
from app.domain.errors import ConfigurationInvalid
from app.supabase.targets import MINIMAL_TARGETS
from tests.supabase.test_keys import PUBLISHABLE, SECRET, SERVICE_ROLE, make_jwt

ANON = make_jwt({"role": "anon"})
USER_ID = "123e4567-e89b-12d3-a456-426614174000"


def test_key_of_an_app_is_accepted() -> None:
    assert read_app_key(f" {PUBLISHABLE}\n") == {"apikey": PUBLISHABLE}
    assert read_app_key(ANON) == {"apikey": ANON, "Authorization": f"Bearer {ANON}"}


@pytest.mark.parametrize("key", [SECRET, SERVICE_ROLE])
def test_key_that_bypasses_row_level_security_is_rejected_with_a_warning(key: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="replace it at once") as caught:
        read_app_key(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", ["", "x", "ключ", "a b", make_jwt({"role": "authenticated"})])
def test_other_text_is_rejected(key: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="is not a publishable or anon key"):
        read_app_key(key)


@pytest.mark.parametrize(
    ("app_headers", "relay_headers", "apikey"),
    [
        ({"apikey": PUBLISHABLE}, {"apikey": SECRET}, PUBLISHABLE),
        (None, {"apikey": SERVICE_ROLE, "Authorization": f"Bearer {SERVICE_ROLE}"}, SERVICE_ROLE),
        (None, {"apikey": SECRET}, None),
    ],
)
async def test_user_token_is_sent_beside_the_key_of_apps_or_a_legacy_key(
    app_headers: dict[str, str] | None, relay_headers: dict[str, str], apikey: str | None
) -> None:
    async with httpx.AsyncClient() as http:
        project = Project(http, MINIMAL_TARGETS, relay_headers, app_headers, None, user_token="t")

        user = project.as_token_user()

    headers = {"apikey": apikey, "Authorization": "Bearer t"}
    assert (None if user is None else user.headers) == (None if apikey is None else headers)


@pytest.mark.parametrize(
    ("token", "subject"),
    [
        (make_jwt({"sub": USER_ID.upper()}), USER_ID),
        (make_jwt({"sub": "somebody"}), None),
        (make_jwt({"sub": 1}), None),
        (make_jwt([]), None),
        ("x", None),
        ("a.b.c", None),
    ],
)
def test_subject_of_a_token_is_read_if_it_is_a_uuid(token: str, subject: str | None) -> None:
    assert read_subject(token) == subject
