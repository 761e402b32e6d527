"""The project's disks: `/cdmi/disks/` and a container for each of them. They are the same as OCCI's storages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import falcon

from backends.cloud.named_disks import NamedDisk
from backends.errors import Invalid, NotFound
from backends.model import DiskState, Pool
from backends.objects import COMPLETE, DISKS, PROCESSING, Address, Found, ObjectKind
from cdmi_server import bodies, container, exports, policies
from cdmi_server.call import Call
from cdmi_server.capabilities import DISK, SERVED_DISK, Claim, claims, uri_of_capabilities
from cdmi_server.metadata import changed_metadata, new_metadata
from cdmi_server.negotiation import (
    Profile,
    accepted,
    answer_profile,
    check_acceptable,
    check_content_type,
    request_profile,
)
from cdmi_server.paths import escaped, parse_uri, uri_of
from cdmi_server.views import common_fields, metadata_field
from renderers.cdmi import html, ranges
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import CONTAINER, Version, format_time

ALL = "container/disks"
"""A node of the capability tree; those of one disk are `DISK` and `SERVED_DISK`."""
CLAIMS = (
    *claims(ALL, "cdmi_list_children", "cdmi_list_children_range", "cdmi_read_metadata", "cdmi_modify_metadata"),
    *claims(ALL, "cdmi_create_container", "cdmi_copy_container", "cdmi_ctime", "cdmi_mtime"),
    *(
        Claim(name, (DISK, SERVED_DISK))
        for name in (
            "cdmi_read_metadata", "cdmi_modify_metadata", "cdmi_delete_container", "cdmi_assignedsize", "cdmi_size",
            "cdmi_ctime",
        )
    ),
)  # fmt: skip
SIZE = "cdmi_assignedsize"
METHODS = "GET, HEAD, PUT, PATCH, DELETE"


def names_of(call: Call) -> tuple[str, ...] | None:
    """The names below `disks`, where the request is about it; by an ID as well as by a path."""
    address = call.place.address
    way: tuple[str, ...] | None = () if address.start is None else call.cloud.disk_way(address.start)
    if way is None:
        return None
    names = (*way, *address.names)
    return names[1:] if names[:1] == (DISKS,) else None


def answer(call: Call, names: tuple[str, ...]) -> None:
    if len(names) > 1:
        raise NotFound(f"there is no {'/'.join(names)[:300]!r} in the container of disks")
    by_id = call.place.address.start is not None and not call.place.address.names
    method = call.request.method
    if method in ("GET", "HEAD"):
        if not call.place.slash and not by_id:
            raise falcon.HTTPMovedPermanently(call.request.prefix + escaped(_uri(call, names)))
        is_cdmi = answer_profile(call.request, call.version) is Profile.CDMI
        if is_cdmi:
            call.check_version()
        _read(call, names, is_cdmi=is_cdmi)
    elif method == "PUT" or (method == "PATCH" and call.version is Version.V2):
        if not call.place.slash and not by_id:
            raise Invalid("there are only containers here: expected a URI that ends in '/'")
        if request_profile(call.request, call.version) is Profile.HTTP:
            raise Invalid(f"a disk is made and changed by CDMI: expected Content-Type: {CONTAINER} and {SIZE}")
        call.check_version()
        check_content_type(call.request, CONTAINER)
        _write(call, names, call.read_object())
    elif method == "DELETE":
        _delete(call, names)
    elif method == "OPTIONS":
        call.response.set_header("Allow", METHODS)
        call.response.status = falcon.HTTP_204
    else:
        raise Invalid(f"{method[:20]} doesn't apply to disks: PUT makes them, by a name")


def _read(call: Call, names: tuple[str, ...], *, is_cdmi: bool) -> None:
    disk = call.cloud.named_disk(names[0]) if names else None
    if not is_cdmi:
        _page(call, disk)
        return
    check_acceptable(call.request, CONTAINER)
    fields = _disk_fields(call, disk) if disk else _all_fields(call)
    status = falcon.HTTP_202 if fields["completionStatus"] == PROCESSING else falcon.HTTP_200
    shown = {name: value for name, value in fields.items() if name in call.selection}
    call.answer_json(CONTAINER, shown, status=status)


def _all_fields(call: Call) -> dict[str, Any]:
    found = call.cloud.find_object(Address((DISKS,)))
    fields = common_fields(call, found)
    fields["capabilitiesURI"] = uri_of_capabilities(call.version, ALL)
    fields["metadata"] = metadata_field(call, found)
    if "children" in call.selection or "childrenrange" in call.selection:
        asked = call.selection.range_of("children")
        if asked is None:
            children = [f"{name}/" for name in call.cloud.disk_names()]
            shown = ranges.whole(len(children))
        else:
            children = [f"{name}/" for name in call.cloud.disk_names(asked.first, asked.count)]
            shown = f"{asked.first}-{asked.first + len(children) - 1}" if children else ""
        fields |= {"childrenrange": shown, "children": children}
    return fields


def _disk_fields(call: Call, disk: NamedDisk) -> dict[str, Any]:
    parent = call.cloud.find_object(Address((DISKS,)))
    completion = _completion(disk)
    fields: dict[str, Any] = {
        **disk.fields,
        "objectType": CONTAINER,
        "objectID": encode(disk.id, call.site.enterprise_number),
        "objectName": f"{disk.name}/",
        "parentURI": _uri(call, ()),
        "parentID": encode(parent.object.id, call.site.enterprise_number),
        "capabilitiesURI": uri_of_capabilities(call.version, _node(disk)),
        "completionStatus": completion,
        "percentComplete": "100" if completion == COMPLETE else "0",
        "metadata": _metadata(call, parent, disk),
    }
    if "exports" in call.selection:
        fields |= exports.shown(call, disk)
    if completion == COMPLETE:
        fields |= {"childrenrange": "", "children": []}
    return fields


def _node(disk: NamedDisk) -> str:
    return SERVED_DISK if disk.pool is Pool.ISCSI else DISK


def _completion(disk: NamedDisk) -> str:
    if disk.state is DiskState.ERROR:
        return f"Error: {disk.state_message}"
    return COMPLETE if disk.is_made and disk.state is not DiskState.RESIZE else PROCESSING


def _metadata(call: Call, above: Found, disk: NamedDisk) -> dict[str, Any]:
    items = {
        **disk.metadata,
        **policies.provided_of_disk(call.site, above, disk.metadata),
        # All in the project own it alike.
        "cdmi_owner": call.cloud.caller.project_name,
        SIZE: str(disk.size_bytes),
        "cdmi_size": str(disk.size_bytes),
        "cdmi_ctime": format_time(disk.created_at),
    }
    prefixes = call.selection.parts_of("metadata")
    return {name: value for name, value in items.items() if prefixes is None or name.startswith(prefixes)}


def _page(call: Call, disk: NamedDisk | None) -> None:
    """What there is, for people and by plain HTTP."""
    names = [] if disk else [f"{name}/" for name in call.cloud.disk_names()]
    if "text/html" not in accepted(call.request):
        call.response.content_type = "text/plain; charset=utf-8"
        call.response.data = "".join(f"{name}\n" for name in names).encode()
        return
    rows = [html.Row(name, "./" + escaped(name), "disk", None, "", "") for name in names]
    root = uri_of(call.version, (), ObjectKind.CONTAINER)
    crumbs = [html.Crumb(root, root)]
    crumbs.append(html.Crumb(f"{DISKS}/", escaped(_uri(call, ()))))
    if disk is not None:
        crumbs.append(html.Crumb(f"{disk.name}/", escaped(_uri(call, (disk.name,)))))
    call.response.content_type = "text/html; charset=utf-8"
    call.response.text = html.render_container(crumbs, rows, len(rows), None)


def _write(call: Call, names: tuple[str, ...], body: dict[str, Any]) -> None:
    bodies.check_fields(body, frozenset({"exports"} if names else ()))
    if not names:
        bodies.one_source(body, ())
        container.update(call, call.cloud.find_object(Address((DISKS,))), body)
        return
    try:
        disk = call.cloud.named_disk(names[0])
    except NotFound:
        if call.request.method == "PATCH" or (call.place.address.start is not None and not call.place.address.names):
            raise
        _create(call, names[0], body)
        return
    bodies.one_source(body, ())
    whole = call.version is Version.V2 and call.request.method == "PUT"
    if whole:
        metadata: Mapping[str, Any] | None = new_metadata(call.site, body.get("metadata", {}))
        fields: Mapping[str, Any] | None = bodies.other_fields(call.site, body)
    else:
        fields = bodies.changed_fields(call, disk.fields, body)
        metadata = changed_metadata(call.site, {**disk.metadata, SIZE: str(disk.size_bytes)}, body, call.selection)
    with call.cloud.atomically():
        size_bytes, own = (None, None) if metadata is None else _split(metadata)
        call.cloud.change_named_disk(disk, size_bytes, own, fields)
        if "exports" in body or whole:
            exports.change(call, disk, body.get("exports", {}))
    call.response.status = falcon.HTTP_204
    if whole:
        call.answer_json(CONTAINER, _disk_fields(call, call.cloud.named_disk(disk.name)), status=falcon.HTTP_201)


def _create(call: Call, name: str, body: dict[str, Any]) -> None:
    """202: the host's agent makes it, and completionStatus says when it has."""
    source = bodies.one_source(body, ("copy",))
    size_bytes, own = _split(new_metadata(call.site, body.get("metadata", {})))
    if source is None and size_bytes is None:
        raise Invalid(f"{SIZE} is missing: expected the disk's size in bytes among the metadata")
    original = _source(call, body["copy"]) if source else None
    with call.cloud.atomically():
        fields = bodies.other_fields(call.site, body)
        disk = call.cloud.create_named_disk(name, size_bytes, own, original, fields)
        if "exports" in body:
            exports.change(call, disk, body["exports"])
    call.response.set_header("Location", call.request.prefix + escaped(_uri(call, (disk.name,))))
    call.answer_json(CONTAINER, _disk_fields(call, disk), status=falcon.HTTP_202)


def _source(call: Call, uri: object) -> NamedDisk:
    place, fields = parse_uri(uri, call.request.prefix, call.site.enterprise_number, "copy")
    way: tuple[str, ...] | None = () if place.address.start is None else call.cloud.disk_way(place.address.start)
    names = (*(way or ()), *place.address.names)
    if fields or way is None or place.is_pool or len(names) != 2 or names[0] != DISKS:
        raise Invalid(f"copy is {str(uri)[:100]!r}: expected the URI of a disk")
    try:
        return call.cloud.named_disk(names[1])
    except NotFound as error:
        raise Invalid(f"copy can't be read: {error.message}") from None


def _split(metadata: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
    """The size, and what else is kept; 400 for what disks don't obey."""
    own = {name: value for name, value in metadata.items() if not name.startswith("cdmi_") or name in policies.OF_DISKS}
    others = sorted(metadata.keys() - own.keys() - {SIZE})
    if others:
        raise Invalid(f"{', '.join(others)} means nothing for a disk: expected {SIZE} and items of your own")
    given = metadata.get(SIZE)
    if given is None:
        return None, own
    if isinstance(given, bool) or not re.fullmatch(r"[1-9][0-9]{0,17}", str(given), re.ASCII):
        raise Invalid(f'{SIZE} is {str(given)[:40]!r}: expected a number of bytes, such as "1073741824"')
    return int(given), own


def _delete(call: Call, names: tuple[str, ...]) -> None:
    if call.selection:
        raise Invalid("only values of queues can be deleted by fields of the URI")
    if not names:
        call.cloud.delete_object(call.cloud.find_object(Address((DISKS,))))
        return
    call.cloud.delete_disk(call.cloud.named_disk(names[0]).id)
    call.response.status = falcon.HTTP_204


def _uri(call: Call, names: tuple[str, ...]) -> str:
    return uri_of(call.version, (DISKS, *names), ObjectKind.CONTAINER)
