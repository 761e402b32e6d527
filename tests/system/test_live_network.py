"""Networks on a whole gateway: who reaches whom, and cards plugged into running guests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from live import (
    IP_NETWORK,
    Guest,
    User,
    eventually,
    inline_link,
    make_guest,
    make_key,
    remove,
    removed_at_the_end,
    shared_network,
)

from backends.networks.spec import tap_name
from tests.system.conftest import INFRASTRUCTURE, Gateway

IPV6_NETWORK = "http://altostratus.local/occi/infrastructure/network#ipv6network"
POOLS = "http://schemas.openstack.org/network/floatingippool#"
FIRST, SECOND = "10.99.0.11", "10.99.0.12"


@dataclass(frozen=True)
class Site:
    """A network of the user's own, two guests that are on it and on the shared one, one on the shared one only."""

    network: str
    first: Guest
    second: Guest
    outsider: Guest


@pytest.fixture(scope="module")
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


@pytest.fixture(scope="module")
def site(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    key = make_key(tmp_path_factory.mktemp("key"))
    ranges = {"occi.network.address": "10.99.0.0/24", "local.altostratus.network.address6": "fd00:99::/64"}
    network = user.make("network", ranges, [IP_NETWORK, IPV6_NETWORK])
    user.wait_for(network, "active")
    shared = shared_network(user)

    def on_both(address: str) -> Guest:
        own = inline_link(network, {"occi.networkinterface.address": address})
        return make_guest(user, key, links=[inline_link(shared), own])

    site = Site(network, on_both(FIRST), on_both(SECOND), make_guest(user, key))
    for guest in (site.first, site.second, site.outsider):
        guest.wait_for_boot()
    yield site
    for path in (site.first.path, site.second.path, site.outsider.path, network):
        remove(user, path)


def test_guests_of_one_network_reach_each_other(site: Site) -> None:
    site.first.wait_for(f"ip -4 -o address show dev eth1 | grep -q {FIRST}/24")
    eventually(lambda: site.first.pings(SECOND), "an answer from the second guest")
    assert site.second.pings(FIRST)


def test_a_guest_of_another_network_reaches_nobody_in_it(site: Site) -> None:
    assert not site.outsider.pings(FIRST)
    site.outsider.output("ip address add 10.99.0.13/24 dev eth0")
    try:
        assert not site.outsider.pings(FIRST)
    finally:
        site.outsider.output("ip address delete 10.99.0.13/24 dev eth0")
    assert site.outsider.pings(site.second.address)


def test_guests_reach_each_other_and_the_host_over_ipv6_but_no_neighbour(user: User, site: Site) -> None:
    def address6(guest: Guest, interface: str) -> str:
        (link,) = (
            link
            for link in user.get(guest.path)["links"]
            if link["attributes"].get("occi.networkinterface.interface") == interface
        )
        address = str(link["attributes"]["local.altostratus.networkinterface.address6"])
        guest.wait_for(f"ip -6 -o address show dev {interface} | grep -q {address}/64")
        return address

    own, theirs = address6(site.first, "eth1"), address6(site.second, "eth1")
    shared = address6(site.second, "eth0")
    assert own.startswith("fd00:99::")
    eventually(lambda: site.first.pings(theirs), "an answer from the second guest")
    assert site.second.pings(own)
    eventually(lambda: site.outsider.pings(shared), "an answer on the shared network")
    assert site.outsider.pings("fd00:130::1")
    assert not site.outsider.pings(own)
    site.outsider.output("ip -6 address add fd00:99::13/64 dev eth0")
    try:
        assert not site.outsider.pings(own)
    finally:
        site.outsider.output("ip -6 address delete fd00:99::13/64 dev eth0")


def test_a_vlan_that_the_site_does_not_offer_is_refused_with_the_reason(user: User) -> None:
    refused = user.send(
        "POST", "/network/", {"kind": f"{INFRASTRUCTURE}network", "attributes": {"occi.network.vlan": 100}}
    )
    assert refused.status_code == 409
    assert "VLAN 100" in refused.text


def test_an_interface_is_limited_and_counted_under_a_running_guest(gateway: Gateway, user: User, site: Site) -> None:
    own = "local.altostratus.networkinterface"
    path = user.link_paths(site.first.path, "networkinterface")[1]
    tap = tap_name(gateway.cloud_tag(), UUID(path.rpartition("/")[2]))
    before = int(user.shown(path)[f"{own}.traffic.sent_packets"])
    user.change(path, {f"{own}.bandwidth.ingress_kbit_s": 50000, f"{own}.bandwidth.egress_kbit_s": 60000})
    eventually(lambda: "rate 50Mbit" in host_output("tc", "qdisc", "show", "dev", tap), "a limit at the tap")
    assert f"{tap}_60000" in host_output("nft", "list", "ruleset", "bridge")
    site.first.output(f"ping -c 20 -i 0.2 -s 1000 {SECOND}")
    eventually(lambda: int(user.shown(path)[f"{own}.traffic.sent_packets"]) >= before + 20, "the packets counted")
    shown = user.shown(path)
    assert shown[f"{own}.traffic.sent_bytes"] >= 20 * 1042
    assert shown[f"{own}.traffic.received_packets"] >= 20
    assert f'altostratus_interface_sent_packets_total{{interface="{path.rpartition("/")[2]}"' in (
        user.http.get("/metrics").text
    )


def host_output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


def test_a_network_that_is_down_carries_nothing(user: User, site: Site) -> None:
    eventually(lambda: site.first.pings(SECOND), "an answer from the second guest")
    user.act(site.network, "down")
    user.wait_for(site.network, "inactive")
    assert not site.first.pings(SECOND)
    assert site.first.pings(site.second.address)

    user.act(site.network, "up")
    user.wait_for(site.network, "active")
    eventually(lambda: site.first.pings(SECOND), "an answer from the second guest")


def test_a_card_plugged_into_a_running_guest_gets_its_address(user: User, site: Site) -> None:
    link = user.link("networkinterface", site.outsider.path, site.network)
    address = user.shown(link)["occi.networkinterface.address"]
    site.outsider.wait_for(f"ip -4 -o address | grep -q {address}/24")
    eventually(lambda: site.outsider.pings(FIRST), "an answer from the first guest")

    user.delete(link)
    eventually(lambda: not site.outsider.answers("test -e /sys/class/net/eth1"), "the card's leaving the guest")
    assert not site.outsider.pings(FIRST)


def test_a_running_guest_gets_the_address_that_its_card_is_given(user: User, site: Site) -> None:
    link = user.link("networkinterface", site.outsider.path, site.network)
    site.outsider.wait_for("ip -4 -o address show dev eth1 | grep -q 10.99.0.")
    user.change(link, {"occi.networkinterface.address": "10.99.0.77", "occi.networkinterface.mac": "52:54:00:99:00:77"})
    site.outsider.wait_for("ip -4 -o address show dev eth1 | grep -q 10.99.0.77/24")
    assert site.outsider.output("cat /sys/class/net/eth1/address") == "52:54:00:99:00:77"
    user.wait_for(link, "active")
    eventually(lambda: site.outsider.pings(FIRST), "an answer from the first guest")

    user.change(link, {"occi.networkinterface.address": "10.99.0.78"})
    site.outsider.wait_for("ip -4 -o address show dev eth1 | grep -q 10.99.0.78/24")
    user.delete(link)
    eventually(lambda: not site.outsider.answers("test -e /sys/class/net/eth1"), "the card's leaving the guest")


def test_a_reserved_address_survives_its_guest_and_moves_to_a_running_one(
    user: User, site: Site, tmp_path: Path
) -> None:
    kept = {"occi.ipreservation.address": "10.99.0.50"}
    reservation = user.make("ipreservation", kept, [f"{POOLS}network-{site.network.rpartition('/')[2]}"])
    kept6 = str(user.shown(reservation)["local.altostratus.ipreservation.address6"])

    def is_used() -> bool:
        return bool(user.shown(reservation)["occi.ipreservation.used"])

    def answers() -> bool:
        return site.first.pings("10.99.0.50") and site.first.pings(kept6)

    with removed_at_the_end(user, reservation):
        links = [inline_link(shared_network(user)), inline_link(reservation)]
        guest = make_guest(user, make_key(tmp_path), links=links)
        with removed_at_the_end(user, guest.path):
            guest.wait_for_boot()
            guest.wait_for("ip -4 -o address show dev eth1 | grep -q 10.99.0.50/24")
            eventually(answers, "an answer from the guest with the reserved address")
            assert user.http.delete(reservation).status_code == 409
        eventually(lambda: not is_used(), "the deleted guest's letting go of the address")
        assert not site.first.pings("10.99.0.50")

        link = user.link("networkinterface", site.outsider.path, reservation)
        site.outsider.wait_for("ip -4 -o address show dev eth1 | grep -q 10.99.0.50/24")
        eventually(answers, "an answer from the guest that it has moved to")
        user.delete(link)
        eventually(lambda: not is_used(), "the running guest's letting go of the address")
        assert not site.first.pings("10.99.0.50")


def test_a_guest_started_on_a_network_that_was_down_is_on_it(user: User, site: Site) -> None:
    user.act(site.network, "down")
    user.wait_for(site.network, "inactive")
    site.second.stop()
    site.second.start()
    user.act(site.network, "up")
    user.wait_for(site.network, "active")
    eventually(lambda: site.first.pings(SECOND), "an answer from the second guest")


def test_a_network_in_use_is_not_deleted_and_the_shared_one_never(user: User, site: Site) -> None:
    assert user.http.delete(site.network).status_code == 409
    assert user.http.delete(shared_network(user)).status_code in (400, 403)
    assert user.state(site.network) == "active"


def test_an_unused_network_is_deleted(user: User) -> None:
    network = user.make("network", {"occi.network.address": "10.98.0.0/24"}, [IP_NETWORK])
    with removed_at_the_end(user, network):
        user.wait_for(network, "active")
        user.delete(network)
        assert not user.exists(network)
