"""The text renderings, byte by byte: the ABNF of what is answered, and what must be understood when sent."""

from __future__ import annotations

import re
from dataclasses import replace

from conformance.occi.reader import fields, grammar_fault, quote, read
from conformance.occi.server import V11, Sent, Server, identify, suite
from conformance.suite import CheckFailed, Exchange, Level, expect, require

check = suite.check
HARD_TITLE = 'a "quoted; part", b=c\\ d, occi.core.summary="x"; e'
WORKING_GROUP_CATEGORY = re.compile(r'\w+; scheme="[a-z0-9:./#_-]*"; class="(?:action|kind|mixin)"')


def keeps_grammar(answer: Exchange, version: str = "1.2") -> None:
    fault = grammar_fault(answer, version)
    require(fault is None, fault or "", answer)


def title_of(server: Server, url: str) -> str | None:
    return server.look(url).attributes.get("occi.core.title")


def expect_title(server: Server, url: str, wanted: str) -> None:
    found = title_of(server, url)
    require(found == wanted, f"the title came back as {found!r}, expected {wanted!r}")


@check(
    "text/category-grammar",
    "GFD.185 §3.5.1; GFD.229 §4.1",
    "Each line of the query interface follows the ABNF of Category, its parameters in their order.",
)
def category_grammar(server: Server) -> None:
    keeps_grammar(server.get("/-/"))
    require(all(name == "Category" for name, _ in fields(server.get("/-/"))), "a line is no Category")


@check(
    "text/category-grammar-1.1",
    "GFD.185 §3.5.1",
    "Terms and attribute names are of lower case and start with a letter.",
    versions=V11,
)
def category_grammar_11(server: Server) -> None:
    keeps_grammar(server.get("/-/"), "1.1")


@check(
    "text/category-shape",
    "GFD.185 §3.5.1",
    'Categories start as the working group\'s tool reads them: term; scheme="…"; class="…".',
    Level.SHOULD,
)
def category_shape(server: Server) -> None:
    answer = server.get("/-/")
    for _, value in fields(answer):
        require(WORKING_GROUP_CATEGORY.match(value), f"Category: {value} has another shape", answer)


@check(
    "text/category-headers",
    "GFD.185 §3.6.6.2; GFD.229 §7",
    "In text/occi the query interface holds the same categories as in text/plain, none cut off.",
)
def category_headers(server: Server) -> None:
    answer = server.get("/-/", accept="text/occi")
    expect(answer, {200}, "the query interface as text/occi")
    keeps_grammar(answer)
    here, there = read(answer).category_ids(), read(server.get("/-/")).category_ids()
    require(here == there, f"text/occi lists {len(here)} categories, text/plain {len(there)}", answer)


@check(
    "text/ok",
    "GFD.185 §3.6.6.2; GFD.229 §7",
    "The body of a successful text/occi answer is OK.",
)
def ok(server: Server) -> None:
    kind = server.a_resource_kind()
    instance = server.shared(kind)
    for location in ("/-/", instance, server.collection(kind)):
        answer = server.get(location, accept="text/occi")
        expect(answer, {200}, "text/occi")
        require(answer.body.strip() == b"OK", f"the body is {answer.text[:40]!r}, expected OK", answer)


@check(
    "text/entity-grammar",
    "GFD.185 §3.5; GFD.229 §4, §5.1",
    "Each line of an instance is a Category, Link or X-OCCI-Attribute that follows the ABNF.",
)
def entity_grammar(server: Server) -> None:
    for kind in ("compute", "network", "storage"):
        if server.find(server.kind(server.a_resource_kind()).parameters["scheme"] + kind):
            answer = server.look_at(server.shared(kind))
            keeps_grammar(answer)
            names = {name.lower() for name, _ in fields(answer)}
            require(names <= {"category", "link", "x-occi-attribute"}, "a line is of another kind", answer)


@check(
    "text/entity-headers",
    "GFD.185 §3.6.6.2; GFD.229 §7",
    "An instance as text/occi says in its headers what text/plain says in its body.",
)
def entity_headers(server: Server) -> None:
    instance = server.shared(server.a_resource_kind())
    answer = server.look_at(instance, accept="text/occi")
    keeps_grammar(answer)
    here, there = read(answer), server.look(instance)
    require(here.category_ids() == there.category_ids(), "the categories differ from text/plain", answer)
    require(set(here.attributes) == set(there.attributes), "the attributes differ from text/plain", answer)


@check(
    "text/numbers",
    "GFD.185 §3.5.4; GFD.229 §4.3",
    "Numbers stand without quotes, sign or exponent; strings and enumerations in quotes.",
)
def numbers(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = server.look_at(server.shared(kind))
    numeric = {"occi.compute.cores", "occi.compute.memory", "occi.storage.size", "occi.network.vlan"}
    for raw in read(answer).raw_attributes:
        name, _, value = raw.partition("=")
        quoted = value.startswith('"')
        require(not (name in numeric and quoted), f"{raw}: a number in quotes", answer)
        require(quoted or name in numeric or not name.endswith(".state"), f"{raw}: not in quotes", answer)


@check(
    "text/numbers-compute",
    "GFD.184 §3.1; GFD.185 §3.5.4; GFD.229 §4.3",
    "Cores and memory of a compute are rendered as numbers.",
)
def numbers_compute(server: Server) -> None:
    server.kind("compute")
    answer = server.look_at(server.shared("compute"))
    for raw in read(answer).raw_attributes:
        name, _, value = raw.partition("=")
        if name in ("occi.compute.cores", "occi.compute.memory"):
            require(re.fullmatch(r"\d+(\.\d+)?", value), f"{raw}: expected a plain number", answer)


@check(
    "text/lines",
    "GFD.185 §3.5; GFD.229 §6",
    "Lines end in CRLF or LF, one of them throughout; none is empty.",
    Level.SHOULD,
)
def lines(server: Server) -> None:
    answer = server.get("/-/")
    with_return, all_ends = answer.body.count(b"\r\n"), answer.body.count(b"\n")
    require(with_return in (0, all_ends), "CRLF and LF are mixed", answer)
    require(answer.body.count(b"\r") == with_return, "a carriage return stands alone", answer)
    require(not re.match(rb"\r?\n", answer.body), "the first line is empty", answer)
    require(not re.search(rb"\n\r?\n", answer.body), "a line is empty", answer)


@check("text/crlf-taken", "GFD.185 §3.4.4; GFD.229 §5.1", "Lines that end in CRLF are understood.")
def crlf_taken(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    answer = server.send("POST", server.collection(kind), server.minimal(kind, title), line_end="\r\n")
    expect_title(server, server.made(answer, kind), title)


@check("text/lf-taken", "GFD.229 §6", "Lines that end in LF alone are understood.", Level.SHOULD)
def lf_taken(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    answer = server.send("POST", server.collection(kind), server.minimal(kind, title), line_end="\n")
    expect_title(server, server.made(answer, kind), title)


@check(
    "text/separators",
    "GFD.185 §3.5, §3.6.6.2; GFD.229 §4.3",
    "Quotes, semicolons, commas and backslashes in a string come back unchanged, sent in a body.",
)
def separators(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title() + HARD_TITLE
    answer = server.look_at(server.create(kind, title=title))
    found = read(answer).attributes.get("occi.core.title")
    require(found == title, f"the title came back as {found!r}, expected {title!r}", answer)
    keeps_grammar(answer)


@check(
    "text/separators-headers",
    "GFD.185 §3.5, §3.6.6.2; GFD.229 §7",
    "Quotes, semicolons, commas and backslashes in a string come back unchanged through headers.",
)
def separators_headers(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title() + HARD_TITLE
    answer = server.send_in_headers("POST", server.collection(kind), server.minimal(kind, title))
    instance = server.made(answer, kind)
    shown = server.look_at(instance, accept="text/occi")
    found = read(shown).attributes.get("occi.core.title")
    require(found == title, f"the title came back as {found!r}, expected {title!r}", shown)


@check(
    "text/injection",
    "GFD.185 §3.6.6.2; GFD.229 §7",
    "What looks like an attribute inside a quoted string sets nothing.",
)
def injection(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title() + ' \\", occi.core.summary="slipped in'
    message = replace(
        server.minimal(kind),
        attributes=(
            *(a for a in server.minimal(kind).attributes if not a.startswith("occi.core.title")),
            f'occi.core.title={quote(title)}, occi.core.summary="meant"',
        ),
    )
    answer = server.send_in_headers("POST", server.collection(kind), message)
    rendering = server.look(server.made(answer, kind))
    found = rendering.attributes.get("occi.core.summary")
    require(found == "meant", f"occi.core.summary is {found!r}, expected 'meant'")


@check(
    "text/comma-list",
    "GFD.185 §3.5, §3.6.6.2; GFD.229 §7",
    "Several values in one header, separated by commas, are understood.",
)
def comma_list(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    attributes = (*message.attributes, 'occi.core.summary="second value"')
    joined = Sent((", ".join(message.categories),), (), (", ".join(attributes),))
    for send in (server.send_in_headers, server.send):
        answer = send("POST", server.collection(kind), joined)
        found = server.look(server.made(answer, kind)).attributes.get("occi.core.summary")
        require(found == "second value", f"the second value of the list gave {found!r}", answer)


@check(
    "text/repeated-headers",
    "GFD.185 §3.5, §3.6.6.2; GFD.229 §7",
    "Several headers of one name are understood.",
)
def repeated_headers(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title()
    message = server.minimal(kind, title)
    message = replace(message, attributes=(*message.attributes, 'occi.core.summary="second header"'))
    answer = server.send_in_headers("POST", server.collection(kind), message)
    shown = server.look(server.made(answer, kind)).attributes
    for name, wanted in (("occi.core.title", title), ("occi.core.summary", "second header")):
        require(shown.get(name) == wanted, f"{name} is {shown.get(name)!r}, expected {wanted!r}", answer)


@check(
    "text/header-case",
    "GFD.185 §3.5; RFC 2616 §4.2",
    "Names of headers are understood in any letter case.",
)
def header_case(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    headers = [(name.upper(), value) for name, value in message.fields()]
    answer = server.request(
        "POST", server.collection(kind), accept="text/occi", content_type="text/occi", headers=headers
    )
    server.made(answer, f"{kind} with headers in upper case")


@check(
    "text/class-unquoted",
    "GFD.185 §3.5.1; GFD.229 §4.1",
    "class is understood with and without quotes, and parameters with spaces or none.",
)
def class_unquoted(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    identifier = server.kind(kind).type_identifier
    bare = identify(identifier).replace("; ", ";") + ";class=kind"
    answer = server.send("POST", server.collection(kind), replace(message, categories=(bare, *message.categories[1:])))
    server.made(answer, f"{kind} with class=kind")


@check(
    "text/trailing-semicolon",
    "GFD.185 §3.4.4, examples",
    "A semicolon at the end of a Category, as in the standard's examples, is understood.",
    Level.SHOULD,
)
def trailing_semicolon(server: Server) -> None:
    kind = server.a_resource_kind()
    message = server.minimal(kind)
    ended = tuple(value + ";" for value in message.categories)
    answer = server.send("POST", server.collection(kind), replace(message, categories=ended))
    server.made(answer, f"{kind} with a semicolon at the end")


@check("text/unicode", "GFD.229 §6", "Letters beyond ASCII in a title come back unchanged.", Level.SHOULD)
def unicode(server: Server) -> None:
    kind = server.a_resource_kind()
    title = server.title() + " Grüße 雲"
    expect_title(server, server.create(kind, title=title), title)


@check(
    "text/location-grammar",
    "GFD.185 §3.5.5; GFD.229 §4.4, §5.3",
    "A collection is rendered as X-OCCI-Location lines, each one URI.",
)
def location_grammar(server: Server) -> None:
    kind = server.a_resource_kind()
    server.shared(kind)
    answer = server.look_at(server.collection(kind))
    keeps_grammar(answer)
    names = {name.lower() for name, _ in fields(answer)}
    require(names == {"x-occi-location"}, f"the collection has lines {sorted(names)}", answer)


@check(
    "text/action-link-grammar",
    "GFD.185 §3.5.3; GFD.229 §4.2",
    'An action is offered as <URI?action=term>; rel="action\'s type".',
)
def action_link_grammar(server: Server) -> None:
    answer = server.look_at(server.shared(server.a_resource_kind()))
    links = read(answer).action_links()
    if not links:
        raise CheckFailed("the instance offers no action", answer)
    for link in links:
        term = link.head.rpartition("?action=")[2]
        relation = link.parameters.get("rel", "")
        require(relation.endswith("#" + term), f"{link.raw}: rel does not name the action {term}", answer)
        require(set(link.parameters) == {"rel"}, f"{link.raw}: expected rel and nothing else", answer)


@check(
    "text/link-grammar",
    "GFD.185 §3.5.2; GFD.229 §4.2",
    "A link is rendered with rel, self and category in that order, then its attributes.",
)
def link_grammar(server: Server) -> None:
    source, target = server.shared("compute"), server.shared("network")
    server.kind("networkinterface")
    server.link("networkinterface", source, target)
    answer = server.look_at(source)
    keeps_grammar(answer)
    links = read(answer).entity_links()
    require(links, "the resource shows no link", answer)
    order = [name for name in links[0].parameters if name in ("rel", "self", "category")]
    require(order == ["rel", "self", "category"], f"the link has {order}", answer)
