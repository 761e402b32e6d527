"""Rules that are replaced, lost and restored while guests talk: by real packets, between namespaces."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from uuid import uuid4

import pytest

from backends.model import Direction, GroupRule
from backends.networks.driver import Networks
from backends.networks.groups import Groups, Policy
from backends.networks.losses import Losses
from backends.networks.spec import NetworkSpec
from tests.system.namespaces import TAG, Guest, MakeGuest, frame, inside, port_on, run, shared_network, udp

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

PACKETS_PER_S, PACKETS, ROUNDS = 2000, 6000, 20
SO_RCVBUFFORCE = 33
PROJECT = uuid4()
OUT_OPEN = GroupRule(Direction.OUT)
ECHO = GroupRule(Direction.IN, "udp", (7, 7))
ECHO_TCP = GroupRule(Direction.IN, "tcp", (7, 7))


class Site:
    """A network with two guests: the client may send anything, the server lets in what its rules say."""

    def __init__(self, networks: Networks, groups: Groups, make_guest: MakeGuest) -> None:
        self.networks, self.groups = networks, groups
        self.spec: NetworkSpec = shared_network()
        networks.ensure_network(self.spec)
        self.client, self.server = (make_guest(self.spec, port_on(self.spec, number)) for number in (5, 6))
        self.serving = Policy(PROJECT, self.spec.id, (uuid4(),), (ECHO, ECHO_TCP))
        asking = Policy(PROJECT, self.spec.id, (uuid4(),), (OUT_OPEN,))
        self.policies = {self.client.port.id: asking, self.server.port.id: self.serving}
        self.restore()

    def restore(self) -> list[str]:
        """What the sweep does."""
        restored = self.networks.restore([self.spec], [self.client.port, self.server.port])
        assert restored.failed == {}
        return [*restored.repaired, *self.groups.restore(self.policies)]


@pytest.fixture
def site(networks: Networks, make_guest: MakeGuest) -> Iterator[Site]:
    groups = Groups(TAG)
    yield Site(networks, groups, make_guest)
    groups.restore({})


# Nothing that is allowed is lost


class Counted:
    """Frames sent at a steady rate, each with its number, and how many of them have arrived."""

    def __init__(self, sender: Guest, receiver: Guest, ports: tuple[int, int]) -> None:
        mac = sender.port.mac
        datagram = udp(str(sender.port.address), str(receiver.port.address), *ports)
        self._before, _, self._after = frame(mac, 0x0800, datagram, receiver.port.mac).partition(b"marked")
        self.out, self.into = sender.packet_socket(), receiver.packet_socket()
        self.into.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sent = 0

    def send(self) -> None:
        self.out.send(self._before + b"%06d" % self.sent + self._after)
        self.sent += 1

    def missing(self) -> set[int]:
        """Read at the end; the socket has room for all."""
        numbers = set(range(self.sent))
        self.into.settimeout(2)
        while numbers:
            try:
                got = self.into.recv(2000)
            except TimeoutError:
                break
            if got.startswith(self._before):
                numbers.discard(int(got[len(self._before) :][:6]))
        return numbers


def lost_during(site: Site, change: Callable[[int], object]) -> int:
    """Of questions and answers of a flow that is allowed all the time, while `change` is called again and again."""
    flows = Counted(site.client, site.server, (4000, 7)), Counted(site.server, site.client, (7, 4000))
    changes, stop = 0, threading.Event()

    def change_always() -> None:
        nonlocal changes
        with inside(f"{TAG}host"):
            while not stop.is_set():
                change(changes)
                changes += 1

    thread = threading.Thread(target=change_always)
    flows[0].send()
    time.sleep(0.1)
    thread.start()
    try:
        while thread.is_alive() and (flows[0].sent < PACKETS or changes < ROUNDS):
            for flow in flows:
                flow.send()
            time.sleep(1 / PACKETS_PER_S)
    finally:
        stop.set()
        thread.join(60)
    assert changes >= ROUNDS
    lost = sum(len(flow.missing()) for flow in flows)
    for flow in flows:
        flow.out.close()
        flow.into.close()
    return lost


def test_change_of_groups_and_ports_loses_no_allowed_packet(site: Site) -> None:
    def change(number: int) -> None:
        more = tuple(GroupRule(Direction.IN, "tcp", (80 + extra, 80 + extra)) for extra in range(number % 7))
        changed = replace(site.serving, rules=(*more, ECHO, ECHO_TCP))
        assert site.groups.ensure_policies([changed])
        other = port_on(site.spec, 9)
        site.networks.ensure_port(site.spec, other)
        assert site.groups.ensure_port(other.id, Policy(uuid4(), site.spec.id, (uuid4(),), (OUT_OPEN,)))
        site.networks.absent_port(other.id)
        site.groups.absent_port(other.id)

    assert lost_during(site, change) == 0


@pytest.mark.parametrize(
    "damages",
    [
        [
            "add rule inet {table} forward accept",
            "add rule bridge {table} from_guest drop",
            "add element bridge {table} plain {{ other }}",
            "add element inet {table} nat_sources {{ 10.200.0.0/16 }}",
            "add chain bridge {table} strange",
            "add rule bridge {table}_groups to_guest accept",
            "add element bridge {table}_groups receiving {{ other : accept }}",
        ],
        ["add chain bridge {table} output {{ policy drop; }}", "add chain inet {table} input {{ policy drop; }}"],
    ],
    ids=["rules and sets", "chains that are made anew"],
)
def test_restoring_what_was_changed_loses_no_allowed_packet(site: Site, damages: list[str]) -> None:
    def change(_number: int) -> None:
        for damage in damages:
            run("nft", *damage.format(table=f"altostratus_{TAG}").split())
        assert len(site.restore()) >= 2

    assert lost_during(site, change) == 0


# What is lost, and comes back


@pytest.fixture
def losses(site: Site) -> Iterator[SimpleQueue[bool]]:
    """What listening has told: whether something is gone indeed."""
    told: SimpleQueue[bool] = SimpleQueue()

    def tell() -> None:
        with inside(f"{TAG}host"):
            told.put(site.networks.has_lost() or site.groups.has_lost())

    listening = Losses(site.networks.is_ours, tell)
    yield told
    listening.stop()


def test_what_others_take_away_is_told_at_once(site: Site, losses: SimpleQueue[bool]) -> None:
    bridge, table = site.networks.bridge_name(site.spec.id), f"altostratus_{TAG}"
    for damage in (
        ["nft", "flush", "ruleset"],
        ["nft", "delete", "table", "inet", table],
        ["nft", "delete", "table", "bridge", table],
        ["nft", "delete", "table", "bridge", f"{table}_groups"],
        ["ip", "link", "delete", bridge],
    ):
        run(*damage)
        while not losses.get(timeout=30):
            pass
        assert site.restore(), damage
        assert not site.networks.has_lost(), damage
        assert not site.groups.has_lost(), damage


def test_what_is_removed_by_ourselves_or_is_anothers_is_no_loss(site: Site, losses: SimpleQueue[bool]) -> None:
    other = replace(shared_network(), cidr="10.8.0.0/24", gateway="10.8.0.1")
    site.networks.ensure_network(other)
    site.networks.absent_network(other.id)
    assert losses.get(timeout=30) is False
    run("nft", "add", "table", "inet", "foreign")
    run("nft", "delete", "table", "inet", "foreign")
    run("nft", "delete", "table", "inet", f"altostratus_{TAG}")
    while not losses.get(timeout=30):
        pass


@contextmanager
def connection(site: Site) -> Iterator[tuple[socket.socket, socket.socket]]:
    with inside(site.server.namespace):
        listener = socket.create_server((str(site.server.port.address), 7))
    with inside(site.client.namespace):
        client = socket.create_connection((str(site.server.port.address), 7), timeout=30)
    server, _ = listener.accept()
    server.settimeout(30)
    with listener, client, server:
        yield client, server


def exchange(client: socket.socket, server: socket.socket) -> None:
    for one, other in ((client, server), (server, client)):
        one.sendall(b"hello")
        assert other.recv(100) == b"hello"


def test_connections_outlive_a_flushed_ruleset_that_is_restored(site: Site) -> None:
    with connection(site) as (client, server):
        exchange(client, server)
        run("nft", "flush", "ruleset")
        exchange(client, server)
        assert site.restore()
        exchange(client, server)
        server.sendall(b"unasked")
        assert client.recv(100) == b"unasked"
    assert site.restore() == []


def test_server_that_speaks_first_after_a_flush_is_heard_once_the_client_has_spoken(site: Site) -> None:
    with connection(site) as (client, server):
        exchange(client, server)
        run("nft", "flush", "ruleset")
        assert site.restore()
        server.sendall(b"unasked")
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.recv(100)
        client.settimeout(30)
        client.sendall(b"hello")
        assert server.recv(100) == b"hello"
        assert client.recv(100) == b"unasked"


def test_connections_outlive_a_deleted_bridge_that_is_restored(site: Site) -> None:
    with connection(site) as (client, server):
        exchange(client, server)
        run("ip", "link", "delete", site.networks.bridge_name(site.spec.id))
        client.sendall(b"into the void")
        assert site.restore()
        assert server.recv(100) == b"into the void"
        exchange(client, server)
    assert site.restore() == []
