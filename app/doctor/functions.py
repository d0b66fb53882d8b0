"""Whether the functions that the relay writes through are installed, and closed to apps."""

from collections.abc import Iterator, Mapping
from typing import Final

from app.doctor.findings import Finding, command, fine, problem, sql, unchecked
from app.doctor.inspection.catalog import Catalog, FunctionFacts
from app.doctor.inspection.probes import LACKS_PRIVILEGE, NO_SUCH_FUNCTION, Inspection
from app.doctor.tables import DEEPER
from app.domain.failures import RequestFailure

_INSTALL: Final = command('relay sql | psql -v ON_ERROR_STOP=1 "$SUPABASE_DB_URL"')
_PASTE: Final = "Without psql, paste what relay sql prints into the dashboard's SQL editor."
# Requests that each function refuses before it changes anything, and the SQLSTATE of the refusal.
_REFUSED_REQUESTS: Final[Mapping[str, tuple[str, str]]] = {
    "relay_claim": ('{"protocol":0}', "0A000"),
    "relay_apply": ('{"epoch":0,"sequence":0,"operations":[]}', "PT409"),
}
_NO_FENCE: Final = ("42P01", "3F000")


async def examine_functions(relay: Inspection) -> list[Finding]:
    """Call both functions with the relay's key, with requests that they refuse."""
    return [
        _judge_answer(name, await relay.call(name, {"request": request}), refusal)
        for name, (request, refusal) in _REFUSED_REQUESTS.items()
    ]


def judge_relay_functions(catalog: Catalog) -> Iterator[Finding]:
    """Judge what the catalog says of the functions and of the table that they keep."""
    for name in _REFUSED_REQUESTS:
        facts = _find(catalog, name)
        if facts is None:
            yield _missing(name)
        elif "service_role" not in facts.executors:
            yield _not_executable(name)
        else:
            yield fine(f"function:{name}", f"public.{name} is there, and the relay may execute it.")
        if facts is not None:
            yield _judge_executors(facts)
    if catalog.has_fence:
        yield fine("fence", "The table relay.fence is there.")
    else:
        yield _no_fence("fence")


def _judge_answer(name: str, answer: object, refusal: str) -> Finding:
    check = f"function:{name}"
    if not isinstance(answer, RequestFailure):
        return problem(
            check,
            f"public.{name} accepts a request that it should refuse.",
            "It is not the function of this version of the relay. Applying the file replaces it."
            f" {_PASTE}",
            _INSTALL,
        )
    match answer.code:
        case code if code == refusal:
            return fine(check, f"public.{name} is there, and the relay may execute it.")
        case code if code in NO_SUCH_FUNCTION:
            return _missing(name)
        case code if code == LACKS_PRIVILEGE:
            return _not_executable(name)
        case code if code in _NO_FENCE:
            return _no_fence(check)
        case _:
            return unchecked(
                check,
                f"public.{name} could not be tried: {answer.code}, {answer.message}.",
                "The relay writes through it: without it every change waits.",
                DEEPER,
            )


def _judge_executors(facts: FunctionFacts) -> Finding:
    check = f"executors:{facts.name}"
    signature = f"public.{facts.name}(text)"
    others = [role for role in facts.executors if role != "service_role"]
    if not others:
        return fine(check, f"Only the relay's role may execute public.{facts.name}.")
    return problem(
        check,
        f"{' and '.join(others)} may execute public.{facts.name}.",
        "It runs with its caller's rights, so it opens no table by itself; but only the relay has"
        " to call it, and a grant given elsewhere by mistake would be usable through it.",
        sql(
            f"revoke execute on function {signature} from public, anon, authenticated;",
            # It may have had it by being one of all.
            f"grant execute on function {signature} to service_role;",
        ),
    )


def _missing(name: str) -> Finding:
    return problem(
        f"function:{name}",
        f"There is no function public.{name}(request text) in this project.",
        "The relay writes through it: without it every change waits. Where it was installed a"
        f" moment ago, applying it again reloads the API's schema cache. {_PASTE}",
        _INSTALL,
    )


def _not_executable(name: str) -> Finding:
    return problem(
        f"function:{name}",
        f"The relay's key may not execute public.{name}, or not use what it needs.",
        "The relay writes through it: until it may, every change waits. Applying the file again"
        f" restores the grants to service_role. {_PASTE}",
        _INSTALL,
    )


def _no_fence(check: str) -> Finding:
    return problem(
        check,
        "There is no table relay.fence, which public.relay_claim and public.relay_apply need.",
        "It keeps requests that arrive late from changing anything. Until it is there, every"
        f" change waits. {_PASTE}",
        _INSTALL,
    )


def _find(catalog: Catalog, name: str) -> FunctionFacts | None:
    return next(
        (
            function
            for function in catalog.functions
            if (function.schema, function.name, function.arguments)
            == ("public", name, "request text")
        ),
        None,
    )
