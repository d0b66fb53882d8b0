"""Every setting, read from the environment first, then from `.env`. Only main and cli read it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import httpx
from pydantic import (
    AliasChoices,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.auth.authentication import WebhookAuth
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Target, Targets

Words = Annotated[tuple[str, ...], NoDecode]
ReadTarget = Annotated[InstanceOf[Target] | None, NoDecode]
_JWT_SECRET_BYTES = 32

SecretWords = Annotated[tuple[SecretStr, ...], NoDecode]


class StoreSettings(BaseSettings):
    """Where the relay keeps its state: all that `relay migrate` needs."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    store_url: str = Field("sqlite:///relay.db", description="Where the relay keeps its state.")


class SecretSettings(BaseSettings):
    """What is shared with those who call: all that `relay send` and `relay events` need."""

    model_config = StoreSettings.model_config

    webhook_secrets: SecretWords = Field(
        (), description="whsec_ secrets and whpk_ public keys, by commas; several for rotation."
    )
    jwt_secret: SecretStr | None = Field(None, description="Secret of HS256 tokens.")
    jwt_issuer: str | None = Field(None, description="What `iss` must be, if anything.")
    jwt_audience: str | None = Field(None, description="What `aud` must hold, if anything.")

    @field_validator("jwt_secret")
    @classmethod
    def _require_strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        # RFC 7518 section 3.2: no shorter than the hash; a short one is found by trying.
        if len(value.get_secret_value().encode()) < _JWT_SECRET_BYTES:
            raise ValueError(
                f"must be at least {_JWT_SECRET_BYTES} bytes; `relay secret --kind jwt` makes one"
            )
        if len(set(value.get_secret_value())) == 1:
            raise ValueError(
                "must not be one character repeated; `relay secret --kind jwt` makes one"
            )
        return value

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        return _split_at_commas(value)


class Settings(StoreSettings, SecretSettings):
    """One deployment's settings. The environment variable is the field's name in capitals."""

    supabase_url: str = Field(
        description="Base URL of the Supabase project, as the dashboard shows it.",
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
    )
    supabase_service_role_key: SecretStr = Field(
        validation_alias=AliasChoices("supabase_service_role_key", "supabase_secret_key"),
        description="The legacy service_role key; or SUPABASE_SECRET_KEY, the new sb_secret_ one.",
    )
    supabase_timeout_seconds: float = Field(
        10.0, gt=0, le=120, description="How long one request to Supabase may take."
    )
    webhook_auth: WebhookAuth = Field(
        WebhookAuth.HMAC, description="What a webhook must carry: hmac, jwt, any or both."
    )
    webhook_tolerance_seconds: int = Field(
        300, ge=1, description="How far webhook-timestamp may lie from the clock, both ways."
    )
    jwt_jwks_url: str | None = Field(
        None, description="Where the keys of RS256 and ES256 tokens are.", pattern=r"^https?://\S+$"
    )
    jwt_algorithms: Words = Field(
        (), description="Algorithms accepted, by commas; by default those that have a key."
    )
    membership_roles: Words = Field(
        ("OWNER", "ADMIN", "MEMBER"), min_length=1, description="Roles accepted, by commas."
    )
    membership_statuses: Words = Field(
        ("ACTIVE", "INACTIVE"),
        min_length=1,
        description="Statuses accepted, by commas; all but ACTIVE take access away.",
    )
    store_pooler: Literal["auto", "transaction"] = Field(
        "auto",
        description="Whether a transaction pooler stands before PostgreSQL; auto finds out.",
    )
    target_users: ReadTarget = Field(None, description="How users fit a table of your own (JSON).")
    target_trips: ReadTarget = Field(None, description="The same of trips.")
    target_memberships: ReadTarget = Field(None, description="The same of memberships.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="For people or for machines.")
    max_connections: int = Field(
        2000,
        ge=1,
        le=100_000,
        description="Connections open at once; one more closes the one that has waited longest.",
    )
    max_in_flight: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Authentic webhooks worked on at once; one more is answered 429.",
    )
    retention_days: int = Field(
        30, ge=1, le=36_500, description="How long events can be looked up and replayed by id."
    )
    shutdown_seconds: int = Field(
        8, ge=1, le=600, description="How long a stop may take before what is open is abandoned."
    )

    @field_validator("jwt_algorithms", "membership_roles", "membership_statuses", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return _split_at_commas(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _raise_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("supabase_url")
    @classmethod
    def _strip_path(cls, value: str) -> str:
        try:
            httpx.URL(value)
        except httpx.InvalidURL as error:
            raise ValueError("is no URL") from error
        return value.rstrip("/").removesuffix("/rest/v1").rstrip("/")

    @field_validator("membership_statuses")
    @classmethod
    def _require_active(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "ACTIVE" not in value:
            raise ValueError("must hold ACTIVE, the one status that gives access")
        return value

    @field_validator("target_users", "target_trips", "target_memberships", mode="before")
    @classmethod
    def _read_target(cls, value: object, info: ValidationInfo) -> object:
        kinds = {
            "target_users": Kind.USER,
            "target_trips": Kind.TRIP,
            "target_memberships": Kind.MEMBERSHIP,
        }
        return read_target(kinds[str(info.field_name)], value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _require_what_the_mode_needs(self) -> Self:
        has_tokens = self.jwt_secret is not None or self.jwt_jwks_url is not None
        needs_signatures = self.webhook_auth is not WebhookAuth.JWT
        needs_tokens = self.webhook_auth in (WebhookAuth.JWT, WebhookAuth.BOTH)
        if self.webhook_auth is WebhookAuth.ANY:
            needs_signatures = not has_tokens
        if needs_signatures and not self.webhook_secrets:
            raise ValueError(
                f"WEBHOOK_AUTH={self.webhook_auth} needs WEBHOOK_SECRETS; `relay secret` makes one"
            )
        if needs_tokens and not has_tokens:
            raise ValueError(f"WEBHOOK_AUTH={self.webhook_auth} needs JWT_SECRET or JWT_JWKS_URL")
        return self

    @property
    def targets(self) -> Targets:
        """The tables that are written: those configured, else the minimal ones."""
        return Targets(
            users=self.target_users or MINIMAL_TARGETS.users,
            trips=self.target_trips or MINIMAL_TARGETS.trips,
            memberships=self.target_memberships or MINIMAL_TARGETS.memberships,
        )

    @property
    def webhook_tolerance(self) -> timedelta:
        """`webhook_tolerance_seconds` as a duration."""
        return timedelta(seconds=min(self.webhook_tolerance_seconds, 10**12))

    @property
    def effective_jwt_algorithms(self) -> tuple[str, ...]:
        """The algorithms accepted: those set, else those that have a key."""
        if self.jwt_algorithms:
            return self.jwt_algorithms
        symmetric = ("HS256",) if self.jwt_secret is not None else ()
        asymmetric = ("RS256", "ES256") if self.jwt_jwks_url is not None else ()
        return symmetric + asymmetric


S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S], *, env_file: Path | None = Path(".env")) -> S:
    """Read the settings.

    Raises:
        ConfigurationInvalid: names every setting that is missing or unusable, never its value.
    """
    try:
        return kind(_env_file=env_file)
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"{env_file} is not UTF-8") from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise ConfigurationInvalid(
            *(_describe(problem["loc"], problem["type"], problem["msg"]) for problem in problems)
        ) from error


def _describe(location: tuple[int | str, ...], problem: str, message: str) -> str:
    name = str(location[0]).upper() if location else ""
    if problem == "missing":
        also = " (nor is SUPABASE_SECRET_KEY)" if name == "SUPABASE_SERVICE_ROLE_KEY" else ""
        return f"{name} is not set{also}"
    sentence = message.removeprefix("Value error, ")
    return f"{name}: {sentence}" if name else sentence


def _split_at_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value
