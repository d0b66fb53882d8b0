"""`relay doctor`'s use case: look at everything, change nothing, say what is wrong."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from app.doctor.callers import (
    Caller,
    Role,
    examine_reads,
    examine_writes_by,
    not_tried,
)
from app.doctor.catalog import find_reading_policies, judge_catalog
from app.doctor.findings import Finding, Verdict, command, unchecked
from app.doctor.functions import examine_functions
from app.doctor.inspection.app_keys import read_subject
from app.doctor.inspection.catalog import Catalog
from app.doctor.inspection.project import Project
from app.doctor.inspection.reach import Reach
from app.doctor.reach import judge_clock, judge_reach
from app.doctor.status import examine_status
from app.doctor.tables import (
    examine_required,
    examine_table,
    examine_writes,
    shows_keys,
)
from app.domain.entities import Kind
from app.supabase.targets import Targets


@dataclass(frozen=True, slots=True)
class Examination:
    """What to look at, and as whom.

    Attributes:
        targets: the tables.
        roles: those that a membership can have.
        statuses: likewise.
        project: looks as the relay, as anybody and as users.
        user_token: of a user, where no token can be signed.
        trip_tables: those whose rows belong to a trip by a column trip_id.
        catalog: what the database says, where it was asked.
    """

    targets: Targets
    roles: Sequence[str]
    statuses: Sequence[str]
    project: Project
    user_token: str | None
    trip_tables: Sequence[str]
    catalog: Catalog | None


async def examine_supabase(examination: Examination) -> list[Finding]:
    """Look at a project, over HTTP and, where its catalog was read, by that.

    What the catalog answers is not asked again over HTTP.
    """
    reach = await examination.project.reach()
    if reach.obstacle is not None:
        return [judge_reach(reach), *_give_up(reach)]
    findings = [judge_reach(reach), judge_clock(reach)]
    plans_writes = await shows_keys(examination.project.relay, examination.targets)
    tables = await _examine_tables(examination, plans_writes=plans_writes)
    functions = await examine_functions(examination.project.relay)
    access = await _examine_access(examination, plans_writes=plans_writes)
    catalog = examination.catalog
    if catalog is None:
        return [*findings, *tables, *functions, *access]
    deep = judge_catalog(catalog, examination.targets, examination.statuses, examination.roles)
    return [*findings, *_merge((*tables, *functions, *access), deep)]


def _merge(shallow: Sequence[Finding], deep: Sequence[Finding]) -> list[Finding]:
    """Put together what was tried and what was read.

    A problem shown by trying stands, whatever the catalog says; of one that both show, the catalog
    knows the cause. What could not be tried it has answered.
    """
    answered = {finding.check for finding in deep}
    explained = {finding.check for finding in deep if finding.verdict is Verdict.PROBLEM}
    kept = [
        finding
        for finding in shallow
        if (finding.verdict is Verdict.PROBLEM and finding.check not in explained)
        or (finding.verdict is Verdict.FINE and finding.check not in answered)
    ]
    shown = {finding.check for finding in kept}
    return [*kept, *(finding for finding in deep if finding.check not in shown)]


def _give_up(reach: Reach) -> list[Finding]:
    clock = [] if reach.ahead_seconds is None else [judge_clock(reach)]
    return [
        *clock,
        unchecked(
            "tables",
            "Tables, keys and who may read or write them could not be looked at.",
            "Supabase has to answer first.",
            command("relay doctor"),
        ),
    ]


async def _examine_tables(examination: Examination, *, plans_writes: bool) -> list[Finding]:
    relay, targets = examination.project.relay, examination.targets
    findings: list[Finding] = []
    there = []
    for kind in Kind:
        finding = await examine_table(relay, targets[kind])
        findings.append(finding)
        if finding.verdict is Verdict.FINE:
            there.append(targets[kind])
    descriptions = await relay.describe_tables()
    for target in there:
        findings += await examine_writes(relay, target, plans_writes=plans_writes)
        findings.append(examine_required(target, descriptions))
    return findings


async def _examine_access(examination: Examination, *, plans_writes: bool) -> list[Finding]:
    project, targets = examination.project, examination.targets
    relay = project.relay
    readable = [
        targets[kind]
        for kind in Kind
        if isinstance(await relay.read_rows(targets[kind], targets[kind].key_columns), list)
    ]
    findings: list[Finding] = []
    for role in Role:
        caller = await _find_caller(examination, role)
        if caller is None:
            findings.append(not_tried(role))
            continue
        for target in readable:
            letting = find_reading_policies(examination.catalog, target, role)
            findings.append(await examine_reads(relay, caller, target, targets, letting))
            findings.append(
                await examine_writes_by(caller, target, targets, plans_writes=plans_writes)
            )
    if targets.memberships in readable:
        findings.append(await examine_status(project, targets, examination.trip_tables))
    return findings


async def _find_caller(examination: Examination, role: Role) -> Caller | None:
    project = examination.project
    stranger = str(uuid.uuid4())
    match role:
        case Role.ANON:
            anon = project.anon
            return None if anon is None else Caller(role, stranger, True, anon)
        case Role.AUTHENTICATED:
            signed = await project.as_user(stranger)
            if signed is not None:
                return Caller(role, stranger, True, signed)
            token = examination.user_token
            user_id = None if token is None else read_subject(token)
            user = None if token is None else await project.with_token(token)
            if user is None or user_id is None:
                return None
            return Caller(role, user_id, False, user)
        case _:
            assert_never(role)
