"""Holds and retention keep disks, set on one, on the container of them all, or on the root, from every verb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT
from cdmi_client import Client as CdmiClient
from occi_client import COMPUTE, STORAGE_LINK, TINY, action
from occi_client import Client as OcciClient
from test_cdmi_disks import make, settle, storage_of

from backends.cloud import Cloud
from backends.model import Caller, Role
from backends.store.database import Connection, Database
from tests.conftest import GIB, SIZES, member, project

V = "/cdmi/2.0.0/"
DISK = f"{V}disks/data/"
HOLD: dict[str, Any] = {"cdmi_hold_id": ["case"]}
PERIOD: dict[str, Any] = {"cdmi_retention_period": "2020-01-01T00:00:00.000000Z/2999-01-01T00:00:00.000000Z"}


class User:
    """Of one project, by both standards."""

    def __init__(self, database: Database, caller: Caller, folder: Path) -> None:
        self.cdmi = CdmiClient(database, caller, folder)
        self.occi = OcciClient(Cloud(database, caller, SIZES, "small"))

    def status(self, method: str, path: str, body: object = None, media_type: str = CONTAINER) -> int:
        return self.cdmi.send(method, path, media_type, body).status_code

    def keep(self, path: str, metadata: dict[str, Any]) -> int:
        names = "&".join(f"metadata={name}" for name in metadata)
        return self.status("PATCH", f"{path}?{names}", {"metadata": metadata})

    def metadata(self, path: str) -> dict[str, Any]:
        return dict(self.cdmi.send("GET", path, CONTAINER).json["metadata"])


@pytest.fixture
def users(database: Database, sql: Connection, host: str, tmp_path: Path) -> Callable[..., User]:
    mine = project(sql, "mine")
    return lambda name, role=Role.USER: User(database, member(sql, mine, name, role), tmp_path)


@pytest.fixture
def admin(users: Callable[..., User]) -> User:
    return users("admin", Role.PROJECT_ADMIN)


@pytest.fixture
def alice(users: Callable[..., User]) -> User:
    return users("alice")


@pytest.mark.parametrize("kept", [HOLD, PERIOD], ids=["hold", "retention"])
@pytest.mark.parametrize("place", [DISK, f"{V}disks/", V])
def test_what_keeps_a_disk_is_obeyed_by_every_verb(
    admin: User, sql: Connection, image: str, place: str, kept: dict[str, Any]
) -> None:
    storage = storage_of(make(admin.cdmi, "data"))
    settle(sql)
    sql.execute("UPDATE disk SET open_message = ''")
    assert admin.status("PATCH", DISK, {"snapshot": "before"}) == 202
    settle(sql)
    compute = admin.occi.make("/compute/", COMPUTE, TINY)
    assert admin.keep(place, kept) == 204
    (name,) = kept
    assert admin.metadata(DISK)[f"{name}_provided"] == kept[name]
    assert admin.metadata(f"{DISK}cdmi_snapshots/before/")[f"{name}_provided"] == kept[name]

    before = admin.metadata(DISK)
    for method, path, body in (
        ("DELETE", DISK, None),
        ("DELETE", f"{DISK}cdmi_snapshots/before/", None),
        ("PATCH", DISK, {"snapshot": "before"}),
        ("PATCH", DISK, {"copy": "/disks/data/cdmi_snapshots/before/"}),
        ("PATCH", f"{DISK}?metadata=colour", {"metadata": {"colour": "blue"}}),
        ("PATCH", f"{DISK}?metadata=cdmi_assignedsize", {"metadata": {"cdmi_assignedsize": str(2 * GIB)}}),
        ("PATCH", f"{DISK}?metadata=altostratus_readonly", {"metadata": {"altostratus_readonly": "true"}}),
        ("PATCH", DISK, {"field": "own"}),
    ):
        refused = admin.cdmi.send(method, path, CONTAINER, body)
        assert (refused.status_code, "storage" in refused.text) == (403, True), (method, path, body, refused.text)
    refusals = [
        admin.occi.send("DELETE", storage),
        admin.occi.send("POST", storage, attributes='occi.core.title="mine"'),
        admin.occi.send("POST", f"{storage}?action=resize", action("storage", "resize"), attributes="size=2.0"),
        admin.occi.send(
            "POST",
            "/storagelink/",
            STORAGE_LINK,
            attributes=f'occi.core.source="{compute}", occi.core.target="{storage}"',
        ),
    ]
    assert [one.status_code for one in refusals] == [403] * len(refusals), [one.text for one in refusals]
    assert admin.metadata(DISK) == before
    assert admin.metadata(f"{DISK}cdmi_snapshots/before/")["colour"] == "red"


def test_a_disk_that_is_being_restored_is_put_on_hold_when_that_is_done(admin: User, sql: Connection) -> None:
    make(admin.cdmi, "data")
    settle(sql)
    assert admin.status("PATCH", DISK, {"snapshot": "before"}) == 202
    settle(sql)
    assert admin.status("PATCH", DISK, {"copy": "/disks/data/cdmi_snapshots/before/"}) == 202
    assert admin.keep(DISK, HOLD) == 409
    assert "cdmi_hold_id" not in admin.metadata(DISK)


@pytest.mark.parametrize("place", [DISK, f"{V}disks/", V])
def test_the_bytes_of_a_disk_on_hold_are_read_and_not_written(
    admin: User, sql: Connection, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(admin.cdmi, "data")
    settle(sql)
    monkeypatch.setattr("backends.cloud.disk_bytes.DiskBytesDoor.check_reachable", lambda *_: None)
    assert admin.keep(place, HOLD) == 204
    raw = {"Content_Type": "application/octet-stream"}
    assert admin.cdmi.plain("PUT", f"{DISK}value", b"x", **raw).status_code == 403
    assert admin.cdmi.plain("PUT", f"{DISK}value", b"x", Content_Range="bytes 0-0/*", **raw).status_code == 403
    assert admin.status("PATCH", f"{DISK}value?value=0-0", {"value": "eA=="}, DATAOBJECT) == 403
    assert admin.cdmi.plain("HEAD", f"{DISK}value").status_code == 200


def test_a_copy_of_a_disk_on_hold_is_free_and_a_snapshot_is_as_its_disk(admin: User, sql: Connection) -> None:
    make(admin.cdmi, "data")
    settle(sql)
    assert admin.keep(DISK, HOLD) == 204
    assert admin.status("PATCH", DISK, {"snapshot": "now"}) == 202
    settle(sql)
    assert admin.status("DELETE", f"{DISK}cdmi_snapshots/now/") == 403
    assert admin.status("PUT", f"{V}disks/copy/", {"copy": "/disks/data/cdmi_snapshots/now/"}) == 202
    settle(sql)
    assert not {"cdmi_hold_id", "cdmi_hold_id_provided"} & admin.metadata(f"{V}disks/copy/").keys()
    assert admin.status("DELETE", f"{V}disks/copy/") == 204


def test_holds_of_a_disk_are_only_added_and_its_retention_only_lengthened(admin: User, sql: Connection) -> None:
    made = make(admin.cdmi, "data", metadata={"cdmi_assignedsize": str(GIB), **HOLD, **PERIOD})
    settle(sql)
    assert admin.keep(DISK, {"cdmi_hold_id": []}) == 403
    assert admin.status("PUT", DISK, {"metadata": {"colour": "red"}}) == 403
    assert admin.keep(DISK, {"cdmi_retention_period": PERIOD["cdmi_retention_period"].replace("2999", "2998")}) == 403
    assert admin.keep(DISK, {"cdmi_hold_id": ["case", "other"]}) == 204
    assert admin.keep(DISK, {"cdmi_retention_period": PERIOD["cdmi_retention_period"].replace("2999", "3000")}) == 204
    assert admin.keep(DISK, {"cdmi_retention_period": "tomorrow"}) == 400
    assert (
        admin.status("PUT", f"{V}disks/new/", {"metadata": {"cdmi_assignedsize": "1048576", "cdmi_hold_id": 5}}) == 400
    )
    assert admin.status("DELETE", f"{V}cdmi_objectid/{made}/") == 403
    assert admin.metadata(DISK)["cdmi_hold_id_provided"] == ["case", "other"]


def test_who_may_write_metadata_alone_sets_no_hold(admin: User, alice: User, sql: Connection) -> None:
    make(admin.cdmi, "data")
    settle(sql)
    acl = [{"acetype": "ALLOW", "identifier": "alice", "aceflags": "0x3", "acemask": "CDMI_ACE_WRITE_METADATA"}]
    assert admin.keep(f"{V}disks/", {"cdmi_acl": acl}) == 204
    assert (alice.keep(DISK, HOLD), alice.keep(DISK, PERIOD), alice.keep(DISK, {"colour": "blue"})) == (403, 403, 204)
    acl[0]["acemask"] = "CDMI_ACE_WRITE_RETENTION_HOLD"
    assert admin.keep(f"{V}disks/", {"cdmi_acl": acl}) == 204
    assert (alice.keep(DISK, {"colour": "red"}), alice.keep(DISK, PERIOD), alice.keep(DISK, HOLD)) == (403, 403, 204)


def test_a_disk_that_a_compute_writes_is_not_provided_what_it_is_asked_for(
    admin: User, sql: Connection, image: str
) -> None:
    storage = storage_of(make(admin.cdmi, "data"))
    settle(sql)
    compute = admin.occi.make("/compute/", COMPUTE, TINY)
    link = admin.occi.make(
        "/storagelink/", STORAGE_LINK, attributes=f'occi.core.source="{compute}", occi.core.target="{storage}"'
    )
    refused = admin.cdmi.send("PATCH", f"{DISK}?metadata=cdmi_hold_id", CONTAINER, {"metadata": HOLD})
    assert (refused.status_code, "attached" in refused.text) == (409, True)
    assert admin.keep(f"{V}disks/", HOLD) == 204
    assert "cdmi_hold_id_provided" not in admin.metadata(DISK)
    assert admin.status("DELETE", DISK) == 403
    assert admin.occi.send("DELETE", link).status_code in (200, 204)
    sql.execute("DELETE FROM attachment")
    assert admin.metadata(DISK)["cdmi_hold_id_provided"] == ["case"]


def test_a_volatile_disk_on_hold_keeps_its_machine_until_it_is_detached(
    admin: User, sql: Connection, image: str
) -> None:
    made = make(admin.cdmi, "data", metadata={"cdmi_assignedsize": str(GIB), "altostratus_volatile": "true"})
    settle(sql)
    compute = admin.occi.make("/compute/", COMPUTE, TINY)
    attributes = f'occi.core.source="{compute}", occi.core.target="{storage_of(made)}"'
    link = admin.occi.make("/storagelink/", STORAGE_LINK, attributes=attributes)
    assert admin.keep(f"{V}disks/", HOLD) == 204
    refused = admin.occi.send("DELETE", compute)
    assert (refused.status_code, "on hold (case)" in refused.text, "detach it" in refused.text) == (403, True, True)
    assert admin.occi.send("DELETE", link).status_code in (200, 204)
    assert admin.occi.send("DELETE", compute).status_code in (200, 204)
    assert admin.status("GET", DISK) == 200


def test_a_read_only_disk_on_hold_is_attached(admin: User, sql: Connection, image: str) -> None:
    metadata = {"cdmi_assignedsize": str(GIB), "altostratus_readonly": "true", **HOLD}
    storage = storage_of(make(admin.cdmi, "data", metadata=metadata))
    settle(sql)
    compute = admin.occi.make("/compute/", COMPUTE, TINY)
    admin.occi.make(
        "/storagelink/", STORAGE_LINK, attributes=f'occi.core.source="{compute}", occi.core.target="{storage}"'
    )
    assert admin.metadata(DISK)["cdmi_hold_id_provided"] == ["case"]
    assert admin.occi.send("POST", storage, attributes="local.altostratus.storage.readonly=false").status_code == 403


def test_a_cloud_admin_of_another_project_is_bound_by_holds(
    database: Database, sql: Connection, admin: User, tmp_path: Path
) -> None:
    storage = storage_of(make(admin.cdmi, "data"))
    settle(sql)
    assert admin.keep(f"{V}disks/", HOLD) == 204
    operator = User(database, member(sql, project(sql, "site"), "operator", Role.CLOUD_ADMIN), tmp_path)
    assert operator.occi.send("DELETE", storage).status_code == 403


def test_only_administrators_set_holds_and_retention_on_what_everybody_has(admin: User, alice: User) -> None:
    for place in (V, f"{V}disks/"):
        for kept in (HOLD, PERIOD, {"cdmi_retention_id": "x"}):
            refused = alice.cdmi.send("PATCH", f"{place}?metadata={next(iter(kept))}", CONTAINER, {"metadata": kept})
            assert (refused.status_code, "administrators" in refused.text) == (403, True), refused.text
        assert alice.keep(place, {"colour": "blue"}) == 204
    assert alice.status("PUT", f"{V}box/", {"metadata": HOLD}) == 201
    assert admin.keep(f"{V}disks/", PERIOD) == 204
    assert admin.keep(V, HOLD) == 204
    assert alice.keep(f"{V}disks/", {"cdmi_retention_period": None}) == 403


@pytest.mark.parametrize("place", [f"{V}disks/", DISK])
@pytest.mark.parametrize(
    "metadata",
    [{"cdmi_versioning": "all"}, {"cdmi_versions_count": "5"}, {"cdmi_value_hash": "SHA256"}],
    ids=lambda metadata: next(iter(metadata)),
)
def test_neither_versions_nor_hashes_are_asked_for_of_disks(
    admin: User, sql: Connection, place: str, metadata: dict[str, Any]
) -> None:
    make(admin.cdmi, "data")
    settle(sql)
    for root, method, path in (("/cdmi/", "PUT", place.replace(V, "/cdmi/")), (V, "PATCH", place), (V, "PUT", place)):
        body = {"metadata": {"colour": "red", **metadata}}
        refused = admin.cdmi.send(method, path, CONTAINER, body)
        assert (refused.status_code, next(iter(metadata))[1:] in refused.text) == (400, True), (root, refused.text)
    assert admin.keep(place, metadata) == 400
    assert admin.status("PATCH", f"{place}?metadata=colour", {"metadata": {"colour": "blue", **metadata}}) == 204
    assert not metadata.keys() & admin.metadata(place).keys()


def test_the_nodes_of_disks_claim_what_keeps_them(admin: User, sql: Connection) -> None:
    for node in ("disks", "disk", "disk/served"):
        shown = admin.cdmi.send("GET", f"{V}cdmi_capabilities/container/{node}/", CAPABILITY).json["capabilities"]
        assert (shown["cdmi_data_holds"], shown["cdmi_data_retention"]) == ("true", "true")
        assert not {"cdmi_versioning", "cdmi_value_hash"} & shown.keys()
