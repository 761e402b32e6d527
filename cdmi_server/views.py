"""The fields of objects, as all resources show them."""

from __future__ import annotations

from typing import Any

from backends.acl import AceMask
from backends.errors import NotAllowed
from backends.objects import COMPLETE, PROCESSING, SNAPSHOTS, Found, ObjectKind
from cdmi_server import bodies
from cdmi_server.call import Call
from cdmi_server.capabilities import node_of, uri_of_capabilities
from cdmi_server.metadata import read_metadata
from cdmi_server.negotiation import MEDIA_TYPES, ROOTS
from cdmi_server.paths import BY_ID, domain_uri, uri_of
from cdmi_server.site import Spoken
from renderers.cdmi.objectid import encode

READING = AceMask.READ_METADATA | AceMask.READ_OBJECT | AceMask.READ_ACL
"""With any of them an object is shown, with what the others are for left out."""
CONTENTS = frozenset({"value", "valuerange", "valuetransferencoding", "children", "childrenrange", "snapshots"})


def identity_of(call: Spoken, found: Found) -> str:
    return encode(found.object.id, call.site.enterprise_number)


def path_of(call: Spoken, found: Found) -> str:
    """The object's URI: by path, or by ID where there is no path, as to a version."""
    if found.names is None or found.object.version is not None:
        return f"{ROOTS[call.version]}{BY_ID}/{identity_of(call, found)}"
    return uri_of(call.version, found.names, found.object.kind)


def common_fields(call: Spoken, found: Found) -> dict[str, Any]:
    """Those that containers, data objects and queues share, up to the metadata, and the client's own."""
    stored = found.object
    fields: dict[str, Any] = dict(stored.fields) if found.rights & AceMask.READ_METADATA else {}
    if stored.kind is not ObjectKind.REFERENCE:
        fields["objectType"] = MEDIA_TYPES[stored.kind]
    fields["objectID"] = identity_of(call, found)
    slash = "/" if stored.kind is ObjectKind.CONTAINER else ""
    if found.names == ():
        fields |= {"objectName": ROOTS[call.version], "parentURI": ""}
    elif found.names is not None:
        fields |= {
            "objectName": found.names[-1] + slash,
            "parentURI": uri_of(call.version, found.names[:-1], ObjectKind.CONTAINER),
        }
        if found.parent_id is not None:
            fields["parentID"] = encode(found.parent_id, call.site.enterprise_number)
    fields["domainURI"] = domain_uri(call.version, call.domain)
    if stored.kind is ObjectKind.REFERENCE:
        return fields
    fields["capabilitiesURI"] = uri_of_capabilities(call.version, node_of(stored))
    fields["completionStatus"] = stored.completion
    if stored.completion != PROCESSING:
        fields["percentComplete"] = "100" if stored.completion == COMPLETE else "0"
    return fields


def metadata_field(call: Call, found: Found) -> dict[str, Any]:
    return read_metadata(call, found, call.selection.parts_of("metadata"))


def select(call: Call, rights: AceMask, fields: dict[str, Any]) -> dict[str, Any]:
    """What was asked for and may be read; fields that don't exist are left out.

    1.1.1 §8.1, 2.0 §8.2.5: `NotAllowed` if that is nothing, for want of rights.
    """
    chosen = {
        name: value for name, value in fields.items() if name in call.selection and rights & _rights_to(call, name)
    }
    withheld = [asked.name for asked in call.selection if not rights & _rights_to(call, asked.name)]
    # A value isn't among the fields: it is sent after them.
    has_value = "value" in call.selection and "value" not in withheld
    if not rights & READING or (withheld and not chosen and not has_value):
        what = " and ".join(withheld) or "anything of it"
        raise NotAllowed(f"the access control list doesn't let the caller read {what}")
    return chosen


def _rights_to(call: Call, name: str) -> AceMask:
    """Any of them lets a field be read."""
    if name == "metadata":
        # 1.1.1 §16.1.5, 2.0 §17.2.6: the list is read on its own without READ_METADATA, all metadata aren't.
        parts = set(call.selection.parts_of(name) or ())
        others = AceMask(0) if parts == {"cdmi_acl"} else AceMask.READ_METADATA
        return others | AceMask.READ_ACL if "cdmi_acl" in parts else others
    if name in CONTENTS:
        return AceMask.READ_OBJECT
    return READING if name in bodies.DEFINED - {"exports"} else AceMask.READ_METADATA


def is_snapshot(found: Found) -> bool:
    return found.names is not None and SNAPSHOTS in found.names
