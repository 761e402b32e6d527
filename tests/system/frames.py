"""Ethernet frames made by hand, and guests that are namespaces with a veth in place of a tap and no stack that answers.

A frame that may not pass is told from a slow one by an ARP frame that is sent after it and always passes.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from tests.conftest import wait_until

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
NUMBERS = {"tcp": 6, "udp": 17, "gre": 47}
SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04
libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str, check: bool = True, text: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=text)
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


@dataclass
class Guest:
    namespace: str
    tap: str
    number: int
    wire: socket.socket

    @property
    def mac(self) -> str:
        return f"52:54:00:00:00:{self.number:02x}"

    def address(self, family: int) -> str:
        return f"10.9.0.{self.number}" if family == 4 else f"fd00::{self.number:x}"


@contextmanager
def guest_on(bridge: str, tap: str, number: int) -> Iterator[Guest]:
    """A guest whose tap is in the bridge of the present namespace."""
    namespace = f"{tap}-guest"
    run("ip", "netns", "add", namespace)
    try:
        run("ip", "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "link", "set", tap, "master", bridge, "up")
        run("ip", "netns", "exec", namespace, "sysctl", "-q", "net.ipv6.conf.eth0.disable_ipv6=1")
        with inside(namespace):
            run("ip", "link", "set", "eth0", "address", f"52:54:00:00:00:{number:02x}", "up")
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            wire.bind(("eth0", 0))
        wire.settimeout(10)
        wait_until(lambda: "state forwarding" in run("bridge", "link", "show", "dev", tap))
        with wire:
            yield Guest(namespace, tap, number, wire)
    finally:
        run("ip", "link", "delete", tap, check=False)
        run("ip", "netns", "delete", namespace)


def passes(sender: Guest, receiver: Guest, sent: bytes) -> bool:
    last = ethernet(sender, receiver, 0x0806, b"last" + bytes(42))
    sender.wire.send(sent)
    sender.wire.send(last)
    seen = False
    while (got := receiver.wire.recv(2000)) != last:
        seen = seen or got.rstrip(b"\0") == sent.rstrip(b"\0")
    return seen


def ethernet(sender: Guest, receiver: Guest, kind: int, payload: bytes) -> bytes:
    octets = (bytes.fromhex(guest.mac.replace(":", "")) for guest in (receiver, sender))
    return b"".join(octets) + struct.pack("!H", kind) + payload.ljust(46, b"\0")


def packet(
    sender: Guest,
    receiver: Guest,
    protocol: str,
    source_port: int = 0,
    destination_port: int = 0,
    *,
    family: int = 4,
    flags: int = SYN,
    fragment: int = 0,
) -> bytes:
    """`protocol` may be `echo-request` or `echo-reply`; `fragment` is the offset in bytes."""
    body = _payload(protocol, source_port, destination_port, family, flags)
    number = NUMBERS.get(protocol) or (1 if family == 4 else 58)
    source, destination = (ip_address(guest.address(family)).packed for guest in (sender, receiver))
    if family == 6:
        if fragment:
            body, number = struct.pack("!BBHI", number, 0, fragment, 7) + body, 44
        header = struct.pack("!IHBB", 6 << 28, len(body), number, 64) + source + destination
        return ethernet(sender, receiver, 0x86DD, header + body)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment // 8, 64, number, 0) + source + destination
    total = sum(struct.unpack("!10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return ethernet(sender, receiver, 0x0800, header[:10] + struct.pack("!H", checksum) + header[12:] + body)


def _payload(protocol: str, source_port: int, destination_port: int, family: int, flags: int) -> bytes:
    if protocol == "tcp":
        return struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 1, 0x50, flags, 1024, 0, 0)
    if protocol == "udp":
        return struct.pack("!HHHH", source_port, destination_port, 14, 0) + b"marked"
    if protocol == "gre":
        return struct.pack("!HH", 0, 0x0800) + b"marked"
    kinds = {("echo-request", 4): 8, ("echo-reply", 4): 0, ("echo-request", 6): 128, ("echo-reply", 6): 129}
    kind = kinds.get((protocol, family)) or {"redirect": 5, "unreachable": 3 if family == 4 else 1}.get(protocol, 0)
    return struct.pack("!BBHHH", kind, 0, 0, 7, 1) + b"marked"
