"""A hosted project examined as `relay doctor` does, and the fixes applied as a person would."""

import re
import time
import uuid
from dataclasses import replace

from app.auth.tokens import mint_token
from app.doctor.examination import Examination, examine_supabase
from app.doctor.findings import Finding, FixKind, Verdict
from app.doctor.inspection.app_keys import read_app_key
from app.doctor.inspection.catalog import read_catalog
from app.doctor.inspection.project import Project
from app.domain.entities import Kind
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
    return mint_token(
        {"sub": user_id, "role": "authenticated", "exp": int(time.time()) + 60}, secret=JWT_SECRET
    )


async def examine(
    project: HostedProject,
    *,
    deep: bool,
    targets: Targets = MINIMAL_TARGETS,
    user_token: str | None = None,
) -> list[Finding]:
    catalog = read_catalog(project.db_url, ["public"]) if deep else None
    async with Project(
        URL,
        relay_headers=read_key(SECRET_KEY)[1],
        app_headers=read_app_key(PUBLISHABLE_KEY),
        sign_token=sign_token if user_token is None else None,
        timeout_seconds=10,
        clock=time.time,
        transport=project.transport,
    ) as opened:
        return await examine_supabase(
            Examination(
                targets,
                roles=("OWNER", "ADMIN", "MEMBER"),
                statuses=("ACTIVE", "INACTIVE"),
                project=opened,
                user_token=user_token,
                trip_tables=TABLES,
                catalog=catalog,
            )
        )


def pick(findings: list[Finding], verdict: Verdict) -> set[str]:
    return {finding.check for finding in findings if finding.verdict is verdict}


def apply_fixes(
    project: HostedProject, findings: list[Finding], targets: Targets, verdict: Verdict
) -> Targets:
    """Do what the fixes say, in their order, as a person would who pastes them."""
    for finding in findings:
        if finding.verdict is not verdict:
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
