"""What bodies of creations and updates may say, and where a value comes from."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from backends.errors import Invalid, NotAllowed
from backends.objects import Encoding, Found, Metadata, ObjectChanges
from cdmi_server.call import Call
from cdmi_server.metadata import changed_metadata
from cdmi_server.paths import check_url, domain_uri, parse_uri
from cdmi_server.site import Site
from renderers.cdmi.json import decode_base64
from renderers.cdmi.representation import CdmiError, Version

SOURCES = ("value", "copy", "move", "reference", "serialize", "deserialize", "deserializevalue")
"""At most one of them makes an object."""
DEFINED = frozenset(
    {
        *SOURCES,
        "objectType",
        "objectID",
        "objectName",
        "parentURI",
        "parentID",
        "domainURI",
        "capabilitiesURI",
        "completionStatus",
        "percentComplete",
        "mimetype",
        "metadata",
        "exports",
        "snapshot",
        "snapshots",
        "children",
        "childrenrange",
        "queueValues",
        "values",
        "valuerange",
        "valuetransferencoding",
    }
)
"""The standard's fields; others are kept for the client and mean nothing here (1.1.1 §8.1)."""
MIMETYPE_MAX_CHARACTERS = 255
VALUES_AT_ONCE_MAX = 1000
TARGET_MAX_CHARACTERS = 4096


def one_source(body: Mapping[str, Any], supported: tuple[str, ...]) -> str | None:
    """Which of the sources the body names; 400 for two, or for one that doesn't apply."""
    named = [name for name in SOURCES if name in body]
    if len(named) > 1:
        raise Invalid(f"the body has {' and '.join(named)}: expected one of them at most")
    if named and named[0] not in supported:
        raise Invalid(f"the body has {named[0]!r}, which doesn't apply here: expected {', '.join(supported) or 'none'}")
    return named[0] if named else None


def check_fields(call: Call, body: Mapping[str, Any], known: frozenset[str]) -> None:
    """400 for a field that the standard has and this place hasn't; 403 for another domain than the project's."""
    if "domainURI" in body:
        place, _ = parse_uri(body["domainURI"], call.request.prefix, call.site.enterprise_number, "domainURI")
        if place.domains != (call.cloud.caller.project_name,):
            own = domain_uri(call.version, call.cloud.caller.project_name)
            raise NotAllowed(f"the domainURI is {str(body['domainURI'])[:100]!r}: expected the caller's domain {own}")
    for name in ("exports", "snapshot"):
        if name in body and name not in known:
            raise Invalid(f"the body has {name!r}, which isn't supported here")


def other_fields(site: Site, body: Mapping[str, Any]) -> Metadata:
    """Of a body that makes an object: those that the standard doesn't define, within the site's limit."""
    return _bounded(site, {name: value for name, value in body.items() if name not in DEFINED})


def changed_fields(call: Call, old: Metadata, body: Mapping[str, Any]) -> Metadata | None:
    """As `other_fields`, added to those that are there, if the URI doesn't leave them out. None: no change."""
    given = {name: value for name, value in body.items() if name not in DEFINED and name in call.selection}
    return _bounded(call.site, {**old, **given}) if given else None


def changes_of(call: Call, body: Mapping[str, Any], encoding: Encoding | None, now: Found) -> ObjectChanges:
    """By an update of a data object, of what it is now."""
    metadata = changed_metadata(call.site, now.object.metadata, body, call.selection)
    fields = changed_fields(call, now.object.fields, body)
    return ObjectChanges(metadata, mimetype_of(body), encoding, call.completion, fields)


def _bounded(site: Site, fields: Metadata) -> Metadata:
    size_bytes = len(orjson.dumps(fields))
    if size_bytes > site.fields_maxsize_bytes:
        raise Invalid(
            f"the fields that the standard doesn't define have {size_bytes} bytes:"
            f" at most {site.fields_maxsize_bytes} are expected"
        )
    return fields


def mimetype_of(body: Mapping[str, Any]) -> str | None:
    value = body.get("mimetype")
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f"mimetype is {str(value)[:60]!r}: expected a text such as text/plain")
    return check_mimetype(value)


def check_mimetype(value: str) -> str:
    """In lower case, as it is stored."""
    if not 0 < len(value) <= MIMETYPE_MAX_CHARACTERS or not value.isprintable() or not value.isascii():
        raise Invalid(f"the MIME type is {value[:60]!r}: expected one such as text/plain")
    return value.lower()


def encoding_of(call: Call, body: Mapping[str, Any]) -> Encoding | None:
    value = body.get("valuetransferencoding")
    if value is None:
        return None
    known = [encoding for encoding in Encoding if call.version is Version.V2 or encoding is not Encoding.JSON]
    if value not in known:
        raise Invalid(f"valuetransferencoding is {str(value)[:60]!r}: expected {', '.join(known)}")
    return Encoding(value)


def value_of(body: Mapping[str, Any], encoding: Encoding) -> bytes:
    """The bytes of the value field."""
    value = body.get("value", {} if encoding is Encoding.JSON else "")
    if encoding is Encoding.JSON:
        if not isinstance(value, dict):
            raise Invalid("the value must be a JSON object, for valuetransferencoding is json")
        return orjson.dumps(value)
    if not isinstance(value, str):
        raise Invalid(f"the value must be a JSON string, for valuetransferencoding is {encoding}")
    return decode_base64(value) if encoding is Encoding.BASE64 else value.encode("utf-8")


class TextCheck:
    """400 where bytes that are said to be UTF-8 aren't, as they pass by."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, chunk: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            raise Invalid("the value is no UTF-8, which its encoding or charset says it is") from None

    def end(self) -> None:
        self.feed(b"", final=True)


def as_text(chunks: Iterator[bytes]) -> Iterator[bytes]:
    check = TextCheck()
    for chunk in chunks:
        check.feed(chunk)
        yield chunk
    check.end()


def queue_values_of(call: Call, body: Mapping[str, Any]) -> list[tuple[str, Encoding, bytes]]:
    """MIME type, encoding and bytes of each value, from arrays of the same length."""
    if not isinstance(body["value"], list) or not 0 < len(body["value"]) <= VALUES_AT_ONCE_MAX:
        raise Invalid(f"value must be an array of 1 to {VALUES_AT_ONCE_MAX} values")
    count = len(body["value"])
    names = [name for name in ("value", "mimetype", "valuetransferencoding") if name in body]
    values = []
    for number in range(count):
        one = {name: _element(body[name], number, count) for name in names}
        encoding = encoding_of(call, one) or Encoding.UTF_8
        values.append((mimetype_of(one) or "text/plain", encoding, value_of(one, encoding)))
    return values


def _element(value: Any, number: int, count: int) -> Any:
    if not isinstance(value, list) or len(value) != count:
        raise Invalid(f"the body has {count} values: expected arrays of {count} for the other fields")
    return value[number]


def target_of(call: Call, body: Mapping[str, Any]) -> str:
    """Where a reference leads: any web address, or a place here."""
    target = field_text(body, "reference")
    if len(target) > TARGET_MAX_CHARACTERS or not target.isprintable():
        raise Invalid(f"the reference must be a URI of at most {TARGET_MAX_CHARACTERS} characters")
    if target.startswith(("http://", "https://")):
        check_url(target, "reference")
    else:
        parse_uri(target, call.request.prefix, call.site.enterprise_number, "reference")
    return target


def field_text(body: Mapping[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str) or not value:
        raise CdmiError(f"{name} must be a text")
    return value
