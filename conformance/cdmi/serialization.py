"""Serialization: objects as canonical JSON in the value of a data object, and back."""

from __future__ import annotations

import json

from conformance.cdmi.fields import Fields, base64_of
from conformance.cdmi.server import CHANGED, GONE, Server, Thing, check
from conformance.suite import CheckFailed, expect, require


def serialized(server: Server, source: Thing, kind: str) -> tuple[Thing, Fields]:
    server.needs_system("cdmi_serialization_json")
    server.needs(f"cdmi_serialize_{kind}")
    made = server.make("object", {"serialize": server.path_of(source.url)}, server.new_url(".json"))
    octets = server.octets(made.url)
    try:
        found = json.loads(octets)
    except ValueError as error:
        raise CheckFailed(f"the serialized form is not JSON: {error}: {octets[:80]!r}") from error
    require(isinstance(found, dict), f"the serialized form is no JSON object: {octets[:80]!r}")
    return made, dict(found)


@check("serialization/object", "15.2", "15.3", "A serialized data object holds all fields, value included.")
def of_object(server: Server) -> None:
    source = server.new_object("kept", metadata={"colour": "red"}, mimetype="text/html")
    _, found = serialized(server, source, "dataobject")
    for name, wanted in (("objectID", source.fields["objectID"]), ("value", "kept"), ("mimetype", "text/html")):
        require(found.get(name) == wanted, f"{name} is {found.get(name)!r}, expected {wanted!r}")
    require(found["metadata"].get("colour") == "red", f"metadata is {found['metadata']!r}")
    require("valuetransferencoding" in found, "valuetransferencoding is missing")


@check("serialization/container", "15.2", "15.3", "A serialized container holds its children, all the way down.")
def of_container(server: Server) -> None:
    source = server.new_container()
    inner = server.new_container(source)
    deep = server.new_object("deep inside", parent=inner)
    _, found = serialized(server, source, "container")
    child = found["children"][0]
    require(child["objectID"] == inner.fields["objectID"], f"the child is {child!r}")
    require(child["children"][0]["objectID"] == deep.fields["objectID"], "the grandchild is another")
    require(child["children"][0]["value"] == "deep inside", "the grandchild's value is another")


@check("serialization/restore", "15.3", "15.4", "Deserialization gives back a deleted object, with its ID.")
def restore(server: Server) -> None:
    source = server.new_object("kept", metadata={"colour": "red"})
    server.needs("cdmi_deserialize_dataobject")
    server.needs("cdmi_delete_dataobject", of=source.fields)
    made, _ = serialized(server, source, "dataobject")
    expect(server.delete(source.url), CHANGED, "DELETE of the source")
    back = server.make("object", {"deserialize": server.path_of(made.url)}, server.new_url(".txt"))
    found = server.look(back.url, "object")
    require(found["objectID"] == source.fields["objectID"], "the object ID is another")
    require(found["value"] == "kept" and found["metadata"].get("colour") == "red", "value or metadata are others")


@check("serialization/restore-container", "15.3", "15.4", "So it does for a container and all in it.")
def restore_container(server: Server) -> None:
    source = server.new_container()
    inner = server.new_object("inside", parent=source)
    server.needs("cdmi_deserialize_container")
    server.needs("cdmi_delete_container", of=source.fields)
    made, _ = serialized(server, source, "container")
    expect(server.delete(source.url), CHANGED, "DELETE of the source")
    back = server.make("container", {"deserialize": server.path_of(made.url)}, server.new_url("/"))
    require(back.fields["objectID"] == source.fields["objectID"], "the container's ID is another")
    found = server.look(back.url + inner.fields["objectName"], "object")
    require(found["objectID"] == inner.fields["objectID"], "the ID of what lay in it is another")
    require(found["value"] == "inside", f"the value of what lay in it is {found['value']!r}")


@check("serialization/value", "8.2.5, 15.3", "8.3.5, 15.4", "deserializevalue takes the serialized form in base64.")
def from_value(server: Server) -> None:
    source = server.new_object("kept")
    server.needs("cdmi_deserialize_dataobject")
    server.needs("cdmi_delete_dataobject", of=source.fields)
    _, found = serialized(server, source, "dataobject")
    expect(server.delete(source.url), CHANGED, "DELETE of the source")
    sent = {"deserializevalue": base64_of(json.dumps(found).encode())}
    back = server.look(server.make("object", sent, server.new_url(".txt")).url, "object")
    require(back["value"] == "kept", f"the value is {back['value']!r}")
    require(back["objectID"] == source.fields["objectID"], "the object ID is another")


@check("serialization/malformed", "8.2.5, 8.2.8", "8.3.5, 8.3.8", "What is no serialized form is answered 400.")
def malformed(server: Server) -> None:
    server.needs_system("cdmi_serialization_json")
    server.needs("cdmi_deserialize_dataobject")
    for wrong in ("%%%", base64_of(b"{"), base64_of(b"[]"), base64_of(b'{"objectType": "application/cdmi-object"}')):
        url = server.new_url(".txt")
        expect(server.put(url, "object", {"deserializevalue": wrong}), {400}, f"deserializevalue {wrong!r}")
        expect(server.get(url, "object"), GONE, "what should not have been made")
