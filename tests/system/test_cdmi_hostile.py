"""Whatever a client sends, the answer is no 5xx, and a refusal is one clear sentence."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from uuid import uuid4

import falcon.testing
import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.store.database import Connection, Database
from tests.conftest import caller, project


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def client(database: Database, sql: Connection, tmp_path: Path) -> Client:
    return Client(database, caller(project(sql, f"mine {uuid4()}")), tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/cdmi/../etc/passwd",
        "/cdmi/%2e%2e/etc/passwd",
        "/cdmi/..%2f..%2fetc%2fpasswd",
        "/cdmi/a//b",
        "/cdmi/./x",
        "/cdmi/%00",
        "/cdmi/a%00b",
        "/cdmi/a%3Fb",
        "/cdmi/a%0Ab",
        "/cdmi/a%0D",
        "/cdmi/a%1Bb",
        "/cdmi/a%C2%85b",
        "/cdmi/a%E2%80%AEb",
        "/cdmi/a%E2%81%A6b",
        "/cdmi/2.0.0/a%E2%80%A8b",
        "/cdmi/" + "n" * 1025,
        "/cdmi/" + "n" * 4096,
        "/cdmi/" + "%C3%A9" * 600,
        "/cdmi/cdmi_objectid/../o",
        "/cdmi/disks/../o",
        "/cdmi/2.0.0/../o",
    ],
)  # fmt: skip
def test_names_that_can_not_be_are_refused(client: Client, path: str) -> None:
    assert client.plain("PUT", path, b"x").status_code == 400


def test_names_are_kept_as_they_are(client: Client) -> None:
    for name in ("e\u0301", "\u00e9", "a b", "%25", "\u200d", "~", "a;b", "n" * 1024):
        assert client.plain("PUT", f"/cdmi/{name.replace('%25', '%2525')}", name.encode()).status_code == 201
        made = client.plain("GET", f"/cdmi/{name.replace('%25', '%2525')}")
        assert made.content == name.encode()
    assert len(client.send("GET", "/cdmi/", CONTAINER).json["children"]) == 8 + len(["disks/"])


@pytest.mark.parametrize("octets", ["\xff", "\xc0\xae\xc0\xae", "\xed\xa0\x80", "a\xc3"])
def test_names_that_are_no_utf8_are_refused(client: Client, octets: str) -> None:
    """As a server hands them over: Falcon's own client would mend them."""
    statuses = []
    for path in (
        f"/cdmi/{octets}",
        f"/cdmi/{octets}/x",
        f"/cdmi/2.0.0/disks/{octets}/",
        f"/cdmi/cdmi_domains/{octets}",
    ):
        environ = falcon.testing.create_environ("/cdmi/", method="PUT", body="x")
        environ["PATH_INFO"] = path
        client.http.app(environ, lambda status, _headers: statuses.append(status[:3]))
    assert set(statuses) == {"400"}


HOSTILE_NAMES = (
    "", ".", "..", "../up", "a/b", "a?b", "a\0b", "a\nb", "a\u202eb", "n" * 1025, "n" * 4096, "\u00e9" * 600, "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_in_bodies_are_held_to_the_same(client: Client, name: str) -> None:
    """As a snapshot's, and of what is to be deserialized."""
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    child = {"objectType": DATAOBJECT, "objectName": name, "metadata": {}, "value": "x"}
    tree = {"objectType": CONTAINER, "objectName": "tree/", "metadata": {}, "children": [child]}
    serialized = base64.b64encode(json.dumps(tree).encode()).decode()
    for path, body in (("/cdmi/box/", {"snapshot": name}), ("/cdmi/tree/", {"deserializevalue": serialized})):
        refused = client.send("PUT", path, CONTAINER, body)
        assert refused.status_code == 400, (path, refused.status_code)
    assert client.send("GET", "/cdmi/", CONTAINER).json["children"] == ["box/", "disks/"]
    assert "snapshots" not in client.send("GET", "/cdmi/box/", CONTAINER).json


@pytest.mark.parametrize(
    "name", ["%2e%2e", "a%00", "a%0A", "a%E2%80%AE", "n" * 1025, "a%3Fb", "cdmi_x", "%C3%A9" * 600]
)
def test_names_of_disks_are_held_to_the_same(client: Client, name: str) -> None:
    body = {"metadata": {"cdmi_assignedsize": "1048576"}}
    assert client.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, body).status_code == 400
    assert client.send("GET", "/cdmi/disks/", CONTAINER).json["children"] == []


def test_two_unicode_forms_of_a_name_are_two_names_everywhere(client: Client) -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    for name in (composed, decomposed):
        assert client.send("PUT", f"/cdmi/{name}/", CONTAINER, {}).status_code == 201
        assert client.plain("PUT", f"/cdmi/{name}/o", name.encode()).status_code == 201
        assert client.send("PUT", f"/cdmi/{name}/", CONTAINER, {"snapshot": name}).status_code == 204
    for name in (composed, decomposed):
        snapshots = client.send("GET", f"/cdmi/{name}/", CONTAINER).json["snapshots"]
        assert snapshots == [f"/cdmi/{name}/cdmi_snapshots/{name}/"]
        assert client.plain("GET", f"{snapshots[0]}o").content == name.encode()
    copied = client.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": f"/{decomposed}/o"})
    assert copied.status_code == 201
    assert client.plain("GET", "/cdmi/copy").content == decomposed.encode()


@pytest.mark.parametrize("name", ["cdmi_objectid", "cdmi_snapshots", "cdmi_domains", "cdmi_versions", "cdmi_mine"])
def test_the_standards_names_are_reserved(client: Client, name: str) -> None:
    assert client.send("PUT", f"/cdmi/{name}/", CONTAINER, {}).status_code in (400, 404)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[]",
        b'"x"',
        b'{"metadata": {"a": "\\u0000"}}',
        b'{"metadata": {"\\ud800": 1}}',
        b'{"metadata": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b'{"mimetype": 5}',
        b'{"mimetype": "a\\r\\nb"}',
        b'{"value": 5}',
        b'{"value": "x", "copy": "/y"}',
        b'{"reference": 5}',
        b'{"reference": "http://[/"}',
        b'{"valuetransferencoding": "rot13"}',
        b'{"metadata": {"cdmi_acl": [{"acetype": "0x9"}]}}',
        b'{"metadata": {"cdmi_acl": {}}}',
        b'{"metadata": {"cdmi_hold_id": "x"}}',
        b'{"domainURI": 5}',
        b'{"domainURI": "/cdmi_domains/../x/"}',
    ],
)
def test_bodies_that_can_not_be_read_are_a_400(client: Client, body: bytes) -> None:
    refused = client.send("PUT", "/cdmi/o", DATAOBJECT, body)
    assert refused.status_code == 400
    assert refused.text.strip().endswith(".")


def test_a_json_body_beyond_the_limit_is_refused_before_it_is_read(client: Client) -> None:
    refused = client.send("PUT", "/cdmi/o", DATAOBJECT, b"{}", Content_Length=str(10**12))
    assert refused.status_code == 413
    assert client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x" * (5 << 20)}).status_code == 413


def test_a_body_that_ends_early_leaves_the_old_value(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"old")
    assert client.plain("PUT", "/cdmi/o", b"ne", Content_Length="200000").status_code == 400
    assert client.plain("GET", "/cdmi/o").content == b"old"
    assert client.files() == []


def test_an_offset_beyond_everything_is_refused(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"x")
    refused = client.plain("PUT", "/cdmi/o", b"x", Content_Range=f"bytes {10**17}-{10**17}/*")
    assert refused.status_code == 400
    assert client.plain("PUT", "/cdmi/new", b"x", Content_Range=f"bytes {10**17}-{10**17}/*").status_code == 400


PATHS = st.sampled_from(
    ["/cdmi/", "/cdmi/o", "/cdmi/2.0.0/o", "/cdmi/box/", "/cdmi/box", "/cdmi/cdmi_objectid/",
     "/cdmi/cdmi_capabilities/", "/cdmi/cdmi_objectid/00007ED90018", "/cdmi/2.0.0/", "/cdmi/box/x/y"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(
    st.sampled_from(["metadata", "value", "mimetype", "valuetransferencoding", "reference", "copy", "move", "snapshot",
                     "exports", "deserializevalue", "serialize", "x"]) | st.text(max_size=5),
    JSON,
    max_size=4,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"]),
    PATHS,
    st.text(alphabet="abcmetadvluhilrn;:&=0123-?", max_size=20),
    st.sampled_from([CONTAINER, DATAOBJECT, "application/cdmi-queue", "*/*", "text/html", "multipart/mixed"]),
    BODIES,
)
def test_nothing_is_a_500(client: Client, method: str, path: str, query: str, kind: str, body: object) -> None:
    data = json.dumps(body, ensure_ascii=True).encode()
    query = query.replace("?", "%3F")
    answer = client.send(method, f"{path}?{query}" if query else path, kind, data)
    assert answer.status_code < 500


@pytest.mark.parametrize("depth", [70, 400, 900])
def test_values_are_not_nested_without_end(client: Client, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    value = b'{"valuetransferencoding":"json","value":{"a":' + deep + b"}}"
    assert client.plain("PUT", "/cdmi/2.0.0/o", value, Content_Type=DATAOBJECT).status_code == 400
    client.send("PUT", "/cdmi/2.0.0/q", QUEUE, {})
    values = b'{"valuetransferencoding":["json"],"value":[{"a":' + deep + b"}]}"
    assert client.plain("POST", "/cdmi/2.0.0/q", values, Content_Type=QUEUE).status_code == 400
