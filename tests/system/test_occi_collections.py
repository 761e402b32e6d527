"""OCCI collections, filters, pages, users' mixins and discovery through HTTP and the real door."""

from __future__ import annotations

import base64
from urllib.parse import quote

import falcon.testing
import pytest
from occi_client import (
    COMPUTE,
    INFRASTRUCTURE,
    IP_NETWORK,
    MINE,
    NETWORK,
    ORIGIN,
    SMALL,
    STORAGE,
    TINY,
    Client,
    action,
)

from backends.cloud import Cloud
from backends.store.database import Connection

DEFINED = f'{MINE}; rel="http://example.com/occi#unknown"; location="/my/stuff/"'


@pytest.fixture
def client(cloud: Cloud, image: str) -> Client:
    return Client(cloud)


def listed(result: falcon.testing.Result) -> list[str]:
    assert result.status_code == 200, result.text
    return [url.removeprefix(ORIGIN) for url in result.text.split("\n") if url]


def listing(client: Client, path: str, *categories: str, attributes: str = "") -> list[str]:
    return listed(client.send("GET", path, *categories, attributes=attributes, accept="text/uri-list"))


def test_a_collection_lists_its_instances_in_every_rendering(client: Client) -> None:
    one, two = client.make("/network/", NETWORK), client.make("/network/", NETWORK)

    assert {one, two} <= set(listing(client, "/network/"))
    assert f"X-OCCI-Location: {ORIGIN}{one}\n" in client.text("/network/")
    in_headers = client.send("GET", "/network/", accept="text/occi")
    assert (in_headers.text, in_headers.headers["X-OCCI-Location"].count(",")) == ("OK", 2)
    assert {network["id"] for network in client.document("/network/")["resources"]} >= {
        f"urn:uuid:{path[9:]}" for path in (one, two)
    }


def test_an_empty_collection_is_200_and_empty(client: Client) -> None:
    assert client.text("/compute/") == ""
    assert client.document("/compute/") == {"resources": []}


def test_filters_by_category_and_attribute_are_all_to_hold(client: Client) -> None:
    plain = client.make("/compute/", COMPUTE, attributes='occi.compute.hostname="a"')
    from_image = client.make("/compute/", COMPUTE, TINY, attributes='occi.compute.hostname="a"')
    client.make("/compute/", COMPUTE, TINY, SMALL, attributes='occi.compute.hostname="b"')

    assert listing(client, "/compute/", attributes='occi.compute.hostname="a"') == [plain, from_image]
    assert listing(client, "/compute/", TINY, attributes='occi.compute.hostname="a"') == [from_image]
    assert listing(client, "/compute/", SMALL, attributes='occi.compute.hostname="a"') == []
    assert listing(client, "/compute/", attributes="occi.compute.memory=1.0, occi.compute.cores=1")[0] == plain
    assert listing(client, "/compute/", NETWORK) == []
    assert listing(client, "/", COMPUTE, attributes='occi.compute.hostname="a"') == [plain, from_image]
    assert listing(client, "/compute/", attributes='occi.compute.state="inactive"')
    identity = plain.rpartition("/")[2]
    assert listing(client, "/", attributes=f'occi.core.id="{identity}"') == [plain]


def test_filters_in_the_query_are_the_same(client: Client) -> None:
    first = client.make("/compute/", COMPUTE, TINY, attributes='occi.compute.hostname="a", occi.compute.cores=2')
    client.make("/compute/", COMPUTE, attributes='occi.compute.hostname="a"')
    tiny = "http%3A%2F%2Faltostratus.local%2Focci%2Fos_tpl%23tiny"

    assert listing(client, f"/compute/?category={tiny}&attribute=occi.compute.hostname&value=a") == [first]
    assert listing(client, "/compute/?attribute=occi.compute.cores&value=2") == [first]
    for refused in ("?category=nonsense", "?attribute=occi.compute.cores", "?attribute=occi.compute.cores&value=x"):
        assert client.send("GET", f"/compute/{refused}").status_code == 400
    assert client.send("GET", "/compute/?attribute=no.such&value=1").status_code == 404


def test_computes_are_found_by_their_user_data(client: Client) -> None:
    data = base64.b64encode(b"#!/bin/sh\necho >> log ~~~\xff").decode()
    assert "+" in data and data.endswith("=")
    user_data = 'user_data; scheme="http://schemas.ogf.org/occi/infrastructure/compute#"; class="mixin"'
    made = client.make("/compute/", COMPUTE, user_data, attributes=f'occi.compute.userdata="{data}"')
    client.make("/compute/", COMPUTE)

    assert listing(client, "/compute/", attributes=f'occi.compute.userdata="{data}"') == [made]
    assert listing(client, f"/compute/?attribute=occi.compute.userdata&value={quote(data)}") == [made]


def test_networks_with_addresses_are_found_by_their_mixin(client: Client) -> None:
    client.make("/network/", NETWORK, attributes='occi.network.label="plain"')
    routed = client.make("/network/", NETWORK, IP_NETWORK, attributes='occi.network.address="10.9.0.0/24"')

    assert routed in listing(client, "/mixin/ipnetwork/")
    assert listing(client, "/mixin/ipnetwork/", attributes='occi.network.address="10.9.0.0/24"') == [routed]
    assert len(listing(client, "/network/", IP_NETWORK)) == 2


def test_pages_part_a_collection_and_end_empty(client: Client) -> None:
    made = [client.make("/network/", NETWORK) for _ in range(4)]
    everything = listing(client, "/network/")

    pages = [listing(client, f"/network/?page={page};number=2") for page in (1, 2, 3, 4)]
    assert [entry for page in pages for entry in page] == everything
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert len(listing(client, "/?page=1&number=3")) == 3
    assert client.send("GET", "/network/?page=1&number=10001").status_code == 413
    assert client.send("GET", f"/network/?page={9**25}&number=1").text == ""
    for refused in ("page=x", "page=-1", "number=0", "page=0", "page=1&page=2", "number="):
        assert client.send("GET", f"/network/?{refused}").status_code == 400
    assert "the first page is 1" in client.send("GET", "/network/?page=0").text
    assert set(made) <= set(everything)


def test_an_action_on_a_collection_is_taken_by_all_or_none(client: Client, sql: Connection) -> None:
    for _ in range(2):
        client.make("/compute/", COMPUTE)
    sql.execute("UPDATE machine SET state = 'active'")
    assert client.send("POST", "/compute/?action=stop", action("compute", "stop")).status_code == 200
    assert sql.execute("SELECT DISTINCT wanted FROM machine").fetchall() == [("inactive",)]

    sql.execute("UPDATE machine SET wanted = 'active', state = 'active'")
    sql.execute(
        "UPDATE machine SET wanted = 'inactive', state = 'inactive'"
        " WHERE sequence = (SELECT max(sequence) FROM machine)"
    )
    assert client.send("POST", "/compute/?action=suspend", action("compute", "suspend")).status_code == 400
    assert sql.execute("SELECT count(*) FROM machine WHERE wanted = 'suspended'").fetchone() == (0,)


def test_deleting_a_collection_spares_what_a_filter_spares_and_what_is_everybodys(client: Client) -> None:
    kept = client.make("/network/", NETWORK, attributes='occi.network.label="keep"')
    client.make("/network/", NETWORK, attributes='occi.network.label="drop"')
    shared = next(path for path in listing(client, "/network/") if path != kept)

    assert client.send("DELETE", "/network/", attributes='occi.network.label="drop"').status_code == 200
    assert listing(client, "/network/") == [shared, kept]
    assert client.send("DELETE", "/network/").status_code == 200
    assert listing(client, "/network/") == [shared]


def test_several_entities_of_one_json_message_are_made_together_or_not_at_all(client: Client) -> None:
    good = {"kind": f"{INFRASTRUCTURE}network", "attributes": {"occi.network.label": "a"}}
    bad = {"kind": f"{INFRASTRUCTURE}network", "attributes": {"occi.network.vlan": 99999}}
    before = listing(client, "/network/")

    def post(*resources: object) -> falcon.testing.Result:
        body = falcon.media.JSONHandler().serialize({"resources": resources}, "application/json")
        return client.send("POST", "/network/", body=body, content_type="application/occi+json")

    assert post(good, bad).status_code == 400
    assert listing(client, "/network/") == before
    assert post(good, good).status_code == 200
    assert len(listing(client, "/network/")) == len(before) + 2


def test_a_users_mixin_is_added_carried_listed_and_removed(client: Client) -> None:
    network, disk = (
        client.make("/network/", NETWORK),
        client.make("/storage/", STORAGE, attributes="occi.storage.size=1"),
    )
    assert client.send("POST", "/-/", DEFINED).status_code == 200
    assert 'location="/my/stuff/"' in client.text("/-/")

    assert client.send("POST", "/my/stuff/", locations=f"{ORIGIN}{network}, {disk}").status_code == 200
    assert listing(client, "/my/stuff/") == [network, disk]
    assert listing(client, "/my/stuff/", NETWORK) == [network]
    assert "Category: mine;" in client.text(network)
    assert listing(client, "/my/") == ["/my/stuff/", network, disk]
    assert client.send("PUT", "/my/stuff/", locations=disk).status_code == 200
    assert listing(client, "/my/stuff/") == [disk]
    assert client.send("DELETE", "/my/stuff/", locations=disk).status_code == 200
    assert client.text("/my/stuff/") == ""
    made = client.make("/network/", NETWORK, MINE)
    assert listing(client, "/my/stuff/") == [made]
    assert client.send("DELETE", "/-/", MINE).status_code == 200
    assert client.send("GET", "/my/stuff/").status_code == 404
    assert "Category: mine;" not in client.text(made)


def test_an_action_on_a_mixins_members_reaches_those_that_have_it(client: Client, sql: Connection) -> None:
    client.send("POST", "/-/", DEFINED)
    client.make("/network/", NETWORK, MINE)
    client.make("/compute/", COMPUTE, MINE)
    client.make("/compute/", COMPUTE)
    sql.execute("UPDATE machine SET state = 'active'")

    assert client.send("POST", "/my/stuff/?action=stop", action("compute", "stop")).status_code == 200
    assert sql.execute("SELECT count(*) FROM machine WHERE wanted = 'inactive'").fetchone() == (1,)


@pytest.mark.parametrize(
    "mixin",
    [
        MINE,
        f'{MINE}; location="http://elsewhere.example/my/"',
        f'{MINE}; location="my/"',
        f'{MINE}; location="/my"',
        f'{MINE}; location="/my/../x/"',
        f'{MINE}; location="/my/"; attributes="a.b"',
        'mine; scheme="http://example.com/occi#"; class="kind"; location="/my/"',
    ],
)
def test_a_users_mixin_that_is_no_tag_is_a_400(client: Client, mixin: str) -> None:
    assert client.send("POST", "/-/", mixin).status_code == 400


def test_a_users_mixin_can_not_take_what_is_taken(client: Client) -> None:
    assert client.send("POST", "/-/", DEFINED).status_code == 200
    for taken in (DEFINED, f'{MINE}; location="/compute/mine/"', f'{MINE}; location="/os_tpl/"'):
        assert client.send("POST", "/-/", taken).status_code == 409
    tiny = TINY + '; location="/x/"'
    assert client.send("POST", "/-/", tiny).status_code == 409


def test_the_providers_categories_stay(client: Client) -> None:
    for category in (COMPUTE, SMALL, TINY, action("compute", "start")):
        assert client.send("DELETE", "/-/", category).status_code == 403
    assert client.send("DELETE", "/-/", MINE).status_code == 404
    assert client.send("PUT", "/-/", MINE).status_code == 405


def test_discovery_shows_images_and_can_be_narrowed_to_one_category(client: Client) -> None:
    everything = client.text("/-/")
    compute = client.send(
        "GET", "/-/", 'compute; scheme="http://schemas.ogf.org/occi/infrastructure#"', accept="text/occi"
    )

    assert everything == client.text("/.well-known/org/ogf/occi/-/")
    assert 'Category: tiny; scheme="http://altostratus.local/occi/os_tpl#"; class="mixin"' in everything
    assert compute.headers["Category"].startswith("compute;")
    assert "," not in compute.headers["Category"]
    assert client.send("GET", "/-/", MINE).status_code == 404


def test_below_the_root_is_everything(client: Client) -> None:
    network, disk = (
        client.make("/network/", NETWORK),
        client.make("/storage/", STORAGE, attributes="occi.storage.size=1"),
    )
    links = f'<{network}>; rel="{INFRASTRUCTURE}network", <{disk}>; rel="{INFRASTRUCTURE}storage"'
    compute = client.make("/compute/", COMPUTE, link=links)

    assert f"X-OCCI-Location: {ORIGIN}{compute}" in client.text("/")
    assert {"/compute/", "/network/", compute} <= set(listing(client, "/"))
    assert client.send("DELETE", "/").status_code == 200
    assert client.text("/compute/") == ""
    assert len(listing(client, "/network/")) == 1


def test_an_images_machines_are_found_at_its_template(client: Client) -> None:
    compute = client.make("/compute/", COMPUTE, TINY)
    client.make("/compute/", COMPUTE)

    assert listing(client, "/os_tpl/tiny/") == [compute]
    assert listing(client, "/os_tpl/")[-1] == compute
    assert client.send("GET", "/os_tpl/absent/").status_code == 404
