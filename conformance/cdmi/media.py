"""Media types, what makes a request a CDMI one, and bodies that are not what they should be."""

from __future__ import annotations

from conformance.cdmi.fields import MEDIA_TYPES, document
from conformance.cdmi.server import MADE, Server, check
from conformance.suite import Level, NotApplicable, expect, require

NOT_JSON = (b"{", b"{'value': 'x'}", b"\xff\xfe", b'{"value": "x"', b"value=x")
NOT_AN_OBJECT = (b"[]", b'"x"', b"1", b"null", b'[{"value": "x"}]')


@check("media/container", "9.3.5", "9.4.5", "A container read by CDMI has the type application/cdmi-container.")
def container_type(server: Server) -> None:
    answer = server.get(server.home.url, "container")
    require(answer.media_type == MEDIA_TYPES["container"], f"Content-Type is {answer.media_type!r}", answer)
    require(document(answer)["objectType"] == MEDIA_TYPES["container"], "objectType is another type", answer)


@check("media/object", "8.2.6, 8.3.5", "8.3.6, 8.4.5", "A data object is answered as application/cdmi-object.")
def object_type(server: Server) -> None:
    made = server.new_object()
    answer = server.get(made.url, "object")
    require(answer.media_type == MEDIA_TYPES["object"], f"Content-Type is {answer.media_type!r}", answer)
    require(document(answer)["objectType"] == MEDIA_TYPES["object"], "objectType is another type", answer)


@check("media/capability", "12.2.5", "12.3.5", "Capabilities are answered as application/cdmi-capability.")
def capability_type(server: Server) -> None:
    answer = server.get(f"{server.root}cdmi_capabilities/", "capability")
    require(answer.media_type == MEDIA_TYPES["capability"], f"Content-Type is {answer.media_type!r}", answer)


@check("media/create-type", "8.2.6", "8.3.6", "The answer to a creation has the type of what was created.")
def create_type(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    answer = server.put(server.new_url(".txt"), "object", {"value": "x"})
    expect(answer, MADE, "a new data object")
    require(answer.media_type == MEDIA_TYPES["object"], f"Content-Type is {answer.media_type!r}", answer)


@check("media/json-suffix", "5.13.2", "5.5.2", "The types with the suffix +json are taken and understood.")
def json_suffix(server: Server) -> None:
    answer = server.get(server.home.url, "application/cdmi-container+json")
    expect(answer, {200}, "Accept: application/cdmi-container+json")
    require("objectID" in document(answer), "the container has no objectID", answer)


@check("media/json-suffix-sent", "5.13.2", "5.5.2", "Bodies can be sent with the suffix +json.")
def json_suffix_sent(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".txt")
    suffixed = "application/cdmi-object+json"
    answer = server.request("PUT", url, accept=suffixed, content_type=suffixed, body={"value": "suffixed"})
    expect(answer, MADE, f"a new data object as {suffixed}")
    require(server.look(url, "object")["value"] == "suffixed", "the body was not understood as CDMI", answer)


@check("media/parameters", "5.13.2", "5.5.2", "A charset parameter of the type is no hindrance.", Level.SHOULD)
def parameters(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".txt")
    answer = server.request(
        "PUT", url, accept="object", content_type="application/cdmi-object; charset=utf-8", body={"value": "x"}
    )
    expect(answer, MADE, "a new data object with a charset parameter")


@check("media/accept-list", "5.13.2", "5.5.2", "Accept may list several types; one that fits is answered.")
def accept_list(server: Server) -> None:
    accept = ", ".join(MEDIA_TYPES[kind] for kind in ("object", "container", "queue"))
    answer = server.get(server.home.url, accept)
    expect(answer, {200}, f"Accept: {accept}")
    require(answer.media_type == MEDIA_TYPES["container"], f"Content-Type is {answer.media_type!r}", answer)


@check("media/not-acceptable", "9.3.7", "9.4.7", "An Accept that can't be met is answered 406.")
def not_acceptable(server: Server) -> None:
    expect(server.get(server.home.url, "queue"), {406}, "a container asked for as application/cdmi-queue")


@check("media/accept-optional", "8.2.4", "8.3.4", "Accept may be left out of a CDMI creation.")
def accept_optional(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".txt")
    answer = server.request("PUT", url, content_type="object", body={"value": "without Accept"})
    expect(answer, MADE, "a new data object without Accept")
    require(document(answer)["objectID"], "the answer has no objectID", answer)


@check("media/no-content-type", "5.13.2", "5.5.2", "A body without Content-Type is answered 400 in a CDMI request.")
def no_content_type(server: Server) -> None:
    server.needs("cdmi_create_container")
    url = server.new_url("/")
    answer = server.request("PUT", url, accept="container", body={"metadata": {}})
    expect(answer, {400}, "a CDMI body without Content-Type")


@check("media/other-content-type", "5.13.2", "5.5.2", "A Content-Type of another kind of object is answered 400.")
def other_content_type(server: Server) -> None:
    server.needs("cdmi_create_container")
    made = server.new_container()
    answer = server.update(made.url, "object", {"value": "x"})
    expect(answer, {400}, "a container updated as application/cdmi-object")


@check("media/not-json", "8.2.8", "8.3.8", "A CDMI body that is not JSON is answered 400.")
def not_json(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    for body in NOT_JSON:
        expect(server.put(server.new_url(".txt"), "object", body), {400}, f"the body {body!r}")


@check("media/not-an-object", "8.2.8", "8.3.8", "A CDMI body that is JSON but no object is answered 400.")
def not_an_object(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    for body in NOT_AN_OBJECT:
        expect(server.put(server.new_url(".txt"), "object", body), {400}, f"the body {body!r}")


@check("media/wrong-shapes", "8.2.5, 8.2.8", "8.3.5, 8.3.8", "Fields of another type than the standard's get 400.")
def wrong_shapes(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    for field, wrong in (("metadata", "x"), ("metadata", ["x"]), ("mimetype", 7), ("valuetransferencoding", {})):
        answer = server.put(server.new_url(".txt"), "object", {"value": "x", field: wrong})
        expect(answer, {400}, f"{field}: {wrong!r}")


@check("media/unicode", "8.1.3", "8.2.7", "Bodies are UTF-8: what is not ASCII comes back as it was.")
def unicode(server: Server) -> None:
    made = server.new_object("héllo wörld ☃ 𝄞", metadata={"colour": "żółty ☃"})
    found = server.look(made.url, "object")
    require(found["value"] == "héllo wörld ☃ 𝄞", f"the value came back as {found['value']!r}")
    require(found["metadata"].get("colour") == "żółty ☃", f"the metadata came back as {found['metadata']!r}")


@check("media/http-is-no-cdmi", "6.1", "6.1", "Without a CDMI type a body is the value, whatever it looks like.")
def http_is_no_cdmi(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    url, body = server.new_url(".json"), b'{"value": "not CDMI"}'
    expect(server.http("PUT", url, content_type="application/json", body=body), {201}, "a plain PUT")
    require(server.octets(url) == body, "the body was taken for a CDMI one")


@check("media/challenge", "5.12.3", "5.4.3", "A 401 names one way to authenticate.", Level.SHOULD)
def challenge(server: Server) -> None:
    headers = [("Accept", MEDIA_TYPES["container"]), *server.dialect.headers()]
    answer = server.wire.send("GET", server.home.url, headers, authenticated=False)
    if answer.status != 401:
        raise NotApplicable(f"anonymous clients are answered {answer.status}")
    require(len(answer.header_values("www-authenticate")) == 1, "not one WWW-Authenticate", answer)
