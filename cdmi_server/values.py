"""Values as they go out: in pieces, in the encoding that the dialect has for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from backends.cloud.queues import QueueValue
from backends.objects import Encoding
from cdmi_server.call import CHUNK_BYTES, Call
from renderers.cdmi import json, ranges
from renderers.cdmi.ranges import ByteRange
from renderers.cdmi.representation import Version


def pieces(value: bytes | BinaryIO, part: ByteRange | None) -> Iterator[bytes]:
    """The part of the value in chunks; closes the file."""
    if isinstance(value, bytes):
        if part is not None:
            yield value[part.first : part.last + 1]
        return
    with value:
        if part is None:
            return
        value.seek(part.first)
        left = part.count
        while left:
            chunk = value.read(min(CHUNK_BYTES, left))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


def encoded_value(call: Call, encoding: Encoding, chunks: Iterator[bytes]) -> tuple[Encoding, Iterator[bytes]]:
    """The JSON of a value, and the encoding that it says it has: 1.x knows no `json`."""
    if encoding is Encoding.BASE64:
        return encoding, json.as_base64(chunks)
    if encoding is Encoding.JSON and call.version is Version.V2:
        return encoding, chunks
    return Encoding.UTF_8, json.as_text(chunks)


def queue_fields(call: Call, values: Sequence[QueueValue]) -> dict[str, Any]:
    """The arrays that show values of a queue."""
    shown = [_shown(call, value) for value in values]
    return {
        "mimetype": [value.mimetype for value in values],
        "valuerange": [ranges.whole(len(value.value)) for value in values],
        "valuetransferencoding": [encoding for encoding, _ in shown],
        "value": [value for _, value in shown],
    }


def _shown(call: Call, value: QueueValue) -> tuple[str, Any]:
    if value.encoding is Encoding.BASE64:
        return value.encoding.value, json.encode_base64(value.value)
    if value.encoding is Encoding.JSON and call.version is Version.V2:
        return value.encoding.value, json.parse_json_value(value.value)
    return Encoding.UTF_8.value, value.value.decode("utf-8")
