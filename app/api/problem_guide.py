"""What each problem means and what to do about it: the text of `/docs/problems`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.api.problems import PROBLEMS
from app.domain.errors import TemporarilyUnavailable

_RETRY: Final = "Send it again with the same id and body, after `Retry-After`."
_SLOW: Final = "Send it again. If it repeats, look for a slow network or proxy in between."

# What to do, by code.
_REMEDIES: Final[Mapping[str, str]] = {
    "request-malformed": "Use an HTTP/1.1 client. Check every proxy in between.",
    "head-too-large": "Send fewer or shorter headers: at most 32 KiB and 100 fields.",
    "head-too-slow": _SLOW,
    "body-too-large": "Send only the fields of the contract: an event has at most 64 KiB, a batch"
    " at most 1 MiB.",
    "body-too-slow": _SLOW,
    "media-type-unsupported": "Send `Content-Type: application/json`.",
    "content-encoding-unsupported": "Send the body uncompressed, without `Content-Encoding`.",
    "unauthenticated": "Compare the secret or the token's issuer with the relay's settings, and"
    " both clocks. Sign the exact bytes that are sent. Only the relay's log says which check"
    " failed.",
    "scope-missing": "Use a token with the scope that `detail` names.",
    "operator-access-not-configured": "Set `JWT_SECRET` or `JWT_JWKS_URL`, and restart the relay.",
    "input-invalid": "Correct what `errors` names, each by a JSON pointer.",
    "event-id-conflict": "Give every change an id of its own, and repeat the same body on retries.",
    "event-not-found": "Check the id. The relay deletes events after `RETENTION_DAYS`.",
    "replay-not-found": "Check the id: `GET /replay` lists the replays.",
    "reconciliation-not-found": "Check the id: `GET /reconcile` lists the latest 1,000 checks.",
    "overloaded": f"{_RETRY} If it lasts, send batches, or raise `MAX_IN_FLIGHT`.",
    "store-unavailable": f"{_RETRY} `/health` names the cause.",
    "key-set-unavailable": f"{_RETRY} If it lasts, check `JWT_JWKS_URL` and the issuer.",
    "path-not-found": "Check the URL. No path ends in a slash, except `/`.",
    "method-not-allowed": "Use a method that the header `Allow` names.",
    "http-error": "Read `status` and `title`.",
    "internal-error": "Send it again later with the same id and body. The relay's log has the"
    " traceback: please report it.",
}

# Problems without an error of the tree: statuses, meaning, whether to send the request again.
_OTHERS: Final[Mapping[str, tuple[str, str, bool]]] = {
    "path-not-found": ("404", "The relay has no such path.", False),
    "method-not-allowed": ("405", "The path does not have this method.", False),
    "http-error": ("4xx", "The HTTP framework rejected the request.", False),
    "internal-error": ("500", "An unexpected fault of the relay.", True),
}


@dataclass(frozen=True, slots=True)
class ProblemGuide:
    """The documentation of one problem.

    Attributes:
        status: the HTTP status, or a class of them.
        is_temporary: whether the same request may succeed later.
    """

    status: str
    code: str
    meaning: str
    remedy: str
    is_temporary: bool


def list_problem_guides() -> Sequence[ProblemGuide]:
    """List the documentation of every code, by status."""
    rows = [
        (
            str(status.value),
            code,
            " ".join((error.__doc__ or "").split("\n\n")[0].split()),
            issubclass(error, TemporarilyUnavailable) or status == 408,
        )
        for error, (status, code) in PROBLEMS.items()
    ]
    rows += [
        (status, code, meaning, is_temporary)
        for code, (status, meaning, is_temporary) in _OTHERS.items()
    ]
    return [
        ProblemGuide(status, code, meaning, _REMEDIES[code], is_temporary)
        for status, code, meaning, is_temporary in sorted(rows)
    ]
