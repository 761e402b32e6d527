"""Subnets, addresses and MAC addresses: what is acceptable, free or derived. Pure functions.

Who has which address is the caller's knowledge; nothing here looks at the host.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from uuid import UUID

from backends.errors import Invalid, NoCapacity

LARGEST_PREFIX, SMALLEST_PREFIX = 8, 29
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def unscoped(text: str) -> str:
    """The same text; ValueError if it names a scope (RFC 4007: fe80::1%eth0), after which anything may stand."""
    if "%" in text:
        raise ValueError(text)
    return text


@lru_cache(maxsize=1024)
def parse_subnet(cidr: str) -> IPv4Network:
    """The subnet, or `Invalid` when it is malformed, of a size or in a range that no network can have."""
    if "/" not in cidr:
        raise Invalid(f"Subnet {cidr!r} has no prefix length; expected IPv4 such as 10.1.0.0/24.")
    try:
        subnet = IPv4Network(cidr)
    except ValueError:
        raise Invalid(f"Subnet {cidr!r} isn't one; expected IPv4 such as 10.1.0.0/24, host bits zero.") from None
    if str(subnet) != cidr:
        raise Invalid(f"Subnet {cidr!r} isn't in its usual form; expected {subnet}.")
    if not LARGEST_PREFIX <= subnet.prefixlen <= SMALLEST_PREFIX:
        raise Invalid(
            f"Subnet {cidr} has a prefix of {subnet.prefixlen} bits; expected {LARGEST_PREFIX} to {SMALLEST_PREFIX}."
        )
    for reason, unusable in _UNUSABLE_RANGES.items():
        if subnet.overlaps(unusable):
            raise Invalid(f"Subnet {cidr} overlaps {unusable}, which is {reason}; expected unicast addresses.")
    return subnet


_UNUSABLE_RANGES = {
    "this host's": IPv4Network("0.0.0.0/8"),
    "loopback": IPv4Network("127.0.0.0/8"),
    "link-local": IPv4Network("169.254.0.0/16"),
    "multicast": IPv4Network("224.0.0.0/4"),
    "reserved": IPv4Network("240.0.0.0/4"),
}


def check_host_address(address: str, subnet: IPv4Network) -> IPv4Address:
    """The address, or `Invalid` when no machine or gateway of the subnet can have it."""
    try:
        parsed = IPv4Address(address)
    except ValueError:
        raise Invalid(f"Address {address!r} isn't IPv4 such as {subnet.network_address + 2}.") from None
    if parsed not in subnet or parsed in (subnet.network_address, subnet.broadcast_address):
        raise Invalid(f"Address {address} isn't a host's in {subnet}.")
    return parsed


def default_gateway(cidr: str) -> str:
    """The first address of the subnet."""
    return str(parse_subnet(cidr).network_address + 1)


def dhcp_address(cidr: str, gateway: str | None) -> str:
    """The DHCP server's own address on a network without NAT: the last one that isn't the gateway."""
    last = parse_subnet(cidr).broadcast_address - 1
    return str(last - 1) if str(last) == gateway else str(last)


@lru_cache(maxsize=1024)
def reserved_addresses(cidr: str, gateway: str | None) -> frozenset[str]:
    """The addresses that no machine can have besides the subnet's ends."""
    return frozenset({dhcp_address(cidr, gateway)} | ({gateway} if gateway is not None else set()))


def free_address(cidr: str, gateway: str | None, taken: Collection[str]) -> str:
    """The lowest address that nobody has, or `NoCapacity`."""
    subnet = parse_subnet(cidr)
    unavailable = {int(IPv4Address(address)) for address in taken}
    unavailable |= {int(IPv4Address(address)) for address in reserved_addresses(cidr, gateway)}
    for number in range(int(subnet.network_address) + 1, int(subnet.broadcast_address)):
        if number not in unavailable:
            return str(IPv4Address(number))
    raise NoCapacity(f"Subnet {cidr} has no free address left.")


@lru_cache(maxsize=1024)
def parse_subnet6(cidr: str) -> IPv6Network:
    """The subnet, or `Invalid` unless it is an IPv6 /64, in which hosts can make their own addresses (RFC 4862)."""
    try:
        subnet = IPv6Network(unscoped(cidr))
    except ValueError:
        raise Invalid(f"Subnet {cidr!r} isn't one; expected IPv6 such as fd00:1:2:3::/64, host bits zero.") from None
    if str(subnet) != cidr:
        raise Invalid(f"Subnet {cidr!r} isn't in its usual form; expected {subnet}.")
    if subnet.prefixlen != _PREFIX6:
        raise Invalid(f"Subnet {cidr} has a prefix of {subnet.prefixlen} bits; expected {_PREFIX6}.")
    if not subnet.subnet_of(_GLOBAL_UNICAST) and not subnet.subnet_of(_UNIQUE_LOCAL):
        raise Invalid(f"Subnet {cidr} is neither in {_GLOBAL_UNICAST} nor in {_UNIQUE_LOCAL}.")
    return subnet


_PREFIX6 = 64
_GLOBAL_UNICAST, _UNIQUE_LOCAL = IPv6Network("2000::/3"), IPv6Network("fc00::/7")


def gateway6(cidr6: str) -> str:
    """The host's own address on a network that it routes: the first of the subnet."""
    return str(parse_subnet6(cidr6)[1])


def dhcp_address6(cidr6: str) -> str:
    """The DHCPv6 server's own address on a network without a gateway: the second of the subnet."""
    return str(parse_subnet6(cidr6)[2])


def address6_of(cidr6: str, mac: str) -> str:
    """What a host with this MAC address makes of the prefix by itself (RFC 4291, appendix A)."""
    return str(parse_subnet6(cidr6)[_interface_identifier(mac)])


def link_local_of(mac: str) -> str:
    return str(IPv6Network("fe80::/64")[_interface_identifier(mac)])


def _interface_identifier(mac: str) -> int:
    first, *others = bytes.fromhex(mac.replace(":", ""))
    return int.from_bytes(bytes((first ^ 2, *others[:2], 0xFF, 0xFE, *others[2:])))


def check_host_address6(address: str, subnet: IPv6Network, mac: str) -> IPv6Address:
    """The address, or `Invalid` when it can't be that of the machine with this MAC address.

    One that is made of another MAC address belongs to whoever has that.
    """
    try:
        parsed = IPv6Address(unscoped(address))
    except ValueError:
        raise Invalid(f"Address {address!r} isn't IPv6 such as {subnet[5]}.") from None
    if parsed not in subnet or parsed == subnet.network_address:
        raise Invalid(f"Address {address} isn't a host's in {subnet}.")
    identifier = int(parsed) & (1 << 64) - 1
    if identifier >> 24 & 0xFFFF == _OF_A_MAC and identifier != _interface_identifier(mac):
        raise Invalid(f"Address {address} is that of a host with another MAC address than {mac}.")
    return parsed


_OF_A_MAC = 0xFFFE


def parse_mac(mac: str) -> str:
    """The MAC address in lower case, or `Invalid` unless it is a unicast one that a machine can have."""
    lower = mac.lower()
    if not _MAC.fullmatch(lower):
        raise Invalid(f"MAC address {mac!r} isn't six octets such as 52:54:00:12:34:56.")
    first = int(lower[:2], 16)
    if first & 1:
        raise Invalid(f"MAC address {mac} is a group's; expected a unicast address.")
    if first == _HYPERVISOR_OCTET:
        raise Invalid(f"MAC address {mac} begins with fe, which the hypervisor's end of a tap has.")
    if lower == "00:00:00:00:00:00":
        raise Invalid("MAC address 00:00:00:00:00:00 is nobody's; expected a unicast address.")
    return lower


_HYPERVISOR_OCTET = 0xFE


def mac_of(identity: UUID, first_octet: int = 0x52) -> str:
    """A locally administered unicast address with forty bits of the UUID's hash."""
    return ":".join(f"{octet:02x}" for octet in (first_octet, *blake2b(identity.bytes, digest_size=5).digest()))


def mac_of_network(identity: UUID) -> str:
    """The MAC address of the hosts' bridges, which guests know as their gateway's: the same on every host."""
    return mac_of(identity)


def mac_of_reservation(identity: UUID) -> str:
    """Not one that is made of an interface's identity, whichever its owner picks."""
    return mac_of(identity, first_octet=0x56)
