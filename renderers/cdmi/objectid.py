"""Object IDs (CDMI 1.1.1 §5.10): a header with the issuer and a checksum, then what the issuer likes: here a UUID.

0: 0 | 1..3: enterprise number | 4: 0 | 5: length in bytes | 6..7: CRC-16/ARC with these two as 0 | 8..: the UUID
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

DOCUMENTATION_ENTERPRISE: Final = 32473
"""Reserved for documentation (RFC 5612); no issuer's own."""
LENGTH_BYTES: Final = 24
ENTERPRISE_MAX: Final = 2**24 - 1
POLYNOMIAL: Final = 0xA001
"""0x8005, reflected."""


class ObjectIdError(ValueError):
    """What is wrong with an ID, in one sentence."""


def encode(identity: UUID, enterprise: int) -> str:
    """48 hexadecimal digits, in capitals as the standard prints them."""
    plain = b"\0" + enterprise.to_bytes(3, "big") + bytes((0, LENGTH_BYTES, 0, 0)) + identity.bytes
    return (plain[:6] + crc16(plain).to_bytes(2, "big") + plain[8:]).hex().upper()


def decode(text: str, enterprise: int) -> UUID:
    """The UUID; `ObjectIdError` for an ID that breaks the format or that another issuer made."""
    try:
        data = bytes.fromhex(text) if len(text) <= 80 and text.isalnum() else b""
    except ValueError:
        data = b""
    if not 9 <= len(data) <= 40:
        raise ObjectIdError(f"the object ID is {text[:80]!r}: expected 18 to 80 hexadecimal digits")
    if data[5] != len(data):
        raise ObjectIdError(f"the object ID {text} says it has {data[5]} bytes, but it has {len(data)}")
    if crc16(data[:6] + b"\0\0" + data[8:]) != int.from_bytes(data[6:8], "big"):
        raise ObjectIdError(f"the object ID {text} has a wrong checksum")
    if data[0] or data[4] or int.from_bytes(data[1:4], "big") != enterprise or len(data) != LENGTH_BYTES:
        raise ObjectIdError(f"the object ID {text} was not made here")
    return UUID(bytes=data[8:])


def crc16(data: bytes) -> int:
    """CRC-16/ARC."""
    remainder = 0
    for byte in data:
        remainder = (remainder >> 8) ^ REMAINDERS[(remainder ^ byte) & 0xFF]
    return remainder


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


REMAINDERS: Final = tuple(map(_remainder, range(256)))
