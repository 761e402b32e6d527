"""Copies, moves, snapshots and queues through CDMI, over a real PostgreSQL."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client

from backends.store.database import Connection, Database
from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE, encode
from tests.conftest import caller, project

LARGE = bytes(range(256)) * 1000


@pytest.fixture
def client(database: Database, sql: Connection, tmp_path: Path) -> Client:
    client = Client(database, caller(project(sql, "mine")), tmp_path)
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": {"of": "box"}})
    client.send("PUT", "/cdmi/box/inner/", CONTAINER, {})
    client.plain("PUT", "/cdmi/box/inner/large", LARGE)
    client.send("PUT", "/cdmi/box/small", DATAOBJECT, {"value": "small", "metadata": {"a": "1"}, "mimetype": "x/y"})
    return client


def identity(client: Client, path: str) -> str:
    return str(client.plain("GET", f"/cdmi/2.0.0/{path}?objectID", Accept="*/*, application/cdmi-object,"
                            " application/cdmi-container, application/cdmi-queue").json["objectID"])  # fmt: skip


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
    assert client.send("PUT", "/cdmi/moved", DATAOBJECT, {"move": "/box/small"}).status_code == 403
    copy = client.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": "/box/small"})
    assert "cdmi_hold_id" not in copy.json["metadata"]
    assert client.send("DELETE", "/cdmi/copy", DATAOBJECT).status_code == 204


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
    assert client.send("PUT", "/cdmi/back/", CONTAINER, {"copy": uris[0]}).status_code == 201
    assert client.plain("GET", "/cdmi/back/inner/large").content == LARGE

    assert client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "monday"}).status_code == 204
    assert client.plain("GET", uris[0] + "inner/large").content == b"new"
    assert client.send("DELETE", uris[0], CONTAINER).status_code == 204
    assert "snapshots" not in client.send("GET", "/cdmi/box/", CONTAINER).json
    assert client.send("DELETE", "/cdmi/box/cdmi_snapshots/", CONTAINER).status_code == 400


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
    theirs = project(sql, "theirs")
    stolen = encode(theirs, DOCUMENTATION_ENTERPRISE)
    text = {"objectType": DATAOBJECT, "objectID": stolen, "value": "v"}
    body = {"deserializevalue": base64.b64encode(json.dumps(text).encode()).decode()}
    made = client.send("PUT", "/cdmi/o", DATAOBJECT, body)
    assert made.status_code == 201
    assert made.json["objectID"] != stolen
    other = Client(database, caller(theirs), client.folder)
    assert other.send("GET", "/cdmi/", CONTAINER).json["children"] == ["disks/"]
