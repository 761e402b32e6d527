"""If-Match and If-None-Match of disks, as of objects: over a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, Client
from occi_client import Client as OcciClient
from test_cdmi_disks import GIB, make, settle, storage_of

from backends.cloud import Cloud
from backends.store.database import Connection, Database

TWO = "/cdmi/2.0.0"
WAYS = [
    ("PATCH", f"{TWO}/disks/data/", {"metadata": {"colour": "blue"}}),
    ("PATCH", f"{TWO}/disks/data/", {"snapshot": "then"}),
    ("PATCH", f"{TWO}/disks/data/", {"exports": {"OCCI/iSCSI": {"permissions": []}}}),
    ("PATCH", f"{TWO}/disks/data/?metadata=cdmi_assignedsize", {"metadata": {"cdmi_assignedsize": str(2 * GIB)}}),
    ("PATCH", f"{TWO}/disks/data/", {"of": "mine"}),
    ("PUT", f"{TWO}/disks/data/", {"metadata": {"cdmi_assignedsize": str(GIB)}}),
    ("PUT", "/cdmi/disks/data/", {"metadata": {"cdmi_assignedsize": str(GIB)}}),
]


@pytest.fixture
def cdmi(database: Database, cloud: Cloud, tmp_path: Path) -> Client:
    return Client(database, cloud.caller, tmp_path)


def tag_of(cdmi: Client) -> str:
    read = cdmi.send("GET", f"{TWO}/disks/data/", CONTAINER)
    assert read.status_code in (200, 202)
    assert cdmi.plain("HEAD", "/cdmi/disks/data/").headers["ETag"] == read.headers["ETag"]
    return str(read.headers["ETag"])


@pytest.mark.parametrize(("method", "path", "body"), WAYS)
def test_a_disk_changes_only_if_it_is_what_the_client_expects(
    cdmi: Client, sql: Connection, host: str, method: str, path: str, body: dict[str, object]
) -> None:
    make(cdmi, "data")
    sql.execute("UPDATE disk SET host = %s", [host])
    settle(sql)
    before, tag = cdmi.send("GET", f"{TWO}/disks/data/", CONTAINER).json, tag_of(cdmi)
    for wrong in ({"If_Match": '"nope"'}, {"If_Match": '"x", "y"'}, {"If_None_Match": "*"}, {"If_None_Match": tag}):
        refused = cdmi.send(method, path, CONTAINER, body, **wrong)
        assert (wrong, refused.status_code) == (wrong, 412)
    assert cdmi.send("GET", f"{TWO}/disks/data/", CONTAINER).json == before
    done = cdmi.send(method, path, CONTAINER, body, If_Match=f'"x", {tag}', If_None_Match='"x"')
    assert done.status_code in (201, 202, 204)
    assert tag_of(cdmi) != tag
    assert cdmi.send(method, path, CONTAINER, body, If_Match=tag).status_code == 412


def test_a_disk_is_deleted_only_if_it_is_what_the_client_expects(cdmi: Client, sql: Connection, host: str) -> None:
    make(cdmi, "data")
    sql.execute("UPDATE disk SET host = %s", [host])
    settle(sql)
    cdmi.send("PATCH", f"{TWO}/disks/data/", CONTAINER, {"snapshot": "then"})
    snapshot = f"{TWO}/disks/data/cdmi_snapshots/then/"
    of_snapshot = cdmi.send("GET", snapshot, CONTAINER).headers["ETag"]
    assert of_snapshot != tag_of(cdmi)
    for path in (snapshot, f"{TWO}/disks/data/"):
        for wrong in ({"If_Match": '"nope"'}, {"If_None_Match": "*"}):
            assert cdmi.plain("DELETE", path, **wrong).status_code == 412
    settle(sql)
    assert cdmi.plain("DELETE", snapshot, If_Match=of_snapshot).status_code == 204
    assert cdmi.plain("DELETE", f"{TWO}/disks/data/", If_Match=tag_of(cdmi)).status_code == 204
    assert cdmi.plain("DELETE", f"{TWO}/disks/data/", If_Match="*").status_code == 404


def test_a_disk_is_made_only_where_there_is_none(cdmi: Client) -> None:
    body = {"metadata": {"cdmi_assignedsize": str(GIB)}}
    for path in ("/cdmi/disks/data/", f"{TWO}/disks/data/"):
        assert cdmi.send("PUT", path, CONTAINER, body, If_Match="*").status_code == 412
        assert cdmi.send("GET", path, CONTAINER).status_code == 404
    assert cdmi.send("PUT", f"{TWO}/disks/data/", CONTAINER, body, If_None_Match="*").status_code == 202
    assert cdmi.send("PUT", f"{TWO}/disks/data/", CONTAINER, body, If_None_Match="*").status_code == 412


def test_what_others_do_changes_the_tag_and_what_the_host_reports_does_not(
    cdmi: Client, cloud: Cloud, sql: Connection, host: str
) -> None:
    storage = storage_of(make(cdmi, "data"))
    sql.execute("UPDATE disk SET host = %s", [host])
    made = tag_of(cdmi)
    settle(sql)
    assert tag_of(cdmi) == made
    occi = OcciClient(cloud)
    occi.send("POST", storage, attributes="occi.storage.size=3.0")
    grown = tag_of(cdmi)
    assert grown != made
    settle(sql)
    cloud.update_disk(UUID(storage.rpartition("/")[2]), {"volatile": True})
    assert tag_of(cdmi) != grown


def test_the_bytes_of_a_disk_are_always_there_and_have_no_tag(
    cdmi: Client, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(cdmi, "data")
    settle(sql)
    monkeypatch.setattr("backends.cloud.disk_bytes.DiskBytesDoor.check_reachable", lambda *_: None)
    for wrong in ({"If_None_Match": "*"}, {"If_Match": '"x"'}):
        for path in ("/cdmi/disks/data/value?value:0-0", f"{TWO}/disks/data/value?value=0-0"):
            put = cdmi.send("PUT", path, DATAOBJECT, {"value": "eA=="}, **wrong)
            assert put.status_code == 412, (path, wrong, put.text)
