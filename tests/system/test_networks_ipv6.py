"""IPv6 by the network driver: addresses without asking, who reaches whom, and what no guest may pretend.

As in test_networks_driver, guests are namespaces and every packet is real.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from uuid import uuid4

import pytest

from backends.networks.addresses import address6_of, link_local_of
from backends.networks.driver import Networks
from backends.networks.spec import NetworkSpec, Port
from tests.system.namespaces import (
    Guest,
    MakeGuest,
    frame,
    inside,
    octets,
    passes,
    port_on,
    run,
    shared_network,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

CIDR6 = "fd00:9::/64"
GATEWAY6 = "fd00:9::1"
OUTSIDE6 = "2001:db8:2::2"
ALL_NODES = "33:33:00:00:00:01"


def dual_stack() -> NetworkSpec:
    return replace(shared_network(), cidr6=CIDR6)


def isolated() -> NetworkSpec:
    return NetworkSpec(uuid4(), "10.9.0.0/24", cidr6=CIDR6)


def port6(spec: NetworkSpec, number: int) -> Port:
    return replace(port_on(spec, number), address6=f"fd00:9::{number:x}")


@pytest.fixture
def outside6(outside: str) -> Iterator[str]:
    run("ip", "address", "add", "2001:db8:2::1/64", "dev", "uplink", "nodad")
    run("ip", "-n", outside, "address", "add", f"{OUTSIDE6}/64", "dev", "eth0", "nodad")
    yield outside


@pytest.fixture
def pair(networks: Networks, make_guest: MakeGuest) -> tuple[Guest, Guest]:
    spec = dual_stack()
    networks.ensure_network(spec)
    return make_guest(spec, port6(spec, 5)), make_guest(spec, port6(spec, 6))


def routed(guest: Guest) -> Guest:
    """Waits for what the network tells of itself, by asking until it has come."""
    for _ in range(60):
        if "default via fe80::" in guest.command("ip", "-6", "route"):
            return guest
        guest.command("busybox", "sh", "-c", "sleep 0.2")
    raise AssertionError("no router was announced")


# Addresses


@pytest.mark.parametrize("spec", [dual_stack(), isolated(), NetworkSpec(uuid4(), cidr6=CIDR6)])
def test_guest_makes_its_address_of_the_announced_prefix(
    networks: Networks,
    make_guest: MakeGuest,
    spec: NetworkSpec,
) -> None:
    networks.ensure_network(spec)
    mac = "52:54:00:00:00:05"
    port = Port(uuid4(), spec.id, mac, "10.9.0.5" if spec.cidr else None, address6=address6_of(CIDR6, mac))
    guest = make_guest(spec, port)
    guest.command("ip", "address", "flush", "dev", "eth0", "scope", "global")
    for _ in range(60):
        if "dynamic" in (shown := guest.command("ip", "-6", "address", "show", "dev", "eth0", "-tentative")):
            break
        guest.command("busybox", "sh", "-c", "sleep 0.2")
    assert f"{port.address6}/64 scope global dynamic" in shown
    is_routed = "default via fe80::" in guest.command("ip", "-6", "route")
    assert is_routed == spec.nat


def test_dhcpv6_gives_the_address_that_was_chosen(pair: tuple[Guest, Guest]) -> None:
    assert asks_dhcpv6(pair[0]) == "fd00:9::5"
    assert asks_dhcpv6(pair[1]) == "fd00:9::6"


def test_dhcpv6_gives_an_address_to_its_new_owner_although_the_old_lease_has_not_ended(
    networks: Networks,
    make_guest: MakeGuest,
) -> None:
    spec = dual_stack()
    networks.ensure_network(spec)
    former = make_guest(spec, port6(spec, 5))
    assert asks_dhcpv6(former) == "fd00:9::5"
    networks.absent_port(former.port.id)
    heir = make_guest(spec, replace(port6(spec, 9), address6="fd00:9::5"))
    assert asks_dhcpv6(heir) == "fd00:9::5"


def asks_dhcpv6(guest: Guest) -> str | None:
    """The address of the answer to a request with rapid commit (RFC 8415 §18.2.1); None when none comes."""
    client = struct.pack("!HHHH", 1, 10, 3, 1) + octets(guest.port.mac)
    wanted = struct.pack("!HHIII", 3, 12, 1, 0, 0)
    solicit = b"\x01abc" + client + wanted + struct.pack("!HH", 14, 0) + struct.pack("!HHH", 8, 2, 0)
    with inside(guest.namespace):
        asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        index = socket.if_nametoindex("eth0")
    with asking:
        asking.settimeout(2)
        asking.bind((link_local_of(guest.port.mac), 546, 0, index))
        for _ in range(5):
            asking.sendto(solicit, ("ff02::1:2", 547, 0, index))
            try:
                answer = asking.recv(2000)
            except TimeoutError:
                continue
            found = answer.find(struct.pack("!HH", 5, 24))
            if found >= 0:
                return str(IPv6Address(answer[found + 4 : found + 20]))
    return None


# Who reaches whom


def test_guests_reach_each_other_their_gateway_and_outside_as_the_host(
    pair: tuple[Guest, Guest], outside6: str
) -> None:
    one, two = map(routed, pair)
    assert one.pings("fd00:9::6")
    assert two.pings(GATEWAY6)
    assert one.pings(OUTSIDE6)  # which knows no way back to fd00:9::/64: the host's address was seen


def test_routed_guests_appear_outside_with_their_own_address(
    networks: Networks,
    make_guest: MakeGuest,
    outside6: str,
) -> None:
    spec = replace(dual_stack(), masquerade6=False)
    networks.ensure_network(spec)
    guest = routed(make_guest(spec, port6(spec, 5)))
    assert not guest.pings(OUTSIDE6)
    run("ip", "-n", outside6, "route", "add", CIDR6, "via", "2001:db8:2::1")
    assert guest.pings(OUTSIDE6)


def test_nobody_outside_reaches_a_guest_and_no_guest_the_host(pair: tuple[Guest, Guest], outside6: str) -> None:
    guest = routed(pair[0])
    run("ip", "-n", outside6, "route", "add", CIDR6, "via", "2001:db8:2::1")
    outsider = Guest(outside6, guest.port)
    assert outsider.pings("2001:db8:2::1")
    assert not outsider.pings("fd00:9::5")
    assert not guest.pings("2001:db8:2::1")


def test_isolated_networks_with_the_same_prefix_know_nothing_of_each_other_and_the_host(
    networks: Networks,
    make_guest: MakeGuest,
) -> None:
    first, second = isolated(), isolated()
    for spec in (first, second):
        networks.ensure_network(spec)
    one, two = make_guest(first, port6(first, 5)), make_guest(first, port6(first, 6))
    other = make_guest(second, port6(second, 7))
    assert one.pings("fd00:9::6")
    assert one.pings(f"{link_local_of(two.port.mac)}%eth0")
    assert not one.pings("fd00:9::7")
    assert not other.pings(f"{link_local_of(two.port.mac)}%eth0")
    assert "fe80::" not in run("ip", "-6", "address", "show", "dev", networks.bridge_name(first.id))


def test_guest_of_a_network_without_ipv6_reaches_nobody_by_it(
    networks: Networks,
    make_guest: MakeGuest,
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    one, two = make_guest(spec, port_on(spec, 5)), make_guest(spec, port_on(spec, 6))
    assert one.pings("10.9.0.6")
    assert not one.pings(f"{link_local_of(two.port.mac)}%eth0")


# Spoofing


def ipv6(source: str, destination: str, next_header: int, payload: bytes) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255)
    return header + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def icmpv6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """Its checksum too: the firewall doesn't look at it, but a test should be about one fault only."""
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = IPv6Address(source).packed + IPv6Address(destination).packed + struct.pack("!II", len(message), 58)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(message)) // 2}H", pseudo + message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ipv6(source, destination, 58, struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body)


def advertisement(source: str, target: str, mac: str, more: bytes = b"") -> bytes:
    body = struct.pack("!I", 0x20000000) + IPv6Address(target).packed + b"\2\1" + octets(mac) + more
    return icmpv6(source, "ff02::1", 136, body)


def solicitation(source: str, target: str, mac: str | None) -> bytes:
    option = b"" if mac is None else b"\1\1" + octets(mac)
    return icmpv6(source, "ff02::1", 135, bytes(4) + IPv6Address(target).packed + option)


def udp6(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    return ipv6(source, destination, 17, struct.pack("!HHHH", source_port, destination_port, 14, 0) + b"marked")


def fragment(source: str, destination: str, payload: bytes) -> bytes:
    """The first of two, in which a router's advertisement comes after options that say nothing (RFC 7113)."""
    padding = struct.pack("!BB", 58, 0) + b"\1\4" + bytes(4)
    return ipv6(source, destination, 44, struct.pack("!BBHI", 60, 0, 1, 7) + padding + payload)


def test_own_frames_pass(pair: tuple[Guest, Guest]) -> None:
    mac = pair[0].port.mac
    own = {
        "chosen address": udp6("fd00:9::5", "fd00:9::6", 4000, 4000),
        "made address": udp6(address6_of(CIDR6, mac), "fd00:9::6", 4000, 4000),
        "link-local": udp6(link_local_of(mac), "ff02::1", 4000, 4000),
        "advertisement": advertisement("fd00:9::5", "fd00:9::5", mac),
        "advertisement of link-local": advertisement(link_local_of(mac), link_local_of(mac), mac),
        "solicitation": solicitation("fd00:9::5", "fd00:9::77", mac),
        "search for duplicates": solicitation("::", "fd00:9::5", None),
        "extension": ipv6("fd00:9::5", "fd00:9::6", 60, struct.pack("!BB", 59, 0) + b"\1\4" + bytes(4)),
    }
    assert [what for what, sent in own.items() if not passes(*pair, frame(mac, 0x86DD, sent, ALL_NODES))] == []


def test_spoofed_frames_are_dropped(pair: tuple[Guest, Guest]) -> None:
    mac, theirs = pair[0].port.mac, pair[1].port.mac
    local, stolen = link_local_of(mac), "52:54:00:00:00:99"
    router = struct.pack("!BBHII", 64, 0, 1800, 0, 0)
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + IPv6Address("fd66::").packed
    spoofed = {
        "address": udp6("fd00:9::6", "ff02::1", 4000, 4000),
        "gateway's address": udp6(GATEWAY6, "ff02::1", 4000, 4000),
        "other link-local": udp6(link_local_of(theirs), "ff02::1", 4000, 4000),
        "address of another prefix": udp6("fd00:8::5", "ff02::1", 4000, 4000),
        "no address": udp6("::", "ff02::1", 4000, 4000),
        "mapped address": udp6("::ffff:10.9.0.6", "ff02::1", 4000, 4000),
        "advertisement of another's address": advertisement("fd00:9::5", "fd00:9::6", mac),
        "advertisement of the gateway's": advertisement(local, GATEWAY6, mac),
        "advertisement of another's link-local": advertisement(local, link_local_of(theirs), mac),
        "advertisement with another's MAC": advertisement("fd00:9::5", "fd00:9::5", theirs),
        "advertisement with two options": advertisement("fd00:9::5", "fd00:9::5", mac, b"\2\1" + octets(theirs)),
        "solicitation with another's MAC": solicitation("fd00:9::5", "fd00:9::6", theirs),
        "search for another's address": solicitation("::", "fd00:9::6", None),
        "router's advertisement": icmpv6(local, "ff02::1", 134, router + prefix),
        "redirect": icmpv6(local, "ff02::1", 137, bytes(4) + IPv6Address("fd00:9::6").packed * 2),
        "fragmented router's advertisement": fragment(local, "ff02::1", icmpv6(local, "ff02::1", 134, router)[40:]),
        "hidden router's advertisement": ipv6(
            local,
            "ff02::1",
            60,
            struct.pack("!BB", 58, 0) + b"\1\4" + bytes(4) + icmpv6(local, "ff02::1", 134, router)[40:],
        ),
        "DHCPv6 offer": udp6(local, "ff02::1", 547, 546),
        "DHCPv6 offer from another port": udp6(local, "ff02::1", 1547, 546),
    }
    passed = [what for what, sent in spoofed.items() if passes(*pair, frame(mac, 0x86DD, sent, ALL_NODES))]
    assert passed == []
    assert not passes(*pair, frame(stolen, 0x86DD, udp6("fd00:9::5", "ff02::1", 4000, 4000), ALL_NODES))


# Repair


def test_a_lost_entry_chain_or_address_is_restored(networks: Networks) -> None:
    spec = dual_stack()
    port = port6(spec, 5)
    networks.ensure_network(spec)
    networks.ensure_port(spec, port)
    assert networks.restore([spec], [port]).repaired == ()
    table, tap = "altostratus_zt12ab", networks.tap_name(port.id)
    for damage in (
        ["nft", "flush", "set", "bridge", table, "addresses6"],
        ["nft", "flush", "map", "bridge", table, "discovery"],
        ["nft", "flush", "chain", "bridge", table, f"discovery_{tap}"],
        ["nft", "delete", "table", "bridge", table],
        ["ip", "address", "delete", f"{GATEWAY6}/64", "dev", networks.bridge_name(spec.id)],
        ["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"],
    ):
        run(*damage)
        assert networks.restore([spec], [port]).repaired, damage
        assert networks.restore([spec], [port]).repaired == (), damage


def test_a_port_that_loses_ipv6_and_gets_it_again_is_filtered_accordingly(
    networks: Networks,
    pair: tuple[Guest, Guest],
) -> None:
    one, two = pair
    network = one.port.network_id
    with_ipv6 = replace(dual_stack(), id=network)
    assert one.pings("fd00:9::6")
    networks.ensure_network(replace(with_ipv6, cidr6=None))
    networks.ensure_port(replace(with_ipv6, cidr6=None), replace(one.port, address6=None))
    assert not one.pings("fd00:9::6")
    networks.ensure_network(with_ipv6)
    networks.ensure_port(with_ipv6, one.port)
    assert one.pings("fd00:9::6")
    assert two.pings("fd00:9::5")


def test_the_host_goes_on_taking_routes_from_its_own_routers(networks: Networks, outside: str) -> None:
    setting = Path("/proc/sys/net/ipv6/conf/uplink/accept_ra")
    setting.write_text("1")
    networks.ensure_network(dual_stack())
    assert setting.read_text().strip() == "2"
