"""The bytes of a disk: the data object `value` in its container, as large as the disk, by CDMI and by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import falcon

from backends.acl import AceMask
from backends.cloud.disk_rights import READ, WRITE
from backends.cloud.named_disks import NamedDisk
from backends.errors import Invalid, NotFound
from backends.model import DiskState, WriteFormat, WriteState
from backends.objects import COMPLETE, PROCESSING, SNAPSHOTS, Encoding, ObjectKind
from backends.values import Received
from cdmi_server import bodies, multipart, plain
from cdmi_server.call import Call
from cdmi_server.capabilities import DISK_VALUE, FIXED_VALUE, Claim, claims, uri_of_capabilities
from cdmi_server.metadata import new_metadata
from cdmi_server.negotiation import (
    Profile,
    answer_profile,
    check_acceptable,
    check_content_type,
    media_type,
    request_profile,
)
from cdmi_server.paths import domain_uri, escaped, uri_of
from cdmi_server.values import pieces
from cdmi_server.views import select
from renderers.cdmi import json
from renderers.cdmi.objectid import encode
from renderers.cdmi.ranges import ByteRange
from renderers.cdmi.representation import DATAOBJECT, Version, format_time

NAME = "value"
CLAIMS = (
    *(
        Claim(name, (DISK_VALUE, FIXED_VALUE))
        for name in ("cdmi_read_value", "cdmi_read_value_range", "cdmi_read_metadata", "cdmi_size", "cdmi_ctime")
    ),
    *claims(DISK_VALUE, "cdmi_modify_value", "cdmi_modify_value_range"),
)
READING_METHODS = "GET, HEAD"
METHODS = f"{READING_METHODS}, PUT, PATCH"
RAW = "application/octet-stream"
QCOW2 = frozenset({"application/x-qcow2", "application/x-qemu-disk", "application/vnd.qemu.qcow2"})
QCOW2_MAGIC = b"QFI\xfb"
QCOW2_LEAST_ROOM_BYTES = 16 << 20


def named_by(names: tuple[str, ...]) -> tuple[str, str | None] | None:
    """The disk, and its snapshot or None, whose bytes these names below `disks` are; None if they are none's."""
    if names[-1:] != (NAME,):
        return None
    if len(names) == 4 and names[1] == SNAPSHOTS:
        return names[0], names[2]
    return (names[0], None) if len(names) == 2 else None


def answer(call: Call, disk: NamedDisk) -> None:
    if call.place.slash and call.place.address.names:
        raise NotFound(f"there is no container {NAME!r} in the disk {disk.name!r}")
    _check_rights(call, disk)
    call.cloud.check_reachable(disk)
    method = call.request.method
    if method in ("GET", "HEAD"):
        if answer_profile(call.request, call.version) is Profile.CDMI:
            call.check_version()
            _read(call, disk)
        else:
            _read_plain(call, disk)
    elif method == "PUT" or (method == "PATCH" and call.version is Version.V2):
        _check_precondition(call.request)
        if request_profile(call.request, call.version) is Profile.CDMI:
            call.check_version()
            _write(call, disk)
        else:
            _write_plain(call, disk)
    elif method == "OPTIONS":
        call.response.set_header("Allow", METHODS if call.cloud.may_be_written(disk) else READING_METHODS)
        call.response.status = falcon.HTTP_204
    else:
        raise Invalid(f"{method[:20]} doesn't apply to the bytes of a disk: they come and go with it")


def _check_precondition(request: falcon.Request) -> None:
    if request.get_header("If-None-Match") == "*" or request.get_header("If-Match") not in (None, "*"):
        raise falcon.HTTPPreconditionFailed(description="The bytes of a disk are always there, and have no ETag.")


def _check_rights(call: Call, disk: NamedDisk) -> None:
    """Before anything is told of it; its metadata may be read without it."""
    if call.request.method in ("PUT", "PATCH"):
        call.cloud.require_of_bytes(disk.id, WRITE)
    elif not call.cloud.disk_rights(disk.id).value & (READ | AceMask.READ_METADATA):
        call.cloud.require_of_bytes(disk.id, READ)


def completion_of_disk(disk: NamedDisk) -> str:
    """Of its container: what is being written into it makes it wait, what was refused leaves it as it was."""
    if disk.state is DiskState.ERROR:
        return f"Error: {disk.state_message}"
    is_settled = disk.is_made and disk.state is not DiskState.RESIZE and disk.write_state is not WriteState.PENDING
    return COMPLETE if is_settled else PROCESSING


def percentage(disk: NamedDisk, completion: str) -> dict[str, str]:
    """How far what is written has come; of all else that is under way nothing is known."""
    if completion == PROCESSING and disk.write_state is WriteState.PENDING:
        return {"percentComplete": str(disk.write_percent)}
    return {"percentComplete": "100" if completion == COMPLETE else "0"}


def _read_plain(call: Call, disk: NamedDisk) -> None:
    """The disk or a range of it, by sendfile."""
    call.cloud.check_bytes(disk, READ)
    call.response.content_type = RAW
    call.response.downloadable_as = f"{disk.name}.raw"
    part = plain.announce(call, disk.size_bytes, plain.asked_range(call, disk.size_bytes))
    if call.request.method == "HEAD":
        return
    file = call.cloud.open_disk(disk)
    file.seek(part.first if part else 0)
    call.response.stream = file


def _read(call: Call, disk: NamedDisk) -> None:
    if not multipart.is_wanted(call.request):
        check_acceptable(call.request, DATAOBJECT)
    rights = call.cloud.disk_rights(disk.id).value
    fields = _fields(call, disk)
    if not rights & AceMask.READ_METADATA:
        fields["metadata"] = {}
    status = falcon.HTTP_202 if fields["completionStatus"] == PROCESSING else falcon.HTTP_200
    may_or_must = bool(rights & READ or call.selection)
    wants_value = NAME in call.selection and status == falcon.HTTP_200 and may_or_must
    asked = call.selection.range_of("value")
    if wants_value or ("valuerange" in call.selection and may_or_must):
        call.cloud.check_bytes(disk, READ)
    part = asked.within(disk.size_bytes) if asked else ByteRange(0, disk.size_bytes - 1)
    if status == falcon.HTTP_200:
        fields |= {"valuerange": str(part) if part else "", "valuetransferencoding": Encoding.BASE64.value}
    chosen = select(call, rights, fields)
    if not wants_value or call.request.method == "HEAD":
        call.answer_json(DATAOBJECT, chosen, status=status)
        return
    chunks = pieces(call.cloud.open_disk(disk), part)
    if multipart.is_wanted(call.request):
        content_range = f"{part}/{disk.size_bytes}" if asked and part else None
        call.response.stream = multipart.in_parts(call, chosen, RAW, content_range, chunks)
        return
    call.begin_answer(DATAOBJECT, status)
    call.response.stream = json.render_with_value(chosen, json.as_base64(chunks))


def _fields(call: Call, disk: NamedDisk) -> dict[str, Any]:
    completion = completion_of_disk(disk)
    if completion == COMPLETE and disk.write_state in (WriteState.REFUSED, WriteState.FULL):
        completion = f"Error: what was sent last was refused: {disk.write_message}"
    items = {"cdmi_size": str(disk.size_bytes), "cdmi_ctime": format_time(disk.created_at)}
    prefixes = call.selection.parts_of("metadata")
    return {
        "objectType": DATAOBJECT,
        "objectID": encode(disk.value_id, call.site.enterprise_number),
        "objectName": NAME,
        "parentURI": uri_of(call.version, disk.way, ObjectKind.CONTAINER),
        "parentID": encode(disk.id, call.site.enterprise_number),
        "domainURI": domain_uri(call.version, call.cloud.caller.project_name),
        "capabilitiesURI": uri_of_capabilities(
            call.version, DISK_VALUE if call.cloud.may_be_written(disk) else FIXED_VALUE
        ),
        "completionStatus": completion,
        **percentage(disk, completion),
        "mimetype": RAW,
        "metadata": {name: value for name, value in items.items() if prefixes is None or name.startswith(prefixes)},
    }


def _write_plain(call: Call, disk: NamedDisk) -> None:
    """A whole image, in the format that Content-Type says, or the range that Content-Range names."""
    request = call.request
    part = plain.announced_range(request)
    if part is None and request.method == "PATCH":
        raise Invalid("PATCH of a value needs Content-Range: expected one such as bytes 0-99/*")
    call.cloud.check_writable(disk)
    given = media_type(request.env.get("CONTENT_TYPE", ""))
    form = WriteFormat.QCOW2 if given in QCOW2 and part is None else WriteFormat.RAW
    with call.cloud.receive_value() as received:
        _receive(call, disk, received, call.chunks(), form)
        if part is not None:
            _check_length(received, part)
        elif given != RAW and form is WriteFormat.RAW and _starts_as_qcow2(received):
            raise Invalid(
                "the body looks like a qcow2 image: say Content-Type: application/x-qcow2 for the disk that is in it,"
                f" or {RAW} to write it as it is"
            )
        _put(call, disk, received, part, form)


def _write(call: Call, disk: NamedDisk) -> None:
    """By CDMI, as JSON or in parts: always the bytes as they are."""
    call.cloud.check_writable(disk)
    with ExitStack() as stack:
        if multipart.is_multipart(call.request):
            parts = multipart.read(call, stack, check=partial(_check_fits, disk, form=WriteFormat.RAW))
            fields = parts.fields
            bodies.one_source(fields, ())
            if len(parts.pieces) != 1:
                raise Invalid(f"the body has {len(parts.pieces)} ranges: expected one at a time for a disk")
            data = parts.pieces[0].data
            first = parts.pieces[0].offset
            part = ByteRange(first, first + data.size_bytes - 1) if parts.is_ranged else None
        else:
            check_content_type(call.request, DATAOBJECT)
            fields = call.read_object()
            part = call.selection.range_of("value")
            if NAME not in fields:
                raise Invalid(
                    "the body has no value: expected one, in base64; metadata are the disk's own, which is above"
                )
            encoding = Encoding.BASE64 if part else bodies.encoding_of(call, fields) or Encoding.UTF_8
            data = stack.enter_context(call.cloud.receive_value())
            data.write(bodies.value_of(fields, encoding))
            if part is not None:
                _check_length(data, part)
            bodies.one_source(fields, (NAME,))
        bodies.check_fields(call, fields, frozenset())
        metadata = new_metadata(call.site, fields.get("metadata", {}))
        if any(not name.startswith("cdmi_") for name in metadata):
            raise Invalid("metadata are the disk's own: expected them to be sent to its container")
        _check_fits(disk, data.size_bytes, WriteFormat.RAW)
        _put(call, disk, data, part, WriteFormat.RAW)


def _put(call: Call, disk: NamedDisk, data: Received, part: ByteRange | None, form: WriteFormat) -> None:
    if data.size_bytes == 0:
        raise Invalid(f"there are no bytes: expected some for the disk {disk.name!r}")
    if call.cloud.write_disk(disk, data, part.first if part else None, form):
        call.response.status = falcon.HTTP_204
        return
    uri = uri_of(call.version, (*disk.way, NAME), ObjectKind.DATAOBJECT)
    call.response.status = falcon.HTTP_202
    call.response.set_header("Location", call.request.prefix + escaped(uri))


def _receive(call: Call, disk: NamedDisk, data: Received, chunks: Iterator[bytes], form: WriteFormat) -> None:
    _check_fits(disk, call.request.content_length or 0, form)
    for chunk in chunks:
        _check_fits(disk, data.size_bytes + len(chunk), form)
        data.write(chunk)


def _check_fits(disk: NamedDisk, size_bytes: int, form: WriteFormat) -> None:
    """413. A qcow2 file has tables beside what the disk holds; how large its disk is, the agent looks."""
    most = disk.size_bytes
    if form is WriteFormat.QCOW2:
        most += most // 32 + QCOW2_LEAST_ROOM_BYTES
    if size_bytes > most:
        raise falcon.HTTPContentTooLarge(
            description=f"There are {size_bytes} bytes or more, but the disk {disk.name!r} has {disk.size_bytes}."
        )


def _check_length(data: Received, part: ByteRange) -> None:
    if data.size_bytes != part.count:
        raise Invalid(f"the body has {data.size_bytes} bytes, but the range {part} has {part.count}")


def _starts_as_qcow2(data: Received) -> bool:
    if data.inline is not None:
        return data.inline.startswith(QCOW2_MAGIC)
    data.file.seek(0)
    return data.file.read(len(QCOW2_MAGIC)) == QCOW2_MAGIC
