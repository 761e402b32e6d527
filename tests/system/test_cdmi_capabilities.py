"""The capability tree tells the truth: what it claims is done here, claim by claim, and what it doesn't is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT, DOMAIN, QUEUE, Client

from backends.store.database import Connection, Database
from cdmi_server.site import Site
from tests.conftest import member, project

ROOT = "/cdmi/2.0.0/"
POOL = f"{ROOT}cdmi_objectid/"
VERSION = "dataobject/dataobject_version"
VERSION_ITEMS = {f"cdmi_version_{name}" for name in ("object", "current", "oldest", "parent", "children")}
LIMITS = {"cdmi_versions_age": "cdmi_version_age"}
"""The capability goes by another name than the metadata item."""
SMALL = Site(metadata_maxitems=3, metadata_maxsize_bytes=50, metadata_maxtotalsize_bytes=80)
OWNER = object()
"""Stands for the metadata that names the caller."""
Done = Callable[[Client], bool]


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def client(database: Database, sql: Connection, tmp_path: Path) -> Client:
    """A container with one of each kind in it."""
    client = Client(database, member(sql, project(sql, f"mine {uuid4()}")), tmp_path, SMALL)
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "abc", "metadata": {"a": "1"}})
    client.send("PUT", f"{ROOT}box/q", QUEUE, {})
    client.send("POST", f"{ROOT}box/q", QUEUE, {"value": ["first"]})
    return client


def put(path: str, kind: str, body: dict[str, Any]) -> Done:
    return lambda client: client.send("PUT", f"{ROOT}{path}", kind, body).status_code == 201


def post(path: str, kind: str, body: dict[str, Any]) -> Done:
    return lambda client: client.send("POST", path, kind, body).status_code == 201


def patch(path: str, kind: str, body: dict[str, Any]) -> Done:
    return lambda client: client.send("PATCH", f"{ROOT}box/{path}", kind, body).status_code == 204


def delete(path: str, kind: str) -> Done:
    return lambda client: client.send("DELETE", f"{ROOT}box/{path}", kind).status_code == 204


def shows(path: str, kind: str, query: str, expected: object) -> Done:
    def done(client: Client) -> bool:
        place = path.removeprefix("../") if path.startswith("../") else f"box/{path}"
        found = client.send("GET", f"{ROOT}{place}?{query}", kind).json
        wanted = {"cdmi_owner": client.caller.user_name} if expected is OWNER else expected
        return bool(list(found.values()) == [wanted])

    return done


def domain_shows(path: str, kind: str, query: str, expected: object) -> Done:
    return shows(f"../cdmi_domains/project/{path}", kind, query, expected)


def tells(name: str) -> Done:
    """The metadata item is told of each kind that has it."""

    def done(client: Client) -> bool:
        kinds = {"": CONTAINER, "o": DATAOBJECT, "q": QUEUE}
        found = [
            client.send("GET", f"{ROOT}box/{path}?metadata={name}", kind).json["metadata"]
            for path, kind in kinds.items()
            if name != "cdmi_size" or path == "o"
        ]
        return all(name in metadata for metadata in found)

    return done


def obeys(metadata: dict[str, Any]) -> Done:
    def done(client: Client) -> bool:
        kinds = {"box/": CONTAINER, "box/o": DATAOBJECT, "box/q": QUEUE}
        for path, kind in reversed(kinds.items()):
            client.send("PATCH", f"{ROOT}{path}?metadata={next(iter(metadata))}", kind, {"metadata": metadata})
        return all(client.send("DELETE", ROOT + path, kind).status_code == 403 for path, kind in kinds.items())

    return done


def provides(metadata: dict[str, str]) -> Done:
    """What is asked for at the container is provided to the object in it."""
    ((name, value),) = metadata.items()

    def done(client: Client) -> bool:
        client.send("PATCH", f"{ROOT}box/?metadata={name}", CONTAINER, {"metadata": metadata})
        found = client.send("GET", f"{ROOT}box/o?metadata={name}", DATAOBJECT).json["metadata"]
        return bool(found[f"{name}_provided"] == value)

    return done


def versions(client: Client, count: int, **limits: str) -> list[str]:
    """Of a data object with so many, the current one first."""
    asked = {"cdmi_versioning": "value", **limits}
    for number in range(count):
        client.send("PUT", f"{ROOT}box/v", DATAOBJECT, {"value": f"v{number}", "metadata": asked})
    found = [client.send("GET", f"{ROOT}box/v", DATAOBJECT).json["metadata"]["cdmi_version_current"]]
    while parent := client.send("GET", found[-1], DATAOBJECT).json["metadata"].get("cdmi_version_parent"):
        found.append(parent)
    return found


def version_shows(query: str, expected: object) -> Done:
    def done(client: Client) -> bool:
        found = client.send("GET", f"{versions(client, 2)[1]}?{query}", DATAOBJECT).json
        return bool(list(found.values()) == [expected])

    return done


def versions_tell(client: Client) -> bool:
    """The data object and each version of what 1.1.1 §23.2 names, and no node claims what it hasn't."""
    found = claimed(client)
    uris = {VERSION: versions(client, 3)[1], "dataobject": f"{ROOT}box/v"}
    told = {
        node: VERSION_ITEMS & client.send("GET", uri, DATAOBJECT).json["metadata"].keys() for node, uri in uris.items()
    }
    return told == {node: VERSION_ITEMS & found[node].keys() for node in uris} and told[VERSION] == VERSION_ITEMS


def versioned(level: str, body: dict[str, Any]) -> Done:
    def done(client: Client) -> bool:
        asked = {"cdmi_versioning": level}
        uri = f"{ROOT}box/{level}"
        made = client.send("PUT", uri, DATAOBJECT, {"metadata": asked}).json["metadata"]
        client.send("PATCH", f"{uri}?metadata=a&value&metadata=cdmi_data_redundancy", DATAOBJECT, body)
        now = client.send("GET", uri, DATAOBJECT).json["metadata"]
        return bool(now["cdmi_version_oldest"] == [made["cdmi_version_current"]] != [now["cdmi_version_current"]])

    return done


def all_versioned(client: Client) -> bool:
    levels = claimed(client)["dataobject"]["cdmi_versioning"]
    changes: dict[str, dict[str, Any]] = {
        "value": {"value": "x"},
        "user": {"metadata": {"a": "1"}},
        "all": {"metadata": {"cdmi_data_redundancy": "1"}},
    }
    return list(levels) == list(changes) and all(versioned(level, changes[level])(client) for level in levels)


def limits_versions(name: str, asked: str) -> Done:
    """What is asked for is provided and obeyed; the largest that is claimed can be asked for, and no larger."""

    def done(client: Client) -> bool:
        most = claimed(client)["dataobject"][LIMITS.get(name, name)]
        kept = versions(client, 4, **{name: asked})
        found = client.send("GET", f"{ROOT}box/v", DATAOBJECT).json["metadata"][f"{name}_provided"]
        largest, larger = (
            client.send("PATCH", f"{ROOT}box/v?metadata={name}", DATAOBJECT, {"metadata": {name: str(value)}})
            for value in (int(most), int(most) + 1)
        )
        is_obeyed = len(kept) == (2 if name != "cdmi_versions_age" else 4)
        return is_obeyed and found == asked and (largest.status_code, larger.status_code) == (204, 400)

    return done


def by_id(client: Client) -> str:
    found = client.send("GET", f"{ROOT}box/o?objectID", DATAOBJECT).json
    return f"/cdmi_objectid/{found['objectID']}"


def serialized(kind: str) -> str:
    return base64.b64encode(
        json.dumps({"objectType": kind, "metadata": {}, **({"value": "v"} if kind == DATAOBJECT else {})}).encode()
    ).decode()


def limited(metadata: dict[str, str]) -> Done:
    return lambda client: client.send("PUT", f"{ROOT}n", DATAOBJECT, {"metadata": metadata}).status_code == 400


def in_parts(client: Client) -> bool:
    body = b"--e\r\nContent-Type: application/cdmi-object\r\n\r\n{}\r\n--e\r\n\r\nxyz\r\n--e--"
    made = client.send("PUT", f"{ROOT}n", DATAOBJECT, body, Content_Type="multipart/mixed; boundary=e")
    return made.status_code == 201 and client.plain("GET", f"{ROOT}n").content == b"xyz"


def denied(client: Client) -> bool:
    acl = {"cdmi_acl": [{"acetype": "DENY", "identifier": "EVERYONE@", "acemask": "CDMI_ACE_READ_OBJECT"}]}
    client.send("PATCH", f"{ROOT}box/o?metadata=cdmi_acl", DATAOBJECT, {"metadata": acl})
    return client.plain("GET", f"{ROOT}box/o").status_code == 403


def exported(client: Client) -> bool:
    body = {"metadata": {"cdmi_assignedsize": "1048576"}, "exports": {"OCCI/iSCSI": {"permissions": []}}}
    made = client.send("PUT", f"{ROOT}disks/n/", CONTAINER, body)
    return made.status_code == 202 and made.json["exports"]["OCCI/iSCSI"]["permissions"] == []


def notified(client: Client) -> bool:
    """A queue that is made to be is told of what happens."""
    metadata = {
        "cdmi_queue_type": "cdmi_notification_queue", "cdmi_notification_events": [], "cdmi_scope_specification": [],
        "cdmi_results_specification": {"objectName": ""},
    }  # fmt: skip
    client.send("PUT", f"{ROOT}n", QUEUE, {"metadata": metadata})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    return bool(client.send("GET", f"{ROOT}n?value", QUEUE).json == {"value": [{"objectName": "o"}]})


def searched(condition: dict[str, Any]) -> dict[str, Any]:
    """A queue for what a query finds."""
    metadata = {
        "cdmi_queue_type": "cdmi_query_queue", "cdmi_scope_specification": [condition],
        "cdmi_results_specification": {"objectName": ""},
    }  # fmt: skip
    return {"metadata": metadata}


def finds(condition: str) -> Done:
    """A query by the condition on an item that is "one, Two" finds the one object that has it."""

    def done(client: Client) -> bool:
        client.send("PUT", f"{ROOT}n", DATAOBJECT, {"metadata": {"b": "one, Two"}})
        client.send("PUT", f"{ROOT}m", QUEUE, searched({"metadata": {"b": condition}}))
        client.run_queries()
        return bool(client.send("GET", f"{ROOT}m?value&values=9", QUEUE).json == {"value": [{"objectName": "n"}]})

    return done


PERIOD = {"cdmi_retention_period": "2020-01-01T00:00:00.000000Z/2999-01-01T00:00:00.000000Z"}
HOLD = {"cdmi_hold_id": ["case"]}
REFERENCE = {"reference": "/box/o"}

CLAIMS: dict[str, dict[str, Done]] = {
    "": {
        "cdmi_dataobjects": put("n", DATAOBJECT, {"value": "x"}),
        "cdmi_domains": domain_shows("", DOMAIN, "objectName", "project/"),
        "cdmi_export_occi_iscsi": exported,
        "cdmi_notification": notified,
        "cdmi_query": finds("*"),
        "cdmi_query_contains": finds("contains e, T"),
        "cdmi_query_tags": finds("tag two"),
        "cdmi_queues": put("n", QUEUE, {}),
        "cdmi_references": put("n", DATAOBJECT, REFERENCE),
        "cdmi_snapshots": patch("", CONTAINER, {"snapshot": "s"}),
        "cdmi_serialization_json": put("n", DATAOBJECT, {"serialize": "/box/"}),
        "cdmi_multipart_mime": in_parts,
        "cdmi_metadata_maxitems": limited({"a": "", "b": "", "c": "", "d": ""}),
        "cdmi_metadata_maxsize": limited({"a": "x" * 51}),
        "cdmi_metadata_maxtotalsize": limited({"a": "x" * 40, "b": "x" * 40}),
        "cdmi_security_access_control": denied,
        "cdmi_security_immutability": obeys(HOLD),
        "cdmi_security_data_integrity": provides({"cdmi_value_hash": "SHA256"}),
        "cdmi_object_access_by_ID": lambda c: c.plain("GET", ROOT + by_id(c)[1:]).content == b"abc",
        "cdmi_object_copy_from_local": put("n", DATAOBJECT, {"copy": "/box/o"}),
        "cdmi_object_move_from_local": put("n", DATAOBJECT, {"move": "/box/o"}),
        "cdmi_object_move_from_ID": lambda c: put("n", DATAOBJECT, {"move": by_id(c)})(c),
        "cdmi_object_move_to_ID": post(POOL, DATAOBJECT, {"move": "/box/o"}),
        "cdmi_copy_dataobject_by_ID": post(POOL, DATAOBJECT, {"copy": "/box/o"}),
        "cdmi_copy_queue_by_ID": post(POOL, QUEUE, {"copy": "/box/q"}),
        "cdmi_post_dataobject_by_ID": post(POOL, DATAOBJECT, {"value": "x"}),
        "cdmi_post_queue_by_ID": post(POOL, QUEUE, {}),
        "cdmi_create_reference_by_ID": post(POOL, DATAOBJECT, REFERENCE),
        "cdmi_create_value_range_by_ID": post(f"{POOL}?value=2-3", DATAOBJECT, {"value": "AAA="}),
        "cdmi_serialize_dataobject_to_ID": post(POOL, DATAOBJECT, {"serialize": "/box/o"}),
        "cdmi_serialize_container_to_ID": post(POOL, DATAOBJECT, {"serialize": "/box/"}),
        "cdmi_serialize_queue_to_ID": post(POOL, DATAOBJECT, {"serialize": "/box/q"}),
        "cdmi_deserialize_dataobject_by_ID": post(POOL, DATAOBJECT, {"deserializevalue": serialized(DATAOBJECT)}),
        "cdmi_deserialize_queue_by_ID": post(POOL, QUEUE, {"deserializevalue": serialized(QUEUE)}),
        "cdmi_valuetransferencoding_json": put("n", DATAOBJECT, {"valuetransferencoding": "json", "value": {"a": 1}}),
    },
    "container": {
        "cdmi_list_children": shows("", CONTAINER, "children", ["o", "q"]),
        "cdmi_list_children_range": shows("", CONTAINER, "children=1-1", ["q"]),
        "cdmi_read_metadata": shows("", CONTAINER, "metadata=cdmi_owner", OWNER),
        "cdmi_modify_metadata": patch("", CONTAINER, {"metadata": {"b": "2"}}),
        "cdmi_snapshot": patch("", CONTAINER, {"snapshot": "s"}),
        "cdmi_create_container": put("box/n/", CONTAINER, {}),
        "cdmi_create_dataobject": put("box/n", DATAOBJECT, {"value": "x"}),
        "cdmi_create_queue": put("box/n", QUEUE, {}),
        "cdmi_create_reference": put("box/n", DATAOBJECT, REFERENCE),
        "cdmi_create_value_range": put("box/n?value=2-3", DATAOBJECT, {"value": "AAA="}),
        "cdmi_post_dataobject": post(f"{ROOT}box/", DATAOBJECT, {"value": "x"}),
        "cdmi_post_queue": post(f"{ROOT}box/", QUEUE, {}),
        "cdmi_copy_container": put("n/", CONTAINER, {"copy": "/box/"}),
        "cdmi_copy_dataobject": put("box/n", DATAOBJECT, {"copy": "/box/o"}),
        "cdmi_move_container": put("n/", CONTAINER, {"move": "/box/"}),
        "cdmi_move_dataobject": put("box/n", DATAOBJECT, {"move": "/box/o"}),
        "cdmi_serialize_container": put("n", DATAOBJECT, {"serialize": "/box/"}),
        "cdmi_serialize_dataobject": put("n", DATAOBJECT, {"serialize": "/box/o"}),
        "cdmi_serialize_queue": put("n", DATAOBJECT, {"serialize": "/box/q"}),
        "cdmi_deserialize_container": put("n/", CONTAINER, {"deserializevalue": serialized(CONTAINER)}),
        "cdmi_deserialize_dataobject": put("n", DATAOBJECT, {"deserializevalue": serialized(DATAOBJECT)}),
        "cdmi_deserialize_queue": put("n", QUEUE, {"deserializevalue": serialized(QUEUE)}),
        "cdmi_delete_container": delete("", CONTAINER),
    },
    "domain": {
        "cdmi_list_children": domain_shows("", DOMAIN, "children", ["cdmi_domain_summary/", "cdmi_domain_members/"]),
        "cdmi_read_metadata": domain_shows("", DOMAIN, "metadata=cdmi_owner", {"cdmi_owner": "project"}),
        "cdmi_domain_summary": domain_shows("cdmi_domain_summary/", CONTAINER, "children", ["cumulative"]),
        "cdmi_authentication_methods": domain_shows(
            "", DOMAIN, "metadata=cdmi_authentication", {"cdmi_authentication_methods_provided": ["basic"]}
        ),
    },
    "dataobject": {
        "cdmi_read_value": shows("o", DATAOBJECT, "value", "abc"),
        "cdmi_read_value_range": shows("o", DATAOBJECT, "value=1-1", "Yg=="),
        "cdmi_read_metadata": shows("o", DATAOBJECT, "metadata=a", {"a": "1"}),
        "cdmi_modify_value": patch("o", DATAOBJECT, {"value": "x"}),
        "cdmi_modify_value_range": patch("o?value=1-1", DATAOBJECT, {"value": "eA=="}),
        "cdmi_modify_metadata": patch("o", DATAOBJECT, {"metadata": {}}),
        "cdmi_delete_dataobject": delete("o", DATAOBJECT),
    },
    VERSION: {
        "cdmi_read_value": version_shows("value", "v0"),
        "cdmi_read_value_range": version_shows("value=1-1", "MA=="),
        "cdmi_read_metadata": version_shows("metadata=cdmi_size", {"cdmi_size": "2"}),
        "cdmi_delete_dataobject": lambda c: c.send("DELETE", versions(c, 2)[1], DATAOBJECT).status_code == 204,
    },
    "queue": {
        "cdmi_read_value": shows("q", QUEUE, "value", ["first"]),
        "cdmi_read_metadata": shows("q", QUEUE, "metadata=cdmi_owner", OWNER),
        "cdmi_modify_value": lambda c: c.send("POST", f"{ROOT}box/q", QUEUE, {"value": ["x"]}).status_code == 204,
        "cdmi_modify_metadata": patch("q", QUEUE, {"metadata": {}}),
        "cdmi_delete_queue": delete("q", QUEUE),
        "cdmi_copy_queue": put("box/n", QUEUE, {"copy": "/box/q"}),
        "cdmi_move_queue": put("box/n", QUEUE, {"move": "/box/q"}),
        "cdmi_reference_queue": put("box/n", QUEUE, {"reference": "/box/q"}),
    },
}
OF_METADATA: dict[str, Done] = {
    **{name: tells(name) for name in ("cdmi_acl", "cdmi_size", "cdmi_ctime", "cdmi_mtime", "cdmi_mcount")},
    "cdmi_data_retention": obeys(PERIOD),
    "cdmi_data_holds": obeys(HOLD),
    "cdmi_value_hash": provides({"cdmi_value_hash": "SHA256"}),
    "cdmi_data_redundancy": provides({"cdmi_data_redundancy": "1"}),
    "cdmi_immediate_redundancy": provides({"cdmi_immediate_redundancy": "true"}),
    "cdmi_infrastructure_redundancy": provides({"cdmi_infrastructure_redundancy": "1"}),
    **dict.fromkeys(
        (f"cdmi_version_{name}" for name in ("object", "current", "oldest", "parent", "children")), versions_tell
    ),
    "cdmi_versioning": all_versioned,
    "cdmi_versions_count": limits_versions("cdmi_versions_count", "1"),
    "cdmi_version_age": limits_versions("cdmi_versions_age", "60"),
    "cdmi_versions_size": limits_versions("cdmi_versions_size", "2"),
}

REMOTE = "http://elsewhere.example.com/cdmi/o"
ABSENT: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "cdmi_create_domain": ("PUT", "cdmi_domains/project/d/", DOMAIN, {}),
    "cdmi_delete_domain": ("DELETE", "cdmi_domains/project/", DOMAIN, {}),
    "cdmi_export_iscsi": ("PATCH", "box/", CONTAINER, {"exports": {"1": {"type": "iSCSI"}}}),
    "cdmi_export_nfs": ("PATCH", "box/", CONTAINER, {"exports": {"1": {"type": "NFSv4"}}}),
    "cdmi_object_copy_from_remote": ("PUT", "n", DATAOBJECT, {"copy": REMOTE}),
    "cdmi_object_move_from_remote": ("PUT", "n", DATAOBJECT, {"move": REMOTE}),
    "cdmi_copy_dataobject_from_queue": ("PUT", "n", DATAOBJECT, {"copy": "/box/q"}),
    "cdmi_query_regex": ("PUT", "n", QUEUE, searched({"objectName": "=~ o.*"})),
    "cdmi_query_value": ("PUT", "n", QUEUE, searched({"value": "== YWJj"})),
    "cdmi_modify_deserialize_dataobject": ("PATCH", "box/o", DATAOBJECT, {"deserialize": "/box/o"}),
    "cdmi_modify_deserialize_container": ("PATCH", "box/", CONTAINER, {"deserialize": "/box/o"}),
    "cdmi_modify_deserialize_queue": ("PATCH", "box/q", QUEUE, {"deserialize": "/box/o"}),
}


def claimed(client: Client) -> dict[str, dict[str, str]]:
    """The tree as a client finds it, from the root down by `children`; disks have tests of their own."""
    root = client.send("GET", f"{ROOT}cdmi_capabilities/", CAPABILITY).json
    found = {"": root["capabilities"]}
    for child in root["children"]:
        node = client.send("GET", f"{ROOT}cdmi_capabilities/{child}", CAPABILITY).json
        below = {
            "container/": {"disks/", "disk/", "disk_snapshot/", "disk_snapshots/", "domain/"},
            "dataobject/": {"disk/", "domain/", "dataobject_version/"},
        }
        assert set(node["children"]) == below.get(child, set())
        found[child.removesuffix("/")] = node["capabilities"]
    versions = client.send("GET", f"{ROOT}cdmi_capabilities/{VERSION}/", CAPABILITY).json
    found[VERSION] = versions["capabilities"]
    return found


def test_every_claim_is_known_here_and_nothing_is_left_unclaimed(client: Client) -> None:
    found = {node: set(capabilities) - OF_METADATA.keys() for node, capabilities in claimed(client).items()}
    assert found == {node: set(done) for node, done in CLAIMS.items()}
    assert set().union(*claimed(client).values()) & OF_METADATA.keys() == OF_METADATA.keys()
    assert not set().union(*claimed(client).values()) & ABSENT.keys()


@pytest.mark.parametrize(("node", "name"), [(node, name) for node, done in CLAIMS.items() for name in done])
def test_what_is_claimed_is_done(client: Client, node: str, name: str) -> None:
    assert CLAIMS[node][name](client)


@pytest.mark.parametrize("name", OF_METADATA)
def test_what_is_claimed_of_metadata_is_so(client: Client, name: str) -> None:
    assert OF_METADATA[name](client)


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_not_claimed_is_refused(client: Client, name: str) -> None:
    method, path, kind, body = ABSENT[name]
    refused = client.send(method, ROOT + path, kind, body)
    assert refused.status_code == 400, refused.text


def test_1_x_is_not_told_of_what_only_2_has(client: Client) -> None:
    old = client.send("GET", "/cdmi/cdmi_capabilities/?capabilities", CAPABILITY).json["capabilities"]
    assert "cdmi_valuetransferencoding_json" not in old
    body = {"valuetransferencoding": "json", "value": {}}
    assert client.send("PUT", "/cdmi/n", DATAOBJECT, body).status_code == 400
