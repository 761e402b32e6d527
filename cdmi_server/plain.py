"""The plain-HTTP profile (1.1.1 §6 and §7): values as bodies, of any size, and listings for people."""

from __future__ import annotations

from dataclasses import replace
from email.message import Message

import falcon

from backends.acl import AceMask
from backends.cloud.values import Piece
from backends.errors import Conflict, Invalid, NotFound
from backends.objects import COMPLETE, Child, Encoding, Found, NewObject, ObjectChanges, ObjectKind
from backends.values import Received
from cdmi_server import bodies
from cdmi_server.call import Call
from cdmi_server.container import marked, new_address
from cdmi_server.negotiation import ROOTS, accepted
from cdmi_server.paths import escaped
from cdmi_server.views import identity_of, path_of
from renderers.cdmi import html
from renderers.cdmi.ranges import ByteRange, parse_content_range, parse_http_range
from renderers.cdmi.representation import CdmiError, format_time

HARMLESS = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'"
"""What somebody stored mustn't run as a script of this site in a reader's browser."""


def read_value(call: Call, found: Found) -> None:
    """The value or a range of it; a file goes out by sendfile."""
    call.cloud.require(found, AceMask.READ_OBJECT)
    found, value = call.cloud.open_value(found)
    stored = found.object
    response = call.response
    if stored.completion != COMPLETE:
        raise NotFound(f"there is no value yet: the object is {stored.completion}")
    response.set_headers(
        {
            "ETag": etag(call, found),
            "Last-Modified": stored.modified_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
    )
    if _names_tag(call.request.get_header("If-None-Match"), etag(call, found)):
        response.status = falcon.HTTP_304
        if not isinstance(value, bytes):
            value.close()
        return
    response.content_type = _content_type(stored.mimetype, stored.encoding)
    unchanged = call.request.get_header("If-Range") in (None, etag(call, found))
    part = announce(call, stored.size_bytes, asked_range(call, stored.size_bytes) if unchanged else None)
    if isinstance(value, bytes):
        response.data = value if part is None else value[part.first : part.last + 1]
        return
    value.seek(part.first if part else 0)
    response.stream = value


def announce(call: Call, size_bytes: int, part: ByteRange | None) -> ByteRange | None:
    """The header fields of a value, or of the part of it that is answered."""
    response = call.response
    response.set_headers(
        {"Accept-Ranges": "bytes", "Content-Security-Policy": HARMLESS, "X-Content-Type-Options": "nosniff"}
    )
    response.content_length = size_bytes
    if part is not None:
        response.status = falcon.HTTP_206
        response.content_length = part.count
        response.set_header("Content-Range", f"bytes {part}/{size_bytes}")
    return part


def asked_range(call: Call, size_bytes: int) -> ByteRange | None:
    """By Range; 416 where it lies outside."""
    header = call.request.get_header("Range")
    if header is None:
        return None
    try:
        return parse_http_range(header, size_bytes)
    except CdmiError as error:
        raise falcon.HTTPRangeNotSatisfiable(size_bytes, description=f"{error}.") from None


def _content_type(mimetype: str, encoding: Encoding) -> str:
    if encoding is Encoding.UTF_8 and mimetype.startswith("text/") and "charset" not in mimetype:
        return f"{mimetype}; charset=utf-8"
    return mimetype or "application/octet-stream"


def etag(call: Call, found: Found) -> str:
    return f'"{identity_of(call, found)[16:]}-{found.object.modifications}"'


def write_value(call: Call, existing: Found | None) -> None:
    """PUT (and in 2.0 PATCH of a range): the body becomes the value, or the part that Content-Range names."""
    request, address = call.request, call.place.address
    completion = call.completion
    mimetype, encoding = _announced(request)
    part = announced_range(request)
    if existing is None:
        near = call.cloud.may_create(address, ObjectKind.DATAOBJECT)
    else:
        near = existing
        if existing.object.kind is not ObjectKind.DATAOBJECT:
            raise Invalid(f"{existing.object.name!r} is a {existing.object.kind}: its value can't be set by plain HTTP")
        call.cloud.require(existing, AceMask.WRITE_OBJECT)
        check_preconditions(call, existing)  # and again when it has all come
    with call.cloud.receive_value(near) as received:
        if part is None:
            received.announce(request.content_length or 0)
        chunks = call.chunks()
        received.fill(bodies.as_text(chunks) if encoding is Encoding.UTF_8 and part is None else chunks)
        if part is not None and received.size_bytes != part.count:
            raise Invalid(f"the body has {received.size_bytes} bytes, but Content-Range {part} has {part.count}")
        if existing is None:
            encoding_of_new = encoding if part is None else Encoding.BASE64
            new = NewObject(
                ObjectKind.DATAOBJECT, {}, mimetype or "application/octet-stream", encoding_of_new, completion
            )
            try:
                _create(call, new, part, received)
            except Conflict:
                # Somebody else was faster: this is a change then, if its preconditions are met.
                existing = call.cloud.find_object(address)
                if existing.object.kind is not ObjectKind.DATAOBJECT:
                    raise
            else:
                call.response.status = falcon.HTTP_201
                return
        encoding = encoding if mimetype else Encoding.BASE64
        _change(call, existing, ObjectChanges(None, mimetype, encoding, completion), part, received)
    call.response.status = falcon.HTTP_204


def _create(call: Call, new: NewObject, part: ByteRange | None, received: Received) -> None:
    if part is None:
        made = call.cloud.create_object(call.place.address, new, received)
        call.response.set_header("ETag", etag(call, made))
    else:
        call.cloud.create_with_ranges(call.place.address, new, [Piece(part.first, received)])


def _change(call: Call, existing: Found, changes: ObjectChanges, part: ByteRange | None, received: Received) -> None:
    if part is None:
        call.cloud.change_object(existing, lambda _: changes, received)
    else:
        in_part = replace(changes, mimetype=None, encoding=Encoding.BASE64)
        call.cloud.write_value_ranges(existing, [Piece(part.first, received)], lambda _: in_part)


def post_value(call: Call, container: Found | None) -> None:
    """POST to a container or, with None, to /cdmi_objectid/."""
    address = new_address(container) if container else None
    if address is not None:
        call.cloud.may_create(address, ObjectKind.DATAOBJECT)
    mimetype, encoding = _announced(call.request)
    with call.cloud.receive_value(container) as received:
        chunks = call.chunks()
        received.fill(bodies.as_text(chunks) if encoding is Encoding.UTF_8 else chunks)
        new = NewObject(ObjectKind.DATAOBJECT, {}, mimetype or "application/octet-stream", encoding, call.completion)
        made = call.cloud.create_object(address, new, received)
    call.response.status = falcon.HTTP_201
    call.response.set_header("Location", call.request.prefix + escaped(path_of(call, made)))


def make_container(call: Call, existing: Found | None) -> None:
    """PUT of a path that ends in a slash; there is nothing that a body could say."""
    if call.read_body(1024).strip():
        raise Invalid("a container is made without a body by plain HTTP")
    if existing is not None:
        call.response.status = falcon.HTTP_204
        return
    call.cloud.create_object(call.place.address, NewObject(ObjectKind.CONTAINER))
    call.response.status = falcon.HTTP_201


def list_container(call: Call, found: Found) -> None:
    """A page for browsers, else a name a line; the standard leaves open what this is."""
    page = call.site.page_size
    if "text/html" not in accepted(call.request):
        names = [marked(name, kind) for name, kind in call.cloud.child_names(found)]
        call.response.content_type = "text/plain; charset=utf-8"
        call.response.data = "".join(f"{name}\n" for name in names).encode()
        return
    offset = asked_offset(call)
    children = call.cloud.children(found, offset, page)
    total = call.cloud.count_children(found)
    rows = [_row(child) for child in children]
    following = offset + len(children)
    call.response.content_type = "text/html; charset=utf-8"
    about = html.About(identity_of(call, found), found.object.completion)
    call.response.text = html.render_container(
        _crumbs(call, found), rows, total, f"?from={following}" if following < total else None, about
    )


def _row(child: Child) -> html.Row:
    """As much as its own metadata would tell."""
    url = "./" + escaped(child.name + ("/" if child.kind is ObjectKind.CONTAINER else ""))
    is_shown = bool(child.rights & AceMask.READ_METADATA)
    return html.Row(
        marked(child.name, child.kind),
        url,
        child.kind.value,
        child.size_bytes if is_shown and child.kind is ObjectKind.DATAOBJECT else None,
        child.mimetype if is_shown else "",
        format_time(child.modified_at)[:19].replace("T", " ") if is_shown else "",
    )


def asked_offset(call: Call) -> int:
    """How many children are on the pages before."""
    return call.request.get_param_as_int("from", min_value=0, max_value=2**31, default=0)


def _crumbs(call: Call, found: Found) -> list[html.Crumb]:
    root = ROOTS[call.version]
    names = found.names or ()
    above = [
        html.Crumb(name + "/", root + escaped("/".join(names[: depth + 1])) + "/") for depth, name in enumerate(names)
    ]
    return [html.Crumb(root, root), *above]


def _announced(request: falcon.Request) -> tuple[str | None, Encoding]:
    """The MIME type in Content-Type and the encoding that follows from its charset."""
    header = request.env.get("CONTENT_TYPE", "").strip()
    if not header:
        return None, Encoding.BASE64
    message = Message()
    message["Content-Type"] = bodies.check_mimetype(header)
    charset = message.get_param("charset")
    is_utf8 = isinstance(charset, str) and charset.lower() == "utf-8"
    plain = header.partition(";")[0].strip() if is_utf8 else header
    return bodies.check_mimetype(plain), Encoding.UTF_8 if is_utf8 else Encoding.BASE64


def announced_range(request: falcon.Request) -> ByteRange | None:
    """Content-Range; or Range, which some clients send with PUT."""
    header = request.get_header("Content-Range")
    if header is not None:
        return parse_content_range(header)
    ranged = request.get_header("Range")
    return parse_content_range(ranged.strip().replace("=", " ", 1) + "/*") if ranged is not None else None


def check_absent(call: Call) -> None:
    """Before something new is made, which nobody can have seen."""
    if call.request.get_header("If-Match") is not None:
        raise falcon.HTTPPreconditionFailed(description="If-Match is given, but there is no object.")


def check_preconditions(call: Call, existing: Found) -> None:
    """RFC 9110 §13.1: of a change to what exists, as it is now."""
    check_tag(call, etag(call, existing))


def check_tag(call: Call, tag: str) -> None:
    if _names_tag(call.request.get_header("If-None-Match"), tag):
        raise falcon.HTTPPreconditionFailed(description="If-None-Match is given, but the object exists.")
    expected = call.request.get_header("If-Match")
    if expected is not None and not _names_tag(expected, tag):
        raise falcon.HTTPPreconditionFailed(description=f"If-Match is given, but the object's ETag is {tag}.")


def _names_tag(header: str | None, tag: str) -> bool:
    """Whether a list of entity tags, none of which has a comma here, has this one."""
    return header is not None and not {"*", tag}.isdisjoint(item.strip() for item in header.split(","))
