"""Reserved addresses through HTTP and the real door: who has them, what they survive, and who is told what."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from occi_client import COMPUTE, INFRASTRUCTURE, INTERFACE, IP_NETWORK, MINE, NETWORK, ORIGIN, Client, action

from backends import quotas
from backends.cloud import Cloud
from backends.errors import Conflict, OutOfRoom
from backends.model import Caller, Filter, NewInterface, NewMachine, NewNetwork, NewReservation, Role
from backends.store.database import Connection, Database, query
from tests.conftest import SIZES

RESERVATION = f'ipreservation; scheme="{INFRASTRUCTURE}"; class="kind"'
POOL = '{}; scheme="http://schemas.openstack.org/network/floatingippool#"; class="mixin"'
ADDRESS, USED = "occi.ipreservation.address", "occi.ipreservation.used"
ADDRESS6 = "local.altostratus.ipreservation.address6"


@pytest.fixture
def client(cloud: Cloud, image: str) -> Client:
    return Client(cloud)


@pytest.fixture
def public(sql: Connection, host: str) -> UUID:
    row = sql.execute(
        "INSERT INTO network (id, title, cidr, gateway, cidr6, allocation, shared, class, state) VALUES"
        " (gen_random_uuid(), 'public', '192.0.2.0/24', '192.0.2.1', '2001:db8:9::/64', 'dynamic', true, 'public',"
        " 'active') RETURNING id"
    ).fetchone()
    sql.execute("UPDATE host SET classes = '{local,public}'")
    assert row is not None
    identity: UUID = row[0]
    return identity


def reserve(client: Client, attributes: str = "", *mixins: str) -> str:
    return client.make("/ipreservation/", RESERVATION, *mixins, attributes=attributes)


def shown(client: Client, path: str) -> dict[str, object]:
    attributes = client.document(path)["attributes"]
    assert isinstance(attributes, dict)
    return attributes


def own_network(client: Client) -> str:
    return client.make("/network/", NETWORK, IP_NETWORK, attributes='occi.network.address="10.1.0.0/24"')


def pool_of(network: str) -> str:
    return POOL.format(f"network-{identity(network)}")


def identity(path: str) -> str:
    return path.rpartition("/")[2]


def link(client: Client, compute: str, target: str, attributes: str = "") -> str:
    ends = f'occi.core.source="{ORIGIN}{compute}", occi.core.target="{ORIGIN}{target}"'
    return client.make("/networkinterface/", INTERFACE, attributes=f"{ends}, {attributes}" if attributes else ends)


def refused_link(client: Client, compute: str, target: str, attributes: str = "") -> tuple[int, str]:
    ends = f'occi.core.source="{compute}", occi.core.target="{target}"'
    answer = client.send(
        "POST", "/networkinterface/", INTERFACE, attributes=f"{ends}, {attributes}" if attributes else ends
    )
    return answer.status_code, answer.text


def let_go(sql: Connection) -> None:
    """What the agent does once guests have let go of their cards, and hosts of deleted machines."""
    sql.execute("DELETE FROM interface WHERE deleting OR machine_id IN (SELECT id FROM machine WHERE deleting)")
    sql.execute("DELETE FROM machine WHERE deleting")


def test_address_is_reserved_of_the_public_network_and_shown_at_once(client: Client, public: UUID) -> None:
    path = reserve(client)
    assert shown(client, path) == {
        ADDRESS: "192.0.2.2",
        USED: False,
        "occi.ipreservation.state": "active",
        "occi.network.state": "active",
        ADDRESS6: shown(client, path)[ADDRESS6],
    }
    text = client.text(path)
    assert 'public; scheme="http://schemas.openstack.org/network/floatingippool#"' in text
    assert f'{ADDRESS}="192.0.2.2"' in text
    assert f"{USED}=false" in text
    assert shown(client, reserve(client))[ADDRESS] == "192.0.2.3"


def test_site_without_public_addresses_reserves_of_the_network_that_all_share(client: Client) -> None:
    path = reserve(client)
    assert str(shown(client, path)[ADDRESS]).startswith("10.77.0.")
    assert "local; scheme=" in client.text(path)


def test_pool_says_of_which_network_and_discovery_lists_those_that_one_can_have(
    client: Client, other_cloud: Cloud, public: UUID
) -> None:
    network, plain = own_network(client), client.make("/network/", NETWORK)
    path = reserve(client, "", pool_of(network))
    assert shown(client, path)[ADDRESS] == "10.1.0.1"
    assert str(shown(client, reserve(client, "", POOL.format("local")))[ADDRESS]).startswith("10.77.0.")

    discovered, others = client.text("/-/"), Client(other_cloud).text("/-/")
    for term in ("public", "local"):
        assert f"Category: {term}; " in discovered
        assert f"Category: {term}; " in others
    assert f"network-{identity(network)};" in discovered
    assert identity(network) not in others
    assert identity(plain) not in discovered
    assert client.text(f"/mixin/floatingippool/network-{identity(network)}/", accept="text/uri-list").split() == [
        ORIGIN + path
    ]
    for refused, status in (
        (client.send("POST", "/ipreservation/", RESERVATION, pool_of(plain)), 400),
        (Client(other_cloud).send("POST", "/ipreservation/", RESERVATION, pool_of(network)), 404),
        (client.send("POST", "/ipreservation/", RESERVATION, POOL.format("private")), 404),
        (client.send("POST", path, RESERVATION, POOL.format("public")), 403),
        (client.send("POST", "/mixin/floatingippool/public/", locations=ORIGIN + path), 403),
        (client.send("DELETE", "/-/", POOL.format("public")), 403),
        (client.send("POST", "/-/", f'{POOL.format("mine")}; location="/mine/"'), 409),
    ):
        assert refused.status_code == status, refused.text


@pytest.mark.parametrize(
    ("wanted", "status", "reason"),
    [
        (f'{ADDRESS}="192.0.2.1"', 409, "gateway"),
        (f'{ADDRESS}="192.0.2.77"', 409, "taken"),
        (f'{ADDRESS}="198.51.100.7"', 400, "isn't a host's"),
        (f'{ADDRESS}="soon"', 400, "expected an IPv4 or IPv6 address"),
        (f'{ADDRESS6}="2001:db8:9::1"', 409, "gateway"),
        (f'{ADDRESS6}="2001:db8:9::5054:ff:fe00:5"', 400, "another MAC address"),
        (f'{ADDRESS}="2001:db8:9::7", {ADDRESS6}="2001:db8:9::8"', 400, "another value"),
    ],
)
def test_chosen_address_is_honoured_or_refused_with_the_reason(
    client: Client, public: UUID, wanted: str, status: int, reason: str
) -> None:
    chosen = reserve(client, f'{ADDRESS}="192.0.2.77", {ADDRESS6}="2001:db8:9::7"')
    assert (shown(client, chosen)[ADDRESS], shown(client, chosen)[ADDRESS6]) == ("192.0.2.77", "2001:db8:9::7")
    refused = client.send("POST", "/ipreservation/", RESERVATION, attributes=wanted)
    assert refused.status_code == status, refused.text
    assert reason in refused.text


def test_nobody_else_gets_a_reserved_address_by_chance_or_by_choice(cloud: Cloud, other_cloud: Cloud) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/29"))
    kept = cloud.reserve(NewReservation(network.id, "10.1.0.2"))
    machine = cloud.create_machine(NewMachine())
    given = []
    with pytest.raises(OutOfRoom):
        while True:
            given.append(cloud.create_interface(machine.id, NewInterface(network.id)).address)
    assert given == ["10.1.0.1", "10.1.0.3", "10.1.0.4", "10.1.0.5"]
    for wish, told in (
        ("", "no free address"),
        (f'occi.networkinterface.address="{kept.address}"', "taken"),
        (f'occi.networkinterface.mac="{kept.mac}"', "taken"),
    ):
        refused = refused_link(Client(cloud), f"/compute/{machine.id}", f"/network/{network.id}", wish)
        assert refused[0] == 409
        assert told in refused[1]
    sent = Client(cloud).send("POST", "/ipreservation/", RESERVATION, POOL.format(f"network-{network.id}"))
    assert sent.status_code == 409
    assert "no free address" in sent.text


def test_high_reserved_address_makes_no_other_rest_less(cloud: Cloud) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/24"))
    machine = cloud.create_machine(NewMachine())
    top = cloud.reserve(NewReservation(network.id, "10.1.0.250"))
    cloud.create_interface(machine.id, NewInterface(reservation_id=top.id))
    reserved = [cloud.reserve(NewReservation(network.id)).address for _ in range(6)]
    assert reserved == [f"10.1.0.{number}" for number in range(1, 7)]
    assert cloud.create_interface(machine.id, NewInterface(network.id)).address == "10.1.0.7"


def test_link_to_a_reservation_gives_its_addresses_to_the_compute(client: Client, public: UUID) -> None:
    path, compute = reserve(client), client.make("/compute/", COMPUTE)
    kept = shown(client, path)
    interface = link(client, compute, path)
    document = client.document(interface)
    attributes = shown(client, interface)
    assert document["target"] == {"location": path, "kind": f"{INFRASTRUCTURE}ipreservation"}
    assert attributes["occi.networkinterface.address"] == kept[ADDRESS]
    assert attributes["local.altostratus.networkinterface.address6"] == kept[ADDRESS6]
    assert attributes["occi.networkinterface.gateway"] == "192.0.2.1"
    assert attributes["occi.networkinterface.allocation"] == "static"
    assert shown(client, path)[USED] is True
    rendering = client.text(compute)
    assert f'</ipreservation/{identity(path)}>; rel="{INFRASTRUCTURE}ipreservation"' in rendering
    back = client.send("PUT", interface, body=client.text(interface), content_type="text/plain")
    assert back.status_code == 200, back.text
    for change in ('occi.networkinterface.address="192.0.2.99"', 'occi.networkinterface.mac="52:54:00:00:00:01"'):
        refused = client.send("POST", interface, INTERFACE, attributes=change)
        assert refused.status_code == 409, refused.text
        assert identity(path) in refused.text


def test_compute_is_made_with_a_reserved_address_inline(client: Client, public: UUID) -> None:
    path = reserve(client)
    sent = f'<{path}>; rel="{INFRASTRUCTURE}ipreservation"; category="{INFRASTRUCTURE}networkinterface"'
    compute = client.make("/compute/", COMPUTE, link=sent)
    assert '"192.0.2.2"' in client.text(compute)
    assert client.text(compute).count("networkinterface.address=") == 1
    other = reserve(client)
    body = {"kind": f"{INFRASTRUCTURE}compute", "links": [{"target": {"location": other}}]}
    made = client.send("POST", "/compute/", body=json.dumps(body), content_type="application/occi+json")
    assert made.status_code == 201, made.text
    assert shown(client, other)[USED] is True
    again = client.send("POST", "/compute/", COMPUTE, link=sent)
    assert again.status_code == 409
    assert f"the compute {identity(compute)} has it" in again.text


def test_reservation_outlives_link_and_compute_and_moves_to_another(
    client: Client, sql: Connection, public: UUID
) -> None:
    path = reserve(client)
    first, second = client.make("/compute/", COMPUTE), client.make("/compute/", COMPUTE)
    interface = link(client, first, path)
    kept = shown(client, path)
    mac = shown(client, interface)["occi.networkinterface.mac"]
    status, reason = refused_link(client, second, path)
    assert status == 409
    assert f"the compute {identity(first)} has it" in reason

    assert client.send("DELETE", interface).status_code == 200
    status, reason = refused_link(client, second, path)
    assert status == 409
    assert f"the compute {identity(first)} is just letting go of it" in reason
    assert shown(client, path)[USED] is True
    let_go(sql)
    assert shown(client, path)[USED] is False

    moved = link(client, second, path)
    assert shown(client, moved)["occi.networkinterface.mac"] == mac
    assert client.send("DELETE", second).status_code == 200
    let_go(sql)
    assert shown(client, path) == {**kept, USED: False}
    assert client.send("DELETE", path).status_code == 200
    assert client.send("GET", path).status_code == 404


def test_used_reservation_and_network_with_reservations_are_not_deleted(client: Client, sql: Connection) -> None:
    network = own_network(client)
    path = reserve(client, "", pool_of(network))
    compute = client.make("/compute/", COMPUTE)
    interface = link(client, compute, path)
    refused = client.send("DELETE", path)
    assert refused.status_code == 409
    assert identity(compute) in refused.text
    assert client.send("DELETE", interface).status_code == 200
    let_go(sql)
    for refused in (
        client.send("DELETE", network),
        client.send("POST", network, NETWORK, attributes='occi.network.address="10.2.0.0/24"'),
    ):
        assert refused.status_code == 409, refused.text
        assert identity(path) in refused.text
    assert client.send("DELETE", path).status_code == 200
    assert client.send("DELETE", network).status_code == 200


def test_address_released_under_a_compute_that_lets_go_stays_with_it_until_then(cloud: Cloud, sql: Connection) -> None:
    kept = cloud.reserve(NewReservation())
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(reservation_id=kept.id),)))
    cloud.delete_machine(machine.id)
    cloud.release(kept.id)
    client = Client(cloud)
    again = client.send("POST", "/ipreservation/", RESERVATION, attributes=f'{ADDRESS}="{kept.address}"')
    assert again.status_code == 409
    let_go(sql)
    assert shown(client, reserve(client, f'{ADDRESS}="{kept.address}"'))[ADDRESS] == kept.address


def test_everything_is_deleted_at_once(client: Client) -> None:
    network = own_network(client)
    link(client, client.make("/compute/", COMPUTE), reserve(client, "", pool_of(network)))
    assert client.send("DELETE", "/").status_code == 200
    assert client.text("/ipreservation/", accept="text/uri-list").split() == []


def test_other_projects_see_and_use_none_of_it(client: Client, other_cloud: Cloud, public: UUID) -> None:
    theirs = Client(other_cloud)
    path, compute = reserve(client), theirs.make("/compute/", COMPUTE)
    assert theirs.send("GET", path).status_code == 404
    assert theirs.send("DELETE", path).status_code == 404
    assert theirs.text("/ipreservation/", accept="text/uri-list").split() == []
    assert refused_link(theirs, compute, path)[0] == 404
    taken = theirs.send("POST", "/ipreservation/", RESERVATION, attributes=f'{ADDRESS}="192.0.2.2"')
    assert taken.status_code == 409
    assert shown(theirs, reserve(theirs))[ADDRESS] == "192.0.2.3"


def test_administrator_gives_no_project_anothers_address(cloud: Cloud, other_cloud: Cloud, database: Database) -> None:
    mine = cloud.caller
    admin = Caller(uuid4(), "root", mine.project_id, mine.project_name, Role.CLOUD_ADMIN)
    kept, machine = cloud.reserve(NewReservation()), other_cloud.create_machine(NewMachine())
    status, reason = refused_link(
        Client(Cloud(database, admin, SIZES, "small")), f"/compute/{machine.id}", f"/ipreservation/{kept.id}"
    )
    assert status == 409
    assert "another project" in reason


def test_reserved_address_counts_once_until_it_is_released_and_let_go(
    cloud: Cloud, sql: Connection, public: UUID
) -> None:
    def used() -> int:
        return next(
            each.used for each in quotas.use(sql, cloud.caller.project_id) if each.resource.name == "public_addresses"
        )

    quotas.set_limit(sql, cloud.caller.project_id, "public_addresses", 1)
    kept = cloud.reserve(NewReservation())
    assert used() == 1
    with pytest.raises(quotas.QuotaExceeded, match="limit public_addresses"):
        cloud.reserve(NewReservation())
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(reservation_id=kept.id),)))
    assert used() == 1
    cloud.delete_machine(machine.id)
    cloud.release(kept.id)
    assert used() == 1
    let_go(sql)
    assert used() == 0
    cloud.reserve(NewReservation())
    sql.execute("DELETE FROM quota")
    assert used() == 1


def test_title_changes_and_addresses_do_not(client: Client, public: UUID) -> None:
    path = reserve(client, 'occi.core.title="web"')
    assert client.send("POST", path, RESERVATION, attributes='occi.core.title="front"').status_code == 200
    assert 'occi.core.title="front"' in client.text(path)
    for change in (f'{ADDRESS}="192.0.2.9"', f'{ADDRESS6}="2001:db8:9::9"', f"{USED}=true", "occi.network.vlan=7"):
        refused = client.send("POST", path, RESERVATION, attributes=change)
        assert refused.status_code == 403, refused.text
    rendering = client.text(path)
    back = client.send("PUT", path, body=rendering, content_type="text/plain")
    assert back.status_code == 200, back.text
    assert client.text(path) == rendering
    assert client.send("POST", f"{path}?action=up", action("network", "up")).status_code in (400, 404)


def test_network_with_ipv6_alone_has_its_reservations_where_egi_says(client: Client) -> None:
    network = client.make("/network/", NETWORK, IP_NETWORK, attributes='occi.network.address="fd00:1::/64"')
    path = reserve(client, f'{ADDRESS}="fd00:1::7"', pool_of(network))
    assert shown(client, path)[ADDRESS] == "fd00:1::7"
    interface = link(client, client.make("/compute/", COMPUTE), path)
    assert shown(client, interface)["occi.networkinterface.address"] == "fd00:1::7"
    back = client.send("PUT", path, body=client.text(path), content_type="text/plain")
    assert back.status_code == 200, back.text


def test_filters_find_reservations_and_the_links_to_them(client: Client, public: UUID) -> None:
    unused, used = reserve(client), reserve(client)
    interface = link(client, client.make("/compute/", COMPUTE), used)

    def found(path: str, *categories: str, attributes: str = "") -> list[str]:
        listed = client.send("GET", path, *categories, attributes=attributes, accept="text/uri-list")
        assert listed.status_code == 200, listed.text
        return [url.removeprefix(ORIGIN) for url in listed.text.split()]

    assert found("/ipreservation/", attributes=f"{USED}=true") == [used]
    assert found("/ipreservation/", attributes=f'{ADDRESS}="192.0.2.2"') == [unused]
    assert found("/ipreservation/", attributes='occi.ipreservation.state="active"') == [unused, used]
    assert found("/ipreservation/", POOL.format("public")) == [unused, used]
    assert found("/ipreservation/", POOL.format("local")) == []
    assert found("/networkinterface/", attributes=f'occi.core.target="{used}"') == [interface]
    assert found("/networkinterface/", attributes=f'occi.core.target="/network/{public}"') == []
    resource = 'resource; scheme="http://schemas.ogf.org/occi/core#"; class="kind"'
    assert used in found("/", resource)
    assert interface not in found("/", resource)


def test_network_that_no_host_has_any_more_stays_while_addresses_of_it_are_reserved(
    client: Client, sql: Connection, public: UUID
) -> None:
    path = reserve(client)
    sql.execute("UPDATE host SET classes = '{local}'")
    sql.execute(query("agent.withdraw_site_networks"))
    assert shown(client, path)[ADDRESS] == "192.0.2.2"
    status, reason = refused_link(client, client.make("/compute/", COMPUTE), path)
    assert status == 409
    assert "doesn't have the network public" in reason
    assert client.send("DELETE", path).status_code == 200
    sql.execute(query("agent.withdraw_site_networks"))
    assert client.send("GET", f"/network/{public}").status_code == 404


def test_of_many_at_once_one_gets_the_address_and_one_compute_has_it(cloud: Cloud, database: Database) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/24"))
    machines = [cloud.create_machine(NewMachine()) for _ in range(8)]

    def successes(make: Callable[[Cloud, UUID], object]) -> int:
        def attempt(machine_id: UUID) -> bool:
            try:
                make(Cloud(database, cloud.caller, SIZES, "small"), machine_id)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(attempt, [machine.id for machine in machines]))

    assert successes(lambda own, _: own.reserve(NewReservation(network.id, "10.1.0.9"))) == 1
    (kept,) = cloud.reservations()
    assert successes(lambda own, machine: own.create_interface(machine, NewInterface(reservation_id=kept.id))) == 1
    (user,) = cloud.interfaces(Filter({"reservation_id": kept.id}))
    assert user.address == "10.1.0.9"


def test_users_mixin_goes_with_the_reservation_that_carries_it(client: Client, sql: Connection) -> None:
    made = client.send("POST", "/-/", f'{MINE}; location="/mine/"')
    assert made.status_code == 200, made.text
    path = reserve(client, "", MINE)
    assert client.text("/mine/", accept="text/uri-list").split() == [ORIGIN + path]
    assert client.send("DELETE", path).status_code == 200
    assert sql.execute("SELECT count(*) FROM tagging").fetchone() == (0,)


def test_client_chooses_the_identity(client: Client) -> None:
    path = f"/ipreservation/{uuid4()}"
    body = f"Category: {RESERVATION}"
    assert client.send("PUT", path, body=body, content_type="text/plain").status_code == 201
    assert client.send("PUT", path, body=body, content_type="text/plain").status_code == 200
    linked = client.send("POST", "/ipreservation/", RESERVATION, link=f"</network/{uuid4()}>")
    assert linked.status_code == 400
