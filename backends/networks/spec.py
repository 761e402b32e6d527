"""What a network and a port should be on this host, and the names they get there.

Links have at most fifteen characters: the cloud's tag, a letter for the kind and forty bits of the UUID's SHA-256
in base32. That many can clash: the database lets no two in (`name_on_hosts`), and whoever makes a link also records
whose it is, and refuses another's.
"""

from __future__ import annotations

import re
from base64 import b32encode
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

from backends.errors import Invalid
from backends.networks.addresses import (
    check_host_address,
    check_host_address6,
    dhcp_address6,
    gateway6,
    mac_of_network,
    parse_mac,
    parse_subnet,
    parse_subnet6,
    reserved_addresses,
)

CLOUD_TAG = re.compile(r"[a-z][a-z0-9]{5}")
LAST_VLAN = 4094
BRIDGE, TAP, DHCP_LINK, TUNNEL, VLAN_LINK, VLAN_PORT = "b", "t", "d", "x", "v", "w"
_HOSTNAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the site's administrator has joined this host to; empty for what it isn't."""

    public_uplink: str = ""
    """The link on which the site's public addresses are asked for."""
    vlan_uplink: str = ""
    """A link of its own for tagged frames."""
    vlans: tuple[tuple[int, int], ...] = ()
    """The first and last of each range of VLANs that users may have there."""
    tunnel_network: str = ""
    """The IPv4 network of the cloud's hosts, which nobody else is on; each has one address in it."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How the network reaches other hosts: by VXLAN with this identifier; `remotes` are (MAC, host's address)."""

    vni: int
    remotes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network. With `nat` or `public` the host is its gateway; without, nothing leads out of it."""

    id: UUID
    cidr: str | None = None
    gateway: str | None = None
    nat: bool = False
    up: bool = True
    """False: no traffic and no DHCP, but all of it stays configured."""
    cidr6: str | None = None
    """An IPv6 /64. With `nat` its first address is the host's."""
    masquerade6: bool = True
    """With `nat`: whether guests appear outside under the host's IPv6 address (NAT66) or their own."""

    public: bool = False
    """The host is the gateway and everybody outside may reach the guests, whose addresses are the site's."""
    vlan: int | None = None
    tunnel: Tunnel | None = None

    @property
    def is_routed(self) -> bool:
        """Whether the host is on it, as the gateway."""
        return self.nat or self.public

    @property
    def has_addresses(self) -> bool:
        return self.cidr is not None or self.cidr6 is not None


@dataclass(frozen=True, slots=True)
class Port:
    """A machine's interface on a network. `id` is the interface's; the tap's name follows from it."""

    id: UUID
    network_id: UUID
    mac: str
    address: str | None = None
    hostname: str | None = None
    address6: str | None = None
    routes: str | None = None
    """The IPv4 subnet whose gateway it is: what it sends may come from any address beyond. The driver finds it out."""


def bridge_name(cloud_tag: str, network_id: UUID) -> str:
    return _link_name(cloud_tag, BRIDGE, network_id)


def tap_name(cloud_tag: str, interface_id: UUID) -> str:
    return _link_name(cloud_tag, TAP, interface_id)


def dhcp_link_name(cloud_tag: str, network_id: UUID) -> str:
    """The outer end of the pair that joins an isolated network with its DHCP server."""
    return _link_name(cloud_tag, DHCP_LINK, network_id)


def tunnel_name(cloud_tag: str, network_id: UUID) -> str:
    return _link_name(cloud_tag, TUNNEL, network_id)


def vlan_link_names(cloud_tag: str, network_id: UUID) -> tuple[str, str]:
    """The ends of the pair that joins a network with its VLAN: the network's, and the trunk's."""
    return _link_name(cloud_tag, VLAN_LINK, network_id), _link_name(cloud_tag, VLAN_PORT, network_id)


def trunk_name(cloud_tag: str) -> str:
    """The bridge that all VLANs of the cloud go through."""
    return f"{cloud_tag}vlans"


def namespace_name(cloud_tag: str, network_id: UUID) -> str:
    """The network namespace in which an isolated network's DHCP server lives."""
    return f"{cloud_tag}-{network_id}"


def own_link_pattern(cloud_tag: str) -> re.Pattern[str]:
    """Matches the names of this cloud's links of networks; taps are libvirt's to remove."""
    return re.compile(rf"{cloud_tag}[{BRIDGE}{DHCP_LINK}{TUNNEL}{VLAN_LINK}{VLAN_PORT}][a-z2-7]{{8}}")


def own_tap_pattern(cloud_tag: str) -> re.Pattern[str]:
    """Matches the names of the taps of this cloud's machines."""
    return re.compile(rf"{cloud_tag}{TAP}[a-z2-7]{{8}}")


def check_cloud_tag(cloud_tag: str) -> None:
    if not CLOUD_TAG.fullmatch(cloud_tag):
        raise Invalid(f"The cloud's tag is {cloud_tag!r}; expected a lower-case letter and five letters or digits.")


def check_network(spec: NetworkSpec) -> None:
    """Raises `Invalid` for what can't be built."""
    if spec.cidr6 is not None:
        parse_subnet6(spec.cidr6)
    if spec.vlan is not None and not 1 <= spec.vlan <= LAST_VLAN:
        raise Invalid(f"Network {spec.id} has VLAN {spec.vlan}, which IEEE 802.1Q reserves; expected 1 to {LAST_VLAN}.")
    if spec.cidr is None:
        if spec.is_routed or spec.gateway is not None:
            raise Invalid(f"Network {spec.id} has no subnet, so it can have neither NAT nor a gateway.")
        return
    subnet = parse_subnet(spec.cidr)
    if spec.gateway is not None:
        check_host_address(spec.gateway, subnet)
    elif spec.is_routed:
        raise Invalid(f"Network {spec.id} has NAT but no gateway; expected an address of {spec.cidr}.")


def check_port(spec: NetworkSpec, port: Port) -> None:
    """Raises `Invalid` for what can't be built, or could be a way into a configuration file."""
    if parse_mac(port.mac) == mac_of_network(spec.id):
        raise Invalid(f"Interface {port.id} has the MAC address {port.mac}, which is that of the network's gateway.")
    if port.network_id != spec.id:
        raise Invalid(f"Interface {port.id} is on network {port.network_id}; expected {spec.id}.")
    if port.hostname is not None and (len(port.hostname) > 253 or not _HOSTNAME.fullmatch(port.hostname)):
        raise Invalid(f"The host name of interface {port.id} is {port.hostname!r}; expected a DNS name.")
    _check_address6(spec, port)
    if spec.cidr is None:
        if port.address is not None:
            raise Invalid(f"Interface {port.id} has address {port.address}, but network {spec.id} has no subnet.")
        return
    if port.address is None:
        raise Invalid(f"Interface {port.id} has no address; expected one of {spec.cidr}.")
    address = check_host_address(port.address, parse_subnet(spec.cidr))
    if str(address) in reserved_addresses(spec.cidr, spec.gateway) and not _is_gateway(spec, port):
        raise Invalid(f"Address {address} of interface {port.id} is the gateway's or the DHCP server's.")


def as_on(spec: NetworkSpec, port: Port) -> Port:
    """The port as it is there: a guest may be the gateway of a network that the host isn't on."""
    return replace(port, routes=spec.cidr if _is_gateway(spec, port) else None)


def _is_gateway(spec: NetworkSpec, port: Port) -> bool:
    return not spec.is_routed and port.address is not None and port.address == spec.gateway


def _check_address6(spec: NetworkSpec, port: Port) -> None:
    if spec.cidr6 is None:
        if port.address6 is not None:
            raise Invalid(f"Interface {port.id} has address {port.address6}, but network {spec.id} has no IPv6 subnet.")
        return
    if port.address6 is None:
        raise Invalid(f"Interface {port.id} has no IPv6 address; expected one of {spec.cidr6}.")
    address = check_host_address6(port.address6, parse_subnet6(spec.cidr6), port.mac)
    if str(address) in (gateway6(spec.cidr6), dhcp_address6(spec.cidr6)):
        raise Invalid(f"Address {address} of interface {port.id} is the gateway's or the DHCP server's.")


def _link_name(cloud_tag: str, kind: str, identity: UUID) -> str:
    digest = sha256(identity.bytes).digest()[:5]
    return f"{cloud_tag}{kind}{b32encode(digest).decode().lower()}"
