"""copy and move, as sources of a new object of any kind. Failures change nothing."""

from __future__ import annotations

from typing import Any

import falcon

from backends.errors import Invalid, NotAllowed, NotFound
from backends.objects import Address, Found, ObjectKind
from cdmi_server import bodies
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.metadata import new_metadata
from cdmi_server.paths import parse_uri

CLAIMS = (
    *claims(SYSTEM, "cdmi_object_copy_from_local", "cdmi_copy_dataobject_by_ID", "cdmi_copy_queue_by_ID"),
    *claims(SYSTEM, "cdmi_object_move_from_local", "cdmi_object_move_from_ID", "cdmi_object_move_to_ID"),
    *claims("container", "cdmi_copy_container", "cdmi_copy_dataobject"),
    *claims("container", "cdmi_move_container", "cdmi_move_dataobject"),
    *claims("queue", "cdmi_copy_queue", "cdmi_move_queue"),
)
SOURCES = ("copy", "move")


def source_of(call: Call, body: dict[str, Any], field: str, kind: ObjectKind | None = None) -> Found:
    """The object that the body names, of the kind that is to come out."""
    place, fields = parse_uri(body[field], call.request.prefix, call.site.enterprise_number, field)
    if fields or call.selection:
        raise Invalid(f"{field} of single fields isn't supported: expected the URI of an object as a whole")
    if place.is_pool or place.capabilities is not None:
        raise Invalid(f"{field} is {str(body[field])[:100]!r}: expected the URI of an object")
    try:
        found = call.cloud.find_object(place.address)
    except (NotFound, NotAllowed) as error:
        # 1.1.1 §8.2.5: a source that can't be read is a fault of the request, not of its URI.
        raise Invalid(f"{field} can't be read: {error.message}") from None
    if kind is not None and found.object.kind is not kind:
        raise Invalid(f"{field} names a {found.object.kind}: expected a {kind}")
    return found


def relocate(call: Call, address: Address | None, body: dict[str, Any], source: str, kind: ObjectKind) -> Found:
    """The new object; metadata and mimetype in the body replace the source's."""
    for name in ("valuetransferencoding",):
        if name in body:
            raise Invalid(f"{name} goes with a value, not with {source}")
    if call.request.get_header("X-CDMI-Partial") is not None:
        raise falcon.HTTPBadRequest(description=f"X-CDMI-Partial doesn't go with {source}.")
    found = source_of(call, body, source, kind)
    metadata = new_metadata(call.site, body["metadata"]) if "metadata" in body else None
    act = call.cloud.copy_object if source == "copy" else call.cloud.move_object
    return act(found, address, metadata, bodies.mimetype_of(body))
