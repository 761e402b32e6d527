"""The JSON rendering of OCCI 1.2 (GFD.226). A server without it is asked nothing more."""

from __future__ import annotations

import json
from typing import Any

from conformance.occi import json_shapes
from conformance.occi.reader import read
from conformance.occi.rendering_text import HARD_TITLE
from conformance.occi.server import ACTIONS, INFRASTRUCTURE, JSON, OS_TEMPLATE, RESOURCE_TEMPLATE, V12, Server, suite
from conformance.suite import CheckFailed, Exchange, Level, NotApplicable, expect, require

check = suite.check


def ask(server: Server, location: str) -> Exchange:
    """GET as JSON; not applicable if the server doesn't have the rendering at all."""
    if server.get("/-/", accept=JSON).status == 406:
        raise NotApplicable("the server has no JSON rendering")
    answer = server.get(location, accept=JSON)
    expect(answer, {200}, f"Accept: {JSON}")
    return answer


def document(answer: Exchange) -> Any:
    try:
        found = json.loads(answer.body)
    except ValueError as error:
        raise CheckFailed(f"the body is not JSON: {error}", answer) from error
    require(isinstance(found, dict), "the body is no JSON object", answer)
    return found


def shaped(answer: Exchange, schema: json_shapes.Schema) -> Any:
    found = document(answer)
    fault = json_shapes.fault(found, schema)
    require(fault is None, f"the body has another shape than the standard's: {fault}", answer)
    return found


def send(server: Server, method: str, location: str, content: object) -> Exchange:
    if server.get("/-/", accept=JSON).status == 406:
        raise NotApplicable("the server has no JSON rendering")
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return server.request(method, location, accept=JSON, content_type=JSON, body=body)


def minimal(server: Server, term: str, title: str = "") -> dict[str, object]:
    kind = server.kind(term)
    message: dict[str, object] = {
        "kind": kind.type_identifier,
        "title": title or server.title(),
        "attributes": {name: json.loads(server.known_value(name)) for name in server.required_attributes(kind)},
    }
    if term == "compute":
        templates = (server.template(OS_TEMPLATE), server.template(RESOURCE_TEMPLATE))
        message["mixins"] = [template for template in templates if template]
    return message


def create(server: Server, term: str, **members: object) -> str:
    answer = send(server, "POST", server.collection(term), minimal(server, term) | members)
    return made(server, answer, term)


def made(server: Server, answer: Exchange, what: str) -> str:
    expect(answer, {200, 201}, f"a well-formed JSON request for a new {what}")
    location = answer.header("location")
    if not location:
        raise NotApplicable("the server answers creations in JSON without a Location")
    return server.wire.absolute(location)


@check(
    "json/content-type",
    "GFD.226 §3; GFD.223 §5.2",
    "JSON is answered as application/occi+json.",
    versions=V12,
)
def content_type(server: Server) -> None:
    answer = ask(server, "/-/")
    require(answer.media_type == JSON, f"answered {answer.media_type}, expected {JSON}", answer)


@check(
    "json/query",
    "GFD.226 §3.2, §3.4",
    "The query interface has the arrays kinds, mixins and actions, each member of the standard's shape.",
    versions=V12,
)
def query(server: Server) -> None:
    shaped(ask(server, "/-/"), json_shapes.QUERY)


@check(
    "json/query-complete",
    "GFD.226 §3.4; GFD.223 §9.1",
    "The query interface lists in JSON the categories that it lists in text.",
    versions=V12,
)
def query_complete(server: Server) -> None:
    answer = ask(server, "/-/")
    found = document(answer)
    here = {
        member.get("scheme", "") + member.get("term", "")
        for name in ("kinds", "mixins", "actions")
        for member in found.get(name, [])
    }
    there = read(server.get("/-/")).category_ids()
    require(here == there, f"JSON and text differ in {', '.join(sorted(here ^ there)[:5])}", answer)


@check(
    "json/kind-locations",
    "GFD.226 §3.2.1",
    "Every kind but entity has a location.",
    Level.SHOULD,
    versions=V12,
)
def kind_locations(server: Server) -> None:
    answer = ask(server, "/-/")
    for kind in document(answer).get("kinds", []):
        if kind.get("scheme", "").startswith(INFRASTRUCTURE[:-1]):
            require(kind.get("location"), f"the kind {kind.get('term')} has no location", answer)


@check("json/resource", "GFD.226 §3.1.1", "A resource has the standard's shape.", versions=V12)
def resource(server: Server) -> None:
    kind = server.a_resource_kind()
    found = shaped(ask(server, server.shared(kind)), json_shapes.RESOURCE)
    require(found["kind"] == INFRASTRUCTURE + kind, f"kind is {found['kind']!r}")


@check(
    "json/same-as-text",
    "GFD.226 §3.1.1; GFD.229 §5.5.1",
    "A resource says in JSON what it says in text: id, kind, mixins and attributes.",
    versions=V12,
)
def same_as_text(server: Server) -> None:
    url = server.shared("compute" if server.find(INFRASTRUCTURE + "compute") else server.a_resource_kind())
    answer = ask(server, url)
    found, text = document(answer), server.look(url)
    require(found.get("id") == text.attributes.get("occi.core.id"), "id is not occi.core.id", answer)
    require(found.get("title") == text.attributes.get("occi.core.title"), "the title differs", answer)
    categories = {found.get("kind"), *found.get("mixins", [])}
    require(categories == text.category_ids(), "kind and mixins differ from text", answer)
    here = {name for name in found.get("attributes", {}) if not name.startswith("occi.core.")}
    there = {name for name in text.attributes if not name.startswith("occi.core.")}
    require(there <= here, f"JSON lacks {', '.join(sorted(there - here))}", answer)


@check(
    "json/types",
    "GFD.226 §3.5",
    "Numbers are JSON numbers and attribute names are flat.",
    versions=V12,
)
def types(server: Server) -> None:
    url = server.shared("compute" if server.find(INFRASTRUCTURE + "compute") else server.a_resource_kind())
    answer = ask(server, url)
    attributes = document(answer).get("attributes", {})
    require("occi" not in attributes, "attributes are nested, expected flat dotted names", answer)
    for name in ("occi.compute.cores", "occi.compute.memory", "occi.storage.size", "occi.network.vlan"):
        value = attributes.get(name, 0)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        require(good, f"{name} is {value!r}, expected a number", answer)


@check(
    "json/actions",
    "GFD.226 §3.1.1",
    "The actions of a resource are those that its text rendering offers.",
    versions=V12,
)
def actions(server: Server) -> None:
    kind = server.a_resource_kind()
    url = server.shared(kind)

    def agree() -> bool:
        here = set(document(ask(server, url)).get("actions", []))
        return here == {link.parameters.get("rel") for link in server.look(url).action_links()}

    server.wait_until(agree, f"{url} offers the same actions in JSON as in text")


@check(
    "json/collection",
    "GFD.226 §3.3.1",
    'A collection of resources is {"resources": [...]}, each whole.',
    versions=V12,
)
def collection(server: Server) -> None:
    kind = server.a_resource_kind()
    identifier = server.look(server.shared(kind)).attributes.get("occi.core.id")
    answer = ask(server, server.collection(kind))
    found = shaped(answer, json_shapes.RESOURCES)
    identifiers = [member["id"] for member in found["resources"]]
    require(identifier in identifiers, f"the collection lacks {identifier}", answer)


@check(
    "json/empty-collection",
    "GFD.226 §3.3; GFD.223 §11.1",
    "An empty collection is 200 with an empty array.",
    versions=V12,
)
def empty_collection(server: Server) -> None:
    _, location = server.user_mixin()
    answer = ask(server, location)
    found = document(answer)
    require(not any(found.values()), "it is not an empty collection", answer)


@check(
    "json/link",
    "GFD.226 §3.1.2, §3.3.2",
    "A link has the standard's shape, alone, in its collection and in its source.",
    versions=V12,
)
def link(server: Server) -> None:
    server.kind("networkinterface")
    compute, network = server.create("compute"), server.shared("network")
    url = server.link("networkinterface", compute, network)
    found = shaped(ask(server, url), json_shapes.LINK)
    for name, end in (("source", compute), ("target", network)):
        location = found[name]["location"]
        require(server.wire.absolute(location) == end, f"{name} is {location!r}, expected {end}")
    shaped(ask(server, server.collection("networkinterface")), json_shapes.LINKS)
    owner = shaped(ask(server, compute), json_shapes.RESOURCE)
    require(found["id"] in [one["id"] for one in owner.get("links", [])], "the source lacks the link")


@check("json/create", "GFD.226 §3.1.1; GFD.223 §11.3.1", "A resource can be made with JSON.", versions=V12)
def create_resource(server: Server) -> None:
    title = server.title()
    url = create(server, server.a_resource_kind(), title=title, summary="made with JSON")
    shown = server.look(url).attributes
    require(shown.get("occi.core.title") == title, f"the title is {shown.get('occi.core.title')!r}")
    require(shown.get("occi.core.summary") == "made with JSON", "the summary is another")


@check(
    "json/separators",
    "GFD.226 §3.1.1; GFD.229 §4.3",
    "A title with quotes, separators and letters of any script is the same in JSON and in text.",
    versions=V12,
)
def separators(server: Server) -> None:
    title = server.title() + HARD_TITLE + " 雲"
    url = create(server, server.a_resource_kind(), title=title)
    require(document(ask(server, url)).get("title") == title, "JSON gives another title")
    require(server.look(url).attributes.get("occi.core.title") == title, "text gives another title")


@check("json/create-link", "GFD.226 §3.1.2", "A link can be made with JSON.", versions=V12)
def create_link(server: Server) -> None:
    server.kind("networkinterface")
    compute, network = server.create("compute"), server.shared("network")
    message = minimal(server, "networkinterface") | {
        "source": {"location": compute, "kind": INFRASTRUCTURE + "compute"},
        "target": {"location": network, "kind": INFRASTRUCTURE + "network"},
    }
    answer = send(server, "POST", server.collection("networkinterface"), message)
    url = made(server, answer, "networkinterface")
    source = server.look(url).attributes.get("occi.core.source", "")
    require(server.wire.absolute(source) == compute, f"the link's source is {source!r}")


@check(
    "json/update",
    "GFD.226 §3.1.1; GFD.223 §10.3.1",
    "An update with JSON changes what it names, and a 200 shows the whole.",
    versions=V12,
)
def update(server: Server) -> None:
    kind = server.a_resource_kind()
    url = create(server, kind, summary="stays")
    title = server.title()
    answer = send(server, "POST", url, {"kind": INFRASTRUCTURE + kind, "title": title})
    expect(answer, {200, 201}, "a partial update with JSON")
    if answer.status == 200:
        shaped(answer, json_shapes.RESOURCE)
    shown = server.look(url).attributes
    require(shown.get("occi.core.title") == title, f"the title is {shown.get('occi.core.title')!r}")
    require(shown.get("occi.core.summary") == "stays", "the update removed the summary")


@check(
    "json/action",
    "GFD.226 §3.1.1.1; GFD.223 §10.3.2",
    "An action can be triggered with JSON.",
    versions=V12,
)
def action(server: Server) -> None:
    kind = server.a_resource_kind()
    targets = {
        "up": "active",
        "down": "inactive",
        "online": "online",
        "offline": "offline",
        "start": "active",
    }
    url = server.create(kind)
    server.wait_until(lambda: bool(set(targets) & set(server.offered(url))), f"{url} offers an action")
    name = next(name for name in server.offered(url) if name in targets)
    answer = send(server, "POST", f"{url}?action={name}", {"action": ACTIONS.format(kind) + name, "attributes": {}})
    expect(answer, {200, 202}, f"the action {name} with JSON")
    server.wait_until(lambda: server.state(url, kind) == targets[name], f"{url} is {targets[name]}")


@check(
    "json/mixin",
    "GFD.226 §3.2.2; GFD.223 §9.3",
    "A user's mixin can be added with JSON.",
    versions=V12,
)
def mixin(server: Server) -> None:
    server.user_mixin()
    identifier = f"http://conformance.example.com/{server.prefix}#json"
    scheme, term = identifier.rsplit("#", 1)
    one = {"term": term, "scheme": scheme + "#", "location": f"/{server.prefix}-json/"}
    server._mixins.append(identifier)
    expect(send(server, "POST", "/-/", {"mixins": [one]}), {200}, "a mixin as JSON")
    require(identifier in read(server.get("/-/")).category_ids(), "the mixin is not listed")


@check(
    "json/malformed",
    "GFD.223 §5.4; GFD.226 §3",
    "What is no JSON is answered 400.",
    versions=V12,
)
def malformed(server: Server) -> None:
    location = server.collection(server.a_resource_kind())
    for body in (b"{", b"", b"\xff\xfe", b'{"kind": }', b"[" * 5000):
        expect(send(server, "POST", location, body), {400}, f"the body {body[:20]!r}")


@check(
    "json/wrong-shapes",
    "GFD.223 §5.4; GFD.226 §3.1",
    "JSON of another shape than the standard's is refused.",
    versions=V12,
)
def wrong_shapes(server: Server) -> None:
    kind = server.a_resource_kind()
    good = minimal(server, kind)
    bad_documents: tuple[object, ...] = (
        [],
        "text",
        5,
        None,
        {},
        good | {"kind": 5},
        good | {"kind": None},
        good | {"kind": "no-type-identifier"},
        good | {"attributes": []},
        good | {"mixins": "x"},
        good | {"mixins": [5]},
        good | {"links": {}},
        good | {"links": [5]},
        good | {"title": {}},
    )
    for bad in bad_documents:
        answer = send(server, "POST", server.collection(kind), bad)
        expect(answer, {400, 404}, f"the JSON {json.dumps(bad)[:80]}")
