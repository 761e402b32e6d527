"""Exports of disks (1.1.1 §13, 2.0 §13), which the door enforces.

`OCCI/iSCSI` says the computes that may have a disk; by `Network/iSCSI` an initiator outside logs in to one that a
storage host serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from backends.cloud.disk_rights import READ, WRITE, DiskRights
from backends.cloud.named_disks import NamedDisk
from backends.errors import Invalid, NotFound
from backends.model import Export
from cdmi_server.call import Call
from cdmi_server.capabilities import (
    ALL_DISKS,
    DISK,
    EXPORT_CONTAINER_ISCSI,
    EXPORT_ISCSI,
    SERVED_DISK,
    SYSTEM,
    Claim,
    claims,
)
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import Version

OCCI = "OCCI/iSCSI"
ISCSI = "Network/iSCSI"
"""How 1.x names them. 2.0 leaves the name to the client and has the protocol as `type`."""
TYPES_OF_2_0 = {ISCSI: "iSCSI", OCCI: OCCI}
CLAIMS = (
    *claims(SYSTEM, "cdmi_export_occi_iscsi", EXPORT_ISCSI),
    # 1.1.1 §13.7.2: the container in which they are made claims it too.
    Claim("cdmi_export_container_occi", (ALL_DISKS, DISK, SERVED_DISK)),
    Claim(EXPORT_CONTAINER_ISCSI, (ALL_DISKS, SERVED_DISK)),
)
COMPUTE = "/compute/"
ISCSI_PORT = ":3260"
PERMISSIONS_MAX = 1000
NAME_MAX_CHARACTERS = 255
SECRETS = "chap_secrets"
"""Not the standard's, which leaves open how an initiator proves who it is: the CHAP secret of each, by its name."""
CHOSEN_HERE = {"portals", "target_identifier", "logical_unit_number", "logical_unit_name", SECRETS}


def types(disk: NamedDisk) -> Sequence[str]:
    """Of the exports that it has."""
    has = {OCCI: disk.is_restricted, ISCSI: disk.is_exported}
    return [TYPES_OF_2_0[protocol] for protocol, is_there in has.items() if is_there]


def shown(call: Call, disk: NamedDisk, rights: DiskRights) -> dict[str, Any]:
    """The field, where the disk has an export; with secrets for those who may do with its bytes what they allow."""
    found: dict[str, dict[str, Any]] = {}
    permitted = call.cloud.permits(disk.id)
    if permitted is not None:
        uris = [f"{call.request.prefix}{COMPUTE}{machine_id}" for machine_id in permitted]
        found[OCCI] = {"identifier": _identifier(call, disk), "permissions": uris}
    export = call.cloud.export(disk.id)
    if export is not None:
        found[ISCSI] = _iscsi_fields(export)
        if (READ if disk.read_only else READ | WRITE) not in rights.value:
            del found[ISCSI][SECRETS]
    if call.version is Version.V1:
        asked = _asked(call)
        found = {protocol: fields for protocol, fields in found.items() if protocol in asked}
    else:
        named = {disk.export_names.get(protocol, protocol): protocol for protocol in found}
        found = {name: {"type": TYPES_OF_2_0[protocol], **found[protocol]} for name, protocol in named.items()}
    return {"exports": found} if found else {}


def _asked(call: Call) -> Set[str]:
    """1.1.1 §13.3: `?exports:protocol=Network/iSCSI,user=alice,verbose="false"`, where only the protocol matters."""
    asked: Set[str] = TYPES_OF_2_0.keys()
    for part in call.selection.parts_of("exports") or ():
        given = [item.partition("=")[::2] for item in part.split(",")]
        wanted = {name: value.strip('"') for name, value in given}
        if len(wanted) < len(given) or wanted.keys() - {"protocol", "user", "verbose"}:
            raise Invalid(f"exports has {part[:80]!r}: expected protocol=, user= and verbose=, each at most once")
        if wanted.get("verbose", "false") not in ("true", "false"):
            raise Invalid(f"verbose is {wanted['verbose'][:40]!r}: expected true or false")
        if wanted.get("protocol", "all") != "all":
            asked = asked & {wanted["protocol"]}
    return asked


def _iscsi_fields(export: Export) -> dict[str, Any]:
    """Where the target is stands in it from when there is one; a portal's port, if it isn't iSCSI's own."""
    target = {
        "portals": [portal.removesuffix(ISCSI_PORT) for portal in export.portals],
        "target_identifier": export.target_identifier,
        "logical_unit_number": export.logical_unit_number,
        "logical_unit_name": export.logical_unit_name,
    }
    return {
        **(target if export.target_identifier else {}),
        "permissions": [initiator.name for initiator in export.initiators],
        SECRETS: {initiator.name: initiator.secret for initiator in export.initiators},
    }


def wants_service(exports: object) -> bool:
    """Whether a storage host must have the disk."""
    return isinstance(exports, dict) and any(_protocol(name, export) == ISCSI for name, export in exports.items())


def change(call: Call, disk: NamedDisk, exports: object) -> bool:
    """To exactly these; an empty object withdraws what there is, and every compute of the project may have it again.

    True if a storage host has its part to do yet.
    """
    if not isinstance(exports, dict):
        raise Invalid("exports must be a JSON object")
    given: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name, export in exports.items():
        protocol = _protocol(name, export)
        if protocol in given:
            raise Invalid(
                f"exports has {given[protocol][0]!r} and {name[:80]!r}, both {protocol}: expected one of them"
            )
        given[protocol] = name, export
    computes = [_compute(call, uri) for uri in _occi_permissions(call, disk, given[OCCI][1])] if OCCI in given else None
    initiators = _initiators(call, disk, given[ISCSI][1]) if ISCSI in given else []
    try:
        call.cloud.permit_machines(disk.id, computes)
    except NotFound as error:
        raise Invalid(f"permissions can't be given: {error.message}") from None
    before = call.cloud.export(disk.id)
    after = call.cloud.export_disk(disk.id, initiators)
    call.cloud.name_exports(disk.id, {protocol: name for protocol, (name, _) in given.items() if name != protocol})
    return before != after


def _protocol(name: str, export: object) -> str:
    """By its type, or by its name where it has none."""
    if len(name) > NAME_MAX_CHARACTERS:
        raise Invalid(f"exports has a name of {len(name)} characters: at most {NAME_MAX_CHARACTERS} are expected")
    if not isinstance(export, dict):
        raise Invalid(f"the export {name[:80]!r} must be a JSON object, with permissions in it")
    asked = export.get("type", name)
    for protocol, type_of_2_0 in TYPES_OF_2_0.items():
        if asked in (protocol, type_of_2_0):
            return protocol
    raise Invalid(f"exports has {str(asked)[:80]!r}: expected {OCCI} or {ISCSI}")


def _permissions(export: Mapping[str, Any], what: str) -> list[str]:
    given = export.get("permissions", [])
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or len(found) > PERMISSIONS_MAX or not all(isinstance(one, str) for one in found):
        raise Invalid(f"permissions must be an array of at most {PERMISSIONS_MAX} {what}")
    return found


def _occi_permissions(call: Call, disk: NamedDisk, export: Mapping[str, Any]) -> list[str]:
    identifier = export.get("identifier", _identifier(call, disk))
    if not isinstance(identifier, str) or identifier.upper() != _identifier(call, disk):
        raise Invalid(f"the identifier of {OCCI} is {str(identifier)[:80]!r}: expected the container's object ID")
    return _permissions(export, "URIs of computes")


def _initiators(call: Call, disk: NamedDisk, export: Mapping[str, Any]) -> list[str]:
    """What this server chooses may be sent back as it was read; other settings would be obeyed by nobody."""
    others = sorted(export.keys() - CHOSEN_HERE - {"type", "permissions"})
    if others:
        raise Invalid(f"{ISCSI} has {others[0][:80]!r}: expected permissions, the initiators' names")
    if "permissions" not in export:
        raise Invalid(f"{ISCSI} has no permissions: expected the initiators' names, for not anybody may log in")
    if SECRETS in export:
        present = call.cloud.export(disk.id)
        if present is None or export[SECRETS] != _iscsi_fields(present)[SECRETS]:
            raise Invalid(f"{SECRETS} can't be chosen: expected none, or those that were shown")
    return _permissions(export, "names of initiators")


def _identifier(call: Call, disk: NamedDisk) -> str:
    return encode(disk.id, call.site.enterprise_number)


def _compute(call: Call, uri: str) -> UUID:
    """A whole URL of this server, or a path."""
    expected = f"expected the URI of a compute, such as {call.request.prefix}{COMPUTE}UUID"
    try:
        parts = urlsplit(uri)
        own = not parts.netloc or f"{parts.scheme}://{parts.netloc}".lower() == call.request.prefix.lower()
        if not own or not parts.path.startswith(COMPUTE):
            raise ValueError
        return UUID(parts.path.removeprefix(COMPUTE).removesuffix("/"))
    except ValueError:
        raise Invalid(f"permissions has {uri[:100]!r}: {expected}") from None
