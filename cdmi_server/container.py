"""Containers by CDMI (1.1.1 §9): create, read, update, delete, and POST of new objects."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import falcon

from backends.acl import AceMask
from backends.errors import Invalid
from backends.objects import SNAPSHOTS, Address, Found, NewObject, ObjectChanges, ObjectKind
from cdmi_server import bodies, relocation, serialization
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.dataobject import create_reference
from cdmi_server.metadata import changed_metadata, new_metadata, replaced_metadata
from cdmi_server.negotiation import check_acceptable
from cdmi_server.paths import MARKS, escaped
from cdmi_server.views import common_fields, metadata_field, path_of, select
from renderers.cdmi import ranges
from renderers.cdmi.representation import CONTAINER

CLAIMS = (
    *claims("container", "cdmi_list_children", "cdmi_list_children_range", "cdmi_read_metadata"),
    *claims("container", "cdmi_modify_metadata", "cdmi_create_container", "cdmi_delete_container"),
    *claims("container", "cdmi_snapshot"),
    *claims(SYSTEM, "cdmi_snapshots"),
)


def create(call: Call, address: Address, body: dict[str, Any]) -> None:
    bodies.check_fields(call, body, frozenset())
    source = bodies.one_source(body, ("reference", *relocation.SOURCES, *serialization.SERIALIZED))
    if source == "reference":
        create_reference(call, address, body)
        return
    if source in relocation.SOURCES:
        answer_created(call, relocation.relocate(call, address, body, source, ObjectKind.CONTAINER))
        return
    if source in serialization.SERIALIZED:
        answer_created(call, serialization.deserialize(call, address, body, source, ObjectKind.CONTAINER))
        return
    metadata = new_metadata(call.site, body.get("metadata", {}))
    new = NewObject(ObjectKind.CONTAINER, metadata, fields=bodies.other_fields(call.site, body))
    answer_created(call, call.cloud.create_object(address, new))


def answer_created(call: Call, made: Found) -> None:
    call.response.set_header("Location", call.request.prefix + escaped(path_of(call, made)))
    fields = common_fields(call, made)
    fields["metadata"] = metadata_field(call, made)
    if made.rights & AceMask.LIST_CONTAINER:
        fields |= children_fields(call, made)
    call.answer_json(CONTAINER, fields, status=falcon.HTTP_201)


def read(call: Call, found: Found) -> None:
    check_acceptable(call.request, CONTAINER)
    fields = common_fields(call, found)
    fields["metadata"] = metadata_field(call, found)
    if "snapshots" in call.selection and found.rights & AceMask.LIST_CONTAINER:
        fields |= _snapshots_field(call, found)
    wants_children = "children" in call.selection or "childrenrange" in call.selection
    if wants_children and found.rights & AceMask.LIST_CONTAINER:
        fields |= children_fields(call, found)
    call.answer_json(CONTAINER, select(call, found.rights, fields))


def _snapshots_field(call: Call, found: Found) -> dict[str, Any]:
    """Their URIs; no field where there are none."""
    names = call.cloud.snapshots(found)
    above = path_of(call, found)
    return {"snapshots": [f"{above}{SNAPSHOTS}/{name}/" for name in names]} if names else {}


def children_fields(call: Call, found: Found) -> dict[str, Any]:
    """All the children or a range of them, by name; `childrenrange` says which."""
    asked = call.selection.range_of("children")
    if asked is None:
        children = [marked(name, kind) for name, kind in call.cloud.child_names(found)]
        return {"childrenrange": ranges.whole(len(children)), "children": children}
    children = [marked(name, kind) for name, kind in call.cloud.child_names(found, asked.first, asked.count)]
    shown = f"{asked.first}-{asked.first + len(children) - 1}" if children else ""
    return {"childrenrange": shown, "children": children}


def marked(name: str, kind: ObjectKind) -> str:
    return name + MARKS.get(kind, "")


def update(call: Call, found: Found, body: dict[str, Any]) -> None:
    bodies.check_fields(call, body, frozenset({"snapshot"}))
    change = partial(changes_of, call, body)
    if bodies.one_source(body, ("copy",)):
        if "snapshot" in body:
            raise Invalid("the body has copy and snapshot: expected one of them at a time")
        relocation.copy_onto(call, found, body)
    elif "snapshot" in body:
        name = bodies.field_text(body, "snapshot").removesuffix("/")
        call.cloud.snapshot_container(found, name, change)
    else:
        call.cloud.change_object(found, change)
    call.response.status = falcon.HTTP_204


def changes_of(call: Call, body: dict[str, Any], now: Found) -> ObjectChanges:
    """By an update of a container or a queue."""
    metadata = changed_metadata(call.site, now.object.metadata, body, call.selection)
    fields = bodies.changed_fields(call, now.object.fields, body)
    return ObjectChanges(metadata, fields=fields)


def replace(call: Call, found: Found, body: dict[str, Any]) -> None:
    """PUT of 2.0 where there is a container: its metadata is as the body says; its children stay."""
    bodies.check_fields(call, body, frozenset())
    if bodies.one_source(body, ("copy",)):
        relocation.copy_onto(call, found, body)
    else:
        given, fields = body.get("metadata", {}), bodies.other_fields(call.site, body)

        def change(now: Found) -> ObjectChanges:
            return ObjectChanges(replaced_metadata(call.site, now.object.metadata, given), fields=fields)

        call.cloud.change_object(found, change)
    answer_created(call, call.cloud.find_object(found.address))


def new_address(container: Found) -> Address:
    """Of what is POSTed: a name that nobody else has taken or will."""
    return container.address.child(uuid4().hex)
