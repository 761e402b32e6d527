"""Exports of disks: `OCCI/iSCSI` (1.1.1 §13.1), which says the computes that may have a disk. The door enforces it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from backends.cloud.named_disks import NamedDisk
from backends.errors import Invalid, NotFound
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from renderers.cdmi.objectid import encode

OCCI = "OCCI/iSCSI"
CLAIMS = (*claims(SYSTEM, "cdmi_export_occi_iscsi"), *claims("container/disk", "cdmi_export_container_occi"))
COMPUTE = "/compute/"
PERMISSIONS_MAX = 1000


def shown(call: Call, disk: NamedDisk) -> dict[str, Any]:
    """The field, where the disk has an export."""
    permitted = call.cloud.permits(disk.id)
    if permitted is None:
        return {}
    uris = [f"{call.request.prefix}{COMPUTE}{machine_id}" for machine_id in permitted]
    return {"exports": {OCCI: {"identifier": _identifier(call, disk), "permissions": uris}}}


def change(call: Call, disk: NamedDisk, exports: object) -> None:
    """To exactly these; an empty object withdraws what there is, and every compute of the project may have it again."""
    if not isinstance(exports, dict):
        raise Invalid("exports must be a JSON object")
    others = sorted(str(name) for name in exports if name != OCCI)
    if others:
        raise Invalid(f"exports has {others[0][:80]!r}: expected {OCCI}")
    if OCCI not in exports:
        call.cloud.permit_machines(disk.id, None)
        return
    export = exports[OCCI]
    if not isinstance(export, dict):
        raise Invalid(f"{OCCI} must be a JSON object, with permissions in it")
    identifier = export.get("identifier", _identifier(call, disk))
    if not isinstance(identifier, str) or identifier.upper() != _identifier(call, disk):
        raise Invalid(f"the identifier of {OCCI} is {str(identifier)[:80]!r}: expected the container's object ID")
    permissions = export.get("permissions", [])
    uris = [permissions] if isinstance(permissions, str) else permissions
    if not isinstance(uris, list) or len(uris) > PERMISSIONS_MAX:
        raise Invalid(f"permissions must be an array of at most {PERMISSIONS_MAX} URIs of computes")
    try:
        call.cloud.permit_machines(disk.id, [_compute(call, uri) for uri in uris])
    except NotFound as error:
        raise Invalid(f"permissions can't be given: {error.message}") from None


def _identifier(call: Call, disk: NamedDisk) -> str:
    return encode(disk.id, call.site.enterprise_number)


def _compute(call: Call, uri: object) -> UUID:
    """A whole URL of this server, or a path."""
    expected = f"expected the URI of a compute, such as {call.request.prefix}{COMPUTE}UUID"
    try:
        parts = urlsplit(uri if isinstance(uri, str) else "")
        own = not parts.netloc or f"{parts.scheme}://{parts.netloc}".lower() == call.request.prefix.lower()
        if not own or not parts.path.startswith(COMPUTE):
            raise ValueError
        return UUID(parts.path.removeprefix(COMPUTE).removesuffix("/"))
    except ValueError:
        raise Invalid(f"permissions has {str(uri)[:100]!r}: {expected}") from None
