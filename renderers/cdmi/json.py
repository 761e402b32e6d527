"""JSON bodies: read within bounds, and written so that a value of any length can follow piece by piece."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from renderers.cdmi.representation import DATAOBJECT, CdmiError

DEPTH_MAX: Final = 64
Body = Mapping[str, Any]


def parse_object(body: bytes, what: str = "the body") -> dict[str, Any]:
    """A JSON object that PostgreSQL can hold; an empty body is an empty object."""
    if not body.strip():
        return {}
    value = parse_value(body, what)
    if not isinstance(value, dict):
        raise CdmiError(f"{what} is JSON, but no object: expected {{…}}")
    return value


def parse_value(body: bytes, what: str) -> Any:
    value = _loads(body, what)
    # A top-level value is data, which may hold anything: it isn't kept as JSON.
    checked = {n: v for n, v in value.items() if n != "value"} if isinstance(value, dict) else value
    _check(checked, what, DEPTH_MAX)
    if isinstance(value, dict):
        _check_depth(value.get("value"), what, DEPTH_MAX - 1)
    return value


def parse_serialized(text: bytes, what: str) -> dict[str, Any]:
    """An object with all that is below it, whose values may hold any text."""
    value = _loads(text, what)
    if not isinstance(value, dict):
        raise CdmiError(f"{what} is JSON, but no object: expected {{…}}")
    _check_serialized(value, what, DEPTH_MAX // 2)
    return value


def _check_serialized(fields: Body, what: str, depth: int) -> None:
    if depth == 0:
        raise CdmiError(f"{what} has objects nested deeper than {DEPTH_MAX // 2} levels")
    value, below = fields.get("value"), fields.get("children")
    if isinstance(value, list) and fields.get("objectType") == DATAOBJECT:
        value, below = None, value  # its versions
    _check({name: item for name, item in fields.items() if name not in ("value", "children")}, what, DEPTH_MAX)
    _check_depth(value, what, DEPTH_MAX - 1)
    for one in below if isinstance(below, list) else ():
        if isinstance(one, dict):
            _check_serialized(one, what, depth - 1)


def _loads(text: bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CdmiError(f"{what} is no JSON: {error}") from None


def parse_json_value(text: bytes) -> dict[str, Any]:
    """A value that is said to be JSON: an object, which may hold any text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CdmiError(f"the value is no JSON, which valuetransferencoding says it is: {error}") from None
    if not isinstance(value, dict):
        raise CdmiError("the value must be a JSON object, for valuetransferencoding is json")
    _check_depth(value, "the value", DEPTH_MAX - 1)
    return value


def _check(value: Any, what: str, depth: int) -> None:
    if depth == 0:
        raise CdmiError(f"{what} is nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        for name, item in value.items():
            if "\0" in name:
                raise CdmiError(f"{what} has a NUL in a name")
            _check(item, what, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, what, depth - 1)
    elif isinstance(value, str) and "\0" in value:
        raise CdmiError(f"{what} has a NUL in a text")


def _check_depth(value: Any, what: str, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise CdmiError(f"{what} is nested deeper than {DEPTH_MAX} levels")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, what, depth - 1)


def render(fields: Body) -> bytes:
    return orjson.dumps(fields)


def render_with_value(fields: Body, value: Iterable[bytes]) -> Iterator[bytes]:
    """The object with `value` as its last field, whose JSON comes in pieces."""
    head = orjson.dumps(fields)
    yield head[:-1] + (b',"value":' if fields else b'"value":')
    yield from value
    yield b"}"


def as_base64(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a JSON string with the bytes in base64."""
    yield b'"'
    rest = b""
    for chunk in chunks:
        rest += chunk
        whole = len(rest) - len(rest) % 3
        yield base64.b64encode(rest[:whole])
        rest = rest[whole:]
    yield base64.b64encode(rest)
    yield b'"'


def as_text(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a JSON string with the text, which is UTF-8."""
    yield b'"'
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        yield orjson.dumps(decoder.decode(chunk))[1:-1]
    yield orjson.dumps(decoder.decode(b"", final=True))[1:-1]
    yield b'"'


def encode_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise CdmiError("the value is not base64, which valuetransferencoding says it is") from None
