"""Hosts, guests and the world outside as network namespaces, and frames made by hand: for tests of the driver.

The driver's "host" is a namespace that each test enters, so that the machine's own networks stay untouched; guests have
a veth in place of a tap.
"""

from __future__ import annotations

import ctypes
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import pytest

from backends.networks import dhcp, records
from backends.networks.driver import Networks
from backends.networks.spec import NetworkSpec, Port

TAG = "zt12ab"
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
OUTSIDE_ADDRESS = "192.0.2.2"
libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Only this thread, and what is opened or started meanwhile, is in the namespace."""
    with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", namespace).open() as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0


@pytest.fixture
def host_namespace() -> Iterator[str]:
    name = f"{TAG}host"
    run("ip", "netns", "add", name)
    try:
        with inside(name):
            run("ip", "link", "set", "lo", "up")
            yield name
    finally:
        run("ip", "netns", "delete", name)


@pytest.fixture
def networks_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="altostratus-networks-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def networks(host_namespace: str, networks_folder: Path) -> Iterator[Networks]:
    driver = Networks(TAG, networks_folder)
    yield driver
    driver.restore([], [])
    assert_nothing_left(networks_folder)


def assert_nothing_left(folder: Path) -> None:
    assert TAG not in run("nft", "list", "tables")
    assert f"{TAG}b" not in run("ip", "-o", "link")
    assert f"{TAG}d" not in run("ip", "-o", "link")
    assert f"{TAG}x" not in run("ip", "-o", "link")
    assert f"{TAG}-" not in run("ip", "netns")
    assert not list(dhcp.all_running(folder / "networks"))
    assert not list(records.network_ids(folder))
    assert not list(records.ports(folder))


@dataclass
class Guest:
    namespace: str
    port: Port

    def command(self, *command: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.namespace, *command, check=check)

    def pings(self, address: str) -> bool:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, "ping", "-c1", "-W1", address],
            capture_output=True,
            timeout=20,
            check=False,
        )
        return done.returncode == 0

    def asks_dhcp(self) -> dict[str, str]:
        """What the lease says, after it has been taken into use; empty when there is none."""
        script = Path(__file__).with_name("udhcpc_script.sh")
        output = self.command(
            "busybox",
            "udhcpc",
            "-i",
            "eth0",
            "-f",
            "-n",
            "-q",
            "-t",
            "3",
            "-T",
            "1",
            "-s",
            str(script),
            check=False,
        )
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    def asks_dns(self, server: str, name: str, *, by_tcp: bool = False) -> bytes | None:
        """The server's answer about the name's IPv4 address; None when there is none."""
        question = b"\0\7\1\0\0\1\0\0\0\0\0\0" + bytes([len(name)]) + name.encode() + b"\0\0\1\0\1"
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with inside(self.namespace):
            opened = socket.socket(family, socket.SOCK_STREAM if by_tcp else socket.SOCK_DGRAM)
        with opened:
            opened.settimeout(1)
            try:
                opened.connect((server, 53))
                opened.send(struct.pack("!H", len(question)) + question if by_tcp else question)
                return opened.recv(512)
            except OSError:
                return None

    def packet_socket(self) -> socket.socket:
        with inside(self.namespace):
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            opened.bind(("eth0", 0))
        opened.settimeout(10)
        return opened


MakeGuest = Callable[[NetworkSpec, Port], Guest]


@pytest.fixture
def make_guest(networks: Networks) -> Iterator[MakeGuest]:
    """Ensures the port, then makes what libvirt and a machine would: the tap and an interface."""
    made: list[Guest] = []

    def make(spec: NetworkSpec, port: Port) -> Guest:
        guest = Guest(f"{TAG}guest{len(made)}", port)
        made.append(guest)
        plug(networks, spec, guest)
        return guest

    yield make
    for guest in made:
        unplug(networks, guest)


def plug(networks: Networks, spec: NetworkSpec, guest: Guest) -> None:
    port, tap = guest.port, networks.tap_name(guest.port.id)
    networks.ensure_port(spec, port)
    run("ip", "netns", "add", guest.namespace)
    run("ip", "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", guest.namespace)
    run("ip", "link", "set", tap, "master", networks.bridge_name(spec.id), "up")
    guest.command("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")  # a second's wait, for each
    guest.command("ip", "link", "set", "eth0", "address", port.mac, "up")
    if port.address is not None and spec.cidr is not None:
        length = spec.cidr.partition("/")[2]
        guest.command("ip", "address", "add", f"{port.address}/{length}", "dev", "eth0")
        if spec.gateway is not None:
            guest.command("ip", "route", "add", "default", "via", spec.gateway)
    if port.address6 is not None:
        guest.command("ip", "address", "add", f"{port.address6}/64", "dev", "eth0", "nodad")


def unplug(networks: Networks, guest: Guest) -> None:
    run("ip", "link", "delete", networks.tap_name(guest.port.id), check=False)
    run("ip", "netns", "delete", guest.namespace)


@pytest.fixture
def outside(host_namespace: str) -> Iterator[str]:
    name = f"{TAG}outside"
    run("ip", "netns", "add", name)
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", name)
    run("sysctl", "-qw", "net.ipv6.conf.uplink.accept_dad=0")
    run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink")
    run("ip", "link", "set", "uplink", "up")
    run("ip", "-n", name, "address", "add", f"{OUTSIDE_ADDRESS}/24", "dev", "eth0")
    run("ip", "-n", name, "link", "set", "eth0", "up")
    yield name
    run("ip", "netns", "delete", name)


def shared_network() -> NetworkSpec:
    return NetworkSpec(uuid4(), "10.9.0.0/24", "10.9.0.1", nat=True)


def isolated_network() -> NetworkSpec:
    return NetworkSpec(uuid4(), "10.9.0.0/24")


def port_on(spec: NetworkSpec, number: int, hostname: str | None = None) -> Port:
    address = f"10.9.0.{number}" if spec.cidr else None
    return Port(uuid4(), spec.id, f"52:54:00:00:00:{number:02x}", address, hostname)


# Frames, by hand


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def frame(source: str, kind: int, payload: bytes, destination: str = "ff:ff:ff:ff:ff:ff") -> bytes:
    return octets(destination) + octets(source) + struct.pack("!H", kind) + payload.ljust(46, b"\0")


def arp(sender_mac: str, sender: str, target: str) -> bytes:
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return fixed + octets(sender_mac) + IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed


def udp(source: str, destination: str, source_port: int, destination_port: int, body: bytes = b"marked") -> bytes:
    datagram = struct.pack("!HHHH", source_port, destination_port, 8 + len(body), 0) + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 7, 0, 64, 17, 0)
    header += IPv4Address(source).packed + IPv4Address(destination).packed
    total = sum(struct.unpack("!10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header[:10] + struct.pack("!H", checksum) + header[12:] + datagram


def passes(sender: Guest, receiver: Guest, sent: bytes) -> bool:
    """Whether the frame arrives before one that is sent after it and is allowed to."""
    mac = sender.port.mac
    last = frame(mac, 0x0806, arp(mac, sender.port.address or "10.7.7.7", "10.9.0.77"))
    with sender.packet_socket() as out, receiver.packet_socket() as into:
        out.send(sent)
        out.send(last)
        seen = False
        while True:
            got = into.recv(2000)
            seen = seen or got.rstrip(b"\0") == sent.rstrip(b"\0")
            if got.rstrip(b"\0") == last.rstrip(b"\0"):
                return seen
