"""Which keys are accepted and how they are sent; no message repeats a key."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ConfigurationInvalid
from app.supabase.keys import KeyKind, read_key

SECRET = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"
PUBLISHABLE = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def make_jwt(claims: object) -> str:
    """Make a legacy key; its signature is never verified."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return ".".join([encode(b'{"alg":"HS256","typ":"JWT"}'), encode(payload), "s1gn4ture_-"])


SERVICE_ROLE = make_jwt({"iss": "supabase", "ref": "abcd", "role": "service_role", "exp": 2**31})


def refuse(key: str) -> str:
    """Assert that the key is rejected, and return the sentence."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read_key(key)
    sentence = str(caught.value)
    if len(key.strip()) >= 20:  # shorter ones are words, as `service_role` is
        assert key.strip()[:20] not in sentence
        assert key.strip()[-20:] not in sentence
    assert "SUPABASE_SECRET_KEY" in sentence
    assert "SUPABASE_SERVICE_ROLE_KEY" in sentence
    return sentence


def test_secret_key_is_sent_as_apikey_only() -> None:
    assert read_key(SECRET) == (KeyKind.SECRET, {"apikey": SECRET})


def test_service_role_key_is_sent_as_apikey_and_bearer() -> None:
    assert read_key(SERVICE_ROLE) == (
        KeyKind.SERVICE_ROLE,
        {"apikey": SERVICE_ROLE, "Authorization": f"Bearer {SERVICE_ROLE}"},
    )


@pytest.mark.parametrize("key", [SECRET, SERVICE_ROLE])
@pytest.mark.parametrize(
    ("before", "after"),
    [("", "\n"), (" ", " "), ("\t", "\r\n"), ("\n\n", ""), ("\u00a0", "\u2003")],
)
def test_key_with_white_space_around_it_is_trimmed(key: str, before: str, after: str) -> None:
    assert read_key(f"{before}{key}{after}") == read_key(key)


@pytest.mark.parametrize("key", ["", " ", "\n", "\t \r\n"])
def test_key_empty_is_rejected(key: str) -> None:
    assert "is empty" in refuse(key)


@pytest.mark.parametrize("key", [SECRET, SERVICE_ROLE])
@pytest.mark.parametrize(
    "inside", ["\n", "\r", "\0", " ", "\t", "\x7f", "é", "…", "\u200b", "\ud800"]
)
def test_key_with_invalid_characters_is_rejected(key: str, inside: str) -> None:
    assert "invalid characters" in refuse(key[:20] + inside + key[20:])


def test_publishable_key_is_rejected() -> None:
    assert "is a publishable key" in refuse(PUBLISHABLE)


@pytest.mark.parametrize("role", ["anon", "authenticated", "postgres", "SERVICE_ROLE", ""])
def test_key_of_another_role_is_rejected_with_the_role(role: str) -> None:
    sentence = refuse(make_jwt({"iss": "supabase", "role": role}))
    assert f"the role {role!r}, which cannot write" in sentence


def test_key_of_a_long_role_is_rejected_in_a_short_sentence() -> None:
    assert len(refuse(make_jwt({"role": "x" * 100_000}))) < 500


@pytest.mark.parametrize(
    "key",
    [
        "garbage-that-is-no-key",
        "service_role",
        "your-service-role-key-here",
        SECRET.upper(),
        SECRET.removeprefix("sb_"),
        f'"{SECRET}"',
        f'"{SERVICE_ROLE}"',  # quotes that docker --env-file keeps
        f"'{SERVICE_ROLE}'",
        f"Bearer.{SERVICE_ROLE}",
        SERVICE_ROLE.rpartition(".")[0],
        f"{SERVICE_ROLE}.x",
        "..",
        "a.b.c",
        "a.!!!!.c",
        make_jwt({}),
        make_jwt({"role": None}),
        make_jwt({"role": ["service_role"]}),
        make_jwt({"role": {"service_role": True}}),
        make_jwt(["service_role"]),
        make_jwt("service_role"),
        make_jwt(b"\xff\xfe"),
        make_jwt(b"{"),
        make_jwt(b"[" * 100_000),
        make_jwt(b"1" * 5_000),
        "sbp_0123456789abcdef0123456789abcdef01234567",  # a personal access token
        "https://abcdefghijklmnopqrst.supabase.co",
    ],
    ids=lambda key: key[:30],
)
def test_key_not_of_supabase_is_rejected(key: str) -> None:
    assert "is not a key of Supabase" in refuse(key)


@given(st.text() | st.from_regex(r"[!-~]{1,60}(\.[!-~]{1,60}){2}", fullmatch=True))
def test_key_of_any_text_is_accepted_or_rejected(key: str) -> None:
    try:
        kind, headers = read_key(key)
    except ConfigurationInvalid:
        refuse(key)
    else:
        assert kind in KeyKind
        assert headers["apikey"] == key.strip()


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(lambda role: json.dumps({"role": role}).encode())
)
def test_key_with_any_claims_is_rejected_without_quoting_it(payload: bytes) -> None:
    refuse(make_jwt(payload))
