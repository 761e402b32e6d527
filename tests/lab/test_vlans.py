"""VLANs by the network driver, in a kernel that filters them: two hosts, each a namespace, and a wire between them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest

from backends.networks.driver import Networks
from backends.networks.errors import NetworkDriverError
from backends.networks.spec import NetworkSpec, Port, Wiring
from tests.system.namespaces import TAG, Guest, inside, plug, run, unplug

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_AUXDATA = 263, 8


@dataclass
class Host:
    """A host of the rack, whose link `wire` carries tagged frames."""

    namespace: str
    networks: Networks
    guests: list[Guest] = field(default_factory=list)

    def plug(self, spec: NetworkSpec, number: int) -> Guest:
        port = Port(uuid4(), spec.id, f"52:54:00:00:00:{number:02x}")
        guest = Guest(f"{self.namespace}g{len(self.guests)}", port)
        self.guests.append(guest)
        with inside(self.namespace):
            self.networks.ensure_network(spec)
            plug(self.networks, spec, guest)
        guest.command("ip", "address", "add", f"172.20.0.{number}/24", "dev", "eth0")
        return guest

    def vlans(self, link: str) -> set[int]:
        shown = json.loads(run("bridge", "-n", self.namespace, "-json", "vlan", "show", "dev", link) or "[]")
        return {entry["vlan"] for each in shown for entry in each["vlans"]}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    made: list[Host] = []
    with ExitStack() as stack:
        for number in (1, 2):
            name = f"{TAG}rack{number}"
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
            wiring = Wiring(vlan_uplink="wire", vlans=((100, 199),))
            made.append(Host(name, Networks(f"zt12a{number}", tmp_path / name, wiring)))
        first, second = (host.namespace for host in made)
        run("ip", "-n", first, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", second)
        for host in made:
            stack.callback(restore_to_nothing, host)
        yield made[0], made[1]


def restore_to_nothing(host: Host) -> None:
    with inside(host.namespace):
        for guest in host.guests:
            unplug(host.networks, guest)
        host.networks.restore([], [])
        assert "zt12a" not in run("ip", "-o", "link").replace(f"{TAG}rack", "")


def network(vlan: int) -> NetworkSpec:
    return NetworkSpec(uuid4(), vlan=vlan)


def test_the_lab_lacks_nothing(hosts: tuple[Host, Host]) -> None:
    with inside(hosts[0].namespace):
        assert hosts[0].networks.lacks() == []


def test_guests_of_one_vlan_reach_each_other_by_tagged_frames_and_those_of_another_do_not(
    hosts: tuple[Host, Host],
) -> None:
    here, there, elsewhere = network(100), network(100), network(101)
    one, two = hosts[0].plug(here, 1), hosts[1].plug(there, 2)
    other = hosts[1].plug(elsewhere, 3)
    with inside(hosts[1].namespace):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        wire.bind(("wire", 0))
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        wire.settimeout(10)
    with wire:
        assert one.pings("172.20.0.2")
        assert vlan_of_next_frame(wire, bytes.fromhex(one.port.mac.replace(":", ""))) == 100
    assert two.pings("172.20.0.1")
    assert not one.pings("172.20.0.3")
    assert not other.pings("172.20.0.2")
    assert hosts[0].vlans("wire") == {100}
    assert hosts[1].vlans("wire") == {100, 101}


def vlan_of_next_frame(wire: socket.socket, source: bytes) -> int:
    """The kernel takes the tag off what it shows, and tells it aside (packet(7), struct tpacket_auxdata)."""
    while True:
        frame, beside, _, _ = wire.recvmsg(2000, 200)
        if frame[6:12] == source:
            ((_, _, told),) = beside
            return int.from_bytes(told[16:18], "little") & 0xFFF


def test_a_network_that_is_down_or_in_another_vlan_is_cut_off(hosts: tuple[Host, Host]) -> None:
    here, there = network(100), network(100)
    one = hosts[0].plug(here, 1)
    hosts[1].plug(there, 2)
    assert one.pings("172.20.0.2")
    for changed in (replace(here, up=False), replace(here, vlan=150), replace(here, vlan=None)):
        with inside(hosts[0].namespace):
            hosts[0].networks.ensure_network(changed)
        assert not one.pings("172.20.0.2"), changed
    with inside(hosts[0].namespace):
        hosts[0].networks.ensure_network(here)
    assert one.pings("172.20.0.2")
    assert hosts[0].vlans("wire") == {100}


def test_a_vlan_that_is_not_for_users_or_taken_is_refused(hosts: tuple[Host, Host]) -> None:
    driver, taken = hosts[0].networks, network(100)
    with inside(hosts[0].namespace):
        driver.ensure_network(taken)
        for refused, reason in (
            (network(99), "not for users"),
            (network(200), "not for users"),
            (network(100), "another"),
        ):
            with pytest.raises(NetworkDriverError, match=reason):
                driver.ensure_network(refused)
            driver.absent_network(refused.id)
        assert driver.restore([taken], []).repaired == ()
    assert hosts[0].vlans("wire") == {100}


@pytest.mark.parametrize("address", ["192.0.2.1/24", "2001:db8::1/64"])
def test_an_uplink_that_the_host_needs_itself_is_refused(hosts: tuple[Host, Host], address: str) -> None:
    run("ip", "-n", hosts[0].namespace, "address", "add", address, "dev", "wire")
    with inside(hosts[0].namespace), pytest.raises(NetworkDriverError, match="addresses of the host"):
        hosts[0].networks.ensure_network(network(100))


def test_a_lost_trunk_tag_or_link_is_restored(hosts: tuple[Host, Host]) -> None:
    here, there = network(100), network(100)
    one = hosts[0].plug(here, 1)
    hosts[1].plug(there, 2)
    driver = hosts[0].networks
    with inside(hosts[0].namespace):
        assert driver.restore([here], [one.port]).repaired == ()
        for damage in (
            ["ip", "link", "delete", "zt12a1vlans"],
            ["bridge", "vlan", "delete", "dev", "wire", "vid", "100"],
            ["bridge", "vlan", "add", "dev", "wire", "vid", "7"],
            ["ip", "link", "delete", driver.bridge_name(here.id)],
        ):
            run(*damage)
            assert driver.restore([here], [one.port]).repaired, damage
            assert driver.restore([here], [one.port]).repaired == (), damage
    assert one.pings("172.20.0.2")
