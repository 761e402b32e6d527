"""Copies and moves: what comes along, what doesn't, and that a failure changes nothing."""

from __future__ import annotations

from conformance.cdmi.fields import Fields
from conformance.cdmi.server import GONE, Server, Thing, check
from conformance.suite import Exchange, expect, require


def arrive(server: Server, how: str, source: Thing, kind: str = "object", **body: object) -> Thing:
    server.needs(f"cdmi_{how}_{'dataobject' if kind == 'object' else 'container'}")
    ending = "/" if kind == "container" else ".txt"
    sent: Fields = {how: server.path_of(source.url), **body}
    return server.make(kind, sent, server.new_url(ending))


def refused(server: Server, how: str, kind: str, source: str) -> None:
    server.needs(f"cdmi_{how}_{'dataobject' if kind == 'object' else 'container'}")
    url = server.new_url("/" if kind == "container" else ".txt")
    expect(server.put(url, kind, {how: source}), {400}, f"a {how} of what doesn't exist")
    expect(server.get(url, kind), GONE, f"what a failed {how} should have made")


@check("copies/object", "8.2.5", "8.3.5", "A copy has the value, mimetype and metadata of its source.")
def of_object(server: Server) -> None:
    source = server.new_binary(b"\0\1\2", mimetype="image/png", metadata={"colour": "red"})
    copy = server.look(arrive(server, "copy", source).url, "object")
    original = server.look(source.url, "object")
    for name in ("value", "mimetype", "valuetransferencoding"):
        require(copy[name] == original[name], f"{name} of the copy is {copy[name]!r}, expected {original[name]!r}")
    require(copy["metadata"].get("colour") == "red", f"the copy's metadata are {copy['metadata']!r}")


@check("copies/new-id", "5.10, 8.2.5", "5.3.3, 8.3.5", "A copy has an ID of its own.")
def new_id(server: Server) -> None:
    source = server.new_object()
    found = arrive(server, "copy", source).fields["objectID"]
    require(found != source.fields["objectID"], "the copy has the ID of its source")


@check("copies/independent", "8.2.5", "8.3.5", "A change of the source leaves the copy.")
def independent(server: Server) -> None:
    source = server.new_object("before")
    server.needs("cdmi_modify_value", of=source.fields)
    copy = arrive(server, "copy", source)
    server.update(source.url, "object", {"value": "after"})
    require(server.look(copy.url, "object")["value"] == "before", "the copy changed with its source")


@check("copies/new-metadata", "8.2.5", "8.3.5", "Metadata given with a copy replace those of the source.")
def new_metadata(server: Server) -> None:
    source = server.new_object(metadata={"colour": "red"})
    found = arrive(server, "copy", source, metadata={"shape": "round"}).fields["metadata"]
    require("colour" not in found and found.get("shape") == "round", f"the copy's metadata are {found!r}")


@check("copies/missing", "8.2.5", "8.3.5", "A copy of what doesn't exist is answered 400; nothing is made.")
def missing(server: Server) -> None:
    refused(server, "copy", "object", server.path_of(server.new_url(".txt")))


@check("copies/onto", "8.4.4", "8.5.4", "A copy onto an existing object replaces its value and keeps its ID.")
def onto(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    source, target = server.new_object("from the source"), server.new_object("to be replaced")
    server.needs("cdmi_modify_value", of=target.fields)
    answer = server.update(target.url, "object", {"copy": server.path_of(source.url)})
    expect(answer, {202, 204}, "a copy onto an existing object")
    found = server.settled(target.url, "object")
    require(found["value"] == "from the source", f"the value is {found['value']!r}")
    require(found["objectID"] == target.fields["objectID"], "the target's ID changed")


@check("copies/container", "9.2.5", "9.3.5", "A copy of a container has copies of all that lies in it.")
def of_container(server: Server) -> None:
    source = server.new_container(metadata={"colour": "red"})
    inner = server.new_container(source)
    deep = server.new_object("deep inside", parent=inner)
    copy = arrive(server, "copy", source, "container")
    url = copy.url + inner.fields["objectName"] + deep.fields["objectName"]
    found = server.look(url, "object")
    require(found["value"] == "deep inside", f"the value in the copy is {found['value']!r}")
    require(found["objectID"] != deep.fields["objectID"], "what lies in the copy has the ID of what lies in the source")
    require(server.metadata(copy.url, "container").get("colour") == "red", "the copy has not the source's metadata")


@check("copies/container-missing", "9.2.5", "9.3.5", "A copy of a container that doesn't exist is answered 400.")
def container_missing(server: Server) -> None:
    refused(server, "copy", "container", server.path_of(server.new_url("/")))


@check("copies/move", "8.2.5", "8.3.5", "A move keeps the ID and all else; the source is gone.")
def move(server: Server) -> None:
    source = server.new_object("moved", metadata={"colour": "red"})
    moved = arrive(server, "move", source)
    found = server.look(moved.url, "object")
    require(found["objectID"] == source.fields["objectID"], "a move changed the object ID")
    require(found["value"] == "moved" and found["metadata"].get("colour") == "red", "value or metadata are others")
    expect(server.get(source.url, "object"), GONE, "the source of a move")


@check("copies/move-by-id", "5.10, 8.2.5", "5.3.3, 8.3.5", "After a move the ID leads to the new place.")
def move_by_id(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    moved = arrive(server, "move", server.new_object())
    found = server.look(server.by_id(moved.fields), "object")
    name = moved.url.rpartition("/")[2]
    require(found["objectName"] == name, f"by its ID the object is called {found['objectName']!r}, expected {name!r}")


@check("copies/move-missing", "8.2.5", "8.3.5", "A move of what doesn't exist is answered 400; nothing is made.")
def move_missing(server: Server) -> None:
    refused(server, "move", "object", server.path_of(server.new_url(".txt")))


@check("copies/move-container", "9.2.5", "9.3.5", "A move of a container keeps the IDs of all that lies in it.")
def move_container(server: Server) -> None:
    source = server.new_container()
    inner = server.new_object("inside", parent=source)
    moved = arrive(server, "move", source, "container")
    require(moved.fields["objectID"] == source.fields["objectID"], "a move changed the container's ID")
    found = server.look(moved.url + inner.fields["objectName"], "object")
    require(found["objectID"] == inner.fields["objectID"], "a move changed the ID of what lies in the container")
    expect(server.get(source.url, "container"), GONE, "the source of a move")


@check("copies/move-into-itself", "9.2.5", "9.3.5", "A container can't be moved into itself: 400, nothing changed.")
def move_into_itself(server: Server) -> None:
    server.needs("cdmi_move_container")
    source = server.new_container()
    answer: Exchange = server.put(f"{source.url}inside/", "container", {"move": server.path_of(source.url)})
    expect(answer, {400, 409}, "a move of a container into itself")
    expect(server.get(source.url, "container"), {200}, "the container")


@check("copies/selected-field", "8.2.5", "8.3.5", "A copy of some fields of its source takes only those.")
def selected_field(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    source = server.new_object("the value", metadata={"colour": "red"}, mimetype="text/html")
    sent = {"copy": server.path_of(source.url) + server.dialect.query("value")}
    found = server.look(server.make("object", sent, server.new_url(".txt")).url, "object")
    require(found["value"] == "the value", f"the value is {found['value']!r}")
    require("colour" not in found["metadata"], "metadata were copied too")


@check("copies/fields-twice", "8.2.5", "8.3.5", "Fields may not be named in both URIs of a copy: 400.")
def fields_twice(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    source = server.new_object()
    sent = {"copy": server.path_of(source.url) + server.dialect.query("value")}
    url = server.new_url(".txt") + server.dialect.query("value")
    expect(server.put(url, "object", sent), {400}, "a copy with fields in both URIs")
