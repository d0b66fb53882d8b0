"""Fetches and keeps the issuer's public keys (a JSON Web Key Set, RFC 7517)."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import httpx

from app.domain.errors import ConfigurationInvalid, KeySetUnavailable

_MAXIMUM_AGE_SECONDS: Final = 600.0
_FETCH_INTERVAL_SECONDS: Final = 30.0
_FETCH_TIMEOUT_SECONDS: Final = 5.0
_BODY_LIMIT_BYTES: Final = 512 * 1024
_CALLERS_LIMIT: Final = 1 + 64  # one fetches, the others wait

PUBLIC_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
}
"""Key type → what makes a public key of it."""

_logger = logging.getLogger(__name__)


class _AnswerUnusable(Exception):
    """The issuer answered, but not with a key set; the text may be logged."""


class KeySet:
    """The keys behind one URL, cached.

    Fetched when first asked for a key, when asked for one that it does not hold, and when older
    than 10 minutes; at most once in 30 seconds, whatever callers send, and never twice at a time.
    Where that fails, or the answer holds no usable key, what was held before stays in use. Anybody
    can ask for a key that is not held, so only 64 callers wait for a fetch.

    Args:
        url: where the set is.
        client: the pool to fetch through. The set's own timeout applies, and no redirect is
            followed, whatever the client is configured to do.
        clock: seconds of a clock that does not run backwards, such as `time.monotonic`.

    Raises:
        ConfigurationInvalid: `url` is no http or https URL.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, *, clock: Callable[[], float]) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationInvalid("JWT_JWKS_URL is not a URL.") from error
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ConfigurationInvalid("JWT_JWKS_URL is not an http or https URL with a host.")
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: Sequence[Mapping[str, object]] = ()
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None
        self._is_failing = False
        self._callers = 0

    async def find_key(self, kid: str | None, kty: str) -> Mapping[str, object] | None:
        """Find the key of type `kty` that a token names, or `None`.

        Args:
            kid: as in the token's header. Without one, only a single key of that type will do.
            kty: "RSA" or "EC".

        Raises:
            KeySetUnavailable: it is not held, and the issuer could not be asked, or too many
                wait for its answer: no fault of the token.
        """
        key = self._pick(kid, kty)
        # While somebody else fetches, a key in hand is good enough: nobody waits on an outage
        # but the one who found it.
        if key is not None and (self._is_young() or self._lock.locked()):
            return key
        if self._callers == _CALLERS_LIMIT:
            raise KeySetUnavailable
        self._callers += 1
        try:
            async with self._lock:
                # The previous holder of the lock may have fetched the missing key.
                missing = self._pick(kid, kty) is None
                if (missing or not self._is_young()) and self._may_fetch():
                    await self._refresh()
        finally:
            self._callers -= 1
        key = self._pick(kid, kty)
        if key is None and self._is_failing:
            raise KeySetUnavailable
        return key

    def _pick(self, kid: str | None, kty: str) -> Mapping[str, object] | None:
        fitting = [
            key
            for key in self._keys
            if key.get("kty") == kty and (kid is None or key.get("kid") == kid)
        ]
        if not fitting or (kid is None and len(fitting) > 1):
            return None
        return fitting[0]

    def _is_young(self) -> bool:
        return (
            self._fetched_at is not None
            and self._clock() - self._fetched_at <= _MAXIMUM_AGE_SECONDS
        )

    def _may_fetch(self) -> bool:
        return (
            self._attempted_at is None
            or self._clock() - self._attempted_at >= _FETCH_INTERVAL_SECONDS
        )

    async def _refresh(self) -> None:
        self._attempted_at = self._clock()
        try:
            # httpx times each read; a server that drips needs a limit on the whole as well.
            async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
                self._keys = _read_keys(await self._fetch())
        except _AnswerUnusable as error:
            reason = str(error)
        except (httpx.HTTPError, OSError) as error:  # OSError: TimeoutError among them
            reason = type(error).__name__
        else:
            self._fetched_at = self._clock()
            self._is_failing = False
            return
        self._is_failing = True
        _logger.warning(
            "The key set of JWT_JWKS_URL could not be fetched (%s); %d keys stay in use.",
            reason,
            len(self._keys),
        )

    async def _fetch(self) -> bytes:
        body = bytearray()
        async with self._client.stream(
            "GET",
            self._url,
            # Not compressed: a few kilobytes could unpack to gigabytes before they are counted.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=_FETCH_TIMEOUT_SECONDS,
            follow_redirects=False,
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise _AnswerUnusable(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _AnswerUnusable("compressed, unasked")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _BODY_LIMIT_BYTES:
                    raise _AnswerUnusable(f"over {_BODY_LIMIT_BYTES} bytes")
        return bytes(body)


def _read_keys(body: bytes) -> Sequence[Mapping[str, object]]:
    """Read a key set; members that are no keys are left out, as RFC 7517 section 5 asks.

    Raises:
        _AnswerUnusable: it is no key set, or holds no usable key: no issuer means to publish that.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _AnswerUnusable("not JSON") from error
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise _AnswerUnusable("not a JSON Web Key Set")
    if not any(_is_usable(key) for key in keys):
        raise _AnswerUnusable("without a usable key")
    return tuple(key for key in keys if isinstance(key, dict))


def _is_usable(key: object) -> bool:
    """Tell whether tokens could be verified with a member of a key set."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig":
        return False
    return any(
        key.get("kty") == kty
        and all(isinstance(key.get(name), str) and key[name] for name in members)
        for kty, members in PUBLIC_MEMBERS.items()
    )
