"""Names and URIs: slashes, reserved names, escaping, parents, the root."""

from __future__ import annotations

import secrets
from urllib.parse import quote, urlsplit

from conformance.cdmi.fields import document
from conformance.cdmi.server import REFUSED, Server, check
from conformance.suite import Exchange, Level, expect, require

RESERVED = ("cdmi_objectid", "cdmi_domains", "cdmi_capabilities", "cdmi_snapshots", "cdmi_versions")
AWKWARD = (
    "with space",
    "@at",
    "per%cent",
    "plus+plus",
    "semi;colon",
    "am&per=sand",
    "hash#tag",
    "żółw ☃",
    "a'\"b",
    "...x",
)


def redirects(server: Server, url: str, answer: Exchange) -> None:
    expect(answer, {301}, "a container without its slash")
    found = answer.header("location")
    require(server.wire.absolute(found) == url, f"Location is {found!r}, expected {url!r}", answer)


@check("names/slash", "9.1", "9.2.1", "A container read without its slash is answered 301 with the right Location.")
def slash(server: Server) -> None:
    made = server.new_container()
    redirects(server, made.url, server.get(made.url.rstrip("/"), "container"))


@check("names/slash-http", "7.1", "7.1", "So it is for plain HTTP.")
def slash_http(server: Server) -> None:
    made = server.new_container()
    redirects(server, made.url, server.http("GET", made.url.rstrip("/")))


@check("names/slash-delete", "7.1, 9.1", "7.1, 9.2.1", "So it is for DELETE, which deletes nothing.")
def slash_delete(server: Server) -> None:
    made = server.new_container()
    redirects(server, made.url, server.delete(made.url.rstrip("/")))
    expect(server.get(made.url, "container"), {200}, "a container deleted without its slash")


@check("names/create-without-slash", "9.1", "9.2.1", "A CDMI creation of a container without slash is answered 400.")
def create_without_slash(server: Server) -> None:
    server.needs("cdmi_create_container")
    expect(server.put(server.new_url(), "container", {}), {400}, "a new container without slash")


@check("names/object-with-slash", "8.2.1", "8.3.1", "A data object's name can't end in a slash.", Level.SHOULD)
def object_with_slash(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    expect(server.put(server.new_url("/"), "object", {"value": "x"}), {400}, "a new data object with slash")


@check("names/http-slash-decides", "7.1", "7.1", "For plain HTTP the slash tells a container from a data object.")
def http_slash_decides(server: Server) -> None:
    server.needs("cdmi_create_container", "cdmi_create_dataobject")
    container, data = server.new_url("/"), server.new_url()
    expect(server.http("PUT", container), {201}, "a plain PUT with slash")
    expect(server.http("PUT", data, body=b"x"), {201}, "a plain PUT without slash")
    require(server.look(container, "container")["objectType"] == "application/cdmi-container", "no container was made")
    require(server.look(data, "object")["objectType"] == "application/cdmi-object", "no data object was made")


@check("names/reserved", "9.1.2", "9.2.5", "Containers with reserved names can't be made: 400.")
def reserved(server: Server) -> None:
    server.needs("cdmi_create_container")
    for name in RESERVED:
        expect(server.put(f"{server.home.url}{name}/", "container", {}), {400}, f"a new container {name}/")


@check("names/reserved-http", "9.1.2, 7.2.7", "9.2.5, 7.2.7", "Nor by plain HTTP.")
def reserved_http(server: Server) -> None:
    server.needs("cdmi_create_container")
    expect(server.http("PUT", f"{server.home.url}cdmi_snapshots/"), {400}, "a plain new container cdmi_snapshots/")


@check("names/reserved-delete", "9.1.2", "9.2.5", "A reserved container can't be deleted: 400.")
def reserved_delete(server: Server) -> None:
    expect(server.delete(f"{server.root}cdmi_capabilities/"), {400}, "DELETE of cdmi_capabilities/")


@check("names/prefix", "9.1.2", "9.2.5", "A container whose name starts with cdmi_ is refused.")
def prefix(server: Server) -> None:
    server.needs("cdmi_create_container")
    url = f"{server.home.url}cdmi_{secrets.token_hex(4)}/"
    expect(server.put(url, "container", {}), REFUSED, "a new container whose name starts with cdmi_")


@check("names/missing-parent", "8.2.1, 8.2.8", "8.3.1, 8.3.8", "What has no parent can't be made: 404.", Level.SHOULD)
def missing_parent(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    answer = server.put(server.new_url("/x.txt"), "object", {"value": "x"})
    expect(answer, {404}, "a new object in a container that doesn't exist")


@check("names/below-an-object", "8.2.8", "8.3.8", "Nothing can be made below a data object.", Level.SHOULD)
def below_an_object(server: Server) -> None:
    made = server.new_object()
    expect(server.put(f"{made.url}/x.txt", "object", {"value": "x"}), REFUSED, "a new object below a data object")


@check("names/not-found", "8.3.7, 9.3.7", "8.4.7, 9.4.7", "What doesn't exist is answered 404.")
def not_found(server: Server) -> None:
    expect(server.get(server.new_url(".txt"), "object"), {404}, "an object that doesn't exist")
    expect(server.get(server.new_url("/"), "container"), {404}, "a container that doesn't exist")


@check("names/not-found-http", "6.3.7", "6.3.7", "So it is for plain HTTP.")
def not_found_http(server: Server) -> None:
    expect(server.http("GET", server.new_url(".txt")), {404}, "an object that doesn't exist")
    expect(server.http("DELETE", server.new_url(".txt")), {404}, "DELETE of an object that doesn't exist")


@check("names/escaping", "5.13.4", "5.5.4", "Names are escaped in request URIs and stand as they are in JSON.")
def escaping(server: Server) -> None:
    server.needs("cdmi_create_dataobject", "cdmi_list_children")
    parent = server.new_container()
    for name in AWKWARD:
        made = server.make("object", {"value": name}, parent.url + quote(name, safe=""))
        found = made.fields["objectName"]
        require(found == name, f"objectName is {found!r}, expected {name!r}")
        require(server.look(made.url, "object")["value"] == name, f"another object is found at {made.url}")
    listed = server.children(parent.url)
    require(sorted(listed) == sorted(AWKWARD), f"children lists {listed}, expected {list(AWKWARD)}")


@check(
    "names/sources",
    "5.13.4, 8.2.5",
    "5.5.4, 8.3.5",
    "A copy is of the name that JSON has, in which '%' escapes nothing.",
)
def sources(server: Server) -> None:
    server.needs("cdmi_create_dataobject", "cdmi_copy_dataobject")
    parent = server.new_container()
    for name in ("50%41", "50A"):
        named = server.make("object", {"value": name}, parent.url + quote(name, safe=""))
        source = named.fields["parentURI"] + named.fields["objectName"]
        copy = server.make("object", {"copy": source}, server.new_url(".txt"))
        found = server.look(copy.url, "object")["value"]
        require(found == name, f"the copy of {source} is of {found!r}, expected {name!r}")


@check("names/delimiters", "5.13.6", "5.5.6", "Names can't hold '/' or '?', however they are escaped.")
def delimiters(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    answer = server.put(server.home.url + server.name("%3Fx"), "object", {"value": "x"})
    expect(answer, REFUSED, "a name with '?'")


@check("names/dots", "5.13.5", "5.5.5", "'.' and '..' lead out of nothing.", Level.SHOULD)
def dots(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    for name in ("%2e%2e", "..%2f..%2fx", "%2e"):
        answer = server.put(server.home.url + name, "object", {"value": "x"})
        expect(answer, {301, *REFUSED}, f"a name like {name}")


@check("names/parent-uri", "8.2.7, 9.2.7", "8.3.7, 9.3.7", "parentURI followed by objectName is the object's URI.")
def parent_uri(server: Server) -> None:
    for made, kind in ((server.home, "container"), (server.new_object(), "object")):
        fields = server.look(made.url, kind)
        answer = server.follow(fields["parentURI"] + quote(fields["objectName"]), kind)
        expect(answer, {200}, "parentURI and objectName")
        require(document(answer)["objectID"] == fields["objectID"], "they lead to another object", answer)


@check("names/root", "5.13.5", "5.5.5", "The root container says rightly where it lies.")
def root(server: Server) -> None:
    answer = server.get(server.root, "container")
    expect(answer, {200}, "the root container")
    found = document(answer)
    require("parentURI" in found, "the root container has no parentURI", answer)
    if urlsplit(server.root).path == "/":
        require(found["parentURI"] == "", f"parentURI is {found['parentURI']!r}, expected an empty string", answer)
        require("parentID" not in found, "the root container at '/' has a parentID", answer)


@check("names/container-name", "9.2.7", "9.3.7", "A container's objectName ends in a slash, in lists too.")
def container_name(server: Server) -> None:
    parent = server.new_container()
    made = server.new_container(parent)
    name = made.url.rstrip("/").rpartition("/")[2] + "/"
    require(made.fields["objectName"] == name, f"objectName is {made.fields['objectName']!r}, expected {name!r}")
    require(server.children(parent.url) == [name], f"children is {server.children(parent.url)}, expected [{name!r}]")


@check("names/one-name-one-object", "9.1", "9.2.1", "A data object and a container can't share a name.", Level.SHOULD)
def one_name(server: Server) -> None:
    made = server.new_container()
    answer = server.http("PUT", made.url.rstrip("/"), body=b"x", content_type="text/plain")
    expect(answer, {301, *REFUSED}, "a data object with a container's name")
    expect(server.get(made.url, "container"), {200}, "the container")
