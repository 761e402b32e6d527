"""Which rendering a request comes in and which its answer goes out in, and whether the client speaks our version.

The renderings themselves are read and written by `requests` and `answers`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

import falcon

VERSION = (1, 2)
CLIENT_VERSION = re.compile(r"\bOCCI/(\d{1,4})\.(\d{1,4})", re.IGNORECASE)


class Rendering(StrEnum):
    """The media types served, the default first (GFD.185 §3.6.6)."""

    TEXT = "text/plain"
    HEADERS = "text/occi"
    TEXT_OCCI = "text/occi+plain"
    JSON = "application/occi+json"
    PLAIN_JSON = "application/json"
    URI_LIST = "text/uri-list"
    HTML = "text/html"


READABLE = tuple(rendering for rendering in Rendering if rendering is not Rendering.HTML)
ACCEPTED = ", ".join(READABLE)
OFFERED = ", ".join(Rendering)
IN_TEXT = frozenset({Rendering.TEXT, Rendering.TEXT_OCCI})
IN_JSON = frozenset({Rendering.JSON, Rendering.PLAIN_JSON})


def answer_rendering(request: falcon.Request) -> Rendering:
    """The rendering that the client likes best; 406 when it takes none of ours, 501 when it needs a later OCCI."""
    _check_version(request.env.get("HTTP_USER_AGENT", ""))
    rendering = preferred(request.env.get("HTTP_ACCEPT", ""))
    if rendering is None:
        raise falcon.HTTPNotAcceptable(
            description=f"Accept is {request.env['HTTP_ACCEPT'][:200]!r}: expected one of {OFFERED}."
        )
    return rendering


def request_rendering(request: falcon.Request) -> Rendering | None:
    """The first known type of Content-Type, which some clients send as a list; None when there is no such header."""
    header = request.env.get("CONTENT_TYPE", "")
    if not header.strip():
        return None
    for item in header.split(","):
        media_type = item.partition(";")[0].strip().lower()
        if media_type in READABLE:
            return Rendering(media_type)
    raise falcon.HTTPNotAcceptable(description=f"Content-Type is {header[:200]!r}: expected one of {ACCEPTED}.")


@lru_cache(maxsize=256)
def preferred(accept: str) -> Rendering | None:
    """By quality, then by how exactly a range names the type, then by the client's order, then by ours."""
    ranges = _ranges(accept)
    if not ranges:
        return Rendering.TEXT
    best: tuple[float, int, int] | None = None
    chosen = None
    for rendering in Rendering:
        rank = _rank(rendering, ranges)
        if rank is not None and (best is None or rank > best):
            best, chosen = rank, rendering
    return chosen


def _ranges(accept: str) -> Sequence[tuple[str, float]]:
    ranges = []
    for item in accept.split(","):
        media_range, _, parameters = item.partition(";")
        if media_range.strip():
            ranges.append((media_range.strip().lower(), _quality(parameters)))
    return ranges


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            return float(value) if re.fullmatch(r"\s*[01](\.\d{0,3})?\s*", value) else 0.0
    return 1.0


def _rank(rendering: Rendering, ranges: Sequence[tuple[str, float]]) -> tuple[float, int, int] | None:
    """The most exact range decides about a type (RFC 9110 §12.5.1)."""
    family = rendering.partition("/")[0] + "/*"
    for specificity, wanted in ((2, rendering.value), (1, family), (0, "*/*")):
        for position, (media_range, quality) in enumerate(ranges):
            if media_range == wanted:
                return (quality, specificity, -position) if quality > 0 else None
    return None


@lru_cache(maxsize=256)
def _check_version(user_agent: str) -> None:
    versions = [(int(major), int(minor)) for major, minor in CLIENT_VERSION.findall(user_agent)]
    if versions and min(versions) > VERSION:
        major, minor = min(versions)
        raise falcon.HTTPNotImplemented(
            description=f"User-Agent asks for OCCI/{major}.{minor}: expected OCCI/1.1 or OCCI/1.2."
        )
