"""VXLAN: one tunnel device per network, which knows from rows who is behind which host and learns nothing by itself."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from backends.networks.errors import NameClashError, NetworkDriverError
from backends.networks.links import Link, find, netlink_socket, set_ipv6
from backends.networks.spec import Tunnel

PORT = 4789
OVERHEAD_BYTES = 50
"""Of IPv4, UDP, VXLAN and the inner Ethernet header."""
TO_EVERYBODY = "00:00:00:00:00:00"
NTF_SELF, NTF_MASTER, NUD_NOARP, NUD_PERMANENT = 0x02, 0x04, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class Underlay:
    """The host's own end of all tunnels."""

    link: str
    address: str
    mtu: int
    """Of the frames' payload that fits into a tunnel."""


def underlay_in(network: IPv4Network) -> Underlay:
    """The address that this host has in the network of all hosts, and what its link can carry."""
    with netlink_socket() as netlink:
        for message in netlink.get_addr(family=socket.AF_INET):
            address = message.get("address")
            if address is not None and IPv4Address(address) in network:
                (link,) = netlink.get_links(message["index"])
                return Underlay(link.get("ifname"), address, link.get("mtu") - OVERHEAD_BYTES)
    raise NetworkDriverError(f"tunnel_network is {network}, but this host has no address in it.")


def ensure_tunnel(name: str, alias: str, bridge: str, tunnel: Tunnel, underlay: Underlay) -> list[str]:
    """Makes it so and returns what was wrong. The alias, set last, says what it was made with."""
    alias = f"{alias} {tunnel.vni} {underlay.address}"
    wrong: list[str] = []
    with netlink_socket() as netlink:
        master = find(netlink, bridge)
        if master is None:
            raise NetworkDriverError(f"Bridge {bridge} is missing, which tunnel {name} belongs to.")
        found = find(netlink, name)
        if found is not None and found.kind != "vxlan":
            raise NameClashError(f"Link {name} is {found.alias or found.kind!r}; expected {alias!r}.")
        if found is not None and found.alias != alias:
            netlink.link("del", index=found.index)
            found = None
        if found is None:
            wrong.append(f"Tunnel {name} was missing.")
            found = _make(netlink, name, tunnel, underlay)
            netlink.link("set", index=found.index, ifalias=alias)
        if found.master != master.index or not found.up:
            wrong.append(f"Tunnel {name} was not in bridge {bridge} or was down.")
            netlink.link("set", index=found.index, master=master.index)
            netlink.brport("set", index=found.index, learning=0)
            netlink.link("set", index=found.index, state="up")
        return wrong + _set_neighbours(netlink, found, tunnel)


def _make(netlink: Any, name: str, tunnel: Tunnel, underlay: Underlay) -> Link:
    netlink.link(
        "add",
        ifname=name,
        kind="vxlan",
        vxlan_id=tunnel.vni,
        vxlan_local=underlay.address,
        vxlan_port=PORT,
        vxlan_learning=0,
        vxlan_ttl=64,
    )
    set_ipv6(name, {"disable_ipv6": "1"})
    found = find(netlink, name)
    if found is None:
        raise NetworkDriverError(f"Tunnel {name} vanished while it was made.")
    netlink.link("set", index=found.index, mtu=underlay.mtu)
    return found


_Entry = tuple[str, str | None]
"""A MAC address and the host behind which it is; without a host, the bridge's knowledge that it is in the tunnel."""


def _set_neighbours(netlink: Any, link: Link, tunnel: Tunnel) -> list[str]:
    wanted: set[_Entry] = {(mac, host) for mac, host in tunnel.remotes}
    wanted |= {(TO_EVERYBODY, host) for _, host in tunnel.remotes}
    wanted |= {(mac, None) for mac, _ in tunnel.remotes}
    present: set[_Entry] = {
        (message.get("lladdr"), message.get("dst"))
        for message in netlink.fdb("dump", ifindex=link.index)
        if message["ifindex"] == link.index and not (message["state"] & NUD_PERMANENT and message.get("dst") is None)
    }
    for entry in present - wanted:
        _change(netlink, "del", link, entry)
    for entry in wanted - present:
        _change(netlink, "append" if entry[0] == TO_EVERYBODY else "add", link, entry)
    return [f"Tunnel {link.name} knew other neighbours than there are."] if present != wanted else []


def _change(netlink: Any, verb: str, link: Link, entry: _Entry) -> None:
    mac, host = entry
    if host is None:
        netlink.fdb(verb, ifindex=link.index, lladdr=mac, flags=NTF_MASTER, state=NUD_NOARP)
    else:
        netlink.fdb(verb, ifindex=link.index, lladdr=mac, dst=host, flags=NTF_SELF, state=NUD_NOARP | NUD_PERMANENT)
