"""copy and move, as sources of a new object of any kind, and copy onto what exists. Failures change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from backends.acl import AceMask
from backends.cloud.trees import NOT_COPIED
from backends.cloud.versions import refuse_version
from backends.errors import Conflict, Invalid, NotAllowed, NotFound
from backends.objects import COMPLETE, Address, Encoding, Found, NewObject, ObjectChanges, ObjectKind, Referred
from backends.values import Received, copy_into
from cdmi_server import bodies
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.metadata import changed_metadata, new_metadata, replaced_metadata
from cdmi_server.paths import parse_uri
from cdmi_server.values import pieces
from renderers.cdmi.fields import RANGED, Selection, parse_fields
from renderers.cdmi.ranges import ByteRange

CLAIMS = (
    *claims(SYSTEM, "cdmi_object_copy_from_local", "cdmi_copy_dataobject_by_ID", "cdmi_copy_queue_by_ID"),
    *claims(SYSTEM, "cdmi_object_move_from_local", "cdmi_object_move_from_ID", "cdmi_object_move_to_ID"),
    *claims("container", "cdmi_copy_container", "cdmi_copy_dataobject"),
    *claims("container", "cdmi_move_container", "cdmi_move_dataobject"),
    *claims("queue", "cdmi_copy_queue", "cdmi_move_queue"),
)
SOURCES = ("copy", "move")
REFERENCES_MAX = 8
"""On the way to a source, whose own URI is the first."""


def source_of(call: Call, body: dict[str, Any], field: str, kind: ObjectKind | None = None) -> Found:
    """The object that the body names, of the kind that is to come out."""
    found, selection = _source_and_fields(call, body, field, kind)
    if selection:
        raise Invalid(f"{field} of single fields isn't supported: expected the URI of an object as a whole")
    return found


def _source_and_fields(
    call: Call, body: dict[str, Any], field: str, kind: ObjectKind | None
) -> tuple[Found, Selection]:
    """Fields may be named by the source's URI or by that of the request (1.1.1 §8.2.5)."""
    found, queries = _followed(call, body[field], field)
    named = [fields for fields in (parse_fields(query, call.version) for query in queries) if fields]
    if len([*named, *([call.selection] if call.selection else [])]) > 1:
        raise Invalid(f"several URIs of the {field} name fields: expected one of them at most")
    if kind is not None and found.object.kind is not kind:
        raise Invalid(f"{field} names a {found.object.kind}: expected a {kind}")
    return found, named[0] if named else call.selection


def _followed(call: Call, uri: object, field: str) -> tuple[Found, list[str]]:
    """The object at a URI in a body, by references on the way too, and the queries of all URIs that lead to it.

    302 is about the URI of the request: it would send the client's PUT to the source.
    """
    queries = []
    for _ in range(REFERENCES_MAX):
        place, query = parse_uri(uri, call.request.prefix, call.site.enterprise_number, field)
        queries.append(query)
        if place.is_pool or (place.capabilities, place.domains) != (None, None):
            raise Invalid(f"{field} is {str(uri)[:100]!r}: expected the URI of an object")
        # 1.1.1 §8.2.5: a source that can't be read is a fault of the request, not of its URI.
        try:
            with denied_as_invalid(field):
                return call.cloud.find_object(place.address), queries
        except NotFound as error:
            raise Invalid(f"{field} can't be read: {error.message}") from None
        except Referred as referred:
            if field == "move":
                raise Invalid(
                    f"move goes by a reference to {referred.target[:100]!r}: expected the way there"
                ) from None
            path, mark, query = referred.target.partition("?")
            uri = "/".join((path.rstrip("/"), *referred.rest)) + mark + query if referred.rest else referred.target
    raise Invalid(f"{field} goes by more than {REFERENCES_MAX - 1} references: expected the URI of an object")


@contextmanager
def denied_as_invalid(field: str) -> Iterator[None]:
    """1.1.1 §8.2.5: 400 where rights are missing to read the source, to write the target, or to move it away."""
    try:
        yield
    except NotAllowed as error:
        raise Invalid(f"the {field} isn't allowed: {error.message}") from None


def relocate(call: Call, address: Address | None, body: dict[str, Any], source: str, kind: ObjectKind) -> Found:
    """The new object; metadata, mimetype and fields of the client's own in the body replace the source's."""
    _check_fits(call, body, source)
    found, selection = _source_and_fields(call, body, source, kind)
    if source == "move":
        refuse_version(found)
    with denied_as_invalid(source):
        if not selection:
            if source == "copy":
                return call.cloud.copy_object(found, address, partial(_changes, call, body))
            return call.cloud.move_object(found, address, partial(_changes_of_moved, call, body))
        if source == "move":
            raise Invalid("move of single fields isn't possible: expected the URI of an object as a whole")
        if kind is not ObjectKind.DATAOBJECT:
            return call.cloud.create_object(address, _new(kind, _chosen(call, found, selection, body)))
        with call.cloud.receive_value() as received:
            found = _take_value(call, found, selection, received)
            return call.cloud.create_object(address, _new(kind, _chosen(call, found, selection, body)), received)


def copy_onto(call: Call, target: Found, body: dict[str, Any]) -> None:
    """An object that exists becomes as the source is, or takes the fields that are named from it (1.1.1 §8.4.4)."""
    _check_fits(call, body, "copy")
    source, selection = _source_and_fields(call, body, "copy", target.object.kind)
    with denied_as_invalid("copy"):
        if not selection:

            def change(source_now: Found, target_now: Found) -> ObjectChanges:
                metadata = changed_metadata(call.site, target_now.object.metadata, body, selection)
                return replace(_changes(call, body, source_now), metadata=metadata)

            call.cloud.copy_onto(source, target, change)
            return
        if not any(field.name == "value" for field in selection):
            call.cloud.change_object(target, partial(_chosen, call, source, selection, body))
            return
        with call.cloud.receive_value() as received:
            source = _take_value(call, source, selection, received)
            call.cloud.change_object(target, partial(_chosen, call, source, selection, body), received)


def _check_fits(call: Call, body: dict[str, Any], source: str) -> None:
    if "valuetransferencoding" in body:
        raise Invalid(f"valuetransferencoding goes with a value, not with {source}")
    if call.request.get_header("X-CDMI-Partial") is not None:
        raise Invalid(f"X-CDMI-Partial doesn't go with {source}")
    if any(field.name in RANGED and field.part is not None for field in call.selection):
        raise Invalid(f"a range in the URI doesn't go with {source}: expected it in the URI of the source")


def _new(kind: ObjectKind, chosen: ObjectChanges) -> NewObject:
    return NewObject(
        kind,
        chosen.metadata or {},
        chosen.mimetype or "text/plain",
        chosen.encoding or Encoding.UTF_8,
        fields=chosen.fields or {},
    )


def _changes(call: Call, body: dict[str, Any], source: Found) -> ObjectChanges:
    """What the body says of the new object; the rest is as it is in the source."""
    metadata = new_metadata(call.site, body["metadata"]) if "metadata" in body else None
    fields = bodies.changed_fields(call, source.object.fields, body)
    return ObjectChanges(metadata, bodies.mimetype_of(body), fields=fields)


def _changes_of_moved(call: Call, body: dict[str, Any], source: Found) -> ObjectChanges:
    """It stays what it is, with its access list."""
    changes = _changes(call, body, source)
    if changes.metadata is None:
        return changes
    return replace(changes, metadata=replaced_metadata(call.site, source.object.metadata, body["metadata"]))


def _chosen(
    call: Call, source: Found, selection: Selection, body: dict[str, Any], target: Found | None = None
) -> ObjectChanges:
    """The fields that are named, as they are in the source or the body; None for those that aren't."""
    names = {field.name for field in selection}
    if "children" in names or ("value" in names and source.object.kind is ObjectKind.QUEUE):
        raise Invalid("children, and values of queues, can't be copied on their own: expected other fields")
    stored = source.object
    call.cloud.require(source, AceMask.READ_METADATA)
    metadata = None
    if "metadata" in names or "metadata" in body:
        items = {name: value for name, value in stored.metadata.items() if name not in NOT_COPIED}
        given = {"metadata": body.get("metadata", items)}
        metadata = changed_metadata(call.site, target.object.metadata if target else {}, given, selection)
    mimetype = bodies.mimetype_of(body) or (stored.mimetype or None if "mimetype" in names else None)
    encoding = None
    if "value" in names:
        encoding = Encoding.BASE64 if selection.range_of("value") else stored.encoding
    fields = {name: value for name, value in stored.fields.items() if name in names}
    fields = {**(target.object.fields if target else {}), **fields, **body}
    return ObjectChanges(metadata, mimetype, encoding, fields=bodies.other_fields(call.site, fields))


def _take_value(call: Call, source: Found, selection: Selection, received: Received) -> Found:
    """The value, or the range of it that is named, if it is; returns the source as it is with that value."""
    if not any(field.name == "value" for field in selection):
        return source
    now, value = call.cloud.open_value(source)
    call.cloud.require(now, AceMask.READ_OBJECT)
    if now.object.completion != COMPLETE:
        raise Conflict("what is to be copied is still being written")
    asked = selection.range_of("value") or ByteRange(0, max(now.object.size_bytes - 1, 0))
    part = asked.within(now.object.size_bytes)
    if isinstance(value, bytes) or part is None:
        received.fill(pieces(value, part))
        return now
    with value, call.at_length() as check:
        received.announce(part.count)
        copy_into(value, received, part.count, first=part.first, check=check)
    return now
