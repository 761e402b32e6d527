"""The rows of networks: rules, a change of them, throughput and an interface, next to nft, a bare bridge, bare calls.

All in network namespaces that are made for it: `host` is where the driver is at home.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pyroute2 import netns
from pyroute2.iproute.linux import IPRoute

from backends.model import Direction, GroupRule
from backends.networks.driver import Networks
from backends.networks.groups import Groups, Policy
from backends.networks.spec import NetworkSpec, Port, bridge_name, tap_name
from bench.guests import run
from bench.measure import BenchError, Row, alternate, median_ms

TAG = "zb12ab"
HOST, BARE = f"{TAG}-host", f"{TAG}-bare"
INTERFACES, RULES, PROJECTS = 1000, 10, 100
CHANGES = 20
"""Of one group, of which the median is taken."""
SECONDS = 3
"""Of iperf3, each time."""
LIMIT_S = 10
ETH_P_ARP = 0x0806
OUT_OPEN = GroupRule(Direction.OUT)
_OPEN: Any = IPRoute


def network_rows(rounds: int) -> Iterator[Row]:
    yield _rules(rounds)
    yield from _changes(rounds)
    yield from _throughput(rounds)
    yield _interface(rounds)


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "delete", name)


@contextmanager
def _inside(name: str) -> Iterator[None]:
    netns.pushns(name)
    try:
        yield
    finally:
        netns.popns()


# Rules


def _policies(interfaces: int) -> dict[UUID, Policy]:
    """Each interface with groups of its own, ten to a project."""
    network_id = uuid4()
    return {
        uuid4(): Policy(UUID(int=number // (INTERFACES // PROJECTS)), network_id, (uuid4(),), _some_rules(number))
        for number in range(interfaces)
    }


def _some_rules(number: int) -> tuple[GroupRule, ...]:
    return tuple(
        GroupRule(Direction.IN, "tcp", (1000 + port, 1000 + port), f"10.{number % 250}.{port}.0/24")
        for port in range(RULES)
    )


def _rules(rounds: int) -> Row:
    ports = _policies(INTERFACES)
    with _namespace(HOST), _inside(HOST), tempfile.NamedTemporaryFile("w+") as file:
        Groups(TAG).restore(ports)
        # Listed is a size that nobody asked for, and would be room to make.
        file.write(run("nft", "list", "ruleset").replace("size 65535\n", "\n"))
        file.flush()

        def by_the_driver() -> float:
            run("nft", "flush", "ruleset")
            return median_ms(lambda: Groups(TAG).restore(ports), 1)

        def by_nft() -> float:
            run("nft", "flush", "ruleset")
            return median_ms(lambda: run("nft", "-f", file.name), 1)

        value, yardstick = alternate(by_the_driver, by_nft, rounds)
    return Row(
        f"rules of {INTERFACES:,} interfaces, {RULES} each", value, "ms", "nft -f of the same text", yardstick, 1.3
    )


def _changes(rounds: int) -> Iterator[Row]:
    """A group of one interface gets other rules, while so many others have theirs."""
    few, *more = 10, 100, 1000
    for many in more:
        with _beside(few) as beside_few, _beside(many) as beside_many:
            value, yardstick = alternate(beside_many.change, beside_few.change, rounds)
        yield Row(f"change a group beside {many:,} interfaces", value, "ms", f"the same beside {few}", yardstick, 1.3)


class _Changing:
    def __init__(self, namespace: str, others: int) -> None:
        self._namespace, self._groups, self._numbers = namespace, Groups(TAG), count()
        ports = _policies(others + 1)
        self._policy = next(iter(ports.values()))
        with _inside(namespace):
            self._groups.restore(ports)

    def change(self) -> float:
        with _inside(self._namespace):
            return median_ms(self._once, CHANGES)

    def _once(self) -> None:
        policy = self._policy
        changed = Policy(policy.project_id, policy.network_id, policy.group_ids, _some_rules(next(self._numbers)))
        if not self._groups.ensure_policies([changed]):
            raise BenchError("nft took no change of a group")


@contextmanager
def _beside(others: int) -> Iterator[_Changing]:
    with _namespace(f"{TAG}-{others}") as name:
        yield _Changing(name, others)


# Throughput


def _throughput(rounds: int) -> Iterator[Row]:
    """Between two namespaces on a bridge: ours with its rules, and one in a namespace without any."""
    spec = NetworkSpec(uuid4(), "10.9.0.0/24")
    ports = [_port(spec, number) for number in (5, 6)]
    members = uuid4()
    policy = Policy(
        uuid4(),
        spec.id,
        (members,),
        (
            OUT_OPEN,
            GroupRule(Direction.IN, group_id=members),
            GroupRule(Direction.IN, "tcp", (22, 22)),
            GroupRule(Direction.IN, "icmp"),
        ),
        {members: frozenset(port.mac for port in ports)},
    )
    with _driver() as (networks, groups), _namespace(BARE):
        networks.restore([spec], ports)
        groups.restore({port.id: policy for port in ports})
        run("ip", "-n", BARE, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
        run("ip", "-n", BARE, "link", "set", "bridge", "up")
        ours = [_Guest(HOST, bridge_name(TAG, spec.id), tap_name(TAG, port.id), port) for port in ports]
        bare = [_Guest(BARE, "bridge", f"port{number}", port) for number, port in enumerate(ports)]
        with ours[0].there(), ours[1].there(), bare[0].there(), bare[1].there():
            for what, unit, options in (
                ("a TCP stream through bridge and rules", "Gbit/s", list[str]()),
                ("UDP packets of 64 bytes through bridge and rules", "kp/s", ["-u", "-b", "0", "-l", "64"]),
            ):
                value, yardstick = alternate(partial(_iperf, ours, options), partial(_iperf, bare, options), rounds)
                yield Row(what, value, unit, "a bare bridge", yardstick, 0.95, high_is_good=True)


@contextmanager
def _driver() -> Iterator[tuple[Networks, Groups]]:
    with tempfile.TemporaryDirectory() as folder, _namespace(HOST), _inside(HOST):
        Path(folder).chmod(0o755)  # for dnsmasq's user
        networks, groups = Networks(TAG, Path(folder)), Groups(TAG)
        try:
            yield networks, groups
        finally:
            networks.restore([], [])
            groups.restore({})


def _port(spec: NetworkSpec, number: int) -> Port:
    return Port(
        uuid4(), spec.id, f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}", f"10.9.{number >> 8}.{number & 255}"
    )


class _Guest:
    """A namespace on a bridge of another namespace."""

    def __init__(self, host: str, bridge: str, tap: str, port: Port) -> None:
        self._host, self._bridge, self._tap, self._port = host, bridge, tap, port
        self.namespace = f"{host}-{tap}"
        self.address = str(port.address)

    @contextmanager
    def there(self) -> Iterator[None]:
        with _namespace(self.namespace) as own:
            run("ip", "-n", self._host, "link", "add", self._tap, "type", "veth", "peer", "name", "eth0", "netns", own)
            run("ip", "-n", self._host, "link", "set", self._tap, "master", self._bridge, "up")
            run("ip", "-n", own, "link", "set", "eth0", "address", self._port.mac, "up")
            run("ip", "-n", own, "address", "add", f"{self.address}/24", "dev", "eth0")
            yield


def _iperf(guests: list[_Guest], options: list[str]) -> float:
    """Gbit/s that have arrived, or of packets, thousands a second."""
    client, server = guests
    serve = ["ip", "netns", "exec", server.namespace, "iperf3", "-s", "-1", "-J"]
    with subprocess.Popen(serve, stdout=subprocess.DEVNULL) as serving:
        _wait_listening(server)
        ask = ["iperf3", "-c", server.address, "-t", str(SECONDS), "-O", "1", "-J", *options]
        done = json.loads(run("ip", "netns", "exec", client.namespace, *ask))["end"]
        serving.wait(LIMIT_S)
    if not options:
        return float(done["sum_received"]["bits_per_second"]) / 1e9
    return float(done["sum"]["packets"] - done["sum"]["lost_packets"]) / float(done["sum"]["seconds"]) / 1000


def _wait_listening(server: _Guest) -> None:
    deadline = time.monotonic() + LIMIT_S
    while ":5201" not in run("ip", "netns", "exec", server.namespace, "ss", "-Hltn"):
        if time.monotonic() > deadline:
            raise BenchError("iperf3 did not listen in time")
        time.sleep(0.01)


# An interface


def _interface(rounds: int) -> Row:
    """From nothing until its first frame is through: its tap is made by the same calls on both sides."""
    spec, numbers = NetworkSpec(uuid4(), "10.9.0.0/16"), count(300)
    policy = Policy(uuid4(), spec.id, (uuid4(),), (OUT_OPEN,))
    bridge, table = bridge_name(TAG, spec.id), f"bridge altostratus_{TAG}"
    with _driver() as (networks, groups), _OPEN() as netlink:
        networks.ensure_network(spec)
        groups.restore({uuid4(): policy})
        netlink.link("add", ifname="sink", kind="veth", peer={"ifname": "drain"})
        _plug(netlink, "sink", bridge)
        netlink.link("set", index=netlink.link_lookup(ifname="drain")[0], state="up")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as drain:
            drain.bind(("drain", ETH_P_ARP))

            def by_the_driver() -> float:
                port = _port(spec, next(numbers))
                tap = tap_name(TAG, port.id)
                started = time.perf_counter()
                groups.ensure_port(port.id, policy)
                networks.ensure_port(spec, port)
                _make_tap(netlink, tap, bridge)
                took_ms = _until_heard(tap, port, drain, started)
                groups.absent_port(port.id)
                networks.absent_port(port.id)
                netlink.link("del", index=netlink.link_lookup(ifname=tap)[0])
                return took_ms

            def by_hand() -> float:
                port = _port(spec, next(numbers))
                tap = tap_name(TAG, port.id)
                entries = [
                    f"{table} sources {{ {tap} . {port.mac} }}",
                    f"{table} addresses {{ {tap} . {port.mac} . {port.address} }}",
                    *(
                        f"{table}_groups {name} {{ {tap} : goto {policy.chain(name)} }}"
                        for name in ("sending", "receiving")
                    ),
                ]
                started = time.perf_counter()
                run("nft", "; ".join(f"add element {entry}" for entry in entries))
                _make_tap(netlink, tap, bridge)
                took_ms = _until_heard(tap, port, drain, started)
                run("nft", "; ".join(f"delete element {entry}" for entry in entries))
                netlink.link("del", index=netlink.link_lookup(ifname=tap)[0])
                return took_ms

            value, yardstick = alternate(by_the_driver, by_hand, rounds)
    return Row(
        "make an interface, until its first frame is through", value, "ms", "pyroute2 and nft alone", yardstick, 1.3
    )


def _make_tap(netlink: Any, tap: str, bridge: str) -> None:
    netlink.link("add", ifname=tap, kind="veth", peer={"ifname": f"{tap[6:]}-peer"})
    netlink.link("set", index=netlink.link_lookup(ifname=f"{tap[6:]}-peer")[0], state="up")
    _plug(netlink, tap, bridge)


def _plug(netlink: Any, link: str, bridge: str) -> None:
    index, master = (netlink.link_lookup(ifname=name)[0] for name in (link, bridge))
    netlink.link("set", index=index, master=master)
    netlink.link("set", index=index, state="up")


def _until_heard(tap: str, port: Port, drain: socket.socket, started: float) -> float:
    """Milliseconds until an ARP frame, sent again and again, has come out at the other end."""
    own, address = bytes.fromhex(port.mac.replace(":", "")), socket.inet_aton(str(port.address))
    asked = b"\x00\x01\x08\x00\x06\x04\x00\x01" + own + address + bytes(6) + address
    frame = b"\xff" * 6 + own + ETH_P_ARP.to_bytes(2, "big") + asked.ljust(46, b"\0")
    drain.settimeout(0.001)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((f"{tap[6:]}-peer", 0))
        while (took_s := time.perf_counter() - started) < LIMIT_S:
            sender.send(frame)
            try:
                while drain.recv(100)[6:12] != own:
                    pass
            except TimeoutError:
                continue
            return (time.perf_counter() - started) * 1000
    raise BenchError(f"interface {port.id} carried nothing in {took_s:.0f} s")
