"""Queues by CDMI (1.1.1 §11): values that are POSTed, read in order, and deleted when they have been dealt with."""

from __future__ import annotations

from functools import partial
from typing import Any

import falcon

from backends.acl import AceMask
from backends.cloud.queues import LAST_POSITION, QueueValue
from backends.errors import Invalid
from backends.objects import Address, Found, NewObject, ObjectKind
from cdmi_server import bodies, serialization
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.container import changes_of
from cdmi_server.dataobject import create_reference
from cdmi_server.metadata import new_metadata
from cdmi_server.negotiation import check_acceptable
from cdmi_server.paths import escaped
from cdmi_server.relocation import SOURCES, copy_onto, relocate
from cdmi_server.values import queue_fields
from cdmi_server.views import common_fields, metadata_field, path_of, select
from renderers.cdmi import ranges
from renderers.cdmi.representation import QUEUE

CLAIMS = (
    *claims(SYSTEM, "cdmi_queues", "cdmi_post_queue_by_ID"),
    *claims("container", "cdmi_create_queue", "cdmi_post_queue"),
    *claims("queue", "cdmi_read_value", "cdmi_read_metadata", "cdmi_modify_metadata", "cdmi_modify_value"),
    *claims("queue", "cdmi_delete_queue", "cdmi_reference_queue"),
)
VALUE_FIELDS = frozenset({"value", "values", "valuerange", "valuetransferencoding", "mimetype"})


def create(call: Call, address: Address | None, body: dict[str, Any]) -> None:
    bodies.check_fields(call, body, frozenset())
    source = bodies.one_source(body, ("reference", *SOURCES, *serialization.SERIALIZED))
    if source == "reference":
        create_reference(call, address, body)
        return
    if source in serialization.SERIALIZED:
        made = serialization.deserialize(call, address, body, source, ObjectKind.QUEUE)
    elif source is not None:
        made = relocate(call, address, body, source, ObjectKind.QUEUE)
    else:
        metadata = new_metadata(call.site, body.get("metadata", {}))
        new = NewObject(ObjectKind.QUEUE, metadata, fields=bodies.other_fields(call.site, body))
        made = call.cloud.create_object(address, new)
    call.response.set_header("Location", call.request.prefix + escaped(path_of(call, made)))
    fields = common_fields(call, made)
    fields |= {"metadata": metadata_field(call, made), "queueValues": _positions(made)}
    call.answer_json(QUEUE, fields, status=falcon.HTTP_201)


def read(call: Call, found: Found) -> None:
    """The oldest value, or as many as `values` asks for; none is taken away by that."""
    check_acceptable(call.request, QUEUE)
    fields = common_fields(call, found)
    fields |= {"metadata": metadata_field(call, found), "queueValues": _positions(found)}
    asks = VALUE_FIELDS & {field.name for field in call.selection}
    if found.rights & AceMask.READ_OBJECT:
        fields |= queue_fields(call, _asked_values(call, found))
        if "values" in asks:
            # It says how many; what comes is called as ever.
            call.answer_json(QUEUE, {**select(call, found.rights, fields), "value": fields["value"]})
            return
    elif asks:
        call.cloud.require(found, AceMask.READ_OBJECT)
    call.answer_json(QUEUE, select(call, found.rights, fields))


def _positions(found: Found) -> str:
    """The first and the last number of what is in it; empty when nothing is."""
    first, following = found.object.first_position, found.object.next_position
    return f"{first}-{following - 1}" if first < following else ""


def _asked_values(call: Call, found: Found) -> list[QueueValue]:
    first, last, limit = _asked(call)
    return call.cloud.queue_values(found, first, last, limit)


def _asked(call: Call) -> tuple[int, int, int]:
    """Positions and how many at most: `values` is a range of positions in 1.x, a count in 2.0."""
    parts = call.selection.parts_of("values") if "values" in {field.name for field in call.selection} else None
    if parts is None:
        return 0, LAST_POSITION, 1
    if parts[0].isascii() and parts[0].isdecimal() and len(parts[0]) < 10:
        return 0, LAST_POSITION, min(int(parts[0]), bodies.VALUES_AT_ONCE_MAX)
    asked = ranges.parse_range(parts[0])
    return asked.first, asked.last, bodies.VALUES_AT_ONCE_MAX


def update(call: Call, found: Found, body: dict[str, Any]) -> None:
    bodies.check_fields(call, body, frozenset())
    if bodies.one_source(body, ("copy",)):
        copy_onto(call, found, body)
    else:
        call.cloud.change_object(found, partial(changes_of, call, body))
    call.response.status = falcon.HTTP_204


def enqueue(call: Call, found: Found, body: dict[str, Any]) -> None:
    """One value or several, in arrays of the same length."""
    bodies.one_source(body, ("value",))
    if "value" not in body:
        raise Invalid("the body has no value to put into the queue")
    call.cloud.enqueue(found, bodies.queue_values_of(call, body))
    call.response.status = falcon.HTTP_204


def dequeue(call: Call, found: Found) -> None:
    """DELETE `?value`: the oldest; `?values:0-9`: those positions; `?values=10` of 2.0: so many of the oldest."""
    names = {field.name for field in call.selection}
    if not names <= {"value", "values"}:
        raise Invalid(f"the URI names {', '.join(sorted(names))[:100]}: only values can be deleted from a queue")
    first, last, limit = _asked(call)
    if last == LAST_POSITION:
        oldest = found.object.first_position
        first, last = oldest, oldest + limit - 1
    elif first > found.object.first_position:
        raise Invalid(f"the oldest value is {found.object.first_position}: expected a range that starts with it")
    call.cloud.dequeue(found, first, last)
    call.response.status = falcon.HTTP_204
