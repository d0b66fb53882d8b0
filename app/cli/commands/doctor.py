"""`relay doctor`: check each part of a deployment."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Annotated

import httpx
import typer

from app.auth.jwks import KeySet
from app.auth.signatures import SignatureVerifier
from app.cli.options import AsJson
from app.cli.output.console import errors, output
from app.cli.output.finding_views import show_findings
from app.cli.supabase_project import (
    TRIP_TABLES,
    DbUrl,
    JwtSecret,
    Keys,
    PublishableKey,
    UserToken,
    open_project,
    read_supabase_settings,
)
from app.doctor import configuration
from app.doctor.database import DatabaseUnreadable
from app.doctor.findings import Finding, Status, ok, problem, setting, skipped
from app.doctor.inspection import Inspection, inspect_database
from app.doctor.project import read_app_key
from app.doctor.project_checks import check_project
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings
from app.store.notifications import Pooler
from app.supabase.keys import read_key
from app.supabase.targets import Targets

ReportProgress = Callable[[str], None]


def doctor(
    publishable_key: PublishableKey = None,
    jwt_secret: JwtSecret = None,
    user_token: UserToken = None,
    db_url: DbUrl = None,
    trip_table: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="A table whose rows belong to a trip; can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the settings, the store and Supabase, and say how to fix what is wrong.

    Validates a deployment before it receives traffic. It changes nothing: the
    writes that it probes name no row, and are rolled back. Each optional key
    (publishable key, JWT secret or user token, db URL) adds checks.

    Exit code 0: no problems; only checks that need another optional key were
    skipped. 1: problems. 2: no problems, but another check could not be done.

    Examples:
      relay doctor --publishable-key sb_publishable_… --db-url postgresql://…
    """
    # The findings say what libraries would log.
    logging.getLogger("app").addHandler(logging.NullHandler())
    keys = Keys(publishable_key, jwt_secret, user_token, db_url)
    with errors.status("Checking the configuration …") as status:
        findings = asyncio.run(
            _check(
                keys,
                trip_table or TRIP_TABLES,
                # Naming the spinner draws each step at once; rich skips short ones otherwise.
                lambda subject: status.update(f"Checking {subject} …", spinner="dots"),
            )
        )
    if as_json:
        statuses = {finding.status for finding in findings}
        worst = next(s for s in (Status.PROBLEM, Status.SKIPPED, Status.OK) if s in statuses)
        document = {"status": worst, "findings": [asdict(finding) for finding in findings]}
        output.print_json(json.dumps(document))
    else:
        show_findings(findings)
    raise typer.Exit(_choose_exit_code(findings))


def _choose_exit_code(findings: Sequence[Finding]) -> int:
    if any(finding.status is Status.PROBLEM for finding in findings):
        return 1
    skipped_findings = [finding for finding in findings if finding.status is Status.SKIPPED]
    return 0 if all(finding.needs_optional_key for finding in skipped_findings) else 2


async def _check(
    keys: Keys, trip_tables: Sequence[str], report_progress: ReportProgress
) -> list[Finding]:
    try:
        settings, sentences = read_supabase_settings()
    except ConfigurationInvalid as error:
        return configuration.evaluate_settings(error.sentences)
    findings = await _check_configuration(settings, sentences)
    report_progress("the store")
    pooler = Pooler(settings.store_pooler)
    findings += configuration.check_store(settings.store_url, pooler)
    return findings + await _check_supabase(settings, keys, trip_tables, report_progress)


async def _check_configuration(settings: Settings, sentences: Sequence[str]) -> list[Finding]:
    try:
        if settings.webhook_secrets:
            secrets = [secret.get_secret_value() for secret in settings.webhook_secrets]
            SignatureVerifier(secrets, tolerance_seconds=settings.webhook_tolerance_seconds)
    except ConfigurationInvalid as error:
        sentences = [*sentences, str(error).rstrip(".")]
    findings = configuration.evaluate_settings(sentences)
    has_key = settings.jwt_secret is not None or settings.jwt_jwks_url is not None
    findings.append(configuration.evaluate_operator_auth(has_key=has_key))
    if settings.jwt_jwks_url is not None:
        async with httpx.AsyncClient() as client:
            key_set = KeySet(settings.jwt_jwks_url, client, clock=time.monotonic)
            findings.append(await configuration.check_key_set(key_set))
    return findings


async def _check_supabase(
    settings: Settings, keys: Keys, trip_tables: Sequence[str], report_progress: ReportProgress
) -> list[Finding]:
    try:
        kind, _ = read_key(settings.supabase_service_role_key.get_secret_value())
    except ConfigurationInvalid as error:
        fix = setting("SUPABASE_SECRET_KEY=sb_secret_…")
        return [problem("key", str(error), "The relay does not start with this.", fix)]
    findings = [ok("key", f"The relay's key may write ({kind}).")]
    try:
        if keys.publishable_key is not None:
            read_app_key(keys.publishable_key)
    except ConfigurationInvalid as error:
        why = "The doctor cannot check with it what apps can do."
        fix = setting("SUPABASE_PUBLISHABLE_KEY=sb_publishable_…")
        findings.append(problem("app-key", str(error), why, fix))
        keys = replace(keys, publishable_key=None)
    inspection = None
    if keys.db_url is not None:
        report_progress("the database")
        inspection, finding = _inspect_database(keys.db_url, settings.targets)
        findings.append(finding)
    async with open_project(settings, keys) as project:
        return findings + await check_project(
            project,
            inspection,
            trip_tables=trip_tables,
            values={"status": settings.membership_statuses, "role": settings.membership_roles},
            report_progress=report_progress,
        )


def _inspect_database(db_url: str, targets: Targets) -> tuple[Inspection | None, Finding]:
    try:
        inspection = inspect_database(db_url, targets)
    except DatabaseUnreadable as error:
        return None, skipped(
            "catalog",
            f"The catalog could not be read: {error}.",
            "The doctor checks policies, privileges and keys over HTTP only.",
            setting("SUPABASE_DB_URL=postgresql://postgres:PASSWORD@HOST:5432/postgres"),
            needs_optional_key=False,
        )
    return inspection, ok("catalog", "The catalog was read over --db-url.")
