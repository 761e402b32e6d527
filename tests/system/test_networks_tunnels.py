"""VXLAN by the network driver: two hosts, each a namespace, and a wire between them."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from backends.agent.host import Host as AgentsHost
from backends.agent.network import converge_network
from backends.cloud import Cloud
from backends.errors import Conflict
from backends.model import Interface, NewInterface, NewMachine, NewNetwork
from backends.networks import records
from backends.networks.addresses import link_local_of
from backends.networks.driver import Networks
from backends.networks.spec import NetworkSpec, Port, Tunnel, Wiring, tunnel_name
from backends.store.database import Connection, Database
from tests.system.namespaces import (
    TAG,
    Guest,
    arp,
    frame,
    inside,
    isolated_network,
    octets,
    passes,
    plug,
    port_on,
    run,
    udp,
    unplug,
)
from tests.system.test_networks_ipv6 import icmpv6, udp6

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

UNDERLAY = "10.200.0.0/24"
VNI = 4242


@dataclass
class Host:
    """A host of the rack; each has a tag of its own here, for the names in /run/netns are the machine's."""

    namespace: str
    address: str
    networks: Networks
    guests: list[Guest] = field(default_factory=list)

    def plug(self, spec: NetworkSpec, port: Port) -> Guest:
        guest = Guest(f"{self.namespace}g{len(self.guests)}", port)
        self.guests.append(guest)
        with inside(self.namespace):
            plug(self.networks, spec, guest)
        return guest

    def ensure(self, spec: NetworkSpec) -> None:
        with inside(self.namespace):
            self.networks.ensure_network(spec)


@pytest.fixture
def hosts(networks_folder: Path) -> Iterator[tuple[Host, Host]]:
    made: list[Host] = []
    with ExitStack() as stack:
        for number in (1, 2):
            name = f"{TAG}rack{number}"
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
            driver = Networks(f"zt12a{number}", networks_folder / name, Wiring(tunnel_network=UNDERLAY))
            made.append(Host(name, f"10.200.0.{number}", driver))
        first, second = (host.namespace for host in made)
        run("ip", "-n", first, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", second)
        for host in made:
            run("ip", "-n", host.namespace, "link", "set", "lo", "up")
            run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "wire")
            run("ip", "-n", host.namespace, "link", "set", "wire", "up")
            stack.callback(restore_to_nothing, host)
        yield made[0], made[1]


def restore_to_nothing(host: Host) -> None:
    with inside(host.namespace):
        for guest in host.guests:
            unplug(host.networks, guest)
        host.networks.restore([], [])
        assert "vxlan" not in run("ip", "-d", "link")


def stretched(spec: NetworkSpec, *there: tuple[Port, Host], vni: int = VNI) -> NetworkSpec:
    """The network as one host should make it, with these ports on others."""
    return replace(spec, tunnel=Tunnel(vni, tuple((port.mac, host.address) for port, host in there)))


def join(hosts: tuple[Host, Host], spec: NetworkSpec, ports: tuple[Port, Port], vni: int = VNI) -> tuple[Guest, Guest]:
    guests = []
    for host, port, other, there in zip(hosts, ports, reversed(ports), reversed(hosts), strict=True):
        own = stretched(spec, (other, there), vni=vni)
        host.ensure(own)
        guests.append(host.plug(own, port))
    return guests[0], guests[1]


def both(spec: NetworkSpec, number: int) -> Port:
    return replace(port_on(spec, number), address6=f"fd00:9::{number:x}")


def isolated() -> NetworkSpec:
    return replace(isolated_network(), cidr6="fd00:9::/64")


def test_guests_of_one_network_on_two_hosts_reach_each_other(hosts: tuple[Host, Host]) -> None:
    spec = isolated()
    one, two = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    assert one.pings("10.9.0.6")
    assert two.pings("fd00:9::5")
    assert one.asks_dhcp()["ip"] == "10.9.0.5"
    assert two.asks_dhcp()["ip"] == "10.9.0.6"


def test_frames_that_fill_the_tunnel_pass_and_guests_are_told_its_size(hosts: tuple[Host, Host]) -> None:
    spec = isolated()
    one, _ = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    assert "mtu:1450" in "".join(path.read_text() for path in dnsmasq_configurations(hosts[0], spec))
    one.command("ip", "link", "set", "eth0", "mtu", "1450")
    one.command("ping", "-c1", "-W2", "-M", "do", "-s", str(1450 - 28), "10.9.0.6")


def dnsmasq_configurations(host: Host, spec: NetworkSpec) -> list[Path]:
    return list((host.networks._folder / "networks" / str(spec.id)).glob("dnsmasq-*.conf"))


def test_networks_of_two_tenants_with_the_same_addresses_know_nothing_of_each_other(
    hosts: tuple[Host, Host],
) -> None:
    ours, theirs = isolated(), isolated()
    one, two = join(hosts, ours, (both(ours, 5), both(ours, 6)))
    other, another = join(hosts, theirs, (both(theirs, 7), both(theirs, 8)), vni=VNI + 1)
    assert one.pings("10.9.0.6")
    assert other.pings("10.9.0.8")
    assert not one.pings("10.9.0.8")
    assert not other.pings("fd00:9::6")
    assert not another.pings("10.9.0.5")
    assert not two.pings("fd00:9::7")


def test_each_host_of_a_stretched_network_is_its_own_guests_gateway(hosts: tuple[Host, Host]) -> None:
    spec = NetworkSpec(uuid4(), "10.9.0.0/24", "10.9.0.1", nat=True, cidr6="fd00:9::/64")
    one, two = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    for guest in (one, two):
        assert guest.pings("10.9.0.1")
        assert guest.pings("fd00:9::1")
    assert one.pings("10.9.0.6")
    assert two.pings("fd00:9::5")
    with inside(hosts[0].namespace):
        hosts[0].networks.ensure_network(replace(stretched(spec), up=False))
    assert not one.pings("10.9.0.1")  # the other host doesn't answer in its place
    assert two.pings("10.9.0.1")


def test_requests_for_addresses_travel_only_where_the_host_does_not_answer(
    hosts: tuple[Host, Host],
) -> None:
    plain, served = NetworkSpec(uuid4()), isolated()
    for spec, travels, numbers in ((plain, True, (1, 2)), (served, False, (5, 6))):
        ports = [port_on(spec, number) for number in numbers]
        if spec.has_addresses:
            ports = [both(spec, number) for number in numbers]
        one, two = join(hosts, spec, (ports[0], ports[1]), vni=VNI + numbers[0])
        mac = one.port.mac
        requests = {
            "DHCP": frame(mac, 0x0800, udp("0.0.0.0", "255.255.255.255", 68, 67)),  # noqa: S104
            "DHCPv6": frame(mac, 0x86DD, udp6(link_local_of(mac), "ff02::1:2", 546, 547), "33:33:00:01:00:02"),
            "router": frame(mac, 0x86DD, icmpv6(link_local_of(mac), "ff02::2", 133, bytes(4)), "33:33:00:00:00:02"),
        }
        assert [what for what, sent in requests.items() if passes(one, two, sent) != travels] == []


def test_what_hosts_and_bridges_say_themselves_stays_on_the_host(hosts: tuple[Host, Host]) -> None:
    plain, served = NetworkSpec(uuid4()), isolated()
    one, two = join(hosts, plain, (port_on(plain, 1), port_on(plain, 2)), vni=VNI + 1)
    assert passes(one, two, frame(one.port.mac, 0x88B5, b"own"))
    assert not passes(one, two, frame(one.port.mac, 0x88B5, b"bridge's", "01:80:c2:00:00:00"))

    one, two = join(hosts, served, (both(served, 5), both(served, 6)))
    said = frame("52:54:00:00:00:98", 0x0806, arp("52:54:00:00:00:98", "10.9.0.98", "10.9.0.6"))
    for namespace, link in (
        (hosts[0].namespace, hosts[0].networks.bridge_name(served.id)),
        (f"zt12a1-{served.id}", "dhcp"),
    ):
        with inside(namespace):
            out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            out.bind((link, 0))
        with out, two.packet_socket() as into:
            into.settimeout(1)
            out.send(said)
            last = frame(one.port.mac, 0x0806, arp(one.port.mac, "10.9.0.5", "10.9.0.77"))
            with one.packet_socket() as after:
                after.send(last)
            while (got := into.recv(2000)) != last:
                assert got != said, link


def test_a_guest_that_leaves_is_forgotten_by_the_other_host(hosts: tuple[Host, Host]) -> None:
    spec = isolated()
    one, _ = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    assert one.pings("10.9.0.6")
    hosts[0].ensure(stretched(spec))
    name = tunnel_name("zt12a1", spec.id)
    assert "dst" not in run("ip", "netns", "exec", hosts[0].namespace, "bridge", "fdb", "show", "dev", name)
    assert not one.pings("10.9.0.6")


def test_a_guest_can_not_speak_for_a_guest_of_the_other_host(hosts: tuple[Host, Host]) -> None:
    spec = isolated()
    one, two = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    assert one.pings("10.9.0.6")
    stolen = frame(two.port.mac, 0x0800, udp("10.9.0.6", "10.9.0.5", 4000, 4000))
    with one.packet_socket() as out:
        out.send(stolen)
    assert one.pings("10.9.0.6")
    bridge = hosts[0].networks.bridge_name(spec.id)
    entries = run("ip", "netns", "exec", hosts[0].namespace, "bridge", "fdb", "show", "br", bridge)
    assert hosts[0].networks.tap_name(one.port.id) not in "".join(
        line for line in entries.splitlines() if two.port.mac in line
    )


@pytest.fixture
def elsewhere(hosts: tuple[Host, Host]) -> Iterator[str]:
    """Somebody on another link of the first host, which has another address there and forwards what it is told to."""
    name, host = f"{TAG}elsewhere", hosts[0].namespace
    run("ip", "netns", "add", name)
    run("ip", "-n", host, "link", "add", "other", "type", "veth", "peer", "name", "eth0", "netns", name)
    for namespace, link, address in ((host, "other", "198.51.100.1"), (name, "eth0", "198.51.100.2")):
        run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", link)
        run("ip", "-n", namespace, "link", "set", link, "up")
    for setting in ("ip_forward=1", "conf.all.rp_filter=0", "conf.other.rp_filter=0"):
        run("ip", "netns", "exec", host, "sysctl", "-qw", f"net.ipv4.{setting}")
    yield name
    run("ip", "netns", "delete", name)


def vxlan(frame_within: bytes, source: str, destination: str) -> bytes:
    """An IPv4 packet with a frame for the tunnel."""
    return udp(source, destination, 4789, 4789, struct.pack("!BBHI", 8, 0, 0, VNI << 8) + frame_within)


def enters(sender: str, link: str, gateway_mac: str, packet: bytes, guest: Guest, frame_within: bytes) -> bool:
    """Whether the guest gets the frame out of a packet that somebody puts on a link, to the next hop's MAC address."""
    with inside(sender):
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        out.bind((link, 0))
    with inside(guest.namespace):
        into = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    with out, into:
        into.settimeout(1)
        for _ in range(3):
            out.send(octets(gateway_mac) + octets("52:54:00:00:00:98") + struct.pack("!H", 0x0800) + packet)
        with suppress(TimeoutError):
            while True:
                if into.recv(2000).startswith(frame_within.rstrip(b"\0")):
                    return True
    return False


def mac_of_link(namespace: str, link: str) -> str:
    shown = run("ip", "-n", namespace, "-json", "link", "show", link)
    return str(json.loads(shown)[0]["address"])


def test_frames_enter_a_tunnel_from_the_other_hosts_alone(hosts: tuple[Host, Host], elsewhere: str) -> None:
    spec = isolated()
    guests = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    made_up = [frame("52:54:00:00:00:99", 0x0800, udp("10.9.0.99", "10.9.0.5", 1, 1), g.port.mac) for g in guests]
    wire = [mac_of_link(host.namespace, "wire") for host in hosts]
    through = mac_of_link(hosts[0].namespace, "other")

    def from_elsewhere(source: str, destination: str, number: int) -> bool:
        packet = vxlan(made_up[number], source, destination)
        return enters(elsewhere, "eth0", through, packet, guests[number], made_up[number])

    assert enters(
        hosts[1].namespace, "wire", wire[0], vxlan(made_up[0], "10.200.0.2", "10.200.0.1"), guests[0], made_up[0]
    ), "what the other host sends must come in, else the rest says nothing"
    assert not from_elsewhere("198.51.100.2", "198.51.100.1", 0), "to the host's other address"
    assert not from_elsewhere("198.51.100.2", "10.200.0.1", 0), "to the tunnel's address"
    assert not from_elsewhere("10.200.0.2", "10.200.0.1", 0), "under the other host's address"
    assert not from_elsewhere("10.200.0.2", "198.51.100.1", 0), "under that, to the other address"
    assert not from_elsewhere("10.200.0.3", "10.200.0.2", 1), "through this host to the other"
    assert not enters(
        hosts[1].namespace, "wire", wire[0], vxlan(made_up[0], "203.0.113.1", "10.200.0.1"), guests[0], made_up[0]
    ), "by the hosts' wire from outside their network"


def test_a_host_whose_own_end_of_tunnels_is_lost_lets_nothing_in(hosts: tuple[Host, Host], elsewhere: str) -> None:
    spec = isolated()
    one, two = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    made_up = frame("52:54:00:00:00:99", 0x0800, udp("10.9.0.99", "10.9.0.5", 1, 1), one.port.mac)
    run("ip", "-n", hosts[0].namespace, "address", "flush", "dev", "wire")
    with inside(hosts[0].namespace):
        restored = hosts[0].networks.restore([stretched(spec, (two.port, hosts[1]))], [one.port])
    assert "no address in it" in restored.failed[spec.id]
    packet = vxlan(made_up, "10.200.0.2", "198.51.100.1")
    assert not enters(elsewhere, "eth0", mac_of_link(hosts[0].namespace, "other"), packet, one, made_up)


def test_no_guest_reaches_the_hosts_network(hosts: tuple[Host, Host]) -> None:
    spec = isolated()
    join(hosts, spec, (both(spec, 5), both(spec, 6)))
    shared = NetworkSpec(uuid4(), "10.8.0.0/24", "10.8.0.1", nat=True)
    hosts[0].ensure(shared)
    guest = hosts[0].plug(shared, replace(port_on(shared, 5), address="10.8.0.5"))
    assert guest.pings("10.8.0.1")
    assert not guest.pings("10.200.0.2")
    assert not guest.pings("10.200.0.1")


def test_a_lost_tunnel_or_neighbour_is_restored(hosts: tuple[Host, Host]) -> None:
    spec = isolated()
    one, two = join(hosts, spec, (both(spec, 5), both(spec, 6)))
    own = stretched(spec, (two.port, hosts[1]))
    name, driver = tunnel_name("zt12a1", spec.id), hosts[0].networks
    with inside(hosts[0].namespace):
        assert driver.restore([own], [one.port]).repaired == ()
        for damage in (
            ["ip", "link", "delete", name],
            ["ip", "link", "set", name, "nomaster"],
            ["bridge", "fdb", "delete", two.port.mac, "dev", name, "dst", "10.200.0.2", "self"],
            ["bridge", "fdb", "delete", two.port.mac, "dev", name, "master"],
            ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", name, "dst", "10.200.0.9", "self"],
        ):
            run(*damage)
            assert driver.restore([own], [one.port]).repaired, damage
            assert driver.restore([own], [one.port]).repaired == (), damage
    assert one.pings("10.9.0.6")


def test_a_network_is_on_every_host_that_has_machines_on_it(
    hosts: tuple[Host, Host], cloud: Cloud, database: Database, sql: Connection
) -> None:
    sql.execute("UPDATE host SET tunnel_address = '10.200.0.1'")
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, heartbeat_at, tunnel_address)"
        " VALUES ('rack2', 8, 1, 1, 'qemu', now(), '10.200.0.2')"
    )
    network = cloud.create_network(NewNetwork(cidr="10.9.0.0/24", cidr6="fd00:9::/64"))
    machines = [cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),))) for _ in hosts]
    sql.execute("UPDATE machine SET host = 'rack2' WHERE id = %s", [machines[1].id])

    def converge() -> None:
        for name, host in (("rack1", hosts[0]), ("rack2", hosts[1])):
            nothing = cast(Any, None)  # of the drivers, only the networks' is asked
            agents = AgentsHost(
                name=name,
                database=database,
                hypervisor=nothing,
                pool=nothing,
                networks=host.networks,
                files=nothing,
                groups=nothing,
                limits=nothing,
                meter=nothing,
                seeds=Path("/nowhere"),
                values=Path("/nowhere"),
                graceful_stop_s=1,
            )
            with inside(host.namespace):
                converge_network(agents, network.id)

    converge()
    assert cloud.network(network.id).state == "active"
    guests = []
    for host, machine in zip(hosts, machines, strict=True):
        (interface,) = machine.interfaces
        (made,) = (spec for spec in made_networks(host) if spec.id == network.id)
        guests.append(host.plug(made, port_of(interface)))
    assert guests[0].pings(machines[1].interfaces[0].address or "")
    assert guests[1].pings(machines[0].interfaces[0].address6 or "")
    sql.execute("DELETE FROM interface WHERE machine_id = %s", [machines[1].id])
    converge()
    assert hosts[1].networks.networks() == set()
    assert hosts[0].networks.networks() == {network.id}
    assert not guests[0].pings(machines[1].interfaces[0].address or "")


def made_networks(host: Host) -> list[NetworkSpec]:
    return list(records.networks(host.networks._folder))


def port_of(interface: Interface) -> Port:
    return Port(interface.id, interface.network_id, interface.mac, interface.address, None, interface.address6)


def test_a_machine_is_not_tied_to_the_host_of_a_network_that_reaches_others(cloud: Cloud, sql: Connection) -> None:
    network = cloud.create_network(NewNetwork())
    machine = cloud.create_machine(NewMachine())
    sql.execute("INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type) VALUES ('rack2', 1, 1, 1, 'qemu')")
    sql.execute("UPDATE machine SET host = 'rack2' WHERE id = %s", [machine.id])
    with pytest.raises(Conflict, match="is on host rack1"):
        cloud.create_interface(machine.id, NewInterface(network.id))
    sql.execute("UPDATE host SET tunnel_address = '10.200.0.1' WHERE name = 'rack1'")
    assert cloud.create_interface(machine.id, NewInterface(network.id)).network_id == network.id
