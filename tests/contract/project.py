"""The Supabase project that the contract is tried on: the local one, or one that is given.

`make conformance` gives one by SUPABASE_URL, SUPABASE_SECRET_KEY and SUPABASE_DB_URL. Elsewhere
these variables are ignored: `make test` must not write to a project that a shell happens to name.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import httpx
import pytest

from app.auth.tokens import mint_token
from app.demo.local_supabase import LocalSupabase
from tests.loopback import NO_TLS

REQUIRED: Final = ("SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_DB_URL")
SWITCH: Final = "RELAY_CONFORMANCE"


@dataclass(frozen=True, slots=True)
class Project:
    """What is known of a project.

    Attributes:
        url: its base URL.
        secret_key: sb_secret_… or the legacy service_role JWT.
        database_url: of a role that may create schemas and become service_role; None: no SQL.
        publishable_key: sb_publishable_… or the legacy anon JWT; None: not given.
        jwt_secret: signs users' tokens with HS256; None: not given.
    """

    url: str
    secret_key: str
    database_url: str | None
    publishable_key: str | None
    jwt_secret: str | None

    def open_as_service_role(self) -> httpx.Client:
        """Open a client of PostgREST that is what the relay is."""
        return self._open(self.secret_key)

    def open_as_anon(self) -> httpx.Client:
        """Open a client of PostgREST that has the publishable key alone."""
        if self.publishable_key is None:
            pytest.skip("SUPABASE_PUBLISHABLE_KEY is not given")
        return self._open(self.publishable_key)

    def open_as_user(self, user_id: UUID) -> httpx.Client:
        """Open a client of PostgREST that is what the app is when this user is signed in."""
        if self.publishable_key is None or self.jwt_secret is None:
            pytest.skip("SUPABASE_PUBLISHABLE_KEY and SUPABASE_JWT_SECRET are not given")
        claims = {"sub": str(user_id), "role": "authenticated", "aud": "authenticated"}
        token = mint_token(claims | {"exp": int(time.time()) + 3600}, secret=self.jwt_secret)
        return self._open(self.publishable_key, token)

    def _open(self, key: str, token: str | None = None) -> httpx.Client:
        headers = {"apikey": key}
        if token is None and not key.startswith("sb_"):
            token = key  # a legacy key is the role's token too
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.Client(
            base_url=f"{self.url.rstrip('/')}/rest/v1/",
            headers=headers,
            trust_env=self.url.startswith("https:"),
            verify=self.url.startswith("https:") or NO_TLS,
            timeout=60,
        )


def describe_local(supabase: LocalSupabase) -> Project:
    """Give what is known of a local Supabase."""
    return Project(
        url=supabase.url,
        secret_key=supabase.secret_key,
        database_url=supabase.database_url,
        publishable_key=supabase.publishable_key,
        jwt_secret=supabase.jwt_secret,
    )


def is_project_given(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether `make conformance` was given a project, or a part of one."""
    return SWITCH in environment and any(environment.get(name) for name in REQUIRED)


def read_project(environment: Mapping[str, str] = os.environ) -> Project | None:
    """Give the project that `make conformance` was given; None: the local one is meant.

    Raises:
        pytest.UsageError: a part of it is missing.
    """
    if not is_project_given(environment):
        return None
    missing = [name for name in REQUIRED if not environment.get(name)]
    if missing:
        raise pytest.UsageError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Give "
            f"{', '.join(REQUIRED)} to test a project, or none of them to test the local Supabase."
        )
    return Project(
        url=environment["SUPABASE_URL"],
        secret_key=environment["SUPABASE_SECRET_KEY"],
        database_url=environment["SUPABASE_DB_URL"],
        publishable_key=environment.get("SUPABASE_PUBLISHABLE_KEY") or None,
        jwt_secret=environment.get("SUPABASE_JWT_SECRET") or None,
    )
