"""Which hosts have which networks, and what that means for the machines that want to be on them."""

from __future__ import annotations

from uuid import UUID

import pytest

from backends.cloud import Cloud
from backends.errors import Conflict
from backends.model import Network, NetworkClass, NewInterface, NewMachine, NewNetwork
from backends.placement import place_waiting
from backends.store.database import Connection, query


@pytest.fixture
def rack2(sql: Connection) -> str:
    """Smaller than rack1, which would be chosen where nothing speaks against it."""
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, heartbeat_at)"
        " VALUES ('rack2', 8, 1024, 1000000000000, 'qemu', now())"
    )
    return "rack2"


@pytest.fixture
def public(cloud: Cloud, sql: Connection) -> Network:
    """A site's network that no host has yet."""
    sql.execute(
        "INSERT INTO network (id, title, cidr, gateway, allocation, shared, class)"
        " VALUES (gen_random_uuid(), 'public', '192.0.2.0/24', '192.0.2.1', 'dynamic', true, 'public')"
    )
    return next(network for network in cloud.networks() if network.network_class is NetworkClass.PUBLIC)


def host_of(sql: Connection, kind: str, resource_id: UUID) -> str | None:
    row = sql.execute(f"SELECT host FROM {kind} WHERE id = %s", [resource_id]).fetchone()
    assert row is not None
    return row[0]


def give(sql: Connection, host: str, classes: str = "{local}", vlans: str = "{}") -> None:
    sql.execute("UPDATE host SET classes = %s, vlans = %s WHERE name = %s", [classes, vlans, host])


def told(sql: Connection, host: str) -> dict[UUID, bool]:
    """The networks that a host's sweep looks after, and whether it tells their state."""
    return {row[0]: row[-1] for row in sql.execute(query("agent.sweep_networks"), {"host": host})}


def test_a_machine_is_put_where_its_vlan_is(cloud: Cloud, sql: Connection, rack2: str) -> None:
    give(sql, rack2, vlans="{[100,200)}")
    network = cloud.create_network(NewNetwork(vlan=120, cidr="10.9.0.0/24"))
    assert host_of(sql, "network", network.id) == rack2

    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),)))

    assert host_of(sql, "machine", machine.id) == rack2
    assert host_of(sql, "machine", cloud.create_machine(NewMachine()).id) == "rack1"


def test_a_vlan_that_no_host_has_is_refused(cloud: Cloud, other_cloud: Cloud, sql: Connection, rack2: str) -> None:
    own = cloud.create_network(NewNetwork())
    with pytest.raises(Conflict, match="no host of the site has the VLAN 300"):
        cloud.create_network(NewNetwork(vlan=300))
    with pytest.raises(Conflict, match="no host of the site has the VLAN 300"):
        cloud.update_network(own.id, {"vlan": 300})

    give(sql, rack2, vlans="{[300,301)}")
    network = other_cloud.create_network(NewNetwork(vlan=300))
    assert host_of(sql, "network", network.id) == rack2


def test_a_vlan_is_taken_before_the_cloud_has_hosts(cloud: Cloud, sql: Connection) -> None:
    sql.execute("DELETE FROM host")
    network = cloud.create_network(NewNetwork(vlan=300))
    assert host_of(sql, "network", network.id) is None


def test_a_machine_waits_for_a_host_with_its_network(
    cloud: Cloud, sql: Connection, rack2: str, public: Network
) -> None:
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(public.id),)))
    assert host_of(sql, "machine", machine.id) is None
    assert "no host has the network public" in machine.state_message

    give(sql, rack2, classes="{local,public}")

    assert place_waiting(sql) == [machine.id]
    assert host_of(sql, "machine", machine.id) == rack2


def test_a_machine_is_started_only_where_its_networks_still_are(
    cloud: Cloud, sql: Connection, rack2: str, public: Network
) -> None:
    give(sql, rack2, classes="{local,public}")
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(public.id),)))
    sql.execute("UPDATE machine SET state = 'inactive', wanted = 'inactive', admitted = false")
    give(sql, rack2)

    assert "host rack2 doesn't have the network public" in cloud.start_machine(machine.id).state_message


def test_a_machine_is_not_plugged_into_a_network_that_its_host_does_not_have(
    cloud: Cloud, sql: Connection, rack2: str
) -> None:
    give(sql, rack2, vlans="{[100,200)}")
    network = cloud.create_network(NewNetwork(vlan=120))
    machine = cloud.create_machine(NewMachine())

    with pytest.raises(Conflict, match="on host rack1, which doesn't have the network VLAN 120"):
        cloud.create_interface(machine.id, NewInterface(network.id))
    give(sql, "rack1", vlans="{[120,121)}")
    assert cloud.create_interface(machine.id, NewInterface(network.id)).network_id == network.id


def test_only_hosts_that_have_a_network_of_the_sites_look_after_it(
    cloud: Cloud, sql: Connection, rack2: str, public: Network
) -> None:
    give(sql, rack2, classes="{local,public}")
    assert public.id not in told(sql, "rack1")
    assert told(sql, rack2)[public.id]

    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(public.id),)))
    give(sql, rack2)

    assert host_of(sql, "machine", machine.id) == rack2
    assert told(sql, rack2)[public.id] is False  # its machine goes on, but nobody new is let in


def test_a_network_of_the_sites_goes_with_the_last_host_that_has_it(
    cloud: Cloud, sql: Connection, rack2: str, public: Network
) -> None:
    def withdraw() -> set[NetworkClass | None]:
        sql.execute(query("agent.withdraw_site_networks"))
        return {network.network_class for network in cloud.networks()}

    give(sql, rack2, classes="{local,public}")
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(public.id),)))
    assert withdraw() == {NetworkClass.LOCAL, NetworkClass.PUBLIC}
    give(sql, rack2)
    assert withdraw() == {NetworkClass.LOCAL, NetworkClass.PUBLIC}, "a machine is still on it"
    sql.execute("DELETE FROM interface WHERE machine_id = %s", [machine.id])
    assert withdraw() == {NetworkClass.LOCAL}
