"""Collections: listings in each rendering, filters, pages, mixins' members, and unbound paths."""

from __future__ import annotations

from conformance.occi.reader import quote, read
from conformance.occi.server import V11, V12, Sent, Server, identify, suite
from conformance.suite import Exchange, Level, NotApplicable, expect, require

check = suite.check


def empty(server: Server, answer: Exchange) -> bool:
    allowed = {200, 204} if "1.1" in server.versions else {200}
    expect(answer, allowed, "an empty collection")
    return not read(answer).locations


@check(
    "collections/get",
    "GFD.185 §3.4.3; GFD.223 §11.1",
    "Every location of a kind answers with a collection.",
)
def get(server: Server) -> None:
    for kind in server.of_class("kind"):
        if "location" in kind.parameters:
            answer = server.get(server.location_of(kind))
            expect(answer, {200, 204}, f"the collection of {kind.type_identifier}")


@check("collections/mixins-get", "GFD.185 §3.4.3", "Every location of a mixin answers with a collection.")
def mixins_get(server: Server) -> None:
    for mixin in server.of_class("mixin"):
        answer = server.get(server.location_of(mixin))
        expect(answer, {200, 204}, f"the collection of {mixin.type_identifier}")


@check(
    "collections/new-is-listed",
    "GFD.185 §3.4.4",
    "A new instance is in the collection of its kind.",
)
def new_is_listed(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.create(kind)
    require(url in server.listed(server.collection(kind)), f"{url} is not in its kind's collection")


@check(
    "collections/headers",
    "GFD.185 §3.5.5, §3.6.6.2; GFD.229 §7",
    "As text/occi a collection stands in X-OCCI-Location headers and says what text/plain says.",
)
def headers(server: Server) -> None:
    kind = server.a_resource_kind()
    server.shared(kind)
    answer = server.look_at(server.collection(kind), accept="text/occi")
    here = {server.wire.absolute(location) for location in read(answer).locations}
    require(here == set(server.listed(server.collection(kind))), "text/occi lists other instances", answer)


@check(
    "collections/uri-list",
    "GFD.185 §3.6.6.3; GFD.229 §8",
    "As text/uri-list a collection is a URI on each line and says what text/plain says.",
)
def uri_list(server: Server) -> None:
    kind = server.a_resource_kind()
    server.shared(kind)
    answer = server.look_at(server.collection(kind), accept="text/uri-list")
    here = {server.wire.absolute(location) for location in read(answer).locations}
    require(here == set(server.listed(server.collection(kind))), "uri-list lists other instances", answer)


@check(
    "collections/empty",
    "GFD.185 §3.4.3; GFD.223 §11.1",
    "An empty collection is answered 200 without locations (or 204 in 1.1).",
)
def empty_collection(server: Server) -> None:
    _, location = server.user_mixin()
    answer = server.get(location)
    require(empty(server, answer), "a new mixin's collection is not empty", answer)


@check(
    "collections/filter-category",
    "GFD.185 §3.4.3",
    "A category in the request leaves only instances that have it.",
    versions=V11,
)
def filter_category(server: Server) -> None:
    kind = server.a_resource_kind()
    mixin, location = server.user_mixin()
    server.shared(kind)
    url = server.create(kind)
    expect(server.send("POST", location, Sent(locations=(url,))), {200}, "the association with a mixin")
    found = server.filtered(server.collection(kind), Sent((identify(mixin),)))
    require(found == [url], f"the filter leaves {len(found)} instances, expected just {url}")


@check(
    "collections/filter-attribute",
    "GFD.185 §3.4.3; GFD.223 §7.2",
    "An attribute in the request leaves only instances with that value.",
)
def filter_attribute(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    server.shared(kind)
    url = server.create(kind, title=title)
    found = server.filtered(server.collection(kind), Sent(attributes=(f"occi.core.title={quote(title)}",)))
    require(found == [url], f"the filter leaves {len(found)} instances, expected just {url}")


@check(
    "collections/filter-nothing",
    "GFD.185 §3.4.3; GFD.223 §7.2",
    "A filter that nothing matches leaves an empty collection.",
)
def filter_nothing(server: Server) -> None:
    kind = server.a_resource_kind()
    server.shared(kind)
    nobody = Sent(attributes=(f"occi.core.title={quote(server.title() + '-nobody')}",))
    found = server.filtered(server.collection(kind), nobody)
    require(not found, f"a filter that nothing matches leaves {len(found)} instances")


@check(
    "collections/filter-several",
    "GFD.185 §3.4.3",
    "Of several filters all must match.",
    Level.SHOULD,
    V11,
)
def filter_several(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    mixin, location = server.user_mixin()
    tagged, named = server.create(kind), server.create(kind, title=title)
    expect(server.send("POST", location, Sent(locations=(tagged,))), {200}, "the association with a mixin")
    message = Sent((identify(mixin),), (), (f"occi.core.title={quote(title)}",))
    found = server.filtered(server.collection(kind), message)
    require(not found, f"{tagged} has the mixin and {named} the title, but the filter leaves {found}")


@check("collections/filter-malformed", "GFD.185 §3.6.8", "A malformed filter is answered 400.")
def filter_malformed(server: Server) -> None:
    location = server.collection(server.a_resource_kind())
    for message in (Sent(("compute; scheme",)), Sent(attributes=("occi.core.title",)), Sent((";;",))):
        answer = server.send_in_headers("GET", location, message, accept="text/plain")
        expect(answer, {400}, f"the filter {message.fields()[0]}")


@check(
    "collections/associate",
    "GFD.185 §3.4.3; GFD.223 §11.3.2",
    "POST of locations to a mixin's collection associates those instances: 200.",
)
def associate(server: Server) -> None:
    mixin, location = server.user_mixin()
    url = server.create(server.a_resource_kind())
    expect(server.send("POST", location, Sent(locations=(url,))), {200}, "the association with a mixin")
    require(server.listed(location) == [url], "the mixin's collection lacks the instance")
    require(mixin in server.look(url).category_ids(), "the instance doesn't show the mixin")


@check(
    "collections/associate-in-headers",
    "GFD.185 §3.4.3, §3.5; GFD.229 §7",
    "Instances can be associated with text/occi, several in one header.",
)
def associate_in_headers(server: Server) -> None:
    kind = server.a_resource_kind()
    _, location = server.user_mixin()
    urls = [server.create(kind), server.create(kind)]
    answer = server.send_in_headers("POST", location, Sent(locations=(", ".join(urls),)))
    expect(answer, {200}, "the association of two instances in one header")
    require(set(server.listed(location)) == set(urls), "the mixin's collection is another")


@check(
    "collections/associate-atomic",
    "GFD.185 §3.6.4",
    "An association with one unknown location is refused and associates nothing.",
)
def associate_atomic(server: Server) -> None:
    kind = server.a_resource_kind()
    _, location = server.user_mixin()
    good = server.shared(kind)
    bad = server.collection(kind) + "nothing-is-here"
    answer = server.send("POST", location, Sent(locations=(good, bad)))
    expect(answer, {400, 404, 409}, "an association with an unknown location")
    require(not server.listed(location), "part of the refused association was done")


@check(
    "collections/replace",
    "GFD.185 §3.4.3; GFD.223 §11.2",
    "PUT of locations to a mixin's collection makes them its members: 200.",
)
def replace(server: Server) -> None:
    kind = server.a_resource_kind()
    mixin, location = server.user_mixin()
    before, after = server.create(kind), server.create(kind)
    expect(server.send("POST", location, Sent(locations=(before,))), {200}, "the association with a mixin")
    expect(server.send("PUT", location, Sent(locations=(after,))), {200}, "PUT to a mixin's collection")
    require(server.listed(location) == [after], "the collection is not what was put")
    require(mixin not in server.look(before).category_ids(), "the former member still shows the mixin")


@check(
    "collections/dissociate",
    "GFD.185 §3.4.3; GFD.223 §11.4.2",
    "DELETE of locations from a mixin's collection dissociates those and leaves the instances alone.",
)
def dissociate(server: Server) -> None:
    kind = server.a_resource_kind()
    mixin, location = server.user_mixin()
    stays, goes = server.create(kind), server.create(kind)
    answer = server.send("POST", location, Sent(locations=(stays, goes)))
    expect(answer, {200}, "the association of two instances")
    answer = server.send("DELETE", location, Sent(locations=(goes,)))
    expect(answer, {200}, "the dissociation of one")
    require(server.listed(location) == [stays], "the collection is not what should be left")
    require(mixin not in server.look(goes).category_ids(), "the dissociated instance shows the mixin")


@check(
    "collections/dissociate-all",
    "GFD.223 §11.4.2",
    "DELETE of a mixin's collection without a body dissociates all and deletes no instance.",
    versions=V12,
)
def dissociate_all(server: Server) -> None:
    _, location = server.user_mixin()
    url = server.create(server.a_resource_kind())
    expect(server.send("POST", location, Sent(locations=(url,))), {200}, "the association with a mixin")
    expect(server.request("DELETE", location), {200, 204}, "DELETE of a mixin's collection")
    require(server.get(url).status == 200, "the instance was deleted with its mixin's collection")
    require(not server.listed(location), "the collection still has members")


@check(
    "collections/shown-after-change",
    "GFD.223 §11.2, §11.3.2",
    "A change of a mixin's collection is answered with the collection.",
    Level.SHOULD,
    V12,
)
def shown_after_change(server: Server) -> None:
    _, location = server.user_mixin()
    url = server.shared(server.a_resource_kind())
    for method in ("POST", "PUT"):
        answer = server.send(method, location, Sent(locations=(url,)))
        expect(answer, {200}, f"{method} to a mixin's collection")
        shown = [server.wire.absolute(found) for found in read(answer).locations]
        require(url in shown, f"{method} was answered without the collection", answer)


@check(
    "collections/put-kind",
    "GFD.185 §3.2; GFD.223 §11.2",
    "PUT to a kind's collection, which is not defined, is refused.",
    Level.SHOULD,
)
def put_kind(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = server.send("PUT", server.collection(kind), Sent(locations=(server.shared(kind),)))
    expect(answer, {400, 403, 405, 501}, "PUT to a kind's collection")


@check(
    "collections/unbound",
    "GFD.185 §3.4.2",
    "GET on a path above the locations lists what is below: instances, or paths that lead to them.",
    versions=V11,
)
def unbound(server: Server) -> None:
    url = server.shared(server.a_resource_kind())
    answer = server.look_at("/", accept="text/uri-list")
    below = [server.wire.absolute(location) for location in read(answer).locations]
    leads = [found for found in below if found == url or (found.endswith("/") and url.startswith(found))]
    require(leads, f"nothing in the listing of / leads to {url}", answer)


@check(
    "collections/unbound-text",
    "GFD.185 §3.4.2, §3.6.6",
    "A path above the locations is listed as text/plain too.",
    versions=V11,
)
def unbound_text(server: Server) -> None:
    server.shared(server.a_resource_kind())
    answer = server.look_at("/")
    require(read(answer).locations, "the listing of / has no X-OCCI-Location", answer)


def expects_pages(server: Server) -> tuple[str, str, list[str]]:
    """A mixin's collection of three, so that pages can be counted whatever else the server holds."""
    kind = server.a_resource_kind()
    _, location = server.user_mixin()
    urls = [server.create(kind) for _ in range(3)]
    answer = server.send("POST", location, Sent(locations=tuple(urls)))
    expect(answer, {200}, "the association of three instances")
    return kind, location, urls


def page(server: Server, location: str, index: int, number: int) -> list[str]:
    answer = server.get(f"{location}?page={index}&number={number}")
    expect(answer, {200}, f"page {index} of {number}")
    return [server.wire.absolute(found) for found in read(answer).locations]


@check(
    "collections/pages",
    "GFD.223 §6",
    "Pages hold no more than asked for, and together the whole collection, each member once.",
    Level.SHOULD,
    V12,
)
def pages(server: Server) -> None:
    _, location, urls = expects_pages(server)
    found = [page(server, location, index, 2) for index in range(1, 4)]
    first = server.get(f"{location}?page=0&number=2")
    if first.status == 200:
        members = [server.wire.absolute(one) for one in read(first).locations]
        if members != found[0]:
            found.insert(0, members)  # a server that counts from 0; the standard doesn't say
    sizes = [len(members) for members in found]
    require(max(sizes) <= 2, f"pages of 2 have {sizes} members")
    members = [member for members in found for member in members]
    require(sorted(members) == sorted(urls), f"pages of 2 together have {len(members)} members, expected 3")


@check(
    "collections/pages-end",
    "GFD.223 §6",
    "A page beyond the end is 200 and an empty collection.",
    Level.SHOULD,
    V12,
)
def pages_end(server: Server) -> None:
    _, location, _ = expects_pages(server)
    require(not page(server, location, 1000, 2), "a page beyond the end has members")


@check(
    "collections/pages-too-large",
    "GFD.223 §6",
    "A number that is too large is answered 413, if it can't be served.",
    Level.SHOULD,
    V12,
)
def pages_too_large(server: Server) -> None:
    location = server.collection(server.a_resource_kind())
    answer = server.get(f"{location}?page=1&number={10**12}")
    expect(answer, {200, 413}, f"a page of {10**12}")


@check(
    "collections/pages-malformed",
    "GFD.223 §5.4, §6",
    "A page that is no number is answered 400.",
    Level.SHOULD,
    V12,
)
def pages_malformed(server: Server) -> None:
    location = server.collection(server.a_resource_kind())
    expect(server.get(f"{location}?page=one&number=x"), {400}, "?page=one&number=x")


@check(
    "collections/unknown",
    "GFD.185 §3.6.8",
    "A path where nothing is and nothing is bound is answered 404.",
    Level.SHOULD,
)
def unknown(server: Server) -> None:
    answer = server.get(f"/{server.prefix}-nowhere/")
    if answer.status == 204:
        raise NotApplicable("the server answers any path with an empty collection")
    expect(answer, {404}, "an unknown path")
