"""Public networks by the network driver: guests whose addresses are the site's, asked for on the host's uplink."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from backends.networks.driver import Networks
from backends.networks.errors import NetworkDriverError
from backends.networks.spec import NetworkSpec, Port, Wiring
from tests.conftest import wait_until
from tests.system.namespaces import (
    OUTSIDE_ADDRESS,
    TAG,
    Guest,
    MakeGuest,
    inside,
    isolated_network,
    plug,
    port_on,
    run,
    shared_network,
    unplug,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

POOL6 = "2001:db8:9::/64"
OUTSIDE6 = "2001:db8:2::2"


@pytest.fixture
def networks(outside: str, networks_folder: Path) -> Iterator[Networks]:
    driver = Networks(TAG, networks_folder, Wiring(public_uplink="uplink"))
    run("ip", "address", "add", "2001:db8:2::1/64", "dev", "uplink", "nodad")
    run("ip", "-n", outside, "address", "add", f"{OUTSIDE6}/64", "dev", "eth0", "nodad")
    run("ip", "-n", outside, "route", "add", POOL6, "dev", "eth0")
    yield driver
    driver.restore([], [])
    assert run("ip", "neigh", "show", "proxy") == ""
    assert run("ip", "-6", "neigh", "show", "proxy") == ""


def public_network() -> NetworkSpec:
    """A part of the network that the uplink is on, and a prefix that the world outside takes to be there as well."""
    return NetworkSpec(uuid4(), "192.0.2.128/28", "192.0.2.129", cidr6=POOL6, public=True)


def public_port(spec: NetworkSpec, number: int) -> Port:
    mac = f"52:54:00:00:01:{number:02x}"
    return Port(uuid4(), spec.id, mac, f"192.0.2.{128 + number}", address6=f"2001:db8:9::{number:x}")


def routed(guest: Guest) -> Guest:
    guest.command("ip", "-6", "route", "replace", "default", "via", "2001:db8:9::1", "dev", "eth0")
    return guest


@pytest.fixture
def public(networks: Networks) -> NetworkSpec:
    spec = public_network()
    networks.ensure_network(spec)
    return spec


def test_guest_and_world_reach_each_other_under_the_guests_own_address(
    networks: Networks, make_guest: MakeGuest, public: NetworkSpec, outside: str
) -> None:
    guest = routed(make_guest(public, public_port(public, 5)))
    outsider = Guest(outside, guest.port)
    assert guest.pings(OUTSIDE_ADDRESS)
    assert guest.pings(OUTSIDE6)
    assert outsider.pings("192.0.2.133")
    assert outsider.pings(guest.port.address6 or "")
    (uplink,) = json.loads(run("ip", "-json", "link", "show", "uplink"))
    assert uplink["address"] in run("ip", "-n", outside, "neigh", "show", "192.0.2.133")


def test_guests_of_a_public_network_reach_each_other_and_ask_for_addresses(
    networks: Networks, make_guest: MakeGuest, public: NetworkSpec
) -> None:
    one, two = (routed(make_guest(public, public_port(public, number))) for number in (5, 6))
    assert one.pings("192.0.2.134")
    assert one.pings(two.port.address6 or "")
    lease = one.asks_dhcp()
    assert (lease["ip"], lease["router"]) == ("192.0.2.133", "192.0.2.129")


def test_guest_of_a_public_network_reaches_neither_the_host_nor_guests_of_other_networks(
    networks: Networks, make_guest: MakeGuest, public: NetworkSpec
) -> None:
    shared, isolated = shared_network(), replace(isolated_network(), cidr="10.7.0.0/24")
    for spec in (shared, isolated):
        networks.ensure_network(spec)
    guest = routed(make_guest(public, public_port(public, 5)))
    local = make_guest(shared, port_on(shared, 5))
    make_guest(isolated, replace(port_on(isolated, 6), address="10.7.0.6"))
    assert guest.pings("192.0.2.129")  # its gateway, which is the host's address here
    assert not guest.pings("192.0.2.1")
    assert not guest.pings("2001:db8:2::1")
    assert not guest.pings("10.9.0.5")
    assert not guest.pings("10.7.0.6")
    assert local.pings("192.0.2.133")  # as the world does


@pytest.mark.parametrize("by_tcp", [False, True])
def test_guests_are_answered_by_their_gateways_dns_and_the_world_is_not(
    networks: Networks, make_guest: MakeGuest, public: NetworkSpec, outside: str, host_namespace: str, by_tcp: bool
) -> None:
    local = replace(shared_network(), cidr6="fd00:9::/64")
    networks.ensure_network(local)
    run("ip", "-n", outside, "route", "add", "10.9.0.0/24", "via", "192.0.2.1")
    run("ip", "-n", outside, "route", "add", "fd00:9::/64", "via", "2001:db8:2::1")
    run("ip", "-n", outside, "route", "add", "192.0.2.129/32", "via", "192.0.2.1")
    run("ip", "-n", outside, "route", "replace", POOL6, "via", "2001:db8:2::1")
    port = replace(public_port(public, 5), hostname="web")
    public_guest = routed(make_guest(public, port))
    local_guest = make_guest(local, replace(port_on(local, 5), address6="fd00:9::5", hostname="local"))
    gateways = ["192.0.2.129", "2001:db8:9::1", "10.9.0.1", "fd00:9::1"]
    for guest, own in ((public_guest, gateways[:2]), (local_guest, gateways[2:])):
        lease = guest.asks_dhcp()
        for gateway in own:
            wait_until(partial(learns_its_own_address, guest, lease["ip"], gateway, by_tcp), 10)
    host, outsider = Guest(host_namespace, port), Guest(outside, port)
    for gateway in gateways:
        assert host.asks_dns(gateway, "web", by_tcp=by_tcp)
        assert outsider.pings(gateway)
        assert outsider.asks_dns(gateway, "web", by_tcp=by_tcp) is None, gateway


def learns_its_own_address(guest: Guest, address: str, gateway: str, by_tcp: bool) -> bool:
    answer = guest.asks_dns(gateway, guest.port.hostname or "", by_tcp=by_tcp)
    return answer is not None and answer.endswith(socket.inet_aton(address))


def test_an_address_is_answered_for_as_long_as_somebody_has_it(
    networks: Networks, make_guest: MakeGuest, public: NetworkSpec, outside: str
) -> None:
    guest = make_guest(public, public_port(public, 5))
    outsider = Guest(outside, guest.port)
    assert outsider.pings("192.0.2.133")
    networks.absent_port(guest.port.id)
    assert "192.0.2.133" not in run("ip", "neigh", "show", "proxy")
    run("ip", "-n", outside, "neigh", "flush", "all")
    assert not outsider.pings("192.0.2.133")


def test_lost_answers_and_routes_are_restored(networks: Networks, public: NetworkSpec) -> None:
    port = public_port(public, 5)
    networks.ensure_port(public, port)
    assert networks.restore([public], [port]).repaired == ()
    for damage in (
        ["ip", "neigh", "delete", "proxy", "192.0.2.133", "dev", "uplink"],
        ["ip", "-6", "neigh", "add", "proxy", "2001:db8:9::77", "dev", "uplink"],
        ["ip", "route", "delete", "192.0.2.133/32"],
        ["ip", "link", "delete", networks.bridge_name(public.id)],
    ):
        run(*damage)
        assert networks.restore([public], [port]).repaired, damage
        assert networks.restore([public], [port]).repaired == (), damage


def test_a_host_without_an_uplink_refuses_public_addresses(networks_folder: Path, host_namespace: str) -> None:
    driver = Networks(TAG, networks_folder)
    spec = public_network()
    try:
        with pytest.raises(NetworkDriverError, match="public_uplink"):
            driver.ensure_network(spec)
    finally:
        driver.restore([], [])


@pytest.fixture
def street() -> Iterator[str]:
    """What the uplinks of several hosts are on."""
    name = f"{TAG}street"
    run("ip", "netns", "add", name)
    with inside(name):
        run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        run("sysctl", "-qw", "net.ipv6.conf.br0.accept_dad=0", "net.ipv6.conf.all.forwarding=1")
        run("ip", "address", "add", "192.0.2.2/24", "dev", "br0")
        run("ip", "address", "add", f"{OUTSIDE6}/64", "dev", "br0", "nodad")
        run("ip", "link", "set", "br0", "up")
        run("ip", "route", "add", POOL6, "dev", "br0")
    yield name
    run("ip", "netns", "delete", name)


def test_the_street_learns_at_once_that_an_address_has_moved_to_another_host(
    networks_folder: Path, street: str
) -> None:
    def host_of(address: str) -> str:
        _, _, mac = run("ip", "-n", street, "neigh", "show", address, "dev", "br0").partition("lladdr ")
        return mac.split()[0]

    with inside(street):  # which doesn't ask again by itself for a long time
        for family in ("ipv4", "ipv6"):
            run("sysctl", "-qw", f"net.{family}.neigh.br0.base_reachable_time_ms=3600000")
            run("sysctl", "-qw", f"net.{family}.neigh.br0.delay_first_probe_time=3600")
        run("sysctl", "-qw", "net.ipv4.neigh.br0.locktime=0")
    spec = public_network()
    with ExitStack() as stack:
        one, _ = [stack.enter_context(guest_of_a_host_on(street, spec, number, networks_folder)) for number in (1, 2)]
        outsider = Guest(street, one.port)
        moving = [one.port.address or "", one.port.address6 or ""]
        assert all(outsider.pings(address) for address in moving)
        before = [host_of(address) for address in moving]
        with inside(f"{TAG}rack1"):
            driver_of(1, networks_folder).absent_port(one.port.id)
        with inside(f"{TAG}rack2"):
            driver_of(2, networks_folder).ensure_port(spec, replace(one.port, id=uuid4()))
            (uplink,) = json.loads(run("ip", "-json", "link", "show", "uplink"))
        assert uplink["address"] not in before
        wait_until(lambda: [host_of(address) for address in moving] == [uplink["address"]] * 2, 10)


def test_guests_on_two_hosts_reach_each_other_and_the_street_under_their_own_addresses(
    networks_folder: Path, street: str
) -> None:
    with ExitStack() as stack:
        spec = public_network()
        one, two = guests = [
            stack.enter_context(guest_of_a_host_on(street, spec, number, networks_folder)) for number in (1, 2)
        ]
        outsider = Guest(street, one.port)
        for guest in guests:
            assert outsider.pings(guest.port.address or "")
            assert outsider.pings(guest.port.address6 or "")
        assert one.pings(two.port.address or "")
        assert two.pings(one.port.address6 or "")


def driver_of(number: int, networks_folder: Path) -> Networks:
    return Networks(f"zt12a{number}", networks_folder / f"{TAG}rack{number}", Wiring(public_uplink="uplink"))


@contextmanager
def guest_of_a_host_on(street: str, spec: NetworkSpec, number: int, networks_folder: Path) -> Iterator[Guest]:
    """A host whose uplink is on the street, and a guest on it that takes the others for behind its router."""
    host = f"{TAG}rack{number}"
    run("ip", "netns", "add", host)
    try:
        run("ip", "-n", street, "link", "add", host, "type", "veth", "peer", "name", "uplink", "netns", host)
        run("ip", "-n", street, "link", "set", host, "master", "br0", "up")
        with inside(host):
            run("sysctl", "-qw", "net.ipv6.conf.uplink.accept_dad=0")
            run("ip", "address", "add", f"192.0.2.{10 + number}/24", "dev", "uplink")
            run("ip", "address", "add", f"2001:db8:2::1{number}/64", "dev", "uplink", "nodad")
            run("ip", "link", "set", "uplink", "up")
            run("ip", "route", "add", "default", "via", OUTSIDE6)
            driver = driver_of(number, networks_folder)
            driver.ensure_network(spec)
            guest = Guest(f"{host}g", public_port(spec, 4 + number))
            plug(driver, spec, guest)
            routed(guest).command("ip", "-6", "route", "delete", POOL6, "dev", "eth0")
            try:
                yield guest
            finally:
                unplug(driver, guest)
                driver.restore([], [])
    finally:
        run("ip", "netns", "delete", host)
