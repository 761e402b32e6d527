"""Which dialect a request speaks, whether it is CDMI or plain HTTP, and what its answer may be."""

from __future__ import annotations

import re
from enum import Enum

import falcon

from backends.objects import ObjectKind
from renderers.cdmi.representation import CAPABILITY, CONTAINER, DATAOBJECT, DOMAIN, QUEUE, Version

ROOTS = {Version.V1: "/cdmi/", Version.V2: "/cdmi/2.0.0/"}
VERSION_FIELD = "X-CDMI-Specification-Version"
SERVED = ("1.0.2", "1.1", "1.1.1")
"""Of 1.x, the lowest first."""
MEDIA_TYPES = {ObjectKind.CONTAINER: CONTAINER, ObjectKind.DATAOBJECT: DATAOBJECT, ObjectKind.QUEUE: QUEUE}
CDMI_TYPES = frozenset({CAPABILITY, CONTAINER, DATAOBJECT, QUEUE, DOMAIN})
MULTIPART = "multipart/mixed"
UNWANTED = re.compile(r";\s*q=0(\.0*)?\s*(;|$)", re.IGNORECASE)
"""An item of Accept that says that it isn't wanted (RFC 9110 §12.4.2)."""
FAMILIES = frozenset({"*/*", "application/*"})


class Profile(Enum):
    CDMI = "CDMI"
    HTTP = "HTTP"


def specification_version(request: falcon.Request) -> str | None:
    """The highest of 1.x that client and server have in common; None when the client names none."""
    header = request.get_header(VERSION_FIELD)
    if header is None:
        return None
    offered = {item.strip() for item in header.split(",")}
    for version in reversed(SERVED):
        if version in offered:
            return version
    raise falcon.HTTPBadRequest(
        description=f"{VERSION_FIELD} is {header[:100]!r}: expected a list with one of {', '.join(SERVED)}."
    )


def media_type(header: str) -> str:
    """The bare type, with the `+json` form taken for the plain one (RFC 6839)."""
    bare = header.partition(";")[0].strip().lower()
    return bare.removesuffix("+json") if bare.removesuffix("+json") in CDMI_TYPES else bare


def accepted(request: falcon.Request) -> list[str]:
    """The types in Accept, in order, but for those that aren't wanted (q=0); empty when there is no such field."""
    items = request.env.get("HTTP_ACCEPT", "").split(",")
    return [media_type(item) for item in items if item.strip() and not UNWANTED.search(item)]


def request_profile(request: falcon.Request, version: Version) -> Profile:
    """Of a request that carries a body or could: by Content-Type; without one, 1.x goes by its version field."""
    given = request.env.get("CONTENT_TYPE", "")
    if given.strip():
        is_cdmi = media_type(given) in CDMI_TYPES or media_type(given) == MULTIPART
    else:
        is_cdmi = any(item in CDMI_TYPES for item in accepted(request)) or (
            version is Version.V1 and request.get_header(VERSION_FIELD) is not None
        )
    return Profile.CDMI if is_cdmi else Profile.HTTP


def answer_profile(request: falcon.Request, version: Version) -> Profile:
    """Of a request for an answer: by Accept; where that leaves it open, 1.x goes by its version field.

    A Range is plain HTTP's: there are clients that send the version with every plain request.
    """
    types = accepted(request)
    if any(item in CDMI_TYPES for item in types) or MULTIPART in types:
        return Profile.CDMI
    has_version = version is Version.V1 and request.get_header(VERSION_FIELD) is not None
    is_open = all(item in FAMILIES for item in types)
    return Profile.CDMI if has_version and is_open and request.get_header("Range") is None else Profile.HTTP


def check_acceptable(request: falcon.Request, produced: str) -> None:
    """406 when Accept is there and leaves the type out."""
    types = accepted(request)
    if types and produced not in types and not FAMILIES.intersection(types):
        raise falcon.HTTPNotAcceptable(
            description=f"Accept is {request.env['HTTP_ACCEPT'][:200]!r}, but what is here comes as {produced}."
        )


def check_content_type(request: falcon.Request, expected: str) -> None:
    """400 when a body comes without its type, or with another's."""
    given = request.env.get("CONTENT_TYPE", "")
    has_body = bool(request.content_length) or bool(request.env.get("wsgi.input_terminated"))
    if (given.strip() or has_body) and media_type(given) != expected:
        raise falcon.HTTPBadRequest(description=f"Content-Type is {given[:100]!r}: expected {expected}.")
