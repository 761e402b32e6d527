"""The network driver on a real kernel with real dnsmasq: guests are namespaces with a veth in place of a tap."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from uuid import UUID, uuid4

import pytest

from backends.errors import Invalid
from backends.networks import dhcp, records
from backends.networks.addresses import mac_of_network
from backends.networks.driver import Networks
from backends.networks.errors import NameClashError, NetworkDriverError
from backends.networks.spec import NetworkSpec, Port, Tunnel, Wiring, dhcp_link_name
from tests.system.namespaces import (
    OUTSIDE_ADDRESS,
    TAG,
    Guest,
    MakeGuest,
    arp,
    assert_nothing_left,
    frame,
    inside,
    isolated_network,
    passes,
    port_on,
    run,
    shared_network,
    udp,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

# Addresses and names from the network


def test_guest_of_the_shared_network_gets_its_reserved_address_by_dhcp(
    networks: Networks, make_guest: MakeGuest
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    guest = make_guest(spec, port_on(spec, 5, "web.example.org"))
    lease = guest.asks_dhcp()
    assert lease["ip"] == "10.9.0.5"
    assert lease["router"] == "10.9.0.1"
    assert lease["dns"] == "10.9.0.1"
    assert "10.9.0.5" in guest.command("busybox", "nslookup", "web", "10.9.0.1")


@pytest.mark.parametrize("name", ["wpad", "WPAD.example.org", "isatap", "localhost", "ignore", "12h"])
def test_names_that_mean_something_to_others_are_not_made_known(
    networks: Networks, make_guest: MakeGuest, name: str
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    guest = make_guest(spec, port_on(spec, 5, name))
    assert guest.asks_dhcp()["ip"] == "10.9.0.5"
    assert "10.9.0.5" not in guest.command("busybox", "nslookup", name.partition(".")[0], "10.9.0.1", check=False)


def test_guest_of_an_isolated_network_gets_an_address_but_no_router(networks: Networks, make_guest: MakeGuest) -> None:
    spec = isolated_network()
    networks.ensure_network(spec)
    lease = make_guest(spec, port_on(spec, 6)).asks_dhcp()
    assert lease["ip"] == "10.9.0.6"
    assert lease.get("router", "") == ""
    assert lease.get("dns", "") == ""


def test_router_of_an_isolated_network_is_told_when_there_is_one(networks: Networks, make_guest: MakeGuest) -> None:
    spec = replace(isolated_network(), gateway="10.9.0.1")
    networks.ensure_network(spec)
    assert make_guest(spec, port_on(spec, 6)).asks_dhcp()["router"] == "10.9.0.1"


def test_address_goes_to_its_new_owner_although_the_old_lease_has_not_ended(
    networks: Networks, make_guest: MakeGuest
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    former = make_guest(spec, port_on(spec, 5))
    assert former.asks_dhcp()["ip"] == "10.9.0.5"
    networks.absent_port(former.port.id)
    heir = make_guest(spec, replace(port_on(spec, 9), address="10.9.0.5"))
    assert heir.asks_dhcp()["ip"] == "10.9.0.5"


def test_host_name_on_the_shared_network_stays_with_whoever_had_it_first(
    networks: Networks, make_guest: MakeGuest
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    first = make_guest(spec, port_on(spec, 5, "db"))
    first.asks_dhcp()
    make_guest(spec, port_on(spec, 6, "db")).asks_dhcp()
    answer = first.command("busybox", "nslookup", "db", "10.9.0.1")
    assert "10.9.0.5" in answer
    assert "10.9.0.6" not in answer


def test_changed_port_gets_its_new_address_and_loses_the_old(networks: Networks, make_guest: MakeGuest) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    guest = make_guest(spec, port_on(spec, 5))
    assert guest.pings("10.9.0.1")
    networks.ensure_port(spec, replace(guest.port, address="10.9.0.8"))
    assert not guest.pings("10.9.0.1")
    assert guest.asks_dhcp()["ip"] == "10.9.0.8"
    assert guest.pings("10.9.0.1")


# Who reaches whom


def test_guests_reach_each_other_their_gateway_and_outside(
    networks: Networks, make_guest: MakeGuest, outside: str
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    one, two = make_guest(spec, port_on(spec, 5)), make_guest(spec, port_on(spec, 6))
    assert one.pings("10.9.0.6")
    assert one.pings("10.9.0.1")
    assert two.pings(OUTSIDE_ADDRESS)


def test_nobody_outside_reaches_a_guest(networks: Networks, make_guest: MakeGuest, outside: str) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    make_guest(spec, port_on(spec, 5))
    run("ip", "-n", outside, "route", "add", "10.9.0.0/24", "via", "192.0.2.1")
    outsider = Guest(outside, port_on(spec, 250))
    assert outsider.pings("192.0.2.1")
    assert not outsider.pings("10.9.0.5")


def test_guest_reaches_no_other_address_or_service_of_the_host(
    networks: Networks, make_guest: MakeGuest, outside: str
) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    guest = make_guest(spec, port_on(spec, 5))
    assert not guest.pings("192.0.2.1")
    with socket.create_server(("0.0.0.0", 8080)):  # noqa: S104
        assert guest.command("busybox", "nc", "-w1", "-z", "10.9.0.1", "8080", check=False) == ""
        done = subprocess.run(
            ["ip", "netns", "exec", guest.namespace, "busybox", "nc", "-w", "1", "10.9.0.1", "8080"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode != 0


def test_isolated_networks_with_the_same_subnet_know_nothing_of_each_other_and_the_host(
    networks: Networks, make_guest: MakeGuest, outside: str
) -> None:
    first, second = isolated_network(), isolated_network()
    shared = replace(shared_network(), cidr="10.8.0.0/24", gateway="10.8.0.1")
    for spec in (first, second, shared):
        networks.ensure_network(spec)
    one = make_guest(first, port_on(first, 5))
    make_guest(first, port_on(first, 6))
    other = make_guest(second, port_on(second, 7))
    assert one.pings("10.9.0.6")
    assert not one.pings("10.9.0.7")
    assert not other.pings("10.9.0.6")
    one.command("ip", "route", "add", "default", "dev", "eth0")
    assert not one.pings("10.8.0.1")
    assert not one.pings("192.0.2.1")
    assert not one.pings(OUTSIDE_ADDRESS)


def test_a_guest_with_the_gateways_address_routes_for_its_network(
    networks: Networks, make_guest: MakeGuest, outside: str
) -> None:
    inner = replace(isolated_network(), gateway="10.9.0.1")
    outer = replace(shared_network(), cidr="10.8.0.0/24", gateway="10.8.0.1")
    for spec in (inner, outer):
        networks.ensure_network(spec)
    router = make_guest(inner, port_on(inner, 1))
    one, two = make_guest(inner, port_on(inner, 5)), make_guest(inner, port_on(inner, 6))
    assert one.asks_dhcp()["router"] == "10.9.0.1"
    assert router.asks_dhcp().get("router", "") == ""

    mac = router.port.mac
    carried = {
        address: passes(router, one, frame(mac, 0x0800, udp(address, "10.9.0.5", 4000, 4000), one.port.mac))
        for address in ("192.0.2.2", "10.9.0.1", "10.9.0.6", "127.0.0.1", "224.0.0.1", "0.0.0.0")  # noqa: S104
    }
    assert [address for address, passed in carried.items() if passed] == ["192.0.2.2", "10.9.0.1"]
    assert not passes(router, one, frame(mac, 0x0800, udp("192.0.2.2", "10.9.0.5", 1067, 68), one.port.mac))
    assert not passes(two, one, frame(two.port.mac, 0x0800, udp("192.0.2.2", "10.9.0.5", 4000, 4000), one.port.mac))
    ports = [guest.port for guest in (router, one, two)]
    assert networks.restore([inner, outer], ports).repaired == ()
    no_router = Guest(router.namespace, replace(router.port, address="10.9.0.9"))
    networks.ensure_port(inner, no_router.port)
    assert not passes(no_router, one, frame(mac, 0x0800, udp("192.0.2.2", "10.9.0.5", 4000, 4000), one.port.mac))


def test_the_metadata_of_the_hosts_provider_is_kept_from_guests(
    networks: Networks, make_guest: MakeGuest, outside: str
) -> None:
    spec = replace(shared_network(), cidr6="fd00:9::/64")
    networks.ensure_network(spec)
    guest = make_guest(spec, replace(port_on(spec, 5), address6="fd00:9::5"))
    guest.command("ip", "-6", "route", "add", "default", "via", "fd00:9::1")
    run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad")
    run("ip", "-n", outside, "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
    run("ip", "route", "add", "default", "via", OUTSIDE_ADDRESS)
    run("ip", "-6", "route", "add", "default", "via", "2001:db8::2")
    for address in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "198.51.100.1", "2001:db8:1::1"):
        run("ip", "-n", outside, "address", "add", address, "dev", "lo")
    run("ip", "-n", outside, "link", "set", "lo", "up")
    assert guest.pings("198.51.100.1")
    assert guest.pings("2001:db8:1::1")
    for address in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"):
        assert not guest.pings(address), address


def test_the_host_carries_nothing_out_of_an_isolated_network(
    networks: Networks, make_guest: MakeGuest, outside: str
) -> None:
    isolated, shared = isolated_network(), replace(shared_network(), cidr="10.8.0.0/24", gateway="10.8.0.1")
    for spec in (isolated, shared):
        networks.ensure_network(spec)
    run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
    run("sysctl", "-qw", f"net.ipv4.conf.{networks.bridge_name(isolated.id)}.rp_filter=0")
    reached = {}
    for spec, address in ((isolated, "10.9.0.5"), (shared, "10.8.0.5")):
        guest = make_guest(spec, replace(port_on(spec, 5), address=address))
        packet = udp(address, OUTSIDE_ADDRESS, 4000, 4001)
        with inside(outside):
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        with listener, guest.packet_socket() as out:
            listener.settimeout(1)
            out.send(frame(guest.port.mac, 0x0800, packet, mac_of_network(spec.id)))
            with suppress(TimeoutError):
                reached[address] = b"marked" in listener.recv(2000)
    assert reached == {"10.8.0.5": True}


def test_plain_network_carries_whatever_its_guests_agree_on(networks: Networks, make_guest: MakeGuest) -> None:
    spec = NetworkSpec(uuid4())
    networks.ensure_network(spec)
    one, two = make_guest(spec, port_on(spec, 5)), make_guest(spec, port_on(spec, 6))
    one.command("ip", "address", "add", "172.20.0.1/24", "dev", "eth0")
    two.command("ip", "address", "add", "172.20.0.2/24", "dev", "eth0")
    one.command("ip", "address", "add", "fd00::1/64", "dev", "eth0", "nodad")
    two.command("ip", "address", "add", "fd00::2/64", "dev", "eth0", "nodad")
    assert one.pings("172.20.0.2")
    assert one.pings("fd00::2")


def test_network_that_is_down_carries_nothing_until_it_is_up_again(networks: Networks, make_guest: MakeGuest) -> None:
    spec = isolated_network()
    networks.ensure_network(spec)
    one = make_guest(spec, port_on(spec, 5))
    make_guest(spec, port_on(spec, 6))
    networks.ensure_network(replace(spec, up=False))
    assert not one.pings("10.9.0.6")
    assert one.asks_dhcp() == {}
    networks.ensure_network(spec)
    assert one.pings("10.9.0.6")
    assert one.asks_dhcp()["ip"] == "10.9.0.5"


# Spoofing


@pytest.fixture
def pair(networks: Networks, make_guest: MakeGuest) -> tuple[Guest, Guest]:
    spec = shared_network()
    networks.ensure_network(spec)
    return make_guest(spec, port_on(spec, 5)), make_guest(spec, port_on(spec, 6))


def test_own_frames_pass(pair: tuple[Guest, Guest]) -> None:
    mac = pair[0].port.mac
    assert passes(*pair, frame(mac, 0x0800, udp("10.9.0.5", "10.9.0.6", 4000, 4000)))
    assert passes(*pair, frame(mac, 0x0806, arp(mac, "10.9.0.5", "10.9.0.6")))
    assert passes(*pair, frame(mac, 0x0806, arp(mac, "0.0.0.0", "10.9.0.5")))  # noqa: S104


def test_spoofed_frames_are_dropped(pair: tuple[Guest, Guest]) -> None:
    mac, stolen = pair[0].port.mac, "52:54:00:00:00:99"
    spoofed = {
        "MAC": frame(stolen, 0x0800, udp("10.9.0.5", "10.9.0.6", 4000, 4000)),
        "IPv4": frame(mac, 0x0800, udp("10.9.0.1", "10.9.0.6", 4000, 4000)),
        "no IPv4 address": frame(mac, 0x0800, udp("0.0.0.0", "10.9.0.6", 4000, 4000)),  # noqa: S104
        "ARP address": frame(mac, 0x0806, arp(mac, "10.9.0.1", "10.9.0.6")),
        "ARP MAC": frame(mac, 0x0806, arp(stolen, "10.9.0.5", "10.9.0.6")),
        "DHCP offer": frame(mac, 0x0800, udp("10.9.0.5", "255.255.255.255", 67, 68)),
        "DHCP offer from another port": frame(mac, 0x0800, udp("10.9.0.5", "255.255.255.255", 1067, 68)),
        "DHCP offer to one": frame(mac, 0x0800, udp("10.9.0.5", "10.9.0.6", 1067, 68), pair[1].port.mac),
        "IPv6": frame(mac, 0x86DD, b"\x60" + bytes(45)),
        "VLAN": frame(mac, 0x8100, b"\x00\x05\x08\x00" + udp("10.9.0.1", "10.9.0.6", 4000, 4000)),
        "unknown protocol": frame(mac, 0x88B5, b"anything"),
    }
    assert [kind for kind, sent in spoofed.items() if passes(*pair, sent)] == []


def test_bridge_learns_nothing_from_a_stolen_mac_sent_to_a_reserved_group(
    networks: Networks, pair: tuple[Guest, Guest]
) -> None:
    one, two = pair
    assert two.pings("10.9.0.5")
    stolen = frame(two.port.mac, 0x88CC, b"", destination="01:80:c2:00:00:0e")
    assert not passes(one, two, stolen)
    entries = run("bridge", "fdb", "show", "dev", networks.tap_name(one.port.id))
    assert two.port.mac not in entries


def test_guest_of_a_plain_network_can_not_take_another_mac(networks: Networks, make_guest: MakeGuest) -> None:
    spec = NetworkSpec(uuid4())
    networks.ensure_network(spec)
    one, two = make_guest(spec, port_on(spec, 5)), make_guest(spec, port_on(spec, 6))
    assert passes(one, two, frame(one.port.mac, 0x88B5, b"own"))
    assert not passes(one, two, frame("52:54:00:00:00:99", 0x88B5, b"stolen"))


def test_tap_passes_nothing_once_its_port_is_absent(networks: Networks, pair: tuple[Guest, Guest]) -> None:
    assert pair[0].pings("10.9.0.6")
    networks.absent_port(pair[0].port.id)
    assert not pair[0].pings("10.9.0.6")
    assert networks.ports() == {pair[1].port.id}


# Repair


def test_restore_brings_back_flushed_rules_deleted_bridge_and_dead_dhcp_server(
    networks: Networks, make_guest: MakeGuest, outside: str, networks_folder: Path
) -> None:
    shared, isolated = shared_network(), isolated_network()
    specs = [shared, isolated]
    for spec in specs:
        networks.ensure_network(spec)
    one = make_guest(shared, port_on(shared, 5))
    two = make_guest(isolated, port_on(isolated, 6))
    ports = [one.port, two.port]
    assert networks.restore(specs, ports).repaired == ()
    run("nft", "flush", "ruleset")
    run("ip", "link", "delete", networks.bridge_name(shared.id))
    run("ip", "link", "delete", dhcp_link_name(TAG, isolated.id))
    for process in list(dhcp.all_running(networks_folder / "networks")):
        dhcp.terminate(process)
    restored = networks.restore(specs, ports)
    assert restored.failed == {}
    assert any("firewall table" in sentence for sentence in restored.repaired)
    assert one.pings(OUTSIDE_ADDRESS)
    assert one.asks_dhcp()["ip"] == "10.9.0.5"
    assert two.asks_dhcp()["ip"] == "10.9.0.6"
    assert networks.restore(specs, ports).repaired == ()


def test_making_what_never_was_is_no_repair(networks: Networks) -> None:
    first, second = shared_network(), isolated_network()

    assert networks.restore([first], []).repaired == ()
    assert networks.restore([first, second], [port_on(first, 5), port_on(second, 6)]).repaired == ()


def test_restore_repairs_a_single_rule_or_entry(networks: Networks) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    port = port_on(spec, 5)
    networks.ensure_port(spec, port)
    table = f"altostratus_{TAG}"
    for damage in (
        ["flush", "chain", "bridge", table, "from_guest"],
        ["add", "rule", "inet", table, "forward", "accept"],
        ["flush", "set", "bridge", table, "addresses"],
        ["delete", "table", "inet", table],
    ):
        run("nft", *damage)
        assert networks.restore([spec], [port]).repaired, damage
        assert networks.restore([spec], [port]).repaired == (), damage


def test_dead_dhcp_server_is_started_again(networks: Networks, networks_folder: Path) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    (process,) = dhcp.running(records.network_folder(networks_folder, spec.id))
    dhcp.terminate(process)
    networks.ensure_network(spec)
    (again,) = dhcp.running(records.network_folder(networks_folder, spec.id))
    assert again.id != process.id


def test_dhcp_server_is_found_again_without_its_pid_file(networks: Networks, networks_folder: Path) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    network_folder = records.network_folder(networks_folder, spec.id)
    before = dhcp.running(network_folder)
    (network_folder / "dnsmasq.pid").write_text("1\n")
    assert dhcp.running(network_folder) == before
    assert networks.restore([spec], []).repaired == ()


def test_restore_removes_what_is_not_listed(networks: Networks) -> None:
    kept, dropped = shared_network(), isolated_network()
    for spec in (kept, dropped):
        networks.ensure_network(spec)
        networks.ensure_port(spec, port_on(spec, 5))
    networks.restore([kept], [])
    assert networks.networks() == {kept.id}
    assert networks.ports() == set()


def test_one_bad_network_does_not_keep_the_others_down(networks: Networks, make_guest: MakeGuest) -> None:
    good, bad = shared_network(), NetworkSpec(uuid4(), "127.0.0.0/24")
    port = port_on(good, 5)
    restored = networks.restore([bad, good], [port, port_on(bad, 6)])
    assert "loopback" in restored.failed[bad.id]
    assert make_guest(good, port).pings("10.9.0.1")


def test_what_can_not_be_made_anew_is_no_leftover(networks: Networks, make_guest: MakeGuest) -> None:
    spec, newcomer = shared_network(), shared_network()
    networks.ensure_network(spec)
    guest = make_guest(spec, port_on(spec, 5))
    restored = networks.restore([spec, newcomer], [guest.port])
    assert "overlaps" in restored.failed[newcomer.id]
    assert networks.networks() == {spec.id}
    assert guest.pings("10.9.0.1")

    restored = networks.restore([newcomer, spec], [guest.port])
    assert set(restored.failed) == {newcomer.id, spec.id, guest.port.id}
    assert networks.networks() >= {spec.id}
    assert networks.ports() == {guest.port.id}
    assert guest.pings("10.9.0.1")


def test_flushed_rules_come_back_with_the_next_port(
    networks: Networks, pair: tuple[Guest, Guest], networks_folder: Path
) -> None:
    run("nft", "flush", "ruleset")
    (spec,) = records.networks(networks_folder)
    networks.ensure_port(spec, port_on(spec, 7))
    assert pair[0].pings("10.9.0.6")
    assert not passes(*pair, frame("52:54:00:00:00:99", 0x88B5, b"stolen"))


# Others on the same host


def test_foreign_tables_links_and_clouds_are_left_alone(networks: Networks, networks_folder: Path) -> None:
    run("nft", "add", "table", "inet", "foreign")
    run("ip", "link", "add", f"{TAG}bforeign", "type", "bridge")
    neighbours_folder = networks_folder / "neighbour"
    neighbour = Networks("zu12ab", neighbours_folder)
    theirs = replace(shared_network(), cidr="10.8.0.0/24", gateway="10.8.0.1")
    neighbour.ensure_network(theirs)
    try:
        spec = shared_network()
        networks.ensure_network(spec)
        networks.absent_network(spec.id)
        networks.restore([], [])
        assert "table inet foreign" in run("nft", "list", "tables")
        assert f"{TAG}bforeign" in run("ip", "-o", "link")
        assert neighbour.restore([theirs], []).repaired == ()
    finally:
        neighbour.restore([], [])
        run("ip", "link", "delete", f"{TAG}bforeign")


def test_guest_does_not_reach_another_clouds_guests(
    networks: Networks, make_guest: MakeGuest, networks_folder: Path
) -> None:
    ours = shared_network()
    theirs = replace(shared_network(), cidr="10.8.0.0/24", gateway="10.8.0.1")
    neighbour = Networks("zu12ab", networks_folder / "neighbour")
    networks.ensure_network(ours)
    neighbour.ensure_network(theirs)
    try:
        guest = make_guest(ours, port_on(ours, 5))
        their_port = Port(uuid4(), theirs.id, "52:54:00:00:08:05", "10.8.0.5")
        neighbour.ensure_port(theirs, their_port)
        run("ip", "link", "add", neighbour.tap_name(their_port.id), "type", "veth", "peer", "name", "theirs")
        run("ip", "netns", "add", f"{TAG}theirs")
        run("ip", "link", "set", "theirs", "netns", f"{TAG}theirs", "address", their_port.mac)
        run("ip", "-n", f"{TAG}theirs", "address", "add", "10.8.0.5/24", "dev", "theirs")
        run("ip", "-n", f"{TAG}theirs", "link", "set", "theirs", "up")
        run("ip", "-n", f"{TAG}theirs", "route", "add", "default", "via", "10.8.0.1")
        neighbour.ensure_port(theirs, their_port)
        assert Guest(f"{TAG}theirs", their_port).pings("10.8.0.1")
        assert not guest.pings("10.8.0.5")
        assert not guest.pings("10.8.0.1")
    finally:
        run("ip", "netns", "delete", f"{TAG}theirs", check=False)
        neighbour.restore([], [])


def test_subnet_that_the_host_uses_already_is_refused(networks: Networks, outside: str) -> None:
    with pytest.raises(NetworkDriverError, match="in use on the host's uplink"):
        networks.ensure_network(NetworkSpec(uuid4(), "192.0.2.0/24", "192.0.2.9", nat=True))


def test_two_networks_with_nat_can_not_overlap(networks: Networks) -> None:
    networks.ensure_network(shared_network())
    with pytest.raises(NetworkDriverError, match="overlaps"):
        networks.ensure_network(shared_network())


def test_link_name_that_somebody_else_has_is_refused(networks: Networks) -> None:
    spec = isolated_network()
    run("ip", "link", "add", networks.bridge_name(spec.id), "type", "bridge")
    run("ip", "link", "set", networks.bridge_name(spec.id), "alias", "somebody else's")
    try:
        with pytest.raises(NameClashError):
            networks.ensure_network(spec)
    finally:
        run("ip", "link", "delete", networks.bridge_name(spec.id))


def test_a_port_with_the_gateways_mac_is_refused(networks: Networks) -> None:
    spec = shared_network()
    networks.ensure_network(spec)
    with pytest.raises(Invalid, match="that of the network's gateway"):
        networks.ensure_port(spec, replace(port_on(spec, 5), mac=mac_of_network(spec.id)))


def test_folder_that_the_dhcp_server_can_not_enter_is_refused(networks: Networks, networks_folder: Path) -> None:
    networks_folder.chmod(0o700)
    with pytest.raises(NetworkDriverError, match=r"o\+x"):
        networks.ensure_network(shared_network())
    networks_folder.chmod(0o755)


# What a host can't do


def test_a_host_without_nftables_says_so(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nftables" not in " ".join(networks.lacks())
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nftables can't be used" in " ".join(networks.lacks())


def test_a_host_whose_kernel_filters_no_vlans_says_so_and_refuses_them(outside: str, networks_folder: Path) -> None:
    driver = Networks(TAG, networks_folder, Wiring(vlan_uplink="uplink", vlans=((1, 9),)))
    if not any("VLAN" in what for what in driver.lacks()):
        pytest.skip("this kernel filters VLANs in bridges: tests/lab has the rest")
    assert not driver.can_filter_vlans()
    run("ip", "address", "flush", "dev", "uplink")
    try:
        with pytest.raises(NetworkDriverError, match="no VLAN filtering"):
            driver.ensure_network(NetworkSpec(uuid4(), vlan=5))
    finally:
        driver.restore([], [])


# Crashes


def dies_in_another_function(step: Callable[[], None], died_in: set[str]) -> bool:
    """Runs the step in a process that is killed where it enters a function of the driver that `died_in` lacks."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as told:
            function = told.read()
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        died_in.add(function)
        return died

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        function = f"{code.co_filename}:{code.co_firstlineno}"
        if event == "call" and "/backends/networks/" in function and function not in died_in:
            os.write(writing, function.encode())
            os._exit(9)

    sys.setprofile(watch)
    step()
    os._exit(0)


def public_network() -> NetworkSpec:
    return NetworkSpec(uuid4(), "10.9.0.0/24", "10.9.0.1", public=True)


def tunnelled_network() -> NetworkSpec:
    return replace(isolated_network(), tunnel=Tunnel(4242, (("52:54:00:00:00:77", "192.0.2.7"),)))


@pytest.fixture(scope="module")
def died_in() -> tuple[set[str], set[str]]:
    """The functions that building and removing a network were killed in, of whatever sort it was."""
    return set(), set()


@pytest.mark.parametrize("make_spec", [public_network, tunnelled_network, shared_network, isolated_network])
def test_whatever_a_crash_leaves_is_finished_and_undone(
    outside: str, networks_folder: Path, make_spec: Callable[[], NetworkSpec], died_in: tuple[set[str], set[str]]
) -> None:
    networks = Networks(TAG, networks_folder, Wiring(public_uplink="uplink", tunnel_network="192.0.2.0/24"))
    died = True
    while died:
        spec = replace(make_spec(), cidr6="fd00:9::/64")
        port = replace(port_on(spec, 5), address6="fd00:9::5")

        def build(spec: NetworkSpec = spec, port: Port = port) -> None:
            networks.ensure_network(spec)
            networks.ensure_port(spec, port)

        def remove(spec: NetworkSpec = spec, port: Port = port) -> None:
            networks.absent_port(port.id)
            networks.absent_network(spec.id)

        died = dies_in_another_function(build, died_in[0])
        build()
        assert networks.restore([spec], [port]).repaired == ()
        died = dies_in_another_function(remove, died_in[1]) or died
        remove()
        assert_nothing_left(networks_folder)
        assert run("ip", "neigh", "show", "proxy") == ""


def test_interface_ids_with_the_same_tap_are_refused(networks: Networks, networks_folder: Path) -> None:
    spec = isolated_network()
    port = port_on(spec, 5)
    records.write_port(networks_folder, networks.tap_name(port.id), replace(port, id=UUID(int=1)))
    with pytest.raises(NameClashError, match="both come out as tap"):
        networks.ensure_port(spec, port)
    records.remove_port(networks_folder, networks.tap_name(port.id))
