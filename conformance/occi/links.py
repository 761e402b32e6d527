"""Links: made on their own or inside a resource, shown, changed and removed with their ends."""

from __future__ import annotations

from dataclasses import replace

from conformance.occi.entities import GONE, REFUSED, post
from conformance.occi.reader import Value, quote, read
from conformance.occi.server import INFRASTRUCTURE, V11, Sent, Server, identify, suite
from conformance.suite import Exchange, Level, expect, require

check = suite.check
KIND = "networkinterface"


def ends(server: Server) -> tuple[str, str]:
    """A compute of the check's own and the shared network; not applicable if links can't be made here."""
    server.kind(KIND)
    server.kind("network")
    return server.create("compute"), server.shared("network")


def shown(server: Server, compute: str) -> list[Value]:
    return server.look(compute).entity_links()


def same(server: Server, location: str, url: str) -> bool:
    return server.wire.absolute(location) == url


def shows(server: Server, compute: str, link: str) -> bool:
    return any(same(server, value.parameters.get("self", ""), link) for value in shown(server, compute))


def inline(server: Server) -> tuple[Exchange, str]:
    server.kind(KIND)
    target = server.shared("network")
    path = "/" + target.split("://", 1)[1].partition("/")[2]
    value = f'<{path}>; rel="{INFRASTRUCTURE}network"; category="{INFRASTRUCTURE}{KIND}"'
    answer = post(server, replace(server.minimal("compute"), links=(value,)), "compute")
    return answer, target


@check(
    "links/create",
    "GFD.185 §3.4.5; GFD.184 §3.4.1",
    "POST of kind, source and target to a link's location makes a link, which shows both ends.",
)
def create(server: Server) -> None:
    compute, network = ends(server)
    link = server.link(KIND, compute, network)
    answer = server.look_at(link)
    attributes = read(answer).attributes
    for name, end in (("occi.core.source", compute), ("occi.core.target", network)):
        found = attributes.get(name, "")
        require(found and same(server, found, end), f"{name} is {found!r}, expected {end}", answer)


@check(
    "links/create-by-path",
    "GFD.185 §3.4.5, §3.5.5",
    "Source and target may be paths as well as absolute URIs.",
)
def create_by_path(server: Server) -> None:
    compute, network = ends(server)
    paths = ["/" + url.split("://", 1)[1].partition("/")[2] for url in (compute, network)]
    link = server.link(KIND, *paths)
    found = server.look(link).attributes.get("occi.core.source", "")
    require(same(server, found, compute), f"occi.core.source is {found!r}, expected {compute}")


@check(
    "links/kind",
    "GFD.185 §3.4.5; GFD.221 §5.4.3",
    "A link shows exactly its own kind and is in that kind's collection.",
)
def kind(server: Server) -> None:
    link = server.link(KIND, *ends(server))
    answer = server.look_at(link)
    kinds = [value.type_identifier for value in read(answer).kinds()]
    require(kinds == [INFRASTRUCTURE + KIND], f"the link shows the kinds {kinds}", answer)
    require(link in server.listed(server.collection(KIND)), "the collection of links lacks it")


@check(
    "links/in-resource",
    "GFD.185 §3.4.5, §3.5.2; GFD.229 §5.1.1",
    "A resource shows the links that start at it, with target, self and category.",
)
def in_resource(server: Server) -> None:
    compute, network = ends(server)
    link = server.link(KIND, compute, network)
    answer = server.look_at(compute)
    mine = [v for v in read(answer).entity_links() if same(server, v.parameters.get("self", ""), link)]
    require(mine, f"the source doesn't show the link {link}", answer)
    require(same(server, mine[0].head, network), f"the link's target is {mine[0].head}", answer)
    require(INFRASTRUCTURE + KIND in mine[0].words("category"), "the link's category is another", answer)
    require(INFRASTRUCTURE + "network" in mine[0].words("rel"), "the link's rel is another", answer)


@check(
    "links/outward",
    "GFD.185 §3.4.5",
    "A resource shows no link that ends at it.",
    Level.SHOULD,
)
def outward(server: Server) -> None:
    compute, network = ends(server)
    server.link(KIND, compute, network)
    require(not shown(server, network), "the target shows the link")


@check(
    "links/inline",
    "GFD.185 §3.4.5, §3.5.2; GFD.229 §4.2",
    "A Link in the creation of a resource makes that link too.",
)
def inline_creation(server: Server) -> None:
    answer, target = inline(server)
    compute = server.made(answer, "compute with a link")
    found = [value for value in shown(server, compute) if same(server, value.head, target)]
    require(found, f"the compute shows no link to {target}")
    link = found[0].parameters.get("self", "")
    require(link, "the link has no self", answer)
    source = server.look(server.wire.absolute(link)).attributes.get("occi.core.source", "")
    require(same(server, source, compute), f"the link's source is {source!r}, expected {compute}")


@check(
    "links/inline-location",
    "GFD.185 §3.4.5",
    "Of a resource made with links only the resource's Location is answered.",
)
def inline_location(server: Server) -> None:
    answer, _ = inline(server)
    compute = server.made(answer, "compute with a link")
    require(len(answer.header_values("location")) == 1, "more than one Location", answer)
    kinds = {value.type_identifier for value in server.look(compute).kinds()}
    require(kinds == {INFRASTRUCTURE + "compute"}, f"Location leads to {kinds}", answer)


@check(
    "links/inline-unknown",
    "GFD.185 §3.6.4, §3.6.8",
    "A resource with a link to nothing is refused and not made.",
)
def inline_unknown(server: Server) -> None:
    server.kind(KIND)
    before = set(server.listed(server.collection("compute")))
    nowhere = server.collection("network") + "nothing-is-here"
    value = f'<{nowhere}>; rel="{INFRASTRUCTURE}network"; category="{INFRASTRUCTURE}{KIND}"'
    answer = post(server, replace(server.minimal("compute"), links=(value,)), "compute")
    expect(answer, {400, 403, 404, 409}, "a compute with a link to nothing")
    left = set(server.listed(server.collection("compute"))) - before
    server._made += left
    require(not left, "the refused compute was made nevertheless", answer)


@check(
    "links/ends-missing",
    "GFD.185 §3.4.5, §3.6.8",
    "A link without source or without target is answered 400.",
)
def ends_missing(server: Server) -> None:
    compute, network = ends(server)
    kind_only = server.minimal(KIND)
    for attribute in (f"occi.core.source={quote(compute)}", f"occi.core.target={quote(network)}"):
        answer = post(server, replace(kind_only, attributes=(*kind_only.attributes, attribute)), KIND)
        expect(answer, {400}, f"a link with {attribute.partition('=')[0]} only")


@check(
    "links/source-unknown",
    "GFD.183 §4.5.3; GFD.221 §5.4.3",
    "A link whose source doesn't exist is refused.",
)
def source_unknown(server: Server) -> None:
    _, network = ends(server)
    message = server.minimal(KIND)
    nowhere = server.collection("compute") + "nothing-is-here"
    both = (f"occi.core.source={quote(nowhere)}", f"occi.core.target={quote(network)}")
    answer = post(server, replace(message, attributes=(*message.attributes, *both)), KIND)
    expect(answer, {400, 404, 409}, "a link from nothing")


@check(
    "links/update-with-link",
    "GFD.185 §3.4.4",
    "An update of a link with a Link in it is refused.",
    versions=V11,
)
def update_with_link(server: Server) -> None:
    compute, network = ends(server)
    link = server.link(KIND, compute, network)
    value = f'<{network}>; rel="{INFRASTRUCTURE}network"; category="{INFRASTRUCTURE}{KIND}"'
    expect(server.send("POST", link, Sent(links=(value,))), REFUSED, "a Link in the update of a link")


@check(
    "links/update",
    "GFD.185 §3.4.4",
    "A link is updated like any instance.",
)
def update(server: Server) -> None:
    link = server.link(KIND, *ends(server))
    title = server.title()
    answer = server.send("POST", link, Sent(attributes=(f"occi.core.title={quote(title)}",)))
    expect(answer, {200, 201}, "a partial update of a link")
    found = server.look(link).attributes.get("occi.core.title")
    require(found == title, f"the link's title is {found!r}, expected {title!r}")


@check(
    "links/delete",
    "GFD.185 §3.4.4; GFD.223 §10.4",
    "A link can be deleted, and its source no longer shows it; both ends stay.",
)
def delete(server: Server) -> None:
    compute, network = ends(server)
    link = server.link(KIND, compute, network)
    expect(server.request("DELETE", link), {200, 202, 204}, "DELETE of a link")
    server.wait_until(lambda: server.get(link).status in GONE, f"{link} is gone")
    server.wait_until(lambda: not shows(server, compute, link), f"{compute} no longer shows {link}")
    require(server.get(network).status == 200, "the link's target went with it")


@check(
    "links/deleted-with-source",
    "GFD.183 §4.5.2; GFD.221 §5.4.2",
    "With a resource the links that start at it go.",
)
def deleted_with_source(server: Server) -> None:
    compute, network = ends(server)
    link = server.link(KIND, compute, network)
    expect(server.request("DELETE", compute), {200, 202, 204}, "DELETE of the source")
    server.wait_until(lambda: server.get(link).status in GONE, f"{link} is gone with its source")


@check(
    "links/add-by-update",
    "GFD.185 §3.4.4",
    "A Link in the update of a resource adds that link.",
    Level.SHOULD,
)
def add_by_update(server: Server) -> None:
    compute, network = ends(server)
    value = f'<{network}>; rel="{INFRASTRUCTURE}network"; category="{INFRASTRUCTURE}{KIND}"'
    before = len(shown(server, compute))
    answer = server.send("POST", compute, Sent((identify(INFRASTRUCTURE + "compute", "kind"),), (value,)))
    expect(answer, {200, 201}, "a Link in the update of a resource")
    require(len(shown(server, compute)) == before + 1, "the resource shows no new link after the update")
