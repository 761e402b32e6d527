"""Networks and interfaces through HTTP and the real door: their addresses, IPv4 and IPv6."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from occi_client import (
    COMPUTE,
    INFRASTRUCTURE,
    INTERFACE,
    IP_NETWORK,
    NETWORK,
    ORIGIN,
    STORAGE,
    STORAGE_LINK,
    Client,
    action,
)

from backends.cloud import Cloud
from backends.model import NewInterface, NewMachine, NewNetwork, Role
from backends.networks.addresses import mac_of_network
from backends.networks.spec import tap_name
from backends.store.database import Connection, Database
from tests.conftest import SIZES, wait_until

IPV6_NETWORK = 'ipv6network; scheme="http://altostratus.local/occi/infrastructure/network#"; class="mixin"'
ADDRESS, ADDRESS6 = "occi.network.address", "local.altostratus.network.address6"
BOTH = f'{ADDRESS}="10.1.0.0/24", {ADDRESS6}="fd00:1::/64"'


@pytest.fixture
def client(cloud: Cloud, image: str) -> Client:
    return Client(cloud)


def dual_stack(client: Client) -> str:
    return client.make("/network/", NETWORK, IP_NETWORK, IPV6_NETWORK, attributes=BOTH)


def plugged(client: Client, network: str, attributes: str = "") -> str:
    compute = client.make("/compute/", COMPUTE)
    ends = f'occi.core.source="{compute}", occi.core.target="{network}"'
    return client.make("/networkinterface/", INTERFACE, attributes=f"{ends}, {attributes}" if attributes else ends)


def test_a_network_with_two_ranges_shows_both(client: Client) -> None:
    network = dual_stack(client)

    shown = client.text(network)
    assert f'{ADDRESS}="10.1.0.0/24"' in shown
    assert f'{ADDRESS6}="fd00:1::/64"' in shown
    assert "Category: ipnetwork;" in shown
    assert "Category: ipv6network;" in shown
    sent_back = client.send("PUT", network, body=shown, content_type="text/plain")
    assert sent_back.status_code == 200, sent_back.text
    assert client.text(network) == shown


def test_a_network_with_ipv6_alone_has_it_where_the_standard_says(client: Client) -> None:
    network = client.make("/network/", NETWORK, IP_NETWORK, attributes=f'{ADDRESS}="fd00:1::/64"')

    assert f'{ADDRESS}="fd00:1::/64"' in client.text(network)
    interface = plugged(client, network)
    assert 'occi.networkinterface.address="fd00:1::' in client.text(interface)
    found = client.send("GET", "/network/", NETWORK, attributes=f'{ADDRESS}="fd00:1::/64"', accept="text/uri-list")
    assert found.text.strip().endswith(network)


@pytest.mark.parametrize("cidr", ["fd00:1::/48", "fe80::/64", "ff02::/64", "::/64", "fec0::/64"])
def test_a_range_that_no_network_can_have_is_refused(client: Client, cidr: str) -> None:
    refused = client.send("POST", "/network/", NETWORK, IP_NETWORK, attributes=f'{ADDRESS}="{cidr}"')

    assert refused.status_code == 400
    assert cidr in refused.text


def test_an_interface_gets_the_address_that_its_guest_makes_itself(client: Client) -> None:
    interface = plugged(client, dual_stack(client), 'occi.networkinterface.mac="52:54:00:00:00:05"')

    shown = client.text(interface)
    assert 'occi.networkinterface.address="10.1.0.1"' in shown
    assert 'local.altostratus.networkinterface.address6="fd00:1::5054:ff:fe00:5"' in shown
    changed = client.send("POST", interface, INTERFACE, attributes='occi.networkinterface.mac="52:54:00:00:00:06"')
    assert changed.status_code == 200, changed.text
    assert 'local.altostratus.networkinterface.address6="fd00:1::5054:ff:fe00:6"' in client.text(interface)


def test_a_chosen_address_is_honoured_or_refused_with_the_reason(client: Client) -> None:
    network = dual_stack(client)
    chosen = "local.altostratus.networkinterface.address6"
    interface = plugged(client, network, f'{chosen}="fd00:1::beef"')
    assert f'{chosen}="fd00:1::beef"' in client.text(interface)
    assert 'occi.networkinterface.allocation="static"' in client.text(interface)

    compute = client.make("/compute/", COMPUTE)
    ends = f'occi.core.source="{compute}", occi.core.target="{network}"'
    for address, status, reason in (
        ("fd00:1::beef", 409, "taken"),
        ("fd00:1::1", 409, "gateway"),
        ("fd00:2::beef", 400, "isn't a host's"),
        ("fd00:1::5054:ff:fe00:5", 400, "another MAC address"),
        ("10.1.0.9", 400, "expected an IPv6 address"),
    ):
        refused = client.send("POST", "/networkinterface/", INTERFACE, attributes=f'{ends}, {chosen}="{address}"')
        assert refused.status_code == status, refused.text
        assert reason in refused.text
    changed = client.send("POST", interface, INTERFACE, attributes=f'{chosen}="fd00:1::cafe"')
    assert changed.status_code == 200, changed.text
    assert f'{chosen}="fd00:1::cafe"' in client.text(interface)


def test_the_sites_networks_carry_their_class_and_nobody_makes_more(client: Client, sql: Connection) -> None:
    sql.execute(
        "INSERT INTO network (id, title, cidr, gateway, allocation, shared, class, state) VALUES"
        " (gen_random_uuid(), 'public', '192.0.2.0/24', '192.0.2.1', 'dynamic', true, 'public', 'active')"
    )
    term = '{}; scheme="http://schemas.fedcloud.egi.eu/occi/infrastructure/network#"; class="mixin"'
    own = client.make("/network/", NETWORK)
    assert "_net;" not in client.text(own)
    assert "public_net;" in client.text("/-/")
    for name, title in (("public_net", "public"), ("nat_net", "shared")):
        (listed,) = client.text(f"/mixin/{name}/", accept="text/uri-list").split()
        assert f'occi.core.title="{title}"' in client.text(listed.removeprefix("http://falconframework.org"))
        assert client.send("POST", "/network/", NETWORK, term.format(name)).status_code == 403
    compute = client.make("/compute/", COMPUTE)
    assert "10.77.0." in client.text(compute)


@pytest.mark.parametrize("text", ["fd00:77::%a\nenable-tftp/64", "fd00:77::%eth0/64", "fd00:77::1%eth0"])
def test_an_address_with_a_scope_is_refused(client: Client, text: str) -> None:
    attributes = {ADDRESS: text}, {ADDRESS6: text}
    mixins = [
        "http://schemas.ogf.org/occi/infrastructure/network#ipnetwork",
        "http://altostratus.local/occi/infrastructure/network#ipv6network",
    ]
    for given in attributes:
        body = json.dumps({"kind": f"{INFRASTRUCTURE}network", "mixins": mixins, "attributes": given})
        refused = client.send("POST", "/network/", body=body, content_type="application/occi+json")
        assert refused.status_code == 400, refused.text
    network = dual_stack(client)
    compute = client.make("/compute/", COMPUTE)
    ends = f'occi.core.source="{compute}", occi.core.target="{network}"'
    for name in ("occi.networkinterface.address", "local.altostratus.networkinterface.address6"):
        refused = client.send("POST", "/networkinterface/", INTERFACE, attributes=f'{ends}, {name}="fd00:1::77%eth0"')
        assert refused.status_code == 400, refused.text


def test_an_interfaces_gateway_is_its_networks(client: Client) -> None:
    network = client.make("/network/", NETWORK, IP_NETWORK, attributes=f'{BOTH}, occi.network.gateway="10.1.0.254"')
    gateway = "occi.networkinterface.gateway"
    interface = plugged(client, network, f'{gateway}="10.1.0.254"')
    assert f'{gateway}="10.1.0.254"' in client.text(interface)
    refused = client.send("POST", interface, INTERFACE, attributes=f'{gateway}="10.1.0.77"')
    assert refused.status_code == 400
    assert "that of the network" in refused.text
    assert f'{gateway}="10.1.0.254"' in client.text(interface)


def test_where_addresses_are_static_they_are_named(client: Client) -> None:
    static = 'occi.network.allocation="static"'
    refused = client.send("POST", "/network/", NETWORK, IP_NETWORK, attributes=static)
    assert refused.status_code == 400
    assert "no address range" in refused.text
    network = client.make("/network/", NETWORK, IP_NETWORK, attributes=f'{ADDRESS}="10.1.0.0/24", {static}')
    dynamic = client.make("/network/", NETWORK, IP_NETWORK, attributes=f'{ADDRESS}="10.1.0.0/24"')
    compute = client.make("/compute/", COMPUTE)
    for target, more, status in (
        (network, "", 400),
        (dynamic, ', occi.networkinterface.allocation="static"', 400),
        (network, ', occi.networkinterface.address="10.1.0.9"', 201),
        (dynamic, ', occi.networkinterface.allocation="static", occi.networkinterface.address="10.1.0.9"', 201),
        (dynamic, "", 201),
    ):
        ends = f'occi.core.source="{compute}", occi.core.target="{target}"'
        answer = client.send("POST", "/networkinterface/", INTERFACE, attributes=ends + more)
        assert answer.status_code == status, answer.text
        assert status == 201 or "must be named" in answer.text


def test_an_action_on_all_networks_passes_over_the_sites(client: Client) -> None:
    own = client.make("/network/", NETWORK)
    action_down = action("network", "down")
    done = client.send("POST", "/network/?action=down", action_down)
    assert done.status_code == 200, done.text
    assert client.send("POST", f"{own}?action=up", action("network", "up")).status_code == 200


def test_an_administrators_link_belongs_to_the_project_of_its_compute(
    client: Client, cloud: Cloud, other_cloud: Cloud, database: Database
) -> None:
    role = dataclasses.replace(other_cloud.caller, role=Role.CLOUD_ADMIN)
    administrator = Client(Cloud(database, role, SIZES, "small"))
    network, compute = client.make("/network/", NETWORK), client.make("/compute/", COMPUTE)
    storage = client.make("/storage/", STORAGE, attributes="occi.storage.size=1")
    for link, target, path in ((INTERFACE, network, "/networkinterface/"), (STORAGE_LINK, storage, "/storagelink/")):
        ends = f'occi.core.source="{compute}", occi.core.target="{target}"'
        made = administrator.make(path, link, attributes=ends)
        assert client.send("DELETE", made).status_code == 200

    theirs = Client(other_cloud)
    for link, target, path in (
        (INTERFACE, theirs.make("/network/", NETWORK), "/networkinterface/"),
        (STORAGE_LINK, theirs.make("/storage/", STORAGE, attributes="occi.storage.size=1"), "/storagelink/"),
    ):
        ends = f'occi.core.source="{compute}", occi.core.target="{target}"'
        refused = administrator.send("POST", path, link, attributes=ends)
        assert refused.status_code == 409, refused.text
        assert "another project" in refused.text


def test_who_changes_a_link_waits_for_its_machine_first(cloud: Cloud, database: Database) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/24"))
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),)))
    (interface,) = machine.interfaces
    with database.connection() as holder, ThreadPoolExecutor() as other:
        with holder.transaction():
            holder.execute("SELECT FROM machine WHERE id = %s FOR UPDATE", [machine.id])
            change = other.submit(cloud.update_interface, interface.id, {"address": "10.1.0.9"})
            wait_until(lambda: _waiting(holder))
            for table, resource_id in (("interface", interface.id), ("network", network.id)):
                holder.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE NOWAIT", [resource_id])
        assert change.result().address == "10.1.0.9"


def _waiting(sql: Connection) -> bool:
    return sql.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None


def test_a_vlan_carries_one_network(client: Client, other_cloud: Cloud, sql: Connection) -> None:
    sql.execute("UPDATE host SET vlans = '{[100,200)}'")
    network = client.make("/network/", NETWORK, attributes="occi.network.vlan=100")
    another = client.make("/network/", NETWORK)

    for refused in (
        Client(other_cloud).send("POST", "/network/", NETWORK, attributes="occi.network.vlan=100"),
        client.send("POST", another, NETWORK, attributes="occi.network.vlan=100"),
    ):
        assert refused.status_code == 409, refused.text
        assert "100" in refused.text
    assert client.send("POST", network, NETWORK, attributes="occi.network.vlan=100").status_code == 200


def test_nobody_gets_the_gateways_mac(client: Client, sql: Connection) -> None:
    (shared,) = client.text("/network/", accept="text/uri-list").split()
    own = client.make("/network/", NETWORK)
    for network in (shared.removeprefix(ORIGIN), own):
        identity = network.removeprefix("/network/")
        mac = f'occi.networkinterface.mac="{mac_of_network(UUID(identity))}"'
        interface = plugged(client, network)
        compute = client.make("/compute/", COMPUTE)
        ends = f'occi.core.source="{compute}", occi.core.target="{network}"'
        for refused in (
            client.send("POST", "/networkinterface/", INTERFACE, attributes=f"{ends}, {mac}"),
            client.send("POST", interface, INTERFACE, attributes=mac),
            client.send("PUT", f"/networkinterface/{identity}", INTERFACE, attributes=ends),
        ):
            assert refused.status_code == 409, refused.text
            assert "gateway" in refused.text


ALIKE = "0bc3a22f-9e6c-42dd-9f8a-52e55e602414", "7adb150a-143f-4900-8c61-10e82b426099"
"""Two identities of which hosts make the same names."""


def test_an_identity_with_the_same_name_on_hosts_as_anothers_is_refused(client: Client, other_cloud: Cloud) -> None:
    other = Client(other_cloud)
    assert tap_name("as12ab", UUID(ALIKE[0])) == tap_name("as12ab", UUID(ALIKE[1]))
    assert client.send("PUT", f"/network/{ALIKE[0]}", NETWORK).status_code == 201
    refused = other.send("PUT", f"/network/{ALIKE[1]}", NETWORK)
    assert refused.status_code == 409
    assert f"{ALIKE[1]} gives the same name on hosts" in refused.text

    for owner, identity, status in ((client, ALIKE[0], 201), (other, ALIKE[1], 409)):
        compute, network = owner.make("/compute/", COMPUTE), owner.make("/network/", NETWORK)
        ends = f'occi.core.source="{compute}", occi.core.target="{network}"'
        answer = owner.send("PUT", f"/networkinterface/{identity}", INTERFACE, attributes=ends)
        assert answer.status_code == status, answer.text


BANDWIDTH = "local.altostratus.networkinterface.bandwidth"
TRAFFIC = "local.altostratus.networkinterface.traffic"
OWN_MIXIN = '{}; scheme="http://altostratus.local/occi/infrastructure/networkinterface#"; class="mixin"'


def test_bandwidth_is_declared_kept_changed_and_cleared(client: Client, sql: Connection) -> None:
    assert f"{BANDWIDTH}.ingress_kbit_s " in f"{client.text('/-/')} ".replace('"', " ")
    interface = plugged(client, client.make("/network/", NETWORK), f"{BANDWIDTH}.ingress_kbit_s=5000")
    sql.execute("UPDATE interface SET state = 'active'")
    shown = client.text(interface)
    assert f"{BANDWIDTH}.ingress_kbit_s=5000" in shown
    assert f"{BANDWIDTH}.egress_kbit_s" not in shown
    assert "Category: bandwidth;" in shown
    assert interface.rpartition("/")[2] in client.text("/mixin/bandwidth/", accept="text/uri-list")

    changed = client.send("POST", interface, INTERFACE, attributes=f"{BANDWIDTH}.egress_kbit_s=64")
    assert changed.status_code == 200, changed.text
    both = client.text(interface)
    assert f"{BANDWIDTH}.ingress_kbit_s=5000" in both
    assert f"{BANDWIDTH}.egress_kbit_s=64" in both
    assert 'occi.networkinterface.state="active"' in both
    found = client.send(
        "GET", "/networkinterface/", INTERFACE, attributes=f"{BANDWIDTH}.egress_kbit_s=64", accept="text/uri-list"
    )
    assert found.text.strip().endswith(interface)

    assert client.send("PUT", interface, body=both, content_type="text/plain").status_code == 200
    assert client.text(interface) == both
    without = "\n".join(line for line in both.splitlines() if "bandwidth" not in line)
    cleared = client.send("PUT", interface, body=without, content_type="text/plain")
    assert cleared.status_code == 200, cleared.text
    assert "bandwidth" not in client.text(interface)


def test_bandwidth_of_an_inline_link_is_honoured(client: Client) -> None:
    network = client.make("/network/", NETWORK)
    link = (
        f'<{network}>; rel="http://schemas.ogf.org/occi/infrastructure#network"; '
        'category="http://schemas.ogf.org/occi/infrastructure#networkinterface '
        'http://altostratus.local/occi/infrastructure/networkinterface#bandwidth"; '
        f"{BANDWIDTH}.egress_kbit_s=128"
    )
    compute = client.make("/compute/", COMPUTE, link=link)
    assert f"{BANDWIDTH}.egress_kbit_s" in client.text(compute)


@pytest.mark.parametrize("value", ["63", "0", "-1", "10000001", "1e3000", "64.5", '"1000"', "true"])
def test_bandwidth_out_of_bounds_is_refused_with_the_reason(client: Client, value: str) -> None:
    interface = plugged(client, client.make("/network/", NETWORK))
    for method, path in (("POST", interface), ("POST", "/networkinterface/")):
        refused = client.send(method, path, INTERFACE, attributes=f"{BANDWIDTH}.egress_kbit_s={value}")
        assert refused.status_code == 400, refused.text
        assert "from 64 to 10000000" in refused.text or "1e3000" in refused.text


def test_nobody_exceeds_the_sites_bandwidth(cloud: Cloud, image: str) -> None:
    cloud._bandwidth_max_kbit_s = 1000
    client = Client(cloud)
    network = client.make("/network/", NETWORK)
    interface = plugged(client, network)
    shown = client.text(interface)
    assert f"{BANDWIDTH}.ingress_kbit_s=1000" in shown
    assert f"{BANDWIDTH}.egress_kbit_s=1000" in shown
    refused = client.send("POST", interface, INTERFACE, attributes=f"{BANDWIDTH}.egress_kbit_s=1001")
    assert refused.status_code == 400
    assert "1001" in refused.text
    assert "1000 at most" in refused.text
    ends = f'occi.core.source="{client.make("/compute/", COMPUTE)}", occi.core.target="{network}"'
    for asked, status in ((1001, 400), (1000, 201)):
        made = client.send(
            "POST", "/networkinterface/", INTERFACE, attributes=f"{ends}, {BANDWIDTH}.ingress_kbit_s={asked}"
        )
        assert made.status_code == status, made.text
    lower = client.send("POST", interface, INTERFACE, attributes=f"{BANDWIDTH}.egress_kbit_s=500")
    assert lower.status_code == 200, lower.text
    without = "\n".join(line for line in client.text(interface).splitlines() if "bandwidth" not in line)
    assert client.send("PUT", interface, body=without, content_type="text/plain").status_code == 200
    assert f"{BANDWIDTH}.egress_kbit_s=1000" in client.text(interface)


def test_another_project_neither_sees_nor_limits_an_interface(client: Client, other_cloud: Cloud) -> None:
    interface = plugged(client, client.make("/network/", NETWORK))
    stranger = Client(other_cloud)
    refused = stranger.send("POST", interface, INTERFACE, attributes=f"{BANDWIDTH}.egress_kbit_s=64")
    assert refused.status_code == 404
    assert stranger.text("/mixin/traffic/", accept="text/uri-list").strip() == ""


def test_traffic_is_shown_and_nobodys_to_set(client: Client, sql: Connection) -> None:
    interface = plugged(client, client.make("/network/", NETWORK))
    identity = interface.rpartition("/")[2]
    assert f"{TRAFFIC}.sent_packets=0" in client.text(interface)
    sql.execute(
        "INSERT INTO traffic (interface_id, project_id, host, received_bytes, received_packets, sent_bytes,"
        " sent_packets) SELECT id, project_id, 'rack1', 9007199254740995, 2, 3, 4 FROM interface WHERE id = %s",
        [identity],
    )
    shown = client.text(interface)
    for name, count in (("received_bytes", 2**53 + 3), ("received_packets", 2), ("sent_bytes", 3), ("sent_packets", 4)):
        assert f"{TRAFFIC}.{name}={count}" in shown
    assert client.document(interface)["attributes"][f"{TRAFFIC}.received_bytes"] == 2**53 + 3  # type: ignore[index]
    assert "Category: traffic;" in shown
    declared = client.document("/-/")
    (mixin,) = (each for each in declared["mixins"] if each["term"] == "traffic")  # type: ignore[attr-defined]
    assert mixin["attributes"][f"{TRAFFIC}.sent_bytes"]["mutable"] is False
    found = client.send("GET", "/networkinterface/", attributes=f"{TRAFFIC}.sent_bytes=3", accept="text/uri-list")
    assert found.text.strip().endswith(interface)

    refused = client.send("POST", interface, INTERFACE, attributes=f"{TRAFFIC}.sent_bytes=0")
    assert refused.status_code == 403
    sql.execute("UPDATE traffic SET sent_bytes = 30")
    sent_back = client.send("PUT", interface, body=shown, content_type="text/plain")
    assert sent_back.status_code == 200, sent_back.text
    assert f"{TRAFFIC}.sent_bytes=30" in client.text(interface)
    compute = client.text(interface).split('occi.core.source="')[1].split('"')[0]
    assert TRAFFIC not in client.text(compute)
