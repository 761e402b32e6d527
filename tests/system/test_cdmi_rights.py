"""What each operation takes: every right missing in turn, refused or not, and then nothing is lost or shown."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import falcon.testing
import pytest

from backends.acl import ALL_PERMS, AceMask
from backends.cloud.objects import ObjectDoor
from backends.objects import Found
from backends.store.database import Connection, Database
from tests.system.cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client
from tests.system.cdmi_users import (
    ONLY,
    OWNERS,
    READING,
    ROOT,
    TO_ALL,
    TO_CONTAINERS,
    TO_OBJECTS,
    entries,
    own,
    patch,
    put,
    seen,
    value,
)

RIGHTS = (
    AceMask.READ_OBJECT,
    AceMask.WRITE_OBJECT,
    AceMask.APPEND_DATA,
    AceMask.READ_METADATA,
    AceMask.WRITE_METADATA,
    AceMask.DELETE_OBJECT,
    AceMask.WRITE_RETENTION,
    AceMask.WRITE_RETENTION_HOLD,
    AceMask.DELETE,
    AceMask.WRITE_ACL,
)


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


TREES = {
    "copy": (READING, READING, lambda dave: put(dave, "new/", {"copy": "/box/"})),
    "copied onto another": (READING, READING, lambda dave: patch(dave, "onto/", {"copy": "/box/"})),
    "snapshot": (READING, READING, lambda dave: patch(dave, "box/", {"snapshot": "s"})),
    "delete": (
        AceMask.DELETE,
        AceMask.DELETE | AceMask.DELETE_SUBCONTAINER,
        lambda dave: dave.send("DELETE", f"{ROOT}box/", CONTAINER),
    ),
    "replaced by another": (
        AceMask.DELETE,
        AceMask.DELETE | AceMask.DELETE_SUBCONTAINER,
        lambda dave: patch(dave, "box/", {"copy": "/onto/"}),
    ),
    "move": (
        READING | AceMask.DELETE,
        READING | AceMask.DELETE | AceMask.DELETE_SUBCONTAINER,
        lambda dave: put(dave, "new/", {"move": "/box/"}),
    ),
}
"""What each takes of the objects in the container, and of the containers in it."""


@pytest.mark.parametrize("of", ["objects", "containers"])
@pytest.mark.parametrize("missing", RIGHTS, ids=lambda right: str(right.name))
@pytest.mark.parametrize("operation", TREES)
def test_an_operation_on_a_tree_takes_its_rights_to_all_that_is_below(
    carol: Client, dave: Client, operation: str, missing: AceMask, of: str
) -> None:
    of_objects, of_containers, operate = TREES[operation]
    lacking = ALL_PERMS & ~missing
    put(
        carol,
        "box/",
        own(
            OWNERS,
            ("GROUP@", ALL_PERMS, 0),
            ("GROUP@", lacking if of == "objects" else ALL_PERMS, TO_OBJECTS | ONLY),
            ("GROUP@", lacking if of == "containers" else ALL_PERMS, TO_CONTAINERS | ONLY),
        ),
    )
    put(carol, "box/inner/", {})
    put(carol, "box/inner/deep/", {})
    put(carol, "box/inner/deep/secret", {"value": "carol's"})
    put(dave, "onto/", {})
    put(dave, "onto/other", {"value": "dave's"})

    answer = operate(dave)
    is_refused = bool(missing & (of_objects if of == "objects" else of_containers))
    assert (answer.status_code in (400, 403)) is is_refused, answer.text
    if is_refused:
        assert dave.caller.user_name in answer.text
        assert value(carol, "box/inner/deep/secret") == "carol's"
        assert value(dave, "onto/other") == "dave's"
        assert dave.send("GET", f"{ROOT}new/", CONTAINER).status_code == 404
        assert carol.send("GET", f"{ROOT}box/?snapshots", CONTAINER).json == {}
    else:
        assert answer.status_code in (201, 204), answer.text


@pytest.mark.parametrize("operation", TREES)
@pytest.mark.parametrize("whose", ["its own list", "what it inherits", "its container's list"])
def test_the_owner_of_a_container_has_no_rights_by_that_to_what_others_put_in(
    carol: Client, dave: Client, operation: str, whose: str
) -> None:
    """A box for letters: everybody may put something in, and read what is theirs."""
    adding = AceMask.LIST_CONTAINER | AceMask.READ_METADATA | AceMask.ADD_OBJECT | AceMask.ADD_SUBCONTAINER
    put(dave, "box/", own(OWNERS, ("GROUP@", adding, TO_CONTAINERS)))
    put(dave, "onto/", {})
    match whose:
        case "its own list":
            assert put(carol, "box/letter", {"value": "carol's", **own(OWNERS)}).status_code == 201
        case "what it inherits":
            assert put(carol, "box/letter", {"value": "carol's"}).status_code == 201
        case _:
            assert put(carol, "box/letters/", own(OWNERS)).status_code == 201
            assert put(carol, "box/letters/letter", {"value": "carol's"}).status_code == 201
    path = "box/letters/letter" if whose == "its container's list" else "box/letter"
    assert value(dave, path) == 403
    assert TREES[operation][2](dave).status_code in (400, 403)
    assert value(carol, path) == "carol's"
    assert dave.send("GET", f"{ROOT}onto/?children", CONTAINER).json == {"children": []}


def test_a_container_is_not_deleted_with_snapshots_that_may_not_be(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS, ("GROUP@", ALL_PERMS & ~AceMask.DELETE_SUBCONTAINER, TO_ALL)))
    assert patch(carol, "box/", {"snapshot": "s"}).status_code == 204
    for path in ("box/cdmi_snapshots/s/", "box/"):
        assert dave.send("DELETE", ROOT + path, CONTAINER).status_code == 403
    assert carol.send("DELETE", f"{ROOT}box/", CONTAINER).status_code == 204


def get(client: Client, path: str) -> falcon.testing.Result:
    return client.send("GET", ROOT + path, CONTAINER if path.partition("?")[0].endswith("/") else DATAOBJECT)


LISTING, SHOWN = AceMask.LIST_CONTAINER, AceMask.READ_METADATA
SELECTIONS = (
    ("", AceMask.READ_OBJECT | AceMask.READ_METADATA | AceMask.READ_ACL),
    ("?objectID", AceMask.READ_OBJECT | AceMask.READ_METADATA | AceMask.READ_ACL),
    ("?metadata", AceMask.READ_METADATA),
    ("?metadata=cdmi_acl", AceMask.READ_ACL),
    ("?metadata=cdmi_", AceMask.READ_METADATA),
    ("?metadata=colour", AceMask.READ_METADATA),
    ("?metadata=colour&metadata=cdmi_acl", AceMask.READ_METADATA | AceMask.READ_ACL),
    ("?vendor", AceMask.READ_METADATA),
    ("?none", AceMask.READ_METADATA),
)
"""Any of the rights lets something of the fields be read."""


@pytest.mark.parametrize("asked", SELECTIONS, ids=lambda asked: str(asked[0]))
@pytest.mark.parametrize("given", [AceMask.READ_OBJECT, AceMask.READ_METADATA, AceMask.READ_ACL, AceMask(0)])
@pytest.mark.parametrize("path", ["o", "c/", "q"])
def test_fields_that_may_not_be_read_are_left_out_and_403_if_that_leaves_none(
    carol: Client, dave: Client, path: str, given: AceMask, asked: tuple[str, AceMask]
) -> None:
    query, rights = asked
    kind = {"o": DATAOBJECT, "c/": CONTAINER, "q": QUEUE}[path]
    body = {"vendor": "v", "metadata": {"colour": "red", **own(OWNERS, ("GROUP@", given, 0))["metadata"]}}
    assert carol.send("PUT", ROOT + path, kind, body).status_code == 201
    sent = dave.send("GET", ROOT + path + query, kind)
    assert sent.status_code == (200 if given & rights else 403), sent.text
    if sent.status_code == 200:
        metadata = sent.json.get("metadata", {"none": ""})
        assert metadata
        assert ("colour" in metadata, "vendor" in sent.json) == (
            given is SHOWN and query != "?metadata=cdmi_" and ("metadata" in query or not query),
            given is SHOWN and query in ("", "?vendor"),
        )


@pytest.mark.parametrize("asked", ["value", "valuerange", "value&none", "value=0-1&metadata=cdmi_acl"])
def test_a_value_that_may_not_be_read_is_403_on_its_own(carol: Client, dave: Client, asked: str) -> None:
    put(carol, "o", {"value": "carol's", **own(OWNERS, ("GROUP@", AceMask.READ_METADATA, 0))})
    assert get(dave, f"o?{asked}").status_code == 403
    assert get(dave, f"o?{asked}&objectName").json == {"objectName": "o"}


def test_a_value_is_read_without_the_metadata_that_were_asked_for_with_it(carol: Client, dave: Client) -> None:
    put(carol, "o", {"value": "for all", **own(OWNERS, ("GROUP@", AceMask.READ_OBJECT, 0))})
    assert get(dave, "o?value&metadata").json == {"value": "for all"}


@pytest.mark.parametrize("asked", ["children", "childrenrange", "snapshots"])
def test_what_is_in_a_container_is_403_on_its_own(carol: Client, dave: Client, asked: str) -> None:
    put(carol, "c/", own(OWNERS, ("GROUP@", AceMask.READ_METADATA, 0)))
    assert get(dave, f"c/?{asked}").status_code == 403
    assert get(dave, f"c/?{asked}&objectName").json == {"objectName": "c/"}


def test_a_container_is_read_by_who_may_not_list_its_snapshots(carol: Client, dave: Client) -> None:
    put(carol, "c/", own(OWNERS, ("GROUP@", LISTING | SHOWN, 0)))
    assert patch(carol, "c/", {"snapshot": "s"}).status_code == 204
    seen_by_dave = get(dave, "c/")
    assert (seen_by_dave.status_code, "snapshots" in seen_by_dave.json) == (200, False)
    assert get(carol, "c/?snapshots").json == {"snapshots": [f"{ROOT}c/cdmi_snapshots/s/"]}


@pytest.mark.parametrize("whose", ["its own list", "what it inherits"])
def test_the_page_of_a_container_tells_as_much_of_what_is_in_it_as_may_be_read(
    carol: Client, dave: Client, whose: str
) -> None:
    of_all = [OWNERS, ("GROUP@", LISTING | SHOWN, 0), ("GROUP@", AceMask.READ_OBJECT, TO_OBJECTS | ONLY)]
    put(carol, "c/", own(*of_all) if whose == "what it inherits" else {})
    acl = own(OWNERS, ("GROUP@", AceMask.READ_OBJECT, 0)) if whose == "its own list" else {}
    put(carol, "c/pay", {"value": "x" * 2048, "mimetype": "application/x-payroll", **acl})
    for client, is_told in ((carol, True), (dave, False)):
        page = client.plain("GET", f"{ROOT}c/", Accept="text/html").text
        assert "pay" in page
        year = str(datetime.now(UTC).year)
        assert [shown in page for shown in ("2.0 KiB", "application/x-payroll", f"{year}-")] == [is_told] * 3


def test_who_may_not_write_a_value_is_refused_before_its_parts_are_received(carol: Client, dave: Client) -> None:
    put(carol, "o", {"value": "x", **own(OWNERS, ("GROUP@", READING, 0))})
    for method in ("PUT", "PATCH"):
        sent = dave.plain(method, f"{ROOT}o", b"no parts", Content_Type="multipart/mixed; boundary=b")
        assert sent.status_code == 403, sent.text


def test_a_snapshot_is_whose_its_container_is(carol: Client, dave: Client) -> None:
    reading = (dave.caller.user_name, READING | AceMask.ADD_SUBCONTAINER, TO_ALL)
    put(carol, "top/", own(OWNERS, reading))
    put(carol, "top/box/", {})
    put(carol, "top/box/o", {"value": "carol's"})
    snapshot = "top/box/cdmi_snapshots/s/"
    assert patch(dave, "top/box/", {"snapshot": "s"}).status_code == 204
    kept = carol.send("GET", f"{ROOT}{snapshot}?metadata=cdmi_owner", CONTAINER).json
    assert kept == {"metadata": {"cdmi_owner": carol.caller.user_name}}
    assert value(dave, f"{snapshot}o") == "carol's"
    assert patch(carol, "top/?metadata=cdmi_acl", own(OWNERS)).status_code == 204
    for path in ("top/box/o", f"{snapshot}o"):
        assert (value(carol, path), value(dave, path)) == ("carol's", 403)
    assert carol.send("GET", f"{ROOT}top/box/?snapshots", CONTAINER).json["snapshots"] == [ROOT + snapshot]


@pytest.mark.parametrize("whose", ["its own", "of something in it", "of its data object"])
def test_a_copy_takes_the_right_to_read_the_lists_that_it_has(carol: Client, dave: Client, whose: str) -> None:
    def listed(*rights: AceMask) -> dict[str, Any]:
        return own(OWNERS, ("somebody", READING, 0), *(("GROUP@", mask, 0) for mask in rights))

    put(carol, "box/", {})
    put(carol, "box/o", {"value": "carol's", "metadata": {"cdmi_versioning": "value", **listed(READING)["metadata"]}})
    version = seen(carol, "box/o")["metadata"]["cdmi_version_current"]
    source = {"its own": "/box/o", "of something in it": "/box/", "of its data object": version}[whose]
    new = "new/" if source == "/box/" else "new"
    put(dave, "onto/", {})
    refused = [put(dave, new, {"copy": source})]
    if new == "new/":
        refused.append(patch(dave, "onto/", {"copy": source}))
    else:
        assert put(dave, "other", {"copy": source, "metadata": {"a": "1"}}).status_code == 201
        assert "somebody" not in dave.send("GET", f"{ROOT}other", DATAOBJECT).text
        assert put(dave, "other", {"copy": source}).status_code == 201
        assert "somebody" not in dave.send("GET", f"{ROOT}other", DATAOBJECT).text
    assert {(one.status_code, "read its access control list" in one.text) for one in refused} == {(400, True)}
    assert patch(carol, "box/o?metadata=cdmi_acl", listed(READING | AceMask.READ_ACL)).status_code == 204
    assert put(dave, new, {"copy": source}).status_code == 201
    copy = seen(dave, "new/o" if new == "new/" else new)
    assert "somebody" in {entry["identifier"] for entry in copy["metadata"]["cdmi_acl"]}


def test_a_snapshot_shows_no_more_lists_than_what_it_keeps(carol: Client, dave: Client) -> None:
    put(carol, "box/", {})
    put(carol, "box/o", {"value": "carol's", **own(OWNERS, ("GROUP@", READING, 0))})
    assert patch(dave, "box/", {"snapshot": "s"}).status_code == 204
    for path in ("box/o", "box/cdmi_snapshots/s/o"):
        shown = seen(dave, path)
        assert (shown["value"], "cdmi_acl" in shown["metadata"]) == ("carol's", False)


UPDATES: dict[str, tuple[AceMask, dict[str, Any]]] = {
    "mimetype": (AceMask.WRITE_OBJECT, {"mimetype": "text/css"}),
    "a metadata item": (AceMask.WRITE_METADATA, {"metadata": {"a": "2"}}),
    "all metadata gone": (AceMask.WRITE_METADATA, {"metadata": {}}),
    "a field of the client's": (AceMask.WRITE_METADATA, {"vendor": "2"}),
    "the list": (AceMask.WRITE_METADATA | AceMask.WRITE_ACL, {"metadata": {"cdmi_acl": entries(OWNERS)}}),
    "a hold": (AceMask.WRITE_RETENTION_HOLD, {"metadata": {"a": "1", "cdmi_hold_id": ["h"]}}),
    "retention": (
        AceMask.WRITE_RETENTION,
        {"metadata": {"a": "1", "cdmi_retention_period": "2026-01-01T00:00:00Z/2027-01-01T00:00:00Z"}},
    ),
}
"""What each takes, and the body that asks for it."""
MOVE = READING | AceMask.DELETE


@pytest.mark.parametrize("missing", RIGHTS, ids=lambda right: str(right.name))
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("how", ["update", "move"])
def test_a_move_takes_what_an_update_does_to_change_something_on_the_way(
    carol: Client, dave: Client, how: str, update: str, missing: AceMask
) -> None:
    needed, body = UPDATES[update]
    new = own(OWNERS, ("GROUP@", ALL_PERMS & ~missing, 0))
    new["metadata"]["a"] = "1"
    assert put(carol, "o", {"value": "carol's", "vendor": "1", **new}).status_code == 201
    before = seen(carol, "o")
    if how == "update":
        answer = patch(dave, "o", body)
    else:
        needed |= MOVE
        answer = put(dave, "new", {"move": "/o", **body})
    assert (answer.status_code in (400, 403)) is bool(missing & needed), answer.text
    if missing & needed:
        assert seen(carol, "o") == before
    else:
        assert answer.status_code in (201, 204), answer.text
        path = "new" if how == "move" else "o"
        mine = entries(OWNERS) if update == "the list" else new["metadata"]["cdmi_acl"]
        assert seen(carol, path)["metadata"]["cdmi_acl"] == mine
        assert seen(carol, path)["metadata"]["cdmi_owner"] == carol.caller.user_name


@pytest.mark.parametrize("missing", RIGHTS, ids=lambda right: str(right.name))
@pytest.mark.parametrize("inherited", [False, True])
def test_a_move_takes_the_rights_to_read_and_to_delete(
    carol: Client, dave: Client, missing: AceMask, *, inherited: bool
) -> None:
    acl = own(OWNERS, ("GROUP@", ALL_PERMS & ~missing, TO_OBJECTS | (ONLY if inherited else 0)))
    put(carol, "box/", own(OWNERS, ("GROUP@", ALL_PERMS, 0), ("GROUP@", ALL_PERMS & ~missing, TO_OBJECTS | ONLY)))
    assert put(carol, "box/o", {"value": "carol's", **({} if inherited else acl)}).status_code == 201
    moved = put(dave, "new", {"move": "/box/o"})
    assert (moved.status_code == 400) is bool(missing & MOVE), moved.text
    assert value(carol, "box/o") == ("carol's" if missing & MOVE else 404)


def test_what_is_kept_is_not_moved(carol: Client) -> None:
    for name, item in (
        ("held", {"cdmi_hold_id": ["h"]}),
        ("retained", {"cdmi_retention_period": "2026-01-01T00:00:00Z/2027-01-01T00:00:00Z"}),
    ):
        put(carol, name, {"value": "x", "metadata": item})
        for body in ({}, {"metadata": {}}, {"mimetype": "a/b"}):
            assert put(carol, "new", {"move": f"/{name}", **body}).status_code == 400
        assert value(carol, name) == "x"


def test_a_queue_that_the_cloud_fills_for_its_maker_is_not_moved_to_tell_of_something_else(
    carol: Client, dave: Client
) -> None:
    asked = {
        "cdmi_queue_type": "cdmi_notification_queue",
        "cdmi_notification_events": [],
        "cdmi_scope_specification": [{"objectName": "== none"}],
        "cdmi_results_specification": {"objectName": ""},
    }
    assert carol.send("PUT", f"{ROOT}q", QUEUE, {"metadata": asked}).status_code == 201
    other = {**asked, "cdmi_scope_specification": [], "cdmi_results_specification": {"value": ""}}
    moved = dave.send("PUT", f"{ROOT}mine", QUEUE, {"move": "/q", "metadata": other})
    assert (moved.status_code, "cdmi_scope_specification" in moved.text) == (400, True)
    put(carol, "secret", {"value": "carol's", **own(OWNERS)})
    assert carol.send("GET", f"{ROOT}q?queueValues", QUEUE).json == {"queueValues": ""}
    without = {"cdmi_scope_specification": [], "cdmi_results_specification": {"value": ""}}
    assert dave.send("PUT", f"{ROOT}mine", QUEUE, {"move": "/q", "metadata": without}).status_code == 201
    assert dave.send("PATCH", f"{ROOT}mine", QUEUE, {"metadata": other}).status_code == 204
    put(carol, "other", {"value": "carol's", **own(OWNERS)})
    assert dave.send("GET", f"{ROOT}mine?queueValues", QUEUE).json == {"queueValues": ""}, "it is dave's now"


LITTLE: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}),
    "what is there": ({"vendor": "1", "valuetransferencoding": "utf-8"}, {}),
    "that it isn't finished": ({}, {"X-CDMI-Partial": "true"}),
    "another encoding": ({"valuetransferencoding": "base64"}, {}),
}


@pytest.mark.parametrize("given", [AceMask(0), READING, AceMask.DELETE])
@pytest.mark.parametrize("update", LITTLE)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_update_that_says_little_takes_a_right_to_write_too(
    carol: Client, dave: Client, method: str, update: str, given: AceMask
) -> None:
    acl = entries(OWNERS, ("GROUP@", given, 0))
    metadata = {"cdmi_acl": acl, "cdmi_versioning": "all", "cdmi_versions_count": "1"}
    for path, kind, body in (
        ("o", DATAOBJECT, {"value": "carol's", "vendor": "1", "metadata": metadata}),
        ("c/", CONTAINER, {"vendor": "1", "metadata": {"cdmi_acl": acl}}),
        ("q", QUEUE, {"vendor": "1", "metadata": {"cdmi_acl": acl}}),
    ):
        assert carol.send("PUT", ROOT + path, kind, body).status_code == 201
        before = carol.send("GET", ROOT + path, kind).json
        body, headers = LITTLE[update]
        root = ROOT if method == "PATCH" else "/cdmi/"
        assert dave.send(method, root + path, kind, body, **headers).status_code == 403
        assert carol.send("GET", ROOT + path, kind).json == before


def test_what_is_kept_is_not_added_to_and_keeps_its_list(carol: Client) -> None:
    kept = {"cdmi_hold_id": ["h"]}
    carol.send("PUT", f"{ROOT}q", QUEUE, {"metadata": kept})
    put(carol, "o", {"value": "x", "metadata": kept})
    put(carol, "box/", {"metadata": kept})
    put(carol, "box/o", {"value": "x"})
    assert carol.send("POST", f"{ROOT}q", QUEUE, {"value": ["more"]}).status_code == 403
    assert carol.send("GET", f"{ROOT}q?queueValues", QUEUE).json == {"queueValues": ""}
    for path in ("o", "box/", "box/o"):
        before = get(carol, path).json["metadata"]
        assert patch(carol, f"{path}?metadata=cdmi_acl", own(OWNERS)).status_code == 403
        assert get(carol, path).json["metadata"] == before
        assert (
            patch(carol, f"{path}?metadata=cdmi_hold_id", {"metadata": {"cdmi_hold_id": ["h", "i"]}}).status_code == 204
        )


@pytest.mark.parametrize("where", ["on hold", "in a container on hold"])
def test_a_queue_comes_back_with_its_values_though_it_is_kept(carol: Client, where: str) -> None:
    kept = {"metadata": {"cdmi_hold_id": ["h"]}}
    put(carol, "box/", kept if where == "in a container on hold" else {})
    queue = {
        "objectType": QUEUE, "value": ["a"], "valuetransferencoding": ["utf-8"], "mimetype": ["text/plain"],
        **(kept if where == "on hold" else {"metadata": {}}),
    }  # fmt: skip
    body = {"deserializevalue": base64.b64encode(json.dumps(queue).encode()).decode()}
    assert carol.send("PUT", f"{ROOT}box/q", QUEUE, body).status_code == 201
    assert carol.send("GET", f"{ROOT}box/q?value&values=9", QUEUE).json["value"] == ["a"]
    assert carol.send("POST", f"{ROOT}box/q", QUEUE, {"value": ["more"]}).status_code == 403


def test_the_right_to_add_is_that_of_when_the_queue_is_held(
    carol: Client, dave: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol.send("PUT", f"{ROOT}q", QUEUE, own(OWNERS, ("GROUP@", ALL_PERMS, 0)))
    hold = ObjectDoor._hold

    def late(door: ObjectDoor, connection: Connection, found: Found) -> Found:
        monkeypatch.setattr(ObjectDoor, "_hold", hold)
        narrowed = own(OWNERS, ("GROUP@", AceMask.WRITE_METADATA, 0))
        assert carol.send("PATCH", f"{ROOT}q?metadata=cdmi_acl", QUEUE, narrowed).status_code == 204
        return hold(door, connection, found)

    monkeypatch.setattr(ObjectDoor, "_hold", late)
    assert dave.send("POST", f"{ROOT}q", QUEUE, {"value": ["late"]}).status_code == 403


@pytest.mark.parametrize(
    ("asked", "changed"),
    [("metadata=colour", {"metadata": {"colour": "blue"}}), ("value&vendor", {"value": "2", "vendor": "2"})],
)
def test_a_version_brings_back_no_metadata_that_may_not_be_written(
    carol: Client, dave: Client, asked: str, changed: dict[str, Any]
) -> None:
    acl = own(OWNERS, ("GROUP@", READING | AceMask.DELETE | AceMask.WRITE_OBJECT, 0))["metadata"]
    put(carol, "o", {"value": "1", "metadata": {"cdmi_versioning": "user", "colour": "red", **acl}})
    assert patch(carol, f"o?{asked}", changed).status_code == 204
    before = seen(carol, "o")
    assert dave.plain("DELETE", before["metadata"]["cdmi_version_current"]).status_code == 403
    assert seen(carol, "o") == before
    assert patch(carol, "o?value", {"value": "3"}).status_code == 204
    assert dave.plain("DELETE", seen(carol, "o")["metadata"]["cdmi_version_current"]).status_code == 204
    assert carol.plain("DELETE", seen(carol, "o")["metadata"]["cdmi_version_current"]).status_code == 204
    assert seen(carol, "o")["metadata"]["colour"] == "red"


@pytest.mark.parametrize("update", ["that it isn't finished", "another encoding"])
def test_what_is_kept_is_neither_hidden_nor_read_otherwise(carol: Client, update: str) -> None:
    put(carol, "held", {"value": "x", "metadata": {"cdmi_hold_id": ["h"]}})
    before = seen(carol, "held")
    body, headers = LITTLE[update]
    assert patch(carol, "held", body, **headers).status_code == 403
    assert seen(carol, "held") == before


def test_an_update_that_says_nothing_is_no_version(carol: Client) -> None:
    put(carol, "o", {"value": "x", "vendor": "1", "metadata": {"cdmi_versioning": "all"}})
    before = seen(carol, "o")
    for body in ({}, {"valuetransferencoding": "utf-8"}, {"vendor": "1"}):
        assert patch(carol, "o", body).status_code == 204
    assert seen(carol, "o") == before
    patch(carol, "o", {"vendor": "2"})
    assert seen(carol, "o")["metadata"]["cdmi_version_current"] != before["metadata"]["cdmi_version_current"]


def test_an_unfinished_object_on_hold_can_be_finished(carol: Client) -> None:
    new = {"value": "x", "metadata": {"cdmi_hold_id": ["h"]}}
    carol.send("PUT", f"{ROOT}o", DATAOBJECT, new, X_CDMI_Partial="true")
    assert value(carol, "o") == 404
    assert patch(carol, "o", {}).status_code == 204
    assert value(carol, "o") == "x"


@pytest.mark.parametrize(
    "items",
    [
        {"cdmi_versions_count": "0"},
        {"cdmi_versions_size": "0"},
        {"cdmi_versions_age": "1"},
        {"cdmi_versioning": "all", "cdmi_versions_count": "9"},
    ],
    ids=str,
)
@pytest.mark.parametrize("of", ["the object", "its container"])
def test_who_may_not_delete_an_object_does_not_make_its_versions_go(
    carol: Client, dave: Client, of: str, items: dict[str, str]
) -> None:
    """Not at once, not by age, and not with the next changes."""
    undeletable = own(OWNERS, ("GROUP@", ALL_PERMS & ~AceMask.DELETE, 0))["metadata"]
    level = {} if "cdmi_versioning" in items else {"cdmi_versioning": "value"}
    put(carol, "box/", {"metadata": level})
    put(carol, "box/o", {"value": "1", "metadata": {**undeletable, "cdmi_versioning": "value"}})
    patch(carol, "box/o", {"value": "2"})
    oldest = seen(carol, "box/o")["metadata"]["cdmi_version_oldest"][0]
    if not level:
        patch(carol, "box/o?metadata=cdmi_versioning", {"metadata": {}})
    assert (dave.plain("GET", oldest).text, dave.plain("DELETE", oldest).status_code) == ("1", 403)

    path = "box/o" if of == "the object" else "box/"
    asked = "&".join(f"metadata={name}" for name in items)
    assert patch(dave, f"{path}?{asked}", {"metadata": items}).status_code == 403
    assert carol.plain("GET", oldest).text == "1"
    more = {"cdmi_versioning": "value", "a": "1"} if level else {"a": "1"}
    assert patch(dave, f"{path}?metadata=cdmi_versioning&metadata=a", {"metadata": more}).status_code == 204
    assert patch(carol, f"{path}?{asked}", {"metadata": items}).status_code == 204
    assert patch(dave, f"{path}?{asked}", {"metadata": {}}).status_code == 204, "all is kept again"


def test_a_queue_with_values_is_deserialized_where_there_is_none(carol: Client) -> None:
    arrays = {"value": ["a"], "valuetransferencoding": ["utf-8"], "mimetype": ["text/plain"]}
    queue = json.dumps({"objectType": QUEUE, "metadata": {}, **arrays}).encode()
    body = {"deserializevalue": base64.b64encode(queue).decode()}
    assert carol.send("PUT", f"{ROOT}q", QUEUE, body, If_None_Match="*").status_code == 201
    assert carol.send("GET", f"{ROOT}q?value", QUEUE).json == {"value": ["a"]}
