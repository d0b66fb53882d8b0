"""A hosted project, checked as `relay doctor` does, and fixed as an operator would."""

import re
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from app.auth.tokens import mint_token
from app.doctor.findings import Finding, FixKind, Status
from app.doctor.inspection import inspect_database
from app.doctor.project import Project, read_app_key
from app.doctor.project_checks import check_project
from app.domain.entities import Kind
from app.supabase.client import open_http_client
from app.supabase.keys import read_key
from app.supabase.mapping import read_target
from app.supabase.migration_files import list_function_files
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.doctor.hosted import JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY, URL, HostedProject

TABLES = ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence")
USER, OTHER, TRIP = (str(uuid.UUID(int=n)) for n in (1, 2, 3))
ROWS = f"""
insert into users (id, email, username) values
  ('{USER}', 'a@example.com', 'Ada'), ('{OTHER}', 'b@example.com', 'Bob');
insert into trips (id, name, created_by) values ('{TRIP}', 'Rome', '{USER}');
insert into trip_memberships (trip_id, user_id, role, status) values
  ('{TRIP}', '{USER}', 'OWNER', 'ACTIVE'), ('{TRIP}', '{OTHER}', 'MEMBER', 'INACTIVE');
"""  # noqa: S608


def sign_token(user_id: str) -> str:
    claims = {"sub": user_id, "role": "authenticated", "exp": int(time.time()) + 60}
    return mint_token(claims, secret=JWT_SECRET)


@asynccontextmanager
async def open_project(
    hosted: HostedProject,
    targets: Targets = MINIMAL_TARGETS,
    *,
    app_key: str | None = PUBLISHABLE_KEY,
    user_token: str | None = None,
) -> AsyncIterator[Project]:
    """Open a project with the JWT secret, unless a user's token stands in for it."""
    async with open_http_client(URL, {}, timeout_seconds=10, transport=hosted.transport) as http:
        yield Project(
            http,
            targets,
            relay_headers=read_key(SECRET_KEY)[1],
            app_headers=None if app_key is None else read_app_key(app_key),
            jwt_secret=JWT_SECRET if user_token is None else None,
            user_token=user_token,
        )


async def check(
    hosted: HostedProject,
    *,
    with_catalog: bool,
    targets: Targets = MINIMAL_TARGETS,
    app_key: str | None = PUBLISHABLE_KEY,
    user_token: str | None = None,
) -> list[Finding]:
    """Check a project; `with_catalog` with its database."""
    async with open_project(hosted, targets, app_key=app_key, user_token=user_token) as project:
        return await check_project(
            project,
            inspect_database(hosted.db_url, targets) if with_catalog else None,
            values={"role": ("OWNER", "ADMIN", "MEMBER"), "status": ("ACTIVE", "INACTIVE")},
            trip_tables=TABLES,
            report_progress=lambda _: None,
        )


def pick(findings: Sequence[Finding], status: Status) -> set[str]:
    return {finding.check for finding in findings if finding.status is status}


def list_faults(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.status is not Status.OK]


def apply_fixes(
    project: HostedProject, findings: Sequence[Finding], targets: Targets, status: Status
) -> Targets:
    """Apply the fixes in their order; return the targets that their settings make."""
    for finding in findings:
        if finding.status is not status:
            continue
        assert finding.fix is not None, finding
        match finding.fix.kind:
            case FixKind.SQL:
                project.run(finding.fix.text)
            case FixKind.SETTING:
                found = re.fullmatch(r"TARGET_MEMBERSHIPS='(.+)'", finding.fix.text)
                assert found is not None, finding.fix
                targets = replace(targets, memberships=read_target(Kind.MEMBERSHIP, found[1]))
            case FixKind.COMMAND:
                assert finding.fix.text.startswith("relay sql |"), finding
                for path in list_function_files():
                    project.run(path.read_text())
    return targets
