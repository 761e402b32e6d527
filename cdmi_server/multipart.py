"""multipart/mixed (1.1.1 §8.2): the fields as JSON in the first part, the value as bytes in those that follow."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import falcon
from falcon.errors import DelimiterError
from falcon.util import BufferedReader as FastBufferedReader

from backends.acl import AceMask
from backends.cloud.values import Piece
from backends.errors import Invalid
from backends.objects import Address, Encoding, Found, NewObject, ObjectChanges, ObjectKind
from cdmi_server import bodies
from cdmi_server.call import CHUNK_BYTES, Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.metadata import new_metadata, replaced_metadata
from cdmi_server.negotiation import MULTIPART, accepted, media_type
from renderers.cdmi import json
from renderers.cdmi.ranges import parse_content_range
from renderers.cdmi.representation import DATAOBJECT

if TYPE_CHECKING:
    from falcon.util.reader import BufferedReader

CLAIMS = claims(SYSTEM, "cdmi_multipart_mime")
HEADERS_MAX_BYTES = 8192
PARTS_MAX = 256
BODY_MAX_BYTES = 2**60


@dataclass(frozen=True, slots=True)
class Part:
    """`stream` must be read before the next part is asked for."""

    headers: Message
    stream: BufferedReader

    @property
    def media_type(self) -> str:
        return media_type(self.headers.get("Content-Type", ""))

    @property
    def is_utf8(self) -> bool:
        return str(self.headers.get_param("charset") or "").lower() == "utf-8"

    def chunks(self) -> Iterator[bytes]:
        while chunk := self.stream.read(CHUNK_BYTES):
            yield chunk


@dataclass(frozen=True, slots=True)
class Parts:
    """A body that has been read: the fields, and the pieces of the value in their places."""

    fields: dict[str, Any]
    pieces: list[Piece]
    is_ranged: bool
    mimetype: str
    encoding: Encoding


def is_multipart(request: falcon.Request) -> bool:
    return media_type(request.env.get("CONTENT_TYPE", "")) == MULTIPART


def is_wanted(request: falcon.Request) -> bool:
    """Whether the client would rather have it so than as JSON."""
    types = [item for item in accepted(request) if item in (MULTIPART, DATAOBJECT)]
    return types[:1] == [MULTIPART]


def create(call: Call, address: Address | None) -> Found:
    parent = call.cloud.may_create(address, ObjectKind.DATAOBJECT) if address is not None else None
    with ExitStack() as stack:
        parts = read(call, stack, parent)
        _check(call, parts)
        new = NewObject(
            ObjectKind.DATAOBJECT,
            new_metadata(call.site, parts.fields.get("metadata", {})),
            bodies.mimetype_of(parts.fields) or parts.mimetype,
            parts.encoding,
            call.completion,
            fields=bodies.other_fields(call.site, parts.fields),
        )
        if parts.is_ranged:
            return call.cloud.create_with_ranges(address, new, parts.pieces)
        return call.cloud.create_object(address, new, parts.pieces[0].data)


def replace(call: Call, found: Found) -> None:
    """PUT of 2.0 where there is something: all of it is as the parts say, but for its ID and its access list."""
    call.cloud.require(found, AceMask.WRITE_OBJECT)
    with ExitStack() as stack:
        parts = read(call, stack, found)
        _check(call, parts)
        if parts.is_ranged:
            raise Invalid("PUT replaces the value, and the parts have Content-Range: expected PATCH to change a part")

        def change(now: Found) -> ObjectChanges:
            return ObjectChanges(
                replaced_metadata(call.site, now.object.metadata, parts.fields.get("metadata", {})),
                bodies.mimetype_of(parts.fields) or parts.mimetype,
                parts.encoding,
                call.completion,
                bodies.other_fields(call.site, parts.fields),
            )

        call.cloud.change_object(found, change, parts.pieces[0].data)


def update(call: Call, found: Found) -> None:
    """Parts with a Content-Range change that much; else the parts together are the whole value."""
    call.cloud.require(found, AceMask.WRITE_OBJECT)
    with ExitStack() as stack:
        parts = read(call, stack, found)
        _check(call, parts)
        change = partial(bodies.changes_of, call, parts.fields, parts.encoding)
        if parts.is_ranged:
            call.cloud.write_value_ranges(found, parts.pieces, change)
        else:
            call.cloud.change_object(found, change, parts.pieces[0].data)
    call.response.status = falcon.HTTP_204


def _check(call: Call, parts: Parts) -> None:
    bodies.check_fields(call, parts.fields, frozenset())
    bodies.one_source(parts.fields, ())


def read(
    call: Call, stack: ExitStack, near: Found | None = None, check: Callable[[int], None] = lambda _size_bytes: None
) -> Parts:
    """All the parts; the pieces stay open as long as `stack`. `check` refuses more bytes than there may be in all."""
    pieces: list[Piece] = []
    fields: dict[str, Any] | None = None
    first: Part | None = None
    is_ranged, is_utf8 = False, True
    declared, encoding = None, Encoding.BASE64
    text = bodies.TextCheck()
    for part in _parts(call):
        if fields is None:
            if part.media_type != DATAOBJECT:
                raise Invalid(f"the first part is {part.media_type[:60]!r}: expected {DATAOBJECT}")
            fields = json.parse_object(_bounded(part, call.site.json_max_bytes), "the first part")
            declared = bodies.encoding_of(call, fields)
            continue
        first = first or part
        is_utf8 = is_utf8 and part.is_utf8
        header = part.headers.get("Content-Range")
        place = parse_content_range(header) if header is not None else None
        if place is not None or not pieces:
            pieces.append(Piece(place.first if place else 0, stack.enter_context(call.cloud.receive_value(near))))
        is_ranged = is_ranged or place is not None
        encoding = _encoding(declared, is_ranged=is_ranged, is_utf8=is_utf8)
        data = pieces[-1].data
        for chunk in part.chunks():
            size_bytes = sum(piece.data.size_bytes for piece in pieces) + len(chunk)
            check(size_bytes)
            _check_chunk(call, encoding, text, chunk, size_bytes)
            data.write(chunk)
        if place is not None and data.size_bytes != place.count:
            raise Invalid(f"a part has {data.size_bytes} bytes, but its Content-Range {place} has {place.count}")
    if fields is None or first is None:
        raise Invalid("the body has no two parts: expected the fields as JSON, then the value")
    if encoding is Encoding.UTF_8:
        text.end()
    elif encoding is Encoding.JSON:
        json.parse_json_value(pieces[0].data.read_all())
    mimetype = bodies.check_mimetype(first.media_type or "application/octet-stream")
    return Parts(fields, pieces, is_ranged, mimetype, encoding)


def _check_chunk(call: Call, encoding: Encoding, text: bodies.TextCheck, chunk: bytes, size_bytes: int) -> None:
    """Against the encoding that its value is to have, as far as that can be said by now."""
    if encoding is Encoding.UTF_8:
        text.feed(chunk)
    elif encoding is Encoding.JSON and size_bytes > call.site.json_max_bytes:
        raise falcon.HTTPContentTooLarge(
            description=f"The value is longer than {call.site.json_max_bytes} bytes, which JSON has at most."
        )


def _encoding(declared: Encoding | None, *, is_ranged: bool, is_utf8: bool) -> Encoding:
    """As the fields say, else by the parts' charset; a value that is written in pieces is base64."""
    if not is_ranged:
        return declared or (Encoding.UTF_8 if is_utf8 else Encoding.BASE64)
    if declared not in (None, Encoding.BASE64):
        raise Invalid(
            f"valuetransferencoding is {declared}: expected {Encoding.BASE64} with Content-Range in the parts"
        )
    return Encoding.BASE64


def _bounded(part: Part, limit_bytes: int) -> bytes:
    data = bytearray()
    for chunk in part.chunks():
        data += chunk
        if len(data) > limit_bytes:
            raise falcon.HTTPContentTooLarge(description=f"The first part is longer than {limit_bytes} bytes.")
    return bytes(data)


def _parts(call: Call) -> Iterator[Part]:
    header = Message()
    header["Content-Type"] = call.request.env.get("CONTENT_TYPE", "")
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70 or not boundary.isascii():
        raise Invalid("Content-Type has no boundary of 1 to 70 characters, which multipart/mixed needs")
    delimiter = b"--" + boundary.encode()
    reader: BufferedReader = FastBufferedReader(_reading(call.chunks()), BODY_MAX_BYTES, CHUNK_BYTES)
    try:
        reader.pipe_until(delimiter, consume_delimiter=True)
        delimiter = b"\r\n" + delimiter
        for _ in range(PARTS_MAX):
            if reader.peek(2) == b"--":
                reader.exhaust()
                return
            # What follows a boundary is white space at most; then come the part's own header fields.
            reader.read_until(b"\r\n", 80, consume_delimiter=True)
            headers = Message()
            for line in _header_lines(reader):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.strip()] = value.strip()
            yield Part(headers, reader.delimit(delimiter))
            reader.pipe_until(delimiter, consume_delimiter=True)
    except DelimiterError:
        raise Invalid(f"the body doesn't follow its boundary {boundary!r}: expected parts and then its end") from None
    raise Invalid(f"the body has more than {PARTS_MAX} parts")


def _header_lines(reader: BufferedReader) -> Iterator[bytes]:
    left = HEADERS_MAX_BYTES
    while line := reader.read_until(b"\r\n", left, consume_delimiter=True):
        left -= len(line) + 2
        yield line
        if left <= 0:
            raise Invalid(f"a part has more than {HEADERS_MAX_BYTES} bytes of header fields")


def _reading(chunks: Iterator[bytes]) -> Any:
    """The chunks as a function that reads so many bytes at most."""
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        if not rest:
            rest = next(chunks, b"")
        data, rest = rest[:size], rest[size:]
        return data

    return read


def answer(call: Call, fields: json.Body, found: Found, value: bytes | BinaryIO, chunks: Iterator[bytes]) -> None:
    """The fields without the value, then the value, or the part of it that was asked for, as it is."""
    asked = call.selection.range_of("value")
    part = asked.within(found.object.size_bytes) if asked else None
    content_range = f"{part}/{found.object.size_bytes}" if part is not None else None
    body = in_parts(call, fields, found.object.mimetype, content_range, chunks)
    if isinstance(value, bytes):
        call.response.data = b"".join(body)
    else:
        call.response.stream = body


def in_parts(
    call: Call, fields: json.Body, mimetype: str, content_range: str | None, chunks: Iterator[bytes]
) -> Iterator[bytes]:
    """The body of an answer, whose type it sets."""
    boundary = secrets.token_hex(16)
    call.response.content_type = f"{MULTIPART}; boundary={boundary}"
    head = [f"--{boundary}", f"Content-Type: {DATAOBJECT}", "", json.render(fields).decode()]
    head += [f"--{boundary}", f"Content-Type: {mimetype}", "Content-Transfer-Encoding: binary"]
    if content_range is not None:
        head.append(f"Content-Range: bytes {content_range}")

    def body() -> Iterator[bytes]:
        yield "\r\n".join([*head, "", ""]).encode()
        yield from chunks
        yield f"\r\n--{boundary}--\r\n".encode()

    return body()
