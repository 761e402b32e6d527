"""OCCI instances through HTTP and the real door: made, shown, changed, acted on, deleted."""

from __future__ import annotations

import base64
import json
from uuid import UUID, uuid4

import pytest
from occi_client import (
    COMPUTE,
    INFRASTRUCTURE,
    INTERFACE,
    IP_NETWORK,
    LARGE,
    MINE,
    NETWORK,
    ORIGIN,
    SMALL,
    STORAGE,
    STORAGE_LINK,
    TINY,
    Client,
    action,
)

from backends.cloud import Cloud
from backends.model import NewDisk
from backends.store.database import Connection
from backends.terms import USER_DATA_MAX_BYTES
from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE, encode
from tests.conftest import GIB


@pytest.fixture
def client(cloud: Cloud, image: str) -> Client:
    return Client(cloud)


def settle(sql: Connection) -> None:
    """Takes everything to be as wanted, as the agent would report."""
    sql.execute("UPDATE machine SET state = wanted")
    sql.execute("UPDATE network SET state = wanted")
    sql.execute("UPDATE disk SET state = wanted")


def test_a_compute_gets_what_its_template_says_and_what_its_maker_says(client: Client) -> None:
    path = client.make("/compute/", COMPUTE, TINY, SMALL, attributes='occi.compute.cores=2, occi.core.title="web"')

    shown = client.text(path)
    assert "X-OCCI-Attribute: occi.compute.cores=2\n" in shown
    assert "X-OCCI-Attribute: occi.compute.memory=1.0\n" in shown
    assert 'occi.core.title="web"' in shown
    assert "Category: tiny;" in shown
    assert "Category: small;" in shown


def test_the_answer_to_a_creation_ends_in_the_identity(client: Client) -> None:
    made = client.send("POST", "/compute/", COMPUTE)

    assert made.status_code == 201
    assert made.text == f"X-OCCI-Location: {made.headers['Location']}"


def test_a_creation_at_the_root_answers_200_with_all_of_the_instance(client: Client) -> None:
    made = client.send("POST", "/", COMPUTE)

    assert made.status_code == 200
    assert made.text.startswith("Category: compute;")
    assert made.headers["Location"].startswith(f"{ORIGIN}/compute/")


def test_inline_links_become_interfaces_and_attachments(client: Client) -> None:
    network = client.make("/network/", NETWORK, IP_NETWORK, attributes='occi.network.address="10.9.0.0/24"')
    disk = client.make("/storage/", STORAGE, attributes="occi.storage.size=1.0")
    links = (
        f'<{network}>; rel="{INFRASTRUCTURE}network"; category="{INFRASTRUCTURE}networkinterface";'
        ' occi.networkinterface.address="10.9.0.7",'
        f'<{ORIGIN}{disk}>; rel="{INFRASTRUCTURE}storage"; occi.storagelink.deviceid="/dev/vdc"'
    )
    compute = client.make("/compute/", COMPUTE, TINY, link=links)

    shown = {link["kind"].rpartition("#")[2]: link for link in client.document(compute)["links"]}
    assert shown["networkinterface"]["target"]["location"] == network
    assert shown["networkinterface"]["attributes"]["occi.networkinterface.address"] == "10.9.0.7"
    assert shown["storagelink"]["target"]["location"] == disk
    assert shown["storagelink"]["attributes"]["occi.storagelink.mountpoint"] == "/dev/vdc"


def test_nothing_is_made_when_an_inline_link_is_wrong(client: Client) -> None:
    for target in (f"/network/{uuid4()}", "/network/nonsense", "http://elsewhere.example/network/1", "/compute/1"):
        refused = client.send(
            "POST",
            "/compute/",
            COMPUTE,
            link=f'<{target}>; rel="{INFRASTRUCTURE}network"; category="{INFRASTRUCTURE}networkinterface"',
        )
        assert refused.status_code in (400, 404), refused.text
    assert client.text("/compute/") == ""


def test_a_link_made_by_itself_shows_in_its_compute_and_goes_when_deleted(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE)
    disk = client.make("/storage/", STORAGE, attributes="occi.storage.size=1")
    link = client.make(
        "/storagelink/", STORAGE_LINK, attributes=f'occi.core.source="{ORIGIN}{compute}", occi.core.target="{disk}"'
    )

    assert f'self="{link}"' in client.text(compute)
    assert f'occi.core.target="{disk}"' in client.text(link)
    assert client.send("DELETE", link).status_code == 200


def test_a_storagelink_takes_and_shows_the_object_id_of_its_disk(client: Client, other_cloud: Cloud) -> None:
    compute = client.make("/compute/", COMPUTE)
    disk, another = (client.make("/storage/", STORAGE, attributes="occi.storage.size=1") for _ in range(2))
    source = f'occi.core.source="{compute}"'

    link = client.make(
        "/storagelink/", STORAGE_LINK, attributes=f'{source}, occi.storagelink.deviceid="{object_id(disk)}"'
    )
    shown = client.document(link)
    assert shown["target"]["location"] == disk
    assert shown["attributes"]["occi.storagelink.deviceid"] == object_id(disk)
    assert shown["attributes"]["occi.storagelink.mountpoint"] == "/dev/vda"
    for sought, found in (
        (f'occi.storagelink.deviceid="{object_id(disk)}"', link),
        (f'occi.storagelink.deviceid="{object_id(another)}"', ""),
        ('occi.storagelink.mountpoint="/dev/vda"', link),
        ('occi.storagelink.mountpoint="/dev/vdb"', ""),
    ):
        assert (link in client.send("GET", "/storagelink/", attributes=sought).text) is bool(found)

    assert client.send("POST", link, attributes='occi.storagelink.mountpoint="/dev/vdd"').status_code == 200
    assert client.document(link)["attributes"]["occi.storagelink.mountpoint"] == "/dev/vdd"
    assert (
        client.send(
            "PUT", link, body=json.dumps(client.document(link)), content_type="application/occi+json"
        ).status_code
        == 200
    )
    wrong = f'occi.storagelink.deviceid="{object_id(another)}"'
    assert client.send("POST", link, attributes=wrong).status_code == 400

    contradiction = f'{source}, occi.core.target="{another}", occi.storagelink.deviceid="{object_id(disk)}"'
    assert client.send("POST", "/storagelink/", STORAGE_LINK, attributes=contradiction).status_code == 400
    assert client.send("POST", "/storagelink/", STORAGE_LINK, attributes=source).status_code == 400
    theirs = f"/storage/{other_cloud.create_disk(NewDisk(GIB)).id}"
    stolen = f'{source}, occi.storagelink.deviceid="{object_id(theirs)}"'
    assert client.send("POST", "/storagelink/", STORAGE_LINK, attributes=stolen).status_code == 404


def object_id(disk: str) -> str:
    return encode(UUID(disk.removeprefix("/storage/")), DOCUMENTATION_ENTERPRISE)


def test_a_link_needs_both_ends_and_ends_of_the_right_kind(client: Client) -> None:
    compute = client.make("/compute/", COMPUTE)
    for attributes in (
        f'occi.core.source="{compute}"',
        f'occi.core.source="{compute}", occi.core.target="{compute}"',
        f'occi.core.source="{compute}", occi.core.target="plain"',
        'occi.core.source="/compute/1", occi.core.target="/network/1"',
    ):
        refused = client.send("POST", "/networkinterface/", INTERFACE, attributes=attributes)
        assert refused.status_code == 400, refused.text


def test_keys_and_user_data_come_by_the_standards_names_and_by_openstacks(client: Client) -> None:
    data = base64.b64encode(b"#!/bin/sh\n").decode()
    openstack = client.make(
        "/compute/",
        COMPUTE,
        'public_key; scheme="http://schemas.openstack.org/instance/credentials#"',
        'user_data; scheme="http://schemas.openstack.org/compute/instance#"',
        attributes='org.openstack.credentials.publickey.name="me",'
        f' org.openstack.credentials.publickey.data="ssh-ed25519 AAAA me", org.openstack.compute.user_data="{data}"',
    )
    standard = client.make(
        "/compute/",
        COMPUTE,
        'ssh_key; scheme="http://schemas.ogf.org/occi/infrastructure/credentials#"',
        'user_data; scheme="http://schemas.ogf.org/occi/infrastructure/compute#"',
        attributes=f'occi.credentials.ssh.publickey="ssh-ed25519 AAAA me", occi.compute.userdata="{data}"',
    )

    for path in (openstack, standard):
        shown = client.document(path)["attributes"]
        assert shown["occi.credentials.ssh.publickey"] == "ssh-ed25519 AAAA me"
        assert shown["occi.compute.userdata"] == data


@pytest.mark.parametrize(
    "attribute",
    [
        'occi.compute.cores="two"',
        "occi.compute.cores=0",
        "occi.compute.cores=1.5",
        "occi.compute.memory=true",
        'occi.compute.architecture="arm"',
        'occi.compute.hostname="no spaces here"',
        "occi.compute.hostname=5",
        "occi.compute.share=1",
        'occi.compute.userdata="not base64!"',
    ],
)
def test_a_value_that_does_not_fit_is_a_400_that_names_it(client: Client, attribute: str) -> None:
    refused = client.send("POST", "/compute/", COMPUTE, attributes=attribute)

    assert refused.status_code == 400
    assert attribute.partition("=")[0] in refused.text
    assert "expected" in refused.text


def test_what_is_unknown_is_a_404(client: Client) -> None:
    compute = client.make("/compute/", COMPUTE)

    assert client.send("POST", "/compute/", COMPUTE, attributes="occi.compute.wheels=4").status_code == 404
    assert client.send("POST", "/compute/", COMPUTE, 'x; scheme="http://nowhere.example/#"').status_code == 404
    assert client.send("POST", "/compute/", COMPUTE, TINY.replace("tiny", "absent")).status_code == 404
    assert client.send("GET", f"/compute/{uuid4()}").status_code == 404
    assert client.send("GET", "/compute/nonsense").status_code == 404
    assert client.send("POST", f"{compute}?action=fly", action("compute", "fly")).status_code == 404


def test_a_mixin_of_another_kind_is_forbidden(client: Client) -> None:
    assert client.send("POST", "/network/", NETWORK, TINY).status_code == 403
    assert client.send("POST", "/compute/", COMPUTE, IP_NETWORK).status_code == 403


def test_a_partial_update_leaves_the_rest(client: Client) -> None:
    path = client.make("/network/", NETWORK, attributes='occi.core.title="a", occi.network.label="b"')

    changed = client.send("POST", path, attributes='occi.network.label="c"')

    assert changed.status_code == 200
    assert 'occi.network.label="c"' in changed.text
    assert 'occi.core.title="a"' in changed.text


def test_a_full_update_clears_what_it_leaves_out(client: Client) -> None:
    path = client.make("/network/", NETWORK, attributes='occi.core.title="a", occi.network.label="b"')

    changed = client.send("PUT", path, NETWORK, attributes='occi.network.label="c"')

    assert changed.status_code == 200
    assert 'occi.network.label="c"' in changed.text
    assert "occi.core.title" not in changed.text


def test_a_rendering_can_be_put_back_as_it_is(client: Client) -> None:
    network = client.make("/network/", NETWORK, IP_NETWORK, attributes='occi.network.address="10.9.0.0/24"')
    disk = client.make("/storage/", STORAGE, attributes="occi.storage.size=1.5")
    link = f'<{disk}>; rel="{INFRASTRUCTURE}storage"'
    compute = client.make("/compute/", COMPUTE, TINY, SMALL, attributes='occi.compute.hostname="a"', link=link)
    attachment = client.document(compute)["links"][-1]["id"]

    for path in (network, disk, compute, f"/storagelink/{attachment}"):
        for media_type in ("text/plain", "application/occi+json"):
            before = client.text(path, media_type)
            put = client.send("PUT", path, body=before, content_type=media_type, accept=media_type)
            assert put.status_code == 200, put.text
            assert put.text == before


def test_an_immutable_attribute_stays(client: Client) -> None:
    compute = client.make("/compute/", COMPUTE)
    interface = f"/networkinterface/{client.document(compute)['links'][0]['id']}"

    assert client.send("POST", compute, attributes='occi.compute.state="active"').status_code == 403
    assert client.send("POST", interface, attributes='occi.core.source="/compute/1"').status_code == 403
    assert client.send("PUT", compute, attributes=f'occi.core.id="{uuid4()}"').status_code == 403


def test_a_new_template_replaces_the_old_one(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE, TINY, SMALL)
    settle(sql)
    refused = client.send("POST", compute, LARGE)
    client.send("POST", f"{compute}?action=stop", action("compute", "stop"))
    settle(sql)
    changed = client.send("POST", compute, LARGE)

    assert refused.status_code == 400
    assert changed.status_code == 200, changed.text
    assert "Category: large;" in changed.text
    assert "Category: small;" not in changed.text
    assert "occi.compute.cores=4" in changed.text


def test_a_storage_from_an_image_carries_its_template(client: Client) -> None:
    path = client.make("/storage/", STORAGE, TINY, attributes="occi.storage.size=2.0")
    blank = client.make("/storage/", STORAGE, attributes="occi.storage.size=2.0")

    assert "Category: tiny;" in client.text(path)
    assert "Category: tiny;" not in client.text(blank)
    found = client.send("GET", "/storage/", TINY, accept="text/uri-list").text.split()
    assert found == [ORIGIN + path]
    assert ORIGIN + path in client.text("/os_tpl/tiny/", accept="text/uri-list").split()
    assert client.send("PUT", path, body=client.text(path), content_type="text/plain").status_code == 200


def test_the_image_of_a_storage_is_settled_when_it_is_made(client: Client, sql: Connection) -> None:
    assert "needs" in client.send("POST", "/storage/", STORAGE, TINY, attributes="occi.storage.size=0.01").text
    blank = client.make("/storage/", STORAGE, attributes="occi.storage.size=2.0")
    refused = client.send("POST", blank, TINY)
    assert (refused.status_code, "image can't change" in refused.text) == (400, True)
    assert client.send("POST", "/os_tpl/tiny/", locations=blank).status_code == 400


def test_a_rendering_can_be_put_back_when_its_image_is_gone(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE, TINY)
    storage = client.make("/storage/", STORAGE, TINY, attributes="occi.storage.size=2.0")
    sql.execute("UPDATE image SET deleting = true")
    for path in (compute, storage):
        put = client.send("PUT", path, body=client.text(path), content_type="text/plain")
        assert put.status_code == 200, put.text


def test_a_client_chooses_a_uuid_but_no_other_path(client: Client) -> None:
    path = f"/compute/{uuid4()}"

    assert client.send("PUT", path, COMPUTE).status_code == 201
    assert path.rpartition("/")[2] in client.text(path)
    for refused in ("/compute/mine", "/vms/mine", "/mine"):
        assert client.send("PUT", refused, COMPUTE).status_code == 400


def test_the_kind_can_not_change(client: Client) -> None:
    compute = client.make("/compute/", COMPUTE)

    assert client.send("POST", compute, NETWORK).status_code == 400
    assert client.send("PUT", compute, NETWORK).status_code == 400
    assert client.send("POST", "/network/", COMPUTE).status_code == 400
    assert client.send("POST", "/compute/", COMPUTE, NETWORK).status_code == 400
    assert client.send("POST", "/compute/").status_code == 400


def test_only_the_actions_that_apply_are_offered_and_taken(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE, TINY)
    settle(sql)

    assert "?action=stop>" in client.text(compute)
    assert "?action=start>" not in client.text(compute)
    assert client.send("POST", f"{compute}?action=start", action("compute", "start")).status_code == 400
    stopped = client.send("POST", f"{compute}?action=stop", action("compute", "stop"), attributes='method="poweroff"')
    assert stopped.status_code == 200
    settle(sql)
    assert "?action=start>" in client.text(compute)


def test_an_action_must_be_the_one_of_the_url_and_its_parameters_known(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE)
    settle(sql)
    stop = f"{compute}?action=stop"

    assert client.send("POST", stop).status_code == 400
    assert client.send("POST", stop, action("compute", "start")).status_code == 400
    assert client.send("POST", stop, action("storage", "stop")).status_code == 400
    assert client.send("POST", stop, action("compute", "stop"), attributes='method="axe"').status_code == 400
    assert client.send("POST", stop, action("compute", "stop"), attributes='haste="yes"').status_code == 404


def test_an_action_in_json(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE)
    settle(sql)
    identifier = "http://schemas.ogf.org/occi/infrastructure/compute/action#suspend"
    body = json.dumps({"action": identifier, "attributes": {"method": "suspend"}})

    done = client.send("POST", f"{compute}?action=suspend", body=body, content_type="application/occi+json")

    assert done.status_code == 200, done.text
    assert sql.execute("SELECT wanted FROM machine").fetchone() == ("suspended",)


def test_save_answers_with_the_template_that_it_makes(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE, TINY)
    settle(sql)

    saved = client.send("POST", f"{compute}?action=save", action("compute", "save"), attributes='name="golden"')

    assert saved.status_code == 200, saved.text
    assert saved.text.startswith('Category: golden; scheme="http://altostratus.local/occi/os_tpl#"')
    assert "Category: golden;" in client.text("/-/")


def test_a_snapshot_is_a_storage_that_does_not_change_and_resize_grows(client: Client, sql: Connection) -> None:
    disk = client.make("/storage/", STORAGE, attributes="occi.storage.size=1")
    settle(sql)

    copied = client.send("POST", f"{disk}?action=snapshot", action("storage", "snapshot"))
    assert copied.status_code == 200, copied.text
    snapshot = copied.headers["Location"].removeprefix(ORIGIN)
    assert snapshot != disk
    settle(sql)
    sql.execute("UPDATE disk SET source_disk_id = NULL")
    assert "action=backup" in client.text(snapshot)
    assert "action=resize" not in client.text(snapshot)
    refused = client.send("POST", f"{snapshot}?action=resize", action("storage", "resize"), attributes="size=2.0")
    assert (refused.status_code, "it is a snapshot" in refused.text) == (400, True)
    backup = client.send("POST", f"{snapshot}?action=backup", action("storage", "backup"))
    assert backup.status_code == 200, backup.text
    grown = client.send("POST", f"{disk}?action=resize", action("storage", "resize"), attributes="size=2.0")
    assert grown.status_code == 200, grown.text
    assert client.send("POST", f"{disk}?action=resize", action("storage", "resize")).status_code == 400


def test_a_running_compute_shows_its_console_as_a_link(client: Client, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE)
    settle(sql)
    sql.execute("UPDATE machine SET console = '127.0.0.1:5901', console_password = 'pass-123'")
    console = compute.replace("/compute/", "/consolelink/")

    assert (
        f'<vnc://127.0.0.1:5901>; rel="http://altostratus.local/occi/infrastructure#vnc"; self="{console}"'
        in client.text(compute)
    )
    assert 'occi.core.target="vnc://127.0.0.1:5901"' in client.text(console)
    assert 'local.altostratus.vnc.password="pass-123"' in client.text(console)
    assert 'local.altostratus.vnc.password="pass-123"' in client.text(compute)
    assert client.send("PUT", compute, body=client.text(compute), content_type="text/plain").status_code == 200
    assert client.text("/consolelink/").endswith(console)


def test_what_a_guest_said_on_its_console_is_behind_a_link(client: Client, other_cloud: Cloud, sql: Connection) -> None:
    compute = client.make("/compute/", COMPUTE)
    link = compute.replace("/compute/", "/consolelink/") + "/log"
    assert "console-log" not in client.text(compute)
    assert client.send("GET", link).status_code == 404

    sql.execute(
        "INSERT INTO console_log (machine_id, tail) VALUES (%s, %s)",
        [compute.rpartition("/")[2], b"<b>login:</b> \xff\n"],
    )
    log = f"{compute}/console-log"
    assert f'<{log}>; rel="http://altostratus.local/occi/infrastructure#console_log"; self="{link}"' in client.text(
        compute
    )
    assert f'occi.core.target="{log}"' in client.text(link)
    assert client.text("/consolelink/").endswith(link)
    said = client.send("GET", log)
    assert said.text == "<b>login:</b> \ufffd\n"
    assert said.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert said.headers["X-Content-Type-Options"] == "nosniff"
    assert Client(other_cloud).send("GET", log).status_code == 404
    assert Client(other_cloud).send("GET", link).status_code == 404
    assert client.send("GET", "/compute/nonsense/console-log").status_code == 404


def test_a_deleted_compute_is_gone(client: Client) -> None:
    compute = client.make("/compute/", COMPUTE)

    assert client.send("DELETE", compute).status_code == 200
    assert client.send("GET", compute).status_code == 404
    assert client.send("DELETE", compute).status_code == 404


def test_another_projects_compute_is_not_there(client: Client, other_cloud: Cloud) -> None:
    compute = client.make("/compute/", COMPUTE)
    stranger = Client(other_cloud)

    for method in ("GET", "POST", "DELETE"):
        assert stranger.send(method, compute).status_code == 404
    assert stranger.text("/compute/") == ""
    assert MINE.split(";")[0] not in stranger.text("/-/")


def test_user_data_has_one_limit_and_a_vlan_the_standards_range(client: Client) -> None:
    def compute(size_bytes: int) -> int:
        data = base64.b64encode(bytes(size_bytes)).decode()
        body = json.dumps({"kind": f"{INFRASTRUCTURE}compute", "attributes": {"occi.compute.userdata": data}})
        sent = client.send("POST", "/compute/", body=body, content_type="application/occi+json")
        return sent.status_code

    assert [compute(USER_DATA_MAX_BYTES), compute(USER_DATA_MAX_BYTES + 1)] == [201, 400]
    statuses = [
        client.send("POST", "/network/", NETWORK, attributes=f"occi.network.vlan={vlan}").status_code
        for vlan in (0, 4095, 4096)
    ]
    assert statuses == [201, 409, 400]  # 4095 is in the range, but no host can have it
