"""Instances: creation, retrieval, partial and full update, deletion, and what must be refused."""

from __future__ import annotations

from dataclasses import replace

from conformance.occi.query import a_category
from conformance.occi.reader import quote, read
from conformance.occi.server import INFRASTRUCTURE, TARGETS, V11, V12, Sent, Server, identify, suite
from conformance.suite import Exchange, Level, NotApplicable, expect, require

check = suite.check
GONE = {404, 410}
REFUSED = {400, 403, 404, 405, 406, 409, 413, 415, 422, 431}
MALFORMED_BODIES = (
    b"Category",
    b"Category: ",
    b'Category: compute; scheme="http://schemas.ogf.org/occi/infrastructure#',
    b"no colon in this line",
    b"X-OCCI-Attribute: =1\r\n",
    b"\x00\x01\x02\x03",
    b"\xff\xfe\xfd",
)


def shows(server: Server, url: str, name: str, wanted: str) -> None:
    answer = server.look_at(url)
    found = read(answer).attributes.get(name)
    require(found == wanted, f"{name} is {found!r}, expected {wanted!r}", answer)


def updated(answer: Exchange, what: str) -> None:
    """A 200 carries the whole representation, a 201 the Location."""
    expect(answer, {200, 201}, what)
    if answer.status == 201:
        require(answer.header("location"), f"{what}: 201 without Location", answer)


def post(server: Server, message: Sent, kind: str) -> Exchange:
    return server.send("POST", server.collection(kind), message)


@check(
    "entities/create",
    "GFD.185 §3.4.4; GFD.223 §11.3.1",
    "POST to a kind's location makes an instance: 201 with Location, or 200 with its representation.",
)
def create(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = post(server, server.minimal(kind), kind)
    expect(answer, {200, 201}, f"a well-formed request for a new {kind}")
    if answer.status == 201:
        require(answer.header("location"), "201 without Location", answer)
    else:
        require(read(answer).kinds() or answer.header("location"), "200 without representation", answer)


@check(
    "entities/create-location",
    "GFD.185 §3.4.4; GFD.223 §11.3.1",
    "The new instance's Location leads to it, and doesn't end in '/'.",
)
def create_location(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    url = server.create(kind, title=title)
    require(not url.endswith("/"), f"the Location {url} ends in '/'")
    shows(server, url, "occi.core.title", title)


@check(
    "entities/create-in-headers",
    "GFD.185 §3.4.4, §3.6.6.2; GFD.229 §7",
    "An instance can be made with text/occi.",
)
def create_in_headers(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    answer = server.send_in_headers("POST", server.collection(kind), server.minimal(kind, title))
    shows(server, server.made(answer, kind), "occi.core.title", title)


@check(
    "entities/create-compute",
    "GFD.185 §3.4.4; GFD.184 §3.1",
    "A compute can be made with the least that the query interface asks for.",
)
def create_compute(server: Server) -> None:
    server.look(server.shared("compute"))


@check(
    "entities/create-no-kind",
    "GFD.185 §3.4.4",
    "A creation that names no kind is answered 400.",
)
def create_no_kind(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    answer = post(server, replace(message, categories=message.categories[1:]), kind)
    expect(answer, {400}, "a creation without a kind")


@check(
    "entities/create-two-kinds",
    "GFD.185 §3.4.4",
    "A creation that names two kinds is answered 400.",
)
def create_two_kinds(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    other = next(
        (
            value.type_identifier
            for value in server.of_class("kind")
            if "location" in value.parameters and value.type_identifier != INFRASTRUCTURE + kind
        ),
        None,
    )
    if other is None:
        raise NotApplicable("the server has one kind only")
    answer = post(server, replace(message, categories=(*message.categories, identify(other, "kind"))), kind)
    expect(answer, {400, 409}, "a creation with two kinds")


@check(
    "entities/create-unknown-kind",
    "GFD.185 §3.6.8",
    "A creation of a kind that doesn't exist is refused with 404 or 400.",
)
def create_unknown_kind(server: Server) -> None:
    kind = server.a_resource_kind()
    unknown = identify("http://conformance.example.com/nowhere#nothing", "kind")
    answer = post(server, replace(server.minimal(kind), categories=(unknown,)), kind)
    expect(answer, {400, 404}, "a creation of an unknown kind")


@check(
    "entities/create-unknown-mixin",
    "GFD.185 §3.6.8",
    "A creation with a mixin that doesn't exist is refused with 404 or 400.",
)
def create_unknown_mixin(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    unknown = identify("http://conformance.example.com/nowhere#nothing", "mixin")
    answer = post(server, replace(message, categories=(*message.categories, unknown)), kind)
    expect(answer, {400, 404}, "a creation with an unknown mixin")


@check(
    "entities/create-inapplicable-mixin",
    "GFD.185 §3.6.8; GFD.221 §5.3.4",
    "A mixin that can't be applied to a kind is refused with 403, 400 or 409.",
)
def create_inapplicable_mixin(server: Server) -> None:
    wrong = "http://schemas.ogf.org/occi/infrastructure/network#ipnetwork"
    server.kind("storage")
    if server.find(wrong) is None:
        raise NotApplicable("the server has no mixin ipnetwork")
    message = server.minimal("storage")
    message = replace(message, categories=(*message.categories, identify(wrong, "mixin")))
    expect(post(server, message, "storage"), {400, 403, 409}, "a storage with the mixin ipnetwork")


@check(
    "entities/create-elsewhere",
    "GFD.185 §3.4.4",
    "A creation at the location of another kind is refused.",
)
def create_elsewhere(server: Server) -> None:
    kind = server.a_resource_kind()
    other = next((term for term in ("storage", "compute") if server.find(INFRASTRUCTURE + term)), kind)
    if other == kind:
        raise NotApplicable("the server has one kind only")
    answer = server.send("POST", server.collection(other), server.minimal(kind))
    expect(answer, {400, 403, 404, 409}, f"a {kind} at the location of {other}")


@check(
    "entities/create-missing-required",
    "GFD.185 §3.5.1, §3.6.8; GFD.221 §5.3.2",
    "A creation without an attribute that is required is answered 400.",
)
def create_missing_required(server: Server) -> None:
    for term in ("storage", "compute", "network"):
        kind = server.find(INFRASTRUCTURE + term)
        if kind is None or not server.required_attributes(kind):
            continue
        missing = server.required_attributes(kind)[0]
        message = server.minimal(term)
        kept = tuple(a for a in message.attributes if a.partition("=")[0] != missing)
        answer = post(server, replace(message, attributes=kept), term)
        expect(answer, {400}, f"a {term} without {missing}")
        return
    raise NotApplicable("no kind has a required attribute")


@check(
    "entities/create-unknown-attribute",
    "GFD.185 §3.6.8",
    "A creation with an attribute that nothing defines is refused with 404 or 400.",
    Level.SHOULD,
)
def create_unknown_attribute(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    answer = post(server, replace(message, attributes=(*message.attributes, 'com.example.nothing="x"')), kind)
    expect(answer, {400, 404}, "a creation with an unknown attribute")


@check(
    "entities/create-wrong-type",
    "GFD.185 §3.6.8",
    "A creation with a value that is not of the attribute's type is answered 400.",
)
def create_wrong_type(server: Server) -> None:
    bad = {
        "compute": 'occi.compute.cores="many"',
        "storage": 'occi.storage.size="big"',
        "network": 'occi.network.vlan="red"',
    }
    for term, attribute in bad.items():
        if server.find(INFRASTRUCTURE + term):
            message = server.minimal(term)
            name = attribute.partition("=")[0]
            kept = tuple(a for a in message.attributes if a.partition("=")[0] != name)
            answer = post(server, replace(message, attributes=(*kept, attribute)), term)
            expect(answer, {400}, f"a {term} with {attribute}")


@check(
    "entities/create-immutable",
    "GFD.183 §4.3; GFD.221 §5.2",
    "A client can't set an immutable attribute when it makes an instance.",
)
def create_immutable(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    name = f"occi.{kind}.state"
    answer = post(server, replace(message, attributes=(*message.attributes, f'{name}="degraded"')), kind)
    if answer.status in (200, 201):
        found = server.look(server.made(answer, kind)).attributes.get(name)
        require(found != "degraded", f"{name} was taken from the client", answer)
    else:
        expect(answer, {400, 403}, f"a creation with {name}")


@check(
    "entities/malformed",
    "GFD.185 §3.6.8; GFD.223 §5.4",
    "What can't be parsed is answered 400.",
)
def malformed(server: Server) -> None:
    kind = server.a_resource_kind()
    for body in MALFORMED_BODIES:
        answer = server.request("POST", server.collection(kind), content_type="text/plain", body=body)
        expect(answer, {400}, f"the body {body!r}")
    for value in ("", "network", '"; scheme="x"', 'a;scheme="b";class="c";;;='):
        answer = server.send_in_headers("POST", server.collection(kind), Sent((value,)))
        expect(answer, {400, 404}, f"the header Category: {value}")


@check(
    "entities/hostile",
    "GFD.185 §3.6.8; GFD.223 §5.4",
    "Values out of measure are refused or taken, but never break the server (no 5xx).",
)
def hostile(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    for attribute in (
        f'occi.core.title="{"x" * 20_000}"',
        f"occi.core.title={'9' * 5_000}",
        'occi.core.title="\x7f\x1b[31m"',
        "occi.core.title=" + "\\" * 2_000,
        'occi.core.summary="' + '\\"' * 3_000 + '"',
        "occi.core.title=1e999",
        'occi.core.id="../../../etc/passwd"',
    ):
        answer = post(server, replace(message, attributes=(*message.attributes[1:], attribute)), kind)
        require(answer.status < 500, f"{attribute[:60]}… was answered {answer.status}", answer)
    for path in ("%00", "..%2f..%2fetc%2fpasswd", "x" * 4_000, "'%20OR%201=1", "%ff%fe"):
        answer = server.get(server.collection(kind) + path)
        require(answer.status in REFUSED | {410, 414}, f"GET …/{path[:30]}: {answer.status}", answer)


@check(
    "entities/get",
    "GFD.185 §3.4.4; GFD.223 §10.1; GFD.221 §5.4.1",
    "GET on an instance shows exactly one kind, the one that it was made of.",
)
def get(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = server.look_at(server.shared(kind))
    kinds = [value.type_identifier for value in read(answer).kinds()]
    require(kinds == [INFRASTRUCTURE + kind], f"the instance shows the kinds {kinds}", answer)


@check(
    "entities/identifier",
    "GFD.185 §3.1; GFD.221 §5.4.1",
    "Every instance shows an occi.core.id of its own.",
)
def identifier(server: Server) -> None:
    kind = server.a_resource_kind()
    found = [server.look(url).attributes.get("occi.core.id") for url in (server.shared(kind), server.create(kind))]
    require(all(found), "an instance has no occi.core.id")
    require(found[0] != found[1], f"two instances have occi.core.id {found[0]}")


@check(
    "entities/identifier-uri",
    "GFD.185 §3.1; GFD.221 §5.4.1",
    "occi.core.id is a URI, best a URN.",
    Level.SHOULD,
)
def identifier_uri(server: Server) -> None:
    found = server.look(server.shared(server.a_resource_kind())).attributes.get("occi.core.id", "")
    require(":" in found and " " not in found, f"occi.core.id is {found!r}, expected a URI")


@check("entities/unknown", "GFD.185 §3.6.8; GFD.223 §5.4", "GET on what doesn't exist is answered 404.")
def unknown(server: Server) -> None:
    location = server.collection(server.a_resource_kind()) + "nothing-is-here"
    expect(server.get(location), {404}, "an instance that doesn't exist")
    expect(server.request("DELETE", location), {404}, "the removal of what doesn't exist")


@check(
    "entities/update",
    "GFD.185 §3.4.4; GFD.223 §10.3.1",
    "POST to an instance changes what it names and nothing else.",
)
def update(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.create(kind, ['occi.core.summary="stays"'])
    title = server.title()
    answer = server.send("POST", url, Sent(attributes=(f"occi.core.title={quote(title)}",)))
    updated(answer, "a partial update")
    shows(server, url, "occi.core.title", title)
    shows(server, url, "occi.core.summary", "stays")


@check(
    "entities/update-shown",
    "GFD.185 §3.4.4; GFD.223 §10.3.1",
    "A partial update that is answered 200 shows the whole instance, one answered 201 its Location.",
)
def update_shown(server: Server) -> None:
    url = server.create(server.a_resource_kind())
    answer = server.send("POST", url, Sent(attributes=(f"occi.core.title={quote(server.title())}",)))
    updated(answer, "a partial update")
    if answer.status == 200:
        rendering = read(answer)
        require(rendering.kinds(), "200 without the instance's representation", answer)
        require("occi.core.id" in rendering.attributes, "200 with part of the instance only", answer)


@check(
    "entities/update-in-headers",
    "GFD.185 §3.4.4, §3.6.6.2; GFD.229 §7",
    "An instance can be updated with text/occi.",
)
def update_in_headers(server: Server) -> None:
    url = server.create(server.a_resource_kind())
    title = server.title()
    answer = server.send_in_headers("POST", url, Sent(attributes=(f"occi.core.title={quote(title)}",)))
    updated(answer, "a partial update in headers")
    shows(server, url, "occi.core.title", title)


@check(
    "entities/update-immutable",
    "GFD.185 §3.6.8; GFD.221 §5.2",
    "To change an immutable attribute is answered 403 (1.1) or another refusal (1.2).",
)
def update_immutable(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.create(kind)
    name = f"occi.{kind}.state"
    other = next(state for state in TARGETS[kind].values() if state != server.state(url, kind))
    answer = server.send("POST", url, Sent(attributes=(f'{name}="{other}"',)))
    expect(answer, {403} if "1.1" in server.versions else {400, 403, 409}, f"a change of {name}")


@check(
    "entities/update-kind",
    "GFD.185 §3.4.4; GFD.221 §5.3.3",
    "An instance keeps its kind, whatever an update names.",
)
def update_kind(server: Server) -> None:
    kind = server.a_resource_kind()
    other = next((term for term in ("storage", "compute") if server.find(INFRASTRUCTURE + term)), kind)
    if other == kind:
        raise NotApplicable("the server has one kind only")
    url = server.create(kind)
    answer = server.send("POST", url, Sent((identify(INFRASTRUCTURE + other, "kind"),)))
    expect(answer, REFUSED, f"an update of a {kind} to a {other}")
    kinds = [value.type_identifier for value in server.look(url).kinds()]
    require(kinds == [INFRASTRUCTURE + kind], f"the instance is now of {kinds}")


@check(
    "entities/update-mixin",
    "GFD.185 §3.4.4; GFD.223 §10.3.1",
    "A mixin in an update is associated with the instance.",
)
def update_mixin(server: Server) -> None:
    mixin, location = server.user_mixin()
    url = server.create(server.a_resource_kind())
    updated(server.send("POST", url, Sent((identify(mixin, "mixin"),))), "an update with a mixin")
    require(mixin in server.look(url).category_ids(), "the mixin is not shown")
    require(url in server.listed(location), "the mixin's collection lacks the instance")


@check(
    "entities/update-unknown-attribute",
    "GFD.185 §3.6.8",
    "An update of an attribute that nothing defines is refused with 404 or 400.",
    Level.SHOULD,
)
def update_unknown_attribute(server: Server) -> None:
    url = server.create(server.a_resource_kind())
    answer = server.send("POST", url, Sent(attributes=('com.example.nothing="x"',)))
    expect(answer, {400, 404}, "an update of an unknown attribute")


@check(
    "entities/replace",
    "GFD.185 §3.4.4; GFD.223 §10.2.2",
    "PUT to an instance with a whole representation replaces it.",
)
def replace_whole(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.create(kind)
    title = server.title()
    answer = server.send("PUT", url, server.minimal(kind, title))
    updated(answer, "a full update")
    if answer.status == 200:
        require(read(answer).kinds(), "200 without the instance's representation", answer)
    shows(server, url, "occi.core.title", title)


@check(
    "entities/replace-drops",
    "GFD.185 §3.4.4",
    "What a PUT leaves out is removed.",
    Level.SHOULD,
)
def replace_drops(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.create(kind, ['occi.core.summary="goes"'])
    updated(server.send("PUT", url, server.minimal(kind)), "a full update")
    found = server.look(url).attributes.get("occi.core.summary", "")
    require(not found, f"occi.core.summary is still {found!r}")


@check(
    "entities/replace-keeps-links",
    "GFD.185 §3.4.4; GFD.223 §10.2.2",
    "A PUT leaves the links of a resource as they are.",
)
def replace_keeps_links(server: Server) -> None:
    server.kind("networkinterface")
    compute = server.create("compute")
    link = server.link("networkinterface", compute, server.shared("network"))
    updated(server.send("PUT", compute, server.minimal("compute")), "a full update")
    answer = server.look_at(compute)
    left = [server.wire.absolute(value.parameters.get("self", "")) for value in read(answer).entity_links()]
    require(link in left, "the link is gone after PUT", answer)


@check(
    "entities/put-new",
    "GFD.185 §3.4.4; GFD.223 §10.2.1",
    "PUT to a new path makes an instance there, or is refused with 400.",
)
def put_new(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.collection(kind) + server.title()
    answer = server.send("PUT", url, server.minimal(kind))
    if answer.status == 400:
        raise NotApplicable("the server doesn't let clients choose paths")
    updated(answer, "PUT to a new path")
    server._made.append(url)
    require(read(server.look_at(url)).kinds(), "nothing is at the path of the PUT")


@check(
    "entities/delete",
    "GFD.185 §3.4.4; GFD.223 §10.4",
    "DELETE on an instance is answered 200 (or 204 in 1.2).",
)
def delete(server: Server) -> None:
    url = server.create(server.a_resource_kind())
    expect(server.request("DELETE", url), {200, 204} if "1.2" in server.versions else {200}, "DELETE")


@check(
    "entities/deleted-is-gone",
    "GFD.185 §3.6.8; GFD.223 §5.4",
    "After DELETE the instance is answered 404 (or 410 in 1.1) and no collection lists it.",
)
def deleted_is_gone(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.create(kind)
    expect(server.request("DELETE", url), {200, 202, 204}, "DELETE")
    server.wait_until(lambda: server.get(url).status in GONE, f"{url} is gone")
    require(url not in server.listed(server.collection(kind)), "the kind's collection still lists it")


@check(
    "entities/method",
    "GFD.185 §3.6.8; GFD.223 §5.4",
    "A method that is not defined is answered 405 or 501.",
    Level.SHOULD,
)
def method(server: Server) -> None:
    answer = server.request("BREW", server.shared(server.a_resource_kind()))
    expect(answer, {400, 405, 501}, "the method BREW")


@check(
    "entities/refusal-makes-nothing",
    "GFD.185 §3.6.4, §3.6.8",
    "A creation that is refused leaves nothing behind.",
)
def refusal_makes_nothing(server: Server) -> None:
    kind = server.a_resource_kind()
    before = set(server.listed(server.collection(kind)))
    message = server.minimal(kind)
    unknown = identify("http://conformance.example.com/nowhere#nothing", "mixin")
    answer = post(server, replace(message, categories=(*message.categories, unknown)), kind)
    expect(answer, {400, 404}, "a creation with an unknown mixin")
    left = set(server.listed(server.collection(kind))) - before
    server._made += left
    require(not left, f"the refused creation left {', '.join(sorted(left))}")


@check(
    "entities/kind-without-class",
    "GFD.183 §4.4.4; GFD.221 §5.3.6",
    "Scheme and term alone name a kind in a creation.",
    Level.SHOULD,
)
def kind_without_class(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    bare = (identify(server.kind(kind).type_identifier), *message.categories[1:])
    server.made(post(server, replace(message, categories=bare), kind), f"{kind} without class")


@check(
    "entities/location-absolute",
    "GFD.185 §3.4.4; RFC 2616 §14.30",
    "Location is an absolute URI.",
    Level.SHOULD,
    V11,
)
def location_absolute(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = post(server, server.minimal(kind), kind)
    if answer.status != 201:
        raise NotApplicable("the server answers creations without 201")
    require("://" in answer.header("location"), f"Location is {answer.header('location')!r}", answer)


@check("entities/get-not-action", "GFD.223 §10.3.2", "GET with ?action= triggers nothing.", versions=V12)
def get_not_action(server: Server) -> None:
    a_category(server)
    kind = server.a_resource_kind()
    url = server.create(kind)
    offered = server.offered(url)
    if not offered:
        raise NotApplicable("the instance offers no action")
    before = server.state(url, kind)
    answer = server.get(next(iter(offered.values())))
    require(answer.status < 500, f"GET on an action was answered {answer.status}", answer)
    after = server.state(url, kind)
    require(before == after, f"GET on an action changed the state from {before} to {after}", answer)
