"""Check that the relay's functions are installed, and that only the relay may execute them."""

from collections.abc import Mapping
from typing import Final

from app.doctor.catalog import Catalog, FunctionFacts
from app.doctor.findings import USE_DB_URL, Finding, Status, command, ok, problem, skipped, sql
from app.doctor.probes import LACKS_PRIVILEGE, NO_SUCH_FUNCTION, ProbeClient
from app.domain.failures import RequestFailure

_INSTALL: Final = command('relay sql | psql -v ON_ERROR_STOP=1 "$SUPABASE_DB_URL"')
_HOW: Final = "Without psql, paste what relay sql prints into the dashboard's SQL editor."
# Requests that each function rejects before it changes anything, and the SQLSTATE of the rejection.
_REJECTED_REQUESTS: Final[Mapping[str, tuple[str, str]]] = {
    "relay_claim": ('{"protocol":0}', "0A000"),
    "relay_apply": ('{"epoch":0,"sequence":0,"operations":[]}', "PT409"),
}
_NO_FENCE: Final = ("42P01", "3F000")


async def check_functions(relay: ProbeClient, catalog: Catalog | None) -> list[Finding]:
    """Call both functions with requests that they reject; check their grants in the catalog."""
    findings: list[Finding] = []
    for name, (request, rejection) in _REJECTED_REQUESTS.items():
        result = await relay.call(name, {"request": request})
        finding = _evaluate_result(name, result, rejection)
        if catalog is not None:
            signature = ("public", name, "request text")
            functions = {(f.schema, f.name, f.arguments): f for f in catalog.functions}
            function = functions.get(signature)
            if finding.status is Status.SKIPPED:
                finding = _evaluate_function(name, function)
            if function is not None:
                findings.append(_evaluate_executors(function))
        findings.append(finding)
    if catalog is not None:
        has_fence = catalog.has_fence
        findings.append(ok("fence", "relay.fence exists.") if has_fence else _no_fence("fence"))
    return findings


def _evaluate_function(name: str, function: FunctionFacts | None) -> Finding:
    if function is None:
        return _missing(name)
    return _installed(name) if "service_role" in function.executors else _not_executable(name)


def _evaluate_result(name: str, result: object, rejection: str) -> Finding:
    check = f"function:{name}"
    if not isinstance(result, RequestFailure):
        what = f"public.{name} accepts a request that it should reject."
        return _reinstall(check, what, "It is the function of another version.")
    if result.code == rejection:
        return _installed(name)
    if result.code in NO_SUCH_FUNCTION:
        return _missing(name)
    if result.code == LACKS_PRIVILEGE:
        return _not_executable(name)
    if result.code in _NO_FENCE:
        return _no_fence(check)
    return skipped(
        check,
        f"public.{name} was not checked: {result.code}, {result.message}.",
        "The relay writes through this function; without it every change waits.",
        USE_DB_URL,
        # @supabase/lite hides the SQLSTATE.
        needs_optional_key=result.code == "HTTP 500",
    )


def _evaluate_executors(function: FunctionFacts) -> Finding:
    check = f"executors:{function.name}"
    signature = f"public.{function.name}(text)"
    others = [role for role in function.executors if role != "service_role"]
    if not others:
        return ok(check, f"Only the relay's role can execute public.{function.name}.")
    return problem(
        check,
        f"{', '.join(others)} can execute public.{function.name}.",
        "It runs with its caller's privileges, so it opens no table by itself; but it would make a"
        " mistaken grant on a table usable.",
        sql(
            f"revoke execute on function {signature} from public, anon, authenticated;",
            # It may have had the privilege through public.
            f"grant execute on function {signature} to service_role;",
        ),
    )


def _installed(name: str) -> Finding:
    return ok(f"function:{name}", f"The relay's key can execute public.{name}.")


def _missing(name: str) -> Finding:
    return _reinstall(
        f"function:{name}",
        f"The function public.{name}(request text) does not exist.",
        "If you have just installed it, install it again: that reloads the API's schema cache.",
    )


def _not_executable(name: str) -> Finding:
    what = f"The relay's key lacks a privilege to execute public.{name}."
    return _reinstall(f"function:{name}", what, "The fix grants it to service_role.")


def _no_fence(check: str) -> Finding:
    what = "The table relay.fence does not exist, which the functions of the relay need."
    return _reinstall(check, what, "It keeps late requests from changing anything.")


def _reinstall(check: str, what: str, why: str) -> Finding:
    return problem(check, what, f"Until then every change waits. {why} {_HOW}", _INSTALL)
