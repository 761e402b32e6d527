"""Raw HTTP: requests sent just as they were written, answers kept as bytes, every exchange recorded.

Nothing is added that a check did not ask for: no Accept, no redirects, no proxies, no cookies.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from urllib.parse import urljoin

import httpx

from conformance.suite import Exchange

BODY_LIMIT_BYTES = 4 * 1024 * 1024


class Wire:
    """A connection to one server."""

    def __init__(
        self,
        url: str,
        credentials: tuple[str, str] | None,
        timeout_seconds: float,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.base_url = url.rstrip("/") + "/"
        self.credentials = credentials
        self.timeout_seconds = timeout_seconds
        self.verify = verify
        self.last: Exchange | None = None
        self.last_sent_at = 0.0
        """When, by the monotonic clock."""
        self._client = httpx.Client(timeout=timeout_seconds, verify=verify, trust_env=False, follow_redirects=False)

    def close(self) -> None:
        self._client.close()

    def absolute(self, location: str) -> str:
        """The URL of a location that the server gave: absolute, a path from the root, or relative."""
        if location.startswith("/"):
            return urljoin(self.base_url, location)
        return urljoin(self.base_url, location) if "://" not in location else location

    def send(
        self,
        method: str,
        location: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        authenticated: bool = True,
        credentials: tuple[str, str] | None = None,
    ) -> Exchange:
        url = self.absolute(location)
        given = {name.lower() for name, _ in headers}
        request = self._client.build_request(method, url, content=body or None)
        for name in ("accept", "accept-encoding", "user-agent"):
            if name in request.headers:
                del request.headers[name]
        raw = [
            (name, value) for name, value in request.headers.raw if name.lower() not in {key.encode() for key in given}
        ]
        raw += [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers]
        request.headers = httpx.Headers(raw)
        account = credentials or (self.credentials if authenticated and self.is_ours(url) else None)
        sent_headers = tuple((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in raw)
        self.last, self.last_sent_at = Exchange(method, url, sent_headers, body, 0), time.monotonic()
        auth = httpx.BasicAuth(*account) if account else None
        response = self._client.send(request, auth=auth, stream=True)
        try:
            content = _read_bounded(response)
        finally:
            response.close()
        shown = sent_headers + ((("Authorization", "***"),) if account else ())
        self.last = Exchange(
            method,
            url,
            shown,
            body,
            response.status_code,
            tuple((name.decode("latin-1"), _decode(value)) for name, value in response.headers.raw),
            content,
        )
        return self.last

    def is_ours(self, url: str) -> bool:
        """Credentials and deletions go to the server under test only, whatever locations it hands out."""
        there, here = httpx.URL(url), httpx.URL(self.base_url)
        return (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)


def _read_bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > BODY_LIMIT_BYTES:
            break
    return bytes(content[:BODY_LIMIT_BYTES])


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
