"""Shows which keys are taken for an app's, and who may carry a user's token."""

import pytest

from app.doctor.inspection.app_keys import name_user_headers, read_app_key, read_subject
from app.domain.errors import ConfigurationInvalid
from tests.supabase.test_keys import PUBLISHABLE, SECRET, SERVICE_ROLE, make_jwt

ANON = make_jwt({"role": "anon"})
USER_ID = "123e4567-e89b-12d3-a456-426614174000"


def test_keys_of_apps_are_taken() -> None:
    assert read_app_key(f" {PUBLISHABLE}\n") == {"apikey": PUBLISHABLE}
    assert read_app_key(ANON) == {"apikey": ANON, "Authorization": f"Bearer {ANON}"}


@pytest.mark.parametrize("key", [SECRET, SERVICE_ROLE])
def test_key_that_passes_row_level_security_is_refused_with_a_warning(key: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="replace it at once") as caught:
        read_app_key(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", ["", "x", "ключ", "a b", make_jwt({"role": "authenticated"})])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="is none"):
        read_app_key(key)


def test_user_token_goes_out_beside_the_apps_key_or_a_legacy_one_and_no_other() -> None:
    app, secret = {"apikey": PUBLISHABLE}, {"apikey": SECRET}
    legacy = {"apikey": SERVICE_ROLE, "Authorization": f"Bearer {SERVICE_ROLE}"}

    assert name_user_headers(app, secret, "t") == {
        "apikey": PUBLISHABLE,
        "Authorization": "Bearer t",
    }
    assert name_user_headers(None, legacy, "t") == {
        "apikey": SERVICE_ROLE,
        "Authorization": "Bearer t",
    }
    assert name_user_headers(None, secret, "t") is None


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
def test_subject_is_read_where_it_is_a_users_id(token: str, subject: str | None) -> None:
    assert read_subject(token) == subject
