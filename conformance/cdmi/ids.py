"""Object IDs: their form and checksum, that they stay, and access by them."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.cdmi.fields import (
    Fields,
    base64_of,
    document,
    fault_of_object_id,
    has_right_checksum,
    unknown_object_id,
)
from conformance.cdmi.server import CHANGED, GONE, MADE, Server, check
from conformance.suite import Level, NotApplicable, expect, require


def some_ids(server: Server) -> Iterator[str]:
    """IDs of a capabilities object, a container and, where they can be made, a data object."""
    yield server.look(f"{server.root}cdmi_capabilities/", "capability")["objectID"]
    yield server.home.fields["objectID"]
    if server.claims(server.home.fields, "cdmi_create_dataobject"):
        yield server.new_object().fields["objectID"]


@check("ids/format", "5.11", "5.3.4", "Object IDs have the right length, zeros, length byte and enterprise number.")
def form(server: Server) -> None:
    for found in some_ids(server):
        fault = fault_of_object_id(found)
        require(not fault, f"the object ID {found!r} {fault}")


@check("ids/checksum", "5.11", "5.3.4", "Bytes 6 and 7 of an object ID are the CRC-16 of the rest.")
def checksum(server: Server) -> None:
    for found in some_ids(server):
        require(has_right_checksum(found), f"the checksum in the object ID {found!r} is not right")


@check("ids/unique", "5.10", "5.3.3", "Two objects have two IDs.")
def unique(server: Server) -> None:
    first, second = server.new_object(), server.new_object()
    require(first.fields["objectID"] != second.fields["objectID"], "two objects have one ID")


@check("ids/not-reused", "5.10", "5.3.3", "An object made where another was deleted has an ID of its own.")
def not_reused(server: Server) -> None:
    first = server.new_object()
    server.needs("cdmi_delete_dataobject", of=first.fields)
    expect(server.delete(first.url), CHANGED, "DELETE")
    second = server.make("object", {"value": "again"}, first.url)
    require(first.fields["objectID"] != second.fields["objectID"], "the ID of a deleted object came back")


@check("ids/constant", "8.4.1", "8.5.1", "An update leaves the object ID as it is.")
def constant(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.update(made.url, "object", {"value": "other"}), CHANGED, "an update")
    found = server.look(made.url, "object")["objectID"]
    require(found == made.fields["objectID"], f"the object ID became {found!r}")


@check("ids/container-constant", "9.4.1", "9.5.1", "An update leaves a container's object ID as it is.")
def container_constant(server: Server) -> None:
    made = server.new_container()
    server.needs("cdmi_modify_metadata", of=made.fields)
    expect(server.update(made.url, "container", {"metadata": {"a": "b"}}), CHANGED, "an update")
    found = server.look(made.url, "container")["objectID"]
    require(found == made.fields["objectID"], f"the object ID became {found!r}")


@check("ids/parent", "8.2.7", "8.3.7", "parentID is the object ID of the container.")
def parent(server: Server) -> None:
    made = server.new_object()
    require(made.fields["parentID"] == server.home.fields["objectID"], f"parentID is {made.fields['parentID']!r}")


@check("ids/access", "5.10, 8.3.1", "5.3.3, 8.4.1", "A data object is found below cdmi_objectid/ by its ID.")
def access(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_object("found by ID")
    found = server.look(server.by_id(made.fields), "object")
    require(found["value"] == "found by ID", "what is found by the ID is another object")
    require(found["objectID"] == made.fields["objectID"], "what is found by the ID has another ID")


@check("ids/access-any-case", "5.11", "5.3.4", "Object IDs are taken in upper and lower case.")
def any_case(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_object()
    for form_of_id in (made.fields["objectID"].lower(), made.fields["objectID"].upper()):
        answer = server.get(f"{server.root}cdmi_objectid/{form_of_id}", "object")
        expect(answer, {200}, "an object ID in another case")


@check("ids/access-http", "6.3.1", "6.3.1", "A value is read by object ID with plain HTTP.")
def access_http(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_object("by ID")
    require(server.octets(server.by_id(made.fields)) == b"by ID", "the value by ID is another")


@check("ids/container-access", "5.10, 9.3.1", "5.3.3, 9.4.1", "A container and what lies in it are found by its ID.")
def container_access(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_container()
    inner = server.new_object(parent=made)
    url = server.by_id(made.fields, container=True)
    require(server.look(url, "container")["objectID"] == made.fields["objectID"], "another container is found by ID")
    found = server.look(url + inner.fields["objectName"], "object")
    require(found["objectID"] == inner.fields["objectID"], "another object is found below the container's ID")


@check("ids/update", "8.4.1", "8.5.1", "A data object is updated by its ID.")
def update(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.update(server.by_id(made.fields), "object", {"value": "new"}), CHANGED, "an update by ID")
    require(server.look(made.url, "object")["value"] == "new", "an update by ID changed nothing")


@check("ids/delete", "8.5.1", "8.6.1", "A data object is deleted by its ID.")
def delete(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_object()
    server.needs("cdmi_delete_dataobject", of=made.fields)
    expect(server.delete(server.by_id(made.fields)), CHANGED, "DELETE by ID")
    expect(server.get(made.url, "object"), GONE, "an object that was deleted by ID")


@check("ids/unknown", "8.3.7", "8.4.7", "An ID that no object has is answered 404.")
def unknown(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    answer = server.get(f"{server.root}cdmi_objectid/{unknown_object_id()}", "object")
    expect(answer, GONE, "an unknown object ID")


@check("ids/malformed", "5.11", "5.3.4", "What is no object ID at all is answered 400 or 404.")
def malformed(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    for wrong in ("x", "00", "zz" * 16, "0" * 200, "%00"):
        answer = server.get(f"{server.root}cdmi_objectid/{wrong}", "object")
        expect(answer, {400, *GONE}, f"the object ID {wrong[:40]!r}")


def made_by_id(server: Server) -> tuple[str, Fields]:
    server.needs_system("cdmi_post_dataobject_by_ID", "cdmi_object_access_by_ID")
    answer = server.post(f"{server.root}cdmi_objectid/", "object", {"value": "without a name"})
    expect(answer, MADE, "a new data object without a name")
    require(answer.header("location"), "the answer has no Location", answer)
    return server.wire.absolute(answer.header("location")), document(answer)


@check("ids/post", "9.6.1, 9.6.6", "9.7.1, 9.7.6", "POST to cdmi_objectid/ makes an object that is found by its ID.")
def post(server: Server) -> None:
    url, found = made_by_id(server)
    require(url.rpartition("/")[2].upper() == found["objectID"].upper(), f"the Location {url} has not the object's ID")
    require(server.look(url, "object")["value"] == "without a name", "the value is another")


@check("ids/post-nameless", "8.3.6", "8.4.6", "What is reached by ID only has no name, parentURI nor parentID.")
def post_nameless(server: Server) -> None:
    url, _ = made_by_id(server)
    found = server.look(url, "object")
    shown = [name for name in ("objectName", "parentURI", "parentID") if name in found]
    require(not shown, f"an object without a name has {', '.join(shown)}")


@check(
    "ids/move-to-name", "12.1.1, 8.2.5", "12.2.7, 8.3.5", "A move gives an object without name a path; its ID stays."
)
def move_to_name(server: Server) -> None:
    server.needs_system("cdmi_object_move_from_ID")
    server.needs("cdmi_move_dataobject")
    source, found = made_by_id(server)
    made = server.make("object", {"move": server.path_of(source)}, server.new_url(".txt"))
    require(made.fields["objectID"] == found["objectID"], "the ID changed on the way")


@check("ids/binary-by-id", "6.2.1", "6.2.1", "What plain HTTP made is found by its ID too.", Level.SHOULD)
def http_made(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    server.needs_system("cdmi_object_access_by_ID")
    url = server.new_url(".bin")
    answer = server.http("PUT", url, body=b"\0\xff", content_type="application/octet-stream")
    if answer.status != 201:
        raise NotApplicable("plain HTTP made nothing; another check tells of it")
    found = server.look(server.by_id(server.look(url, "object")), "object")
    require(found["value"] == base64_of(b"\0\xff"), f"the value by ID is {found['value']!r}")
