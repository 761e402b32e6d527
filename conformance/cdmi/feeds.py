"""Queues that the server fills: with notifications, and with what queries find."""

from __future__ import annotations

import json
from typing import Any

from conformance.cdmi.fields import Fields, document
from conformance.cdmi.server import MADE, Server, Thing, check
from conformance.suite import Level, expect, require

FIXED = ("cdmi_scope_specification", "cdmi_results_specification")
TOLD = ("cdmi_event", "cdmi_event_result", "cdmi_event_time", "cdmi_event_user", "objectID")


def feed(server: Server, kind: str, **changes: Any) -> Thing:
    """A queue of its own about data objects of the run's container that have a certain item."""
    server.needs_system("cdmi_queues", f"cdmi_{kind}")
    server.needs("cdmi_create_queue")
    metadata: Fields = {
        "cdmi_queue_type": f"cdmi_{kind}_queue",
        "cdmi_scope_specification": [{"metadata": {"watched": "== yes"}}],
        "cdmi_results_specification": dict.fromkeys(TOLD, "") | {"metadata": {"watched": ""}},
    }
    if kind == "notification":
        metadata["cdmi_notification_events"] = []
    return server.make("queue", {"metadata": {**metadata, **changes}}, server.new_url(".queue"))


def values_of(server: Server, queue: Thing) -> list[Fields]:
    return [as_object(value) for value in server.look(queue.url, "queue", "value", "values:100").get("value", [])]


def as_object(value: Any) -> Fields:
    """2.0 may send it as JSON, 1.x sends a text."""
    found = document_of(value) if isinstance(value, str) else value
    require(isinstance(found, dict), f"the queue holds {value!r}, expected a JSON object")
    return found  # type: ignore[no-any-return]


def document_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def watched(server: Server, value: str = "x", watched: str = "yes") -> Thing:
    server.needs("cdmi_create_dataobject")
    return server.make("object", {"value": value, "metadata": {"watched": watched}}, server.new_url(".txt"))


def wait_for(server: Server, queue: Thing, made: Thing, event: str) -> Fields:
    """What the queue is told; it may come late."""
    about: list[Fields] = []

    def is_there() -> bool:
        about[:] = [
            value
            for value in values_of(server, queue)
            if value.get("objectID") == made.fields["objectID"] and value.get("cdmi_event") == event
        ]
        return bool(about)

    server.wait_until(is_there, f"{event} of {made.url} in the notification queue")
    return about[0]


@check(
    "feeds/notified",
    "21.1, 21.2",
    "21.1, 21.2",
    "A notification queue is told that an object it is about has been created.",
)
def notified(server: Server) -> None:
    queue = feed(server, "notification")
    told = wait_for(server, queue, watched(server), "cdmi_create_complete")
    missing = [name for name in TOLD if name not in told]
    require(not missing, f"what the queue is told lacks {', '.join(missing)}")
    require(told.get("metadata") == {"watched": "yes"}, f"metadata is {told.get('metadata')!r}")
    require(str(told["cdmi_event_result"]).startswith("201"), f"cdmi_event_result is {told['cdmi_event_result']!r}")


@check("feeds/changes", "21", "21.2", "It is told of changes, reads and deletions.")
def changes(server: Server) -> None:
    queue = feed(server, "notification")
    made = watched(server)
    server.needs("cdmi_modify_value", "cdmi_read_value", "cdmi_delete_dataobject", of=made.fields)
    expect(server.update(made.url, "object", {"value": "y"}), {204}, "an update")
    server.look(made.url, "object")
    expect(server.delete(made.url), {204}, "DELETE")
    for event in ("cdmi_modify_complete", "cdmi_read", "cdmi_delete"):
        wait_for(server, queue, made, event)


@check("feeds/type", "21", "21.2", "Each value of it is application/json.")
def media_type(server: Server) -> None:
    queue = feed(server, "notification")
    wait_for(server, queue, watched(server), "cdmi_create_complete")
    found = server.look(queue.url, "queue", "value", "mimetype")
    require(found["mimetype"] == ["application/json"], f"mimetype is {found['mimetype']!r}")


@check("feeds/scope", "18.1, 21", "19.1, 21.2", "It is told nothing of objects that its scope doesn't match.")
def scope(server: Server) -> None:
    queue = feed(server, "notification")
    watched(server, watched="no")
    wait_for(server, queue, watched(server), "cdmi_create_complete")
    others = [value for value in values_of(server, queue) if value.get("metadata") != {"watched": "yes"}]
    require(not others, f"the queue was told of {others}")


@check("feeds/events", "21", "21.2", "It is told of the events it names and of no others.")
def events(server: Server) -> None:
    queue = feed(server, "notification", cdmi_notification_events=["cdmi_delete"])
    made = watched(server)
    server.needs("cdmi_delete_dataobject", of=made.fields)
    expect(server.delete(made.url), {204}, "DELETE")
    wait_for(server, queue, made, "cdmi_delete")
    found = {value.get("cdmi_event") for value in values_of(server, queue)}
    require(found == {"cdmi_delete"}, f"the queue was told of {found}")


@check("feeds/notification-status", "21", "21.2", "cdmi_notification_status is one of the standard's.")
def notification_status(server: Server) -> None:
    queue = feed(server, "notification")
    wait_for(server, queue, watched(server), "cdmi_create_complete")
    found = str(server.look(queue.url, "queue")["metadata"].get("cdmi_notification_status"))
    require(found in ("Processing", "Halted", "Current") or found.startswith("Error"), f"it is {found!r}")


def fixed(server: Server, kind: str) -> None:
    queue = feed(server, kind)
    server.needs("cdmi_modify_metadata", of=queue.fields)
    for name in FIXED:
        changed: Fields = {"metadata": {name: [] if name.endswith("scope_specification") else ""}}
        expect(server.update(queue.url, "queue", changed, f"metadata:{name}"), {403}, f"another {name}")


@check("feeds/notification-fixed", "21", "21.2", "What a notification queue is about can't be changed: 403.")
def notification_fixed(server: Server) -> None:
    fixed(server, "notification")


@check("feeds/query-fixed", "22", "22.1", "What a query is about can't be changed: 403.")
def query_fixed(server: Server) -> None:
    fixed(server, "query")


@check("feeds/untyped", "21", "21.2", "Without its type it is a queue like others.")
def untyped(server: Server) -> None:
    queue = feed(server, "notification")
    server.needs("cdmi_modify_metadata", of=queue.fields)
    answer = server.update(queue.url, "queue", {"metadata": {}}, "metadata:cdmi_queue_type")
    expect(answer, {204}, "the type taken off a notification queue")
    found = server.look(queue.url, "queue")["metadata"]
    require("cdmi_queue_type" not in found, "the type is still there")


def query(server: Server, *scope: Fields) -> list[str]:
    """The IDs that it finds."""
    server.needs_system("cdmi_query")
    queue = feed(server, "query", cdmi_scope_specification=list(scope))

    def is_done() -> bool:
        status = str(server.look(queue.url, "queue")["metadata"].get("cdmi_query_status"))
        require(not status.startswith("Error"), f"cdmi_query_status is {status!r}")
        return status == "Current"

    server.wait_until(is_done, "cdmi_query_status Current")
    return [str(value.get("objectID")) for value in values_of(server, queue)]


@check("feeds/query", "22", "22.1", "A query queue gets what matches, and cdmi_query_status becomes Current.")
def found(server: Server) -> None:
    tag = server.name()
    wanted = [str(watched(server, watched=tag).fields["objectID"]) for _ in range(3)]
    watched(server, watched=f"{tag}.other")
    got = query(server, {"metadata": {"watched": f"== {tag}"}})
    require(sorted(got) == sorted(wanted), f"the query found {got}, expected {wanted}")


EXPRESSIONS = (
    ("starts", "starts {}", True),
    ("not-starts", "!starts {}", False),
    ("ends", "ends .end", True),
    ("not-ends", "!ends .end", False),
    ("unequal", "!= {}", True),
    ("greater", "> {}", True),
    ("less", "< {}", False),
    ("exists", "*", True),
    ("not-exists", "!*", False),
)


@check("feeds/expressions", "18.2", "19.3", "Matching expressions decide as the table of them says.")
def expressions(server: Server) -> None:
    tag = server.name()
    made = watched(server, watched=f"{tag}.end")
    identity = str(made.fields["objectID"])
    for what, text, expected in EXPRESSIONS:
        got = query(server, {"objectID": f"== {identity}", "metadata": {"watched": text.format(tag)}})
        require((got == [identity]) is expected, f"{what}: the query found {got}")


@check("feeds/numbers", "18.2", "19.3", "Expressions with # compare numbers.")
def numbers(server: Server) -> None:
    made = watched(server, "x" * 10)
    identity = str(made.fields["objectID"])
    for text, expected in (("#== 10", True), ("#> 9", True), ("#< 9", False), ("#!= 10", False)):
        got = query(server, {"objectID": f"== {identity}", "metadata": {"cdmi_size": text}})
        require((got == [identity]) is expected, f"cdmi_size {text}: the query found {got}")


@check("feeds/alternatives", "18.1", "19.1", "Objects of a scope are alternatives, their members conditions.")
def alternatives(server: Server) -> None:
    one, other = watched(server), watched(server, watched="no")
    ids = [str(made.fields["objectID"]) for made in (one, other)]
    got = query(server, {"objectID": f"== {ids[0]}"}, {"objectID": f"== {ids[1]}", "metadata": {"watched": "== no"}})
    require(sorted(got) == sorted(ids), f"the query found {got}, expected {ids}")
    got = query(server, {"objectID": f"== {ids[0]}", "metadata": {"watched": "== no"}})
    require(got == [], f"the query found {got}, expected nothing")


@check("feeds/parent-by-id", "18.2", "19.3", "parentURI is matched by path and by ID.")
def parent_by_id(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = watched(server)
    identity = str(made.fields["objectID"])
    by_id = f"/cdmi_objectid/{server.home.fields['objectID']}"
    for uri in (by_id, f"{by_id}/", str(made.fields["parentURI"])):
        got = query(server, {"objectID": f"== {identity}", "parentURI": f"== {uri}"})
        require(got == [identity], f"parentURI == {uri}: the query found {got}")


@check("feeds/unfilled", "20.1", "11.2", "A queue of a type that the server doesn't fill can be made.", Level.SHOULD)
def unfilled(server: Server) -> None:
    server.needs_system("cdmi_queues")
    server.needs("cdmi_create_queue")
    metadata = {"cdmi_queue_type": "cdmi_logging_queue", "cdmi_logging_class": "cdmi_object_logging"}
    answer = server.put(server.new_url(".queue"), "queue", {"metadata": metadata})
    expect(answer, MADE, "a queue of a type that the server doesn't fill")
    require(document(answer)["queueValues"] == "", "it isn't empty", answer)
