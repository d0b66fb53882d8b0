"""The doctor tells whether the functions that the relay writes through can be called."""

import pytest

from app.doctor.findings import Finding, FixKind, Verdict, judge
from app.supabase.targets import MINIMAL_TARGETS
from tests.doctor.harness import ROWS, apply_fixes, examine, pick
from tests.doctor.hosted import HostedServer

IMPOSTOR = """
drop function public.relay_apply(text);
create function public.relay_apply(request text) returns json language sql
as $$ select '{}'::json $$;
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
     {"function:relay_apply"}),
    ("table not granted", "revoke update on relay.fence from service_role",
     {"function:relay_apply"}),
    ("another function of that name", IMPOSTOR, {"function:relay_apply"}),
]  # fmt: skip


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("script", "wanted"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_function_that_cannot_be_called_is_found_and_relay_sql_is_the_fix(
    hosted: HostedServer, script: str, wanted: set[str], deep: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)

    findings = await examine(project, deep=deep)

    assert pick(findings, Verdict.PROBLEM) - {"executors:relay_apply", "executors:relay_claim"} == (
        wanted
    )
    fixes = [find(findings, check).fix for check in wanted]
    assert all(fix is not None and fix.kind is FixKind.COMMAND for fix in fixes)
    apply_fixes(project, findings, MINIMAL_TARGETS, Verdict.PROBLEM)
    left = await examine(project, deep=deep)
    assert judge(left) is Verdict.FINE, [f for f in left if f.verdict is not Verdict.FINE]


@pytest.mark.parametrize("deep", [False, True])
async def test_missing_fence_is_found_and_relay_sql_is_the_fix(
    hosted: HostedServer, deep: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run("drop schema relay cascade")

    findings = await examine(project, deep=deep)

    wanted = {"function:relay_apply", "fence"} if deep else {"function:relay_apply"}
    assert pick(findings, Verdict.PROBLEM) == wanted
    assert "relay.fence" in find(findings, "function:relay_apply").what
    apply_fixes(project, findings, MINIMAL_TARGETS, Verdict.PROBLEM)
    assert judge(await examine(project, deep=deep)) is Verdict.FINE


@pytest.mark.parametrize(
    ("grant", "named"),
    [
        ("grant execute on function public.relay_apply(text) to anon", "anon may"),
        ("grant execute on function public.relay_apply(text) to authenticated, anon",
         "anon and authenticated may"),
        ("grant execute on function public.relay_apply(text) to public;"
         " revoke execute on function public.relay_apply(text) from service_role",
         "public and anon and authenticated may"),
    ],
)  # fmt: skip
async def test_function_that_apps_may_execute_is_found_in_the_catalog_and_closed_by_the_fix(
    hosted: HostedServer, grant: str, named: str
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(grant)

    findings = await examine(project, deep=True)

    assert pick(findings, Verdict.PROBLEM) == {"executors:relay_apply"}
    assert find(findings, "executors:relay_apply").what.startswith(named)
    apply_fixes(project, findings, MINIMAL_TARGETS, Verdict.PROBLEM)
    assert judge(await examine(project, deep=True)) is Verdict.FINE


async def test_looking_at_the_functions_leaves_the_claim_of_a_running_relay_as_it_is(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()
    project.run("update relay.fence set epoch = 42, sequence = 7")

    findings = await examine(project, deep=True)

    assert judge(findings) is Verdict.FINE
    assert project.run("select epoch, sequence from relay.fence") == [(42, 7)]


async def test_function_that_fails_otherwise_is_not_called_missing(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(RAISING)

    findings = await examine(project, deep=False)

    finding = find(findings, "function:relay_claim")
    assert finding.verdict is Verdict.UNCHECKED
    assert "53000" in finding.what


def find(findings: list[Finding], check: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.check == check]
    return finding
