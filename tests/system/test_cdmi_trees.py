"""Copies, moves, snapshots and queues through CDMI, over a real PostgreSQL."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client

from backends.store.database import Connection, Database
from cdmi_server import serialization
from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE, encode
from tests.conftest import caller, project, wait_until

LARGE = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def client(database: Database, sql: Connection, tmp_path: Path) -> Client:
    client = Client(database, caller(project(sql, f"mine {uuid4()}")), tmp_path)
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": {"of": "box"}})
    client.send("PUT", "/cdmi/box/inner/", CONTAINER, {})
    client.plain("PUT", "/cdmi/box/inner/large", LARGE)
    client.send("PUT", "/cdmi/box/small", DATAOBJECT, {"value": "small", "metadata": {"a": "1"}, "mimetype": "x/y"})
    return client


def identity(client: Client, path: str) -> str:
    return str(client.plain("GET", f"/cdmi/2.0.0/{path}?objectID", Accept="*/*, application/cdmi-object,"
                            " application/cdmi-container, application/cdmi-queue").json["objectID"])  # fmt: skip


@pytest.mark.parametrize("depth", [7, 8, 9, 20])
def test_a_long_path_leads_to_its_end_and_no_further(client: Client, depth: int) -> None:
    path = "/cdmi/"
    for level in range(depth):
        path += f"{level}/"
        assert client.send("PUT", path, CONTAINER, {}).status_code == 201
    made = client.send("PUT", path + "end", DATAOBJECT, {"value": "there"})
    assert made.json["parentURI"] == path
    assert client.plain("GET", path + "end").text == "there"
    by_id = f"/cdmi/cdmi_objectid/{made.json['objectID']}"
    assert client.send("GET", by_id, DATAOBJECT).json["parentURI"] == path
    top = identity(client, "0/")
    assert client.plain("GET", f"/cdmi/cdmi_objectid/{top}{path.removeprefix('/cdmi/0')}end").text == "there"
    assert client.plain("GET", path + "end/more").status_code == 404
    missing = path.replace("/2/", "/two/") + "end"
    assert "0/1/two" in client.plain("GET", missing).text
    client.send("PUT", f"{path}away", DATAOBJECT, {"reference": "/cdmi/box/"})
    followed = client.plain("GET", f"{path}away/small")
    assert (followed.status_code, followed.headers["Location"][-15:]) == (302, "/cdmi/box/small")


def test_a_copy_is_another_object_with_the_same_value(client: Client) -> None:
    made = client.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": "/cdmi/box/small"})
    assert made.status_code == 201
    assert made.json["objectID"] != identity(client, "box/small")
    assert (made.json["mimetype"], made.json["metadata"]["a"]) == ("x/y", "1")
    other = client.send("PUT", "/cdmi/other", DATAOBJECT, {"copy": "/box/small", "metadata": {"b": "2"}})
    assert (other.json["metadata"]["b"], "a" in other.json["metadata"]) == ("2", False)
    by_id = {"copy": f"/cdmi_objectid/{identity(client, 'box/small')}"}
    assert client.send("PUT", "/cdmi/third", DATAOBJECT, by_id).status_code == 201
    assert client.plain("GET", "/cdmi/third").content == b"small"


def test_copies_share_a_file_until_one_is_written(client: Client) -> None:
    assert client.send("PUT", "/cdmi/copy/", CONTAINER, {"copy": "/box/"}).status_code == 201
    assert client.send("GET", "/cdmi/copy/", CONTAINER).json["children"] == ["inner/", "small"]
    assert len(client.files()) == 1
    client.plain("PUT", "/cdmi/copy/inner/large", b"XY", Content_Range="bytes 0-1/*")
    assert client.plain("GET", "/cdmi/box/inner/large").content == LARGE
    assert client.plain("GET", "/cdmi/copy/inner/large").content == b"XY" + LARGE[2:]
    assert len(client.files()) == 2
    client.send("DELETE", "/cdmi/box/", CONTAINER)
    assert len(client.files()) == 1
    client.send("DELETE", "/cdmi/copy/", CONTAINER)
    assert client.files() == []


def test_a_move_keeps_the_ids_of_the_whole_tree(client: Client) -> None:
    before = [identity(client, path) for path in ("box/", "box/inner/", "box/inner/large")]
    assert client.send("PUT", "/cdmi/new/", CONTAINER, {"move": "/box/"}).status_code == 201
    assert [identity(client, path) for path in ("new/", "new/inner/", "new/inner/large")] == before
    assert client.send("GET", "/cdmi/box/", CONTAINER).status_code == 404
    assert client.send("PUT", "/cdmi/new/inner/x/", CONTAINER, {"move": "/new/"}).status_code == 400
    assert client.send("PUT", "/cdmi/new/inner/x/", CONTAINER, {"copy": "/new/"}).status_code == 400
    assert client.send("PUT", "/cdmi/new/inner/x/", CONTAINER, {"copy": "/new/small"}).status_code == 400
    assert client.send("PUT", "/cdmi/x", DATAOBJECT, {"copy": "/none"}).status_code == 400
    assert client.send("PUT", "/cdmi/x", DATAOBJECT, {"move": "/none"}).status_code == 400


def test_an_object_can_lose_its_path_and_get_another(client: Client) -> None:
    known = identity(client, "box/small")
    loose = client.send("POST", "/cdmi/cdmi_objectid/", DATAOBJECT, {"move": "/box/small"})
    assert (loose.status_code, loose.json["objectID"]) == (201, known)
    assert client.send("GET", "/cdmi/box/small", DATAOBJECT).status_code == 404
    named = client.send("PUT", "/cdmi/again", DATAOBJECT, {"move": f"/cdmi_objectid/{known}"})
    assert (named.status_code, named.json["objectID"]) == (201, known)
    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"move": "/again"}).status_code == 400


def test_holds_stay_behind_and_held_objects_stay_where_they_are(client: Client) -> None:
    held = {"metadata": {"cdmi_hold_id": ["x"]}}
    client.send("PUT", "/cdmi/box/small?metadata:cdmi_hold_id", DATAOBJECT, held)
    assert client.send("PUT", "/cdmi/moved", DATAOBJECT, {"move": "/box/small"}).status_code == 400
    copy = client.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": "/box/small"})
    assert "cdmi_hold_id" not in copy.json["metadata"]
    assert client.send("DELETE", "/cdmi/copy", DATAOBJECT).status_code == 204


def test_a_copy_has_the_holds_that_are_asked_for_with_it(client: Client) -> None:
    client.send("PUT", "/cdmi/box/small?metadata:cdmi_hold_id", DATAOBJECT, {"metadata": {"cdmi_hold_id": ["theirs"]}})
    asked = {"cdmi_hold_id": ["ours"], "a": "1"}
    made = client.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": "/box/small", "metadata": asked})
    assert (made.status_code, made.json["metadata"]["cdmi_hold_id"]) == (201, ["ours"])
    assert client.send("DELETE", "/cdmi/copy", DATAOBJECT).status_code == 403
    copy = client.send("PUT", "/cdmi/free", DATAOBJECT, {"copy": "/box/small"})
    assert "cdmi_hold_id" not in copy.json["metadata"]
    assert client.send("DELETE", "/cdmi/free", DATAOBJECT).status_code == 204


def test_a_snapshot_keeps_what_was_there(client: Client) -> None:
    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "monday"}).status_code == 204
    client.plain("PUT", "/cdmi/box/inner/large", b"new")
    client.send("DELETE", "/cdmi/box/small", DATAOBJECT)

    uris = client.send("GET", "/cdmi/box/?snapshots", CONTAINER).json["snapshots"]
    assert uris == ["/cdmi/box/cdmi_snapshots/monday/"]
    assert client.plain("GET", "/cdmi/box/cdmi_snapshots/monday/inner/large").content == LARGE
    assert client.send("GET", uris[0] + "small", DATAOBJECT).json["value"] == "small"
    assert client.send("GET", "/cdmi/box/", CONTAINER).json["children"] == ["inner/"]
    assert "cdmi_snapshots/" not in client.send("GET", uris[0], CONTAINER).json["children"]

    for method, path, body in (
        ("PUT", "small", {"value": "x"}),
        ("PUT", "new", {"value": "x"}),
        ("DELETE", "small", None),
        ("PUT", "small?metadata:a", {"metadata": {}}),
    ):
        assert client.send(method, uris[0] + path, DATAOBJECT, body).status_code == 400
    for source in (uris[0], uris[0] + "inner/", "/cdmi/box/cdmi_snapshots/"):
        assert client.send("PUT", "/cdmi/away/", CONTAINER, {"move": source}).status_code == 400
    assert client.send("PUT", "/cdmi/back/", CONTAINER, {"copy": uris[0]}).status_code == 201
    assert client.plain("GET", "/cdmi/back/inner/large").content == LARGE

    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "monday"}).status_code == 204
    assert client.plain("GET", uris[0] + "inner/large").content == b"new"
    assert client.send("DELETE", uris[0], CONTAINER).status_code == 204
    assert "snapshots" not in client.send("GET", "/cdmi/box/", CONTAINER).json
    assert client.send("DELETE", "/cdmi/box/cdmi_snapshots/", CONTAINER).status_code == 400


def test_no_access_list_keeps_a_snapshot_or_its_container_for_ever(client: Client) -> None:
    deny = {"acetype": "DENY", "identifier": "EVERYONE@", "aceflags": "0x3", "acemask": "CDMI_ACE_DELETE"}
    allow = {"acetype": "ALLOW", "identifier": "EVERYONE@", "aceflags": "0x3", "acemask": "CDMI_ACE_ALL_PERMS"}
    denying, allowing = ({"metadata": {"cdmi_acl": acl}} for acl in ([deny, allow], [allow]))
    client.send("PUT", "/cdmi/box/small?metadata:cdmi_acl", DATAOBJECT, denying)
    client.send("PUT", "/cdmi/box/?metadata:cdmi_acl", CONTAINER, denying)
    for name in ("monday", "tuesday"):
        assert client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": name}).status_code == 204
    assert client.send("DELETE", "/cdmi/box/cdmi_snapshots/monday/", CONTAINER).status_code == 403
    client.send("PUT", "/cdmi/box/?metadata:cdmi_acl", CONTAINER, allowing)
    assert client.send("DELETE", "/cdmi/box/cdmi_snapshots/monday/", CONTAINER).status_code == 204
    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "tuesday"}).status_code == 204
    assert client.send("DELETE", "/cdmi/box/", CONTAINER).status_code == 403
    client.send("PUT", "/cdmi/box/small?metadata:cdmi_acl", DATAOBJECT, allowing)
    assert client.send("DELETE", "/cdmi/box/", CONTAINER).status_code == 204


def test_a_queue_gives_its_values_in_order(client: Client) -> None:
    made = client.send("PUT", "/cdmi/q", QUEUE, {"metadata": {"a": "1"}})
    assert (made.status_code, made.json["queueValues"]) == (201, "")
    assert client.send("GET", "/cdmi/q", QUEUE).json["value"] == []

    assert client.send("POST", "/cdmi/q", QUEUE, {"value": ["first"], "mimetype": ["Text/X"]}).status_code == 204
    several = {"value": ["second", "3rd"], "mimetype": ["a/b", "c/d"], "valuetransferencoding": ["utf-8", "utf-8"]}
    assert client.send("POST", "/cdmi/q", QUEUE, several).status_code == 204
    client.send("POST", "/cdmi/q", QUEUE, {"value": ["AAE="], "valuetransferencoding": ["base64"]})

    read = client.send("GET", "/cdmi/q", QUEUE).json
    assert (read["queueValues"], read["value"], read["mimetype"]) == ("0-3", ["first"], ["text/x"])
    assert client.send("GET", "/cdmi/q?value;values:1-2", QUEUE).json["value"] == ["second", "3rd"]
    assert client.send("GET", "/cdmi/2.0.0/q?value&values=2", QUEUE).json["value"] == ["first", "second"]
    assert client.send("DELETE", "/cdmi/q?value", QUEUE).status_code == 204
    assert client.send("GET", "/cdmi/q?queueValues;value", QUEUE).json == {"queueValues": "1-3", "value": ["second"]}
    assert client.send("DELETE", "/cdmi/q?values:2-3", QUEUE).status_code == 400
    assert client.send("DELETE", "/cdmi/q?values:1-2", QUEUE).status_code == 204
    rest = client.send("GET", "/cdmi/q", QUEUE).json
    assert (rest["value"], rest["valuetransferencoding"], rest["valuerange"]) == (["AAE="], ["base64"], ["0-1"])
    client.send("DELETE", "/cdmi/q?value", QUEUE)
    assert client.send("GET", "/cdmi/q?queueValues", QUEUE).json == {"queueValues": ""}
    client.send("POST", "/cdmi/q", QUEUE, {"value": ["later"]})
    assert client.send("GET", "/cdmi/q?queueValues", QUEUE).json == {"queueValues": "4-4"}


def test_queues_are_copied_moved_and_deleted_with_their_values(client: Client) -> None:
    client.send("PUT", "/cdmi/box/q", QUEUE, {})
    client.send("POST", "/cdmi/box/q", QUEUE, {"value": ["x"]})
    assert client.send("PUT", "/cdmi/copy/", CONTAINER, {"copy": "/box/"}).status_code == 201
    assert client.send("PUT", "/cdmi/q2", QUEUE, {"copy": "/box/q"}).json["queueValues"] == "0-0"
    assert client.send("GET", "/cdmi/copy/q", QUEUE).json["value"] == ["x"]
    assert client.send("POST", "/cdmi/box/", QUEUE, {}).status_code == 201
    assert client.send("POST", "/cdmi/cdmi_objectid/", QUEUE, {}).status_code == 201
    assert client.send("DELETE", "/cdmi/box/", CONTAINER).status_code == 204
    assert client.send("GET", "/cdmi/box/q", QUEUE).status_code == 404


def test_a_queue_refuses_what_is_no_value(client: Client) -> None:
    client.send("PUT", "/cdmi/q", QUEUE, {})
    for body in (
        {},
        {"value": 5},
        {"value": []},
        {"value": ["a"], "mimetype": "x/y"},
        {"value": ["x" * (2**20 + 1)]},
        {"value": "a"},
    ):
        assert client.send("POST", "/cdmi/q", QUEUE, body).status_code == 400
    assert client.plain("GET", "/cdmi/q").status_code == 400
    assert client.send("GET", "/cdmi/q", DATAOBJECT).status_code == 406
    assert client.send("PUT", "/cdmi/q", QUEUE, {"value": "x"}).status_code == 400


def test_a_tree_is_serialized_and_comes_back(client: Client) -> None:
    client.send("PUT", "/cdmi/box/q", QUEUE, {})
    client.send("POST", "/cdmi/box/q", QUEUE, {"value": ["x", "y"]})
    client.send("PUT", "/cdmi/box/link", DATAOBJECT, {"reference": "/box/small"})
    paths = ("box/", "box/inner/", "box/inner/large", "box/small", "box/q")
    before = [identity(client, path) for path in paths]

    saved = client.send("PUT", "/cdmi/saved", DATAOBJECT, {"serialize": "/box/"})
    assert (saved.status_code, saved.json["mimetype"]) == (201, CONTAINER)
    text = client.plain("GET", "/cdmi/saved").json
    assert [child["objectName"] for child in text["children"]] == ["inner/", "link", "q", "small"]
    assert text["children"][2]["value"] == ["x", "y"]

    again = client.send("PUT", "/cdmi/again/", CONTAINER, {"deserialize": "/saved"})
    assert (again.status_code, again.json["metadata"]["of"]) == (201, "box")
    assert again.json["objectID"] != before[0]
    client.send("DELETE", "/cdmi/box/", CONTAINER)
    client.send("DELETE", "/cdmi/again/", CONTAINER)
    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"deserialize": "/saved"}).status_code == 201
    assert [identity(client, path) for path in paths] == before
    assert client.plain("GET", "/cdmi/box/inner/large").content == LARGE
    assert client.send("GET", "/cdmi/box/small", DATAOBJECT).json["metadata"]["a"] == "1"
    assert client.send("GET", "/cdmi/box/q?value;values:0-9", QUEUE).json["value"] == ["x", "y"]
    assert client.send("GET", "/cdmi/box/link", DATAOBJECT).status_code == 302


def test_an_object_comes_from_a_serialized_value_in_the_body(client: Client) -> None:
    text = {"objectType": DATAOBJECT, "metadata": {"a": "1"}, "mimetype": "x/y", "value": "v"}
    body = {"deserializevalue": base64.b64encode(json.dumps(text).encode()).decode()}
    made = client.send("PUT", "/cdmi/o", DATAOBJECT, body)
    assert (made.status_code, made.json["mimetype"], made.json["metadata"]["a"]) == (201, "x/y", "1")
    assert client.send("PUT", "/cdmi/p/", CONTAINER, body).status_code == 400


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"objectType": "application/cdmi-container", "children": ["x"]}',
        '{"objectType": "application/cdmi-container", "children": [{"objectName": "x"}]}',
        '{"objectType": "application/cdmi-container", "children": [{"objectName": "a/b", "reference": "/x"}]}',
        '{"objectType": "application/cdmi-container", "metadata": {"cdmi_acl": 5}}',
        '{"objectType": "application/cdmi-container", "children": [{"objectName": "q", "objectType": "x/y"}]}',
    ],
)
def test_what_can_not_be_deserialized_makes_nothing(client: Client, text: str) -> None:
    body = {"deserializevalue": base64.b64encode(text.encode()).decode()}
    assert client.send("PUT", "/cdmi/new/", CONTAINER, body).status_code == 400
    assert client.send("GET", "/cdmi/new/", CONTAINER).status_code == 404


def test_a_chosen_id_is_never_another_projects(client: Client, database: Database, sql: Connection) -> None:
    theirs = project(sql, f"theirs {uuid4()}")
    stolen = encode(theirs, DOCUMENTATION_ENTERPRISE)
    text = {"objectType": DATAOBJECT, "objectID": stolen, "value": "v"}
    body = {"deserializevalue": base64.b64encode(json.dumps(text).encode()).decode()}
    made = client.send("PUT", "/cdmi/o", DATAOBJECT, body)
    assert made.status_code == 201
    assert made.json["objectID"] != stolen
    other = Client(database, caller(theirs), client.folder)
    assert other.send("GET", "/cdmi/", CONTAINER).json["children"] == ["disks/"]


def test_a_copy_onto_what_exists_replaces_it_and_keeps_its_id(client: Client) -> None:
    client.plain("PUT", "/cdmi/target", LARGE[1:])
    known = identity(client, "target")
    assert client.send("PUT", "/cdmi/target", DATAOBJECT, {"copy": "/box/small"}).status_code == 204
    found = client.send("GET", "/cdmi/target", DATAOBJECT).json
    assert (found["objectID"], found["value"], found["mimetype"]) == (known, "small", "x/y")
    assert found["metadata"]["a"] == "1"
    assert len(client.files()) == 1
    again = {"copy": "/box/inner/large", "metadata": {"b": "2"}, "mimetype": "b/b"}
    assert client.send("PATCH", "/cdmi/2.0.0/target", DATAOBJECT, again).status_code == 204
    assert client.plain("GET", "/cdmi/target").content == LARGE
    found = client.send("GET", "/cdmi/target?mimetype;metadata:b;metadata:a", DATAOBJECT).json
    assert (found["mimetype"], found["metadata"]) == ("b/b", {"b": "2"})
    assert len(client.files()) == 1
    whole = client.send("PUT", "/cdmi/2.0.0/target", DATAOBJECT, {"copy": "/box/small"})
    assert (whole.status_code, whole.json["objectID"], whole.json["metadata"]["a"]) == (201, known, "1")
    for source in ("/none", "/target", "/box/"):
        assert client.send("PUT", "/cdmi/target", DATAOBJECT, {"copy": source}).status_code == 400
    client.send("PUT", "/cdmi/target?metadata:cdmi_hold_id", DATAOBJECT, {"metadata": {"cdmi_hold_id": ["x"]}})
    assert client.send("PUT", "/cdmi/target", DATAOBJECT, {"copy": "/box/inner/large"}).status_code == 400
    assert client.plain("GET", "/cdmi/target").content == b"small"


def test_a_copy_onto_a_container_replaces_what_is_in_it(client: Client) -> None:
    client.send("PUT", "/cdmi/target/", CONTAINER, {"metadata": {"c": "3"}})
    client.plain("PUT", "/cdmi/target/old", LARGE[1:])
    client.send("PUT", "/cdmi/target/", CONTAINER, {"snapshot": "before"})
    known = identity(client, "target/")
    assert client.send("PUT", "/cdmi/target/", CONTAINER, {"copy": "/box/"}).status_code == 204
    found = client.send("GET", "/cdmi/target/", CONTAINER).json
    assert (found["objectID"], found["children"]) == (known, ["inner/", "small"])
    assert (found["metadata"]["of"], "c" in found["metadata"]) == ("box", False)
    assert client.plain("GET", "/cdmi/target/inner/large").content == LARGE
    assert client.plain("GET", "/cdmi/target/cdmi_snapshots/before/old").content == LARGE[1:]
    for source in ("/target/", "/target/inner/", "/"):
        assert client.send("PUT", "/cdmi/target/", CONTAINER, {"copy": source}).status_code == 400
    assert client.send("PUT", "/cdmi/", CONTAINER, {"copy": "/box/inner/"}).status_code == 400
    whole = client.send("PUT", "/cdmi/2.0.0/target/", CONTAINER, {"copy": "/box/inner/"})
    assert (whole.status_code, whole.json["objectID"], whole.json["children"]) == (201, known, ["large"])


def test_a_snapshot_is_restored_in_place(client: Client) -> None:
    before = identity(client, "box/")
    client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "monday"})
    client.plain("PUT", "/cdmi/box/inner/large", b"new")
    client.plain("PUT", "/cdmi/box/later", b"later")
    restored = client.send("PUT", "/cdmi/box/", CONTAINER, {"copy": "/box/cdmi_snapshots/monday/"})
    assert restored.status_code == 204
    found = client.send("GET", "/cdmi/box/", CONTAINER).json
    assert (found["children"], found["snapshots"]) == (["inner/", "small"], ["/cdmi/box/cdmi_snapshots/monday/"])
    assert identity(client, "box/") == before
    assert client.plain("GET", "/cdmi/box/inner/large").content == LARGE
    assert client.send("PUT", "/cdmi/box/cdmi_snapshots/monday/", CONTAINER, {"copy": "/box/"}).status_code == 400


def test_nothing_that_is_held_goes_by_a_copy(client: Client) -> None:
    held = {"metadata": {"cdmi_hold_id": ["x"]}}
    client.send("PUT", "/cdmi/empty/", CONTAINER, {})
    client.send("PUT", "/cdmi/box/small?metadata:cdmi_hold_id", DATAOBJECT, held)
    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"copy": "/empty/"}).status_code == 400
    assert client.send("GET", "/cdmi/box/", CONTAINER).json["children"] == ["inner/", "small"]


def test_a_copy_onto_a_queue_keeps_its_values(client: Client) -> None:
    for name in ("q", "r"):
        client.send("PUT", f"/cdmi/{name}", QUEUE, {"metadata": {"name": name}})
        client.send("POST", f"/cdmi/{name}", QUEUE, {"value": [name]})
    assert client.send("PUT", "/cdmi/q", QUEUE, {"copy": "/r"}).status_code == 204
    found = client.send("GET", "/cdmi/q", QUEUE).json
    assert (found["metadata"]["name"], found["value"]) == ("r", ["q"])


@pytest.mark.parametrize(
    ("source", "query", "expected"),
    [
        ("/box/small?value", "", ("small", "text/plain", {})),
        ("/box/small", "?value", ("small", "text/plain", {})),
        ("/box/small?mimetype;metadata:a", "", ("", "x/y", {"a": "1"})),
        ("/box/small?value:1-2", "", ("bWE=", "text/plain", {})),
    ],
)
def test_a_copy_takes_the_fields_that_are_named(
    client: Client, source: str, query: str, expected: tuple[str, str, dict[str, str]]
) -> None:
    client.send("PUT", "/cdmi/box/small?metadata:b", DATAOBJECT, {"metadata": {"b": "2"}})
    assert client.send("PUT", f"/cdmi/copy{query}", DATAOBJECT, {"copy": source}).status_code == 201
    found = client.send("GET", "/cdmi/copy", DATAOBJECT).json
    own = {name: value for name, value in found["metadata"].items() if not name.startswith("cdmi_")}
    assert (found["value"], found["mimetype"], own) == expected


def test_fields_that_are_copied_leave_the_others_as_they_are(client: Client) -> None:
    other = {"value": "other", "mimetype": "o/o", "metadata": {"c": "3"}}
    client.send("PUT", "/cdmi/other", DATAOBJECT, other)
    assert client.send("PUT", "/cdmi/box/small?metadata:c", DATAOBJECT, {"copy": "/other"}).status_code == 204
    assert client.send("PATCH", "/cdmi/2.0.0/box/small", DATAOBJECT, {"copy": "/other?value"}).status_code == 204
    found = client.send("GET", "/cdmi/box/small", DATAOBJECT).json
    assert (found["value"], found["mimetype"]) == ("other", "x/y")
    assert (found["metadata"]["a"], found["metadata"]["c"]) == ("1", "3")
    assert client.send("PUT", "/cdmi/new/", CONTAINER, {"copy": "/box/?metadata"}).json["metadata"]["of"] == "box"
    for path, body in (
        ("new?value", {"copy": "/other?value"}),
        ("new?value:0-1", {"copy": "/other"}),
        ("new", {"move": "/other?value"}),
        ("new", {"serialize": "/other?value"}),
    ):
        assert client.send("PUT", f"/cdmi/{path}", DATAOBJECT, body).status_code == 400
    assert client.send("PUT", "/cdmi/more/", CONTAINER, {"copy": "/box/?children"}).status_code == 400


@pytest.mark.parametrize(("how", "mask"), [("copy", 0x1), ("copy", 0x8), ("move", 0x10000), ("serialize", 0x1)])
def test_what_an_access_list_forbids_is_a_fault_of_the_copy(client: Client, how: str, mask: int) -> None:
    client.send("PUT", "/cdmi/target", DATAOBJECT, {"value": "target"})
    acl = [{"acetype": "0x0", "identifier": "OWNER@", "aceflags": "0x0", "acemask": f"{0x1F07FF & ~mask:#x}"}]
    client.send("PUT", "/cdmi/box/small?metadata:cdmi_acl", DATAOBJECT, {"metadata": {"cdmi_acl": acl}})
    assert client.send("PUT", "/cdmi/new", DATAOBJECT, {how: "/box/small"}).status_code == 400
    assert client.send("PUT", "/cdmi/new?metadata;value", DATAOBJECT, {how: "/box/small"}).status_code == 400
    assert client.send("PUT", "/cdmi/target", DATAOBJECT, {how: "/box/small"}).status_code == 400
    assert client.send("GET", "/cdmi/", CONTAINER).json["children"] == ["box/", "disks/", "target"]
    assert client.plain("GET", "/cdmi/target").content == b"target"
    assert client.send("GET", "/cdmi/box/small?objectName", DATAOBJECT).status_code == 200


@pytest.mark.parametrize(("path", "mask"), [("box/small", 0x10000), ("box/", 0x40)])
def test_delete_needs_the_right_on_the_object_and_on_its_container(client: Client, path: str, mask: int) -> None:
    kind = CONTAINER if path.endswith("/") else DATAOBJECT
    acl = [{"acetype": "0x0", "identifier": "OWNER@", "aceflags": "0x3", "acemask": f"{0x1F07FF & ~mask:#x}"}]
    client.send("PUT", f"/cdmi/{path}?metadata:cdmi_acl", kind, {"metadata": {"cdmi_acl": acl}})
    assert client.send("DELETE", "/cdmi/box/small", DATAOBJECT).status_code == 403
    everything = [{**acl[0], "acemask": "0x1f07ff"}]
    client.send("PUT", f"/cdmi/{path}?metadata:cdmi_acl", kind, {"metadata": {"cdmi_acl": everything}})
    assert client.send("DELETE", "/cdmi/box/small", DATAOBJECT).status_code == 204


@pytest.mark.parametrize(("path", "kind"), [("o", DATAOBJECT), ("c/", CONTAINER), ("q", QUEUE)])
def test_fields_that_no_standard_defines_are_kept(client: Client, path: str, kind: str) -> None:
    own = {"vendor": {"deep": [1, None, "ż"]}, "x-y": 5}
    made = client.send("PUT", f"/cdmi/{path}", kind, {"metadata": {"a": "1"}, **own})
    assert {name: made.json.get(name) for name in own} == own
    assert client.send("PUT", f"/cdmi/{path}", kind, {"later": True}).status_code == 204
    assert client.send("PUT", f"/cdmi/{path}?metadata:b", kind, {"passed_over": 1}).status_code == 204
    found = client.send("GET", f"/cdmi/{path}", kind).json
    assert {name: found.get(name) for name in (*own, "later", "passed_over")} == {
        **own, "later": True, "passed_over": None,
    }  # fmt: skip
    assert client.send("GET", f"/cdmi/{path}?vendor", kind).json == {"vendor": own["vendor"]}
    echoed = {name: value for name, value in found.items() if name not in ("value", "metadata")}
    if kind == DATAOBJECT:
        assert list(found)[-3:] == ["valuerange", "valuetransferencoding", "value"]
        assert client.send("PUT", "/cdmi/o", kind, echoed).status_code == 204
    assert client.send("GET", f"/cdmi/{path}", kind).json["objectID"] == found["objectID"]

    copy = f"copy{path}"
    assert client.send("PUT", f"/cdmi/{copy}", kind, {"copy": f"/{path}", "later": 2}).json["later"] == 2
    assert client.send("GET", f"/cdmi/{copy}?vendor", kind).json == {"vendor": own["vendor"]}
    client.send("PUT", "/cdmi/saved", DATAOBJECT, {"serialize": f"/{path}"})
    back = client.send("PUT", f"/cdmi/back{path}", kind, {"deserialize": "/saved"})
    assert (back.json["vendor"], back.json["later"]) == (own["vendor"], True)
    if kind != QUEUE:
        assert "vendor" not in client.send("PUT", f"/cdmi/2.0.0/{path}", kind, {"other": 1}).json

    large = {"vendor": "x" * (64 << 10)}
    assert client.send("PUT", f"/cdmi/{path}", kind, large).status_code == 400
    assert client.send("PUT", f"/cdmi/more{path}", kind, large).status_code == 400
    assert client.send("PUT", f"/cdmi/{path}", kind, {"nul": "\0"}).status_code == 400


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PUT", {"copy": "/empty/"})])
def test_what_is_put_into_a_container_that_is_going_stays(
    client: Client, sql: Connection, method: str, body: dict[str, str] | None
) -> None:
    client.send("PUT", "/cdmi/empty/", CONTAINER, {})
    inner = UUID(bytes=bytes.fromhex(identity(client, "box/inner/"))[8:])
    with ThreadPoolExecutor(1) as pool:
        with sql.transaction():
            sql.execute(
                "INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner)"
                " SELECT gen_random_uuid(), project_id, id, 'late', 'container', '' FROM stored_object WHERE id = %s",
                [inner],
            )
            answer = pool.submit(client.send, method, "/cdmi/box/", CONTAINER, body)
            wait_until(lambda: sql.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None)
        assert answer.result().status_code == 409
    assert client.send("GET", "/cdmi/box/inner/", CONTAINER).json["children"] == ["large", "late/"]
    assert client.send("GET", "/cdmi/box/", CONTAINER).json["children"] == ["inner/", "small"]


AWKWARD = [("50%41", "50A"), ("a#b", "a"), ("a%20b", "a b"), ("a;b:0-1", "a"), ("100%", "100")]
"""Names, and those of others that they would be taken for if URIs in JSON had escapes, fragments or the like."""


@pytest.mark.parametrize("field", ["copy", "move", "serialize", "reference"])
@pytest.mark.parametrize(("name", "other"), AWKWARD)
def test_uris_in_json_name_objects_as_they_are_called(client: Client, name: str, other: str, field: str) -> None:
    client.plain("PUT", f"/cdmi/2.0.0/box/{quote(other)}", b"another")
    made = client.send("PUT", f"/cdmi/2.0.0/box/{quote(name)}", DATAOBJECT, {"value": "this one"})
    uri = made.json["parentURI"] + made.json["objectName"]
    answer = client.send("PUT", "/cdmi/2.0.0/new", DATAOBJECT, {field: uri})
    assert answer.status_code == 201
    if field == "reference":
        followed = client.plain("GET", client.plain("GET", "/cdmi/2.0.0/new").headers["Location"])
        assert followed.text == "this one"
    elif field == "serialize":
        assert client.plain("GET", "/cdmi/2.0.0/new").json["value"] == "this one"
    else:
        assert client.plain("GET", "/cdmi/2.0.0/new").text == "this one"
        assert client.plain("GET", f"/cdmi/2.0.0/box/{quote(other)}").text == "another"
        part = client.send("PUT", "/cdmi/2.0.0/part", DATAOBJECT, {"copy": "/new?value=0-3"})
        assert (part.status_code, client.plain("GET", "/cdmi/part").text) == (201, "this")


def test_a_uri_with_escapes_in_json_leads_to_no_other_object(client: Client) -> None:
    client.plain("PUT", "/cdmi/box/a%20b", b"spaced")
    prefix = "http://falconframework.org"
    for uri in ("/box/a%20b", f"{prefix}/cdmi/box/a%20b", "http://elsewhere/cdmi/box/small", "//box/small"):
        assert client.send("PUT", "/cdmi/new", DATAOBJECT, {"copy": uri}).status_code == 400
    assert client.send("PUT", "/cdmi/new", DATAOBJECT, {"copy": f"{prefix}/cdmi/box/a b"}).status_code == 201
    assert client.plain("GET", "/cdmi/new").text == "spaced"


def hole(client: Client, size_bytes: int) -> None:
    """An object whose value is nothing but a gap and two bytes at its end."""
    place = f"bytes {size_bytes - 2}-{size_bytes - 1}/*"
    assert client.plain("PUT", "/cdmi/hole", b"xy", Content_Range=place).status_code == 201


def test_what_would_be_too_large_is_not_serialized(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    hole(client, 2**43)
    for source in ("/hole", "/"):
        refused = client.send("PUT", "/cdmi/all", DATAOBJECT, {"serialize": source})
        assert (refused.status_code, "more than" in refused.text) == (400, True)
    client.send("DELETE", "/cdmi/hole", DATAOBJECT)
    monkeypatch.setattr(serialization, "SERIALIZED_MAX_BYTES", 300_000)
    assert client.send("PUT", "/cdmi/all", DATAOBJECT, {"serialize": "/box/"}).status_code == 400
    assert len(client.files()) == 1
    assert client.send("PUT", "/cdmi/all", DATAOBJECT, {"serialize": "/box/small"}).status_code == 201


def test_copies_of_values_keep_their_holes(client: Client) -> None:
    hole(client, 2**31)
    assert client.send("PUT", "/cdmi/whole", DATAOBJECT, {"copy": "/hole?value"}).status_code == 201
    part = {"copy": f"/hole?value:{2**31 - 4}-{2**31 - 1}"}
    assert client.send("PUT", "/cdmi/part", DATAOBJECT, part).status_code == 201
    assert client.plain("GET", "/cdmi/part").content == b"\0\0xy"
    end = client.plain("GET", "/cdmi/whole", Range="bytes=-3")
    assert (end.content, end.headers["Content-Range"]) == (b"\0xy", f"bytes {2**31 - 3}-{2**31 - 1}/{2**31}")
    assert (
        client.send("PUT", "/cdmi/large", DATAOBJECT, {"copy": "/box/inner/large?value:100000-199999"}).status_code
        == 201
    )
    assert client.plain("GET", "/cdmi/large").content == LARGE[100_000:200_000]
    assert sum(path.stat().st_blocks * 512 for path in client.folder.iterdir()) < 4 * 2**20


@pytest.mark.parametrize("target", ["x" * 5000, "foo://x\r\nSet-Cookie: a=b", "javascript://x", "http://"])
def test_references_are_checked_when_they_are_deserialized_too(client: Client, target: str) -> None:
    child = {"objectName": "away", "reference": target}
    tree = {"objectType": CONTAINER, "objectName": "c/", "metadata": {}, "children": [child]}
    sent = {"deserializevalue": base64.b64encode(json.dumps(tree).encode()).decode()}
    assert client.send("PUT", "/cdmi/c/", CONTAINER, sent).status_code == 400
    assert client.send("GET", "/cdmi/c/", CONTAINER).status_code == 404
    child["reference"] = "/box/small?value"
    sent = {"deserializevalue": base64.b64encode(json.dumps(tree).encode()).decode()}
    assert client.send("PUT", "/cdmi/c/", CONTAINER, sent).status_code == 201
    assert client.plain("GET", "/cdmi/c/away").headers["Location"].endswith("/cdmi/box/small?value")


def away(client: Client, name: str, target: str) -> None:
    assert client.send("PUT", f"/cdmi/{name}", DATAOBJECT, {"reference": target}).status_code == 201


def test_copies_follow_references_within_the_server(client: Client) -> None:
    by_id = f"/cdmi_objectid/{identity(client, 'box/small')}"
    for number, target in enumerate(["/box/small", "/cdmi/box/small", "/cdmi/2.0.0/box/small", by_id]):
        away(client, f"to{number}", target)
        away(client, f"again{number}", f"/to{number}")
        for name in ("to", "again"):
            copied = client.send("PUT", f"/cdmi/2.0.0/{name}copy{number}", DATAOBJECT, {"copy": f"/{name}{number}"})
            assert copied.status_code == 201
            assert (copied.json["mimetype"], copied.json["metadata"]["a"]) == ("x/y", "1")
    away(client, "there", "/box/")
    part = client.send("POST", "/cdmi/2.0.0/cdmi_objectid/", DATAOBJECT, {"copy": "/there/inner/large?value=2-4"})
    assert client.plain("GET", part.headers["Location"]).content == LARGE[2:5]
    assert client.send("PUT", "/cdmi/2.0.0/tree/", CONTAINER, {"copy": "/there/inner/"}).json["children"] == ["large"]
    client.send("PUT", "/cdmi/2.0.0/kept", DATAOBJECT, {"serialize": "/again0"})
    away(client, "tokept", "/kept")
    assert client.send("PUT", "/cdmi/2.0.0/back", DATAOBJECT, {"deserialize": "/tokept"}).status_code == 201
    assert client.send("PATCH", "/cdmi/2.0.0/kept", DATAOBJECT, {"copy": "/again0"}).status_code == 204
    assert client.plain("GET", "/cdmi/kept").text == client.plain("GET", "/cdmi/back").text == "small"
    away(client, "fields", "/box/inner/large?value=5-6")
    assert client.send("PUT", "/cdmi/2.0.0/part", DATAOBJECT, {"copy": "/fields"}).status_code == 201
    assert client.plain("GET", "/cdmi/part").content == LARGE[5:7]


@pytest.mark.parametrize("field", ["copy", "move", "serialize", "deserialize"])
def test_references_that_lead_to_no_source_are_refused_without_a_redirect(client: Client, field: str) -> None:
    targets = ["/nothing", "https://example.com/o", "/ring", "/cdmi_capabilities/", "/fields?value=0-1", "/chain7"]
    away(client, "ring", "/round")
    away(client, "round", "/ring")
    away(client, "fields", "/box/small?value=0-1")
    away(client, "chain0", "/box/small")
    for number in range(1, 8):
        away(client, f"chain{number}", f"/chain{number - 1}")
    for target in targets:
        away(client, "away", target)
        for method, path in (("PUT", "new"), ("PATCH", "box/small"), ("POST", "box/")):
            sent = client.send(method, f"/cdmi/2.0.0/{path}", DATAOBJECT, {field: "/away"})
            assert (target, sent.status_code, sent.headers.get("Location")) == (target, 400, None)
        client.send("DELETE", "/cdmi/away", DATAOBJECT)
    assert client.plain("GET", "/cdmi/box/small").text == "small"


def test_what_a_reference_leads_to_is_not_moved_from_there(client: Client) -> None:
    away(client, "away", "/box/small")
    away(client, "there", "/box/")
    for source in ("/away", "/there/small"):
        refused = client.send("PUT", "/cdmi/2.0.0/new", DATAOBJECT, {"move": source})
        assert (refused.status_code, "/box/" in refused.text) == (400, True)
    assert client.plain("GET", "/cdmi/box/small").text == "small"


def test_rights_are_those_at_a_references_end(client: Client, database: Database) -> None:
    alone = [{"acetype": "ALLOW", "identifier": "OWNER@", "aceflags": "0x0", "acemask": "0x1F07FF"}]
    secret = {"value": "secret", "metadata": {"cdmi_acl": alone}}
    assert client.send("PUT", "/cdmi/secret", DATAOBJECT, secret).status_code == 201
    mate = Client(database, replace(client.caller, user_name="mate"), client.folder)
    away(mate, "away", "/secret")
    for field in ("copy", "serialize", "deserialize"):
        assert mate.send("PUT", "/cdmi/2.0.0/new", DATAOBJECT, {field: "/away"}).status_code in (400, 403)
    assert mate.send("GET", "/cdmi/2.0.0/new", DATAOBJECT).status_code == 404
