"""Check that the relay's functions are installed, and that only the relay may execute them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.doctor.catalog import Catalog, FunctionFacts
from app.doctor.findings import USE_DB_URL, Finding, Status, command, ok, problem, skipped, sql
from app.doctor.probes import LACKS_PRIVILEGE, NO_SUCH_FUNCTION, ProbeClient
from app.domain.failures import RequestFailure

_INSTALL: Final = command('relay sql | psql -v ON_ERROR_STOP=1 "$SUPABASE_DB_URL"')
_HOW: Final = "Without psql, paste what relay sql prints into the dashboard's SQL editor."


@dataclass(frozen=True, slots=True)
class _Probe:
    """A request that changes nothing, and what this version's function makes of it.

    Attributes:
        rejection: the SQLSTATE of its rejection; None if the function responds.
        fields: of the response.
        effect: what happens without the function.
    """

    request: str
    rejection: str | None
    effect: str
    fields: frozenset[str] = frozenset()

    def accepts(self, result: object) -> bool:
        """Tell whether a result is that of this version's function."""
        if isinstance(result, RequestFailure):
            return result.code == self.rejection
        return self.rejection is None and isinstance(result, dict) and result.keys() == self.fields


_NOTHING_WRITTEN: Final = "every change waits"
_NOTHING_CHECKED: Final = "no check for drift runs"
# The two that compare read the fence, which every project has.
_PROBES: Final[Mapping[str, _Probe]] = {
    "relay_claim": _Probe('{"protocol":0}', "0A000", _NOTHING_WRITTEN),
    "relay_apply": _Probe('{"epoch":0,"sequence":0,"operations":[]}', "PT409", _NOTHING_WRITTEN),
    "relay_digest": _Probe(
        '{"tables":[{"table":"relay.fence","key":["epoch"],"columns":["sequence"]}]}',
        None,
        _NOTHING_CHECKED,
        frozenset({"epoch", "sequence", "tables"}),
    ),
    "relay_read": _Probe(
        '{"table":"relay.fence","key":["epoch"],"columns":["sequence"],"limit":1}',
        None,
        _NOTHING_CHECKED,
        frozenset({"epoch", "sequence", "rows"}),
    ),
}
_NO_FENCE: Final = ("42P01", "3F000")


async def check_functions(relay: ProbeClient, catalog: Catalog | None) -> list[Finding]:
    """Call the functions with requests that change nothing; check their grants in the catalog."""
    findings: list[Finding] = []
    for name, probe in _PROBES.items():
        result = await relay.call(name, {"request": probe.request})
        finding = _evaluate_result(name, result, probe)
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


def _evaluate_result(name: str, result: object, probe: _Probe) -> Finding:
    check = f"function:{name}"
    if probe.accepts(result):
        return _installed(name)
    if not isinstance(result, RequestFailure):
        what = f"public.{name} accepts a request that it should reject."
        if probe.rejection is None:
            what = f"public.{name} gives a response that this version of the relay does not expect."
        return _reinstall(check, what, "It is the function of another version.", probe.effect)
    if result.code in NO_SUCH_FUNCTION:
        return _missing(name)
    if result.code == LACKS_PRIVILEGE:
        return _not_executable(name)
    if result.code in _NO_FENCE:
        return _no_fence(check)
    return skipped(
        check,
        f"public.{name} was not checked: {result.code}, {result.message}.",
        f"Without this function, {probe.effect}.",
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
        _PROBES[name].effect,
    )


def _not_executable(name: str) -> Finding:
    what = f"The relay's key lacks a privilege to execute public.{name}."
    why = "The fix grants it to service_role."
    return _reinstall(f"function:{name}", what, why, _PROBES[name].effect)


def _no_fence(check: str) -> Finding:
    what = "The table relay.fence does not exist, which the functions of the relay need."
    return _reinstall(
        check, what, "It keeps late requests from changing anything.", _NOTHING_WRITTEN
    )


def _reinstall(check: str, what: str, why: str, effect: str) -> Finding:
    return problem(check, what, f"Until then {effect}. {why} {_HOW}", _INSTALL)
