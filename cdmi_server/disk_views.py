"""What disks, their snapshots and the containers of both show, and the capabilities of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.acl import AceMask, render_acl
from backends.cloud.disk_rights import DiskRights
from backends.cloud.named_disks import NamedDisk, identity_of_snapshots
from backends.errors import NotFound
from backends.model import Pool
from backends.objects import COMPLETE, DISKS, SNAPSHOTS, Address, Found, ObjectKind
from cdmi_server import disk_value, exports, plain, policies
from cdmi_server.call import Call
from cdmi_server.capabilities import ALL_DISKS, DISK, SERVED_DISK, Claim, claims, uri_of_capabilities
from cdmi_server.negotiation import accepted
from cdmi_server.paths import domain_uri, escaped, uri_of
from cdmi_server.views import READING, common_fields, metadata_field
from renderers.cdmi import html, ranges
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import CONTAINER, format_time

SNAPSHOT_NODE, SNAPSHOTS_NODE = "container/disk_snapshot", "container/disk_snapshots"
"""Nodes of the capability tree; the others are `ALL_DISKS`, `DISK` and `SERVED_DISK`."""
CLAIMS = (
    *claims(ALL_DISKS, "cdmi_list_children", "cdmi_list_children_range", "cdmi_read_metadata", "cdmi_modify_metadata"),
    *claims(ALL_DISKS, "cdmi_create_container", "cdmi_copy_container", "cdmi_acl", "cdmi_ctime", "cdmi_mtime"),
    *claims(SNAPSHOT_NODE, "cdmi_read_metadata", "cdmi_delete_container"),
    *claims(SNAPSHOT_NODE, "cdmi_list_children", "cdmi_list_children_range"),
    *claims(SNAPSHOT_NODE, "cdmi_assignedsize", "cdmi_size", "cdmi_ctime"),
    *claims(SNAPSHOTS_NODE, "cdmi_list_children", "cdmi_list_children_range"),
    *(
        Claim(name, (DISK, SERVED_DISK))
        for name in (
            "cdmi_list_children", "cdmi_list_children_range", "cdmi_read_metadata", "cdmi_modify_metadata",
            "cdmi_delete_container", "cdmi_assignedsize", "cdmi_size", "cdmi_ctime", "cdmi_snapshot",
            "cdmi_copy_container",
        )
    ),
)  # fmt: skip
SIZE = "cdmi_assignedsize"
POOL = "altostratus_pool"
READ_ONLY = "altostratus_readonly"
VOLATILE = "altostratus_volatile"
"""Not the standard's, which has no words for where a disk is, for what is written once and read by many, and for what
ends with a machine."""


def all_fields(call: Call, found: Found) -> dict[str, Any]:
    fields = common_fields(call, found)
    fields["capabilitiesURI"] = uri_of_capabilities(call.version, ALL_DISKS)
    fields["metadata"] = metadata_field(call, found)
    wants_children = "children" in call.selection or "childrenrange" in call.selection
    if wants_children and found.rights & AceMask.LIST_CONTAINER:
        asked = call.selection.range_of("children")
        if asked is None:
            children = [f"{name}/" for name in call.cloud.disk_names()]
            shown = ranges.whole(len(children))
        else:
            children = [f"{name}/" for name in call.cloud.disk_names(asked.first, asked.count)]
            shown = f"{asked.first}-{asked.first + len(children) - 1}" if children else ""
        fields |= {"childrenrange": shown, "children": children}
    return fields


def snapshots_fields(call: Call, disk: NamedDisk) -> dict[str, Any]:
    """The container of a disk's snapshots, which is there once there is one."""
    call.cloud.require_of_disk(disk.id, AceMask.LIST_CONTAINER)
    names = [f"{name}/" for name in call.cloud.disk_snapshots(disk)]
    if not names:
        raise NotFound(f"there are no snapshots of the disk {disk.name!r}")
    asked = call.selection.range_of("children")
    part = asked.within(len(names)) if asked else None
    shown = names[part.first : part.last + 1] if part else [] if asked else names
    return {
        "objectType": CONTAINER,
        "objectID": encode(identity_of_snapshots(disk.id), call.site.enterprise_number),
        "objectName": f"{SNAPSHOTS}/",
        "parentURI": uri(call, (disk.name,)),
        "parentID": encode(disk.id, call.site.enterprise_number),
        "domainURI": domain_uri(call.version, call.cloud.caller.project_name),
        "capabilitiesURI": uri_of_capabilities(call.version, SNAPSHOTS_NODE),
        "completionStatus": COMPLETE,
        "percentComplete": "100",
        "metadata": {},
        "childrenrange": (str(part) if part else "") if asked else ranges.whole(len(names)),
        "children": shown,
    }


def disk_fields(call: Call, disk: NamedDisk, rights: DiskRights) -> dict[str, Any]:
    completion = disk_value.completion_of_disk(disk)
    above = call.cloud.find_object(Address((DISKS,)))
    parent_id = identity_of_snapshots(disk.snapshot_of) if disk.snapshot_of else above.object.id
    fields: dict[str, Any] = {
        **(disk.fields if rights.disk & AceMask.READ_METADATA else {}),
        "objectType": CONTAINER,
        "objectID": encode(disk.id, call.site.enterprise_number),
        "objectName": f"{disk.name}/",
        "parentURI": uri_of(call.version, disk.way[:-1], ObjectKind.CONTAINER),
        "parentID": encode(parent_id, call.site.enterprise_number),
        "domainURI": domain_uri(call.version, call.cloud.caller.project_name),
        "capabilitiesURI": uri_of_capabilities(call.version, _node(disk)),
        "completionStatus": completion,
        **disk_value.percentage(disk, completion),
        "metadata": _metadata(call, above, disk, rights),
    }
    may_list = bool(rights.disk & AceMask.LIST_CONTAINER)
    if "exports" in call.selection and rights.disk & AceMask.READ_METADATA:
        fields |= exports.shown(call, disk, rights)
    if "snapshots" in call.selection and may_list and (found := call.cloud.disk_snapshots(disk)):
        fields["snapshots"] = [uri(call, (disk.name, SNAPSHOTS, name)) for name in found]
    if completion == COMPLETE and may_list:
        children = [disk_value.NAME] if call.cloud.has_bytes(disk) else []
        asked = call.selection.range_of("children")
        part = asked.within(len(children)) if asked else None
        shown = ranges.whole(len(children)) if asked is None else str(part or "")
        fields |= {"childrenrange": shown, "children": children if asked is None or part else []}
    return fields


def shown_boolean(value: bool) -> str:
    return "true" if value else "false"


def _node(disk: NamedDisk) -> str:
    if disk.snapshot_of is not None:
        return SNAPSHOT_NODE
    return SERVED_DISK if disk.pool is Pool.ISCSI else DISK


def _metadata(call: Call, above: Found, disk: NamedDisk, rights: DiskRights) -> dict[str, Any]:
    items = _items(call, above, disk) if rights.disk & AceMask.READ_METADATA else {}
    if rights.disk & AceMask.READ_ACL:
        items["cdmi_acl"] = render_acl(rights.acl)
    prefixes = call.selection.parts_of("metadata")
    return {name: value for name, value in items.items() if prefixes is None or name.startswith(prefixes)}


def _items(call: Call, above: Found, disk: NamedDisk) -> dict[str, Any]:
    return {
        **disk.metadata,
        **policies.provided_of_disk(call.site, above, disk),
        "cdmi_owner": disk.owner or "OWNER@",
        SIZE: str(disk.size_bytes),
        POOL: disk.pool.value,
        READ_ONLY: shown_boolean(disk.read_only),
        VOLATILE: shown_boolean(disk.volatile),
        "cdmi_size": str(disk.size_bytes),
        "cdmi_ctime": format_time(disk.created_at),
    }


def page(call: Call, names: tuple[str, ...], fields: Mapping[str, Any], size_bytes: int | None) -> None:
    """What there is, for people and by plain HTTP. `size_bytes` is of the disk, in whose container its value is."""
    children = fields.get("children", [])
    if "text/html" not in accepted(call.request):
        _list(call, children)
        return
    shared = [
        html.Export(name, export.get("type", name), export["permissions"])
        for name, export in fields.get("exports", {}).items()
    ]
    about = html.About(fields["objectID"], fields["completionStatus"], size_bytes, shared)
    rows = [html.Row(name, "./" + escaped(name), "disk", size_bytes, "", "") for name in children]
    call.response.content_type = "text/html; charset=utf-8"
    call.response.text = html.render_container(_crumbs(call, names), rows, len(rows), None, about)


def list_all(call: Call) -> None:
    """All disks by plain HTTP: their names or, for people, a page of what they are."""
    if "text/html" not in accepted(call.request):
        _list(call, [f"{name}/" for name in call.cloud.disk_names()])
        return
    above = common_fields(call, call.cloud.find_object(Address((DISKS,))))
    offset = plain.asked_offset(call)
    disks = call.cloud.named_disks(offset, call.site.page_size)
    total, following = call.cloud.count_disks(), offset + len(disks)
    rights = call.cloud.rights_by_owner({disk.owner for disk in disks})
    call.response.content_type = "text/html; charset=utf-8"
    call.response.text = html.render_disks(
        _crumbs(call, ()),
        [_row(disk, rights[disk.owner].disk) for disk in disks],
        total,
        f"?from={following}" if following < total else None,
        html.About(above["objectID"], above["completionStatus"]),
    )


def _row(disk: NamedDisk, rights: AceMask) -> html.DiskRow:
    """As much as its own page would tell."""
    url = f"./{escaped(disk.name)}/"
    if not rights & READING:
        return html.DiskRow(f"{disk.name}/", url)
    completion = disk_value.completion_of_disk(disk)
    has_value = completion == COMPLETE and AceMask.LIST_CONTAINER in rights and disk.is_within_reach
    return html.DiskRow(
        f"{disk.name}/",
        url,
        disk.size_bytes,
        completion,
        exports.types(disk) if AceMask.READ_METADATA in rights else (),
        url + disk_value.NAME if has_value else None,
    )


def _list(call: Call, names: Sequence[str]) -> None:
    call.response.content_type = "text/plain; charset=utf-8"
    call.response.data = "".join(f"{name}\n" for name in names).encode()


def _crumbs(call: Call, names: tuple[str, ...]) -> list[html.Crumb]:
    root = uri_of(call.version, (), ObjectKind.CONTAINER)
    above = [html.Crumb(f"{name}/", escaped(uri(call, names[: number + 1]))) for number, name in enumerate(names)]
    return [html.Crumb(root, root), html.Crumb(f"{DISKS}/", escaped(uri(call, ()))), *above]


def uri(call: Call, names: tuple[str, ...]) -> str:
    return uri_of(call.version, (DISKS, *names), ObjectKind.CONTAINER)
