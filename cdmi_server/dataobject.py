"""Data objects by CDMI (1.1.1 §8): create, read, update, delete."""

from __future__ import annotations

from functools import partial
from typing import Any, BinaryIO

import falcon

from backends.acl import AceMask
from backends.cloud.values import Piece
from backends.errors import Invalid
from backends.objects import COMPLETE, Address, Encoding, Found, NewObject, ObjectChanges, ObjectKind
from cdmi_server import bodies, multipart, relocation, serialization
from cdmi_server.call import Call
from cdmi_server.capabilities import JSON_VALUES, SYSTEM, VERSION, claims
from cdmi_server.metadata import new_metadata, replaced_metadata
from cdmi_server.negotiation import check_acceptable
from cdmi_server.paths import escaped
from cdmi_server.values import encoded_value, pieces
from cdmi_server.views import common_fields, metadata_field, path_of, select
from renderers.cdmi import json, ranges
from renderers.cdmi.ranges import ByteRange
from renderers.cdmi.representation import DATAOBJECT, Version

CLAIMS = (
    *claims(SYSTEM, "cdmi_dataobjects", "cdmi_post_dataobject_by_ID"),
    *claims("container", "cdmi_create_dataobject", "cdmi_post_dataobject", "cdmi_create_value_range"),
    *claims("container", "cdmi_create_reference"),
    *claims(SYSTEM, "cdmi_references", "cdmi_create_reference_by_ID", "cdmi_create_value_range_by_ID"),
    *claims(SYSTEM, JSON_VALUES),
    *claims("dataobject", "cdmi_read_value", "cdmi_read_value_range", "cdmi_read_metadata"),
    *claims("dataobject", "cdmi_modify_value", "cdmi_modify_value_range", "cdmi_modify_metadata"),
    *claims("dataobject", "cdmi_delete_dataobject"),
    *claims(VERSION, "cdmi_read_value", "cdmi_read_value_range", "cdmi_read_metadata", "cdmi_delete_dataobject"),
)

SOURCES = ("value", "reference", "serialize", *relocation.SOURCES, *serialization.SERIALIZED)


def create(call: Call, address: Address | None, body: dict[str, Any]) -> None:
    """PUT of a name or POST to a container; `address` None is POST to /cdmi_objectid/."""
    bodies.check_fields(call, body, frozenset())
    source = bodies.one_source(body, SOURCES)
    if source == "reference":
        create_reference(call, address, body)
        return
    if source in relocation.SOURCES:
        answer_created(call, relocation.relocate(call, address, body, source, ObjectKind.DATAOBJECT))
        return
    if source == "serialize":
        answer_created(call, serialization.serialize(call, address, body))
        return
    if source in serialization.SERIALIZED:
        answer_created(call, serialization.deserialize(call, address, body, source, ObjectKind.DATAOBJECT))
        return
    answer_created(call, _create_by_value(call, address, body))


def _create_by_value(call: Call, address: Address | None, body: dict[str, Any]) -> Found:
    """The whole value, or with a range in the URI a part of it in base64."""
    metadata = new_metadata(call.site, body.get("metadata", {}))
    mimetype = bodies.mimetype_of(body) or "text/plain"
    asked = call.selection.range_of("value")
    encoding = Encoding.BASE64 if asked else bodies.encoding_of(call, body) or Encoding.UTF_8
    fields = bodies.other_fields(call.site, body)
    new = NewObject(ObjectKind.DATAOBJECT, metadata, mimetype, encoding, call.completion, fields=fields)
    with call.cloud.receive_value() as received:
        received.write(bodies.value_of(body, encoding))
        if asked is None:
            return call.cloud.create_object(address, new, received)
        _check_length(received.size_bytes, asked)
        return call.cloud.create_with_ranges(address, new, [Piece(asked.first, received)])


def _check_length(size_bytes: int, asked: ByteRange) -> None:
    if size_bytes != asked.count:
        raise Invalid(f"the value has {size_bytes} bytes, but the range {asked} has {asked.count}")


def create_reference(call: Call, address: Address | None, body: dict[str, Any]) -> None:
    """Nothing but the URI may be said, and it never changes."""
    if set(body) != {"reference"}:
        raise Invalid(f"a reference has no other fields, but the body has {', '.join(sorted(body))[:200]}")
    target = bodies.target_of(call, body)
    call.cloud.create_object(address, NewObject(ObjectKind.REFERENCE, target=target))
    call.response.status = falcon.HTTP_201


def answer_created(call: Call, made: Found) -> None:
    call.response.set_header("Location", call.request.prefix + escaped(path_of(call, made)))
    fields = common_fields(call, made)
    fields["mimetype"] = made.object.mimetype
    fields["metadata"] = metadata_field(call, made)
    call.answer_json(DATAOBJECT, fields, status=falcon.HTTP_201)


def read(call: Call, found: Found) -> None:
    """All fields or those asked for. A value in a file goes out piece by piece."""
    selection = call.selection
    if not multipart.is_wanted(call.request):
        check_acceptable(call.request, DATAOBJECT)
    if "metadata" in selection and found.rights & AceMask.READ_METADATA:
        found = call.cloud.hashed(found)
    wants_value = "value" in selection
    value: bytes | BinaryIO = b""
    if wants_value and found.rights & AceMask.READ_OBJECT:
        found, value = call.cloud.open_value(found)
    fields = common_fields(call, found)
    fields["mimetype"] = found.object.mimetype
    fields["metadata"] = metadata_field(call, found)
    status = falcon.HTTP_200 if found.object.completion == COMPLETE else falcon.HTTP_202
    readable = bool(found.rights & AceMask.READ_OBJECT)
    if readable and status == falcon.HTTP_200:
        fields |= _value_fields(call, found)
    chosen = select(call, found.rights, fields)
    if not (wants_value and readable and status == falcon.HTTP_200):
        call.answer_json(DATAOBJECT, chosen, status=status)
        return
    asked = selection.range_of("value")
    part = asked.within(found.object.size_bytes) if asked else _all_of(found)
    if multipart.is_wanted(call.request):
        multipart.answer(call, chosen, found, value, pieces(value, part))
        return
    call.begin_answer(DATAOBJECT, status)
    encoding = Encoding.BASE64 if asked is not None else found.object.encoding
    _, encoded = encoded_value(call, encoding, pieces(value, part))
    body = json.render_with_value(chosen, encoded)
    if isinstance(value, bytes):
        call.response.data = b"".join(body)
    else:
        call.response.stream = body


def _all_of(found: Found) -> ByteRange | None:
    return ByteRange(0, found.object.size_bytes - 1) if found.object.size_bytes else None


def _value_fields(call: Call, found: Found) -> dict[str, Any]:
    """valuerange says what came, or up to the first gap; a part is always base64."""
    asked = call.selection.range_of("value")
    if asked is None:
        encoding = found.object.encoding
        shown = Encoding.UTF_8 if encoding is Encoding.JSON and call.version is Version.V1 else encoding
        return {"valuerange": ranges.whole(found.object.contiguous_bytes), "valuetransferencoding": shown.value}
    part = asked.within(found.object.size_bytes)
    return {"valuerange": str(part) if part else "", "valuetransferencoding": Encoding.BASE64.value}


def update(call: Call, found: Found, body: dict[str, Any]) -> None:
    """PUT in 1.x, PATCH in 2.0: what the body or the URI names."""
    bodies.check_fields(call, body, frozenset())
    source = bodies.one_source(body, ("value", "copy"))
    if source == "copy":
        relocation.copy_onto(call, found, body)
        call.response.status = falcon.HTTP_204
        return
    encoding = bodies.encoding_of(call, body)
    asked = call.selection.range_of("value")
    if asked is not None:
        _update_range(call, found, body, asked)
        return
    if source is None:

        def change(now: Found) -> ObjectChanges:
            if encoding is not None and encoding is not now.object.encoding:
                call.cloud.require(now, AceMask.WRITE_OBJECT)
                _check_encoding(call, now, encoding)
            return bodies.changes_of(call, body, encoding, now)

        call.cloud.change_object(found, change)
    else:
        encoding = encoding or found.object.encoding
        with call.cloud.receive_value() as received:
            received.write(bodies.value_of(body, encoding))
            call.cloud.change_object(found, partial(bodies.changes_of, call, body, encoding), received)
    call.response.status = falcon.HTTP_204


def _update_range(call: Call, found: Found, body: dict[str, Any], asked: ByteRange) -> None:
    """The value is base64 then, and so is what the object holds from now on."""
    if not isinstance(body.get("value"), str):
        raise Invalid("the URI names a range of the value: expected the body to have a value in base64")
    data = json.decode_base64(body["value"])
    _check_length(len(data), asked)
    with call.cloud.receive_value() as received:
        received.write(data)
        change = partial(bodies.changes_of, call, body, Encoding.BASE64)
        call.cloud.write_value_ranges(found, [Piece(asked.first, received)], change)
    call.response.status = falcon.HTTP_204


def _check_encoding(call: Call, found: Found, encoding: Encoding) -> None:
    """The value that is there must be what it is said to be."""
    if encoding is Encoding.BASE64:
        return
    if found.object.completion != COMPLETE:
        raise Invalid(f"the value is still being written: what there is of it can't become {encoding}")
    _, value = call.cloud.open_value(found)
    if not isinstance(value, bytes):
        value.close()
        raise Invalid(f"the value is too large to become {encoding} without being sent again")
    try:
        if encoding is Encoding.JSON:
            json.parse_json_value(value)
        value.decode("utf-8")
    except ValueError:
        raise Invalid(f"the value that is there is not {encoding}") from None


def replace(call: Call, found: Found, body: dict[str, Any]) -> None:
    """PUT of 2.0 where there is something: all of it is as the body says, but for its ID and its access list."""
    bodies.check_fields(call, body, frozenset())
    if bodies.one_source(body, ("value", "copy")) == "copy":
        relocation.copy_onto(call, found, body)
        answer_created(call, call.cloud.find_object(found.address))
        return
    encoding = bodies.encoding_of(call, body) or Encoding.UTF_8

    def change(now: Found) -> ObjectChanges:
        return ObjectChanges(
            replaced_metadata(call.site, now.object.metadata, body.get("metadata", {})),
            bodies.mimetype_of(body) or "text/plain",
            encoding,
            call.completion,
            bodies.other_fields(call.site, body),
        )

    with call.cloud.receive_value() as received:
        received.write(bodies.value_of(body, encoding))
        call.cloud.change_object(found, change, received)
    answer_created(call, call.cloud.find_object(found.address))
