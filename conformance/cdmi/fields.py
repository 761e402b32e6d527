"""What stands in CDMI's answers: JSON objects, object IDs, times, ranges. Pure functions."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any

from conformance.suite import CheckFailed, Exchange

TIME = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z")
"""CDMI 1.1.1 §5.14: six decimals, Z, and no hour 24."""

MEDIA_TYPES = {kind: f"application/cdmi-{kind}" for kind in ("object", "container", "queue", "domain", "capability")}

Fields = dict[str, Any]


def document(answer: Exchange) -> Fields:
    """The JSON object in a body, its members in the order in which they came."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise CheckFailed(f"the body is not JSON: {error}", answer) from error
    if not isinstance(found, dict):
        raise CheckFailed(f"the body is a JSON {type(found).__name__}, expected an object", answer)
    return found


def crc16(octets: bytes) -> int:
    """CRC-16/ARC, as CDMI 1.1.1 §5.11 asks: reflected polynomial 0x8005, initially 0."""
    remainder = 0
    for octet in octets:
        remainder ^= octet
        for _ in range(8):
            remainder = (remainder >> 1) ^ 0xA001 if remainder & 1 else remainder >> 1
    return remainder


def object_id_octets(identifier: str) -> bytes | None:
    """What Base16 stands for; None if it isn't Base16."""
    try:
        return base64.b16decode(identifier, casefold=True)
    except (binascii.Error, ValueError, TypeError):
        return None


def fault_of_object_id(identifier: str) -> str:
    """What is wrong with the form of an object ID, or ""; the checksum is another matter."""
    octets = object_id_octets(identifier)
    if octets is None:
        return "is not Base16"
    if not 9 <= len(octets) <= 40:
        return f"has {len(octets)} bytes, expected 9 to 40"
    if octets[0] or octets[4]:
        return "has reserved bytes (0 and 4) that are not zero"
    if not any(octets[1:4]):
        return "has the enterprise number 0, which is reserved"
    if octets[5] != len(octets):
        return f"says in byte 5 that it has {octets[5]} bytes, and has {len(octets)}"
    return ""


def has_right_checksum(identifier: str) -> bool:
    octets = object_id_octets(identifier)
    if octets is None or len(octets) < 9:
        return False
    return crc16(octets[:6] + b"\0\0" + octets[8:]) == int.from_bytes(octets[6:8], "big")


def unknown_object_id() -> str:
    """A well-formed object ID that no server has given to anything."""
    octets = bytearray.fromhex("0000A0A40010000000000000DEADBEEF")
    octets[6:8] = crc16(bytes(octets)).to_bytes(2, "big")
    return octets.hex().upper()


def base64_of(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def octets_of(value: object) -> bytes:
    """Base64 decoded strictly."""
    if not isinstance(value, str):
        raise CheckFailed(f"the value is {value!r}, expected base64 in a JSON string")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise CheckFailed(f"the value {value[:60]!r} is not base64: {error}") from error


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
