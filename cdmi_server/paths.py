"""From the path of a request to what it names, and from objects to their URIs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit
from uuid import UUID

from backends.errors import Invalid, NotFound
from backends.objects import NAME_MAX_BYTES, Address, ObjectKind
from cdmi_server.negotiation import ROOTS
from renderers.cdmi.objectid import ObjectIdError, decode
from renderers.cdmi.representation import CdmiError, Version

BY_ID = "cdmi_objectid"
CAPABILITIES = "cdmi_capabilities"
DOMAINS = "cdmi_domains"
ROOT = Address()
URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
MARKS = {ObjectKind.CONTAINER: "/", ObjectKind.REFERENCE: "?"}


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names. `is_pool` is `/cdmi_objectid/`; `capabilities` and `domains` the names below these roots."""

    address: Address = ROOT
    slash: bool = True
    is_pool: bool = False
    capabilities: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None


def split_root(path: str) -> tuple[Version, str]:
    """The version that the path belongs to, and what follows its root."""
    if path == ROOTS[Version.V2].rstrip("/") or path.startswith(ROOTS[Version.V2]):
        return Version.V2, path[len(ROOTS[Version.V2]) :]
    return Version.V1, path[len(ROOTS[Version.V1]) :]


def parse_place(path: str, enterprise: int) -> Place:
    """`path` is what follows the root, its escapes undone."""
    slash = not path or path.endswith("/")
    names = tuple(path.removesuffix("/").split("/")) if path.strip("/") else ()
    for name in names:
        if name in ("", ".", "..") or "\0" in name or len(name) > NAME_MAX_BYTES:
            raise Invalid(f"the path has a part {name[:80]!r}: expected names without NUL that aren't '.' or '..'")
    if names and names[0] == CAPABILITIES:
        return Place(slash=slash, capabilities=names[1:])
    if names and names[0] == DOMAINS:
        return Place(slash=slash, domains=names[1:])
    if names and names[0] == BY_ID:
        if len(names) == 1:
            return Place(is_pool=True, slash=slash)
        return Place(Address(names[2:], object_identity(names[1], enterprise)), slash)
    return Place(Address(names), slash)


def object_identity(text: str, enterprise: int) -> UUID:
    """`NotFound` for IDs that were made elsewhere or that nobody can have made."""
    try:
        return decode(text, enterprise)
    except ObjectIdError as error:
        raise NotFound(str(error)) from None


def parse_uri(uri: object, own_origin: str, enterprise: int, what: str) -> tuple[Place, str]:
    """A place in this server's tree that a body names, and the query after it.

    It may be a whole URL of this server, a path with the root, or a path from the root on. In JSON names stand as they
    are, without escapes (1.1.1 §5.13.4): '%' and '#' are characters of a name like others, and a name has no '?'.
    """
    if not isinstance(uri, str) or not uri or len(uri) > 8192:
        raise CdmiError(f"{what} must be the URI of an object")
    path, _, query = uri.partition("?")
    if URL.match(path):
        if path[: len(own_origin) + 1].lower() != f"{own_origin}/".lower():
            raise CdmiError(f"{what} is {uri[:100]!r}: objects of other servers can't be used")
        path = path[len(own_origin) :]
    if path.startswith(ROOTS[Version.V1]):
        path = split_root(path)[1]
    return parse_place(path.removeprefix("/"), enterprise), query


def check_url(url: str, what: str) -> None:
    try:
        found = bool(urlsplit(url).hostname)
    except ValueError:
        found = False
    if not found:
        raise CdmiError(f"{what} is {url[:100]!r}, which is no URL")


def uri_of(version: Version, names: Sequence[str], kind: ObjectKind) -> str:
    """As it stands in JSON, without escapes."""
    return ROOTS[version] + "/".join(names) + ("/" if names and kind is ObjectKind.CONTAINER else "")


def domain_uri(version: Version, project_name: str) -> str:
    return f"{ROOTS[version]}{DOMAINS}/{project_name}/"


def escaped(path: str) -> str:
    return quote(path, safe="/~!$&'()*+,;=:@-._")
