"""Who is asking: HTTP Basic (RFC 7617), checked with argon2id once and then remembered for a while."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Mapping

import falcon
import structlog
from cachetools import TTLCache

from backends import accounts
from backends.cloud import Cloud
from backends.model import Caller, Size
from backends.opened import OpenedDisks
from backends.store.database import Database
from backends.values import Values

CHALLENGE = 'Basic realm="altostratus", charset="UTF-8"'
OPEN_PATHS = {"/healthz"}
CHECKS_AT_ONCE = 2
"""Each check takes 64 MiB and some 50 ms of a core: wrong passwords must not starve the rest."""


class Authentication:
    """Middleware that puts the caller's `Cloud` into the request, or answers 401."""

    def __init__(
        self,
        database: Database,
        sizes: Mapping[str, Size],
        default_size: str,
        remember_s: float,
        values: Values,
        opened: OpenedDisks,
        bandwidth_max_kbit_s: int | None,
    ) -> None:
        self._values = values
        self._opened = opened
        self._bandwidth_max_kbit_s = bandwidth_max_kbit_s
        self._database = database
        self._sizes = sizes
        self._default_size = default_size
        self._key = secrets.token_bytes(32)
        self._callers: TTLCache[bytes, Caller] = TTLCache(maxsize=4096, ttl=remember_s)
        self._lock = threading.Lock()
        self._checking = threading.BoundedSemaphore(CHECKS_AT_ONCE)

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        if request.path in OPEN_PATHS:
            return
        _refuse_other_sites(request)
        caller = self._caller(request.auth)
        structlog.contextvars.bind_contextvars(user=caller.user_name)
        request.context.cloud = Cloud(
            self._database,
            caller,
            self._sizes,
            self._default_size,
            self._values,
            self._opened,
            self._bandwidth_max_kbit_s,
        )

    def _caller(self, header: str | None) -> Caller:
        if header is None:
            raise _unauthorized("The request has no credentials; HTTP Basic with a user and a password is expected.")
        digest = hashlib.blake2b(header.encode("latin-1", "replace"), key=self._key).digest()
        known = self._known(digest)
        if known is not None:
            return known
        name, password = _parse(header)
        with self._checking:
            # A client's first requests come all at once: who waited here finds what another has checked.
            caller = self._known(digest) or self._verified(name, password)
            with self._lock:
                self._callers[digest] = caller
        return caller

    def _known(self, digest: bytes) -> Caller | None:
        with self._lock:
            return self._callers.get(digest)

    def _verified(self, name: str, password: str) -> Caller:
        with self._database.connection() as connection:
            caller = accounts.verify(connection, name, password)
        if caller is None:
            raise _unauthorized("The user or the password is wrong.")
        return caller


def _refuse_other_sites(request: falcon.Request) -> None:
    """A browser that remembers the password must not use it for a form on somebody else's page."""
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        origin = request.get_header("Sec-Fetch-Site", default="none")
        if origin not in ("same-origin", "none"):
            raise falcon.HTTPForbidden(description="A page of another site can't make changes here.")


def _parse(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise _unauthorized(f"The authentication scheme is {scheme[:20]!r}; Basic is expected.")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:  # of base64, of UTF-8, and of what is not even ASCII
        raise _unauthorized("The Basic credentials are not base64 of USER:PASSWORD in UTF-8.") from None
    if not colon or len(password) > 1024:
        raise _unauthorized("The Basic credentials are not USER:PASSWORD.")
    return name, password


def _unauthorized(sentence: str) -> falcon.HTTPUnauthorized:
    return falcon.HTTPUnauthorized(title="Not authenticated", description=sentence, challenges=[CHALLENGE])
