"""Which access list is in force: the own one, the inherited one, and what was read, changed and sent back."""

from __future__ import annotations

from typing import Any

import pytest

from backends.acl import ALL_PERMS, AceMask
from backends.store.database import Database
from tests.system.cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client
from tests.system.cdmi_users import OWNERS, READING, ROOT, TO_ALL, entries, own, patch, put, value


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


def test_the_list_that_the_standard_prints_is_taken_and_obeyed(carol: Client, dave: Client) -> None:
    flags = "OBJECT_INHERIT, CONTAINER_INHERIT"
    acl = [
        {"acetype": "ALLOW", "identifier": "OWNER@", "aceflags": flags, "acemask": "ALL_PERMS"},
        {"acetype": "ALLOW", "identifier": "AUTHENTICATED@", "aceflags": flags, "acemask": "READ"},
    ]
    assert put(carol, "box/", {"metadata": {"cdmi_acl": acl}}).status_code == 201
    put(carol, "box/o", {"value": "carol's"})
    assert value(dave, "box/o") == "carol's"
    assert dave.plain("PUT", f"{ROOT}box/o", b"dave's").status_code == 403


def test_an_entry_that_is_not_propagated_is_about_its_container_alone(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS, ("GROUP@", ALL_PERMS, TO_ALL | 0x4)))
    put(carol, "box/o", {"value": "carol's"})
    put(carol, "box/in/", {})
    assert dave.plain("GET", f"{ROOT}box/").text == "in/\no\n"
    assert (value(dave, "box/o"), value(dave, "box/in/")) == (403, 403)


@pytest.mark.parametrize("path", ["o", "c/"])
def test_what_is_put_in_place_of_an_object_keeps_its_list(carol: Client, dave: Client, path: str) -> None:
    writing = ("GROUP@", ALL_PERMS & ~AceMask.WRITE_ACL, 0)
    put(carol, path, own(OWNERS))
    assert put(carol, path, {"metadata": {"b": "2"}}).status_code == 201
    assert dave.plain("GET", ROOT + path).status_code == 403
    assert put(carol, path, own(OWNERS, writing)).status_code == 201
    assert put(dave, path, {"metadata": {"b": "3"}}).status_code == 201
    assert put(dave, path, own(OWNERS, ("GROUP@", ALL_PERMS, 0))).status_code == 403
    assert put(dave, path, {"metadata": {"cdmi_acl": None}}).status_code == 403
    kind = CONTAINER if path == "c/" else DATAOBJECT
    metadata = carol.send("GET", ROOT + path, kind).json["metadata"]
    assert (metadata["b"], metadata["cdmi_acl"]) == ("3", entries(OWNERS, writing))
    assert put(carol, path, {"metadata": {"cdmi_acl": None}}).status_code == 201
    assert put(dave, path, {}).status_code == 201


def list_of(client: Client, path: str) -> list[dict[str, str]]:
    kind = CONTAINER if path.endswith("/") else DATAOBJECT
    metadata = client.send("GET", f"{ROOT}{path}?metadata=cdmi_acl", kind).json["metadata"]
    acl: list[dict[str, str]] = metadata["cdmi_acl"]
    return acl


def only_owners(acl: list[dict[str, str]]) -> dict[str, Any]:
    return {"metadata": {"cdmi_acl": [entry for entry in acl if entry["identifier"] == "OWNER@"]}}


@pytest.mark.parametrize("path", ["o", "c/"])
@pytest.mark.parametrize("how", ["update", "create", "copy", "move"])
def test_an_inherited_list_that_was_narrowed_is_the_objects_own(
    carol: Client, dave: Client, how: str, path: str
) -> None:
    put(carol, path, {})
    shown = list_of(carol, path)
    narrowed = only_owners(shown)
    at = path if how == "update" else f"new{path}"
    match how:
        case "update":
            answer = patch(carol, f"{path}?metadata=cdmi_acl", narrowed)
        case "create":
            answer = put(carol, at, narrowed)
        case _:
            answer = put(carol, at, {how: f"/{path}", **narrowed})
    assert answer.status_code in (201, 204), answer.text
    flags = "0x3" if path == "c/" else "0x0"
    assert list_of(carol, at) == [{**narrowed["metadata"]["cdmi_acl"][0], "aceflags": flags}]
    assert dave.plain("GET", ROOT + at).status_code == 403
    assert patch(carol, f"{at}?metadata=cdmi_acl", {"metadata": {"cdmi_acl": shown}}).status_code == 204
    assert dave.plain("GET", ROOT + at).status_code == 200


@pytest.mark.parametrize("how", ["update", "create", "copy", "move"])
def test_an_inherited_list_that_is_sent_back_stays_inherited(carol: Client, dave: Client, how: str) -> None:
    put(carol, "box/", {})
    put(carol, "box/o", {})
    back = {"metadata": {"cdmi_acl": list_of(carol, "box/o")}}
    at = "box/o" if how == "update" else "box/new"
    match how:
        case "update":
            answer = patch(carol, "box/o?metadata=cdmi_acl", back)
        case "create":
            answer = put(carol, at, back)
        case _:
            answer = put(carol, at, {how: "/box/o", **back})
    assert answer.status_code in (201, 204), answer.text
    assert value(dave, at) == ""
    assert patch(carol, "box/?metadata=cdmi_acl", own(OWNERS)).status_code == 204
    assert value(dave, at) == 403


def test_the_list_of_the_disks_is_narrowed_by_what_was_read(admin: Client) -> None:
    shown = list_of(admin, "disks/")
    narrowed = [{**entry, "acemask": "0x9"} if entry["identifier"] == "GROUP@" else entry for entry in shown]
    assert patch(admin, "disks/?metadata=cdmi_acl", {"metadata": {"cdmi_acl": narrowed}}).status_code == 204
    assert [entry["acemask"] for entry in list_of(admin, "disks/")] == ["0x1f07ff", "0x9"]


def test_what_a_containers_list_closed_is_closed_where_it_is_deserialized(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS))
    put(carol, "box/in/", {})
    put(carol, "box/in/o", {"value": "carol's"})
    put(carol, "box/s", {"serialize": "/box/in/"})
    assert put(carol, "back/", {"deserialize": "/box/s"}).status_code == 201
    assert (value(carol, "back/o"), value(dave, "back/o")) == ("carol's", 403)
    assert patch(carol, "back/?metadata=cdmi_acl", {"metadata": {"cdmi_acl": None}}).status_code == 204
    assert value(dave, "back/o") == "carol's", "it inherits what the container above it had, and has no list of its own"


def test_what_only_its_id_leads_to_is_its_owners_alone(carol: Client, dave: Client, admin: Client) -> None:
    put(carol, "o", {"value": "carol's"})
    made = [
        carol.send("POST", f"{ROOT}cdmi_objectid/", DATAOBJECT, body).json["objectID"]
        for body in ({"value": "carol's"}, {"copy": "/o"}, {"move": "/o"})
    ]
    asked = {
        "cdmi_queue_type": "cdmi_query_queue",
        "cdmi_scope_specification": [{"metadata": {"cdmi_owner": f"== {carol.caller.user_name}"}}],
        "cdmi_results_specification": {"objectID": ""},
    }
    assert dave.send("PUT", f"{ROOT}q", QUEUE, {"metadata": asked}).status_code == 201
    dave.run_queries()
    assert dave.send("GET", f"{ROOT}q?queueValues", QUEUE).json == {"queueValues": ""}
    for path in (f"cdmi_objectid/{one}" for one in made):
        assert (value(carol, path), value(dave, path), value(admin, path)) == ("carol's", 403, 403)
        assert patch(dave, path, {"value": "dave's"}).status_code == 403
        assert dave.plain("DELETE", ROOT + path).status_code == 403
        assert patch(admin, f"{path}?metadata=cdmi_acl", own(OWNERS, ("GROUP@", READING, 0))).status_code == 204
        assert value(dave, path) == "carol's"


def test_a_move_to_an_id_gives_no_rights(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS, ("GROUP@", READING | AceMask.DELETE | AceMask.DELETE_OBJECT, TO_ALL)))
    put(carol, "box/o", {"value": "carol's"})
    moved = dave.send("POST", f"{ROOT}cdmi_objectid/", DATAOBJECT, {"move": "/box/o"})
    assert moved.status_code == 201
    path = f"cdmi_objectid/{moved.json['objectID']}"
    assert patch(dave, path, {"value": "dave's"}).status_code == 403
    assert value(carol, path) == "carol's"
