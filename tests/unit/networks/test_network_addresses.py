"""What addresses the cloud accepts, chooses and derives."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Invalid, NoCapacity
from backends.networks.addresses import (
    address6_of,
    check_host_address,
    check_host_address6,
    default_gateway,
    dhcp_address,
    free_address,
    mac_of,
    parse_mac,
    parse_subnet,
    parse_subnet6,
    reserved_addresses,
)

subnets = st.builds(
    lambda number, prefix: IPv4Network((0x0A000000 | number, prefix), strict=False),
    st.integers(0, 2**24 - 1),
    st.integers(8, 29),
)


@given(subnets, st.data())
def test_free_address_is_a_hosts_and_nobodys(subnet: IPv4Network, data: st.DataObject) -> None:
    first = int(subnet.network_address)
    offsets = data.draw(st.sets(st.integers(0, min(subnet.num_addresses - 1, 300)), max_size=300))
    taken = {str(IPv4Address(first + offset)) for offset in offsets}
    gateway = data.draw(st.sampled_from([None, default_gateway(str(subnet))]))
    try:
        chosen = free_address(str(subnet), gateway, taken)
    except NoCapacity:
        assert len(taken) + 3 >= subnet.num_addresses - 3
        return
    assert chosen not in taken
    assert chosen not in reserved_addresses(str(subnet), gateway)
    assert check_host_address(chosen, subnet) == IPv4Address(chosen)


@given(subnets)
def test_whole_subnet_can_be_given_out_and_not_one_address_more(subnet: IPv4Network) -> None:
    if subnet.prefixlen < 26:
        subnet = IPv4Network((subnet.network_address, 26))
    gateway, taken = default_gateway(str(subnet)), set[str]()
    for _ in range(subnet.num_addresses - 4):
        taken.add(free_address(str(subnet), gateway, taken))
    with pytest.raises(NoCapacity):
        free_address(str(subnet), gateway, taken)


@given(subnets, st.booleans())
def test_dhcp_server_never_has_the_gateways_address(subnet: IPv4Network, last: bool) -> None:
    gateway = str(subnet.broadcast_address - 1) if last else default_gateway(str(subnet))
    server = dhcp_address(str(subnet), gateway)
    assert server != gateway
    check_host_address(server, subnet)


@pytest.mark.parametrize(
    "cidr",
    [
        "127.0.0.0/24",
        "169.254.10.0/24",
        "224.0.0.0/24",
        "0.0.0.0/8",
        "255.255.255.0/24",
        "10.0.0.0/30",
        "10.0.0.0/32",
        "0.0.0.0/0",
        "10.0.0.1/24",
        "10.0.0.0",
        "10.0.0.0/255.255.255.0",
        "fd00::/64",
        "",
        "10.0.0.0/24\ndhcp-script=/bin/sh",
    ],
)
def test_subnet_that_no_network_can_have_is_refused(cidr: str) -> None:
    with pytest.raises(Invalid):
        parse_subnet(cidr)


@given(st.uuids())
def test_derived_mac_is_unicast_locally_administered_and_stable(identity: UUID) -> None:
    mac = mac_of(identity)
    assert parse_mac(mac) == mac == mac_of(identity)
    assert int(mac[:2], 16) & 0b11 == 0b10


@pytest.mark.parametrize(
    "mac",
    [
        "01:00:5e:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "fe:00:00:00:00:01",
        "52:54:00:00:00",
        "5254.0000.0001",
    ],
)
def test_mac_that_no_machine_can_have_is_refused(mac: str) -> None:
    with pytest.raises(Invalid):
        parse_mac(mac)


@given(st.uuids())
def test_address_made_of_a_mac_is_its_owners_and_nobody_elses(identity: UUID) -> None:
    mac, subnet = mac_of(identity), parse_subnet6("fd00:1::/64")
    address = address6_of("fd00:1::/64", mac)

    assert str(check_host_address6(address, subnet, mac)) == address
    with pytest.raises(Invalid, match="another MAC address"):
        check_host_address6(address, subnet, "02:00:00:00:00:01")


def test_rfc_4291s_own_example_of_an_address_made_of_a_mac() -> None:
    assert address6_of("2001:db8::/64", "34:56:78:9a:bc:de") == "2001:db8::3656:78ff:fe9a:bcde"
