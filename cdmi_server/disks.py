"""The project's disks: `/cdmi/disks/` and a container for each of them. They are the same as OCCI's storages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import falcon

from backends import acl as acls
from backends.acl import AceMask
from backends.cloud.named_disks import DiskWishes, NamedDisk
from backends.errors import Invalid, NotFound
from backends.model import Pool
from backends.objects import DISKS, PROCESSING, SNAPSHOTS, Address
from cdmi_server import bodies, container, disk_value, disk_views, exports, plain, policies
from cdmi_server.call import Call
from cdmi_server.disk_views import POOL, READ_ONLY, SIZE, VOLATILE, shown_boolean
from cdmi_server.metadata import changed_metadata, new_metadata
from cdmi_server.negotiation import (
    Profile,
    answer_profile,
    check_acceptable,
    check_content_type,
    request_profile,
)
from cdmi_server.paths import escaped, parse_uri
from cdmi_server.relocation import denied_as_invalid
from cdmi_server.views import READING, select
from renderers.cdmi.representation import CONTAINER, Version

T = TypeVar("T")

METHODS = "GET, HEAD, PUT, PATCH, DELETE"
OBEYED = {SIZE, POOL, READ_ONLY, VOLATILE}
"""Items of metadata that say what a disk is."""
BOOLEANS = {shown_boolean(value): value for value in (True, False)}


def names_of(call: Call) -> tuple[str, ...] | None:
    """The names below `disks`, where the request is about it; by an ID as well as by a path."""
    address = call.place.address
    way = call.cloud.disk_way(address.start)
    if way is None:
        return None
    names = (*way, *address.names)
    return names[1:] if names[:1] == (DISKS,) else None


def answer(call: Call, names: tuple[str, ...]) -> None:
    valued = disk_value.named_by(names)
    if valued is not None:
        disk_value.answer(call, call.cloud.named_disk(*valued))
        return
    _check_way(call, names)
    by_id = call.place.address.start is not None and not call.place.address.names
    method = call.request.method
    if method in ("GET", "HEAD"):
        if not call.place.slash and not by_id:
            raise falcon.HTTPMovedPermanently(call.request.prefix + escaped(disk_views.uri(call, names)))
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


def _check_way(call: Call, names: tuple[str, ...]) -> None:
    if len(names) > 3 or names[1:2] not in ((), (SNAPSHOTS,)):
        raise NotFound(f"there is no {'/'.join(names)[:300]!r} in the container of disks")
    if len(names) > 1 and call.request.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        raise Invalid("snapshots can't be changed: expected them to be made by the field snapshot of their disk")


def _read(call: Call, names: tuple[str, ...], *, is_cdmi: bool) -> None:
    fields: dict[str, Any]
    size_bytes = None
    match names:
        case () if not is_cdmi:
            disk_views.list_all(call)
            return
        case ():
            found = call.cloud.find_object(Address((DISKS,)))
            rights, fields = found.rights, disk_views.all_fields(call, found)
        case (name, _):
            disk = call.cloud.named_disk(name)
            rights, fields = call.cloud.disk_rights(disk.id).disk, disk_views.snapshots_fields(call, disk)
        case _:
            disk = call.cloud.named_disk(names[0], names[2] if len(names) > 2 else None)
            of_disk = call.cloud.disk_rights(disk.id)
            rights, size_bytes = of_disk.disk, disk.size_bytes
            if not rights & READING:
                call.cloud.require_of_disk(disk.id, AceMask.READ_METADATA)
            call.response.set_header("ETag", _tag(call, disk))
            fields = disk_views.disk_fields(call, disk, of_disk)
    shown = select(call, rights, fields)
    if not is_cdmi:
        disk_views.page(call, names, fields, size_bytes)
        return
    check_acceptable(call.request, CONTAINER)
    status = falcon.HTTP_202 if fields.get("completionStatus") == PROCESSING else falcon.HTTP_200
    call.answer_json(CONTAINER, shown, status=status)


def _write(call: Call, names: tuple[str, ...], body: dict[str, Any]) -> None:
    bodies.check_fields(call, body, frozenset({"exports", "snapshot"} if names else ()))
    if not names:
        bodies.one_source(body, ())
        _refuse_not_of_disks(call, body)
        container.update(call, call.cloud.find_object(Address((DISKS,))), body)
        return
    try:
        disk = call.cloud.named_disk(names[0])
    except NotFound:
        if call.request.method == "PATCH" or (call.place.address.start is not None and not call.place.address.names):
            raise
        _create(call, names[0], body)
        return
    source = bodies.one_source(body, ("copy",))
    original = _source(call, body["copy"]) if source else None
    whole = call.version is Version.V2 and call.request.method == "PUT" and not (source or "snapshot" in body)
    is_exported = False
    with call.cloud.atomically():
        call.cloud.hold([disk.id, *([original.id] if original else [])])
        disk = call.cloud.named_disk(disk.name)
        tag = _tag(call, disk)
        metadata, fields = _changes(call, disk, body, whole=whole)
        if metadata is None and fields is None and not (source or body.keys() & {"exports", "snapshot"}):
            call.cloud.require_of_disk(disk.id, AceMask.WRITE_METADATA)  # also to say nothing
        asked = Asked() if metadata is None else _split(call, metadata)
        call.cloud.change_named_disk(disk, asked.wishes, asked.own, fields)
        if "exports" in body or whole:
            is_exported = exports.change(call, disk, body.get("exports", {}))
        if "snapshot" in body:
            call.cloud.snapshot_named_disk(disk, bodies.field_text(body, "snapshot").removesuffix("/"))
        if original is not None:
            call.cloud.require_unkept(disk.id)
            with denied_as_invalid("copy"):
                call.cloud.restore_disk(disk.id, original.id)
        # RFC 9110 §13.2.1: only where all else lets it happen, rights above all.
        plain.check_tag(call, tag)
    # 1.1.1 §9.4.5, 2.0 §9.5.5: what adds or changes exports returns when that is done.
    is_done = not (source or "snapshot" in body) and (not is_exported or call.cloud.is_export_done(disk.id))
    call.response.status = falcon.HTTP_204 if is_done else falcon.HTTP_202
    if whole:
        status = falcon.HTTP_201 if is_done else falcon.HTTP_202
        disk = call.cloud.named_disk(disk.name)
        fields = disk_views.disk_fields(call, disk, call.cloud.disk_rights(disk.id))
        call.answer_json(CONTAINER, fields, status=status)


def _tag(call: Call, disk: NamedDisk) -> str:
    return f'"{call.cloud.disk_tag(disk)}"'


def _refuse_not_of_disks(call: Call, body: dict[str, Any]) -> None:
    """400 for what the container of disks would pass on to them, and they don't obey."""
    given, named = body.get("metadata"), call.selection.parts_of("metadata")
    asked = policies.NOT_OF_DISKS.intersection(given if isinstance(given, dict) else ())
    if named is not None:
        asked &= set(named)
    if asked:
        raise Invalid(f"{', '.join(sorted(asked))} means nothing for disks, nor for the container that they are in")


def _changes(
    call: Call, disk: NamedDisk, body: dict[str, Any], *, whole: bool
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The metadata, its size among them, and the client's own fields; None: as they are."""
    if whole:
        return new_metadata(call.site, body.get("metadata", {})), bodies.other_fields(call.site, body)
    metadata = changed_metadata(call.site, {**disk.metadata, SIZE: str(disk.size_bytes)}, body, call.selection)
    is_named = SIZE in (call.selection.parts_of("metadata") or ())
    if is_named and metadata is not None and SIZE not in metadata:
        raise Invalid(f"{SIZE} can't be deleted: expected a number of bytes")
    return metadata, bodies.changed_fields(call, disk.fields, body)


def _create(call: Call, name: str, body: dict[str, Any]) -> None:
    """202: the host's agent makes it, and completionStatus says when it has."""
    plain.check_absent(call)
    if "snapshot" in body:
        raise Invalid(f"there is no disk {name[:300]!r} of which a snapshot could be made")
    source = bodies.one_source(body, ("copy",))
    asked = _split(call, new_metadata(call.site, body.get("metadata", {})))
    if source is None and "size_bytes" not in asked.wishes:
        raise Invalid(f"{SIZE} is missing: expected the disk's size in bytes among the metadata")
    original = _source(call, body["copy"]) if source else None
    if original is None and exports.wants_service(body.get("exports")) and call.cloud.serves_disks():
        asked.wishes.setdefault("pool", Pool.ISCSI)
    with call.cloud.atomically():
        fields = bodies.other_fields(call.site, body)
        with denied_as_invalid("copy") if original else nullcontext():
            disk = call.cloud.create_named_disk(name, asked.wishes, asked.own or {}, original, fields)
        if "exports" in body:
            exports.change(call, disk, body["exports"])
    call.response.set_header("Location", call.request.prefix + escaped(disk_views.uri(call, (disk.name,))))
    fields = disk_views.disk_fields(call, disk, call.cloud.disk_rights(disk.id))
    call.answer_json(CONTAINER, fields, status=falcon.HTTP_202)


def _source(call: Call, uri: object) -> NamedDisk:
    place, fields = parse_uri(uri, call.request.prefix, call.site.enterprise_number, "copy")
    way = call.cloud.disk_way(place.address.start)
    names = (*(way or ()), *place.address.names)
    is_one = len(names) == 2 or (len(names) == 4 and names[2] == SNAPSHOTS)
    if fields or way is None or place.is_pool or not is_one or names[0] != DISKS:
        raise Invalid(f"copy is {str(uri)[:100]!r}: expected the URI of a disk, or of a snapshot of one")
    try:
        return call.cloud.named_disk(names[1], names[3] if len(names) == 4 else None)
    except NotFound as error:
        raise Invalid(f"copy can't be read: {error.message}") from None


@dataclass(frozen=True, slots=True)
class Asked:
    """What metadata ask of a disk, and what of them is kept; None: as it was."""

    wishes: DiskWishes = field(default_factory=DiskWishes)
    own: dict[str, Any] | None = None


def _split(call: Call, metadata: Mapping[str, Any]) -> Asked:
    """400 for what disks don't obey."""
    if "cdmi_acl" in metadata and acls.parse_acl(metadata["cdmi_acl"]) != call.cloud.disk_rights().acl:
        raise Invalid(f"cdmi_acl can't be set on a disk: it has that of {DISKS}, whose users it names")
    own = {
        name: value
        for name, value in metadata.items()
        if (not name.startswith("cdmi_") or name in policies.OF_DISKS) and name not in OBEYED
    }
    others = sorted(metadata.keys() - own.keys() - OBEYED - {"cdmi_acl"})
    if others:
        raise Invalid(f"{', '.join(others)} means nothing for a disk: expected {SIZE} and items of your own")
    wishes = DiskWishes()
    if SIZE in metadata:
        given = metadata[SIZE]
        if isinstance(given, bool) or not re.fullmatch(r"[1-9][0-9]{0,17}", str(given), re.ASCII):
            raise Invalid(f'{SIZE} is {str(given)[:40]!r}: expected a number of bytes, such as "1073741824"')
        wishes["size_bytes"] = int(given)
    if POOL in metadata:
        choices: dict[str, tuple[Pool, str | None]] = {host: (Pool.ISCSI, host) for host in call.cloud.storage_hosts()}
        choices |= {pool.value: (pool, None) for pool in Pool}
        wishes["pool"], host = _one_of(POOL, metadata[POOL], choices)
        if host is not None:
            wishes["host"] = host
    if READ_ONLY in metadata:
        wishes["read_only"] = _one_of(READ_ONLY, metadata[READ_ONLY], BOOLEANS)
    if VOLATILE in metadata:
        wishes["volatile"] = _one_of(VOLATILE, metadata[VOLATILE], BOOLEANS)
    return Asked(wishes, own)


def _one_of(name: str, given: object, choices: Mapping[str, T]) -> T:
    shown = shown_boolean(given) if isinstance(given, bool) else given
    if not isinstance(shown, str) or shown not in choices:
        raise Invalid(f"{name} is {str(given)[:40]!r}: expected {' or '.join(choices)}")
    return choices[shown]


def _delete(call: Call, names: tuple[str, ...]) -> None:
    if call.selection:
        raise Invalid("only values of queues can be deleted by fields of the URI")
    if not names:
        call.cloud.delete_object(call.cloud.find_object(Address((DISKS,))))
        return
    if len(names) == 2:
        raise Invalid(f"{SNAPSHOTS} can't be deleted: delete the snapshots in it")
    disk = call.cloud.named_disk(names[0], names[2] if len(names) > 2 else None)
    with call.cloud.atomically():
        call.cloud.hold([disk.id])
        tag = _tag(call, disk)
        call.cloud.delete_disk(disk.id)
        plain.check_tag(call, tag)
    call.response.status = falcon.HTTP_204
