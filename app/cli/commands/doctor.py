"""`relay doctor`: check each part of a deployment."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import httpx
import typer

from app.auth.jwks import KeySet
from app.auth.signatures import SignatureVerifier
from app.cli.output.console import errors, output
from app.cli.output.finding_views import show_findings
from app.cli.supabase_project import open_project, read_supabase_settings
from app.doctor.examination import Examination, examine_supabase
from app.doctor.findings import Finding, Verdict, fine, judge, problem, setting, unchecked
from app.doctor.inspection.catalog import Catalog, CatalogUnreadable, read_catalog
from app.doctor.settings import examine_key_set, judge_operators, judge_settings
from app.doctor.store import examine_store
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings
from app.store.signals import Pooler
from app.supabase.keys import read_key
from app.supabase.targets import Targets

TRIP_TABLES = ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence")

PublishableKey = Annotated[
    str | None,
    typer.Option(
        envvar=["SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"],
        help="The key that apps have: publishable, or the legacy anon key.",
    ),
]
JwtSecret = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_JWT_SECRET",
        help="The project's JWT secret (HS256), to sign a short-lived token of a user.",
    ),
]
UserToken = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_USER_TOKEN", help="A user's access token, where there is no secret."
    ),
]
_EXIT_CODES: Final = {Verdict.FINE: 0, Verdict.PROBLEM: 1, Verdict.UNCHECKED: 2}


@dataclass(frozen=True, slots=True)
class Keys:
    """What was handed in beside the settings."""

    publishable_key: str | None
    jwt_secret: str | None
    user_token: str | None
    db_url: str | None


def doctor(
    publishable_key: PublishableKey = None,
    jwt_secret: JwtSecret = None,
    user_token: UserToken = None,
    db_url: Annotated[
        str | None,
        typer.Option(
            envvar="SUPABASE_DB_URL",
            help="postgresql://… of the project: its policies and privileges are read, too.",
        ),
    ] = None,
    trip_table: Annotated[
        list[str] | None,
        typer.Option(help="A table whose rows belong to a trip; may be given several times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check the settings, the store and Supabase, and say how to fix what is wrong.

    Nothing is ever written: what is tried names no row, and is rolled back.
    The more keys it has, the more it sees. Exit code 0: all is well; 1: there
    are problems; 2: there are none, but not everything could be checked.

    Examples:
      relay doctor --publishable-key sb_publishable_… --db-url postgresql://…
    """
    keys = Keys(publishable_key, jwt_secret, user_token, db_url)
    raise typer.Exit(diagnose(keys, tuple(trip_table or TRIP_TABLES), as_json=as_json))


def diagnose(keys: Keys, trip_tables: tuple[str, ...], *, as_json: bool) -> int:
    """Look at everything, show what is found, and give the exit code."""
    # What a library has to say is in the findings.
    logging.getLogger("app").addHandler(logging.NullHandler())
    with errors.status("Looking at the deployment …"):
        findings = asyncio.run(_examine(keys, trip_tables))
    verdict = judge(findings)
    if as_json:
        document = {"verdict": verdict, "findings": [asdict(finding) for finding in findings]}
        output.print_json(json.dumps(document))
    else:
        show_findings(findings)
    return _EXIT_CODES[verdict]


async def _examine(keys: Keys, trip_tables: tuple[str, ...]) -> list[Finding]:
    try:
        settings, problems = read_supabase_settings()
    except ConfigurationInvalid as error:
        return judge_settings(error.sentences)
    own = await _examine_own(settings, problems)
    return [
        *own,
        *examine_store(settings.store_url, Pooler(settings.store_pooler)),
        *await _examine_supabase(settings, keys, trip_tables),
    ]


async def _examine_own(settings: Settings, problems: Sequence[str]) -> list[Finding]:
    try:
        if settings.webhook_secrets:
            SignatureVerifier(
                [secret.get_secret_value() for secret in settings.webhook_secrets],
                tolerance_seconds=settings.webhook_tolerance_seconds,
            )
    except ConfigurationInvalid as error:
        problems = [*problems, str(error).rstrip(".")]
    findings = judge_settings(problems)
    has_tokens = settings.jwt_secret is not None or settings.jwt_jwks_url is not None
    findings.append(judge_operators(has_tokens=has_tokens))
    if settings.jwt_jwks_url is not None:
        async with httpx.AsyncClient() as client:
            key_set = KeySet(settings.jwt_jwks_url, client, clock=time.monotonic)
            findings.append(await examine_key_set(key_set))
    return findings


async def _examine_supabase(
    settings: Settings, keys: Keys, trip_tables: tuple[str, ...]
) -> list[Finding]:
    targets = settings.targets
    try:
        kind, _ = read_key(settings.supabase_service_role_key.get_secret_value())
    except ConfigurationInvalid as error:
        wanted = setting("SUPABASE_SECRET_KEY=sb_secret_…")
        return [problem("key", str(error), "The relay does not start with this.", wanted)]
    findings = [fine("key", f"The relay's key is of a kind that may write: {kind}.")]
    app_key = keys.publishable_key
    try:
        project = open_project(settings, app_key, keys.jwt_secret)
    except ConfigurationInvalid as error:
        why = "What apps can do cannot be tried with it."
        wanted = setting("SUPABASE_PUBLISHABLE_KEY=sb_publishable_…")
        findings.append(problem("app-key", str(error), why, wanted))
        project = open_project(settings, None, keys.jwt_secret)
    catalog = None if keys.db_url is None else _read_catalog(keys.db_url, targets, findings)
    async with project:
        examination = Examination(
            targets,
            roles=settings.membership_roles,
            statuses=settings.membership_statuses,
            project=project,
            user_token=keys.user_token,
            trip_tables=trip_tables,
            catalog=catalog,
        )
        return [*findings, *await examine_supabase(examination)]


def _read_catalog(db_url: str, targets: Targets, findings: list[Finding]) -> Catalog | None:
    schemas = sorted({"public", *(targets[kind].schema or "public" for kind in Kind)})
    try:
        catalog = read_catalog(db_url, schemas)
    except CatalogUnreadable as error:
        why = "Policies, privileges and keys are seen from outside only."
        wanted = setting("SUPABASE_DB_URL=postgresql://postgres:PASSWORD@HOST:5432/postgres")
        findings.append(unchecked("catalog", f"--db-url cannot be used: {error}.", why, wanted))
        return None
    findings.append(fine("catalog", "The catalog was read over --db-url."))
    return catalog
