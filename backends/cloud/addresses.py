"""Which addresses an interface or a reservation gets on a network: those that were chosen, or the next free ones.

The network's row must be held until commit, so that nobody else takes the same ones.
"""

from __future__ import annotations

from backends.errors import Conflict, Invalid, OutOfRoom
from backends.model import Allocation, Network
from backends.networks.addresses import (
    address6_of,
    check_host_address,
    check_host_address6,
    default_gateway,
    dhcp_address6,
    gateway6,
    mac_of_network,
    parse_mac,
    parse_subnet,
    parse_subnet6,
    reserved_addresses,
)
from backends.store.database import Connection, query


def free_mac(connection: Connection, network: Network, mac: str) -> str:
    mac = parse_mac(mac)
    if mac == mac_of_network(network.id):
        raise Conflict(f"the MAC address {mac} is that of the gateway of the network {network.id}")
    if _is_held(connection, network, "mac", mac):
        raise Conflict(f"the MAC address {mac} is taken on the network {network.id}")
    return mac


def chosen_address(connection: Connection, network: Network, address: str) -> str:
    if network.cidr is None:
        raise Invalid(f"the address is {address}, but the network {network.id} has no address range")
    address = str(check_host_address(address, parse_subnet(network.cidr)))
    is_guests = not network.shared and address == network.gateway  # a guest may be the gateway of a project's own
    if address in reserved_addresses(network.cidr, gateway_of(network)) and not is_guests:
        raise Conflict(f"the address {address} is the network's own gateway or DHCP server")
    if _is_held(connection, network, "address", address):
        raise Conflict(f"the address {address} is taken on the network {network.id}")
    return address


def chosen_address6(connection: Connection, network: Network, address: str, mac: str) -> str:
    if network.cidr6 is None:
        raise Invalid(f"the address is {address}, but the network {network.id} has no IPv6 address range")
    address = str(check_host_address6(address, parse_subnet6(network.cidr6), mac))
    if address in (gateway6(network.cidr6), dhcp_address6(network.cidr6)):
        raise Conflict(f"the address {address} is the network's own gateway or DHCP server")
    if _is_held(connection, network, "address6", address):
        raise Conflict(f"the address {address} is taken on the network {network.id}")
    return address


def next_address(connection: Connection, network: Network) -> str | None:
    """The one after the highest given, so that a freed address rests; gaps only when that is the last."""
    if network.cidr is None:
        return None
    if network.allocation is Allocation.STATIC:
        raise unnamed(network)
    subnet = parse_subnet(network.cidr)
    values = {
        "network_id": network.id,
        "first": str(subnet[1]),
        "last": str(subnet[-2]),
        "unavailable": ",".join(reserved_addresses(network.cidr, gateway_of(network))),
    }
    for after_given in (True, False):
        row = connection.execute(query("links.next_address"), values | {"after_given": after_given}).fetchone()
        if row is not None:
            return str(row[0])
    raise OutOfRoom(f"the network {network.id} has no free address left in {network.cidr}")


def own_address6(network: Network, mac: str) -> str | None:
    """What the machine makes of its MAC address. It is free: nobody else has that, nor may choose this."""
    return None if network.cidr6 is None else address6_of(network.cidr6, mac)


def gateway_of(network: Network) -> str | None:
    """The shared network's gateway is the host; a project's own has one only where its owner says so."""
    if network.shared and network.cidr is not None:
        return network.gateway or default_gateway(network.cidr)
    return network.gateway


def check_gateway(network: Network, gateway: str) -> None:
    """An interface's is its network's: that is what DHCP tells all guests there."""
    should = gateway_of(network)
    if gateway != should:
        raise Invalid(f"the gateway is {gateway}, but that of the network {network.id} is {should or 'none'}")


def unnamed(network: Network) -> Invalid:
    """Where addresses are static, users choose them (GFD.184 §3.2.1)."""
    return Invalid(f"the allocation is static, so an address of the network {network.id} must be named")


def _is_held(connection: Connection, network: Network, column: str, value: str) -> bool:
    statement = f"SELECT 1 FROM held_address WHERE network_id = %s AND {column} = %s" + (
        "" if column == "mac" else "::inet"
    )
    return connection.execute(statement, [network.id, value]).fetchone() is not None
