"""Containers and data objects through CDMI 1.1.1, CDMI 2.0 and plain HTTP, over a real PostgreSQL."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT, QUEUE, Client

from backends.cloud import Cloud
from backends.errors import NotAllowed, NotFound
from backends.model import Caller, Role
from backends.objects import Address, NewObject, ObjectKind
from backends.store.database import Connection, Database
from backends.values import Values
from tests.conftest import caller, project

MIB = 2**20


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def me(sql: Connection) -> Caller:
    return caller(project(sql, f"mine {uuid4()}"))


@pytest.fixture
def client(database: Database, me: Caller, tmp_path: Path) -> Client:
    return Client(database, me, tmp_path)


def colleague(database: Database, me: Caller, client: Client, name: str = "other", role: Role = Role.USER) -> Client:
    """Another user of the same project."""
    return Client(database, Caller(me.user_id, name, me.project_id, me.project_name, role), client.folder)


@contextmanager
def noted_statements() -> Iterator[list[str]]:
    """The first word of each statement, and of each transaction."""
    noted: list[str] = []
    execute, transaction = psycopg.Cursor.execute, psycopg.Connection.transaction

    def noting_execute(cursor: Any, text: Any, *parameters: Any, **options: Any) -> Any:
        noted.append(str(text).split()[0])
        return execute(cursor, text, *parameters, **options)

    def noting_transaction(connection: Any, *parameters: Any) -> Any:
        noted.append("BEGIN")
        return transaction(connection, *parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", noting_execute)
        patch.setattr(psycopg.Connection, "transaction", noting_transaction)
        yield noted


@pytest.mark.parametrize("root", ["/cdmi/", "/cdmi/2.0.0/"])
def test_a_container_and_an_object_come_and_go(client: Client, root: str) -> None:
    made = client.send("PUT", root + "box/", CONTAINER, {"metadata": {"colour": "red"}})
    assert made.status_code == 201
    assert made.json["objectName"] == "box/"
    assert made.json["parentURI"] == root
    assert made.json["metadata"]["colour"] == "red"
    assert (made.json["childrenrange"], made.json["children"]) == ("", [])
    assert list(made.json)[-2:] == ["childrenrange", "children"]

    body = {"mimetype": "Text/Plain", "metadata": {"a": 1}, "value": "héllo"}
    made = client.send("PUT", root + "box/greeting", DATAOBJECT, body)
    assert made.status_code == 201
    assert made.json["mimetype"] == "text/plain"
    assert "value" not in made.json

    read = client.send("GET", root + "box/greeting", DATAOBJECT)
    assert read.headers["Content-Type"] == DATAOBJECT
    assert read.json["value"] == "héllo"
    assert read.json["valuerange"] == "0-5"
    assert read.json["valuetransferencoding"] == "utf-8"
    assert read.json["metadata"]["cdmi_size"] == "6"
    assert read.json["completionStatus"] == "Complete"
    assert list(read.json)[-3:] == ["valuerange", "valuetransferencoding", "value"]

    listing = client.send("GET", root + "box/", CONTAINER)
    assert listing.json["children"] == ["greeting"]
    assert client.send("GET", root, CONTAINER).json["children"] == ["box/", "disks/"]

    assert client.send("DELETE", root + "box/", CONTAINER).status_code == 204
    assert client.send("GET", root + "box/greeting", DATAOBJECT).status_code == 404


def test_the_answer_to_a_creation_is_what_is_read_afterwards(client: Client) -> None:
    acl = [{"acetype": "ALLOW", "identifier": "EVERYONE@", "aceflags": "0x3", "acemask": "0x1f07ff"}]
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": {"cdmi_acl": acl}})
    body = {"value": "x", "mimetype": "a/b", "metadata": {"z": 1.5, "a": [None, {"k": "é"}]}, "own": {"field": True}}
    for made in (
        client.send("PUT", "/cdmi/box/thing", DATAOBJECT, body),
        client.send("PUT", "/cdmi/box/part?value:10-12", DATAOBJECT, {**body, "value": "eHh4"}),
        client.send("POST", "/cdmi/cdmi_objectid/", DATAOBJECT, body),
        client.send("PUT", "/cdmi/box/inner/", CONTAINER, {"metadata": {"a": 1}}),
    ):
        assert made.status_code == 201, made.text
        read = client.send("GET", made.headers["Location"], made.headers["Content-Type"]).json
        assert {name: read[name] for name in made.json} == made.json


def test_a_new_object_was_changed_last_when_it_was_created(client: Client, sql: Connection, me: Caller) -> None:
    for number in range(100):
        client.send("PUT", f"/cdmi/{number}", DATAOBJECT, {"value": ""})
    differing = "SELECT name FROM stored_object WHERE project_id = %s AND created_at <> modified_at"
    assert sql.execute(differing + " AND kind = 'dataobject'", [me.project_id]).fetchall() == []


def test_a_small_object_is_made_by_two_statements_and_read_by_one(client: Client) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    with noted_statements() as noted:
        assert client.plain("PUT", "/cdmi/box/thing", b"x" * 4096).status_code == 201
        assert noted == ["SELECT", "INSERT"]
        assert client.plain("GET", "/cdmi/box/thing").content == b"x" * 4096
        assert noted == ["SELECT", "INSERT", "SELECT"]


def test_a_right_withdrawn_while_a_large_value_arrives_is_withdrawn(
    database: Database, me: Caller, client: Client
) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    cloud, address = Cloud(database, me, {}, "small", Values(client.folder)), Address(("box", "thing"))
    with pytest.raises(NotFound):
        cloud.find_object(address)
    cloud.may_create(address, ObjectKind.DATAOBJECT)
    with cloud.receive_value() as received:
        received.write(b"x" * MIB)
        acl = [{"acetype": "DENY", "identifier": "EVERYONE@", "aceflags": "0x3", "acemask": "CDMI_ACE_ADD_OBJECT"}]
        assert client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": {"cdmi_acl": acl}}).status_code == 204
        with pytest.raises(NotAllowed):
            cloud.create_object(address, NewObject(ObjectKind.DATAOBJECT), received)
    assert client.files() == []


def test_an_object_is_the_same_by_id(client: Client) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    made = client.send("PUT", "/cdmi/box/thing", DATAOBJECT, {"value": "x"})
    identity = made.json["objectID"]

    assert client.send("GET", f"/cdmi/cdmi_objectid/{identity}", DATAOBJECT).json["parentURI"] == "/cdmi/box/"
    assert client.send("GET", f"/cdmi/cdmi_objectid/{identity.lower()}", DATAOBJECT).status_code == 200
    container = client.send("GET", "/cdmi/box/", CONTAINER).json["objectID"]
    assert client.send("GET", f"/cdmi/cdmi_objectid/{container}/thing", DATAOBJECT).json["value"] == "x"
    assert client.send("GET", f"/cdmi/cdmi_objectid/{container}", CONTAINER).json["objectName"] == "box/"


def test_posted_objects_get_a_name_or_only_an_id(client: Client) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    named = client.send("POST", "/cdmi/box/", DATAOBJECT, {"value": "named"})
    assert named.status_code == 201
    assert client.send("GET", named.headers["Location"], DATAOBJECT).json["value"] == "named"

    loose = client.send("POST", "/cdmi/cdmi_objectid/", DATAOBJECT, {"value": "loose"})
    assert loose.status_code == 201
    read = client.send("GET", loose.headers["Location"], DATAOBJECT).json
    assert read["value"] == "loose"
    assert not {"objectName", "parentURI", "parentID"} & read.keys()


def test_fields_are_selected_in_both_dialects(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "0123456789", "metadata": {"a1": "x", "a2": "y", "b": "z"}})

    one = client.send("GET", "/cdmi/o?objectName;value:2-4;metadata:a", DATAOBJECT).json
    two = client.send("GET", "/cdmi/2.0.0/o?objectName&value=2-4&metadata=a", DATAOBJECT).json
    assert one == two == {"objectName": "o", "metadata": {"a1": "x", "a2": "y"}, "value": "MjM0"}
    ranged = client.send("GET", "/cdmi/o?valuerange;valuetransferencoding;value:8-99", DATAOBJECT).json
    assert ranged == {"valuerange": "8-9", "valuetransferencoding": "base64", "value": "ODk="}
    assert client.send("GET", "/cdmi/o?nothing", DATAOBJECT).json == {}
    assert client.send("GET", "/cdmi/o?value:9-2", DATAOBJECT).status_code == 400


def test_children_are_read_in_ranges(client: Client) -> None:
    for name in "abcde":
        client.plain("PUT", f"/cdmi/{name}", b"")
    part = client.send("GET", "/cdmi/?childrenrange;children:1-2", CONTAINER).json
    assert part == {"childrenrange": "1-2", "children": ["b", "c"]}
    beyond = client.send("GET", "/cdmi/?childrenrange;children:99-100", CONTAINER).json
    assert beyond == {"childrenrange": "", "children": []}
    assert client.send("GET", "/cdmi/?children:9-12", CONTAINER).json == {"children": []}


@pytest.mark.parametrize(("root", "verb"), [("/cdmi/", "PUT"), ("/cdmi/2.0.0/", "PATCH")])
def test_metadata_changes_by_item_or_as_a_whole(client: Client, root: str, verb: str) -> None:
    colon, separator = (":", ";") if verb == "PUT" else ("=", "&")
    client.send("PUT", root + "o", DATAOBJECT, {"value": "v", "metadata": {"a": "1", "b": "2", "c": "3"}})

    body = {"metadata": {"a": "new", "z": "ignored"}}
    query = f"metadata{colon}a{separator}metadata{colon}b"
    assert client.send(verb, f"{root}o?{query}", DATAOBJECT, body).status_code == 204
    assert users(client, root + "o") == {"a": "new", "c": "3"}
    assert client.send(verb, root + "o", DATAOBJECT, {"metadata": {"only": True}}).status_code == 204
    assert users(client, root + "o") == {"only": True}
    assert client.send("GET", root + "o", DATAOBJECT).json["value"] == "v"


def users(client: Client, path: str) -> dict[str, object]:
    metadata = client.send("GET", path, DATAOBJECT).json["metadata"]
    return {name: value for name, value in metadata.items() if not name.startswith("cdmi_")}


def test_metadata_is_limited_and_the_standards_names_are_not_for_users(client: Client) -> None:
    for metadata in ({"a": "x" * 5000}, {str(n): "" for n in range(1025)}, {"cdmi_mine": "x"}, {"a": "\0"}, [], "x"):
        assert client.send("PUT", "/cdmi/o", DATAOBJECT, {"metadata": metadata}).status_code == 400
    read_back = client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x"}).json["metadata"]
    assert client.send("PUT", "/cdmi/o", DATAOBJECT, {"metadata": read_back}).status_code == 204


def test_a_range_written_by_cdmi_makes_the_value_base64(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "0123456789"})
    body = {"value": base64.b64encode(b"ab").decode()}
    assert client.send("PUT", "/cdmi/o?value:3-4", DATAOBJECT, body).status_code == 204

    read = client.send("GET", "/cdmi/o", DATAOBJECT).json
    assert base64.b64decode(read["value"]) == b"012ab56789"
    assert read["valuetransferencoding"] == "base64"
    assert client.send("PUT", "/cdmi/o?value:3-9", DATAOBJECT, body).status_code == 400


def test_a_gap_reads_as_zeros_and_ends_the_valuerange(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"abc")
    assert client.plain("PUT", "/cdmi/o", b"xyz", Content_Range="bytes 6-8/*").status_code == 204

    assert client.plain("GET", "/cdmi/o").content == b"abc\0\0\0xyz"
    read = client.send("GET", "/cdmi/o", DATAOBJECT).json
    assert (read["valuerange"], read["metadata"]["cdmi_size"]) == ("0-2", "9")
    client.plain("PUT", "/cdmi/o", b"def", Content_Range="bytes 3-5/9")
    assert client.send("GET", "/cdmi/o", DATAOBJECT).json["valuerange"] == "0-8"


def test_plain_http_takes_and_gives_values_of_any_size(client: Client) -> None:
    for size in (0, 5, 64 << 10, (64 << 10) + 1, 3 * MIB + 7):
        value = bytes(range(256)) * (size // 256 + 1)
        value = value[:size]
        status = client.plain("PUT", "/cdmi/o", value, Content_Type="Image/PNG").status_code
        assert status in (201, 204)
        read = client.plain("GET", "/cdmi/o")
        assert read.content == value
        assert read.headers["Content-Type"] == "image/png"
        as_json = client.send("GET", "/cdmi/o?value", DATAOBJECT).json
        assert base64.b64decode(as_json["value"]) == value
        assert len(client.files()) == (1 if size > 64 << 10 else 0)
    assert client.plain("DELETE", "/cdmi/o").status_code == 204
    assert client.files() == []


def test_plain_http_ranges(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"0123456789")
    read = client.plain("GET", "/cdmi/o", Range="bytes=2-4")
    assert (read.status_code, read.content, read.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert client.plain("GET", "/cdmi/o", Range="bytes=-3").content == b"789"
    assert client.plain("GET", "/cdmi/o", Range="bytes=8-").content == b"89"
    assert client.plain("GET", "/cdmi/o", Range="bytes=10-").status_code == 416
    head = client.plain("HEAD", "/cdmi/o")
    assert (head.status_code, head.headers["Content-Length"]) == (200, "10")


def test_text_by_plain_http_is_utf8_in_cdmi(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", "ä".encode(), Content_Type="text/plain;charset=utf-8")
    read = client.send("GET", "/cdmi/o", DATAOBJECT).json
    assert (read["value"], read["mimetype"], read["valuetransferencoding"]) == ("ä", "text/plain", "utf-8")
    refused = client.plain("PUT", "/cdmi/o", b"\xff", Content_Type="text/plain;charset=utf-8")
    assert refused.status_code == 400
    assert client.plain("GET", "/cdmi/o").content == "ä".encode()


def test_json_values_are_objects_in_2_and_text_in_1(client: Client) -> None:
    body = {"valuetransferencoding": "json", "value": {"a": [1, "ü"]}}
    assert client.send("PUT", "/cdmi/2.0.0/o", DATAOBJECT, body).status_code == 201
    assert client.send("GET", "/cdmi/2.0.0/o", DATAOBJECT).json["value"] == {"a": [1, "ü"]}
    old = client.send("GET", "/cdmi/o", DATAOBJECT).json
    assert (old["value"], old["valuetransferencoding"]) == ('{"a":[1,"ü"]}', "utf-8")
    for wrong in ({"valuetransferencoding": "json", "value": "x"}, {"valuetransferencoding": "base64", "value": "?"}):
        assert client.send("PUT", "/cdmi/2.0.0/p", DATAOBJECT, wrong).status_code == 400


def test_partial_objects_have_no_value_until_they_are_complete(client: Client) -> None:
    first = client.plain("PUT", "/cdmi/o", b"a" * 100_000, X_CDMI_Partial="true")
    assert first.status_code == 201
    assert client.plain("GET", "/cdmi/o").status_code == 404
    half = client.send("GET", "/cdmi/o", DATAOBJECT)
    assert (half.status_code, half.json["completionStatus"]) == (202, "Processing")
    assert "value" not in half.json
    before = client.files()
    client.plain("PUT", "/cdmi/o", b"b" * 10, Content_Range="bytes 100000-100009/*", X_CDMI_Partial="true")
    assert client.files() == before
    client.send("PUT", "/cdmi/o?value:100010-100010", DATAOBJECT, {"value": "Yw=="})
    assert client.plain("GET", "/cdmi/o").content == b"a" * 100_000 + b"b" * 10 + b"c"


def test_references_redirect_and_are_deleted_themselves(client: Client) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"value": "x"})
    assert client.send("PUT", "/cdmi/link", DATAOBJECT, {"reference": "/box/"}).status_code == 201
    assert client.send("GET", "/cdmi/", CONTAINER).json["children"] == ["box/", "disks/", "link?"]

    followed = client.send("GET", "/cdmi/link/o?value", DATAOBJECT)
    assert followed.status_code == 302
    assert followed.headers["Location"] == "http://falconframework.org/cdmi/box/o?value"
    assert client.send("PUT", "/cdmi/link", DATAOBJECT, {"value": "y"}).status_code == 302
    assert client.send("DELETE", "/cdmi/link", DATAOBJECT).status_code == 204
    assert client.send("GET", "/cdmi/box/o", DATAOBJECT).status_code == 200
    both = {"reference": "/box/", "value": "x"}
    assert client.send("PUT", "/cdmi/link", DATAOBJECT, both).status_code == 400


def test_a_reference_may_have_letters_that_a_header_can_not(client: Client) -> None:
    made = client.send("PUT", "/cdmi/link", DATAOBJECT, {"reference": "https://example.com/€%20x?a=b"})
    assert made.status_code == 201
    followed = client.send("GET", "/cdmi/link", DATAOBJECT)
    assert (followed.status_code, followed.headers["Location"]) == (302, "https://example.com/%E2%82%AC%20x?a=b")


def test_what_a_failed_write_in_place_left_is_not_part_of_the_value(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"a" * 100_000, X_CDMI_Partial="true")
    (file,) = client.folder.iterdir()
    with file.open("ab") as value:
        value.write(b"left behind")
    client.plain("PUT", "/cdmi/o", b"b", Content_Range="bytes 0-0/*")
    assert client.plain("GET", "/cdmi/o").content == b"b" + b"a" * 99_999
    client.plain("PUT", "/cdmi/o", b"c", Content_Range="bytes 1-1/*")
    assert client.plain("GET", "/cdmi/o").content == b"bc" + b"a" * 99_998


def test_slashes_tell_containers_from_objects(client: Client) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    moved = client.send("GET", "/cdmi/box?children", CONTAINER)
    assert (moved.status_code, moved.headers["Location"]) == (301, "http://falconframework.org/cdmi/box/")
    assert client.send("PUT", "/cdmi/other", CONTAINER, {}).status_code == 400
    assert client.plain("PUT", "/cdmi/plain/").status_code == 201
    assert client.plain("PUT", "/cdmi/plain").status_code == 409
    assert client.send("PUT", "/cdmi/none/o", DATAOBJECT, {}).status_code == 404


def test_versions_are_negotiated(client: Client) -> None:
    def version(offered: str) -> tuple[int, str | None]:
        answer = client.send("GET", "/cdmi/", CONTAINER, X_CDMI_Specification_Version=offered)
        return answer.status_code, answer.headers.get("X-CDMI-Specification-Version")

    assert version("1.0.2, 1.1, 1.5, 2.0") == (200, "1.1")
    assert version("1.1.1,1.0.2") == (200, "1.1.1")
    assert version("2.0")[0] == 400
    assert client.plain("GET", "/cdmi/", Accept=CONTAINER).status_code == 400
    assert client.plain("GET", "/cdmi/2.0.0/", Accept=CONTAINER).status_code == 200
    assert client.send("GET", "/cdmi/", DATAOBJECT).status_code == 406


def test_nobody_reaches_another_projects_objects(
    client: Client, database: Database, sql: Connection, tmp_path: Path
) -> None:
    made = client.send("PUT", "/cdmi/secret", DATAOBJECT, {"value": "x"})
    for role in (Role.USER, Role.CLOUD_ADMIN):
        stranger = Client(database, caller(project(sql, f"theirs {uuid4()}"), role), tmp_path)
        for path in ("secret", f"cdmi_objectid/{made.json['objectID']}"):
            assert stranger.send("GET", f"/cdmi/{path}", DATAOBJECT).status_code == 404
            assert stranger.send("DELETE", f"/cdmi/{path}", DATAOBJECT).status_code == 404
        copied = {"reference": f"/cdmi_objectid/{made.json['objectID']}"}
        stranger.send("PUT", "/cdmi/link", DATAOBJECT, copied)
        assert stranger.plain("GET", f"/cdmi/cdmi_objectid/{made.json['objectID']}").status_code == 404


def test_an_access_control_list_decides_within_the_project(client: Client, database: Database, me: Caller) -> None:
    other = colleague(database, me, client)
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"value": "x"})
    assert other.send("GET", "/cdmi/box/o", DATAOBJECT).json["value"] == "x"

    entries = [
        {"acetype": "ALLOW", "identifier": "OWNER@", "aceflags": "0x3", "acemask": "CDMI_ACE_ALL_PERMS"},
        {"acetype": "0x0", "identifier": "other", "aceflags": "0x3", "acemask": "0x8"},
    ]
    changed = client.send("PUT", "/cdmi/box/?metadata:cdmi_acl", CONTAINER, {"metadata": {"cdmi_acl": entries}})
    assert changed.status_code == 204
    seen = other.send("GET", "/cdmi/box/o", DATAOBJECT)
    assert seen.status_code == 200
    assert not {"value", "valuerange"} & seen.json.keys()
    assert "cdmi_acl" not in seen.json["metadata"]
    assert other.send("GET", "/cdmi/box/o?value", DATAOBJECT).status_code == 403
    assert other.plain("GET", "/cdmi/box/o").status_code == 403
    assert other.plain("GET", "/cdmi/box/").status_code == 403
    for method, path, body in (
        ("PUT", "box/o", {"value": "y"}),
        ("PUT", "box/o", {"metadata": {}}),
        ("PUT", "box/new", {"value": ""}),
        ("DELETE", "box/o", None),
    ):
        assert other.send(method, f"/cdmi/{path}", DATAOBJECT, body).status_code == 403
    inherited = client.send("GET", "/cdmi/box/o", DATAOBJECT).json["metadata"]["cdmi_acl"]
    assert [entry["aceflags"] for entry in inherited] == ["0x80", "0x80"]
    stranger = colleague(database, me, client, "third")
    assert stranger.send("GET", "/cdmi/box/o", DATAOBJECT).status_code == 403


@pytest.mark.parametrize(("path", "kind"), [("o", DATAOBJECT), ("box/", CONTAINER), ("q", QUEUE)])
@pytest.mark.parametrize("role", [Role.USER, Role.PROJECT_ADMIN])
@pytest.mark.parametrize("deny", [[], [{"acetype": "DENY", "identifier": "EVERYONE@", "acemask": "0x1f07ff"}]])
def test_a_list_never_locks_out_the_owner_or_an_administrator(
    client: Client, database: Database, me: Caller, path: str, kind: str, role: Role, deny: list[dict[str, str]]
) -> None:
    uri = f"/cdmi/{path}"
    assert client.send("PUT", uri, kind, {"metadata": {"cdmi_acl": deny, "a": "1"}}).status_code == 201
    other = colleague(database, me, client)
    assert other.send("GET", uri, kind).status_code == 403
    assert other.send("PUT", f"{uri}?metadata:cdmi_acl", kind, {"metadata": {"cdmi_acl": []}}).status_code == 403

    keeper = client if role is Role.USER else colleague(database, me, client, "admin", role)
    seen = keeper.send("GET", uri, kind)
    assert seen.status_code == 200
    assert not {"metadata", "value", "children"} & seen.json.keys()
    shown = keeper.send("GET", f"{uri}?metadata:cdmi_acl", kind).json["metadata"]
    assert (shown.keys(), len(shown["cdmi_acl"])) == ({"cdmi_acl"}, len(deny))
    assert keeper.send("DELETE", uri, kind).status_code == 403
    mine = [{"acetype": "ALLOW", "identifier": "EVERYONE@", "aceflags": "0x3", "acemask": "0x1f07ff"}]
    assert keeper.send("PUT", f"{uri}?metadata:cdmi_acl", kind, {"metadata": {"cdmi_acl": mine}}).status_code == 204
    assert keeper.send("DELETE", uri, kind).status_code == 204


@pytest.mark.parametrize("path", ["", "disks/"])
def test_what_nobody_owns_is_not_locked_by_who_could_not_unlock_it(
    client: Client, database: Database, me: Caller, path: str
) -> None:
    uri = f"/cdmi/{path}?metadata:cdmi_acl"
    nobody: dict[str, Any] = {"metadata": {"cdmi_acl": []}}
    refused = client.send("PUT", uri, CONTAINER, nobody)
    assert (refused.status_code, "dmi_acl" in refused.text) == (400, True)
    mine = [{"acetype": "ALLOW", "identifier": "tester", "aceflags": "0x3", "acemask": "0x1f07ff"}]
    assert client.send("PUT", uri, CONTAINER, {"metadata": {"cdmi_acl": mine}}).status_code == 204
    admin = colleague(database, me, client, "admin", Role.PROJECT_ADMIN)
    assert admin.send("PUT", uri, CONTAINER, nobody).status_code == 204
    assert client.send("PUT", uri, CONTAINER, {"metadata": {"cdmi_acl": mine}}).status_code == 403
    assert admin.send("PUT", uri, CONTAINER, {"metadata": {}}).status_code == 204
    assert client.send("PUT", uri, CONTAINER, {"metadata": {"cdmi_acl": mine}}).status_code == 204


def test_holds_and_retention_forbid_changes_and_only_grow(client: Client) -> None:
    held = {"metadata": {"cdmi_hold_id": ["case 1"]}, "value": "x"}
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    assert client.send("PUT", "/cdmi/box/o", DATAOBJECT, held).status_code == 201
    for refused in (
        client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"value": "y"}),
        client.plain("PUT", "/cdmi/box/o", b"y"),
        client.send("DELETE", "/cdmi/box/o", DATAOBJECT),
        client.send("DELETE", "/cdmi/box/", CONTAINER),
        client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"metadata": {}}),
    ):
        assert refused.status_code == 403
    more = {"metadata": {"cdmi_hold_id": ["case 1", "case 2"]}}
    assert client.send("PUT", "/cdmi/box/o?metadata:cdmi_hold_id", DATAOBJECT, more).status_code == 204

    period = "2020-01-01T00:00:00.000000Z/2999-01-01T00:00:00.000000Z"
    client.send("PUT", "/cdmi/r", DATAOBJECT, {"metadata": {"cdmi_retention_period": period}})
    assert client.send("DELETE", "/cdmi/r", DATAOBJECT).status_code == 403
    for end, status in (("2998", 403), ("3000", 204)):
        other = {"metadata": {"cdmi_retention_period": period.replace("2999", end)}}
        assert client.send("PUT", "/cdmi/r?metadata:cdmi_retention_period", DATAOBJECT, other).status_code == status
    wrong = {"metadata": {"cdmi_retention_period": "tomorrow"}}
    assert client.send("PUT", "/cdmi/w", DATAOBJECT, wrong).status_code == 400


def test_capabilities_are_for_everybody(client: Client) -> None:
    root = client.send("GET", "/cdmi/cdmi_capabilities/", CAPABILITY)
    assert root.json["objectName"] == "cdmi_capabilities/"
    assert "container/" in root.json["children"]
    assert all(isinstance(value, str) for value in root.json["capabilities"].values())
    node = client.send("GET", "/cdmi/2.0.0/cdmi_capabilities/dataobject/?capabilities", CAPABILITY).json
    assert node["capabilities"]["cdmi_read_value"] == "true"
    assert client.send("GET", f"/cdmi/cdmi_objectid/{root.json['objectID']}", CAPABILITY).json == root.json
    one = client.send("GET", "/cdmi/cdmi_capabilities/?childrenrange;children:0-0", CAPABILITY).json
    assert one["childrenrange"] == "0-0"
    uri = client.send("GET", "/cdmi/?capabilitiesURI", CONTAINER).json["capabilitiesURI"]
    assert client.send("GET", uri, CAPABILITY).status_code == 200


def test_a_page_for_people_escapes_what_users_wrote(client: Client) -> None:
    client.plain("PUT", "/cdmi/<script>alert(1)<", b"x")
    client.plain("PUT", "/cdmi/javascript:alert(1)", b"x")
    page = client.plain("GET", "/cdmi/", Accept="text/html,*/*;q=0.1")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<script" not in page.text
    assert 'href="./javascript:' in page.text
    assert client.plain("GET", "/cdmi/").text.splitlines() == ["<script>alert(1)<", "disks/", "javascript:alert(1)"]
    assert "sandbox" in client.plain("GET", "/cdmi/javascript:alert(1)").headers["Content-Security-Policy"]


def test_create_only_if_there_is_nothing_yet(client: Client) -> None:
    assert client.plain("PUT", "/cdmi/o", b"1", If_None_Match="*").status_code == 201
    assert client.plain("PUT", "/cdmi/o", b"2", If_None_Match="*").status_code == 412
    tag = client.plain("GET", "/cdmi/o").headers["ETag"]
    assert client.plain("GET", "/cdmi/o", If_None_Match=tag).status_code == 304
    assert client.plain("PUT", "/cdmi/o", b"3", If_Match=tag).status_code == 204
    assert client.plain("PUT", "/cdmi/o", b"4", If_Match=tag).status_code == 412


def multipart(*parts: tuple[str, bytes], boundary: str = "edge") -> bytes:
    body = b""
    for headers, data in parts:
        body += f"--{boundary}\r\n{headers}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def test_a_value_comes_in_parts_of_its_own(client: Client) -> None:
    fields = ("Content-Type: application/cdmi-object", b'{"metadata": {"a": "1"}}')
    large = bytes(range(256)) * 1000
    body = multipart(fields, ("Content-Type: image/png", large), ("Content-Type: image/png", b"\r\n--edgy"))
    made = client.send("PUT", "/cdmi/o", DATAOBJECT, body, Content_Type="multipart/mixed; boundary=edge")
    assert made.status_code == 201
    assert (made.json["mimetype"], made.json["metadata"]["a"]) == ("image/png", "1")
    assert client.plain("GET", "/cdmi/o").content == large + b"\r\n--edgy"

    body = multipart(
        ("Content-Type: application/cdmi-object", b"{}"),
        ("Content-Type: image/png\r\nContent-Range: bytes 2-3/*", b"XY"),
        ("Content-Type: image/png\r\nContent-Range: bytes 9-9/*", b"Z"),
    )
    changed = client.send("PUT", "/cdmi/o", DATAOBJECT, body, Content_Type='multipart/mixed; boundary="edge"')
    assert changed.status_code == 204
    assert client.plain("GET", "/cdmi/o").content[:11] == b"\0\1XY\4\5\6\7\x08Z\n"


def test_a_value_goes_out_as_a_part_of_its_own(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"0123456789", Content_Type="image/png")
    read = client.plain("GET", "/cdmi/2.0.0/o?objectName&value=2-4", Accept="multipart/mixed")
    boundary = read.headers["Content-Type"].partition("boundary=")[2]
    _, fields, value, end = read.content.split(b"--" + boundary.encode())
    assert b'{"objectName":"o"}' in fields
    assert b"Content-Range: bytes 2-4/10" in value
    assert value.endswith(b"\r\n\r\n234\r\n")
    assert end == b"--\r\n"


def test_parts_that_do_not_fit_together_are_refused(client: Client) -> None:
    fields = ("Content-Type: application/cdmi-object", b"{}")
    value = ("Content-Type: text/plain", b"x")
    wrong = [
        multipart(fields),
        multipart(value, value),
        multipart(fields, value)[:-8],
        multipart(fields, ("Content-Range: bytes 0-9/*", b"x")),
        multipart(("Content-Type: application/cdmi-object", b'{"value": "x"}'), value),
        multipart(fields, ("X: " + "y" * 9000, b"x")),
        multipart(fields, *[value] * 1001),
        b"",
    ]
    for body in wrong:
        refused = client.send("PUT", "/cdmi/o", DATAOBJECT, body, Content_Type="multipart/mixed; boundary=edge")
        assert refused.status_code == 400
    assert client.send("PUT", "/cdmi/o", DATAOBJECT, wrong[0], Content_Type="multipart/mixed").status_code == 400
    assert client.files() == []


def test_a_type_that_is_not_wanted_is_not_sent(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "plain"})
    for unwanted in ("q=0", "q=0.000", "v=1; q=0"):
        assert client.plain("GET", "/cdmi/2.0.0/o", Accept=f"{DATAOBJECT};{unwanted}, */*").text == "plain"
    assert client.plain("GET", "/cdmi/2.0.0/o", Accept=f"{DATAOBJECT};q=0.1, */*").json["value"] == "plain"


def test_a_range_may_end_however_far_behind_the_value(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "plain"})
    read = client.plain("GET", "/cdmi/o", Range=f"bytes=2-{10**22}")
    assert (read.status_code, read.text) == (206, "ain")
    assert client.plain("GET", "/cdmi/o", Range=f"bytes={10**22}-").status_code == 416


def test_put_of_parts_replaces_an_object_by_2_0_and_changes_it_by_1_x(client: Client) -> None:
    acl = [{"acetype": "ALLOW", "identifier": "OWNER@", "aceflags": "0x3", "acemask": "0x1f07ff"}]
    old = {"value": "old", "metadata": {"a": "1", "cdmi_acl": acl}, "mimetype": "text/css", "of": "mine"}
    body = multipart(
        ("Content-Type: application/cdmi-object", b'{"metadata": {"b": "2"}}'), ("Content-Type: x/y", b"new")
    )
    first = client.send("PUT", "/cdmi/2.0.0/o", DATAOBJECT, old).json["objectID"]
    put = client.send("PUT", "/cdmi/2.0.0/o", DATAOBJECT, body, Content_Type="multipart/mixed; boundary=edge")
    assert (put.status_code, put.json["objectID"], put.json["mimetype"]) == (201, first, "x/y")
    read = client.send("GET", "/cdmi/2.0.0/o", DATAOBJECT).json
    assert (read["value"], read["metadata"].get("a"), read["metadata"]["b"]) == ("bmV3", None, "2")
    assert "of" not in read
    assert [entry["identifier"] for entry in read["metadata"]["cdmi_acl"]] == ["OWNER@"]
    part = multipart(("Content-Type: application/cdmi-object", b"{}"), ("Content-Range: bytes 0-0/*", b"N"))
    put = client.send("PUT", "/cdmi/2.0.0/o", DATAOBJECT, part, Content_Type="multipart/mixed; boundary=edge")
    assert (put.status_code, client.plain("GET", "/cdmi/o").text) == (400, "new")

    client.send("PUT", "/cdmi/2.0.0/o", DATAOBJECT, old)
    fields = multipart(("Content-Type: application/cdmi-object", b"{}"), ("Content-Type: x/y", b"new"))
    put = client.send("PUT", "/cdmi/o", DATAOBJECT, fields, Content_Type="multipart/mixed; boundary=edge")
    assert put.status_code == 204
    read = client.send("GET", "/cdmi/2.0.0/o", DATAOBJECT).json
    assert (read["value"], read["mimetype"], read["metadata"]["a"], read["of"]) == ("bmV3", "text/css", "1", "mine")


@pytest.mark.parametrize("root", ["/cdmi/", "/cdmi/2.0.0/"])
def test_parts_are_no_value_of_a_container_or_a_queue(client: Client, root: str) -> None:
    client.send("PUT", f"{root}c/", CONTAINER, {})
    client.send("PUT", f"{root}q", QUEUE, {})
    body = multipart(("Content-Type: application/cdmi-object", b"{}"), ("Content-Type: x/y", b"new"))
    for name in ("c", "q"):
        put = client.send("PUT", root + name, DATAOBJECT, body, Content_Type="multipart/mixed; boundary=edge")
        assert (put.status_code, "there is a" in put.text.lower()) == (409, True)


def test_methods_of_what_is_read_only_are_told(client: Client) -> None:
    for path, methods in (
        ("cdmi_capabilities/", "GET, HEAD"),
        ("cdmi_capabilities/container/", "GET, HEAD"),
        ("cdmi_domains/", "GET, HEAD"),
        ("cdmi_objectid/", "POST"),
        ("", "GET, HEAD, PUT, PATCH, POST, DELETE"),
    ):
        for root in ("/cdmi/", "/cdmi/2.0.0/"):
            answered = client.plain("OPTIONS", root + path)
            assert (path, answered.status_code, answered.headers["Allow"]) == (path, 204, methods)


def test_the_root_is_there_without_its_slash(client: Client) -> None:
    for root in ("/cdmi", "/cdmi/2.0.0"):
        assert client.plain("GET", root).text == "disks/\n"
    assert client.plain("GET", "/cdmifs").status_code == 404
