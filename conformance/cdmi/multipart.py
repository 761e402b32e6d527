"""multipart/mixed: the fields in the first part, the value's bytes in the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP

from conformance.cdmi.fields import MEDIA_TYPES, Fields
from conformance.cdmi.server import CHANGED, MADE, Server, check
from conformance.suite import Exchange, expect, require

BOUNDARY = "conformance-boundary-7f3a"
MIXED = f"multipart/mixed; boundary={BOUNDARY}"
BINARY = b"\x00\xff--" + bytes(range(256)) + b"\r\n"


def body_of(fields: Fields, *parts: tuple[Sequence[tuple[str, str]], bytes]) -> bytes:
    pieces = [((("Content-Type", MEDIA_TYPES["object"]),), json.dumps(fields).encode()), *parts]
    body = b""
    for headers, octets in pieces:
        body += f"--{BOUNDARY}\r\n".encode()
        body += b"".join(f"{name}: {value}\r\n".encode() for name, value in headers)
        body += b"\r\n" + octets + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def typed(content_type: str, span: str = "") -> list[tuple[str, str]]:
    found = [("Content-Type", content_type)] if content_type else []
    return [*found, ("Content-Range", f"bytes {span}")] if span else found


def create(server: Server, fields: Fields, *parts: tuple[Sequence[tuple[str, str]], bytes]) -> str:
    server.needs_system("cdmi_multipart_mime")
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".bin")
    answer = server.request("PUT", url, accept="object", content_type=MIXED, body=body_of(fields, *parts))
    expect(answer, MADE, "a new object in several parts")
    return url


@check("multipart/create", "8.2.4", "8.3.4", "An object is made of its fields and its bytes.")
def made(server: Server) -> None:
    url = create(server, {"metadata": {"colour": "red"}}, (typed("application/octet-stream"), BINARY))
    require(server.octets(url) == BINARY, "other bytes came back")
    require(server.metadata(url).get("colour") == "red", "the metadata of the first part are not there")


@check("multipart/type", "8.2.5", "8.3.5", "Without mimetype it is the second part's Content-Type.")
def mimetype(server: Server) -> None:
    found = server.look(create(server, {}, (typed("image/png"), b"png")), "object")["mimetype"]
    require(found == "image/png", f"mimetype is {found!r}, expected 'image/png'")


@check("multipart/encoding", "8.2.5", "8.3.5", "The encoding is base64, or utf-8 if the parts' charset says so.")
def encoding(server: Server) -> None:
    for content_type, wanted in (("text/plain", "base64"), ("text/plain;charset=utf-8", "utf-8")):
        found = server.look(create(server, {}, (typed(content_type), b"x")), "object")["valuetransferencoding"]
        require(found == wanted, f"sent as {content_type}, it is {found!r}, expected {wanted!r}")


@check("multipart/append", "8.2.4", "8.3.4", "Parts without Content-Range follow one another.")
def append(server: Server) -> None:
    url = create(server, {}, (typed("text/plain"), b"one,"), (typed("text/plain"), b"two"))
    require(server.octets(url) == b"one,two", f"the value is {server.octets(url)!r}")


@check("multipart/update", "8.4.3", "8.5.3", "Several ranges are written in one update.")
def update(server: Server) -> None:
    server.needs_system("cdmi_multipart_mime")
    thing = server.new_binary(b"0123456789")
    server.needs("cdmi_modify_value_range", of=thing.fields)
    parts = ((typed("text/plain", "1-2/10"), b"ab"), (typed("text/plain", "7-8/10"), b"yz"))
    answer = server.request(server.dialect.update, thing.url, content_type=MIXED, body=body_of({}, *parts))
    expect(answer, CHANGED, "an update in several parts")
    require(server.octets(thing.url) == b"0ab3456yz9", f"the value is {server.octets(thing.url)!r}")


@check("multipart/read", "8.3.5", "8.4.5", "Asked for multipart/mixed, fields and bytes come in parts.")
def read(server: Server) -> None:
    server.needs_system("cdmi_multipart_mime")
    thing = server.new_binary(BINARY)
    answer = server.request("GET", thing.url, accept="multipart/mixed")
    expect(answer, {200}, "an object asked for in parts")
    require(answer.media_type == "multipart/mixed", f"Content-Type is {answer.media_type!r}", answer)
    parts = parts_of(answer)
    require(len(parts) >= 2, f"there are {len(parts)} parts, expected two", answer)
    fields = json.loads(payload(parts[0]))
    require(
        parts[0].get_content_type() == MEDIA_TYPES["object"], "the first part is no application/cdmi-object", answer
    )
    require("value" not in fields, "the fields hold the value too", answer)
    require(b"".join(payload(part) for part in parts[1:]) == BINARY, "other bytes came back", answer)


def parts_of(answer: Exchange) -> list[EmailMessage]:
    head = f"Content-Type: {answer.header('content-type')}\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + answer.body)
    return [part for part in message.iter_parts() if isinstance(part, EmailMessage)]


def payload(part: EmailMessage) -> bytes:
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


@check("multipart/malformed", "8.2.8", "8.3.8", "Parts that can't be told apart are answered 400.")
def malformed(server: Server) -> None:
    server.needs_system("cdmi_multipart_mime")
    server.needs("cdmi_create_dataobject")
    for content_type, body in ((MIXED, b"no parts"), ("multipart/mixed", body_of({}, (typed("text/plain"), b"x")))):
        answer = server.request("PUT", server.new_url(), accept="object", content_type=content_type, body=body)
        expect(answer, {400}, f"{content_type} with {body[:20]!r}…")
