"""Limits of interfaces on a real kernel: packets through a bridge, in namespaces of the test's own."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from backends.networks import bandwidth
from backends.networks.bandwidth import Bandwidth, Limits
from backends.networks.spec import tap_name
from tests.conftest import wait_until
from tests.system.frames import inside, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

TAG = "zl12ab"
TABLE = f"altostratus_{TAG}_limits"
BRIDGE = "br0"
LIMIT_KBIT_S, SLOW_KBIT_S = 4000, 500
LIMIT_BYTES_S = LIMIT_KBIT_S * 125
SECONDS = 2.0
LATE_BYTES = 200_000
FAST = ("rate", "1gbit", "burst", "1mb", "limit", "1mb")


@dataclass
class Guest:
    id: UUID
    namespace: str
    address: str

    @property
    def tap(self) -> str:
        return tap_name(TAG, self.id)


@pytest.fixture
def limits() -> Iterator[Limits]:
    name = f"{TAG}host"
    run("ip", "netns", "add", name)
    try:
        with inside(name):
            run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
            run("ip", "link", "set", BRIDGE, "up")
            made = Limits(TAG)
            yield made
            made.restore({})
            assert TAG not in run("nft", "list", "tables")
    finally:
        run("ip", "netns", "delete", name)


@contextmanager
def guest(number: int) -> Iterator[Guest]:
    made = Guest(uuid4(), f"{TAG}guest{number}", f"10.9.0.{number}")
    run("ip", "netns", "add", made.namespace)
    try:
        plug(made)
        yield made
    finally:
        run("ip", "link", "delete", made.tap, check=False)
        run("ip", "netns", "delete", made.namespace)


def plug(made: Guest) -> None:
    run("ip", "link", "add", made.tap, "type", "veth", "peer", "name", "eth0", "netns", made.namespace)
    run("ip", "link", "set", made.tap, "master", BRIDGE, "up")
    run("ip", "-n", made.namespace, "address", "add", f"{made.address}/24", "dev", "eth0")
    run("ip", "-n", made.namespace, "link", "set", "eth0", "up")
    wait_until(lambda: "state forwarding" in run("bridge", "link", "show", "dev", made.tap))


@pytest.fixture
def guests() -> Iterator[list[Guest]]:
    with ExitStack() as stack:
        yield [stack.enter_context(guest(number)) for number in (1, 2, 3)]


def connected(sender: Guest, receiver: Guest) -> tuple[socket.socket, socket.socket]:
    with inside(receiver.namespace):
        listening = socket.create_server((receiver.address, 5001))
    with inside(sender.namespace):
        sending = socket.create_connection((receiver.address, 5001), timeout=20)
    receiving, _ = listening.accept()
    receiving.settimeout(0.1)
    sending.settimeout(0.1)
    sending.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")  # BBR takes its time to notice
    listening.close()
    return sending, receiving


def by_tcp(sender: Guest, receiver: Guest) -> int:
    sending, receiving = connected(sender, receiver)
    with sending, receiving:
        return transferred(sending, receiving)


def transferred(sending: socket.socket, receiving: socket.socket) -> int:
    """Bytes that arrive while the sender sends as much as it can for `SECONDS`."""
    over = time.monotonic() + SECONDS

    def send() -> None:
        while time.monotonic() < over:
            try:
                sending.send(bytes(1 << 16))
            except TimeoutError:
                continue

    thread = threading.Thread(target=send)
    thread.start()
    count = 0
    while time.monotonic() < over:
        try:
            count += len(receiving.recv(1 << 20))
        except TimeoutError:
            continue
    thread.join()
    return count


def by_udp(sender: Guest, receiver: Guest) -> int:
    with inside(receiver.namespace):
        receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiving.bind((receiver.address, 5001))
    with inside(sender.namespace):
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    over = time.monotonic() + SECONDS
    receiving.settimeout(0.1)

    def send() -> None:
        """Four times the limit."""
        while time.monotonic() < over:
            for _ in range(20):
                sending.sendto(bytes(1000), (receiver.address, 5001))
            time.sleep(0.01)

    with sending, receiving:
        thread = threading.Thread(target=send)
        thread.start()
        count = 0
        while time.monotonic() < over:
            try:
                count += len(receiving.recv(2000))
            except TimeoutError:
                continue
        thread.join()
    return count


def most(kbit_s: int) -> float:
    """With the larger burst of the two ways, and what was under way when the time was over."""
    return kbit_s * 125 * (SECONDS + 1) + bandwidth.EGRESS_BURST_BYTES + LATE_BYTES


def assert_is_limited(count: int) -> None:
    assert LIMIT_BYTES_S * SECONDS / 2 <= count <= most(LIMIT_KBIT_S)


def assert_is_free(count: int) -> None:
    assert count > most(LIMIT_KBIT_S)


@pytest.mark.parametrize("way", [by_tcp, by_udp])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_limited_guest_gets_its_limit_and_others_are_free(
    limits: Limits, guests: list[Guest], way: object, direction: str
) -> None:
    assert callable(way)
    limited, other, third = guests
    wanted = Bandwidth(**{f"{direction}_kbit_s": LIMIT_KBIT_S})
    limits.restore({limited.id: wanted})
    ends = (other, limited) if direction == "ingress" else (limited, other)
    assert_is_limited(way(*ends))
    assert_is_free(way(*reversed(ends)))
    assert_is_free(way(other, third))


def test_limit_changes_under_a_connection_that_stays(limits: Limits, guests: list[Guest]) -> None:
    limited, other, _ = guests
    limits.restore({limited.id: Bandwidth(SLOW_KBIT_S, SLOW_KBIT_S)})
    for ends in (connected(other, limited), connected(limited, other)):
        for kbit_s in (LIMIT_KBIT_S, SLOW_KBIT_S, None):
            assert limits.ensure_port(limited.id, Bandwidth(kbit_s, kbit_s))
            drain(ends[1])
            count = transferred(*ends)
            if kbit_s is None:
                assert_is_free(count)
            elif kbit_s == SLOW_KBIT_S:
                assert count <= most(SLOW_KBIT_S) < LIMIT_BYTES_S * SECONDS / 2
            else:
                assert_is_limited(count)
        for end in ends:
            end.close()
    assert limits.restore({}) == []


def drain(receiving: socket.socket) -> None:
    """Of what was sent at the rate before."""
    over = time.monotonic() + 1
    while time.monotonic() < over:
        with suppress(TimeoutError):
            receiving.recv(1 << 20)


def test_limits_are_there_again_after_somebody_took_them_away(limits: Limits, guests: list[Guest]) -> None:
    limited = guests[0]
    wanted = {limited.id: Bandwidth(LIMIT_KBIT_S, LIMIT_KBIT_S)}
    limits.restore(wanted)
    before = kernel_of(limited)
    assert "rate 4Mbit" in before
    assert limits.restore(wanted) == []
    for harm in (
        ["nft", "flush", "ruleset"],
        ["nft", "flush", "chain", "bridge", TABLE, "prerouting"],
        ["nft", "delete", "element", "bridge", TABLE, "taps", f"{{ {limited.tap} }}"],
        ["tc", "qdisc", "delete", "dev", limited.tap, "root"],
        ["tc", "qdisc", "replace", "dev", limited.tap, "root", "pfifo"],
        [
            "tc",
            "qdisc",
            "replace",
            "dev",
            limited.tap,
            "root",
            "tbf",
            *["rate", "1gbit", "burst", "1mb", "limit", "1mb"],
        ],
    ):
        run(*harm)
        (told,) = limits.restore(wanted)
        assert "had been changed" in told
        assert kernel_of(limited) == before
        assert limits.restore(wanted) == []


def kernel_of(limited: Guest) -> str:
    return run("nft", "list", "table", "bridge", TABLE) + run("tc", "qdisc", "show", "dev", limited.tap).split("\n")[0]


def test_another_agent_finds_what_it_should_be(limits: Limits, guests: list[Guest]) -> None:
    """Without a memory: what is right stays, what is of no use any more goes."""
    limited, other, _ = guests
    limits.restore({limited.id: Bandwidth(1000, 1000), other.id: Bandwidth(1000, 1000)})
    successor = Limits(TAG)
    assert successor.restore({limited.id: Bandwidth(2000, 2000)}) == []
    assert "rate 2Mbit" in kernel_of(limited)
    assert other.tap not in run("nft", "list", "table", "bridge", TABLE)
    assert "tbf" not in run("tc", "qdisc", "show", "dev", other.tap)


def test_tap_made_anew_is_limited_again(limits: Limits, guests: list[Guest]) -> None:
    limited = guests[0]
    wanted = Bandwidth(LIMIT_KBIT_S, LIMIT_KBIT_S)
    assert not limits.ensure_port(limited.id, wanted)  # there is no table yet
    limits.restore({limited.id: wanted})
    for _ in range(2):
        run("ip", "link", "delete", limited.tap)
        assert limits.ensure_port(limited.id, wanted)
        plug(limited)
        assert limits.ensure_port(limited.id, wanted)
        assert "rate 4Mbit" in run("tc", "qdisc", "show", "dev", limited.tap)
        assert limits.restore({limited.id: wanted}) == []


def test_port_that_goes_takes_its_limits_along(limits: Limits, guests: list[Guest]) -> None:
    limited, other, _ = guests
    wanted = {one.id: Bandwidth(LIMIT_KBIT_S, LIMIT_KBIT_S) for one in (limited, other)}
    limits.restore(wanted)
    run("ip", "link", "delete", limited.tap)
    limits.absent_port(limited.id)
    limits.absent_port(limited.id)
    assert limited.tap not in run("nft", "list", "table", "bridge", TABLE)
    assert limits.restore({other.id: wanted[other.id]}) == []


@pytest.mark.parametrize("kbit_s", [64, 10_000_000])
def test_extremes_can_be_made(limits: Limits, guests: list[Guest], kbit_s: int) -> None:
    limited, other, _ = guests
    wanted = {limited.id: Bandwidth(kbit_s, kbit_s)}
    limits.restore(wanted)
    assert limits.restore(wanted) == []
    with inside(limited.namespace):
        run("ping", "-c1", "-W5", "-s", "1400", other.address)
