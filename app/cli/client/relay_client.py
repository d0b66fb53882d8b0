"""Calling a relay, and what its responses mean to a person."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from app.auth.claims import Scope
from app.cli.client.operator_token import TOKEN_SECONDS, make_token_source
from app.cli.errors import CommandFailed, NotThisRelay, Rejected, RelayUnavailable, Unconfirmed

TIMEOUT_SECONDS: Final = 35.0  # longer than the longest `Prefer: wait`
CHECK_PROXIES: Final = (
    "Check the URL, and every proxy before the relay: one of them responds by itself, or with the"
    " response to another request"
)

Document = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)

_ACCESS: Final = {
    "unauthenticated": "the relay does not accept the token: it has expired, or the relay has"
    " another JWT_SECRET, JWT_ISSUER or JWT_AUDIENCE. Its log says which."
    " `relay token --scope {scope}` signs a new one.",
    "scope-missing": "the token lacks the scope {names}: `relay token --scope {scope}` signs one"
    " that has it.",
    "operator-access-not-configured": "the relay has neither JWT_SECRET nor JWT_JWKS_URL."
    " `relay secret --kind jwt` generates a JWT_SECRET; set it and restart the relay.",
}
"""The problems of an operator's token, by code."""


class RelayClient:
    """A relay, called as an operator with some scopes. Every failure is a CommandFailed."""

    def __init__(self, client: httpx.Client, scopes: Sequence[Scope]) -> None:
        self._client = client
        self._scopes = scopes

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Document:
        """Get a JSON document."""
        return self._exchange("GET", path, params=parameters)

    def get_health(self) -> Document:
        """Get the health report, also that of a relay that is down."""
        response = self._request("GET", "/health")
        document = read_document(response)
        if document is None or "checks" not in document:
            raise make_failure(response)
        return document

    def post(self, path: str, body: Document | None = None) -> Document:
        """Post a JSON document, or nothing, and return the response's document."""
        return self._exchange("POST", path, json=body)

    def get_named(self, path: str, name: str, wanted: str) -> Document:
        """Get `<path>/<wanted>`, and check that the document's `name` is the wanted one."""
        # A dot too: `/events/.` would be normalized to `/events/`.
        path = f"{path}/{quote(wanted, safe='').replace('.', '%2E')}"
        document = self.get(path)
        if document.get(name) != wanted:
            raise Unconfirmed(
                f"{self._client.base_url} responded to {path} with {document.get(name)}."
                f" {CHECK_PROXIES}"
            )
        return document

    def read(self, document: Document, model: type[Model]) -> Model:
        """Read a document into a model.

        Raises:
            NotThisRelay: it does not have the form that this version knows.
        """
        try:
            return model.model_validate(document)
        except ValidationError as error:
            raise NotThisRelay(
                f"the response of {self._client.base_url} has an unknown form: the relay is of"
                " another version. Use the command that was installed with it."
            ) from error

    def _exchange(self, method: str, path: str, **content: Any) -> Document:
        response = self._request(method, path, **content)
        document = read_document(response) or {}
        if response.is_success and document:
            return document
        if document.get("code") in _ACCESS:
            names, scope = " or ".join(self._scopes), " --scope ".join(self._scopes)
            raise Rejected(_ACCESS[document["code"]].format(names=names, scope=scope))
        raise make_failure(response)

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        with translated_failures(str(self._client.base_url), self._client.timeout.read):
            return self._client.request(method, path, **content)


@contextmanager
def open_relay(
    url: str,
    token: str | None,
    *scopes: Scope,
    timeout_seconds: float = TIMEOUT_SECONDS,
    token_seconds: int = TOKEN_SECONDS,
) -> Iterator[RelayClient]:
    """Open a client of a relay's operator endpoints; without a token, JWT_SECRET signs one.

    Raises:
        ConfigurationInvalid: the token is missing or is not one.
    """
    next_token = make_token_source(token, scopes, token_seconds)

    def authenticate(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {next_token()}"
        return request

    with open_client(url, timeout_seconds) as client:
        client.auth = authenticate
        yield RelayClient(client, scopes)


def open_client(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> httpx.Client:
    """Open a client that makes a connection for each request.

    On a shared connection, one response too many shifts each later response to the next request.
    """
    return httpx.Client(base_url=url, headers={"connection": "close"}, timeout=timeout_seconds)


@contextmanager
def translated_failures(
    url: str, timeout_seconds: float | None = TIMEOUT_SECONDS
) -> Iterator[None]:
    """Translate httpx's errors to RelayUnavailable."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise RelayUnavailable(
            f"no relay responds at {url} within {timeout_seconds:.0f} seconds"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += ". If your own authority signed it, set SSL_CERT_FILE to its certificate."
        elif "WRONG_VERSION_NUMBER" in reason:
            reason += ". The server speaks no TLS: did you mean http://?"
        raise RelayUnavailable(f"no relay responds at {url}: {reason}") from error


def read_document(response: httpx.Response) -> Document | None:
    """Return the JSON object of a response, if it holds one."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def make_failure(response: httpx.Response) -> CommandFailed:
    """Return the error that a response means, which is not a success or not a relay's."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    document = read_document(response)
    if document is None or not isinstance(document.get("code"), str):
        if response.has_redirect_location:
            location = response.headers["location"]
            return NotThisRelay(f"{response.url} redirects to {location}: give that to --url")
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        return RelayUnavailable(
            f"the server at {response.url} is not a relay: {status}, {kind}. Is the URL right, and"
            " does the proxy before the relay reach it?",
            retry_after_seconds=_read_retry_after(response),
        )
    code, detail = document["code"], document.get("detail") or ""
    if code in ("path-not-found", "method-not-allowed"):
        return NotThisRelay(f"the relay has no {response.url.path}: it is of another version")
    if code == "event-not-found":
        return Rejected(f"{detail} The relay deletes events after RETENTION_DAYS.")
    sentence = f"{response.status_code} {code}: {detail}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        return RelayUnavailable(
            sentence, problem=document, retry_after_seconds=_read_retry_after(response)
        )
    details = [f"{pointer or '(body)'}: {error}" for pointer, error in list_errors(document)]
    return Rejected(sentence, details, problem=document)


def list_errors(document: Document) -> list[tuple[str, str]]:
    """List the pointers and details of a document's `errors`."""
    errors = document.get("errors")
    return [
        (str(error.get("pointer", "")), str(error.get("detail")))
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]


def _read_retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of `Retry-After`; None for a date or an unreadable value."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
