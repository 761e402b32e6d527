"""Who reaches whom, all of it: classes and tenants, each with each, by every protocol, both ways, IPv4 and IPv6.

Everybody sends to everybody at once; what must not arrive is sent first, so that it has had its time when all that
must has come.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from backends.networks.driver import Networks
from backends.networks.spec import NetworkSpec, Port, Wiring
from tests.system.namespaces import OUTSIDE_ADDRESS, TAG, MakeGuest, inside, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

PORT = 7000
LIMIT_S = 60
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
SITE = ("public", "local", "private")
ECHO = {4: (8, socket.IPPROTO_ICMP), 6: (128, socket.IPPROTO_ICMPV6)}
EVERYBODY = {4: "255.255.255.255", 6: "ff02::1"}

Way = tuple[str, str, str]
"""Protocol, who sends, who receives."""


@dataclass(frozen=True)
class Party:
    """Somebody on a network; `addresses` are all under which it could be reached, IPv4 and IPv6."""

    name: str
    network: str
    namespace: str
    addresses: tuple[str, ...]


def may_reach(sender: Party, receiver: Party) -> bool:
    if sender.network == receiver.network:
        return True
    if receiver.network == "host":
        return sender.network == "outside"  # whom the cloud's firewall doesn't concern
    return sender.network in (*SITE, "outside") and receiver.network in ("public", "outside")


def _is_gateways_echo(way: Way, sender: Party) -> bool:
    """What the host does answer, at the gateway's address."""
    protocol, _, receiver = way
    return receiver == "host" and sender.network in SITE and protocol.startswith("echo")


@pytest.fixture
def networks(outside: str, networks_folder: Path) -> Iterator[Networks]:
    driver = Networks(TAG, networks_folder, Wiring(public_uplink="uplink"))
    run("ip", "address", "add", "2001:db8:2::1/64", "dev", "uplink", "nodad")
    run("ip", "-n", outside, "address", "add", "2001:db8:2::2/64", "dev", "eth0", "nodad")
    run("ip", "-n", outside, "route", "add", "2001:db8:9::/64", "dev", "eth0")
    for subnet in ("10.7.0.0/24", "10.8.0.0/24", "10.9.0.0/24"):
        run("ip", "-n", outside, "route", "add", subnet, "via", "192.0.2.1")
    for subnet in ("fd00:7::/64", "fd00:8::/64", "fd00:9::/64"):
        run("ip", "-n", outside, "route", "add", subnet, "via", "2001:db8:2::1")
    yield driver
    driver.restore([], [])


@pytest.fixture
def parties(networks: Networks, make_guest: MakeGuest, outside: str, host_namespace: str) -> list[Party]:
    local = NetworkSpec(uuid4(), "10.9.0.0/24", "10.9.0.1", nat=True, cidr6="fd00:9::/64")
    specs = {
        "public": NetworkSpec(uuid4(), "192.0.2.128/28", "192.0.2.129", cidr6="2001:db8:9::/64", public=True),
        "local": local,
        "private": replace(local, id=uuid4(), cidr="10.8.0.0/24", gateway="10.8.0.1", cidr6="fd00:8::/64"),
        "one's": NetworkSpec(uuid4(), "10.7.0.0/24", cidr6="fd00:7::/64"),
        "another's": NetworkSpec(uuid4(), "10.7.0.0/24", cidr6="fd00:7::/64"),
    }
    made = [Party("outside", "outside", outside, (OUTSIDE_ADDRESS, "2001:db8:2::2"))]
    hosts_own = ["192.0.2.1", "2001:db8:2::1"]
    number = 4
    for name, spec in specs.items():
        networks.ensure_network(spec)
        cidr, cidr6 = spec.cidr or "", spec.cidr6 or ""
        first, prefix = cidr.rpartition(".")[0], cidr6.removesuffix("/64")
        offset = int(cidr.rpartition(".")[2].partition("/")[0])
        if name in SITE:
            hosts_own += [f"{first}.{offset + 1}", f"{prefix}1"]
        for _ in range(2):
            number += 1
            addresses = (f"{first}.{offset + number}", f"{prefix}{number:x}")
            port = Port(uuid4(), spec.id, f"52:54:00:00:00:{number:02x}", addresses[0], address6=addresses[1])
            guest = make_guest(spec, port)
            way_out = ["via", f"{prefix}1"] if name in SITE else []
            guest.command("ip", "-6", "route", "replace", "default", *way_out, "dev", "eth0")
            if name not in SITE:
                guest.command("ip", "route", "replace", "default", "dev", "eth0")
            made.append(Party(f"{name} {number}", name, guest.namespace, addresses))
    made.append(Party("host", "host", host_namespace, tuple(hosts_own)))
    return made


def test_everybody_reaches_whom_they_may_and_nobody_else(parties: list[Party]) -> None:
    with ExitStack() as stack:
        exchange = Exchange(stack, parties)
        pairs = [(one, other) for one in parties for other in parties if one != other and one.network != "host"]
        wanted: set[Way] = set()
        for sender, receiver in sorted(pairs, key=lambda pair: may_reach(*pair)):
            ways = exchange.send(sender, receiver)
            wanted |= {way for way in ways if may_reach(sender, receiver) or _is_gateways_echo(way, sender)}
        for sender in parties:
            if sender.network not in ("host", "outside"):
                exchange.send_to_everybody(sender)
                wanted |= {
                    (f"everybody over IPv{version}", sender.name, receiver.name)
                    for version in FAMILIES
                    for receiver in parties
                    if receiver.network == sender.network and receiver != sender
                }
        arrived = exchange.collect(wanted)
    assert sorted(wanted - arrived) == []
    assert sorted(arrived - wanted) == []
    assert len({protocol for protocol, _, _ in arrived}) == 8


class Exchange:
    """Everybody's sockets: what is sent bears the names of both, so that what comes tells which way it was."""

    def __init__(self, stack: ExitStack, parties: Iterable[Party]) -> None:
        self._stack = stack
        self._datagrams: dict[tuple[str, int], socket.socket] = {}
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._echoes: dict[tuple[str, int], socket.socket] = {}
        self._streams: list[tuple[socket.socket, Way]] = []
        self._links: dict[str, int] = {}
        for party in parties:
            with inside(party.namespace):
                for version, family in FAMILIES.items():
                    self._open(party, version, family)

    def _open(self, party: Party, version: int, family: socket.AddressFamily) -> None:
        key = (party.name, version)
        self._datagrams[key] = self._socket(family, socket.SOCK_DGRAM)
        self._listeners[key] = self._socket(family, socket.SOCK_STREAM)
        self._echoes[key] = self._socket(family, socket.SOCK_RAW, ECHO[version][1])
        self._datagrams[key].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        anywhere = "0.0.0.0" if version == 4 else "::"  # noqa: S104
        self._datagrams[key].bind((anywhere, PORT))
        self._listeners[key].bind((anywhere, PORT))
        self._listeners[key].listen(1000)
        if party.network not in ("host", "outside"):
            self._links[party.name] = socket.if_nametoindex("eth0")

    def _socket(self, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        opened = self._stack.enter_context(socket.socket(family, kind, protocol))
        opened.setblocking(False)
        if family == socket.AF_INET6 and kind != socket.SOCK_RAW:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return opened

    def send(self, sender: Party, receiver: Party) -> set[Way]:
        """By all protocols, to each address; returns the ways that it could go."""
        ways: set[Way] = set()
        for address in receiver.addresses:
            version = 6 if ":" in address else 4
            label = f"{sender.name}|{receiver.name}".encode()
            with suppress(OSError):  # no route is no arrival
                self._datagrams[sender.name, version].sendto(label, (address, PORT))
            kind, _ = ECHO[version]
            echo = struct.pack("!BBHHH", kind, 0, 0, 7, 7) + label.ljust(32)
            if version == 4:
                echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
            with suppress(OSError):
                self._echoes[sender.name, version].sendto(echo, (address, 0))
            way = (f"TCP over IPv{version}", sender.name, receiver.name)
            with inside(sender.namespace):
                stream = self._socket(FAMILIES[version], socket.SOCK_STREAM)
            with suppress(OSError):
                stream.connect_ex((address, PORT))
                self._streams.append((stream, way))
            ways |= {way, (f"UDP over IPv{version}", *way[1:])}
            ways |= {(f"echo over IPv{version}", *way[1:])}
        return ways

    def send_to_everybody(self, sender: Party) -> None:
        with suppress(OSError):
            self._datagrams[sender.name, 4].sendto(f"{sender.name}|".encode(), (EVERYBODY[4], PORT))
        with suppress(OSError):
            destination = (EVERYBODY[6], PORT, 0, self._links[sender.name])
            self._datagrams[sender.name, 6].sendto(f"{sender.name}|".encode(), destination)

    def collect(self, wanted: set[Way]) -> set[Way]:
        """What has arrived when all that is wanted has, or at the end of the time."""
        arrived: set[Way] = set()
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            arrived |= self._drain()
            if wanted <= arrived:
                break
            select.select([*self._datagrams.values(), *self._echoes.values()], [], [], 0.1)
        return arrived | self._drain()

    def _drain(self) -> set[Way]:
        arrived: set[Way] = set()
        for (name, version), datagrams in self._datagrams.items():
            for data in received(datagrams):
                sender, _, receiver = data.decode().partition("|")
                what = "UDP" if receiver else "everybody"
                if receiver or sender != name:
                    arrived.add((f"{what} over IPv{version}", sender, name))
        for (name, version), echoes in self._echoes.items():
            for data in received(echoes):
                data = data[20:] if version == 4 else data
                sender, _, receiver = data[8:].decode(errors="replace").strip().partition("|")
                if data[0] in (0, 129) and sender == name:
                    arrived.add((f"echo over IPv{version}", sender, receiver))
        for stream, way in self._streams:
            with suppress(OSError):
                stream.getpeername()
                arrived.add(way)
        return arrived


def received(from_socket: socket.socket) -> Iterator[bytes]:
    with suppress(OSError):
        while True:
            yield from_socket.recv(2000)


def checksum(message: bytes) -> int:
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_hundreds_of_interfaces_are_told_apart_and_gone_at_the_end(networks: Networks) -> None:
    spec = NetworkSpec(uuid4(), "10.9.0.0/16", "10.9.0.1", nat=True, cidr6="fd00:9::/64")
    ports = [
        Port(
            uuid4(),
            spec.id,
            f"52:54:00:00:{high:02x}:{low:02x}",
            f"10.9.{high}.{low}",
            address6=f"fd00:9::1:{low:x}{high:02x}",
        )
        for high, low in (divmod(number, 256) for number in range(16, 416))
    ]
    assert networks.restore([spec], ports).failed == {}
    assert networks.restore([spec], ports).repaired == ()
    assert networks.ports() == {port.id for port in ports}
    listed = run("nft", "list", "set", "bridge", f"altostratus_{TAG}", "addresses6")
    assert listed.count("fd00:9::") >= 2 * len(ports)
    networks.absent_port(ports[0].id)
    assert networks.restore([spec], ports[1:]).repaired == ()
    run("nft", "flush", "ruleset")
    assert networks.restore([spec], ports[1:]).repaired
    assert networks.restore([spec], ports[1:]).repaired == ()
