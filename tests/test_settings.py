"""Which values each setting accepts, and how the start reports invalid ones."""

import os
import re
from collections.abc import Mapping, Sequence
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
    """Hide the settings of the machine that runs the tests."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def set_environment(monkeypatch: pytest.MonkeyPatch) -> "SetEnvironment":
    return SetEnvironment(monkeypatch)


class SetEnvironment:
    """Sets the required variables, with changes; None leaves one out."""

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


def read_sentences() -> Sequence[str]:
    """Read invalid settings, and return the sentences that report them."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read()
    # A traceback shows the cause too.
    assert isinstance(caught.value.__cause__, ValidationError)
    assert "input_value" not in str(caught.value.__cause__)
    return caught.value.sentences


def read_sentence() -> str:
    (sentence,) = read_sentences()
    return sentence


# Valid values


def test_settings_with_required_variables_only_have_the_documented_defaults(
    set_environment: SetEnvironment,
) -> None:
    set_environment()
    settings = read()
    assert settings.store_url == "sqlite:///relay.db"
    assert settings.webhook_auth is WebhookAuth.HMAC
    assert settings.webhook_tolerance_seconds == 300
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
    assert settings.webhook_tolerance_seconds == 60
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


def test_webhook_tolerance_has_no_upper_limit(set_environment: SetEnvironment) -> None:
    set_environment({"WEBHOOK_TOLERANCE_SECONDS": str(10**30)})
    assert read().webhook_tolerance_seconds == 10**30


# The key's two names


def test_supabase_key_is_read_under_its_new_name(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": None, "SUPABASE_SECRET_KEY": "sb_secret_x"})
    assert read().supabase_service_role_key == SecretStr("sb_secret_x")


def test_supabase_key_with_empty_old_name_is_read_under_the_new_name(
    set_environment: SetEnvironment,
) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": "", "SUPABASE_SECRET_KEY": "sb_secret_x"})
    assert read().supabase_service_role_key == SecretStr("sb_secret_x")


def test_supabase_key_missing_names_both_variables(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_SERVICE_ROLE_KEY": None})
    assert read_sentence().startswith(
        "SUPABASE_SECRET_KEY is not set, and neither is SUPABASE_SERVICE_ROLE_KEY; copy the key"
    )


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


# Credentials by mode

NEEDS_SECRETS = "WEBHOOK_AUTH is {}, which needs WEBHOOK_SECRETS; `relay secret` makes one"
NEEDS_TOKENS = "WEBHOOK_AUTH is {}, which needs JWT_SECRET or JWT_JWKS_URL"
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
        assert read_sentence() == sentence.format(mode)


# Invalid values

URL_RULE = "must be a URL that begins with https:// or http://"
INVALID = {
    "SUPABASE_URL": {
        "project.supabase.test": URL_RULE,
        "ftp://project.supabase.test": URL_RULE,
        "https://": URL_RULE,
        "https://project supabase.test": URL_RULE,
        "https://project.supabase.test:port": URL_RULE,
        "https://project.supabase.test/?a=b": "must be the base URL of the project",
        "https://project.supabase.test/#a": "must be the base URL of the project",
    },
    "SUPABASE_TIMEOUT_SECONDS": dict.fromkeys(
        ("0", "-3.25", "120.5", "nan", "inf", "ten-seconds"),
        "must be a number, more than 0 and at most 120",
    ),
    "WEBHOOK_AUTH": dict.fromkeys(("none-at-all", "HMAC"), "must be hmac, jwt, any or both"),
    "WEBHOOK_TOLERANCE_SECONDS": dict.fromkeys(
        ("0", "-300", "5m-or-so", "1.5", "9" * 5000), "must be a whole number, at least 1"
    ),
    "JWT_JWKS_URL": dict.fromkeys(
        ("issuer.test/jwks", "file:///etc/passwd", "https:///jwks"), URL_RULE
    ),
    "MEMBERSHIP_ROLES": {",": "must contain at least one name"},
    "MEMBERSHIP_STATUSES": {
        ",": "must contain at least one name",
        "INVITED,REMOVED": "must contain ACTIVE, the only status that grants access",
        "active": "must contain ACTIVE, the only status that grants access",
    },
    "STORE_POOLER": {"session": "must be auto or transaction"},
    "TARGET_USERS": {"profiles": "is invalid: "},
    "TARGET_TRIPS": {"[]": "is invalid: "},
    "TARGET_MEMBERSHIPS": {'{"inactive": "drop"}': "is invalid: /inactive "},
    "PORT": dict.fromkeys(
        ("65536", "-1", "http-port", "9" * 5000),
        "must be a whole number, at least 0 and at most 65535",
    ),
    "LOG_LEVEL": {"QUIETLY": "must be DEBUG, INFO, WARNING or ERROR"},
    "LOG_FORMAT": {"yaml-please": "must be text or json"},
    "MAX_CONNECTIONS": dict.fromkeys(
        ("0", "100001", "many"), "must be a whole number, at least 1 and at most 100000"
    ),
    "MAX_IN_FLIGHT": dict.fromkeys(
        ("0", "100001", "many"), "must be a whole number, at least 1 and at most 100000"
    ),
    "RETENTION_DAYS": dict.fromkeys(
        ("0", "36501", "a-month"), "must be a whole number, at least 1 and at most 36500"
    ),
    "SHUTDOWN_SECONDS": dict.fromkeys(
        ("0", "601", "8s"), "must be a whole number, at least 1 and at most 600"
    ),
}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [(name, value, rule) for name, rules in INVALID.items() for value, rule in rules.items()],
)
def test_setting_with_an_invalid_value_is_reported_by_name_without_the_value(
    set_environment: SetEnvironment, name: str, value: str, rule: str
) -> None:
    set_environment({name: value})
    sentence = read_sentence()
    assert sentence.startswith(f"{name} {rule}")
    assert value in rule or value not in sentence


@pytest.mark.parametrize("name", sorted(NAMES - {"SUPABASE_SECRET_KEY"}))
def test_setting_that_is_not_utf_8_is_reported_by_name(
    set_environment: SetEnvironment, name: str
) -> None:
    set_environment({name: "\udcff" * 40})
    assert read_sentence() == f"{name} must be UTF-8 text"


@pytest.mark.parametrize("mark", ["'", '"'])
@pytest.mark.parametrize(
    ("name", "value"),
    [("SUPABASE_URL", MINIMUM["SUPABASE_URL"]), ("PORT", "8080"), ("TARGET_USERS", "{}")],
)
def test_setting_in_quotes_of_a_containers_env_file_says_to_remove_them(
    set_environment: SetEnvironment, name: str, value: str, mark: str
) -> None:
    set_environment({name: f"{mark}{value}{mark}"})
    sentence = read_sentence()
    assert sentence.startswith(f"{name} begins and ends with a quotation mark: remove both")


def test_settings_that_are_invalid_are_reported_all_at_once(
    set_environment: SetEnvironment,
) -> None:
    set_environment(
        {name: next(iter(rules)) for name, rules in INVALID.items()}
        | {"SUPABASE_SERVICE_ROLE_KEY": None, "WEBHOOK_SECRETS": None, "JWT_SECRET": "short"}
    )
    sentences = read_sentences()
    for name in INVALID.keys() | {"SUPABASE_SECRET_KEY", "JWT_SECRET"}:
        assert len([each for each in sentences if each.startswith(f"{name} ")]) == 1, name
    assert len(sentences) == len(INVALID) + 2


def test_webhook_auth_without_credentials_is_reported_beside_other_mistakes(
    set_environment: SetEnvironment,
) -> None:
    set_environment({"WEBHOOK_SECRETS": None, "PORT": "x"})
    assert [each.partition(" ")[0] for each in read_sentences()] == ["WEBHOOK_AUTH", "PORT"]


@pytest.mark.parametrize("name", sorted(NAMES - {"SUPABASE_SECRET_KEY"}))
def test_setting_with_any_value_is_accepted_or_reported_in_plain_words(
    set_environment: SetEnvironment, name: str
) -> None:
    for value in ("\u200b", "{", "[]", "null", "-1", "1e400", "9" * 400, "a\nb", "'", "x", ","):
        set_environment({name: value})
        try:
            read()
        except ConfigurationInvalid as error:
            for sentence in error.sentences:
                assert re.match(r"[A-Z_]{4,} (must|is) \S", sentence)
                assert not re.search(r"Input|should|[Vv]alue error|pattern|parse|\^|\n", sentence)


@pytest.mark.parametrize("secret", ["x", "x" * 31, "é" * 15, " " * 31])
def test_jwt_secret_that_could_be_found_by_trying_is_rejected(
    set_environment: SetEnvironment, secret: str
) -> None:
    set_environment({"JWT_SECRET": secret})
    sentence = read_sentence()
    assert sentence.startswith("JWT_SECRET must be at least 32 bytes")
    assert secret * 2 not in sentence


@pytest.mark.parametrize("character", ["x", "0", "é", " "])
def test_jwt_secret_of_one_repeated_character_is_rejected(
    set_environment: SetEnvironment, character: str
) -> None:
    set_environment({"JWT_SECRET": character * 40})
    sentence = read_sentence()
    assert sentence.startswith(
        "JWT_SECRET must be at least 32 bytes, and not one character repeated;"
    )
    assert character * 2 not in sentence


@pytest.mark.parametrize("secret", ["x" * 31 + "y", "é" * 15 + "xy"])
def test_jwt_secret_of_32_bytes_is_long_enough(
    set_environment: SetEnvironment, secret: str
) -> None:
    set_environment({"JWT_SECRET": secret})
    assert read().jwt_secret == SecretStr(secret)


def test_supabase_url_missing_is_reported_by_name(set_environment: SetEnvironment) -> None:
    set_environment({"SUPABASE_URL": None})
    assert read_sentence().startswith("SUPABASE_URL is not set; copy the project URL")


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
    with pytest.raises(ConfigurationInvalid, match=r"^PORT must ") as caught:
        read_settings(Settings, env_file=file)
    assert "sb_secret_pasted_here" not in str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_file_that_is_not_utf_8_says_so(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes("PORT=1234 # für später\n".encode(encoding))
    with pytest.raises(ConfigurationInvalid, match="UTF-8"):
        read_settings(StoreSettings, env_file=file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    file = write_file(tmp_path, {"PORT": "1234"})
    file.chmod(0)
    with pytest.raises(ConfigurationInvalid, match="cannot be read by uid"):
        read_settings(StoreSettings, env_file=file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_file_in_a_folder_that_may_not_be_entered_counts_as_missing(
    set_environment: SetEnvironment, tmp_path: Path
) -> None:
    set_environment()
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    assert read_settings(Settings, env_file=folder / ".env").port == 8080


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


def test_target_with_a_mistake_names_its_place_and_not_its_constants(
    set_environment: SetEnvironment,
) -> None:
    set_environment({"TARGET_USERS": '{"constants": {"id": "a value to keep quiet about"}}'})
    sentence = read_sentence()
    assert sentence.startswith("TARGET_USERS is invalid: /constants/id ")
    assert "quiet" not in sentence


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
