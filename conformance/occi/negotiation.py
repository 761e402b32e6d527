"""Headers and media types: versions, Accept and Content-Type, authentication."""

from __future__ import annotations

import re

from conformance.occi.reader import read
from conformance.occi.server import CLIENT, V11, V12, Sent, Server, suite
from conformance.suite import Level, NotApplicable, expect, require

check = suite.check


@check(
    "negotiation/server-header",
    "GFD.185 §3.6.5; GFD.223 §5.2, §5.3",
    "Every answer, errors too, names the OCCI version in its Server header.",
)
def server_header(server: Server) -> None:
    answers = [
        server.get("/-/"),
        server.get(server.collection(server.a_resource_kind())),
        server.get(server.collection(server.a_resource_kind()) + "nothing-is-here"),
        server.send("POST", "/-/", Sent(("malformed",))),
    ]
    for answer in answers:
        banner = answer.header("server")
        found = re.search(r"\bOCCI/1\.[12]\b", banner)
        require(found, f"the Server header is {banner!r}, expected OCCI/1.1 or OCCI/1.2 in it", answer)


@check(
    "negotiation/higher-version",
    "GFD.185 §3.6.5; GFD.223 §5.3",
    "A client of a higher version in its User-Agent is answered 501.",
)
def higher_version(server: Server) -> None:
    answer = server.request("GET", "/-/", headers=[("User-Agent", "conformance/1 OCCI/9.7")])
    expect(answer, {501}, "a client of OCCI/9.7")


@check(
    "negotiation/own-version",
    "GFD.185 §3.6.5; GFD.223 §5.3",
    "Clients of a version that the server claims, and those that name none, are served.",
)
def own_version(server: Server) -> None:
    for version in sorted(server.versions):
        answer = server.request("GET", "/-/", headers=[("User-Agent", f"conformance/1 OCCI/{version}")])
        expect(answer, {200}, f"a client of OCCI/{version}")
    expect(server.request("GET", "/-/", headers=[("User-Agent", "curl/7.88")]), {200}, "a plain client")


@check("negotiation/default", "GFD.185 §3.6.6", "Without Accept the answer is text/plain.", versions=V11)
def default(server: Server) -> None:
    answer = server.get("/-/", accept=None)
    expect(answer, {200}, "a request without Accept")
    require(answer.media_type == "text/plain", f"answered {answer.media_type}, expected text/plain", answer)


@check("negotiation/any", "GFD.185 §3.6.6", "With Accept */* the answer is text/plain.", versions=V11)
def anything(server: Server) -> None:
    answer = server.get("/-/", accept="*/*")
    expect(answer, {200}, "Accept: */*")
    require(answer.media_type == "text/plain", f"answered {answer.media_type}, expected text/plain", answer)


@check("negotiation/unknown", "GFD.185 §3.6.6; GFD.223 §5.4", "An Accept that can't be met is answered 406.")
def unknown(server: Server) -> None:
    answer = server.get("/-/", accept="application/x-conformance-nothing")
    expect(answer, {406}, "Accept: application/x-conformance-nothing")


@check(
    "negotiation/content-type",
    "GFD.185 §3.6.6; GFD.223 §5.2; GFD.229 §6-8",
    "Asked for text/plain, text/occi or text/uri-list, the answer has that Content-Type.",
)
def content_type(server: Server) -> None:
    collection = server.collection(server.a_resource_kind())
    server.shared(server.a_resource_kind())
    for location, media_type in (
        (collection, "text/plain"),
        (collection, "text/occi"),
        (collection, "text/uri-list"),
    ):
        answer = server.get(location, accept=media_type)
        expect(answer, {200}, f"Accept: {media_type}")
        require(
            answer.media_type == media_type,
            f"Content-Type is {answer.header('content-type')!r}, expected {media_type}",
            answer,
        )


@check("negotiation/quality", "GFD.185 §3.6.6", "The q values of Accept decide, whatever the order.")
def quality(server: Server) -> None:
    for accept, wanted in (
        ("text/occi;q=0.2, text/plain;q=0.9", "text/plain"),
        ("text/plain;q=0.2, text/occi;q=0.9", "text/occi"),
        ("text/plain,text/occi;q=0.2", "text/plain"),
        ("application/x-nothing, text/occi;q=0.1", "text/occi"),
    ):
        answer = server.get(server.collection(server.a_resource_kind()), accept=accept)
        expect(answer, {200, 204}, f"Accept: {accept}")
        if answer.status == 204:
            server.shared(server.a_resource_kind())
            answer = server.get(answer.url, accept=accept)
        require(answer.media_type == wanted, f"{accept} gave {answer.media_type}, expected {wanted}", answer)


@check("negotiation/text-any", "GFD.185 §3.6.6", "Accept text/* is met by a text type.", Level.SHOULD)
def text_any(server: Server) -> None:
    answer = server.get("/-/", accept="text/*")
    expect(answer, {200}, "Accept: text/*")
    require(answer.media_type.startswith("text/"), f"answered {answer.media_type}", answer)


@check(
    "negotiation/occi-plain",
    "GFD.229 §6",
    "text/occi+plain is served, with the bytes of text/plain.",
    versions=V12,
)
def occi_plain(server: Server) -> None:
    answer = server.get("/-/", accept="text/occi+plain")
    expect(answer, {200}, "Accept: text/occi+plain")
    require(answer.media_type == "text/occi+plain", f"answered {answer.media_type}", answer)
    require(answer.body == server.get("/-/").body, "the body differs from that of text/plain", answer)


@check(
    "negotiation/occi-plain-sent",
    "GFD.229 §6",
    "A message can be sent as text/occi+plain.",
    versions=V12,
)
def occi_plain_sent(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = server.request(
        "POST",
        server.collection(kind),
        content_type="text/occi+plain",
        body=server.minimal(kind).body(),
    )
    server.made(answer, f"{kind}, sent as text/occi+plain")


@check(
    "negotiation/uri-list-of-instance",
    "GFD.185 §3.6.6.3; GFD.229 §8",
    "text/uri-list asked of what is no listing is answered 400.",
)
def uri_list_of_instance(server: Server) -> None:
    instance = server.shared(server.a_resource_kind())
    expect(server.get(instance, accept="text/uri-list"), {400}, "text/uri-list of an instance")
    expect(server.get("/-/", accept="text/uri-list"), {400}, "text/uri-list of the query interface")


@check(
    "negotiation/accept-answered",
    "GFD.223 §5.2",
    "Answers list in an Accept header what the server takes.",
    Level.SHOULD,
    V12,
)
def accept_answered(server: Server) -> None:
    answer = server.get("/-/")
    require("text/plain" in answer.header("accept"), "the answer has no Accept header", answer)


@check(
    "negotiation/unknown-content",
    "GFD.185 §3.6.6; GFD.223 §5.4",
    "A body of a type that the server doesn't know is refused.",
)
def unknown_content(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = server.request(
        "POST",
        server.collection(kind),
        content_type="application/x-conformance-nothing",
        body=server.minimal(kind).body(),
    )
    expect(answer, {400, 406, 415}, "a body of type application/x-conformance-nothing")


@check(
    "negotiation/content-parameters",
    "GFD.185 §3.6.6",
    "Content-Type may carry parameters such as charset and any letter case.",
)
def content_parameters(server: Server) -> None:
    kind = server.a_resource_kind()
    answer = server.request(
        "POST",
        server.collection(kind),
        content_type="Text/Plain; charset=utf-8",
        body=server.minimal(kind).body(),
    )
    server.made(answer, f"{kind}, sent as Text/Plain; charset=utf-8")


@check(
    "negotiation/credentials-absent",
    "GFD.185 §3.6.8, §5; GFD.223 §5.4, §12; RFC 7235 §3.1",
    "Without credentials the answer is 401 with WWW-Authenticate.",
)
def credentials_absent(server: Server) -> None:
    if server.wire.credentials is None:
        raise NotApplicable("the run has no credentials")
    location = server.collection(server.a_resource_kind())
    answer = server.wire.send("GET", location, [("User-Agent", CLIENT)], authenticated=False)
    if answer.status in (200, 204):
        raise NotApplicable("the server asks for no credentials")
    expect(answer, {401}, "a request without credentials")
    require(answer.header("www-authenticate"), "the 401 has no WWW-Authenticate header", answer)


@check(
    "negotiation/credentials-wrong",
    "GFD.185 §3.6.8, §5; GFD.223 §5.4, §12",
    "Wrong credentials are answered 401.",
)
def credentials_wrong(server: Server) -> None:
    if server.wire.credentials is None:
        raise NotApplicable("the run has no credentials")
    location = server.collection(server.a_resource_kind())
    if server.wire.send("GET", location, [("User-Agent", CLIENT)], authenticated=False).status != 401:
        raise NotApplicable("the server asks for no credentials")
    wrong = (server.wire.credentials[0], server.prefix)
    answer = server.wire.send("GET", location, [("User-Agent", CLIENT)], credentials=wrong)
    expect(answer, {401}, "a wrong password")


@check(
    "negotiation/error-is-readable",
    "GFD.185 §3.6.6; GFD.223 §5.2",
    "An error with a body has a Content-Type.",
    Level.SHOULD,
)
def error_is_readable(server: Server) -> None:
    answer = server.get(server.collection(server.a_resource_kind()) + "nothing-is-here")
    require(read(answer) and (answer.media_type or not answer.body), "an error without Content-Type", answer)
