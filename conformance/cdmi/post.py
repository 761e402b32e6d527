"""POST to a container: data objects whose names the server chooses."""

from __future__ import annotations

from conformance.cdmi.fields import Fields, document
from conformance.cdmi.server import MADE, Server, check
from conformance.suite import expect, require


def posted(server: Server, container: str = "", **body: object) -> tuple[str, Fields]:
    server.needs("cdmi_post_dataobject", "cdmi_create_dataobject")
    answer = server.post(container or server.home.url, "object", {"value": "posted", **body})
    expect(answer, MADE, "a new data object by POST")
    location = answer.header("location")
    require(location.startswith(("http://", "https://")), f"Location is {location!r}, expected it absolute", answer)
    return location, document(answer)


@check("post/create", "9.6.6", "9.7.6", "POST makes a data object and answers its absolute Location.")
def create(server: Server) -> None:
    url, _ = posted(server)
    require(server.look(url, "object")["value"] == "posted", "the Location leads to another value")


@check("post/fields", "9.6.7", "9.7.7", "The answer has all mandatory fields.")
def fields(server: Server) -> None:
    _, found = posted(server, metadata={"colour": "red"})
    wanted = ("objectType", "objectID", "objectName", "parentURI", "parentID", "capabilitiesURI", "completionStatus")
    missing = [name for name in (*wanted, "mimetype", "metadata") if name not in found]
    require(not missing, f"the answer lacks {', '.join(missing)}")
    require(found["metadata"].get("colour") == "red", "the metadata are not what was sent")


@check("post/child", "9.6.1", "9.7.1", "The new object is its container's child, by the name in objectName.")
def child(server: Server) -> None:
    server.needs("cdmi_list_children")
    url, found = posted(server)
    require(found["objectName"] in server.children(server.home.url), f"{found['objectName']!r} is not listed")
    require(found["parentID"] == server.home.fields["objectID"], "parentID is not the container's ID")
    require(url.startswith(server.home.url), f"the Location {url} is not in the container")


@check("post/two", "9.6.1", "9.7.1", "Two POSTs make two objects.")
def two(server: Server) -> None:
    first, second = posted(server)[0], posted(server)[0]
    require(first != second, "two POSTs were answered one Location")
