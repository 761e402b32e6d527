"""Names on the host, and what networks and ports are refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Invalid
from backends.networks.firewall import port_elements
from backends.networks.spec import (
    NetworkSpec,
    Port,
    bridge_name,
    check_cloud_tag,
    check_network,
    check_port,
    dhcp_link_name,
    own_link_pattern,
    tap_name,
)

NETWORK = NetworkSpec(uuid4(), "10.1.0.0/24", "10.1.0.1", nat=True)
PORT = Port(uuid4(), NETWORK.id, "52:54:00:00:00:01", "10.1.0.5", "web.example.org")


@given(st.uuids())
def test_link_names_fit_the_kernel_and_tell_kinds_apart(identity: UUID) -> None:
    bridge, link, tap = (name("as12ab", identity) for name in (bridge_name, dhcp_link_name, tap_name))
    assert len({bridge, link, tap}) == 3
    assert {len(bridge), len(link), len(tap)} == {15}
    own = own_link_pattern("as12ab")
    assert own.fullmatch(bridge)
    assert own.fullmatch(link)
    assert not own.fullmatch(tap)
    assert not own_link_pattern("as12ac").fullmatch(bridge)


@pytest.mark.parametrize("tag", ["", "as12a", "as12abc", "AS12AB", "1s12ab", "as12a*", "as/2ab"])
def test_tag_of_another_form_is_refused(tag: str) -> None:
    with pytest.raises(Invalid):
        check_cloud_tag(tag)


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(uuid4(), nat=True),
        NetworkSpec(uuid4(), gateway="10.1.0.1"),
        NetworkSpec(uuid4(), "10.1.0.0/24", nat=True),
        NetworkSpec(uuid4(), "10.1.0.0/24", "10.2.0.1"),
        NetworkSpec(uuid4(), "10.1.0.0/24", "10.1.0.0"),
        NetworkSpec(uuid4(), "10.1.0.0/24", "10.1.0.1\n"),
    ],
)
def test_network_that_makes_no_sense_is_refused(spec: NetworkSpec) -> None:
    with pytest.raises(Invalid):
        check_network(spec)


def test_sensible_port_is_accepted() -> None:
    check_port(NETWORK, PORT)


@pytest.mark.parametrize(
    "port",
    [
        replace(PORT, address=None),
        replace(PORT, address="10.1.0.1"),
        replace(PORT, address="10.1.0.254"),
        replace(PORT, address="10.1.0.255"),
        replace(PORT, address="10.2.0.5"),
        replace(PORT, network_id=uuid4()),
        replace(PORT, mac="52:54:00:00:00:01,set:x"),
        replace(PORT, hostname="web,10.1.0.9"),
        replace(PORT, hostname="web\n"),
        replace(PORT, hostname="../web"),
        replace(PORT, hostname=""),
        replace(PORT, hostname="-web"),
    ],
)
def test_port_that_could_harm_is_refused(port: Port) -> None:
    with pytest.raises(Invalid):
        check_port(NETWORK, port)


def test_port_on_a_network_without_subnet_has_no_address() -> None:
    plain = NetworkSpec(NETWORK.id)
    with pytest.raises(Invalid):
        check_port(plain, PORT)
    check_port(plain, replace(PORT, address=None))


def test_port_is_two_entries_whatever_the_network() -> None:
    for port in (PORT, replace(PORT, address=None)):
        assert sum(len(members) for members in port_elements("as12ab", port).values()) == 2
