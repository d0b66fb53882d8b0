"""Speaking to a relay as an operator: the client, its token, and what an answer means to a person.

What goes wrong is a `CommandFailed`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app.auth.claims import Scope
from app.cli.client.operator_token import OwnToken, check_token
from app.cli.client.signing import TIMEOUT_SECONDS
from app.cli.errors import CommandFailed, NoRelay, Refused, RelayAway, Unconfirmed

CHECK_THE_WAY: Final = (
    "Check the URL and every proxy before the relay: one of them answers by itself, or gives the"
    " answer to another request"
)

Document = dict[str, Any]
AnswerModel = TypeVar("AnswerModel", bound=BaseModel)


class RemoteRelay:
    """A relay somewhere, and the right to ask it one kind of thing."""

    def __init__(self, client: httpx.Client, *, scope: Scope, is_minted: bool) -> None:
        self._client = client
        self._scope = scope
        self._is_minted = is_minted

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Document:
        """Ask for a document.

        Raises:
            CommandFailed: there is none.
        """
        return self._exchange("GET", path, params=parameters)

    def post(self, path: str, body: Document) -> Document:
        """Post a document and give the answer's.

        Raises:
            CommandFailed: it was not taken.
        """
        return self._exchange("POST", path, json=body)

    def read(self, document: Document, model: type[AnswerModel]) -> AnswerModel:
        """Read a document into what is shown of it.

        Raises:
            RelayAway: it is not of the form that this version knows.
        """
        try:
            return model.model_validate(document)
        except ValidationError as error:
            raise NoRelay(
                f"{self._client.base_url} answers in a form that this command does not know: it"
                " is of another version. Use the command that was installed with it."
            ) from error

    def get_named(self, path: str, name: str, wanted: str) -> Document:
        """Ask for the document of one thing, and make sure that it is the one of that.

        Args:
            path: of the thing.
            name: the member of the document that says which thing it is about.
            wanted: what has to stand there.

        Raises:
            CommandFailed: there is none, or it is about something else.
        """
        document = self.get(path)
        if document.get(name) != wanted:
            raise Unconfirmed(
                f"{self._client.base_url} was asked for {path} and answered about"
                f" {document.get(name)}. {CHECK_THE_WAY}"
            )
        return document

    def _exchange(self, method: str, path: str, **content: Any) -> Document:
        with translated_failures(str(self._client.base_url)):
            response = self._client.request(method, path, **content)
        document = read_document(response)
        if response.is_success and document is not None:
            return document
        sentence = self._explain_access(document or {})
        if sentence is not None:
            raise Refused(sentence)
        raise make_failure(response)

    def _explain_access(self, problem: Document) -> str | None:
        """Say what to do about a token that was not let in; None where that is not the matter."""
        match problem.get("code"):
            case "unauthenticated" if self._is_minted:
                return (
                    "the relay does not accept a token signed with this JWT_SECRET: it has"
                    " another, or asks for another JWT_ISSUER or JWT_AUDIENCE. Its log says which."
                )
            case "unauthenticated":
                return (
                    "the relay does not accept this token: it has expired, or somebody else signed"
                    f" it. `relay token --scope {self._scope}` makes one with the relay's"
                    " JWT_SECRET."
                )
            case "scope-missing":
                return (
                    f"the token lacks the scope {self._scope}; `relay token --scope {self._scope}`"
                    " makes one that has it."
                )
            case "operator-access-not-configured":
                return (
                    "this relay lets no operator in: it has neither JWT_SECRET nor JWT_JWKS_URL."
                    " `relay secret --kind jwt` makes a JWT_SECRET; set it and restart the relay."
                )
            case _:
                return None


@contextmanager
def open_relay(url: str, token: str | None, scope: Scope) -> Iterator[RemoteRelay]:
    """Open a relay to an operator.

    Args:
        url: where it is.
        token: the operator's; None mints one with JWT_SECRET that allows `scope` alone.
        scope: what will be asked.

    Raises:
        ConfigurationInvalid: there is no token and nothing to make one of.
    """
    given = None if token is None else check_token(token)
    own = OwnToken(scope) if given is None else None

    def carry_token(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {own.give() if own else given}"
        return request

    with open_client(url) as client:
        client.auth = carry_token
        yield RemoteRelay(client, scope=scope, is_minted=given is None)


def open_client(url: str) -> httpx.Client:
    """Open a client whose every request has a connection of its own.

    On a connection that carries several, one answer too many makes each request get the answer to
    the one before it.
    """
    return httpx.Client(base_url=url, headers={"connection": "close"}, timeout=TIMEOUT_SECONDS)


@contextmanager
def translated_failures(url: str) -> Iterator[None]:
    """Turn a failure to reach a relay into a sentence.

    Raises:
        RelayAway: with what was wrong on the way there.
    """
    try:
        yield
    except httpx.TimeoutException as error:
        raise RelayAway(
            f"no relay answers at {url} within {TIMEOUT_SECONDS:.0f} seconds"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += ". If your own authority signed it, name that in SSL_CERT_FILE."
        elif "WRONG_VERSION_NUMBER" in reason:
            reason += ". It speaks no TLS: is it http:// and not https://?"
        raise RelayAway(f"no relay answers at {url}: {reason}") from error


def read_document(response: httpx.Response) -> Document | None:
    """Give the JSON object of an answer; None where it holds none."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def make_failure(response: httpx.Response) -> CommandFailed:
    """Say what an answer means that is not a success, or not a relay's."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    document = read_document(response)
    if document is None or not isinstance(document.get("code"), str):
        if response.has_redirect_location:
            location = response.headers["location"]
            return NoRelay(f"{response.url} is elsewhere, at {location}: give that to --url")
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        return RelayAway(
            f"no relay answers at {response.url}, but something else: {status}, {kind}. Is the URL"
            " right, and if there is a proxy between, does it reach the relay?",
            retry_after_seconds=read_retry_after(response),
        )
    code, detail = document["code"], document.get("detail") or ""
    if code in ("path-not-found", "method-not-allowed"):
        return NoRelay(f"the relay does not know {response.url.path}: it is of another version")
    if code == "event-not-found":
        return Refused(f"{detail} Events older than the relay's RETENTION_DAYS are gone.")
    if response.status_code in (408, 429) or response.status_code >= 500:
        return RelayAway(
            f"the relay cannot at the moment, {status}: {detail}",
            retry_after_seconds=read_retry_after(response),
        )
    return Refused(f"{response.status_code} {code}: {detail}", list_errors(document))


def list_errors(document: Document) -> list[str]:
    """Give the places that an answer names, with what is wrong there."""
    places = document.get("errors")
    return [
        f"{place.get('pointer') or '(body)'}: {place.get('detail')}"
        for place in (places if isinstance(places, list) else [])
        if isinstance(place, dict)
    ]


def read_retry_after(response: httpx.Response) -> float | None:
    """Give the seconds of `Retry-After`; a date, and what cannot be read, counts as none."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
