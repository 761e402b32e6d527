"""The access list of the container `disks`, which decides about disks by CDMI, by HTTP and by OCCI alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import falcon.testing
import pytest
from cdmi_client import CONTAINER, DATAOBJECT
from cdmi_client import Client as CdmiClient
from occi_client import COMPUTE, STORAGE, STORAGE_LINK, TINY, action
from occi_client import Client as OcciClient
from test_cdmi_disks import make, settle, storage_of

from backends.cloud import Cloud
from backends.model import Caller, Role
from backends.store.database import Connection, Database
from tests.conftest import GIB, SIZES, member, project

ALL, READING = "0x1f07ff", "CDMI_ACE_READ_OBJECT|CDMI_ACE_READ_METADATA|CDMI_ACE_READ_ACL"
Entry = tuple[str, str, str]
"""Who, what, and to what it is passed on."""


class User:
    """Of one project, by both standards."""

    def __init__(self, database: Database, caller: Caller, folder: Path) -> None:
        self.name = caller.user_name
        self.cdmi = CdmiClient(database, caller, folder)
        self.occi = OcciClient(Cloud(database, caller, SIZES, "small"))

    def status(self, method: str, path: str, media_type: str = CONTAINER, body: object = None) -> int:
        return self.cdmi.send(method, path, media_type, body).status_code

    def page(self) -> falcon.testing.Result:
        """Of all disks."""
        return self.cdmi.plain("GET", "/cdmi/disks/", Accept="text/html")

    def set_list(self, *entries: Entry, on: str = "disks/") -> int:
        acl = [
            {"acetype": "ALLOW", "identifier": who, "acemask": mask, "aceflags": flags} for who, mask, flags in entries
        ]
        return self.status("PUT", f"/cdmi/{on}?metadata:cdmi_acl", CONTAINER, {"metadata": {"cdmi_acl": acl}})


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


@pytest.fixture
def carol(users: Callable[..., User]) -> User:
    return users("carol")


def test_who_may_only_read_changes_nothing_of_disks(
    admin: User, alice: User, carol: User, sql: Connection, image: str
) -> None:
    disk = storage_of(make(alice.cdmi, "data"))
    compute = carol.occi.make("/compute/", COMPUTE, TINY)
    settle(sql)
    assert admin.set_list(("OWNER@", ALL, "0x3"), ("alice", ALL, "0x3"), ("carol", READING, "0x3")) == 204

    shown = carol.cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json
    assert (shown["metadata"]["cdmi_owner"], shown["metadata"]["colour"]) == ("alice", "red")
    assert {entry["identifier"] for entry in shown["metadata"]["cdmi_acl"]} == {"OWNER@", "alice", "carol"}
    assert carol.status("GET", "/cdmi/disks/") == 200
    bytes_of_it = "/cdmi/disks/data/value"
    for method, path, media_type, body in (
        ("PUT", "/cdmi/disks/new/", CONTAINER, {"metadata": {"cdmi_assignedsize": str(GIB)}}),
        ("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": {"colour": "blue"}}),
        ("PUT", "/cdmi/disks/data/", CONTAINER, {"field": "own"}),
        ("PUT", "/cdmi/disks/data/?metadata:cdmi_assignedsize", CONTAINER,
         {"metadata": {"cdmi_assignedsize": str(2 * GIB)}}),
        ("PUT", "/cdmi/disks/data/?metadata:cdmi_assignedsize", CONTAINER, {"metadata": {"cdmi_assignedsize": "1"}}),
        ("PUT", "/cdmi/disks/data/", CONTAINER, {"exports": {}}),
        ("PUT", "/cdmi/disks/data/", CONTAINER, {"snapshot": "now"}),
        ("PUT", bytes_of_it, DATAOBJECT, {"value": "x"}),
        ("PUT", bytes_of_it, "text/plain", b"x"),
        ("DELETE", "/cdmi/disks/data/", CONTAINER, None),
        ("PUT", "/cdmi/disks/?metadata:cdmi_acl", CONTAINER, {"metadata": {"cdmi_acl": None}}),
    ):  # fmt: skip
        refused = carol.cdmi.send(method, path, media_type, body)
        assert (refused.status_code, "carol" in refused.text) == (403, True), (method, path, body, refused.text)

    clone = carol.cdmi.send("PUT", "/cdmi/disks/new/", CONTAINER, {"copy": "/disks/data/"})
    assert (clone.status_code, "carol" in clone.text) == (400, True), "1.1.1 §8.2.5: not 403"
    refusals = [
        carol.occi.send("POST", "/storage/", STORAGE, attributes="occi.storage.size=1.0"),
        carol.occi.send("POST", disk, attributes='occi.core.title="mine"'),
        carol.occi.send("DELETE", disk),
        carol.occi.send("POST", "/storagelink/", STORAGE_LINK,
                        attributes=f'occi.core.source="{compute}", occi.core.target="{disk}"'),
        *(carol.occi.send("POST", f"{disk}?action={term}", action("storage", term), attributes=attributes)
          for term, attributes in (("offline", ""), ("resize", "size=2.0"), ("snapshot", ""), ("backup", ""))),
    ]  # fmt: skip
    assert [refused.status_code for refused in refusals] == [403] * len(refusals), [one.text for one in refusals]
    assert carol.occi.document(disk)["title"] == "data"


def test_a_compute_is_deleted_with_its_volatile_disk_by_who_may_delete_both(
    admin: User, alice: User, carol: User, sql: Connection
) -> None:
    disk = storage_of(
        make(alice.cdmi, "data", metadata={"cdmi_assignedsize": str(GIB), "altostratus_volatile": "true"})
    )
    settle(sql)
    compute = carol.occi.make("/compute/", COMPUTE)
    ends = f'occi.core.source="{compute}", occi.core.target="{disk}"'
    link = carol.occi.make("/storagelink/", STORAGE_LINK, attributes=ends)
    writing, asked = (
        f"{READING}|CDMI_ACE_WRITE_OBJECT",
        sql.execute("SELECT count(*) FROM procrastinate_jobs").fetchone(),
    )
    assert admin.set_list(("OWNER@", ALL, "0x3"), ("carol", writing, "0x3")) == 204
    for path in (compute, "/compute/", "/"):
        refused = carol.occi.send("DELETE", path)
        assert (refused.status_code, "detach it first" in refused.text) == (403, True), refused.text
    assert carol.occi.send("GET", compute).status_code == carol.occi.send("GET", link).status_code == 200
    assert sql.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == asked

    assert carol.occi.send("DELETE", link).status_code == 200
    assert carol.occi.send("DELETE", compute).status_code == 200
    assert alice.status("GET", "/cdmi/disks/data/") == 200


def test_who_may_not_read_sees_nothing_of_disks(admin: User, alice: User, carol: User, sql: Connection) -> None:
    disk = storage_of(make(alice.cdmi, "data"))
    settle(sql)
    assert alice.status("PUT", "/cdmi/disks/data/", CONTAINER, {"snapshot": "before"}) == 202
    settle(sql)
    assert admin.set_list(("alice", ALL, "0x3")) == 204
    for path in ("", "data/", "data/cdmi_snapshots/", "data/cdmi_snapshots/before/", "?children", "data/?exports"):
        refused = carol.cdmi.send("GET", f"/cdmi/disks/{path}", CONTAINER)
        assert refused.status_code == 403, (path, refused.text)
        assert carol.cdmi.plain("GET", f"/cdmi/disks/{path}").status_code == 403
        assert alice.status("GET", f"/cdmi/disks/{path}") in (200, 202), path
    assert carol.status("GET", "/cdmi/disks/data/value", DATAOBJECT) == 403
    assert carol.cdmi.plain("GET", "/cdmi/disks/data/value").status_code == 403
    assert carol.status("PUT", "/cdmi/disks/data/", CONTAINER, {"copy": "/disks/data/cdmi_snapshots/before/"}) == 400
    assert carol.occi.send("DELETE", disk).status_code == 403
    assert carol.page().status_code == 403
    assert "1.0 GiB" in alice.page().text
    identity = alice.cdmi.send("GET", "/cdmi/disks/data/?objectID", CONTAINER).json["objectID"]
    assert carol.status("GET", f"/cdmi/cdmi_objectid/{identity}/") == 403
    assert admin.set_list(("alice", ALL, "0x3"), ("carol", READING, "0x0")) == 204
    shown = carol.page().text
    assert ("data/" in shown, "1.0 GiB" in shown) == (True, False)


def test_disks_have_the_list_of_the_root_too_and_the_admin_mends_it(
    admin: User, alice: User, carol: User, sql: Connection
) -> None:
    make(alice.cdmi, "data")
    settle(sql)
    assert admin.set_list(("alice", ALL, "0x3"), on="") == 204
    assert carol.status("DELETE", "/cdmi/disks/data/") == 403
    assert admin.status("GET", "/cdmi/disks/data/") == 403
    assert admin.set_list(("EVERYONE@", ALL, "0x3")) == 204
    assert carol.status("DELETE", "/cdmi/disks/data/") == 204


def test_what_a_list_does_not_pass_on_leaves_each_disk_to_who_made_it(
    admin: User, alice: User, carol: User, sql: Connection
) -> None:
    make(alice.cdmi, "data")
    storage = carol.occi.make("/storage/", STORAGE, attributes="occi.storage.size=1.0")
    settle(sql)
    assert admin.set_list(("EVERYONE@", ALL, "0x0")) == 204
    assert carol.status("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": {"colour": "blue"}}) == 403
    assert alice.status("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": {"colour": "blue"}}) == 204
    assert alice.occi.send("DELETE", storage).status_code == 403
    assert carol.occi.send("DELETE", storage).status_code in (200, 204)


def test_a_disk_takes_back_the_list_that_it_showed_and_no_other(alice: User, sql: Connection) -> None:
    make(alice.cdmi, "data")
    settle(sql)
    shown = alice.cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["metadata"]
    assert alice.status("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": shown}) == 204
    narrowed = {**shown, "cdmi_acl": shown["cdmi_acl"][:1]}
    others = {**shown, "cdmi_acl": [{"acetype": "ALLOW", "identifier": "alice", "acemask": ALL, "aceflags": "0x0"}]}
    for metadata in (narrowed, others):
        refused = alice.cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": metadata})
        assert (refused.status_code, "that of disks" in refused.text) == (400, True)


def test_lists_of_one_project_do_not_bind_the_cloud_admin_of_another(
    database: Database, sql: Connection, admin: User, alice: User, tmp_path: Path
) -> None:
    disk = storage_of(make(alice.cdmi, "data"))
    settle(sql)
    assert admin.set_list(("alice", ALL, "0x3")) == 204
    operator = User(database, member(sql, project(sql, "site"), "operator", Role.CLOUD_ADMIN), tmp_path)
    assert operator.occi.send("DELETE", disk).status_code in (200, 204)


SMALL = {"metadata": {"cdmi_assignedsize": "1048576"}}


def test_a_disk_is_made_on_hold_by_who_may_put_it_on_hold(admin: User, alice: User) -> None:
    adding = "CDMI_ACE_ADD_SUBCONTAINER|CDMI_ACE_READ_METADATA"
    held = {"metadata": {**SMALL["metadata"], "cdmi_hold_id": ["h"]}}
    retained = {"metadata": {**SMALL["metadata"], "cdmi_retention_id": "r"}}
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("alice", adding, "0x3")) == 204
    for body in (held, retained):
        assert alice.status("PUT", "/cdmi/disks/data/", CONTAINER, body) == 403
    assert admin.cdmi.send("GET", "/cdmi/disks/?children", CONTAINER).json == {"children": []}
    assert alice.status("PUT", "/cdmi/disks/data/", CONTAINER, SMALL) == 202
    holding = f"{adding}|CDMI_ACE_WRITE_RETENTION_HOLD"
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("alice", holding, "0x3")) == 204
    assert alice.status("PUT", "/cdmi/disks/held/", CONTAINER, held) == 202


def test_what_is_written_is_answered_to_who_may_not_read_it_without_what_that_would_tell(
    admin: User, alice: User, sql: Connection
) -> None:
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("alice", "CDMI_ACE_ADD_SUBCONTAINER", "0x0")) == 204
    made = alice.cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, SMALL)
    assert (made.status_code, made.json["objectName"], made.json["metadata"]) == (202, "data/", {}), made.text
    settle(sql)
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("alice", "CDMI_ACE_WRITE_METADATA", "0x3")) == 204
    replaced = alice.cdmi.send("PUT", "/cdmi/2.0.0/disks/data/", CONTAINER, {"metadata": {"colour": "blue"}})
    assert (replaced.status_code, "colour" in replaced.text) == (201, False)
    assert admin.cdmi.send("GET", "/cdmi/disks/data/?metadata:colour", CONTAINER).json == {
        "metadata": {"colour": "blue"}
    }


def test_who_may_not_read_a_disk_is_not_told_its_tag(admin: User, alice: User, carol: User, sql: Connection) -> None:
    make(alice.cdmi, "data")
    settle(sql)
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("alice", ALL, "0x3")) == 204
    tag = alice.cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).headers["ETag"]
    assert "ETag" not in carol.cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).headers
    for header in ({"If_Match": '"other"'}, {"If_Match": tag}, {"If_None_Match": tag}):
        for method, body in (("DELETE", None), ("PUT", {}), ("PUT", {"metadata": {}}), ("PUT", {"exports": {}})):
            sent = carol.cdmi.send(method, "/cdmi/disks/data/", CONTAINER, body, **header)
            assert (sent.status_code, tag in sent.text) == (403, False), (method, body, sent.text)
    for method, body in (("DELETE", None), ("PUT", {}), ("PUT", {"metadata": {"colour": "blue"}})):
        sent = alice.cdmi.send(method, "/cdmi/disks/data/", CONTAINER, body, If_Match='"other"')
        assert sent.status_code == 412, (method, body, sent.text)
    assert alice.cdmi.send("GET", "/cdmi/disks/data/?metadata:colour", CONTAINER).json == {
        "metadata": {"colour": "red"}
    }


def test_an_update_of_a_disk_that_says_nothing_takes_a_right_to_write_too(
    admin: User, alice: User, carol: User, sql: Connection
) -> None:
    make(alice.cdmi, "data")
    settle(sql)
    assert admin.set_list(("alice", ALL, "0x3"), ("carol", READING, "0x3")) == 204
    for body in ({}, {"objectName": "data/"}):
        assert carol.status("PATCH", "/cdmi/2.0.0/disks/data/", CONTAINER, body) == 403
        assert alice.status("PATCH", "/cdmi/2.0.0/disks/data/", CONTAINER, body) == 204


def test_a_snapshot_has_the_owner_of_its_disk(admin: User, alice: User, carol: User, sql: Connection) -> None:
    make(alice.cdmi, "data")
    settle(sql)
    assert carol.status("PUT", "/cdmi/disks/data/", CONTAINER, {"snapshot": "s"}) == 202
    settle(sql)
    path = "/cdmi/disks/data/cdmi_snapshots/s/"
    assert admin.cdmi.send("GET", path, CONTAINER).json["metadata"]["cdmi_owner"] == "alice"
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("OWNER@", ALL, "0x3")) == 204
    assert (alice.status("GET", path), carol.status("GET", path)) == (200, 403)


def test_what_may_not_be_read_of_disks_is_403_on_its_own(
    admin: User, alice: User, carol: User, sql: Connection
) -> None:
    make(alice.cdmi, "data")
    settle(sql)
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("carol", "CDMI_ACE_LIST_CONTAINER", "0x3")) == 204
    for path in ("", "data/"):
        shown = carol.cdmi.send("GET", f"/cdmi/disks/{path}", CONTAINER)
        assert (shown.status_code, "children" in shown.json, "metadata" in shown.json) == (200, True, False)
        for asked in ("metadata", "metadata:cdmi_acl", "metadata:cdmi_size", "exports", "own"):
            assert carol.status("GET", f"/cdmi/disks/{path}?{asked}") == 403, (path, asked)
    assert admin.set_list(("ADMINISTRATOR@", ALL, "0x3"), ("carol", "CDMI_ACE_READ_METADATA", "0x3")) == 204
    for path in ("", "data/"):
        shown = carol.cdmi.send("GET", f"/cdmi/disks/{path}", CONTAINER)
        assert (shown.status_code, "children" in shown.json, "metadata" in shown.json) == (200, False, True)
        for asked in ("metadata:cdmi_acl", "children", "childrenrange", "snapshots"):
            assert carol.status("GET", f"/cdmi/disks/{path}?{asked}") == 403, (path, asked)
        assert carol.cdmi.send("GET", f"/cdmi/disks/{path}?children;objectName", CONTAINER).status_code == 200
