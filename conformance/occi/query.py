"""The query interface: discovery, its filter, its well-known mirror, and users' mixins."""

from __future__ import annotations

from conformance.occi.reader import Rendering, read
from conformance.occi.server import BOTH, CORE, V11, V12, Sent, Server, identify, suite
from conformance.suite import Level, NotApplicable, expect, require

check = suite.check
WELL_KNOWN = "/.well-known/org/ogf/occi/-/"


def a_category(server: Server) -> str:
    """Some kind that can be instantiated: compute if it is there."""
    kinds = [kind.type_identifier for kind in server.of_class("kind") if "location" in kind.parameters]
    require(kinds, "the query interface lists no kind with a location")
    return next((kind for kind in kinds if kind.endswith("#compute")), kinds[0])


def filter_by(server: Server, *identifiers: str) -> Rendering:
    message = Sent(tuple(identify(identifier) for identifier in identifiers))
    answer = server.send_in_headers("GET", "/-/", message, accept="text/plain")
    expect(answer, {200}, "the query interface with a filter")
    return read(answer)


@check("query/get", "GFD.185 §3.4.1; GFD.223 §9.1", "GET on /-/ lists kinds, mixins and actions.")
def get(server: Server) -> None:
    answer = server.get("/-/")
    expect(answer, {200}, "the query interface")
    classes = {category.parameters.get("class") for category in read(answer).categories}
    require("kind" in classes, "the query interface lists no kind", answer)


@check("query/well-known", "GFD.185 §3.6.7; GFD.223 §9", "The well-known path mirrors /-/ exactly.")
def well_known(server: Server) -> None:
    mirror = server.get(WELL_KNOWN)
    if mirror.status in (401, 403, 404, 405, 501):
        raise NotApplicable("the server doesn't advertise the well-known path")
    original = server.get("/-/")
    same = (mirror.status, mirror.body) == (original.status, original.body)
    require(same, "the well-known path answers other than /-/ does", mirror)


@check("query/base-kinds", "GFD.183 §4.5; GFD.221 §5.3.9, §5.4", "The kinds resource and link are listed.")
def base_kinds(server: Server) -> None:
    for term in ("entity", "resource", "link"):
        require(server.find(CORE + term), f"the query interface lacks the kind {CORE}{term}")


@check(
    "query/unique-identifiers",
    "GFD.183 §4.4.1; GFD.221 §5.3.1",
    "No two categories share scheme and term.",
)
def unique_identifiers(server: Server) -> None:
    identifiers = [category.type_identifier for category in server.categories]
    twice = sorted({one for one in identifiers if identifiers.count(one) > 1})
    require(not twice, f"listed more than once: {', '.join(twice)}", server.get("/-/"))


@check(
    "query/locations",
    "GFD.185 §3.3.1",
    "Every kind that can be instantiated and every mixin has a location, which ends in '/'.",
)
def locations(server: Server) -> None:
    answer = server.get("/-/")
    for category in read(answer).categories:
        kind_or_mixin = category.parameters.get("class") in ("kind", "mixin")
        if not kind_or_mixin or category.parameters.get("scheme") == CORE:
            continue
        location = category.parameters.get("location", "")
        require(
            location.endswith("/"),
            f"{category.type_identifier} has location {location!r}, expected a path that ends in '/'",
            answer,
        )


@check("query/unique-locations", "GFD.223 §4", "No two categories share a location.", versions=V12)
def unique_locations(server: Server) -> None:
    found = [c.parameters["location"] for c in server.categories if "location" in c.parameters]
    twice = sorted({one for one in found if found.count(one) > 1})
    require(not twice, f"several categories at {', '.join(twice)}", server.get("/-/"))


@check("query/entity-unbound", "GFD.223 §4", "The kind entity has no location.", versions=V12)
def entity_unbound(server: Server) -> None:
    entity = server.find(CORE + "entity")
    if entity is None:
        raise NotApplicable("the server doesn't list the kind entity")
    require("location" not in entity.parameters, "the kind entity has a location", server.get("/-/"))


@check(
    "query/parents",
    "GFD.183 §4.4.2; GFD.221 §5.3.3",
    "Every kind but entity is related, directly or not, to entity.",
)
def parents(server: Server) -> None:
    known = {kind.type_identifier: kind.parameters.get("rel", "") for kind in server.of_class("kind")}
    answer = server.get("/-/")
    for identifier in known:
        at, seen = identifier, set[str]()
        while at != CORE + "entity":
            require(at not in seen, f"the parents of {identifier} go round in a circle", answer)
            seen.add(at)
            is_base = at in (CORE + "resource", CORE + "link")
            parent = known.get(at) or (CORE + "entity" if is_base and at not in known else "")
            require(parent, f"{identifier} is not related to {CORE}entity: {at} has no parent", answer)
            at = parent


@check(
    "query/actions-listed",
    "GFD.185 §3.4.1; GFD.221 §5.3.9",
    "Every action that a kind or mixin names is itself listed.",
)
def actions_listed(server: Server) -> None:
    listed = {action.type_identifier for action in server.of_class("action")}
    for category in server.categories:
        missing = [action for action in category.words("actions") if action not in listed]
        require(
            not missing,
            f"{category.type_identifier} names {', '.join(missing)}, not in the query interface",
            server.last_exchange,
        )


@check("query/filter", "GFD.185 §3.4.1", "A category in the request leaves only that one.", versions=V11)
def filter_one(server: Server) -> None:
    wanted = a_category(server)
    found = [category.type_identifier for category in filter_by(server, wanted).categories]
    require(found == [wanted], f"the filter {wanted} leaves {len(found)} categories, expected that one")


@check(
    "query/filter-complete",
    "GFD.185 §3.4.1",
    "What the filter leaves is rendered completely.",
    versions=V11,
)
def filter_complete(server: Server) -> None:
    wanted = a_category(server)
    found = filter_by(server, wanted).categories
    whole = server.find(wanted)
    same = found and whole and found[0].parameters == whole.parameters
    require(same, f"{wanted} is rendered otherwise with a filter than without")


@check(
    "query/filter-several",
    "GFD.185 §3.4.1",
    "Several categories in the request leave just those.",
    versions=V11,
)
def filter_several(server: Server) -> None:
    wanted = [kind.type_identifier for kind in server.of_class("kind")][-2:]
    found = filter_by(server, *wanted).category_ids()
    require(found == set(wanted), f"a filter by {' and '.join(wanted)} leaves {len(found)} categories")


@check(
    "query/filter-header",
    "GFD.185 §3.4.1, §3.6.6.2",
    "Filtered by one category, the text/occi answer holds one Category value without any comma.",
    Level.SHOULD,
)
def filter_header(server: Server) -> None:
    answer = server.send_in_headers("GET", "/-/", Sent((identify(a_category(server)),)))
    expect(answer, {200}, "the query interface with a filter")
    value = answer.header("category")
    require(value and "," not in value, "the Category header has a comma, expected one plain value", answer)


@check("query/filter-malformed", "GFD.185 §3.6.8", "A malformed filter is answered 400.")
def filter_malformed(server: Server) -> None:
    for value in ("compute", 'compute; scheme="http://schemas.ogf.org/occi/infrastructure#', ";;;"):
        answer = server.send_in_headers("GET", "/-/", Sent((value,)), accept="text/plain")
        expect(answer, {400}, f"the filter Category: {value}")


@check(
    "query/filter-unknown",
    "GFD.185 §3.6.8",
    "A filter by an unknown category is answered 404.",
    Level.SHOULD,
    V11,
)
def filter_unknown(server: Server) -> None:
    unknown = Sent((identify("http://conformance.example.com/nowhere#nothing"),))
    answer = server.send_in_headers("GET", "/-/", unknown, accept="text/plain")
    expect(answer, {404}, "a filter by a category that does not exist")


@check(
    "query/put",
    "GFD.185 §3.2; GFD.223 §9.2",
    "PUT, which is not defined on the query interface, is refused.",
    Level.SHOULD,
)
def put(server: Server) -> None:
    answer = server.send("PUT", "/-/", Sent((identify(a_category(server), "kind"),)))
    expect(answer, {400, 403, 405, 501}, "PUT on the query interface")


@check("query/mixin-add", "GFD.185 §3.4.1; GFD.223 §9.3", "A user's mixin is added with 200 and then listed.")
def mixin_add(server: Server) -> None:
    identifier, location = server.user_mixin()
    listing = server.get("/-/")
    mixin = next((c for c in read(listing).categories if c.type_identifier == identifier), None)
    require(mixin, f"the new mixin {identifier} is not listed", listing)
    if mixin is not None:
        require(mixin.parameters.get("class") == "mixin", "the new mixin is not of class mixin", listing)
        there = server.wire.absolute(mixin.parameters.get("location", ""))
        require(there == location, f"the new mixin is at {there}, expected {location}", listing)


@check(
    "query/mixin-add-in-headers",
    "GFD.185 §3.4.1, §3.6.6.2",
    "A user's mixin can be added with text/occi.",
)
def mixin_add_in_headers(server: Server) -> None:
    server.user_mixin()
    identifier = f"http://conformance.example.com/{server.prefix}#headers"
    server._mixins.append(identifier)
    value = f'{identify(identifier, "mixin")}; location="/{server.prefix}-headers/"'
    answer = server.send_in_headers("POST", "/-/", Sent((value,)))
    expect(answer, {200}, "a new mixin of a user, in headers")
    require(server.find(identifier) or identifier in read(server.get("/-/")).category_ids(), "it is not listed")


@check(
    "query/mixin-related",
    "GFD.185 §3.4.1",
    "A user's mixin may name in rel a category that the server doesn't know.",
    Level.SHOULD,
    V11,
)
def mixin_related(server: Server) -> None:
    server.user_mixin()
    identifier = f"http://conformance.example.com/{server.prefix}#related"
    extra = '; rel="http://conformance.example.com/elsewhere#mixin"'
    answer = server.add_mixin(identifier, f"/{server.prefix}-related/", extra)
    expect(answer, {200}, "a new mixin with a foreign rel")


@check(
    "query/mixin-incomplete",
    "GFD.185 §3.4.1, §3.6.8",
    "A user's mixin without scheme or location is answered 400.",
)
def mixin_incomplete(server: Server) -> None:
    server.user_mixin()
    for value in (
        f'{server.prefix}; scheme="http://conformance.example.com/x#"; class="mixin"',
        f'{server.prefix}; class="mixin"; location="/{server.prefix}-incomplete/"',
    ):
        answer = server.send("POST", "/-/", Sent((value,)))
        expect(answer, {400}, f"the incomplete mixin Category: {value}")


@check("query/mixin-none", "GFD.223 §9.3; GFD.185 §3.6.8", "POST on /-/ without any category is answered 400.")
def mixin_none(server: Server) -> None:
    server.user_mixin()
    answer = server.send("POST", "/-/", Sent(attributes=('a.b="c"',)))
    expect(answer, {400}, "POST on the query interface without a category")


@check(
    "query/mixin-remove",
    "GFD.185 §3.4.1; GFD.223 §9.4",
    "A user's mixin is removed with 200 and no longer listed.",
)
def mixin_remove(server: Server) -> None:
    identifier, _ = server.user_mixin()
    expect(server.remove_mixin(identifier), {200}, "the removal of a user's mixin")
    listing = server.get("/-/")
    require(identifier not in read(listing).category_ids(), "the removed mixin is still listed", listing)


@check(
    "query/mixin-remove-dissociates",
    "GFD.185 §3.4.1",
    "With a user's mixin all its associations with instances go.",
    versions=BOTH,
)
def mixin_remove_dissociates(server: Server) -> None:
    identifier, location = server.user_mixin()
    instance = server.shared(server.a_resource_kind())
    expect(server.send("POST", location, Sent(locations=(instance,))), {200}, "the association with a mixin")
    expect(server.remove_mixin(identifier), {200}, "the removal of a user's mixin")
    rendering = server.look(instance)
    require(identifier not in rendering.category_ids(), "the instance still shows the removed mixin")


@check("query/mixin-remove-provider", "GFD.185 §3.4.1", "To remove a provider's mixin is answered 403.")
def mixin_remove_provider(server: Server) -> None:
    ours = server.of_class("mixin")
    if not ours:
        raise NotApplicable("the server has no mixins of its own")
    answer = server.send("DELETE", "/-/", Sent((identify(ours[0].type_identifier, "mixin"),)))
    expect(answer, {403}, f"the removal of the provider's mixin {ours[0].type_identifier}")


@check(
    "query/mixin-remove-unknown",
    "GFD.185 §3.6.8",
    "To remove a mixin that doesn't exist is answered 404.",
    Level.SHOULD,
)
def mixin_remove_unknown(server: Server) -> None:
    unknown = identify("http://conformance.example.com/nowhere#nothing", "mixin")
    expect(server.send("DELETE", "/-/", Sent((unknown,))), {404, 405, 501}, "an unknown mixin's removal")
