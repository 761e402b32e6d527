"""What a client sent: bounded, decoded and parsed, with this server's own URLs reduced to paths.

No meaning is given to it here; that is the model's.
"""

from __future__ import annotations

import dataclasses
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import falcon

from backends.cloud import Cloud
from occi_server import rules
from occi_server.negotiation import IN_JSON, Rendering, request_rendering
from renderers.occi import json, text
from renderers.occi.representation import AttributeValue, Message

FIELDS = ("Category", "Link", "X-OCCI-Attribute", "X-OCCI-Location")
CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1"})
PLACES = frozenset({"occi.core.source", "occi.core.target"})
MARKS = tuple(bytes([mark]) for mark in b'",;#\\ \r\n{[')
"""What parts the values in a message of any rendering."""
MARKS_MAX = 1 << 16
"""Parsers remember some 250 bytes at each of them until all is read."""


def cloud_of(request: falcon.Request) -> Cloud:
    """The caller's cloud, as authentication left it with the request."""
    return cast(Cloud, request.context.cloud)


def read_message(request: falcon.Request, body_size_max_bytes: int) -> Message:
    """The message in the body, or in the header fields (GFD.185 §3.6.6, text/occi)."""
    rendering = request_rendering(request)
    body = _read_body(request, body_size_max_bytes)
    if rendering is Rendering.HEADERS or not body.strip():
        message = read_filter(request)
    elif rendering in IN_JSON:
        message = json.parse_json(body)
    elif rendering is Rendering.URI_LIST:
        message = text.parse_uri_list(_decode(request, body))
    else:
        message = text.parse_text(_decode(request, body))
    return _with_own_paths(message, request)


def read_messages(request: falcon.Request, body_size_max_bytes: int) -> tuple[Message, ...]:
    """As `read_message`, but JSON may carry a collection: each of its entities is a message."""
    if request_rendering(request) not in IN_JSON:
        return (read_message(request, body_size_max_bytes),)
    messages = json.parse_json_entities(_read_body(request, body_size_max_bytes))
    return tuple(_with_own_paths(message, request) for message in messages)


def read_filter(request: falcon.Request) -> Message:
    """The message in the header fields, which is where filters are whatever the answer's rendering."""
    fields = [(name, value) for name in FIELDS if (value := request.get_header(name)) is not None]
    return _with_own_paths(text.parse_headers(fields), request) if fields else Message()


def own_path(reference: str, request: falcon.Request) -> str:
    """The path of a URL of this server; any other reference as it is."""
    if "://" not in reference:
        return reference
    try:
        parts = urlsplit(reference)
    except ValueError:
        return reference
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != request.netloc.lower():
        return reference
    path = parts.path.removeprefix(request.root_path)
    return f"{path}?{parts.query}" if parts.query else path


def _with_own_paths(message: Message, request: falcon.Request) -> Message:
    attributes = {name: _with_own_path(name, value, request) for name, value in message.attributes.items()}
    return dataclasses.replace(
        message,
        links=tuple(dataclasses.replace(link, target=own_path(link.target, request)) for link in message.links),
        attributes=attributes,
        locations=tuple(own_path(location, request) for location in message.locations),
    )


def _with_own_path(name: str, value: AttributeValue, request: falcon.Request) -> AttributeValue:
    if name == rules.NAME:
        return rules.with_own_paths(value, lambda reference: own_path(reference, request))
    return own_path(value, request) if name in PLACES and isinstance(value, str) else value


def _read_body(request: falcon.Request, limit_bytes: int) -> bytes:
    announced = request.content_length
    if announced is not None and announced > limit_bytes:
        raise falcon.HTTPContentTooLarge(description=f"The body has {announced} bytes: at most {limit_bytes} are read.")
    if announced is None and not request.env.get("wsgi.input_terminated"):
        return b""
    stream = cast(BinaryIO, request.bounded_stream if announced is not None else request.stream)
    try:
        body = stream.read(limit_bytes + 1 if announced is None else announced)
    except ConnectionError:
        raise falcon.HTTPError(falcon.HTTP_408, description="The body was not here in time.") from None
    if len(body) > limit_bytes:
        raise falcon.HTTPContentTooLarge(description=f"The body is longer than {limit_bytes} bytes.")
    if announced is not None and len(body) < announced:
        raise falcon.HTTPBadRequest(description=f"The body ends after {len(body)} of {announced} bytes.")
    refuse_too_many_marks(body)
    return body


def refuse_too_many_marks(body: bytes) -> None:
    """No sensible message has so many, and a hostile one would take a hundred times its size while it is read."""
    marks = 0 if len(body) <= MARKS_MAX else sum(map(body.count, MARKS))
    if marks > MARKS_MAX:
        raise falcon.HTTPContentTooLarge(
            description=f"The body has {marks} quotes, commas, white spaces and other marks that part values: at most"
            f" {MARKS_MAX} are read."
        )


def _decode(request: falcon.Request, body: bytes) -> str:
    charset = _charset(request.env.get("CONTENT_TYPE", ""))
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise falcon.HTTPBadRequest(
            description=f"Byte {error.start + 1} of the body is no {charset}: expected text in that encoding."
        ) from error


def _charset(content_type: str) -> str:
    for parameter in content_type.partition(",")[0].split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
            if charset not in CHARSETS:
                raise falcon.HTTPBadRequest(description=f"charset is {charset[:40]!r}: expected utf-8.")
            return charset
    return "utf-8"
