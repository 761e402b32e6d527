"""Disks as CDMI's containers and OCCI's storages, through HTTP, over a real PostgreSQL."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT, DOMAIN
from cdmi_client import Client as CdmiClient
from lxml import html
from occi_client import COMPUTE, STORAGE, STORAGE_LINK, action
from occi_client import Client as OcciClient
from test_cdmi_objects import multipart, noted_statements

from backends.cloud import Cloud
from backends.opened import OpenedDisks
from backends.store.database import Connection, Database
from cdmi_server.site import Site
from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE, encode
from tests.conftest import GIB

BESIDE, SERVED = (
    f'{term}; scheme="http://altostratus.local/occi/storage_tpl#"; class="mixin"' for term in ("file", "iscsi")
)


@pytest.fixture
def occi(cloud: Cloud) -> OcciClient:
    return OcciClient(cloud)


@pytest.fixture
def cdmi(database: Database, cloud: Cloud, tmp_path: Path) -> CdmiClient:
    """The same user."""
    return CdmiClient(database, cloud.caller, tmp_path)


def settle(sql: Connection) -> None:
    """Takes all disks to be as wanted, as the agent would report."""
    sql.execute("UPDATE disk SET state = wanted, observed_generation = generation, source_disk_id = NULL")


def make(cdmi: CdmiClient, name: str, size_bytes: int = GIB, root: str = "/cdmi/", **fields: object) -> str:
    """Its object ID."""
    body = {"metadata": {"cdmi_assignedsize": str(size_bytes), "colour": "red"}} | fields
    made = cdmi.send("PUT", f"{root}disks/{name}/", CONTAINER, body)
    assert made.status_code == 202, made.text
    assert made.headers["Location"].endswith(f"{root}disks/{name}/")
    return str(made.json["objectID"])


def storage_of(object_id: str) -> str:
    return f"/storage/{UUID(hex=object_id[16:])}"


def test_by_the_roots_id_disks_are_what_they_are_by_path(cdmi: CdmiClient, sql: Connection) -> None:
    root = "/cdmi/2.0.0/cdmi_objectid/" + cdmi.send("GET", "/cdmi/2.0.0/", CONTAINER).json["objectID"]
    make(cdmi, "data")
    settle(sql)
    for path in ("disks/", "disks/data/"):
        assert (
            cdmi.send("GET", f"{root}/{path}", CONTAINER).json
            == cdmi.send("GET", f"/cdmi/2.0.0/{path}", CONTAINER).json
        )
    assert cdmi.send("PUT", "/cdmi/2.0.0/box/", CONTAINER, {}).status_code == 201
    for method, path, body in (
        ("PUT", "disks/box/", {}),
        ("PUT", "disks/box/", {"copy": "/box/"}),
        ("PUT", "disks/box/", {"move": "/box/"}),
        ("PATCH", "disks/", {"copy": "/box/"}),
        ("PATCH", "disks/", {"snapshot": "s"}),
        ("PATCH", "disks/?metadata=cdmi_versioning", {"metadata": {"cdmi_versioning": "all"}}),
    ):  # fmt: skip
        assert cdmi.send(method, f"{root}/{path}", CONTAINER, body).status_code == 400, (path, body)
    assert cdmi.send("PUT", f"{root}/disks/o", DATAOBJECT, {"value": "x"}).status_code == 400
    assert cdmi.plain("PUT", f"{root}/disks/o", b"x").status_code == 400
    assert cdmi.plain("POST", f"{root}/disks/", b"x").status_code == 400
    assert sql.execute(
        "SELECT count(*) FROM stored_object WHERE parent_id IN (SELECT id FROM stored_object WHERE name = 'disks')"
    ).fetchone() == (0,)
    copied = {"metadata": {}, "copy": f"{root}/disks/data/"}
    assert cdmi.send("PUT", f"{root}/disks/clone/", CONTAINER, copied).status_code == 202


def test_no_two_things_have_the_same_id(
    database: Database, cdmi: CdmiClient, occi: OcciClient, other_cloud: Cloud, sql: Connection, tmp_path: Path
) -> None:
    disk_id = make(cdmi, "data")
    settle(sql)
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"snapshot": "now"}).status_code == 202
    settle(sql)
    object_id = cdmi.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x"}).json["objectID"]
    values = sql.execute("SELECT value_id FROM disk").fetchall()
    taken = [disk_id, object_id, *(encode(row[0], DOCUMENTATION_ENTERPRISE) for row in values)]
    for path, kind in (
        ("disks/data/cdmi_snapshots/", CONTAINER),
        ("disks/data/cdmi_snapshots/now/", CONTAINER),
        ("disks/", CONTAINER),
        ("", CONTAINER),
        ("cdmi_capabilities/", CAPABILITY),
        ("cdmi_domains/", CONTAINER),
        ("cdmi_domains/project/", DOMAIN),
    ):
        taken.append(cdmi.send("GET", f"/cdmi/{path}", kind).json["objectID"])
    others = CdmiClient(database, other_cloud.caller, tmp_path)
    for client in (cdmi, others):
        for number, identity in enumerate(taken):
            text = json.dumps({"objectType": DATAOBJECT, "objectID": identity, "value": "v"})
            body = {"deserializevalue": base64.b64encode(text.encode()).decode()}
            made = client.send("PUT", f"/cdmi/new{number}", DATAOBJECT, body)
            assert (made.status_code, made.json["objectID"] in taken) == (201, False), number
    for client in (occi, OcciClient(other_cloud)):
        refused = client.send("PUT", storage_of(object_id), STORAGE, attributes="occi.storage.size=1.0")
        assert refused.status_code == 409, refused.text


@pytest.mark.parametrize("root", ["/cdmi/", "/cdmi/2.0.0/"])
def test_a_disk_made_by_cdmi_is_a_storage(cdmi: CdmiClient, occi: OcciClient, sql: Connection, root: str) -> None:
    object_id = make(cdmi, "data", root=root)
    made = cdmi.send("GET", f"{root}disks/data/", CONTAINER)
    assert (made.status_code, made.json["completionStatus"], made.json["percentComplete"]) == (202, "Processing", "0")
    assert "children" not in made.json
    settle(sql)

    read = cdmi.send("GET", f"{root}disks/data/", CONTAINER)
    assert (read.status_code, read.json["completionStatus"], read.json["percentComplete"]) == (200, "Complete", "100")
    assert read.json["metadata"]["cdmi_assignedsize"] == str(GIB)
    assert read.json["metadata"]["colour"] == "red"
    assert (read.json["objectName"], read.json["parentURI"]) == ("data/", f"{root}disks/")
    all_of_them = cdmi.send("GET", f"{root}disks/", CONTAINER).json
    assert (all_of_them["children"], all_of_them["objectID"]) == (["data/"], read.json["parentID"])
    assert "disks/" in cdmi.send("GET", root, CONTAINER).json["children"]

    storage = occi.document(storage_of(object_id))
    assert storage["attributes"]["occi.storage.size"] == 1.0  # type: ignore[index]
    assert storage["attributes"]["occi.storage.state"] == "online"  # type: ignore[index]
    assert storage["title"] == "data"


def test_a_storage_made_by_occi_is_a_disk_of_cdmi(cdmi: CdmiClient, occi: OcciClient, sql: Connection) -> None:
    path = occi.make("/storage/", STORAGE, attributes="occi.storage.size=1.0")
    name = path.removeprefix("/storage/")
    object_id = encode(UUID(name), DOCUMENTATION_ENTERPRISE)
    settle(sql)

    assert cdmi.send("GET", "/cdmi/disks/", CONTAINER).json["children"] == [f"{name}/"]
    read = cdmi.send("GET", f"/cdmi/disks/{name}/", CONTAINER).json
    assert (read["objectID"], read["metadata"]["cdmi_assignedsize"]) == (object_id, str(GIB))
    for by_id in (f"/cdmi/cdmi_objectid/{object_id}", f"/cdmi/cdmi_objectid/{object_id}/"):
        assert cdmi.send("GET", by_id, CONTAINER).json == read


def test_what_one_front_end_changes_the_other_shows_at_once(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    storage = storage_of(make(cdmi, "data"))
    settle(sql)
    grown = {"metadata": {"cdmi_assignedsize": str(2 * GIB)}}
    assert cdmi.send("PUT", "/cdmi/disks/data/?metadata:cdmi_assignedsize", CONTAINER, grown).status_code == 204
    assert occi.document(storage)["attributes"]["occi.storage.size"] == 2.0  # type: ignore[index]
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["completionStatus"] == "Processing"
    settle(sql)

    resized = occi.send("POST", f"{storage}?action=resize", action("storage", "resize"), attributes="size=3.0")
    assert resized.status_code in (200, 204), resized.text
    read = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json
    assert read["metadata"]["cdmi_assignedsize"] == str(3 * GIB)
    assert read["metadata"]["colour"] == "red"
    settle(sql)
    sql.execute("UPDATE disk SET state = 'error', state_message = 'the pool is full'")
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["completionStatus"] == "Error: the pool is full"
    settle(sql)

    assert occi.send("DELETE", storage).status_code in (200, 204)
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).status_code == 404
    storage = storage_of(make(cdmi, "data"))
    assert cdmi.send("DELETE", "/cdmi/disks/data/", CONTAINER).status_code == 204
    assert occi.send("GET", storage).status_code == 404


def test_a_disk_never_shrinks_and_its_size_is_a_number(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    settle(sql)
    for size in ("many", "-1", "", "1e9", True, 1.5, [], "9" * 18):
        body = {"metadata": {"cdmi_assignedsize": size}}
        refused = cdmi.send("PUT", "/cdmi/disks/data/?metadata:cdmi_assignedsize", CONTAINER, body)
        assert refused.status_code == 400, (size, refused.text)
        made = cdmi.send("PUT", "/cdmi/disks/other/", CONTAINER, body)
        assert made.status_code == 400, (size, made.text)
        assert "Cdmi_" not in made.text, "a name stays as it is at the start of a sentence"
    number = {"metadata": {"cdmi_assignedsize": GIB}}
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, number).status_code == 204
    assert "can only grow" in cdmi.send(
        "PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": {"cdmi_assignedsize": "1048576"}}
    ).text  # fmt: skip
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["metadata"]["cdmi_assignedsize"] == str(GIB)


def test_an_attached_disk_is_not_deleted_and_the_answer_says_why(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    object_id = make(cdmi, "data")
    settle(sql)
    compute = occi.make("/compute/", COMPUTE)
    link = f'occi.core.source="{compute}", occi.storagelink.deviceid="{object_id}"'
    path = occi.make("/storagelink/", STORAGE_LINK, attributes=link)
    assert occi.document(path)["attributes"]["occi.storagelink.deviceid"] == object_id  # type: ignore[index]

    refused = cdmi.send("DELETE", "/cdmi/disks/data/", CONTAINER)
    assert refused.status_code == 409
    assert "attached to the compute" in refused.text


def test_a_disk_is_cloned_by_copy(cdmi: CdmiClient, occi: OcciClient, sql: Connection) -> None:
    object_id = make(cdmi, "data")
    settle(sql)
    for name, source in (("by-path", "/disks/data/"), ("by-id", f"/cdmi/cdmi_objectid/{object_id}/")):
        made = cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, {"copy": source})
        assert (made.status_code, made.json["completionStatus"]) == (202, "Processing"), made.text
        assert made.json["objectID"] != object_id
        settle(sql)
        assert occi.document(storage_of(made.json["objectID"]))["attributes"]["occi.storage.size"] == 1.0  # type: ignore[index]
    small = {"copy": "/disks/data/", "metadata": {"cdmi_assignedsize": "1048576"}}
    assert cdmi.send("PUT", "/cdmi/disks/small/", CONTAINER, small).status_code == 400
    assert cdmi.send("PUT", "/cdmi/disks/none/", CONTAINER, {"copy": "/disks/nothing/"}).status_code == 400
    assert cdmi.send("PUT", "/cdmi/disks/none/", CONTAINER, {"copy": "/disks/"}).status_code == 400
    assert cdmi.send("PUT", "/cdmi/box/", CONTAINER, {"copy": "/disks/data/"}).status_code == 400


def test_names_are_a_projects_own_and_taken_once(
    cdmi: CdmiClient, database: Database, other_cloud: Cloud, tmp_path: Path
) -> None:
    other = CdmiClient(database, other_cloud.caller, tmp_path)
    object_id = make(cdmi, "data")
    theirs = make(other, "data")
    for path in (f"/cdmi/cdmi_objectid/{theirs}", f"/cdmi/disks/{UUID(hex=theirs[16:])}/"):
        for method in ("GET", "DELETE"):
            assert cdmi.send(method, path, CONTAINER).status_code == 404
    assert cdmi.send("PUT", "/cdmi/disks/copy/", CONTAINER, {"copy": f"/cdmi_objectid/{theirs}"}).status_code == 400
    assert other.send("GET", "/cdmi/disks/data/", CONTAINER).json["objectID"] == theirs != object_id
    body = {"metadata": {"cdmi_assignedsize": str(GIB)}}
    for name in (str(uuid4()), "cdmi_disk", "a%00b", "%2e%2e", "n" * 1025):
        assert cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, body).status_code == 400, name


def test_the_container_of_disks_is_always_there_and_holds_nothing_else(cdmi: CdmiClient) -> None:
    empty = cdmi.send("GET", "/cdmi/disks/", CONTAINER).json
    assert (empty["children"], empty["childrenrange"]) == ([], "")
    assert cdmi.send("DELETE", "/cdmi/disks/", CONTAINER).status_code == 400
    assert cdmi.send("PUT", "/cdmi/moved/", CONTAINER, {"move": "/disks/"}).status_code == 400
    assert cdmi.send("PUT", "/cdmi/disks/object", DATAOBJECT, {"value": "x"}).status_code == 400
    assert cdmi.send("POST", "/cdmi/disks/", DATAOBJECT, {"value": "x"}).status_code == 400
    assert cdmi.plain("PUT", "/cdmi/disks/plain/").status_code == 400
    assert cdmi.send("PUT", "/cdmi/disks/none/", CONTAINER, {}).status_code == 400
    by_id = f"/cdmi/cdmi_objectid/{empty['objectID']}/"
    assert cdmi.send("PUT", f"{by_id}object", DATAOBJECT, {"value": "x"}).status_code == 400
    assert cdmi.send("GET", by_id, CONTAINER).json == empty

    for name in "abc":
        make(cdmi, name)
    part = cdmi.send("GET", "/cdmi/disks/?childrenrange;children:1-5", CONTAINER).json
    assert part == {"childrenrange": "1-2", "children": ["b/", "c/"]}
    assert cdmi.send("GET", "/cdmi/disks", CONTAINER).status_code == 301
    assert cdmi.send("GET", "/cdmi/disks/a", CONTAINER).status_code == 301
    assert cdmi.plain("GET", "/cdmi/disks/").text.splitlines() == ["a/", "b/", "c/"]
    assert 'href="./a/"' in cdmi.plain("GET", "/cdmi/disks/", Accept="text/html").text


def test_the_page_of_disks_tells_people_what_each_is_and_where_its_bytes_are(
    database: Database, cloud: Cloud, sql: Connection, host: str, tmp_path: Path
) -> None:
    cdmi = CdmiClient(database, cloud.caller, tmp_path, Site(page_size=3), OpenedDisks(host, tmp_path / "opened"))
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal, heartbeat_at)"
        " VALUES ('store1', 0, 0, %s, 'none', 'iscsi', '192.0.2.7:3260', now() + interval '1 day')",
        [2**40],
    )
    beside = {"cdmi_assignedsize": str(GIB), "altostratus_pool": "file"}
    to_some = {"OCCI/iSCSI": {"permissions": []}}
    outside = {"Network/iSCSI": {"permissions": ["iqn.2026-01.org.example:outside"]}}
    make(cdmi, "a%20b", metadata=beside, exports=to_some)
    make(cdmi, "b", exports=to_some | outside)
    make(cdmi, "c", metadata=beside)
    settle(sql)
    make(cdmi, "d", metadata=beside | {"cdmi_assignedsize": str(2 * GIB)})
    sql.execute("UPDATE disk SET state = 'error', state_message = 'it <b>burnt</b>' WHERE name = 'c'")

    def rows(path: str) -> list[list[str]]:
        page = html.document_fromstring(cdmi.plain("GET", path, Accept="text/html").text)
        table = page.xpath("//table[.//th='Exports']")[0]
        return [
            [*(cell.text_content() for cell in row.iter("td")), *(link.get("href") for link in row.iter("a"))]
            for row in table.xpath("tbody/tr")
        ]

    with noted_statements() as noted:
        assert rows("/cdmi/disks/") == [
            ["a b/", "1.0 GiB", "Complete", "OCCI/iSCSI", "Download", "./a%20b/", "./a%20b/value"],
            ["b/", "1.0 GiB", "Complete", "OCCI/iSCSI, iSCSI", "Download", "./b/", "./b/value"],
            ["c/", "1.0 GiB", "Error: it <b>burnt</b>", "", "", "./c/"],
        ]
    with noted_statements() as fewer:
        assert rows("/cdmi/2.0.0/disks/?from=3") == [["d/", "2.0 GiB", "Processing", "", "", "./d/"]]
    assert len(noted) == len(fewer)
    first = cdmi.plain("GET", "/cdmi/disks/", Accept="text/html").text
    assert 'href="?from=3"' in first
    assert "3 of 4" in first
    assert 'rel="next"' not in cdmi.plain("GET", "/cdmi/disks/?from=3", Accept="text/html").text
    assert "nothing here" in cdmi.plain("GET", "/cdmi/disks/?from=4", Accept="text/html").text
    assert cdmi.plain("GET", "/cdmi/disks/?from=x", Accept="text/html").status_code == 400


def test_the_capabilities_of_disks_have_nodes_of_their_own(cdmi: CdmiClient) -> None:
    make(cdmi, "data")
    for path, name in (("/cdmi/disks/", "disks/"), ("/cdmi/disks/data/", "disk/")):
        uri = cdmi.send("GET", path + "?capabilitiesURI", CONTAINER).json["capabilitiesURI"]
        node = cdmi.send("GET", uri, CAPABILITY).json
        assert (node["objectName"], node["parentURI"]) == (name, "/cdmi/cdmi_capabilities/container/")
        assert cdmi.send("GET", f"/cdmi/cdmi_objectid/{node['objectID']}", CAPABILITY).json == node
    above = cdmi.send("GET", node["parentURI"], CAPABILITY).json
    assert {"disks/", "disk/", "disk_snapshot/", "disk_snapshots/", "domain/"} == set(above["children"])
    assert node["children"] == ["served/"]
    for refused in (
        {"metadata": {"cdmi_acl": []}},
        {"value": "x"},
    ):
        assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, refused).status_code == 400, refused


def test_the_capabilities_of_disks_are_what_is_tested_here(cdmi: CdmiClient) -> None:
    def claimed(node: str) -> set[str]:
        return set(cdmi.send("GET", f"/cdmi/cdmi_capabilities/container/{node}/", CAPABILITY).json["capabilities"])

    reading = {"cdmi_read_metadata", "cdmi_modify_metadata", "cdmi_ctime"}
    listing = {"cdmi_list_children", "cdmi_list_children_range", "cdmi_mtime"}
    making = {"cdmi_create_container", "cdmi_copy_container", "cdmi_export_container_occi"}
    asked = {"cdmi_data_redundancy", "cdmi_infrastructure_redundancy", "cdmi_data_holds", "cdmi_data_retention"}
    assert claimed("disks") == reading | listing | making | asked | {"cdmi_acl"}
    assert claimed("disk") == reading | asked | {
        "cdmi_list_children",
        "cdmi_list_children_range",
        "cdmi_delete_container",
        "cdmi_assignedsize",
        "cdmi_size",
        "cdmi_export_container_occi",
        "cdmi_snapshot",
        "cdmi_copy_container",
    }
    assert cdmi.send("PUT", "/cdmi/disks/", CONTAINER, {"metadata": {"colour": "red"}}).status_code == 204
    shown = cdmi.send("GET", "/cdmi/disks/", CONTAINER).json["metadata"]
    assert shown["colour"] == "red"
    assert {"cdmi_ctime", "cdmi_mtime"} <= shown.keys()
    make(cdmi, "data")
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["metadata"]
    assert shown["cdmi_size"] == str(GIB)
    assert "cdmi_ctime" in shown


def test_bytes_that_are_elsewhere_are_no_child_and_asking_for_them_says_where(
    cdmi: CdmiClient, sql: Connection
) -> None:
    make(cdmi, "data")
    settle(sql)
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json
    assert (shown["children"], shown["childrenrange"]) == ([], "")
    assert "value" not in cdmi.plain("GET", "/cdmi/disks/data/").text
    for refused in (
        cdmi.plain("GET", "/cdmi/disks/data/value"),
        cdmi.send("GET", "/cdmi/2.0.0/disks/data/value?capabilitiesURI", DATAOBJECT),
        cdmi.plain("PUT", "/cdmi/disks/data/value", b"x", Content_Type="application/octet-stream"),
        cdmi.send("GET", "/cdmi/2.0.0/disks/data/value?value=0-1", DATAOBJECT),
    ):
        assert (refused.status_code, "the host rack1" in refused.text) == (409, True), refused.text


def test_metadata_of_a_disk_changes_by_item_or_as_a_whole(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    settle(sql)
    read_back = cdmi.send("GET", "/cdmi/disks/data/?metadata", CONTAINER).json
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, read_back).status_code == 204
    assert cdmi.send("GET", "/cdmi/disks/data/?metadata", CONTAINER).json == read_back
    body = {"metadata": {"shape": "round", "ignored": "x"}}
    assert cdmi.send("PATCH", "/cdmi/2.0.0/disks/data/?metadata=shape", CONTAINER, body).status_code == 204
    shown = cdmi.send("GET", "/cdmi/disks/data/?metadata:colour;metadata:shape", CONTAINER).json["metadata"]
    assert shown == {"colour": "red", "shape": "round"}
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": {"only": "x"}}).status_code == 204
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["metadata"]
    assert {name for name in shown if not name.startswith(("cdmi_", "altostratus_"))} == {"only"}
    assert shown["cdmi_assignedsize"] == str(GIB)


def test_a_disk_keeps_the_fields_and_wishes_that_any_container_keeps(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data", shape={"round": [1, 2]}, metadata={"cdmi_assignedsize": str(GIB), "cdmi_data_redundancy": "3"})
    settle(sql)
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json
    assert shown["shape"] == {"round": [1, 2]}
    assert shown["metadata"]["cdmi_data_redundancy_provided"] == "1"
    assert shown["metadata"]["cdmi_owner"] == cdmi.caller.user_name
    changed = cdmi.send("PATCH", "/cdmi/2.0.0/disks/data/", CONTAINER, {"edge": "sharp", "objectName": "x"})
    assert changed.status_code == 204
    assert cdmi.send("GET", "/cdmi/disks/data/?shape;edge", CONTAINER).json == {
        "shape": {"round": [1, 2]},
        "edge": "sharp",
    }
    assert cdmi.send("PUT", "/cdmi/disks/data/?metadata", CONTAINER, {"edge": "x", "metadata": {}}).status_code == 204
    assert cdmi.send("GET", "/cdmi/disks/data/?edge", CONTAINER).json == {"edge": "sharp"}
    assert cdmi.send("PUT", "/cdmi/2.0.0/disks/data/", CONTAINER, {"only": 1}).status_code == 201
    assert not {"shape", "edge"} & cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json.keys()
    large = {"large": "x" * (64 << 10)}
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, large).status_code == 400
    for name, value in {
        "cdmi_acl": [], "cdmi_value_hash": "SHA256", "cdmi_versioning": "all", "cdmi_encryption": "AES_XTS_256",
        "cdmi_mine": "x",
    }.items():  # fmt: skip
        refused = cdmi.send("PUT", f"/cdmi/disks/data/?metadata:{name}", CONTAINER, {"metadata": {name: value}})
        assert (refused.status_code, name[1:] in refused.text) == (400, True)


@pytest.mark.parametrize("metadata", [{"cdmi_assignedsize": None}, {}, 5])
def test_the_size_of_a_disk_is_not_taken_away(cdmi: CdmiClient, metadata: object) -> None:
    make(cdmi, "data")
    for method, path in (("PATCH", "/cdmi/2.0.0/disks/data/?metadata=cdmi_assignedsize"),
                         ("PUT", "/cdmi/disks/data/?metadata:cdmi_assignedsize")):  # fmt: skip
        refused = cdmi.send(method, path, CONTAINER, {"metadata": metadata})
        assert (refused.status_code, metadata == 5 or "assignedsize" in refused.text) == (400, True)


def test_the_pool_of_a_disk_and_that_nobody_writes_to_it_show_in_both(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal, heartbeat_at)"
        " VALUES ('store1', 0, 0, %s, 'none', 'iscsi', '192.0.2.7:3260', now() + interval '1 day')",
        [2**40],
    )
    asked = {"cdmi_assignedsize": str(GIB), "altostratus_pool": "file", "altostratus_readonly": "true"}
    storage = storage_of(make(cdmi, "static", metadata=asked))
    served = storage_of(make(cdmi, "served"))
    settle(sql)
    shown = occi.document(storage)
    assert {"http://altostratus.local/occi/storage_tpl#file", "http://altostratus.local/occi/storage#readonly"} <= set(
        shown["mixins"]  # type: ignore[call-overload]
    )
    assert shown["attributes"]["local.altostratus.storage.readonly"] is True  # type: ignore[index]
    assert "http://altostratus.local/occi/storage_tpl#iscsi" in str(occi.document(served)["mixins"])
    assert occi.send("GET", "/storage_tpl/iscsi/", accept="text/uri-list").text.split()[0].endswith(served)

    beside = occi.make("/storage/", STORAGE, BESIDE, attributes="occi.storage.size=1.0")
    settle(sql)
    metadata = f"/cdmi/disks/{beside.removeprefix('/storage/')}/?metadata"
    read = cdmi.send("GET", metadata, CONTAINER).json["metadata"]
    assert (read["altostratus_pool"], read["altostratus_readonly"]) == ("file", "false")
    assert (
        cdmi.send("PUT", metadata, CONTAINER, {"metadata": {**read, "altostratus_readonly": "true"}}).status_code == 204
    )
    assert occi.send("POST", beside, attributes="local.altostratus.storage.readonly=false").status_code == 200
    assert cdmi.send("GET", metadata, CONTAINER).json["metadata"]["altostratus_readonly"] == "false"

    moved = {"metadata": {**read, "altostratus_pool": "iscsi"}}
    assert cdmi.send("PUT", metadata, CONTAINER, moved).status_code == 409
    for wrong in ({"altostratus_pool": "tape"}, {"altostratus_readonly": 1}):
        refused = cdmi.send(
            "PUT", "/cdmi/disks/wrong/", CONTAINER, {"metadata": {"cdmi_assignedsize": "1048576", **wrong}}
        )
        assert refused.status_code == 400, refused.text
    elsewhere = {"copy": "/cdmi/disks/static/", "metadata": {"altostratus_pool": "iscsi"}}
    assert "is in its pool, file" in cdmi.send("PUT", "/cdmi/disks/copy/", CONTAINER, elsewhere).text
    both = occi.send("POST", "/storage/", STORAGE, BESIDE, SERVED, attributes="occi.storage.size=1.0")
    assert (both.status_code, "Two templates" in both.text) == (400, True)


def test_one_of_several_storage_hosts_is_chosen_by_its_name(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    scheme = "http://altostratus.local/occi/storage_tpl#"

    def listed() -> set[str]:
        found = occi.send("GET", "/-/", accept="application/occi+json").json
        return {mixin["term"] for mixin in found["mixins"] if mixin["scheme"] == scheme}

    assert listed() == {"file"}  # what there is, and nothing else
    for name in ("store1", "store2", "Not a term"):
        sql.execute(
            "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal, heartbeat_at)"
            " VALUES (%s, 0, 0, %s, 'none', 'iscsi', '192.0.2.7:3260', now() + interval '1 day')",
            [name, 2 * GIB],
        )
    assert listed() == {"file", "iscsi", "store1", "store2"}

    second = f'store2; scheme="{scheme}"; class="mixin"'
    chosen = occi.make("/storage/", STORAGE, second, attributes="occi.storage.size=1.0")
    assert {f"{scheme}iscsi", f"{scheme}store2"} <= set(occi.document(chosen)["mixins"])  # type: ignore[call-overload]
    assert occi.send("GET", "/storage_tpl/store2/", accept="text/uri-list").text.split()[0].endswith(chosen)
    assert occi.send("GET", "/storage_tpl/store1/", accept="text/uri-list").text == ""
    assert occi.send("GET", "/storage_tpl/store3/", accept="text/uri-list").status_code == 404
    full = occi.send("POST", "/storage/", STORAGE, second, attributes="occi.storage.size=2.0")
    assert (full.status_code, "host store2" in full.text) == (409, True)
    unknown = second.replace("store2", "store3")
    assert occi.send("POST", "/storage/", STORAGE, unknown, attributes="occi.storage.size=1.0").status_code == 404

    asked = {"cdmi_assignedsize": str(GIB), "altostratus_pool": "Not a term"}
    make(cdmi, "there", metadata=asked)
    assert sql.execute("SELECT host FROM disk WHERE name = 'there'").fetchone() == ("Not a term",)
    moved = {"metadata": {**asked, "altostratus_pool": "store1"}}
    assert cdmi.send("PUT", "/cdmi/disks/there/?metadata", CONTAINER, moved).status_code == 409
    asked["cdmi_assignedsize"] = str(3 * GIB)
    assert cdmi.send("PUT", "/cdmi/disks/large/", CONTAINER, {"metadata": asked}).status_code == 507


def test_without_room_for_a_copy_the_answer_is_507_and_409(cdmi: CdmiClient, occi: OcciClient, sql: Connection) -> None:
    storage = storage_of(make(cdmi, "data"))
    settle(sql)
    sql.execute("UPDATE host SET disk_bytes = %s", [GIB])
    copied = cdmi.send("PUT", "/cdmi/disks/copy/", CONTAINER, {"copy": "/cdmi/disks/data/"})
    assert (copied.status_code, "disk short" in copied.text) == (507, True)
    grown = {"metadata": {"cdmi_assignedsize": str(2 * GIB)}}
    assert cdmi.send("PUT", "/cdmi/disks/data/?metadata:cdmi_assignedsize", CONTAINER, grown).status_code == 507
    assert occi.send("POST", f"{storage}?action=backup", action("storage", "backup")).status_code == 409


def test_items_of_a_disk_that_others_name_are_not_touched(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    settle(sql)
    path = "/cdmi/2.0.0/disks/data/"

    def put(name: str) -> int:
        sent = cdmi.send("PATCH", f"{path}?metadata={name}", CONTAINER, {"metadata": {name: "here"}})
        return sent.status_code

    names = [f"k{number}" for number in range(4)]
    with ThreadPoolExecutor(len(names)) as pool:
        for _ in range(10):
            cdmi.send("PATCH", path, CONTAINER, {"metadata": {}})
            assert list(pool.map(put, names)) == [204] * len(names)
            assert sorted(cdmi.send("GET", f"{path}?metadata=k", CONTAINER).json["metadata"]) == names


def test_a_copy_is_of_the_disk_that_is_named(cdmi: CdmiClient, sql: Connection) -> None:
    for name, size_bytes in (("50%2541", GIB), ("50A", 2 * GIB)):
        make(cdmi, name, size_bytes)
    settle(sql)
    fields = cdmi.send("GET", "/cdmi/disks/50%2541/", CONTAINER).json
    make(cdmi, "copy", copy=fields["parentURI"] + fields["objectName"], metadata={})
    assert cdmi.send("GET", "/cdmi/disks/copy/", CONTAINER).json["metadata"]["cdmi_assignedsize"] == str(GIB)


@pytest.mark.parametrize("read_only", ["true", "false"])
def test_bytes_of_an_attached_disk_are_refused_for_what_is_true(
    database: Database, cloud: Cloud, occi: OcciClient, sql: Connection, host: str, tmp_path: Path, read_only: str
) -> None:
    cdmi = CdmiClient(database, cloud.caller, tmp_path, opened=OpenedDisks(host, tmp_path))
    fixed = {"cdmi_assignedsize": str(GIB), "altostratus_readonly": read_only, "altostratus_pool": "file"}
    object_id = make(cdmi, "data", metadata=fixed)
    settle(sql)
    compute = occi.make("/compute/", COMPUTE)
    link = f'occi.core.source="{compute}", occi.storagelink.deviceid="{object_id}"'
    occi.make("/storagelink/", STORAGE_LINK, attributes=link)
    refused = cdmi.plain("GET", "/cdmi/disks/data/value")
    assert (refused.status_code, "attached to the compute" in refused.text) == (409, True)
    assert ("alone" in refused.text) is (read_only == "false")


def test_bytes_in_parts_come_without_a_value_field(
    database: Database, cloud: Cloud, sql: Connection, host: str, tmp_path: Path
) -> None:
    cdmi = CdmiClient(database, cloud.caller, tmp_path, opened=OpenedDisks(host, tmp_path))
    make(cdmi, "data")
    settle(sql)
    fields = ("Content-Type: application/cdmi-object", b'{"value": "eA=="}')
    body = multipart(fields, ("Content-Range: bytes 0-0/*", b"x"))
    sent = cdmi.send("PUT", "/cdmi/disks/data/value", DATAOBJECT, body, Content_Type="multipart/mixed; boundary=edge")
    assert (sent.status_code, "the body has 'value'" in sent.text.lower()) == (400, True)
