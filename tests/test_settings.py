"""Shows what each setting takes, what they demand of one another, and that no sentence leaks."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from app.auth.authentication import WebhookAuth
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, Settings, StoreSettings, read_settings
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Targets

MINIMUM = {
    "SUPABASE_URL": "https://project.supabase.test",
    "SUPABASE_SERVICE_ROLE_KEY": "eyJ.service.role",
    "WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
JWT_SECRET = "a secret of at least thirty-two bytes"
NAMES = {name.upper() for name in Settings.model_fields} | {"SUPABASE_SECRET_KEY"}


@pytest.fixture(autouse=True)
def clear_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave neither the environment nor the .env of who runs the tests in their way."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def set_environment(monkeypatch: pytest.MonkeyPatch) -> "SetEnvironment":
    return SetEnvironment(monkeypatch)


class SetEnvironment:
    """Sets the environment to the least that is needed, with changes; None leaves one out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, changes: Mapping[str, str | None] | None = None) -> None:
        for name, value in {**MINIMUM, **(changes or {})}.items():
            if value is None:
                self._monkeypatch.delenv(name, raising=False)
            else:
                self._monkeypatch.setenv(name, value)


def read() -> Settings:
    return read_settings(Settings, env_file=None)


def refuse() -> str:
    with pytest.raises(ConfigurationInvalid) as caught:
        read()
    # Nor may the cause show a value, where a traceback of the start is printed.
    assert isinstance(caught.value.__cause__, ValidationError)
    assert "input_value" not in str(caught.value.__cause__)
    return str(caught.value)


# What is read


def test_settings_with_the_least_have_the_documented_defaults(
    set_environment: SetEnvironment,
) -> None:
    set_environment()
    settings = read()
    assert settings.store_url == "sqlite:///relay.db"
    assert settings.webhook_auth is WebhookAuth.HMAC
    assert settings.webhook_tolerance == timedelta(minutes=5)
    assert settings.membership_roles == ("OWNER", "ADMIN", "MEMBER")
    assert settings.membership_statuses == ("ACTIVE", "INACTIVE")
    assert settings.effective_jwt_algorithms == ()
    assert (settings.jwt_secret, settings.jwt_jwks_url) == (None, None)
    assert (settings.jwt_issuer, settings.jwt_audience) == (None, None)
    assert (settings.host, settings.log_level, settings.log_format) == ("127.0.0.1", "INFO", "text")
    assert settings.shutdown_seconds == 8


def test_settings_are_read_from_the_environment(set_environment: SetEnvironment) -> None:
    set_environment(
        {
            "SUPABASE_TIMEOUT_SECONDS": "2.5",
            "WEBHOOK_AUTH": "both",
            "WEBHOOK_TOLERANCE_SECONDS": "60",
            "JWT_SECRET": JWT_SECRET,
            "JWT_ISSUER": "https://issuer.test",
            "JWT_AUDIENCE": "relay",
            "STORE_URL": "postgresql://relay@db/relay",
            "HOST": "0.0.0.0",  # noqa: S104 - containers listen there
            "PORT": "0",
            "LOG_LEVEL": "warning",
            "LOG_FORMAT": "json",
        }
    )
    settings = read()
    assert settings.supabase_timeout_seconds == 2.5
    assert settings.webhook_auth is WebhookAuth.BOTH
    assert settings.webhook_tolerance == timedelta(minutes=1)
    assert settings.jwt_secret == SecretStr(JWT_SECRET)
    assert (settings.jwt_issuer, settings.jwt_audience) == ("https://issuer.test", "relay")
    assert settings.store_url == "postgresql://relay@db/relay"
    assert (settings.port, settings.log_level, settings.log_format) == (0, "WARNING", "json")


def test_settings_cannot_be_changed(set_environment: SetEnvironment) -> None:
    set_environment()
    with pytest.raises(ValidationError):
        read().port = 1  # type: ignore[misc]


def test_settings_do_not_show_their_secrets(set_environment: SetEnvironment) -> None:
    set_environment({"JWT_SECRET": JWT_SECRET})
    shown = repr(read()) + str(read()) + repr(read().model_dump())
    for secret in ("eyJ.service.role", "whsec_MfKQ", JWT_SECRET):
        assert secret not in shown


def test_settings_with_unknown_names_around_them_are_read(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_ANON_KEY": "x", "PATH_TO_NOWHERE": "x"})
    read()


def test_settings_that_are_empty_count_as_not_set(set_environment: SetEnvironment) -> None:
    set_environment({"JWT_SECRET": "", "JWT_ISSUER": "", "PORT": "", "MEMBERSHIP_ROLES": ""})
    settings = read()
    assert (settings.jwt_secret, settings.jwt_issuer) == (None, None)
    assert settings.port == Settings.model_fields["port"].default
    assert settings.membership_roles == ("OWNER", "ADMIN", "MEMBER")


@pytest.mark.parametrize(
    "url",
    [
        "https://project.supabase.test",
        "https://project.supabase.test/",
        "https://project.supabase.test/rest/v1",
        "https://project.supabase.test/rest/v1/",
        "https://project.supabase.test//",
    ],
)
def test_supabase_url_is_cut_down_to_its_base(set_environment: SetEnvironment, url: str) -> None:
    set_environment({"SUPABASE_URL": url})
    assert read().supabase_url == "https://project.supabase.test"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:54321", "http://[::1]:54321", "http://kong:8000/supabase"]
)
def test_supabase_url_of_another_host_port_or_path_is_kept(
    set_environment: SetEnvironment, url: str
) -> None:
    set_environment({"SUPABASE_URL": url})
    assert read().supabase_url == url


# Lists


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A", ("A",)),
        ("A,B", ("A", "B")),
        (" A , B ", ("A", "B")),
        ("A,,B,", ("A", "B")),
        ("trip lead,B", ("trip lead", "B")),
        ('["A"]', ('["A"]',)),  # JSON is not read: a list is written by commas
    ],
)
def test_list_is_split_at_commas_and_trimmed(
    set_environment: SetEnvironment, text: str, words: tuple[str, ...]
) -> None:
    set_environment({"MEMBERSHIP_ROLES": text, "JWT_ALGORITHMS": text, "JWT_SECRET": JWT_SECRET})
    assert read().membership_roles == words
    assert read().jwt_algorithms == words


def test_webhook_secrets_are_split_at_commas(set_environment: SetEnvironment) -> None:
    set_environment({"WEBHOOK_SECRETS": "whsec_a, whpk_b ,"})
    assert read().webhook_secrets == (SecretStr("whsec_a"), SecretStr("whpk_b"))


@pytest.mark.parametrize(
    ("changes", "algorithms"),
    [
        ({}, ()),
        ({"JWT_SECRET": JWT_SECRET}, ("HS256",)),
        ({"JWT_JWKS_URL": "https://issuer.test/jwks"}, ("RS256", "ES256")),
        (
            {"JWT_SECRET": JWT_SECRET, "JWT_JWKS_URL": "https://issuer.test/jwks"},
            ("HS256", "RS256", "ES256"),
        ),
        ({"JWT_SECRET": JWT_SECRET, "JWT_ALGORITHMS": "HS512,HS384"}, ("HS512", "HS384")),
    ],
)
def test_jwt_algorithms_are_those_set_or_those_that_have_a_key(
    set_environment: SetEnvironment, changes: dict[str, str], algorithms: tuple[str, ...]
) -> None:
    set_environment(changes)
    assert read().effective_jwt_algorithms == algorithms


def test_webhook_tolerance_has_no_upper_bound(set_environment: SetEnvironment) -> None:
    for seconds in (10**9, 10**15, 10**30):
        set_environment({"WEBHOOK_TOLERANCE_SECONDS": str(seconds)})
        assert read().webhook_tolerance >= timedelta(seconds=10**9)


# The key's two names


def test_supabase_key_is_read_under_its_new_name(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": None, "SUPABASE_SECRET_KEY": "sb_secret_x"})
    assert read().supabase_service_role_key == SecretStr("sb_secret_x")


def test_supabase_key_whose_old_name_is_left_empty_is_read_under_the_new(
    set_environment: SetEnvironment,
) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": "", "SUPABASE_SECRET_KEY": "sb_secret_x"})
    assert read().supabase_service_role_key == SecretStr("sb_secret_x")


def test_supabase_key_missing_says_both_names(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": None})
    assert refuse() == "SUPABASE_SERVICE_ROLE_KEY is not set (nor is SUPABASE_SECRET_KEY)"


@pytest.mark.parametrize("in_environment", ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"])
@pytest.mark.parametrize("in_file", ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"])
def test_supabase_key_of_the_environment_wins_over_the_file_under_either_name(
    set_environment: SetEnvironment, tmp_path: Path, in_environment: str, in_file: str
) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": None, in_environment: "of-the-environment"})
    file = tmp_path / "settings.env"
    file.write_text(f"{in_file}=of-the-file\n")
    settings = read_settings(Settings, env_file=file)
    assert settings.supabase_service_role_key == SecretStr("of-the-environment")


# What each mode needs

NEEDS_SECRETS = "WEBHOOK_AUTH={} needs WEBHOOK_SECRETS; `relay secret` makes one"
NEEDS_TOKENS = "WEBHOOK_AUTH={} needs JWT_SECRET or JWT_JWKS_URL"
SECRETS = {"WEBHOOK_SECRETS": "whsec_x"}
SHARED = {"JWT_SECRET": JWT_SECRET}
KEY_SET = {"JWT_JWKS_URL": "https://issuer.test/jwks"}


@pytest.mark.parametrize(
    ("mode", "given", "sentence"),
    [
        ("hmac", {}, NEEDS_SECRETS),
        ("hmac", SHARED, NEEDS_SECRETS),
        ("hmac", SECRETS, None),
        ("hmac", {"WEBHOOK_SECRETS": " , "}, NEEDS_SECRETS),
        ("jwt", {}, NEEDS_TOKENS),
        ("jwt", SECRETS, NEEDS_TOKENS),
        ("jwt", SHARED, None),
        ("jwt", KEY_SET, None),
        ("any", {}, NEEDS_SECRETS),
        ("any", SECRETS, None),
        ("any", SHARED, None),
        ("any", KEY_SET, None),
        ("both", {}, NEEDS_SECRETS),
        ("both", SECRETS, NEEDS_TOKENS),
        ("both", SHARED, NEEDS_SECRETS),
        ("both", SECRETS | SHARED, None),
        ("both", SECRETS | KEY_SET, None),
        ("both", SECRETS | {"JWT_SECRET": ""}, NEEDS_TOKENS),
    ],
)
def test_webhook_auth_without_the_secret_it_needs_names_the_setting(
    set_environment: SetEnvironment, mode: str, given: dict[str, str], sentence: str | None
) -> None:
    set_environment({"WEBHOOK_SECRETS": None, "WEBHOOK_AUTH": mode, **given})
    if sentence is None:
        assert read().webhook_auth == mode
    else:
        assert refuse() == sentence.format(mode)


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "project.supabase.test"),
        ("SUPABASE_URL", "ftp://project.supabase.test"),
        ("SUPABASE_URL", "https://"),
        ("SUPABASE_URL", "https://project supabase.test"),
        ("SUPABASE_URL", "https://project.supabase.test/?a=b"),
        ("SUPABASE_URL", "https://project.supabase.test/#a"),
        ("SUPABASE_URL", "https://project.supabase.test:port"),
        ("SUPABASE_TIMEOUT_SECONDS", "0"),
        ("SUPABASE_TIMEOUT_SECONDS", "-3.25"),
        ("SUPABASE_TIMEOUT_SECONDS", "120.5"),
        ("SUPABASE_TIMEOUT_SECONDS", "nan"),
        ("SUPABASE_TIMEOUT_SECONDS", "inf"),
        ("SUPABASE_TIMEOUT_SECONDS", "ten-seconds"),
        ("WEBHOOK_AUTH", "none-at-all"),
        ("WEBHOOK_TOLERANCE_SECONDS", "0"),
        ("WEBHOOK_TOLERANCE_SECONDS", "-300"),
        ("WEBHOOK_TOLERANCE_SECONDS", "5m-or-so"),
        ("JWT_JWKS_URL", "issuer.test/jwks"),
        ("JWT_JWKS_URL", "file:///etc/passwd"),
        ("MEMBERSHIP_ROLES", ","),
        ("MEMBERSHIP_STATUSES", ","),
        ("MEMBERSHIP_STATUSES", "INVITED,REMOVED"),
        ("MEMBERSHIP_STATUSES", "active"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http-port"),
        ("LOG_LEVEL", "QUIETLY"),
        ("LOG_FORMAT", "yaml-please"),
        ("MAX_IN_FLIGHT", "0"),
        ("MAX_IN_FLIGHT", "100001"),
        ("SHUTDOWN_SECONDS", "0"),
        ("SHUTDOWN_SECONDS", "601"),
    ],
)
def test_setting_out_of_its_bounds_is_named_and_not_repeated(
    set_environment: SetEnvironment, name: str, value: str
) -> None:
    set_environment({name: value})
    sentence = refuse()
    assert sentence.startswith(f"{name}: ")
    if len(value) > 3:  # a bound of three digits may well be in the sentence
        assert value not in sentence


@pytest.mark.parametrize("secret", ["x", "x" * 31, "é" * 15, " " * 31])
def test_jwt_secret_that_could_be_found_by_trying_is_refused(
    set_environment: SetEnvironment, secret: str
) -> None:
    set_environment({"JWT_SECRET": secret})
    sentence = refuse()
    assert sentence.startswith("JWT_SECRET: must be at least 32 bytes")
    assert secret * 2 not in sentence


@pytest.mark.parametrize("character", ["x", "0", "é", " "])
def test_jwt_secret_of_one_repeated_character_is_refused(
    set_environment: SetEnvironment, character: str
) -> None:
    set_environment({"JWT_SECRET": character * 40})
    sentence = refuse()
    assert sentence.startswith("JWT_SECRET: must not be one character repeated")
    assert character * 2 not in sentence


@pytest.mark.parametrize("secret", ["x" * 31 + "y", "é" * 15 + "xy"])
def test_jwt_secret_of_32_bytes_is_long_enough(
    set_environment: SetEnvironment, secret: str
) -> None:
    set_environment({"JWT_SECRET": secret})
    assert read().jwt_secret == SecretStr(secret)


def test_settings_that_are_wrong_are_named_all_at_once(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_URL": None, "PORT": "x", "LOG_FORMAT": "x"})
    assert [part.partition(" ")[0] for part in refuse().split("; ")] == [
        "SUPABASE_URL",
        "PORT:",
        "LOG_FORMAT:",
    ]


def test_membership_statuses_without_active_say_why(set_environment: SetEnvironment) -> None:
    set_environment({"MEMBERSHIP_STATUSES": "INVITED"})
    assert refuse() == "MEMBERSHIP_STATUSES: must hold ACTIVE, the one status that gives access"


def test_supabase_url_missing_is_named(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_URL": None})
    assert refuse() == "SUPABASE_URL is not set"


# The file


def write_file(folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    lines = [f"{name}={value}" for name, value in {**MINIMUM, **(changes or {})}.items()]
    file = folder / ".env"
    file.write_text("\n".join(["# a comment", *lines, ""]))
    return file


def test_file_alone_is_enough(tmp_path: Path) -> None:
    file = write_file(tmp_path, {"PORT": "1234"})
    assert read_settings(Settings, env_file=file).port == 1234


def test_file_in_the_working_directory_is_read_unless_told_otherwise(tmp_path: Path) -> None:
    write_file(tmp_path, {"PORT": "1234"})
    assert read_settings(Settings).port == 1234
    with pytest.raises(ConfigurationInvalid):
        read_settings(Settings, env_file=None)


def test_file_stands_below_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_file(tmp_path, {"PORT": "1234", "LOG_FORMAT": "json"})
    monkeypatch.setenv("PORT", "4321")
    settings = read_settings(Settings, env_file=file)
    assert (settings.port, settings.log_format) == (4321, "json")


def test_file_that_does_not_exist_is_no_error(
    tmp_path: Path, set_environment: SetEnvironment
) -> None:
    set_environment()
    read_settings(Settings, env_file=tmp_path / "nowhere.env")


def test_file_that_is_a_folder_is_no_error(tmp_path: Path, set_environment: SetEnvironment) -> None:
    # What docker makes of a file to be mounted that is not there.
    set_environment()
    (tmp_path / ".env").mkdir()
    read_settings(Settings, env_file=tmp_path / ".env")


def test_file_that_is_wrong_is_not_repeated(tmp_path: Path) -> None:
    file = write_file(tmp_path, {"PORT": "sb_secret_pasted_here"})
    with pytest.raises(ConfigurationInvalid, match=r"^PORT: ") as caught:
        read_settings(Settings, env_file=file)
    assert "sb_secret_pasted_here" not in str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_file_that_is_not_utf_8_says_so(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes("PORT=1234 # für später\n".encode(encoding))
    with pytest.raises(ConfigurationInvalid, match="UTF-8"):
        read_settings(StoreSettings, env_file=file)


# Parts, for commands that need no more


def test_store_settings_need_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(StoreSettings, env_file=None).store_url == "sqlite:///relay.db"
    monkeypatch.setenv("STORE_URL", "sqlite:///other.db")
    monkeypatch.setenv("PORT", "not read here")
    assert read_settings(StoreSettings, env_file=None).store_url == "sqlite:///other.db"


def test_secret_settings_need_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(SecretSettings, env_file=None).webhook_secrets == ()
    monkeypatch.setenv("WEBHOOK_SECRETS", "whsec_a,whsec_b")
    secrets = read_settings(SecretSettings, env_file=None).webhook_secrets
    assert secrets == (SecretStr("whsec_a"), SecretStr("whsec_b"))


# The tables of a project


def test_targets_that_are_not_set_are_the_minimal_ones(set_environment: SetEnvironment) -> None:
    set_environment({"TARGET_USERS": ""})
    assert read().targets == MINIMAL_TARGETS


def test_targets_that_are_set_are_read_each_for_its_kind(set_environment: SetEnvironment) -> None:
    mappings = {
        "TARGET_USERS": '{"table": "app.profiles", "copy": {"supabase_id": "id"}}',
        "TARGET_TRIPS": ' {"columns": {"name": "title"}, "extra": ["start_date"]} ',
        "TARGET_MEMBERSHIPS": '{"constants": {"deleted_at": null}, "inactive": "remove"}',
    }
    set_environment(mappings)
    settings = read()
    assert settings.targets == Targets(
        users=read_target(Kind.USER, mappings["TARGET_USERS"]),
        trips=read_target(Kind.TRIP, mappings["TARGET_TRIPS"]),
        memberships=read_target(Kind.MEMBERSHIP, mappings["TARGET_MEMBERSHIPS"]),
    )
    assert settings.targets.extra == {Kind.TRIP: ("start_date",)}


@pytest.mark.parametrize(
    ("name", "mapping", "sentence"),
    [
        ("TARGET_USERS", "profiles", "is not valid JSON"),
        ("TARGET_USERS", '{"inactive": "keep"}', "/inactive is for TARGET_MEMBERSHIPS only"),
        (
            "TARGET_TRIPS",
            '{"columns": {"title": "name"}}',
            "/columns/title names no field of a trip (id, name, created_by)",
        ),
        (
            "TARGET_MEMBERSHIPS",
            '{"inactive": "drop"}',
            "/inactive must be one of keep, remove",
        ),
    ],
)
def test_target_with_a_mistake_stops_the_start_with_its_place(
    set_environment: SetEnvironment, name: str, mapping: str, sentence: str
) -> None:
    set_environment({name: mapping})
    assert refuse() == f"{name}: {sentence}"


def test_target_with_a_mistake_does_not_repeat_its_constants(
    set_environment: SetEnvironment,
) -> None:
    set_environment({"TARGET_USERS": '{"constants": {"id": "a value to keep quiet about"}}'})
    assert refuse() == "TARGET_USERS: /constants/id writes the column id, as /columns/id does"


def test_target_in_the_file_is_read_in_quotes_or_without(tmp_path: Path) -> None:
    mapping = '{"table": "profiles", "copy": {"supabase_id": "id"}}'
    for written in (mapping, f"'{mapping}'"):
        file = write_file(tmp_path, {"TARGET_USERS": written})
        targets = read_settings(Settings, env_file=file).targets
        assert targets.users == read_target(Kind.USER, mapping)


# With the rooms that take the values


@pytest.mark.parametrize(
    "url", ["https://project.supabase.test:443", "http://[::1]:54321", "http://kong:8000/x"]
)
def test_supabase_url_that_is_accepted_can_be_requested(
    set_environment: SetEnvironment, url: str
) -> None:
    set_environment({"SUPABASE_URL": url})
    assert httpx.URL(f"{read().supabase_url}/rest/v1").host
