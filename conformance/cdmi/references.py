"""References: names that lead elsewhere."""

from __future__ import annotations

from conformance.cdmi.fields import Fields
from conformance.cdmi.server import CHANGED, GONE, MADE, Server, Thing, check
from conformance.suite import Exchange, expect, require


def reference(server: Server) -> tuple[str, Thing]:
    """A new reference's URL, and what it leads to."""
    server.needs_system("cdmi_references")
    server.needs("cdmi_create_reference")
    target = server.new_object("at the end of the road")
    url = server.new_url(".ref")
    expect(server.put(url, "object", {"reference": target.url}), MADE, "a new reference")
    return url, target


def redirects(answer: Exchange, target: str) -> None:
    expect(answer, {302}, "a request to a reference")
    found = answer.header("location")
    require(found == target, f"Location is {found!r}, expected {target!r}", answer)


@check("references/redirect", "5.16", "5.8", "A reference is answered 302 with the URI that it was given.")
def redirect(server: Server) -> None:
    url, target = reference(server)
    redirects(server.get(url, "object"), target.url)


@check("references/redirect-http", "5.16, 6.3.7", "5.8, 6.3.7", "So it is for plain HTTP.")
def redirect_http(server: Server) -> None:
    url, target = reference(server)
    redirects(server.http("GET", url), target.url)


@check(
    "references/update", "5.16, 8.4.7", "5.8, 8.5.7", "An update of a reference is answered 302 and changes nothing."
)
def update(server: Server) -> None:
    url, target = reference(server)
    redirects(server.update(url, "object", {"value": "changed"}), target.url)
    require(server.look(target.url, "object")["value"] == "at the end of the road", "the target was changed")


@check("references/listed", "5.16", "5.8", "A reference is listed with a question mark after its name.")
def listed(server: Server) -> None:
    server.needs("cdmi_list_children")
    url, _ = reference(server)
    name = url.rpartition("/")[2] + "?"
    found = server.children(server.home.url)
    require(name in found, f"children is {found}, expected {name!r} in it")


@check("references/elsewhere", "5.16", "5.8", "A reference may lead to another cloud.")
def elsewhere(server: Server) -> None:
    server.needs_system("cdmi_references")
    server.needs("cdmi_create_reference")
    url, target = server.new_url(".ref"), "http://cloud.example.com/elsewhere.txt"
    expect(server.put(url, "object", {"reference": target}), MADE, "a new reference to elsewhere")
    redirects(server.get(url, "object"), target)


@check("references/delete", "5.16", "5.8", "DELETE removes the reference and leaves its target.")
def delete(server: Server) -> None:
    url, target = reference(server)
    expect(server.delete(url), {204}, "DELETE of a reference")
    expect(server.get(url, "object"), GONE, "a deleted reference")
    expect(server.get(target.url, "object"), {200}, "the target of a deleted reference")


@check("references/alone", "8.2.5", "8.3.5", "A reference is made with no other field: else 400.")
def alone(server: Server) -> None:
    server.needs_system("cdmi_references")
    server.needs("cdmi_create_reference")
    others: tuple[Fields, ...] = ({"metadata": {}}, {"value": "x"}, {"mimetype": "text/plain"})
    for other in others:
        sent = {"reference": "http://cloud.example.com/x", **other}
        expect(server.put(server.new_url(".ref"), "object", sent), {400}, f"a reference with {sorted(other)}")


@check("references/container", "9.2.5", "9.3.5", "A reference can stand for a container.")
def container(server: Server) -> None:
    server.needs_system("cdmi_references")
    server.needs("cdmi_create_reference")
    target = server.new_container()
    url = server.new_url("/")
    expect(server.put(url, "container", {"reference": target.url}), MADE, "a new reference to a container")
    redirects(server.get(url, "container"), target.url)
    expect(server.delete(url), CHANGED, "DELETE of the reference")
    expect(server.get(target.url, "container"), {200}, "the target of a deleted reference")
