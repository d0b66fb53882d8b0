"""Fetches and caches the issuer's public keys: a JSON Web Key Set (RFC 7517)."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import httpx

from app.domain.degradation import Degradation
from app.domain.errors import KeySetUnavailable

logger = logging.getLogger(__name__)

_MAXIMUM_AGE_SECONDS: Final = 600.0
_FETCH_INTERVAL_SECONDS: Final = 30.0
_FETCH_TIMEOUT_SECONDS: Final = 5.0
_BODY_LIMIT_BYTES: Final = 512 * 1024
_TEMPORARY_STATUSES: Final = (429, 500, 502, 503, 504)
_CALLERS_LIMIT: Final = 1 + 64  # One fetches, the others wait.

PUBLIC_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
}
"""Key type → the members of its public key."""


class _ResponseUnusable(Exception):
    """The issuer's response is not a key set. The text may be logged.

    Attributes:
        is_temporary: whether the issuer says that it is unavailable.
    """

    def __init__(self, reason: str, *, is_temporary: bool = False) -> None:
        super().__init__(reason)
        self.is_temporary = is_temporary


class KeySet:
    """The cached keys of one URL.

    Fetches them when first needed, when asked for an unknown key, and when older than 10 minutes;
    at most once in 30 seconds. A failed fetch, or one without a usable key, never replaces the
    cached keys. Unauthenticated callers can ask for unknown keys, so at most 64 of them wait. The
    clock is monotonic.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, *, clock: Callable[[], float]) -> None:
        self._url = url
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: Sequence[Mapping[str, object]] = ()
        self._fetched_at = float("-inf")
        self._attempted_at = float("-inf")
        self._failures = Degradation(
            logger, "the key set of JWT_JWKS_URL can be fetched again", monotonic=clock
        )
        self._callers = 0

    async def find_key(self, kid: str | None, kty: str) -> Mapping[str, object] | None:
        """Find the key that a token names.

        Args:
            kid: of the token's header. Without one, the key must be the only one of its type.
            kty: "RSA" or "EC".

        Raises:
            KeySetUnavailable: the key is unknown, and the set cannot be fetched or too many
                callers wait for it.
        """
        key = self._select(kid, kty)
        # During a fetch a cached key is good enough: an outage delays only the caller that fetches.
        if key is not None and (self._is_fresh() or self._lock.locked()):
            return key
        if self._callers == _CALLERS_LIMIT:
            raise KeySetUnavailable
        self._callers += 1
        try:
            async with self._lock:
                # The previous holder of the lock may have fetched the key.
                is_needed = self._select(kid, kty) is None or not self._is_fresh()
                if is_needed and self._clock() - self._attempted_at >= _FETCH_INTERVAL_SECONDS:
                    await self._refresh()
        finally:
            self._callers -= 1
        key = self._select(kid, kty)
        if key is None and self._failures.is_ongoing:
            raise KeySetUnavailable
        return key

    def _select(self, kid: str | None, kty: str) -> Mapping[str, object] | None:
        keys = [
            key
            for key in self._keys
            if key.get("kty") == kty and (kid is None or key.get("kid") == kid)
        ]
        return keys[0] if keys and (kid is not None or len(keys) == 1) else None

    def _is_fresh(self) -> bool:
        return self._clock() - self._fetched_at <= _MAXIMUM_AGE_SECONDS

    async def _refresh(self) -> None:
        self._attempted_at = self._clock()
        level = logging.WARNING
        try:
            # httpx limits each read, not the whole response.
            async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
                self._keys = _read_keys(await self._fetch())
        except _ResponseUnusable as error:
            reason = str(error)
            # Without any key so far, the URL is probably wrong.
            if not self._keys and not error.is_temporary:
                level = logging.ERROR
        except (httpx.HTTPError, OSError) as error:  # TimeoutError is an OSError.
            reason = type(error).__name__
        else:
            self._fetched_at = self._clock()
            self._failures.end()
            return
        self._failures.note(
            f"cannot fetch the key set of JWT_JWKS_URL ({reason}); {len(self._keys)} keys stay in"
            " use",
            cause=reason,
            level=level,
        )

    async def _fetch(self) -> bytes:
        body = bytearray()
        async with self._client.stream(
            "GET",
            self._url,
            # A few compressed kilobytes could unpack to gigabytes.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=_FETCH_TIMEOUT_SECONDS,
            follow_redirects=False,
        ) as response:
            if response.status_code != httpx.codes.OK:
                status = response.status_code
                is_temporary = status in _TEMPORARY_STATUSES
                raise _ResponseUnusable(f"status {status}", is_temporary=is_temporary)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _ResponseUnusable("compressed")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _BODY_LIMIT_BYTES:
                    raise _ResponseUnusable(f"over {_BODY_LIMIT_BYTES} bytes")
        return bytes(body)


def _read_keys(body: bytes) -> Sequence[Mapping[str, object]]:
    """Read a key set, without members that are not objects (RFC 7517, section 5)."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _ResponseUnusable("not JSON") from error
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise _ResponseUnusable("not a JSON Web Key Set")
    if not any(_is_usable(key) for key in keys):
        raise _ResponseUnusable("without a usable key")
    return tuple(key for key in keys if isinstance(key, dict))


def _is_usable(key: object) -> bool:
    if not isinstance(key, dict) or key.get("use", "sig") != "sig":
        return False
    kty = key.get("kty")
    members = PUBLIC_MEMBERS.get(kty) if isinstance(kty, str) else None
    return members is not None and all(
        isinstance(key.get(name), str) and key[name] for name in members
    )
