"""The doctor checks the functions through which the relay writes and compares."""

import pytest

from app.doctor.findings import Finding, FixKind, Status
from app.supabase.targets import MINIMAL_TARGETS
from tests.doctor.harness import ROWS, apply_fixes, check, list_faults, pick
from tests.doctor.hosted import HostedServer

OTHER_FUNCTION = """
drop function public.relay_apply(text);
create function public.relay_apply(request text) returns json language sql
as $$ select '{}'::json $$;
"""
OTHER_DIGEST = """
create or replace function public.relay_digest(request text) returns json language sql
as $$ select '{"tables": []}'::json $$;
"""
RAISING = """
create or replace function public.relay_claim(request text) returns json language plpgsql
as $$ begin raise exception 'gone' using errcode = '53000'; end $$;
"""
BROKEN = [
    ("no function", "drop function relay_apply(text)", {"function:relay_apply"}),
    ("no functions", "drop function relay_apply(text); drop function relay_claim(text)",
     {"function:relay_apply", "function:relay_claim"}),
    ("not granted", "revoke execute on function relay_claim(text) from service_role",
     {"function:relay_claim"}),
    ("schema not granted", "revoke usage on schema relay from service_role",
     {"function:relay_apply", "function:relay_digest", "function:relay_read"}),
    ("table not granted", "revoke update on relay.fence from service_role",
     {"function:relay_apply"}),
    ("another function of that name", OTHER_FUNCTION, {"function:relay_apply"}),
    ("no function to compare", "drop function relay_digest(text); drop function relay_read(text)",
     {"function:relay_digest", "function:relay_read"}),
    ("no helper", "drop function relay.ordered_key(json)",
     {"function:relay_digest", "function:relay_read"}),
    ("reading not granted", "revoke execute on function relay_read(text) from service_role",
     {"function:relay_read"}),
    ("digest of another version", OTHER_DIGEST, {"function:relay_digest"}),
]  # fmt: skip


@pytest.mark.parametrize("with_catalog", [False, True])
@pytest.mark.parametrize(("script", "wanted"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_function_that_cannot_be_called_is_fixed_by_relay_sql(
    hosted: HostedServer, script: str, wanted: set[str], with_catalog: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)

    findings = await check(project, with_catalog=with_catalog)

    problems = pick(findings, Status.PROBLEM)
    assert {check for check in problems if not check.startswith("executors:")} == wanted
    fixes = [find(findings, check).fix for check in wanted]
    assert all(fix is not None and fix.kind is FixKind.COMMAND for fix in fixes)
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    left = await check(project, with_catalog=with_catalog)
    assert list_faults(left) == []


@pytest.mark.parametrize("with_catalog", [False, True])
async def test_missing_fence_is_fixed_by_relay_sql(
    hosted: HostedServer, with_catalog: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run("drop schema relay cascade")

    findings = await check(project, with_catalog=with_catalog)

    wanted = {"function:relay_apply", "function:relay_digest", "function:relay_read"}
    assert pick(findings, Status.PROBLEM) == wanted | ({"fence"} if with_catalog else set())
    assert "relay.fence" in find(findings, "function:relay_apply").what
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=with_catalog)) == []


@pytest.mark.parametrize(
    ("grant", "named"),
    [
        ("grant execute on function public.relay_apply(text) to anon", "anon can"),
        ("grant execute on function public.relay_apply(text) to authenticated, anon",
         "anon, authenticated can"),
        ("grant execute on function public.relay_apply(text) to public;"
         " revoke execute on function public.relay_apply(text) from service_role",
         "public, anon, authenticated can"),
    ],
)  # fmt: skip
async def test_function_that_apps_may_execute_is_found_in_the_catalog_and_fixed(
    hosted: HostedServer, grant: str, named: str
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(grant)

    findings = await check(project, with_catalog=True)

    assert pick(findings, Status.PROBLEM) == {"executors:relay_apply"}
    assert find(findings, "executors:relay_apply").what.startswith(named)
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=True)) == []


async def test_check_of_the_functions_keeps_the_claim_of_a_running_relay(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()
    project.run("update relay.fence set epoch = 42, sequence = 7")

    findings = await check(project, with_catalog=True)

    assert list_faults(findings) == []
    assert project.run("select epoch, sequence from relay.fence") == [(42, 7)]


async def test_function_that_fails_with_another_error_is_skipped_and_not_reported_as_missing(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()
    project.run(RAISING)

    findings = await check(project, with_catalog=False)

    finding = find(findings, "function:relay_claim")
    assert finding.status is Status.SKIPPED
    assert not finding.needs_optional_key
    assert "53000" in finding.what


def find(findings: list[Finding], check: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.check == check]
    return finding
