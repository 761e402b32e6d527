# ruff: noqa: E501
"""Faults that the suite must find: each is put into the healthy subject, and names the checks that must fail.

A fault changes a request before the subject sees it, an answer before the client does, or the subject itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.unit.conformance.http_subject import Answer, Fault, Refusal, Request
from tests.unit.conformance.subject import BASE, CORE, CRTP, INFRA, JSON, Category, Cloud, Entity, Message

When = Callable[[Request], bool]


def on(method: str = "", path: str = "", header: str = "", body: str = "", query: str = "") -> When:
    """True of requests that match all that is given (regular expressions)."""

    def matches(request: Request) -> bool:
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers)
        return bool(
            re.fullmatch(method or ".*", request.method)
            and re.search(path, request.path)
            and re.search(header, headers, re.IGNORECASE)
            and re.search(body, request.body.decode("utf-8", "replace"))
            and re.search(query, "&".join(f"{n}={v}" for n, v in request.query.items()))
        )

    return matches


ANY = on()
INSTANCE = r"^/(?:compute|network|storage|networkinterface|storagelink)/[^/]+$"
KIND = r"^/(?:compute|network|storage|networkinterface|storagelink)/$"
TAG = r"^/conformance-\w+-t\w+/$"
LINKS = r"^/networkinterface/"


def status(new: int, when: When, old: str = r"...") -> Callable[[Request, Answer], Answer]:
    def change(request: Request, answer: Answer) -> Answer:
        hit = when(request) and re.fullmatch(old, str(answer.status))
        return replace(answer, status=new) if hit else answer

    return change


def without(name: str, when: When, of: str = r"...") -> Callable[[Request, Answer], Answer]:
    def change(request: Request, answer: Answer) -> Answer:
        if not when(request) or not re.fullmatch(of, str(answer.status)):
            return answer
        return replace(answer, headers=tuple(h for h in answer.headers if h[0].lower() != name.lower()))

    return change


def rewrite(
    pattern: str, by: str, when: When = ANY, count: int = 0, headers: bool = False
) -> Callable[[Request, Answer], Answer]:
    """Replace in the body of answers (and in their headers)."""

    def change(request: Request, answer: Answer) -> Answer:
        if not when(request):
            return answer
        body = re.sub(pattern, by, answer.body.decode(), count=count).encode()
        if not headers:
            return replace(answer, body=body)
        changed = tuple((n, re.sub(pattern, by, v, count=count)) for n, v in answer.headers)
        return replace(answer, body=body, headers=changed)

    return change


def deaf(names: str, when: When = ANY) -> Callable[[Request], Request]:
    """Headers of these names are not heard."""

    def change(request: Request) -> Request:
        if not when(request):
            return request
        kept = tuple(h for h in request.headers if not re.fullmatch(names, h[0], re.IGNORECASE))
        return replace(request, headers=kept)

    return change


def heard_as(when: When, pattern: str, by: str) -> Callable[[Request], Request]:
    """What is sent is changed on its way, in body and headers."""

    def change(request: Request) -> Request:
        if not when(request):
            return request
        body = re.sub(pattern, by, request.body.decode("utf-8", "replace")).encode()
        headers = tuple((n, re.sub(pattern, by, v)) for n, v in request.headers)
        return replace(request, body=body, headers=headers)

    return change


def no_body(when: When) -> Callable[[Request], Request]:
    return lambda request: replace(request, body=b"") if when(request) else request


def instead(method: str, when: When) -> Callable[[Request], Request]:
    """Done as another method: GET instead of POST does nothing and answers well."""

    def change(request: Request) -> Request:
        if not when(request):
            return request
        headers = tuple(h for h in request.headers if h[0].lower() not in ("category", "x-occi-attribute", "link"))
        return replace(request, method=method, headers=headers, query={})

    return change


def category(identifier: str, change: Callable[[Category], object]) -> Callable[[Cloud], object]:
    return lambda cloud: change(cloud.find(identifier))


def lacks(identifier: str) -> Callable[[Cloud], object]:
    return lambda cloud: cloud.categories.remove(cloud.find(identifier))


def lacks_attribute(identifier: str, name: str) -> Callable[[Cloud], object]:
    return category(identifier, lambda found: found.attributes.pop(name))


def lacks_action(identifier: str, name: str) -> Callable[[Cloud], object]:
    def change(found: Category) -> None:
        found.actions = tuple(a for a in found.actions if not a.endswith("#" + name))

    return category(identifier, change)


def assign(name: str, value: object) -> Callable[[Category], object]:
    return lambda found: setattr(found, name, value)


def method(name: str, made: Callable[[Any], Any]) -> Callable[[Cloud], object]:
    """Replace a method of the subject by one made from the healthy one."""
    return lambda cloud: setattr(cloud, name, made(getattr(cloud, name)))


def stuck(term: str, *actions: str) -> Callable[[Request], Request]:
    """These actions are answered well and change nothing."""
    return instead("GET", on("POST", f"^/{term}/", query=f"action=(?:{'|'.join(actions)})"))


def document(change: Callable[[Any], object], when: When = ANY) -> Callable[[Request, Answer], Answer]:
    """Change the JSON of answers in place."""

    def edit(request: Request, answer: Answer) -> Answer:
        if not when(request) or answer.header("content-type") != JSON or answer.status != 200:
            return answer
        found = json.loads(answer.body)
        change(found)
        return replace(answer, body=json.dumps(found).encode())

    return edit


def drop(*names: str) -> Callable[[Any], object]:
    return lambda found: [found.pop(name, None) for name in names]


def extra_header(name: str, value: str, when: When) -> Callable[[Request, Answer], Answer]:
    def change(request: Request, answer: Answer) -> Answer:
        return replace(answer, headers=(*answer.headers, (name, value))) if when(request) else answer

    return change


def repeated_header_lost(request: Request) -> Request:
    """A server that keeps the last header of each name only."""
    last = {name.lower(): (name, value) for name, value in request.headers}
    return replace(request, headers=tuple(last.values()))


def first_of_list(request: Request) -> Request:
    """A server that reads the first value of a comma list only."""

    def first(text: str) -> str:
        return re.split(r", (?=[a-z]+[.;]|occi\.|http)", text)[0]

    body = "\r\n".join(first(line) for line in request.body.decode("utf-8", "replace").split("\r\n"))
    names = ("category", "x-occi-attribute", "x-occi-location")
    headers = tuple((n, first(v) if n.lower() in names else v) for n, v in request.headers)
    return replace(request, body=body.encode(), headers=headers)


def partial_association(cloud: Cloud) -> None:
    healthy = cloud.collection

    def collection(bound: Category, request: Request, message: Message, media_type: str) -> Answer:
        if bound.user and request.method == "POST":
            for location in message.locations:
                cloud.entity(location).mixins.append(bound)
        return healthy(bound, request, message, media_type)

    cloud.collection = collection  # type: ignore[method-assign]


def made_before_checked(cloud: Cloud) -> None:
    """Something is made even when the creation is refused."""
    healthy = cloud.create

    def create(message: Message, bound: Category | None, path: str = "") -> Entity:
        try:
            return healthy(message, bound, path)
        except Refusal:
            if bound is not None and bound.term in ("network", "compute"):
                kind = bound
                state = {f"occi.{kind.term}.state": "inactive"}
                entity = Entity(kind, f"{kind.location}half", "urn:half", dict(state))
                cloud.entities[entity.path] = entity
            raise

    cloud.create = create  # type: ignore[method-assign]


def immutable_taken(cloud: Cloud) -> None:
    healthy = cloud.check_attributes

    def check(kind: Category, mixins: list[Category], attributes: dict[str, Any], complete: bool) -> None:
        healthy(kind, mixins, {n: v for n, v in attributes.items() if not n.endswith(".state")}, complete)

    cloud.check_attributes = check  # type: ignore[method-assign]


def state_at_creation_taken(cloud: Cloud) -> None:
    immutable_taken(cloud)
    healthy = cloud.create

    def create(message: Message, bound: Category | None, path: str = "") -> Entity:
        entity = healthy(message, bound, path)
        entity.attributes |= {n: v for n, v in message.attributes.items() if n.endswith(".state")}
        return entity

    cloud.create = create  # type: ignore[method-assign]


def unchecked(*wanted: str) -> Callable[[Cloud], None]:
    """Attributes are not checked for these faults: required, type, unknown, applies."""

    def prepare(cloud: Cloud) -> None:
        healthy = cloud.check_attributes

        def check(kind: Category, mixins: list[Category], attributes: dict[str, Any], complete: bool) -> None:
            try:
                healthy(kind, mixins, attributes, complete)
            except Refusal as refusal:
                if not any(word in str(refusal) for word in wanted):
                    raise

        cloud.check_attributes = check  # type: ignore[method-assign]

    return prepare


def links_stay(cloud: Cloud) -> None:
    cloud.delete = lambda entity: cloud.entities.pop(entity.path, None)  # type: ignore[method-assign, assignment]


def dangling_source(cloud: Cloud) -> None:
    healthy = cloud.entity

    def entity(location: str) -> Entity:
        try:
            return healthy(location)
        except Refusal:
            if location.endswith("nothing-is-here") and "/compute/" in location:
                return next(e for e in cloud.entities.values() if e.kind.term == "compute")
            raise

    cloud.entity = entity  # type: ignore[method-assign]


def put_drops_links(cloud: Cloud) -> None:
    healthy = cloud.update

    def update(entity: Entity, message: Message, whole: bool) -> None:
        if whole:
            for link in cloud.links(entity):
                cloud.entities.pop(link.path)
        healthy(entity, message, whole)

    cloud.update = update  # type: ignore[method-assign]


def numbered_ids(cloud: Cloud) -> None:
    healthy = cloud.create

    def create(message: Message, bound: Category | None, path: str = "") -> Entity:
        entity = healthy(message, bound, path)
        entity.id = "1"
        return entity

    cloud.create = create  # type: ignore[method-assign]


def links_at_both_ends(cloud: Cloud) -> None:
    def links(entity: Entity) -> list[Entity]:
        return [link for link in cloud.entities.values() if entity.path in (link.source, link.target)]

    cloud.links = links  # type: ignore[method-assign]


ANY_OFFERED = "Link: </network/x?action=down>; rel="
NOT_CRUD = on("POST", INSTANCE)
ACTION_POST = on("POST", query="action=")

FAULTS: tuple[Fault, ...] = (
    # query
    Fault("query interface without kinds", ("query/get",), answer=rewrite(r'class="kind"', 'class="mixin"')),
    Fault("well-known differs", ("query/well-known",), answer=rewrite("compute", "komputer", on(path="well-known"))),
    Fault("no base kind", ("query/base-kinds",), prepare=lacks(CORE + "resource")),
    Fault("kind listed twice", ("query/unique-identifiers", "query/unique-locations"),
          prepare=lambda cloud: cloud.categories.append(cloud.find(INFRA + "network"))),
    Fault("location without slash", ("query/locations",), answer=rewrite('location="/storage/"', 'location="/storage"')),
    Fault("entity has a location", ("query/entity-unbound",),
          prepare=category(CORE + "entity", assign("location", "/entity/"))),
    Fault("no parent", ("query/parents", "infrastructure/network-kind"), prepare=category(INFRA + "network", assign("rel", ""))),
    Fault("parents in a circle", ("query/parents",), prepare=category(INFRA + "network", assign("rel", INFRA + "network"))),
    Fault("actions not listed", ("query/actions-listed",), prepare=lacks(f"{BASE}/network/action#up")),
    Fault("query filter ignored", ("query/filter", "query/filter-several", "query/filter-header"),
          request=deaf("category", on("GET", "^/-/"))),
    Fault("filtered rendering cut short", ("query/filter-complete",),
          answer=rewrite("; attributes=.*", "", on("GET", "^/-/", "category:"))),
    Fault("comma in Category header", ("query/filter-header",),
          prepare=category(INFRA + "compute", assign("title", "cores, memory"))),
    Fault("malformed filters taken", ("query/filter-malformed", "collections/filter-malformed"),
          answer=status(200, on("GET", header="category:|x-occi-attribute:"), "400")),
    Fault("unknown filter is 200", ("query/filter-unknown",), answer=status(200, on("GET", "^/-/"), "404")),
    Fault("PUT on /-/", ("query/put",), answer=status(200, on("PUT", "^/-/"))),
    Fault("mixin is not stored", ("query/mixin-add",), request=instead("GET", on("POST", "^/-/"))),
    Fault("mixins not from headers", ("query/mixin-add-in-headers",), answer=status(400, on("POST", "^/-/", "type: text/occi"))),
    Fault("related mixins refused", ("query/mixin-related",), answer=status(400, on("POST", "^/-/", body="rel="))),
    Fault("mixin without location breaks", ("query/mixin-incomplete", "query/mixin-none"),
          answer=status(500, on("POST", "^/-/"), "400")),
    Fault("mixin is not removed", ("query/mixin-remove", "query/mixin-remove-dissociates"),
          request=instead("GET", on("DELETE", "^/-/"))),
    Fault("provider's mixins can be removed", ("query/mixin-remove-provider",), answer=status(200, on("DELETE", "^/-/"), "403")),
    Fault("removal of nothing is 200", ("query/mixin-remove-unknown",), answer=status(200, on("DELETE", "^/-/"), "404")),
    # negotiation
    Fault("no version in Server", ("negotiation/server-header",), answer=without("server", on())),
    Fault("no version on errors", ("negotiation/server-header",), answer=without("server", on(), "4..")),
    Fault("higher versions served", ("negotiation/higher-version",), request=deaf("user-agent")),
    Fault("own version refused", ("negotiation/own-version",), answer=status(501, on(header="1 OCCI/1.2"))),
    Fault("text/occi is the default", ("negotiation/default", "negotiation/any"),
          request=lambda r: replace(r, headers=(*deaf("accept")(r).headers, ("Accept", "text/occi")))
          if r.header("accept") in ("", "*/*") else r),
    Fault("unknown Accept served", ("negotiation/unknown",), request=deaf("accept", on(header="accept: application/x-"))),
    Fault("no Content-Type", ("negotiation/content-type", "negotiation/quality"), answer=without("content-type", on("GET", KIND))),
    Fault("error without type", ("negotiation/error-is-readable",), answer=without("content-type", on(), "4..")),
    Fault("q values ignored", ("negotiation/quality",), request=heard_as(on("GET"), r";q=[\d.]+", "")),
    Fault("text/* refused", ("negotiation/text-any",), answer=status(406, on(header=r"text/\*"))),
    Fault("no text/occi+plain", ("negotiation/occi-plain",), answer=status(406, on(header=r"accept: text/occi\+plain"))),
    Fault("text/occi+plain not taken", ("negotiation/occi-plain-sent",), answer=status(406, on(header=r"content-type: text/occi\+plain"))),
    Fault("uri-list of anything", ("negotiation/uri-list-of-instance",), answer=status(200, on("GET", header="accept: text/uri-list"), "400")),
    Fault("no Accept answered", ("negotiation/accept-answered",), answer=without("accept", on())),
    Fault("any content read as text", ("negotiation/unknown-content",), request=heard_as(on(), "application/x-conformance-nothing", "text/plain")),
    Fault("charset not understood", ("negotiation/content-parameters",), answer=status(415, on(header="charset"))),
    Fault("401 without challenge", ("negotiation/credentials-absent",), answer=without("www-authenticate", on())),
    Fault("403 instead of 401", ("negotiation/credentials-absent",), answer=status(403, on(), "401")),
    Fault("wrong password is 403", ("negotiation/credentials-wrong",), answer=status(403, on(header="authorization"), "401")),
    # text
    Fault("parameters out of order", ("text/category-grammar", "text/category-shape"),
          answer=rewrite(r'; (scheme="[^"]*"); (class="\w+")', r"; \2; \1")),
    Fault("upper case names", ("text/category-grammar-1.1",), answer=rewrite("Category: network;", "Category: Network;", on("GET", "^/-/"))),
    Fault("class without quotes", ("text/category-shape",), answer=rewrite(r'class="(\w+)"', r"class=\1")),
    Fault("headers cut off", ("text/category-headers",), answer=rewrite(r", start; .*", "", on("GET", "^/-/", "accept: text/occi"), headers=True)),
    Fault("text/occi without OK", ("text/ok",), answer=rewrite("OK", "", on("GET", header="accept: text/occi"))),
    Fault("strange line", ("text/entity-grammar",), answer=rewrite("X-OCCI-Attribute: occi.core.id", "X-Other: x\nX-OCCI-Attribute: occi.core.id")),
    Fault("header attributes missing", ("text/entity-headers",), answer=without("x-occi-attribute", on("GET", INSTANCE, "accept: text/occi"))),
    Fault("state without quotes", ("text/numbers", "text/entity-grammar"), answer=rewrite(r'(occi\.network\.state)="(\w+)"', r"\1=\2")),
    Fault("numbers in quotes", ("text/numbers-compute",), answer=rewrite(r"(occi\.compute\.\w+)=([\d.]+)", r'\1="\2"')),
    Fault("exponents", ("text/numbers-compute", "text/entity-grammar"), answer=rewrite(r"(occi\.compute\.memory)=([\d.]+)", r"\1=1e0")),
    Fault("CRLF and LF mixed", ("text/lines",), answer=rewrite("\n", "\r\n", on("GET", "^/-/"), count=2)),
    Fault("first line empty", ("text/lines",), answer=rewrite(r"\A", "\n", on("GET", "^/-/"), count=1)),
    Fault("CR kept in values", ("text/crlf-taken",), answer=status(400, on("POST", body="\r\n"))),
    Fault("LF not understood", ("text/lf-taken",), answer=status(400, on("POST", body="[^\r]\n"))),
    Fault("quotes not escaped", ("text/separators",), answer=rewrite(r'\\(["\\])', r"\1", on("GET", INSTANCE))),
    Fault("quotes in headers not escaped", ("text/separators-headers",), answer=rewrite(r'\\(["\\])', r"\1", on("GET", INSTANCE), headers=True)),
    Fault("escaped quote ends a string", ("text/injection",), request=heard_as(on("POST", header="slipped"), r'", occi.core.summary="meant"', r'", occi.core.summary="slipped in"')),
    Fault("comma lists not split", ("text/comma-list", "collections/associate-in-headers"), request=first_of_list),
    Fault("last header wins", ("text/repeated-headers",), request=repeated_header_lost),
    Fault("header names by case", ("text/header-case",), request=lambda r: replace(r, headers=tuple(h for h in r.headers if not h[0].isupper()))),
    Fault("class must be quoted", ("text/class-unquoted",), answer=status(400, on("POST", body="class=kind"))),
    Fault("semicolon at the end refused", ("text/trailing-semicolon",), answer=status(400, on("POST", body=";\r\n"))),
    Fault("ASCII only", ("text/unicode", "json/separators"), request=heard_as(on("POST"), r"[^\x00-\x7f]|\\u\w{4}", "?")),
    Fault("collection lines malformed", ("text/location-grammar",), answer=rewrite(r"X-OCCI-Location: (\S+)", r'X-OCCI-Location: "\1"', on("GET", KIND))),
    Fault("collection renders instances", ("text/location-grammar", "collections/new-is-listed"), answer=rewrite(r"X-OCCI-Location:.*", ANY_OFFERED + '"http://x.example.com/a#down"', on("GET", KIND))),
    Fault("action links without rel", ("text/action-link-grammar", "actions/offered"), answer=rewrite(r'(action=\w+>); rel="[^"]+"', r"\1; rel=\"x\"")),
    Fault("link parameters out of order", ("text/link-grammar",), answer=rewrite(r'(self="[^"]+"); (category="[^"]+")', r"\2; \1")),
    # entities
    Fault("creation is 202 without Location", ("entities/create",), answer=lambda r, a: replace(a, status=202, headers=a.headers[:2]) if on("POST", KIND)(r) and a.status == 201 else a),
    Fault("201 without Location", ("entities/create", "entities/create-location"), answer=without("location", on("POST", KIND))),
    Fault("Location leads nowhere", ("entities/create-location", "entities/create-in-headers"), answer=rewrite(r"/network/([-\w]+)", r"/network/x\1", on("POST", KIND), headers=True)),
    Fault("compute can't be made", ("entities/create-compute",), answer=status(500, on("POST", "^/compute/$"))),
    Fault("creation without kind breaks", ("entities/create-no-kind", "entities/create-two-kinds", "entities/malformed"), answer=status(500, on("POST", KIND), "400")),
    Fault("unknown kind breaks", ("entities/create-unknown-kind", "entities/create-unknown-mixin"), answer=status(500, on("POST", KIND), "404")),
    Fault("any mixin applies", ("entities/create-inapplicable-mixin",), prepare=unchecked("can't be applied")),
    Fault("any kind anywhere", ("entities/create-elsewhere",), prepare=method("create", lambda healthy: lambda message, _, path="": healthy(message, None, path))),
    Fault("required not asked for", ("entities/create-missing-required", "infrastructure/ssh-key-without-key"), prepare=unchecked("is required")),
    Fault("unknown attributes taken", ("entities/create-unknown-attribute", "entities/update-unknown-attribute"), prepare=unchecked("no attribute")),
    Fault("types not checked", ("entities/create-wrong-type",), prepare=unchecked("is no number")),
    Fault("state taken at creation", ("entities/create-immutable",), prepare=state_at_creation_taken),
    Fault("malformed read as nothing", ("entities/malformed",), answer=status(200, on("POST", KIND), "400")),
    Fault("500 on long values", ("entities/hostile",), answer=status(500, on("POST", body="x{9999}"))),
    Fault("500 on odd paths", ("entities/hostile",), answer=status(500, on("GET", r"\.\./"))),
    Fault("two kinds shown", ("entities/get",), answer=rewrite(r"\A", f'Category: compute; scheme="{INFRA}"; class="kind"\n', on("GET", INSTANCE), count=1)),
    Fault("same id for all", ("entities/identifier", "entities/identifier-uri"), prepare=numbered_ids),
    Fault("no id", ("entities/identifier", "entities/identifier-uri"), answer=rewrite(r"X-OCCI-Attribute: occi.core.id.*\n", "", on("GET"))),
    Fault("unknown is 200", ("entities/unknown",), answer=status(200, on("GET", INSTANCE), "404")),
    Fault("update changes nothing", ("entities/update", "entities/update-in-headers", "entities/update-mixin", "links/update"), request=instead("GET", NOT_CRUD)),
    Fault("update replaces all", ("entities/update", "json/update"), request=lambda r: replace(r, method="PUT") if NOT_CRUD(r) and not r.query else r),
    Fault("update answers nothing", ("entities/update-shown",), answer=rewrite(r"(?s).+", "OK", on("POST", INSTANCE))),
    Fault("update answers in part", ("entities/update-shown",), answer=rewrite(r"X-OCCI-Attribute: occi.core.id.*\n", "", on("POST", INSTANCE))),
    Fault("immutable is silently ignored", ("entities/update-immutable",), answer=status(200, on("POST", INSTANCE), "403")),
    Fault("immutable can be changed", ("entities/update-immutable",), prepare=immutable_taken),
    Fault("kind change accepted", ("entities/update-kind",), answer=status(200, on("POST", INSTANCE), "400")),
    Fault("mixin in update ignored", ("entities/update-mixin",), request=instead("GET", on("POST", INSTANCE, body='class="mixin"'))),
    Fault("PUT changes nothing", ("entities/replace", "entities/replace-drops"), request=instead("GET", on("PUT", INSTANCE))),
    Fault("PUT drops links", ("entities/replace-keeps-links",), prepare=put_drops_links),
    Fault("PUT makes nothing", ("entities/put-new",), request=lambda r: replace(r, method="GET", path="/-/", body=b"", headers=deaf("content-type")(r).headers) if on("PUT", "/network/conf")(r) else r),
    Fault("DELETE is 202", ("entities/delete",), answer=status(202, on("DELETE", INSTANCE), "200")),
    Fault("DELETE deletes nothing", ("entities/deleted-is-gone", "links/delete"), request=instead("GET", on("DELETE", INSTANCE))),
    Fault("BREW is served", ("entities/method",), request=lambda r: replace(r, method="GET") if r.method == "BREW" else r),
    Fault("refusal leaves a half", ("entities/refusal-makes-nothing", "links/inline-unknown"), prepare=made_before_checked),
    Fault("kind needs class", ("entities/kind-without-class",), answer=status(400, on("POST", KIND, body='#"\r\n'))),
    Fault("Location is a path", ("entities/location-absolute",), answer=rewrite(r"http://127.0.0.1:\d+", "", on("POST", KIND), headers=True)),
    Fault("GET acts", ("entities/get-not-action",), request=lambda r: replace(r, method="POST", headers=(*deaf("content-type")(r).headers, ("Content-Type", "text/plain")), body=f'Category: {r.query["action"]}; scheme="{BASE}/network/action#"; class="action"'.encode()) if r.method == "GET" and "action" in r.query else r),
    # collections
    Fault("collections are 404", ("collections/get",), answer=status(404, on("GET", "^/storage/$"))),
    Fault("mixin collections are 404", ("collections/mixins-get",), answer=status(404, on("GET", "^/mixins/"))),
    Fault("new ones are not listed", ("collections/new-is-listed", "links/kind"), answer=rewrite(r"X-OCCI-Location:.*\n", "", on("GET", KIND))),
    Fault("collection headers missing", ("collections/headers",), answer=without("x-occi-location", on("GET", KIND))),
    Fault("uri-list is text/plain's", ("collections/uri-list",), answer=rewrite(r"(http\S+)", r"X-OCCI-Location: \1", on("GET", header="accept: text/uri-list"))),
    Fault("empty collection is 404", ("collections/empty",), answer=lambda r, a: replace(a, status=404) if on("GET", TAG)(r) and not a.body else a),
    Fault("category filter ignored", ("collections/filter-category", "collections/filter-several"), request=deaf("category", on("GET", KIND))),
    Fault("attribute filter ignored", ("collections/filter-attribute", "collections/filter-nothing", "collections/filter-several"), request=deaf("x-occi-attribute", on("GET", KIND))),
    Fault("association does nothing", ("collections/associate", "collections/associate-in-headers", "collections/filter-category"), request=instead("GET", on("POST", TAG))),
    Fault("association is not atomic", ("collections/associate-atomic",), prepare=partial_association),
    Fault("association is 201", ("collections/associate", "collections/replace", "collections/dissociate"), answer=status(201, on("POST", TAG))),
    Fault("PUT adds to collection", ("collections/replace",), request=lambda r: replace(r, method="POST") if on("PUT", TAG)(r) else r),
    Fault("dissociation of all", ("collections/dissociate",), request=no_body(on("DELETE", TAG))),
    Fault("dissociation does nothing", ("collections/dissociate", "collections/dissociate-all"), request=instead("GET", on("DELETE", TAG))),
    Fault("mixin's DELETE deletes instances", ("collections/dissociate-all",), request=lambda r: replace(r, path="/network/") if on("DELETE", TAG)(r) else r),
    Fault("change of collection not shown", ("collections/shown-after-change",), answer=rewrite(r"(?s).+", "OK", on("POST|PUT", TAG))),
    Fault("PUT to a kind's collection", ("collections/put-kind",), answer=status(200, on("PUT", KIND))),
    Fault("root lists nothing", ("collections/unbound", "collections/unbound-text"), answer=rewrite(r"(?s).+", "", on("GET", "^/$"))),
    Fault("pages ignored", ("collections/pages", "collections/pages-end", "collections/pages-malformed"), request=lambda r: replace(r, query={})),
    Fault("large pages break", ("collections/pages-too-large",), answer=status(500, on(), "413")),
    Fault("unknown paths are 200", ("collections/unknown",), answer=status(200, on("GET", "-nowhere/$"))),
    # links
    Fault("links without ends", ("links/create", "links/create-by-path"), answer=rewrite(r"X-OCCI-Attribute: occi.core.(source|target).*\n", "", on("GET", LINKS))),
    Fault("absolute ends only", ("links/create-by-path",), answer=status(400, on("POST", LINKS, body='source="/'))),
    Fault("links are resources", ("links/kind",), answer=rewrite("Category: networkinterface;", "Category: network;", on("GET", LINKS))),
    Fault("links not shown", ("links/in-resource", "links/inline", "entities/replace-keeps-links", "text/link-grammar", "links/add-by-update"), answer=rewrite(r"Link: <[^?>]+>.*\n", "", on("GET|POST", "^/compute/."))),
    Fault("links without self", ("links/in-resource", "links/inline"), answer=rewrite(r'self="[^"]+"; ', "", on("GET"))),
    Fault("links shown at the target", ("links/outward",), prepare=links_at_both_ends),
    Fault("inline links ignored", ("links/inline", "links/inline-unknown"), request=heard_as(on("POST", "^/compute/$"), r"Link:.*\r\n", "")),
    Fault("link's Location answered too", ("links/inline-location",), answer=extra_header("Location", "/networkinterface/x", on("POST", "^/compute/$", body="Link:"))),
    Fault("links without end taken", ("links/ends-missing",), answer=status(500, on("POST", LINKS), "400")),
    Fault("source may be missing", ("links/source-unknown",), prepare=dangling_source),
    Fault("Link in a link ignored", ("links/update-with-link",), request=heard_as(on("POST", LINKS), r"Link:.*\r\n", "")),
    Fault("links stay", ("links/deleted-with-source",), prepare=links_stay),
    Fault("Link in update ignored", ("links/add-by-update",), request=heard_as(on("POST", "^/compute/."), r"Link:.*\r\n", "")),
    # actions
    Fault("foreign actions offered", ("actions/offered",), answer=rewrite(r"infrastructure/(network|storage)/action#", "infrastructure/other/action#", on("GET", INSTANCE))),
    Fault("all actions offered", ("actions/applicable-only",), answer=rewrite(r"Link: <(\S+)\?action=down>.*", rf'Link: <\1?action=down>; rel="{BASE}/network/action#down"\nLink: <\1?action=up>; rel="{BASE}/network/action#up"', on("GET", INSTANCE))),
    Fault("actions do nothing", ("actions/perform", "actions/perform-in-headers", "batch/action", "json/action"), request=instead("GET", ACTION_POST)),
    Fault("actions are 204", ("actions/perform", "actions/perform-in-headers"), answer=status(204, ACTION_POST, "200")),
    Fault("actions at any time", ("actions/unavailable", "actions/category-missing", "actions/mismatch", "actions/wrong-parameter"), answer=status(200, ACTION_POST, "400")),
    Fault("unknown action breaks", ("actions/unknown",), answer=status(500, ACTION_POST, "404")),
    Fault("unknown instance breaks", ("actions/unknown-instance",), answer=status(500, ACTION_POST, "404")),
    Fault("action needs no category", ("actions/category-missing",), answer=status(200, on("POST", query="action=", body="^$"))),
    # infrastructure
    Fault("compute lacks cores", ("infrastructure/compute-kind",), prepare=lacks_attribute(INFRA + "compute", "occi.compute.cores")),
    Fault("compute lacks suspend", ("infrastructure/compute-kind",), prepare=lacks_action(INFRA + "compute", "suspend")),
    Fault("compute lacks speed", ("infrastructure/compute-kind-1.1",), prepare=lacks_attribute(INFRA + "compute", "occi.compute.speed")),
    Fault("compute lacks save", ("infrastructure/compute-kind-1.2",), prepare=lacks_action(INFRA + "compute", "save")),
    Fault("network lacks vlan", ("infrastructure/network-kind",), prepare=lacks_attribute(INFRA + "network", "occi.network.vlan")),
    Fault("network lacks message", ("infrastructure/network-kind-1.2",), prepare=lacks_attribute(INFRA + "network", "occi.network.state.message")),
    Fault("storage lacks online", ("infrastructure/storage-kind",), prepare=lacks_action(INFRA + "storage", "online")),
    Fault("storage lacks snapshot", ("infrastructure/storage-kind-1.1",), prepare=lacks_action(INFRA + "storage", "snapshot")),
    Fault("storage lacks message", ("infrastructure/storage-kind-1.2",), prepare=lacks_attribute(INFRA + "storage", "occi.storage.state.message")),
    Fault("interface lacks mac", ("infrastructure/networkinterface-kind",), prepare=lacks_attribute(INFRA + "networkinterface", "occi.networkinterface.mac")),
    Fault("link is a resource", ("infrastructure/networkinterface-kind",), prepare=category(INFRA + "networkinterface", assign("rel", CORE + "resource"))),
    Fault("storagelink lacks deviceid", ("infrastructure/storagelink-kind",), prepare=lacks_attribute(INFRA + "storagelink", "occi.storagelink.deviceid")),
    Fault("state is not immutable", ("infrastructure/state-immutable",), answer=rewrite(r"(network\.state)\{immutable\}", r"\1")),
    Fault("size is not required", ("infrastructure/size-required",), answer=rewrite(r"\{required\}", "")),
    Fault("no methods", ("infrastructure/action-methods",), prepare=lacks_attribute(f"{BASE}/compute/action#stop", "method")),
    Fault("unknown state", ("infrastructure/states",), answer=rewrite(r'network\.state="\w+"', 'network.state="up"', on("GET"))),
    Fault("size in bytes", ("infrastructure/storage-size",), answer=rewrite(r"size=2.0", "size=2147483648", on("GET"))),
    Fault("hostname forgotten", ("infrastructure/hostname",), answer=rewrite("checked", "host-1", on("GET"))),
    Fault("any VLAN", ("infrastructure/vlan-range",), prepare=unchecked("no such VLAN")),
    Fault("compute never starts", ("infrastructure/compute-start-inactive", "infrastructure/compute-start-suspended"), request=stuck("compute", "start")),
    Fault("restart stops", ("infrastructure/compute-restart-active",), request=lambda r: heard_as(on(), "restart;", "stop;")(replace(r, query={"action": "stop"})) if r.query.get("action") == "restart" else r),
    Fault("compute never suspends", ("infrastructure/compute-suspend-active",), request=stuck("compute", "suspend")),
    Fault("compute never stops", ("infrastructure/compute-stop-active", "infrastructure/action-with-method"), request=stuck("compute", "stop")),
    Fault("network never goes down", ("infrastructure/network-down-active",), request=stuck("network", "down")),
    Fault("network never comes up", ("infrastructure/network-up-inactive",), request=stuck("network", "up")),
    Fault("storage never online", ("infrastructure/storage-online-offline",), request=stuck("storage", "online")),
    Fault("storage never offline", ("infrastructure/storage-offline-online",), request=stuck("storage", "offline")),
    Fault("method refused", ("infrastructure/action-with-method",), answer=status(400, on("POST", body="poweroff"))),
    Fault("no mac shown", ("infrastructure/interface-attributes",), answer=rewrite(r"X-OCCI-Attribute: occi.networkinterface.mac.*\n", "", on("GET"))),
    Fault("no device shown", ("infrastructure/storagelink-attributes",), answer=rewrite(r"X-OCCI-Attribute: occi.storagelink.deviceid.*\n", "", on("GET"))),
    Fault("ipnetwork lacks gateway", ("infrastructure/ipnetwork",), prepare=lacks_attribute(f"{BASE}/network#ipnetwork", "occi.network.gateway")),
    Fault("network forgets its address", ("infrastructure/ipnetwork",), answer=rewrite(r"X-OCCI-Attribute: occi.network.address.*\n", "", on("GET"))),
    Fault("interface forgets its address", ("infrastructure/ipnetworkinterface",), answer=rewrite(r"X-OCCI-Attribute: occi.networkinterface.address.*\n", "", on("GET"))),
    Fault("template base not listed", ("infrastructure/templates-related",), prepare=lacks(INFRA + "os_tpl")),
    Fault("no OS templates", ("infrastructure/os-template-offered",), prepare=lacks("http://subject.example.com/os#cirros")),
    Fault("templates forgotten", ("infrastructure/os-template", "infrastructure/resource-template"), answer=rewrite(r"Category: (cirros|small);.*\n", "", on("GET", "^/compute/."))),
    Fault("sizes not shown", ("infrastructure/resource-template-sizes", "infrastructure/profile-small"), answer=rewrite(r"X-OCCI-Attribute: occi.compute.cores.*\n", "", on("GET"))),
    Fault("profile lacks large", ("infrastructure/profile-sizes",), prepare=lacks(CRTP + "large")),
    Fault("small is larger", ("infrastructure/profile-small",), answer=rewrite("memory=1.0", "memory=2.0", on("GET"))),
    Fault("key forgotten", ("infrastructure/ssh-key",), answer=rewrite(r"Category: ssh_key;.*\n", "", on("GET", INSTANCE))),
    Fault("data forgotten", ("infrastructure/user-data",), answer=rewrite(r"Category: user_data;.*\n", "", on("GET", INSTANCE))),
    # JSON
    Fault("JSON of another name", ("json/content-type",), answer=rewrite(r"occi\+json", "json", headers=True)),
    Fault("pre-1.2 kinds", ("json/query",), answer=document(lambda d: [k.update(related="x") for k in d["kinds"]], on("GET", "^/-/"))),
    Fault("mixins without location", ("json/query",), answer=document(lambda d: [m.pop("location") for m in d["mixins"]], on("GET", "^/-/"))),
    Fault("JSON lacks actions", ("json/query-complete",), answer=document(drop("actions"), on("GET", "^/-/"))),
    Fault("JSON kinds without location", ("json/kind-locations",), answer=document(lambda d: [k.pop("location", 0) for k in d["kinds"]], on("GET", "^/-/"))),
    Fault("location in a resource", ("json/resource", "json/collection"), answer=document(lambda d: [one.update(location="/x") for one in d.get("resources", [d])], on("GET", "^/network/"))),
    Fault("JSON lacks attributes", ("json/same-as-text",), answer=document(drop("attributes"), on("GET", INSTANCE))),
    Fault("another id in JSON", ("json/same-as-text",), answer=document(lambda d: d.update(id="urn:other"), on("GET", INSTANCE))),
    Fault("nested attributes", ("json/types",), answer=document(lambda d: d.update(attributes={"occi": {}}), on("GET", INSTANCE))),
    Fault("numbers are strings", ("json/types",), answer=document(lambda d: d["attributes"].update({"occi.compute.cores": "1"}), on("GET", "^/compute/."))),
    Fault("JSON offers no actions", ("json/actions",), answer=document(drop("actions"), on("GET", INSTANCE))),
    Fault("collection is a bare array", ("json/collection", "json/empty-collection"), answer=lambda r, a: replace(a, body=b"[]") if r.method == "GET" and r.path.endswith("/") and r.path != "/-/" and r.header("accept") == JSON else a),
    Fault("empty JSON collection is 204", ("json/empty-collection",), answer=status(204, on("GET", TAG, "occi.json"))),
    Fault("link ends are strings", ("json/link",), answer=document(lambda d: d.update(source="/x") if "source" in d else None, on("GET", LINKS))),
    Fault("JSON can't create", ("json/create",), answer=status(500, on("POST", "^/network/$", "content-type: application/occi.json"), "201")),
    Fault("JSON titles forgotten", ("json/create", "json/separators"), request=heard_as(on("POST", header="content-type: application/occi.json"), '"title"', '"summary"')),
    Fault("JSON links refused", ("json/create-link",), answer=status(400, on("POST", LINKS, "content-type: application/occi.json"))),
    Fault("JSON mixins refused", ("json/mixin",), answer=status(400, on("POST", "^/-/", "content-type: application/occi.json"))),
    Fault("JSON actions refused", ("json/action",), answer=status(400, on("POST", header="content-type: application/occi.json", query="action"))),
    Fault("500 on bad JSON", ("json/malformed", "json/wrong-shapes"), answer=status(500, on("POST", header="content-type: application/occi.json"), "400")),
    Fault("JSON of any shape", ("json/wrong-shapes",), answer=status(200, on("POST", header="content-type: application/occi.json"), "400")),
    # batch
    Fault("action on the first only", ("batch/action",), prepare=method("members", lambda healthy: lambda bound: healthy(bound)[:1])),
    Fault("DELETE leaves the collection", ("batch/delete",), request=instead("GET", on("DELETE", KIND))),
    Fault("DELETE below a path deletes all", ("batch/below-a-path",), request=lambda r: replace(r, path="/") if on("DELETE", "-below/$")(r) else r),
    Fault("listing below a path lists all", ("batch/below-a-path",), request=lambda r: replace(r, path="/network/") if on("GET", "-below/$")(r) else r),
)  # fmt: skip
"""One line a fault, so that the table can be read as one."""
