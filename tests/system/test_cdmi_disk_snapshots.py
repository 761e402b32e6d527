"""Snapshots of disks by CDMI and OCCI: the same ones, that don't change, and from which disks are made and restored."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdmi_client import CAPABILITY, CONTAINER
from cdmi_client import Client as CdmiClient
from occi_client import COMPUTE, ORIGIN, STORAGE_LINK, action
from occi_client import Client as OcciClient
from test_cdmi_disks import make, settle, storage_of

from backends.cloud import Cloud
from backends.store.database import Connection, Database
from tests.conftest import GIB

SNAPSHOTS = "/cdmi/disks/data/cdmi_snapshots/"


@pytest.fixture
def occi(cloud: Cloud) -> OcciClient:
    return OcciClient(cloud)


@pytest.fixture
def cdmi(database: Database, cloud: Cloud, tmp_path: Path) -> CdmiClient:
    """The same user."""
    return CdmiClient(database, cloud.caller, tmp_path)


def snapshot(cdmi: CdmiClient, sql: Connection, name: str, *, root: str = "/cdmi/") -> dict[str, object]:
    """What it shows once it is taken."""
    method = "PATCH" if "2.0.0" in root else "PUT"
    taken = cdmi.send(method, f"{root}disks/data/", CONTAINER, {"snapshot": name})
    assert taken.status_code == 202, taken.text
    settle(sql)
    shown = cdmi.send("GET", f"{root}disks/data/cdmi_snapshots/{name}/", CONTAINER)
    assert shown.status_code == 200, shown.text
    return dict(shown.json)


@pytest.mark.parametrize("root", ["/cdmi/", "/cdmi/2.0.0/"])
def test_a_snapshot_is_a_container_below_its_disk(cdmi: CdmiClient, sql: Connection, root: str) -> None:
    object_id = make(cdmi, "data", root=root)
    settle(sql)
    assert cdmi.send("GET", f"{root}disks/data/cdmi_snapshots/", CONTAINER).status_code == 404
    taken = cdmi.send("PATCH" if "2" in root else "PUT", f"{root}disks/data/", CONTAINER, {"snapshot": "first"})
    assert taken.status_code == 202
    path = f"{root}disks/data/cdmi_snapshots/first/"
    assert cdmi.send("GET", path, CONTAINER).json["completionStatus"] == "Processing"
    settle(sql)
    first = cdmi.send("GET", path, CONTAINER).json
    above = cdmi.send("GET", f"{root}disks/data/cdmi_snapshots/", CONTAINER).json
    assert (first["objectName"], first["parentURI"], first["parentID"]) == (
        "first/", f"{root}disks/data/cdmi_snapshots/", above["objectID"],
    )  # fmt: skip
    assert (first["metadata"]["cdmi_assignedsize"], first["metadata"]["colour"]) == (str(GIB), "red")
    assert (above["children"], above["parentID"]) == (["first/"], object_id)
    assert len({first["objectID"], above["objectID"], object_id}) == 3
    for one in (first, above):
        assert cdmi.send("GET", f"{root}cdmi_objectid/{one['objectID']}/", CONTAINER).json == one
        assert cdmi.send("GET", one["capabilitiesURI"], CAPABILITY).status_code == 200
    disk = cdmi.send("GET", f"{root}disks/data/", CONTAINER).json
    assert (disk["snapshots"], disk["children"]) == ([path], [])
    assert cdmi.send("GET", f"{root}disks/", CONTAINER).json["children"] == ["data/"]
    assert cdmi.plain("GET", f"{root}disks/data/cdmi_snapshots/").text == "first/\n"
    assert 'href="./first/"' in cdmi.plain("GET", f"{root}disks/data/cdmi_snapshots/", Accept="text/html").text


def test_snapshots_of_one_front_end_are_those_of_the_other(cdmi: CdmiClient, occi: OcciClient, sql: Connection) -> None:
    storage = storage_of(make(cdmi, "data"))
    settle(sql)
    by_cdmi = storage_of(str(snapshot(cdmi, sql, "first")["objectID"]))
    assert occi.document(by_cdmi)["attributes"]["occi.storage.size"] == 1.0  # type: ignore[index]
    taken = occi.send("POST", f"{storage}?action=snapshot", action("storage", "snapshot"))
    assert taken.status_code == 200, taken.text
    settle(sql)
    by_occi = taken.headers["Location"].removeprefix(ORIGIN)
    name = by_occi.rpartition("/")[2]
    assert cdmi.send("GET", SNAPSHOTS, CONTAINER).json["children"] == ["first/", f"{name}/"]
    assert cdmi.send("GET", f"{SNAPSHOTS}{name}/", CONTAINER).json["metadata"]["cdmi_assignedsize"] == str(GIB)

    assert cdmi.send("DELETE", f"{SNAPSHOTS}first/", CONTAINER).status_code == 204
    assert occi.send("GET", by_cdmi).status_code == 404
    assert occi.send("DELETE", by_occi).status_code in (200, 204)
    assert cdmi.send("GET", SNAPSHOTS, CONTAINER).status_code == 404
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).status_code == 200


def test_a_snapshot_does_not_change_and_no_compute_has_it(cdmi: CdmiClient, occi: OcciClient, sql: Connection) -> None:
    make(cdmi, "data")
    settle(sql)
    taken = snapshot(cdmi, sql, "first")
    path = f"{SNAPSHOTS}first/"
    for body in (
        {"metadata": {"cdmi_assignedsize": str(2 * GIB)}},
        {"metadata": {"colour": "blue"}},
        {"exports": {}},
        {"snapshot": "of-it"},
        {"copy": "/disks/data/"},
    ):
        assert cdmi.send("PUT", path, CONTAINER, body).status_code == 400, body
    assert cdmi.send("PUT", f"{SNAPSHOTS}second/", CONTAINER, {"copy": "/disks/data/"}).status_code == 400
    assert cdmi.send("DELETE", SNAPSHOTS, CONTAINER).status_code == 400
    assert cdmi.send("GET", path, CONTAINER).json == taken

    compute = occi.make("/compute/", COMPUTE)
    link = f'occi.core.source="{compute}", occi.storagelink.deviceid="{taken["objectID"]}"'
    refused = occi.send("POST", "/storagelink/", STORAGE_LINK, attributes=link)
    assert (refused.status_code, "is a snapshot" in refused.text) == (409, True)


def test_a_snapshot_of_the_same_name_takes_the_place_of_the_old_one(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    settle(sql)
    first, second = (snapshot(cdmi, sql, "same")["objectID"] for _ in range(2))
    assert first != second
    assert cdmi.send("GET", SNAPSHOTS, CONTAINER).json["children"] == ["same/"]
    assert cdmi.send("GET", f"/cdmi/cdmi_objectid/{first}/", CONTAINER).status_code == 404
    for name in ("cdmi_x", "a/b", "", 5, "11111111-2222-4333-8444-555555555555"):
        assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"snapshot": name}).status_code == 400, name
    assert cdmi.send("PUT", "/cdmi/disks/none/", CONTAINER, {"snapshot": "s"}).status_code == 400


def test_a_disk_is_made_from_a_snapshot_and_goes_back_to_it(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    object_id = make(cdmi, "data")
    settle(sql)
    taken = snapshot(cdmi, sql, "first")
    for name, source in (("by-path", f"{SNAPSHOTS}first/"), ("by-id", f"/cdmi_objectid/{taken['objectID']}/")):
        made = cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, {"copy": source})
        assert made.status_code == 202, made.text
        settle(sql)
    back = {"copy": "/disks/data/cdmi_snapshots/first/"}
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, back).status_code == 202
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER)
    assert (shown.status_code, shown.json["completionStatus"]) == (202, "Processing")
    for busy in (back, {"snapshot": "second"}):
        refused = cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, busy)
        assert (refused.status_code, "wait until" in refused.text) == (409, True)
    compute = occi.make("/compute/", COMPUTE)
    link = f'occi.core.source="{compute}", occi.storagelink.deviceid="{object_id}"'
    assert "wait until" in occi.send("POST", "/storagelink/", STORAGE_LINK, attributes=link).text
    settle(sql)
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER)
    assert (shown.json["completionStatus"], shown.json["objectID"]) == ("Complete", object_id)
    assert shown.json["snapshots"] == [f"{SNAPSHOTS}first/"]
    assert shown.json["metadata"]["colour"] == "red"
    assert cdmi.send("PATCH", "/cdmi/2.0.0/disks/data/", CONTAINER, back).status_code == 202
    settle(sql)
    occi.make("/storagelink/", STORAGE_LINK, attributes=link)
    refused = cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, back)
    assert (refused.status_code, "attached to the compute" in refused.text) == (409, True)


def test_what_a_disk_can_not_be_restored_from_is_refused(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    make(cdmi, "large", 2 * GIB)
    settle(sql)
    for source in ("/disks/large/", "/disks/data/", "/disks/", "/disks/none/", "/", 5, f"{SNAPSHOTS}none/"):
        refused = cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"copy": source})
        assert refused.status_code == 400, (source, refused.text)


def test_a_snapshot_waits_for_no_restoration_that_would_change_it(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    make(cdmi, "other")
    settle(sql)
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"snapshot": "first"}).status_code == 202
    refused = cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"copy": "/disks/other/"})
    assert (refused.status_code, "is being copied" in refused.text) == (409, True)


def test_with_a_disk_its_snapshots_go_and_copies_of_them_stay(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    make(cdmi, "data")
    settle(sql)
    taken = snapshot(cdmi, sql, "first")
    snapshot(cdmi, sql, "second")
    assert cdmi.send("PUT", "/cdmi/disks/clone/", CONTAINER, {"copy": f"{SNAPSHOTS}first/"}).status_code == 202
    settle(sql)
    assert cdmi.send("DELETE", "/cdmi/disks/data/", CONTAINER).status_code == 204
    assert cdmi.send("GET", SNAPSHOTS, CONTAINER).status_code == 404
    assert cdmi.send("GET", f"/cdmi/cdmi_objectid/{taken['objectID']}/", CONTAINER).status_code == 404
    assert cdmi.send("GET", "/cdmi/disks/", CONTAINER).json["children"] == ["clone/"]
    assert len(occi.text("/storage/", accept="text/uri-list").split()) == 1
    assert occi.send("DELETE", "/storage/").status_code in (200, 204)


def test_a_collection_of_storages_goes_with_their_snapshots(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    make(cdmi, "data")
    settle(sql)
    snapshot(cdmi, sql, "first")
    assert occi.send("DELETE", "/storage/").status_code in (200, 204)
    assert cdmi.send("GET", "/cdmi/disks/", CONTAINER).json["children"] == []


def test_snapshots_are_their_project_s_own(
    cdmi: CdmiClient, database: Database, other_cloud: Cloud, sql: Connection, tmp_path: Path
) -> None:
    make(cdmi, "data")
    settle(sql)
    taken = snapshot(cdmi, sql, "first")
    other = CdmiClient(database, other_cloud.caller, tmp_path)
    make(other, "data")
    settle(sql)
    for path in (f"{SNAPSHOTS}first/", SNAPSHOTS, f"/cdmi/cdmi_objectid/{taken['objectID']}/"):
        assert other.send("GET", path, CONTAINER).status_code == 404
        assert other.send("DELETE", path, CONTAINER).status_code in (400, 404)
    theirs = {"copy": f"/cdmi_objectid/{taken['objectID']}/"}
    for path in ("/cdmi/disks/data/", "/cdmi/disks/copy/"):
        assert other.send("PUT", path, CONTAINER, theirs).status_code == 400
    assert cdmi.send("GET", f"{SNAPSHOTS}first/", CONTAINER).status_code == 200
