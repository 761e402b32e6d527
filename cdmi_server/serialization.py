"""Serialized objects (1.1.1 §15): an object and all that is below it as one JSON text, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import orjson

from backends.acl import AceMask
from backends.errors import Conflict, Invalid, NotAllowed
from backends.objects import COMPLETE, Address, Encoding, Found, NewObject, ObjectKind, OldVersion
from backends.values import Received
from cdmi_server import bodies
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.metadata import new_metadata, read_metadata
from cdmi_server.negotiation import MEDIA_TYPES
from cdmi_server.relocation import denied_as_invalid, source_of
from cdmi_server.values import encoded_value, pieces, queue_fields
from cdmi_server.views import common_fields
from renderers.cdmi import json, ranges
from renderers.cdmi.objectid import ObjectIdError, decode

CLAIMS = (
    *claims(SYSTEM, "cdmi_serialization_json", "cdmi_serialize_dataobject_to_ID", "cdmi_serialize_container_to_ID"),
    *claims(SYSTEM, "cdmi_serialize_queue_to_ID", "cdmi_deserialize_dataobject_by_ID", "cdmi_deserialize_queue_by_ID"),
    *claims("container", "cdmi_serialize_dataobject", "cdmi_serialize_container", "cdmi_serialize_queue"),
    *claims("container", "cdmi_deserialize_dataobject", "cdmi_deserialize_container", "cdmi_deserialize_queue"),
)
SERIALIZED = ("deserialize", "deserializevalue")
SERIALIZED_MAX_BYTES = 1 << 30
DEPTH_MAX = 24
"""Of containers in containers; each takes two levels of JSON."""
ALONE = -1
QUEUE_VALUES_MAX = 1000
KINDS = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}


def serialize(call: Call, address: Address | None, body: dict[str, Any]) -> Found:
    """A data object whose value is the source; what the caller may not read is left out."""
    source = source_of(call, body, "serialize")
    _refuse_version(source.object.version is not None)
    with denied_as_invalid("serialize"):
        call.cloud.require(source, AceMask.READ_OBJECT | AceMask.READ_METADATA)
    if address is not None:
        call.cloud.may_create(address, ObjectKind.DATAOBJECT)
    metadata = new_metadata(call.site, body.get("metadata", {}))
    mimetype = bodies.mimetype_of(body) or MEDIA_TYPES[source.object.kind]
    new = NewObject(ObjectKind.DATAOBJECT, metadata, mimetype, fields=bodies.other_fields(call.site, body))
    with call.cloud.receive_value() as received:
        with call.at_length() as check:
            for text in _texts(call, source, DEPTH_MAX):
                check()
                if received.size_bytes + len(text) > SERIALIZED_MAX_BYTES:
                    raise _too_large()
                received.write(text)
        return call.cloud.create_object(address, new, received)


def _too_large() -> Invalid:
    return Invalid(f"serialized it would have more than {SERIALIZED_MAX_BYTES} bytes: serialize its parts")


def _texts(call: Call, found: Found, depth: int) -> Iterator[bytes]:
    """The pieces of one object's JSON; value and children come last, so that readers can stream it too.

    With the depth ALONE a data object is written without its versions.
    """
    if depth == 0:
        raise Invalid(f"the container is nested deeper than {DEPTH_MAX} levels: serialize its parts")
    if found.object.kind is ObjectKind.REFERENCE:
        yield orjson.dumps({"objectName": found.object.name, "reference": found.object.target})
        return
    fields = common_fields(call, found)
    fields["metadata"] = read_metadata(call, found)
    match found.object.kind:
        case ObjectKind.CONTAINER:
            yield from _container_texts(call, found, fields, depth)
        case ObjectKind.QUEUE:
            values = call.cloud.queue_values(found, 0, limit=QUEUE_VALUES_MAX + 1)
            if len(values) > QUEUE_VALUES_MAX:
                raise Invalid(f"a queue has more than {QUEUE_VALUES_MAX} values, too many to be serialized")
            yield orjson.dumps(fields | queue_fields(call, values))
        case _ if found.object.current_version is not None and depth > 0:
            yield from _versioned_texts(call, found, fields)
        case _:
            if found.object.size_bytes > SERIALIZED_MAX_BYTES:
                raise _too_large()
            now, value = call.cloud.open_value(found)
            if now.object.completion != COMPLETE:
                raise Conflict(f"{now.object.name!r} is still being written")
            whole = ranges.ByteRange(0, now.object.size_bytes - 1) if now.object.size_bytes else None
            fields["mimetype"] = now.object.mimetype
            fields["valuerange"] = ranges.whole(now.object.contiguous_bytes)
            name, texts = encoded_value(call, now.object.encoding, pieces(value, whole))
            fields["valuetransferencoding"] = name.value
            yield from json.render_with_value(fields, texts)


def _refuse_version(is_one: bool) -> None:
    """1.1.1 §23.9: versions go with their data object only."""
    if is_one:
        raise NotAllowed("a version of a data object can't be serialized or deserialized without its data object")


def _versioned_texts(call: Call, found: Found, fields: dict[str, Any]) -> Iterator[bytes]:
    """1.1.1 §23.9: in place of the value an array of the versions, the current one first.

    What the object itself holds comes before them where no version has it.
    """
    versions = [Address(start=identity) for identity in call.cloud.version_ids(found)]
    is_current = call.cloud.find_object(versions[0]).object.same_value
    yield orjson.dumps({**fields, "mimetype": found.object.mimetype})[:-1] + b',"value":['
    for number, address in enumerate(versions if is_current else [found.address, *versions]):
        if number:
            yield b","
        yield from _texts(call, call.cloud.find_object(address), ALONE)
    yield b"]}"


def _container_texts(call: Call, found: Found, fields: dict[str, Any], depth: int) -> Iterator[bytes]:
    readable = []
    for name, _ in call.cloud.child_names(found):
        one = call.cloud.find_itself(found.address.child(name))
        if one.rights & AceMask.READ_OBJECT and one.rights & AceMask.READ_METADATA:
            readable.append(one.address)
    fields["childrenrange"] = ranges.whole(len(readable))
    yield orjson.dumps(fields)[:-1] + b',"children":['
    for number, address in enumerate(readable):
        if number:
            yield b","
        yield from _texts(call, call.cloud.find_itself(address), depth - 1)
    yield b"]}"


def deserialize(call: Call, address: Address | None, body: dict[str, Any], source: str, kind: ObjectKind) -> Found:
    """All of it or nothing. Objects keep their IDs where these were made here and are free."""
    if source == "deserialize":
        text = _stored_text(call, source_of(call, body, source, ObjectKind.DATAOBJECT))
    else:
        text = json.decode_base64(bodies.field_text(body, source))
    fields = json.parse_serialized(text, "what is to be deserialized")
    if KINDS.get(str(fields.get("objectType"))) is not kind:
        raise Invalid(f"what is to be deserialized is {str(fields.get('objectType'))[:60]!r}: expected a {kind}")
    if "metadata" in body:
        fields["metadata"] = body["metadata"]
    if "mimetype" in body:
        fields["mimetype"] = body["mimetype"]
    fields |= bodies.other_fields(call.site, body)
    # The files stay open, and so unswept, until all of it is committed.
    with ExitStack() as stack, call.cloud.atomically():
        return _make(call, stack, address, fields)


def _stored_text(call: Call, source: Found) -> bytes:
    now, value = call.cloud.open_value(source)
    call.cloud.require(now, AceMask.READ_OBJECT)
    limit = call.site.json_max_bytes
    if now.object.completion != COMPLETE or now.object.size_bytes > limit:
        raise Invalid(f"what is to be deserialized must be whole and have at most {limit} bytes")
    if isinstance(value, bytes):
        return value
    with value:
        return b"".join(pieces(value, ranges.ByteRange(0, now.object.size_bytes - 1)))


def _make(call: Call, stack: ExitStack, address: Address | None, fields: dict[str, Any]) -> Found:
    if "reference" in fields:
        target = bodies.target_of(call, fields)
        return call.cloud.create_object(address, NewObject(ObjectKind.REFERENCE, target=target))
    kind = KINDS.get(str(fields.get("objectType")))
    if kind is None:
        raise Invalid(f"objectType is {str(fields.get('objectType'))[:60]!r}: expected one of {', '.join(KINDS)}")
    metadata = new_metadata(call.site, fields.get("metadata", {}))
    _refuse_version("cdmi_version_children" in fields.get("metadata", {}))
    others = bodies.other_fields(call.site, fields)
    identity = _identity(call, fields.get("objectID"))
    if kind is ObjectKind.DATAOBJECT:
        if "value" not in fields:
            raise Invalid("a serialized data object has no value")
        versions: list[OldVersion] = []
        if isinstance(fields["value"], list):
            own, received, versions = _make_versions(call, stack, fields)
            encoding = own.encoding
        else:
            encoding = bodies.encoding_of(call, fields) or Encoding.UTF_8
            received = stack.enter_context(call.cloud.receive_value())
            received.write(bodies.value_of(fields, encoding))
        mimetype = bodies.mimetype_of(fields) or "text/plain"
        new = NewObject(kind, metadata, mimetype, encoding, id=identity, fields=others)
        return call.cloud.create_object(address, new, received, versions=versions)
    made = call.cloud.create_object(address, NewObject(kind, metadata, id=identity, fields=others))
    if kind is ObjectKind.QUEUE:
        _fill_queue(call, made, fields)
        return made
    children = fields.get("children", [])
    if not isinstance(children, list):
        raise Invalid("children must be an array of serialized objects")
    for child in children:
        if not isinstance(child, dict) or not isinstance(child.get("objectName"), str):
            raise Invalid("a child is no serialized object with an objectName")
        _make(call, stack, made.address.child(child["objectName"].removesuffix("/")), child)
    return made


def _make_versions(
    call: Call, stack: ExitStack, fields: dict[str, Any]
) -> tuple[NewObject, Received, list[OldVersion]]:
    """What the data object itself holds, and its versions, the oldest first."""
    found = []
    for one in fields["value"]:
        if not isinstance(one, dict) or KINDS.get(str(one.get("objectType"))) is not ObjectKind.DATAOBJECT:
            raise Invalid("value of a data object with versions must be an array of serialized data objects")
        encoding = bodies.encoding_of(call, one) or Encoding.UTF_8
        received = stack.enter_context(call.cloud.receive_value())
        received.write(bodies.value_of(one, encoding))
        new = NewObject(
            ObjectKind.DATAOBJECT,
            new_metadata(call.site, one.get("metadata", {})),
            bodies.mimetype_of(one) or "text/plain",
            encoding,
            id=_identity(call, one.get("objectID")),
            fields=bodies.other_fields(call.site, one),
        )
        found.append(OldVersion(new, received))
    is_own = bool(found) and fields["value"][0].get("objectID") == fields.get("objectID")
    versions = found[1:] if is_own else found
    if not versions:
        raise Invalid("value of a data object with versions has none")
    return found[0].new, found[0].value, versions[::-1]


def _fill_queue(call: Call, queue: Found, fields: dict[str, Any]) -> None:
    values = fields.get("value", [])
    if not isinstance(values, list):
        raise Invalid("value of a queue must be an array")
    if values:
        call.cloud.fill(queue, bodies.queue_values_of(call, fields))


def _identity(call: Call, value: object) -> UUID | None:
    try:
        return decode(str(value), call.site.enterprise_number) if value is not None else None
    except ObjectIdError:
        return None
