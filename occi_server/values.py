"""The types of attribute values: how each is declared to clients, and how a sent value becomes the door's.

`take` raises ValueError for what doesn't fit; whoever calls it knows the attribute's name and writes the message.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any
from uuid import UUID

from backends.networks.addresses import unscoped
from renderers.occi.representation import AttributeValue

MEBIBYTES_PER_GIBIBYTE = 1 << 10
BYTES_PER_GIBIBYTE = 1 << 30
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ValueType:
    """One type of value; `type` and `pattern` are what discovery says of it (GFD.226 attribute descriptions)."""

    type: str
    expected: str
    """Completes the sentence `expected ...` of a refusal."""
    take: Callable[[AttributeValue], Any]
    pattern: Mapping[str, object] | None = None


def _string(value: AttributeValue) -> str:
    if not isinstance(value, str) or CONTROL_CHARACTERS.search(value):
        raise ValueError
    return value


def _number(value: AttributeValue) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return value


def boolean() -> ValueType:
    """GFD.223's text renderings and older clients put it in quotes, too."""

    def take(value: AttributeValue) -> bool:
        if isinstance(value, bool):
            return value
        if value not in ("true", "false"):
            raise ValueError
        return value == "true"

    return ValueType("boolean", "true or false", take)


def text(longest: int = 255) -> ValueType:
    def take(value: AttributeValue) -> str:
        string = _string(value)
        if len(string) > longest:
            raise ValueError
        return string

    return ValueType("string", f"text of at most {longest} characters", take, {"maxLength": longest})


def matching(pattern: str, expected: str, longest: int = 255) -> ValueType:
    """Text that a regular expression matches as a whole."""
    compiled = re.compile(pattern)

    def take(value: AttributeValue) -> str:
        string = _string(value)
        if len(string) > longest or not compiled.fullmatch(string):
            raise ValueError
        return string

    return ValueType("string", expected, take, {"pattern": f"^{pattern}$", "maxLength": longest})


def one_of(choices: type[StrEnum]) -> ValueType:
    names = [choice.value for choice in choices]

    def take(value: AttributeValue) -> StrEnum:
        return choices(_string(value))

    return ValueType("string", f"one of {', '.join(names)}", take, {"enum": names})


def whole(lowest: int, highest: int) -> ValueType:
    def take(value: AttributeValue) -> int:
        number = _number(value)
        if not lowest <= number <= highest or number != int(number):
            raise ValueError
        return int(number)

    return ValueType(
        "number",
        f"a whole number from {lowest} to {highest}",
        take,
        {"type": "integer", "minimum": lowest, "maximum": highest},
    )


def gibibytes(units: int, highest: int, lowest_units: int = 1) -> ValueType:
    """A number of GiB that the door counts in smaller units, `units` to the GiB."""

    def take(value: AttributeValue) -> int:
        number = _number(value)
        if not 0 < number <= highest:
            raise ValueError
        counted = round(number * units)
        if counted < lowest_units:
            raise ValueError
        return counted

    lowest = lowest_units / units
    at_least = f"from {lowest:g}" if lowest_units > 1 else "above 0"
    return ValueType(
        "number", f"a number of GiB {at_least} up to {highest}", take, {"minimum": lowest, "maximum": highest}
    )


def above_zero(highest: int) -> ValueType:
    def take(value: AttributeValue) -> float:
        number = _number(value)
        if not 0 < number <= highest:
            raise ValueError
        return float(number)

    return ValueType("number", f"a number above 0, up to {highest}", take, {"exclusiveMinimum": 0, "maximum": highest})


def address() -> ValueType:
    """An IPv4 address; a prefix length, as GFD.224 would have it, is accepted and dropped."""

    def take(value: AttributeValue) -> str:
        string = _string(value)
        return str(IPv4Interface(string).ip if "/" in string else IPv4Address(string))

    return ValueType("string", "an IPv4 address such as 10.1.0.5", take)


def any_address() -> ValueType:
    """An IPv4 or IPv6 address; a prefix length is accepted and dropped."""

    def take(value: AttributeValue) -> str:
        string = unscoped(_string(value))
        return str(ip_interface(string).ip if "/" in string else ip_address(string))

    return ValueType("string", "an IPv4 or IPv6 address such as 10.1.0.5 or fd00:1:2:3::5", take)


def any_address_range() -> ValueType:
    def take(value: AttributeValue) -> str:
        string = unscoped(_string(value))
        if "/" not in string:
            raise ValueError
        return str(ip_interface(string).network)

    return ValueType("string", "an IPv4 or IPv6 range in CIDR notation such as 10.1.0.0/24 or fd00:1:2:3::/64", take)


def address6() -> ValueType:
    def take(value: AttributeValue) -> str:
        string = unscoped(_string(value))
        return str(IPv6Interface(string).ip if "/" in string else IPv6Address(string))

    return ValueType("string", "an IPv6 address such as fd00:1:2:3::5", take)


def address6_range() -> ValueType:
    def take(value: AttributeValue) -> str:
        string = unscoped(_string(value))
        if "/" not in string:
            raise ValueError
        return str(IPv6Interface(string).network)

    return ValueType("string", "an IPv6 range in CIDR notation such as fd00:1:2:3::/64", take)


def mac_address() -> ValueType:
    expression = "[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"
    declared = matching(expression, "a unicast MAC address such as 52:54:00:12:34:56")

    def take(value: AttributeValue) -> str:
        mac: str = declared.take(value).lower()
        if int(mac[:2], 16) & 1:
            raise ValueError
        return mac

    return ValueType(declared.type, declared.expected, take, declared.pattern)


def encoded(largest_bytes: int) -> ValueType:
    """Base64, kept as it was sent."""

    def take(value: AttributeValue) -> str:
        string = "".join(_string(value).split())
        try:
            decoded = base64.b64decode(string, validate=True)
        except binascii.Error as error:
            raise ValueError from error
        if len(decoded) > largest_bytes:
            raise ValueError
        return string

    return ValueType("string", f"base64 of at most {largest_bytes} bytes", take, {"contentEncoding": "base64"})


def place(collection: str, what: str) -> ValueType:
    """The location of an entity of one kind; the door is told its UUID."""

    def take(value: AttributeValue) -> UUID:
        string = _string(value)
        if not string.startswith(collection):
            raise ValueError
        return UUID(string.removeprefix(collection))

    return ValueType("string", f"the location of {what} here, such as {collection}UUID", take, {"format": "uri"})


def identity() -> ValueType:
    def take(value: AttributeValue) -> UUID:
        return UUID(_string(value).removeprefix("urn:uuid:"))

    return ValueType("string", "a UUID", take)
