"""Public addresses: a route to each by its bridge, and the host's answer for it on the uplink (proxy ARP and NDP)."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from backends.networks.errors import NetworkDriverError
from backends.networks.links import Link, find, netlink_socket, run, set_sysctl

NTF_PROXY = 0x08
RTPROT_STATIC = 4
ETH_P_ARP = 0x0806
ND_NEIGHBOR_ADVERT = 136
OVERRIDE = 0x20000000
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def ensure_published(
    bridge: str, uplink: str, subnets: Collection[IPv4Network | IPv6Network], addresses: Collection[str]
) -> list[str]:
    """These addresses of the subnets are reached through the bridge, and no other; returns what was wrong."""
    wrong: list[str] = []
    with netlink_socket() as netlink:
        inner, outer = find(netlink, bridge), find(netlink, uplink)
        if outer is None:
            raise NetworkDriverError(f"public_uplink is {uplink}, but this host has no such link.")
        if inner is None:
            raise NetworkDriverError(f"Bridge {bridge} is missing, which public addresses are behind.")
        set_sysctl(f"ipv4/conf/{bridge}/proxy_arp", "1")
        set_sysctl(f"ipv6/conf/{uplink}/proxy_ndp", "1")
        for answering in (f"ipv4/neigh/{bridge}", f"ipv4/neigh/{uplink}", f"ipv6/neigh/{uplink}"):
            set_sysctl(f"{answering}/proxy_delay", "0")  # else up to 0.8 s, for want of a better answer
        wanted = set(addresses)
        routed = _routed(netlink, inner.index)
        for address in routed - wanted:
            _route(netlink, "del", address, inner.index)
        for address in wanted - routed:
            _route(netlink, "replace", address, inner.index)
        answered = {
            address for address in _answered(uplink) if any(ip_address(address) in subnet for subnet in subnets)
        }
        for address in answered - wanted:
            _answer(netlink, "del", address, outer.index)
        for address in wanted - answered:
            _answer(netlink, "add", address, outer.index)
            _announce(outer, address)
        if routed != wanted or answered != wanted:
            wrong.append(f"Other addresses were published through {uplink} than there are on {bridge}.")
    return wrong


def withdraw(uplink: str, subnets: Collection[IPv4Network | IPv6Network]) -> None:
    """Answers for none of them any more; the routes go with their bridge."""
    with netlink_socket() as netlink:
        outer = find(netlink, uplink)
        for address in [] if outer is None else _answered(uplink):
            if outer is not None and any(ip_address(address) in subnet for subnet in subnets):
                _answer(netlink, "del", address, outer.index)


def _routed(netlink: Any, index: int) -> set[str]:
    return {
        message.get("dst")
        for family in FAMILIES.values()
        for message in netlink.get_routes(family=family, oif=index)
        if message["proto"] == RTPROT_STATIC and message["dst_len"] in (32, 128)
    }


def _route(netlink: Any, verb: str, address: str, index: int) -> None:
    parsed = ip_address(address)
    netlink.route(verb, dst=f"{parsed}/{parsed.max_prefixlen}", oif=index, family=FAMILIES[parsed.version])


def _answered(uplink: str) -> set[str]:
    """By iproute2: pyroute2 leaves the flag out that asks for these, and the kernel lists other neighbours then."""
    listing: list[dict[str, str]] = json.loads(run(["ip", "-json", "neigh", "show", "proxy"]) or "[]")
    return {entry["dst"] for entry in listing if entry["dev"] == uplink}


def _answer(netlink: Any, verb: str, address: str, index: int) -> None:
    family = FAMILIES[ip_address(address).version]
    netlink.neigh(verb, dst=address, ifindex=index, flags=NTF_PROXY, family=family)


def _announce(uplink: Link, address: str) -> None:
    """Tells those on the uplink, who may know it from another host: a gratuitous ARP or neighbour advertisement.

    If it can't be sent they find out by themselves, later.
    """
    mac = bytes.fromhex(uplink.mac.replace(":", ""))
    own = ip_address(address).packed
    with contextlib.suppress(OSError):
        if len(own) == 4:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
                wire.bind((uplink.name, ETH_P_ARP))
                request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + own + bytes(6) + own  # RFC 5227 §3
                wire.send(b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP) + request)
            return
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as wire:
            wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            advertised = struct.pack("!BBHI", ND_NEIGHBOR_ADVERT, 0, 0, OVERRIDE) + own + b"\x02\x01" + mac  # RFC 4861
            wire.sendto(advertised, ("ff02::1", 0, 0, uplink.index))
