"""The settings of a deployment. Variables of the environment win over those of `.env`."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import httpx
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.api.webhook_log import LogWebhooks
from app.auth.authentication import WebhookAuth
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid
from app.settings_problems import describe_problem
from app.supabase.auth_admin import AccountPolicy
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Target, Targets


def _split_at_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _read_target(kind: Kind, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return read_target(kind, value)
    except ValueError as error:
        raise ValueError(f"is invalid: {error}") from error


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_at_commas)]
TargetSetting = Annotated[InstanceOf[Target] | None, NoDecode]


class StoreSettings(BaseSettings):
    """The settings of commands that only open the store."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    store_url: str = Field(
        "sqlite:///relay.db", description="Database of the relay: SQLite or PostgreSQL."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _require_utf_8(cls, value: object) -> object:
        if isinstance(value, str) and value != value.encode(errors="replace").decode():
            raise ValueError("must be UTF-8 text")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _reject_quotes(cls, value: object) -> object:
        if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] in ("'", '"'):
            raise ValueError(
                "begins and ends with a quotation mark: remove both;"
                " an env-file of a container needs no quotes and keeps them"
            )
        return value


class SecretSettings(BaseSettings):
    """The settings of commands that sign webhooks or tokens."""

    model_config = StoreSettings.model_config

    webhook_secrets: Secrets = Field(
        (), description="whsec_ secrets and whpk_ public keys, separated by commas; any may match."
    )
    jwt_secret: SecretStr | None = Field(
        None, description="Secret of HS256 tokens, at least 32 bytes."
    )
    jwt_issuer: str | None = Field(None, description="Required `iss` claim.")
    jwt_audience: str | None = Field(None, description="Required `aud` claim.")

    @field_validator("jwt_secret")
    @classmethod
    def _require_strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        secret = "" if value is None else value.get_secret_value()
        # RFC 7518, section 3.2: at least as long as the hash.
        if value is not None and (len(secret.encode()) < 32 or len(set(secret)) == 1):
            raise ValueError(
                "must be at least 32 bytes, and not one character repeated;"
                " `relay secret --kind jwt` makes one"
            )
        return value


class MembershipSettings(BaseSettings):
    """The settings of commands that read memberships."""

    model_config = StoreSettings.model_config

    membership_roles: Names = Field(
        ("OWNER", "ADMIN", "MEMBER"), min_length=1, description="Accepted roles."
    )
    membership_statuses: Names = Field(
        ("ACTIVE", "INACTIVE"),
        min_length=1,
        description="Accepted statuses; only ACTIVE grants access.",
    )

    @field_validator("membership_statuses")
    @classmethod
    def _require_active(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "ACTIVE" not in value:
            raise ValueError("must contain ACTIVE, the only status that grants access")
        return value


class Settings(StoreSettings, MembershipSettings, SecretSettings):
    """One deployment's settings. The environment variable is the field's name in capitals."""

    supabase_url: str = Field(description="Base URL of the Supabase project.")
    supabase_service_role_key: SecretStr = Field(
        validation_alias=AliasChoices("supabase_service_role_key", "supabase_secret_key"),
        description="A secret key (SUPABASE_SECRET_KEY), or the legacy service_role key.",
    )
    supabase_timeout_seconds: float = Field(
        10.0, gt=0, le=120, description="Timeout of one request to Supabase."
    )
    jwt_jwks_url: str | None = Field(None, description="Key set URL of RS256 and ES256 tokens.")
    # After the settings that it depends on, which its validator reads.
    webhook_auth: WebhookAuth = Field(
        WebhookAuth.HMAC, description="How senders authenticate: hmac, jwt, any or both."
    )
    webhook_tolerance_seconds: int = Field(
        300, ge=1, description="Largest difference between webhook-timestamp and the clock."
    )
    jwt_algorithms: Names = Field(
        (), description="Accepted token algorithms; by default those with a key."
    )
    store_pooler: Literal["auto", "transaction"] = Field(
        "auto", description="Whether PostgreSQL is behind a transaction pooler; auto detects it."
    )
    target_users: Annotated[TargetSetting, BeforeValidator(partial(_read_target, Kind.USER))] = (
        Field(None, description="How users map to a table of the project.")
    )
    target_trips: Annotated[TargetSetting, BeforeValidator(partial(_read_target, Kind.TRIP))] = (
        Field(None, description="How trips map to a table.")
    )
    target_memberships: Annotated[
        TargetSetting, BeforeValidator(partial(_read_target, Kind.MEMBERSHIP))
    ] = Field(None, description="How memberships map to a table.")
    auth_on_user_deleted: AccountPolicy = Field(
        AccountPolicy.KEEP, description="The Auth account of a removed user: keep, ban or delete."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="text for people, json for machines."
    )
    log_webhooks: LogWebhooks = Field(
        LogWebhooks.REJECTED, description="Webhook requests that are logged: all, rejected or off."
    )
    max_connections: int = Field(
        2000,
        ge=1,
        le=100_000,
        description="Open connections; one more closes the one that has waited longest.",
    )
    max_in_flight: int = Field(
        1000, ge=1, le=100_000, description="Authenticated webhooks in flight; more get a 429."
    )
    retention_days: int = Field(
        30, ge=1, le=36_500, description="How long events can be looked up and replayed by id."
    )
    drift_check_seconds: int = Field(
        600,
        ge=0,
        le=2_592_000,
        description="How often Supabase is compared with the desired state; 0 turns it off.",
    )
    shutdown_seconds: int = Field(8, ge=1, le=600, description="How long a graceful stop may last.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _convert_to_capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("supabase_url", "jwt_jwks_url")
    @classmethod
    def _require_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host or any(map(str.isspace, value)):
            raise ValueError("must be a URL that begins with https:// or http://")
        return value

    @field_validator("supabase_url")
    @classmethod
    def _reduce_to_base_url(cls, value: str) -> str:
        if "?" in value or "#" in value:
            raise ValueError("must be the base URL of the project, without a query or fragment")
        return value.rstrip("/").removesuffix("/rest/v1").rstrip("/")

    @field_validator("webhook_auth")
    @classmethod
    def _require_credentials(cls, value: WebhookAuth, info: ValidationInfo) -> WebhookAuth:
        if not {"webhook_secrets", "jwt_secret", "jwt_jwks_url"} <= info.data.keys():
            return value  # One of them is invalid, which is reported already.
        has_secrets = bool(info.data["webhook_secrets"])
        has_tokens = info.data["jwt_secret"] is not None or info.data["jwt_jwks_url"] is not None
        accepts_tokens = value is WebhookAuth.ANY and has_tokens
        if value is not WebhookAuth.JWT and not has_secrets and not accepts_tokens:
            raise ValueError(f"is {value}, which needs WEBHOOK_SECRETS; `relay secret` makes one")
        if value in (WebhookAuth.JWT, WebhookAuth.BOTH) and not has_tokens:
            raise ValueError(f"is {value}, which needs JWT_SECRET or JWT_JWKS_URL")
        return value

    @property
    def targets(self) -> Targets:
        """The tables to write to: those configured, else the minimal ones."""
        return Targets(
            users=self.target_users or MINIMAL_TARGETS.users,
            trips=self.target_trips or MINIMAL_TARGETS.trips,
            memberships=self.target_memberships or MINIMAL_TARGETS.memberships,
        )

    @property
    def effective_jwt_algorithms(self) -> tuple[str, ...]:
        """The accepted algorithms: those set, else those with a key."""
        if self.jwt_algorithms:
            return self.jwt_algorithms
        symmetric = ("HS256",) if self.jwt_secret is not None else ()
        asymmetric = ("RS256", "ES256") if self.jwt_jwks_url is not None else ()
        return symmetric + asymmetric


S = TypeVar("S", bound=BaseSettings)


def read_settings(model: type[S], *, env_file: Path | None = Path(".env")) -> S:
    """Read the settings.

    Raises:
        ConfigurationInvalid: names every setting that is missing or invalid, never its value.
    """
    # Not Path.is_file, which raises where the folder may not be entered, as in a container whose
    # uid the platform chooses.
    if env_file is not None and not os.path.isfile(env_file):  # noqa: PTH113
        env_file = None
    try:
        return model(_env_file=env_file)
    except PermissionError as error:
        raise ConfigurationInvalid(
            f"{env_file} cannot be read by uid {os.getuid()}; change its owner or mode"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"{env_file} is not UTF-8; save it as UTF-8") from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        sentences = [describe_problem(problem, model.model_fields) for problem in problems]
        raise ConfigurationInvalid(*sentences) from error
