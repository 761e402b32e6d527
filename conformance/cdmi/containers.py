"""Containers by CDMI: creation, reading, children and their ranges, updates, deletion."""

from __future__ import annotations

from conformance.cdmi.data import has
from conformance.cdmi.fields import document
from conformance.cdmi.server import CHANGED, GONE, MADE, Server, Thing, check
from conformance.suite import Level, expect, require

FIELDS = (
    "objectType", "objectID", "objectName", "parentURI", "parentID", "capabilitiesURI", "completionStatus", "metadata",
)  # fmt: skip


def filled(server: Server, count: int) -> tuple[Thing, list[str]]:
    """A container with some data objects in it, and their names as they are listed."""
    made = server.new_container()
    server.needs("cdmi_list_children", of=made.fields)
    for _ in range(count):
        server.new_object(parent=made)
    return made, server.children(made.url)


@check("containers/create", "9.2.8", "9.3.8", "PUT makes a container: 201 (or 202).")
def create(server: Server) -> None:
    server.needs("cdmi_create_container")
    expect(server.put(server.new_url("/"), "container", {}), MADE, "a new container")


@check("containers/create-fields", "9.2.7", "9.3.7", "The answer to a creation has all mandatory fields.")
def create_fields(server: Server) -> None:
    server.needs("cdmi_create_container")
    answer = server.put(server.new_url("/"), "container", {"metadata": {"colour": "red"}})
    expect(answer, MADE, "a new container")
    if answer.status == 201:
        has(answer, FIELDS)
        found = document(answer)["metadata"].get("colour")
        require(found == "red", f"the metadata came back as {document(answer)['metadata']!r}", answer)
    else:
        require(answer.header("location").startswith("http"), "202 without an absolute Location", answer)


@check("containers/read", "9.3.6", "9.4.6", "Reading answers all mandatory fields.")
def read(server: Server) -> None:
    answer = server.get(server.home.url, "container")
    has(answer, tuple(name for name in FIELDS if name != "parentID" or server.home.url != server.root))  # §5.13.5
    if server.claims(server.home.fields, "cdmi_list_children"):
        has(answer, ("childrenrange", "children"))


@check("containers/status", "9.3.6", "9.4.6", "completionStatus is Complete, percentComplete the string 100.")
def status(server: Server) -> None:
    fields = server.look(server.home.url, "container")
    require(fields["completionStatus"] == "Complete", f"completionStatus is {fields['completionStatus']!r}")
    percent = fields.get("percentComplete", "100")
    require(percent == "100", f"percentComplete is {percent!r}, expected the string '100'")


@check("containers/order", "9.1.4", "9.2.6", "childrenrange and children come last and in that order.")
def order(server: Server) -> None:
    server.needs("cdmi_list_children")
    found = list(server.look(server.home.url, "container"))
    require(found[-2:] == ["childrenrange", "children"], f"the last fields are {found[-2:]}")


@check("containers/empty", "9.2.7", "9.3.7", "A new container has no children.")
def empty(server: Server) -> None:
    _, listed = filled(server, 0)
    require(listed == [], f"children is {listed}, expected none")


@check("containers/children", "9.3.6", "9.4.6", "children lists what lies in it by name, and nothing else.")
def children(server: Server) -> None:
    made = server.new_container()
    server.needs("cdmi_list_children", of=made.fields)
    names = [server.new_object(parent=made).fields["objectName"] for _ in range(3)]
    found = server.children(made.url)
    require(sorted(found) == sorted(names), f"children is {found}, expected {names}")


@check("containers/grandchildren", "9.3.6", "9.4.6", "What lies deeper is not listed.")
def grandchildren(server: Server) -> None:
    made = server.new_container()
    server.needs("cdmi_list_children", of=made.fields)
    inner = server.new_container(made)
    server.new_object(parent=inner)
    found = server.children(made.url)
    require(found == [inner.fields["objectName"]], f"children is {found}, expected {inner.fields['objectName']!r}")


@check("containers/childrenrange", "9.1, 9.3.6", "9.2.2, 9.4.6", "childrenrange counts the children: 0-2 of three.")
def childrenrange(server: Server) -> None:
    made, _ = filled(server, 3)
    found = server.look(made.url, "container", "childrenrange")["childrenrange"]
    require(found == "0-2", f"childrenrange is {found!r}, expected '0-2'")


@check("containers/range", "9.1, 9.3.1", "9.2.2, 9.4.1", "A range of the children is answered, both ends included.")
def child_range(server: Server) -> None:
    made, listed = filled(server, 4)
    server.needs("cdmi_list_children_range", of=made.fields)
    found = server.look(made.url, "container", "childrenrange", "children:1-2")
    require(found["children"] == listed[1:3], f"children:1-2 is {found['children']}, expected {listed[1:3]}")
    require(found["childrenrange"] == "1-2", f"childrenrange is {found['childrenrange']!r}, expected '1-2'")


@check("containers/range-clipped", "9.1", "9.2.2", "A range that reaches beyond the last child is cut there.")
def range_clipped(server: Server) -> None:
    made, listed = filled(server, 3)
    server.needs("cdmi_list_children_range", of=made.fields)
    found = server.look(made.url, "container", "childrenrange", "children:1-99")
    require(found["children"] == listed[1:], f"children:1-99 is {found['children']}, expected {listed[1:]}")
    require(found["childrenrange"] == "1-2", f"childrenrange is {found['childrenrange']!r}, expected '1-2'")


@check("containers/range-malformed", "9.3.7", "9.4.7", "What is no range of children is answered 400.")
def range_malformed(server: Server) -> None:
    server.needs("cdmi_list_children_range")
    for wrong in ("children:2-1", "children:x-y"):
        expect(server.get(server.home.url, "container", wrong), {400}, f"the range {wrong}")


@check("containers/selection", "9.3.6", "9.4.6", "If fields are asked for, only those are answered.")
def selection(server: Server) -> None:
    found = set(server.look(server.home.url, "container", "objectName", "parentURI"))
    require(found == {"objectName", "parentURI"}, f"asked for objectName and parentURI, got {sorted(found)}")


@check("containers/metadata-prefix", "9.3.1", "9.4.1", "metadata:<prefix> answers the items whose names start so.")
def metadata_prefix(server: Server) -> None:
    made = server.new_container(metadata={"colour": "red", "colouring": "deep", "shape": "round"})
    found = server.look(made.url, "container", "metadata:colour")
    require(found == {"metadata": {"colour": "red", "colouring": "deep"}}, f"metadata:colour is answered {found}")


@check("containers/nested", "9.1", "9.2.1", "Containers can lie in containers.")
def nested(server: Server) -> None:
    outer = server.new_container()
    inner = server.new_container(outer)
    require(inner.fields["parentID"] == outer.fields["objectID"], "parentID is not the outer container's ID")


@check("containers/update", "9.4.8", "9.5.8", "New metadata take the old ones' place: 204.")
def update(server: Server) -> None:
    made = server.new_container(metadata={"colour": "red"})
    server.needs("cdmi_modify_metadata", of=made.fields)
    expect(server.update(made.url, "container", {"metadata": {"shape": "round"}}), {204}, "an update of metadata")
    found = server.metadata(made.url, "container")
    require("colour" not in found and found.get("shape") == "round", f"the metadata became {found}")


@check("containers/update-keeps-children", "9.4.1", "9.5.1", "An update leaves the children.")
def update_keeps_children(server: Server) -> None:
    made, listed = filled(server, 2)
    server.needs("cdmi_modify_metadata", of=made.fields)
    expect(server.update(made.url, "container", {"metadata": {}}), CHANGED, "an update of metadata")
    require(server.children(made.url) == listed, "the children are others after an update")


@check("containers/delete", "9.5.7", "9.6.7", "DELETE removes a container and all that lies in it: 204.")
def delete(server: Server) -> None:
    outer = server.new_container()
    server.needs("cdmi_delete_container", of=outer.fields)
    inner = server.new_container(outer)
    deep = server.new_object(parent=inner)
    expect(server.delete(outer.url), {204}, "DELETE of a container that isn't empty")
    for url, kind in ((outer.url, "container"), (inner.url, "container"), (deep.url, "object")):
        expect(server.get(url, kind), GONE, "what was deleted with its container")


@check("containers/delete-ids", "9.5.1", "9.6.1", "What was deleted with its container is gone by its ID too.")
def delete_ids(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    made = server.new_container()
    server.needs("cdmi_delete_container", of=made.fields)
    inner = server.new_object(parent=made)
    expect(server.delete(made.url), CHANGED, "DELETE of a container")
    expect(server.get(server.by_id(inner.fields), "object"), GONE, "what was deleted with its container, by its ID")


@check("containers/delete-missing", "9.5.7", "9.6.7", "DELETE of a container that doesn't exist is answered 404.")
def delete_missing(server: Server) -> None:
    expect(server.delete(server.new_url("/")), {404}, "DELETE of a container that doesn't exist")


@check("containers/two-sources", "9.2.5", "9.3.5", "Of copy, move and the like only one may be given: else 400.")
def two_sources(server: Server) -> None:
    server.needs("cdmi_copy_container", "cdmi_move_container")
    source = server.path_of(server.new_container().url)
    answer = server.put(server.new_url("/"), "container", {"copy": source, "move": source})
    expect(answer, {400}, "copy and move together")


@check("containers/wrong-update", "9.4.8", "9.5.8", "A body of the wrong shape is answered 400.", Level.SHOULD)
def wrong_update(server: Server) -> None:
    made = server.new_container()
    server.needs("cdmi_modify_metadata", of=made.fields)
    expect(server.update(made.url, "container", {"metadata": "x"}), {400}, "metadata that are a string")
