"""Data system metadata: what is asked of the cloud is done and shown as provided, refused, or kept and not claimed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT, Client

from backends.model import Caller
from backends.store.database import Connection, Database
from cdmi_server.site import Site
from tests.conftest import caller, project

HASH = {"cdmi_value_hash": "SHA256"}
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


def items(client: Client, path: str, *names: str) -> dict[str, Any]:
    """The metadata of that name, and of those that begin with it."""
    kind = CONTAINER if path.endswith("/") else DATAOBJECT
    query = ";".join(f"metadata:{name}" for name in names)
    return dict(client.send("GET", f"{path}?{query}", kind).json["metadata"])


def hash_of(client: Client, path: str) -> object:
    return items(client, path, "cdmi_hash").get("cdmi_hash")


def test_a_value_is_hashed_where_that_is_asked_for_on_it_or_above(client: Client) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": HASH})
    for name, value in {"small": b"abc", "large": b"x" * (3 * MIB)}.items():
        client.plain("PUT", f"/cdmi/box/{name}", value)
        shown = items(client, f"/cdmi/box/{name}", "cdmi_hash", "cdmi_value_hash")
        assert shown == {"cdmi_hash": hashlib.sha256(value).hexdigest(), "cdmi_value_hash_provided": "SHA256"}
    client.plain("PUT", "/cdmi/box/small", b"new")
    assert hash_of(client, "/cdmi/box/small") == hashlib.sha256(b"new").hexdigest()
    client.send("PUT", "/cdmi/box/not", DATAOBJECT, {"value": "x", "metadata": {"cdmi_value_hash": ""}})
    assert items(client, "/cdmi/box/not", "cdmi_hash", "cdmi_value_hash") == {"cdmi_value_hash": ""}
    client.plain("PUT", "/cdmi/outside", b"abc")
    assert items(client, "/cdmi/outside", "cdmi_hash", "cdmi_value_hash") == {}


def test_the_hash_is_that_of_the_value_however_the_value_came_to_be(client: Client) -> None:
    made = client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "abc", "metadata": HASH})
    assert made.json["metadata"]["cdmi_hash"] == hashlib.sha256(b"abc").hexdigest()
    client.plain("PUT", "/cdmi/o", b"X", Content_Range="bytes 1-1/*")
    assert hash_of(client, "/cdmi/o") == hashlib.sha256(b"aXc").hexdigest()
    client.plain("PUT", "/cdmi/o", b"y" * 100_000, X_CDMI_Partial="true")
    assert hash_of(client, "/cdmi/o") is None
    client.plain("PUT", "/cdmi/o", b"z", Content_Range="bytes 0-0/*")
    assert hash_of(client, "/cdmi/o") == hashlib.sha256(b"z" + b"y" * 99_999).hexdigest()
    client.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": "/o"})
    assert hash_of(client, "/cdmi/copy") == hash_of(client, "/cdmi/o")

    client.plain("PUT", "/cdmi/later", b"abc")
    client.send("PUT", "/cdmi/later?metadata:cdmi_value_hash", DATAOBJECT, {"metadata": HASH})
    assert hash_of(client, "/cdmi/later") == hashlib.sha256(b"abc").hexdigest()
    assert items(client, "/cdmi/later", "cdmi_mcount") == {"cdmi_mcount": "1"}


def test_nobody_has_terabytes_of_holes_read_for_a_hash(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "abc", "metadata": HASH})
    far = 2**42
    assert client.plain("PUT", "/cdmi/o", b"x", Content_Range=f"bytes {far}-{far}/*").status_code == 204
    assert items(client, "/cdmi/o", "cdmi_hash", "cdmi_value_hash") == HASH
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": HASH})
    assert client.plain("PUT", "/cdmi/box/o", b"x", Content_Range=f"bytes {far}-{far}/*").status_code == 201
    assert items(client, "/cdmi/box/o", "cdmi_hash", "cdmi_value_hash") == {}


def test_what_is_provided_is_the_truth_whatever_was_asked_for(client: Client) -> None:
    asked = {"cdmi_data_redundancy": "3", "cdmi_immediate_redundancy": "true", "cdmi_infrastructure_redundancy": "2"}
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": asked})
    client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"value": "x"})
    truth = {
        "cdmi_data_redundancy_provided": "1",
        "cdmi_immediate_redundancy_provided": "false",
        "cdmi_infrastructure_redundancy_provided": "1",
    }
    assert items(client, "/cdmi/box/o", *asked) == truth
    assert items(client, "/cdmi/box/", *asked) == {**asked, **truth}
    client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"metadata": {"cdmi_data_redundancy": "1", "cdmi_x_provided": "9"}})
    assert items(client, "/cdmi/box/o", "cdmi_immediate")["cdmi_immediate_redundancy_provided"] == "true"
    unknown = {
        "cdmi_latency": "5",
        "cdmi_throughput": "9",
        "cdmi_RPO": "1",
        "cdmi_RTO": "1",
        "cdmi_data_dispersion": "9",
    }
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"metadata": unknown})
    assert items(client, "/cdmi/o", *unknown) == unknown


def test_retention_and_holds_are_provided_to_all_that_they_keep(client: Client) -> None:
    long, short = ("2020-01-01T00:00:00.000000Z/2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z/2998-01-01T00:00:00Z")
    above = {"cdmi_retention_period": long, "cdmi_retention_autodelete": "true", "cdmi_hold_id": ["a"]}
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    client.send("PUT", "/cdmi/box/o", DATAOBJECT, {"metadata": {"cdmi_retention_period": short, "cdmi_hold_id": ["b"]}})
    client.send("PUT", "/cdmi/box/", CONTAINER, {"metadata": above})
    shown = items(client, "/cdmi/box/o", "cdmi_retention", "cdmi_hold")
    assert shown["cdmi_retention_period_provided"] == long
    assert shown["cdmi_hold_id_provided"] == ["a", "b"]
    assert shown["cdmi_retention_autodelete_provided"] == "false"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cdmi_encryption", "AES_XTS_256"),
        ("cdmi_sanitization_method", "zero"),
        ("cdmi_versioning", "sometimes"),
        ("cdmi_versioning", ["value"]),
        ("cdmi_versions_count", "-1"),
        ("cdmi_versions_count", "1000001"),
        ("cdmi_versions_age", "a day"),
        ("cdmi_versions_age", True),
        ("cdmi_versions_size", "1.5"),
        ("cdmi_geographic_placement", ["CH"]),
        ("cdmi_value_hash", "MD5"),
        ("cdmi_value_hash", 5),
        ("cdmi_retention_period", "tomorrow"),
    ],
)
def test_what_a_client_must_rely_on_is_refused_where_it_is_not_done(client: Client, name: str, value: object) -> None:
    body = {"metadata": {name: value}}
    refused = client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x", **body})
    assert (refused.status_code, name[1:] in refused.text) == (400, True)
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x"})
    assert client.send("PUT", f"/cdmi/o?metadata:{name}", DATAOBJECT, body).status_code == 400
    assert client.send("PUT", "/cdmi/box/", CONTAINER, body).status_code == 400
    claimed = client.send("GET", "/cdmi/cdmi_capabilities/dataobject/?capabilities", CAPABILITY).json["capabilities"]
    assert name not in claimed or value not in claimed[name]


PLACEMENTS = [
    (["CH"], 201),
    (["*"], 201),
    (["!US", "*"], 201),
    (["CH-ZH"], 201),
    (["!CH-GE", "CH"], 201),
    (["CH", "!CH-ZH"], 201),
    (["!CH-ZH", "*"], 403),
    (["!CH", "*"], 403),
    (["DE"], 403),
    ([], 403),
    (["!CH-ZH-1"], 400),
    (["Switzerland"], 400),
    ("CH", 400),
    ([5], 400),
]


@pytest.mark.parametrize(("placement", "status"), PLACEMENTS)
def test_data_are_only_where_they_may_be(
    database: Database, me: Caller, tmp_path: Path, placement: object, status: int
) -> None:
    client = Client(database, me, tmp_path, Site(region="CH-ZH"))
    made = client.send("PUT", "/cdmi/o", DATAOBJECT, {"metadata": {"cdmi_geographic_placement": placement}})
    assert made.status_code == status, made.text
    if status == 201:
        assert made.json["metadata"]["cdmi_geographic_placement_provided"] == ["CH-ZH"]
    claimed = client.send("GET", "/cdmi/cdmi_capabilities/dataobject/", CAPABILITY).json["capabilities"]
    assert claimed["cdmi_geographic_placement"] == "true"


def test_an_excluded_part_may_be_where_a_larger_region_keeps_its_data(
    database: Database, me: Caller, tmp_path: Path
) -> None:
    client = Client(database, me, tmp_path, Site(region="CH"))
    body = {"metadata": {"cdmi_geographic_placement": ["!CH-ZH", "*"]}}
    assert client.send("PUT", "/cdmi/o", DATAOBJECT, body).status_code == 403


def test_what_was_asked_for_once_does_not_stand_in_the_way_of_other_changes(
    database: Database, me: Caller, tmp_path: Path
) -> None:
    placed = Client(database, me, tmp_path, Site(region="CH"))
    placed.send("PUT", "/cdmi/o", DATAOBJECT, {"metadata": {"cdmi_geographic_placement": ["CH"]}})
    moved = Client(database, me, tmp_path, Site(region="DE"))
    body = {"metadata": {"colour": "red"}}
    assert moved.send("PUT", "/cdmi/o?metadata:colour", DATAOBJECT, body).status_code == 204
    assert items(moved, "/cdmi/o", "cdmi_geo")["cdmi_geographic_placement_provided"] == ["DE"]
