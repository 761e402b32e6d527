"""Plain HTTP: data objects and containers for clients that know nothing of CDMI."""

from __future__ import annotations

from conformance.cdmi.fields import octets_of
from conformance.cdmi.server import CHANGED, GONE, Server, Thing, check
from conformance.suite import Exchange, Level, expect, require

BINARY = bytes(range(256))


def put(server: Server, octets: bytes, content_type: str = "application/octet-stream") -> str:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".bin")
    expect(server.http("PUT", url, body=octets, content_type=content_type), {201}, "a plain PUT of a new object")
    return url


def readable_by_range(server: Server) -> str:
    made = server.new_object("0123456789")
    server.needs("cdmi_read_value_range", of=made.fields)
    return made.url


def ranged(server: Server, url: str, span: str) -> Exchange:
    return server.http("GET", url, [("Range", f"bytes={span}")])


@check("http/create", "6.2.7", "6.2.7", "PUT of any bytes makes a data object: 201.")
def create(server: Server) -> None:
    url = put(server, BINARY)
    require(server.octets(url) == BINARY, "other bytes came back")


@check("http/create-type", "6.2.3", "6.2.3", "The Content-Type becomes the mimetype.")
def create_type(server: Server) -> None:
    found = server.look(put(server, b"<p>", "text/html"), "object")["mimetype"]
    require(found == "text/html", f"mimetype is {found!r}, expected 'text/html'")


@check("http/create-no-type", "6.2.3", "6.2.3", "Without Content-Type it is application/octet-stream.")
def create_no_type(server: Server) -> None:
    found = server.look(put(server, b"x", ""), "object")["mimetype"]
    require(found == "application/octet-stream", f"mimetype is {found!r}, expected 'application/octet-stream'")


@check("http/create-encoding", "6.2.3", "6.2.3", "The encoding is base64, or utf-8 if the charset says so.")
def create_encoding(server: Server) -> None:
    for content_type, wanted in (("text/plain", "base64"), ("text/plain;charset=utf-8", "utf-8")):
        fields = server.look(put(server, b"text", content_type), "object")
        found = fields["valuetransferencoding"]
        require(found == wanted, f"sent as {content_type}, valuetransferencoding is {found!r}, expected {wanted!r}")
        value = fields["value"].encode() if wanted == "utf-8" else octets_of(fields["value"])
        require(value == b"text", f"sent as {content_type}, the value is {fields['value']!r}")


@check("http/read", "6.3.6", "6.3.6", "GET answers the bytes of the value.")
def read(server: Server) -> None:
    require(server.octets(server.new_object("żółw").url) == "żółw".encode(), "a utf-8 value came otherwise")
    require(server.octets(server.new_binary(BINARY).url) == BINARY, "a base64 value came otherwise")


@check("http/read-type", "6.3.5", "6.3.5", "The Content-Type is the object's mimetype.")
def read_type(server: Server) -> None:
    answer = server.http("GET", server.new_object("<p>", mimetype="text/html").url)
    require(answer.media_type == "text/html", f"Content-Type is {answer.media_type!r}, expected 'text/html'", answer)


@check("http/head", "5.13.1", "5.5.1", "HEAD answers what GET does, without body.")
def head(server: Server) -> None:
    made = server.new_object("0123456789")
    answer = server.http("HEAD", made.url)
    expect(answer, {200}, "HEAD")
    require(not answer.body, "HEAD has a body", answer)
    require(answer.header("content-length") in ("10", ""), "Content-Length is not the value's", answer)


@check("http/range", "5.13.3, 6.3.7", "5.5.3, 6.3.7", "A Range is answered 206 with its bytes and Content-Range.")
def byte_range(server: Server) -> None:
    answer = ranged(server, readable_by_range(server), "2-5")
    expect(answer, {206}, "Range: bytes=2-5")
    require(answer.body == b"2345", f"the body is {answer.body!r}, expected b'2345'", answer)
    found = answer.header("content-range")
    require(found == "bytes 2-5/10", f"Content-Range is {found!r}, expected 'bytes 2-5/10'", answer)


@check("http/range-open", "5.13.3", "5.5.3", "A Range without end reaches to the end.")
def open_range(server: Server) -> None:
    answer = ranged(server, readable_by_range(server), "7-")
    require((answer.status, answer.body) == (206, b"789"), "bytes=7- is not answered 206 with '789'", answer)


@check("http/range-suffix", "5.13.3", "5.5.3", "A Range without start is counted from the end.")
def suffix_range(server: Server) -> None:
    answer = ranged(server, readable_by_range(server), "-3")
    require((answer.status, answer.body) == (206, b"789"), "bytes=-3 is not answered 206 with '789'", answer)


@check("http/range-clipped", "5.13.3", "5.5.3", "A Range that reaches beyond the end is cut there.")
def clipped_range(server: Server) -> None:
    answer = ranged(server, readable_by_range(server), "8-99")
    require((answer.status, answer.body) == (206, b"89"), "bytes=8-99 is not answered 206 with '89'", answer)
    require(answer.header("content-range") == "bytes 8-9/10", "Content-Range doesn't say so", answer)


@check("http/range-unsatisfiable", "5.13.3", "5.5.3", "A Range beyond the end is answered 416.", Level.SHOULD)
def unsatisfiable(server: Server) -> None:
    expect(ranged(server, readable_by_range(server), "10-12"), {416}, "bytes=10-12 of 10 bytes")


@check("http/range-malformed", "5.13.3", "5.5.3", "A Range that can't be read is passed over.", Level.SHOULD)
def malformed_range(server: Server) -> None:
    for wrong in ("5-2", "x-y"):
        answer = ranged(server, readable_by_range(server), wrong)
        require((answer.status, answer.body) in ((200, b"0123456789"), (400, answer.body), (416, answer.body)),
                f"bytes={wrong} is answered {answer.status}", answer)  # fmt: skip


@check("http/update", "6.4.7", "6.4.7", "PUT on an existing object gives it a new value: 204.")
def update(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.http("PUT", made.url, body=b"new", content_type="text/html"), CHANGED | {201}, "a plain PUT")
    fields = server.look(made.url, "object")
    require(server.octets(made.url) == b"new", "the value is still the old one")
    require(fields["mimetype"] == "text/html", f"mimetype is {fields['mimetype']!r}, expected 'text/html'")


@check("http/update-status", "6.4.7", "", "An update by PUT is answered 204.")
def update_status(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.http("PUT", made.url, body=b"new", content_type="text/html"), {204}, "a plain PUT")


@check("http/update-keeps", "6.4.1", "", "An update leaves the object ID and the user's metadata.")
def update_keeps(server: Server) -> None:
    made = server.new_object(metadata={"colour": "red"})
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.http("PUT", made.url, body=b"new", content_type="text/plain"), CHANGED, "a plain PUT")
    fields = server.look(made.url, "object")
    require(fields["objectID"] == made.fields["objectID"], "the object ID changed")
    require(fields["metadata"].get("colour") == "red", "the user's metadata is gone")


def written_in_place(server: Server, made: Thing, span: str, octets: bytes) -> Exchange:
    server.needs("cdmi_modify_value_range", of=made.fields)
    return server.http(
        server.dialect.update, made.url, [("Content-Range", f"bytes {span}")], octets, "application/octet-stream"
    )


@check("http/content-range", "6.4.3", "6.4.3", "With Content-Range bytes are written in their place.")
def content_range(server: Server) -> None:
    made = server.new_binary(b"0123456789")
    expect(written_in_place(server, made, "3-5/10", b"xyz"), CHANGED, "a part by plain HTTP")
    require(server.octets(made.url) == b"012xyz6789", f"the value is {server.octets(made.url)!r}")


@check("http/content-range-unknown-size", "6.4.3", "6.4.3", "The whole size in Content-Range may be '*'.")
def content_range_star(server: Server) -> None:
    made = server.new_binary(b"0123456789")
    expect(written_in_place(server, made, "8-11/*", b"wxyz"), CHANGED, "a part by plain HTTP")
    require(server.octets(made.url) == b"01234567wxyz", f"the value is {server.octets(made.url)!r}")


@check("http/content-range-malformed", "6.4.7", "6.4.7", "A Content-Range that can't be is answered 400 or 416.")
def content_range_malformed(server: Server) -> None:
    made = server.new_binary(b"0123456789")
    for wrong in ("5-3/10", "x-y/z", "0-9/10"):
        expect(written_in_place(server, made, wrong, b"xyz"), {400, 416}, f"Content-Range: bytes {wrong} with 3 bytes")
    require(server.octets(made.url) == b"0123456789", "a refused part changed the value")


@check("http/delete", "6.5.7", "6.5.7", "DELETE removes a data object: 204, then it is gone.")
def delete(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_delete_dataobject", of=made.fields)
    expect(server.http("DELETE", made.url), {204}, "a plain DELETE")
    expect(server.http("GET", made.url), GONE, "a deleted object")


@check("http/container", "7.2.7", "7.2.7", "PUT with a slash makes a container: 201.")
def container(server: Server) -> None:
    server.needs("cdmi_create_container")
    url = server.new_url("/")
    expect(server.http("PUT", url), {201}, "a plain PUT of a new container")
    require(server.look(url, "container")["objectType"] == "application/cdmi-container", "no container was made")


@check("http/container-delete", "7.5.1, 7.5.7", "7.5.1, 7.5.7", "DELETE removes a container and all in it: 204.")
def container_delete(server: Server) -> None:
    made = server.new_container()
    server.needs("cdmi_delete_container", of=made.fields)
    inner = server.new_object(parent=made)
    expect(server.http("DELETE", made.url), {204}, "a plain DELETE of a container")
    expect(server.get(made.url, "container"), GONE, "a deleted container")
    expect(server.get(inner.url, "object"), GONE, "what lay in a deleted container")


@check("http/post", "7.6.5, 7.6.7", "7.6.5, 7.6.7", "POST to a container makes an object: 201, absolute Location.")
def post(server: Server) -> None:
    server.needs("cdmi_post_dataobject", "cdmi_create_dataobject")
    answer = server.http("POST", server.home.url, body=b"posted", content_type="text/plain")
    expect(answer, {201}, "a plain POST")
    location = answer.header("location")
    require(location.startswith(("http://", "https://")), f"Location is {location!r}, expected it absolute", answer)
    require(server.octets(location) == b"posted", "the Location leads to another value", answer)
    require(location.startswith(server.home.url), f"Location is {location!r}, expected it in the container", answer)
