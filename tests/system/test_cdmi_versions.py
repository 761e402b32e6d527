"""Versions of data objects through CDMI, over a real PostgreSQL: made by changes, immutable, limited, and restored."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT, QUEUE, Client
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import quotas
from backends.cloud.versions import expire_versions
from backends.store.database import Connection, Database
from backends.values import Values
from cdmi_server.presentation import Presentation
from cdmi_server.site import Site
from renderers.cdmi.representation import Version
from tests.conftest import member, project

ROOT = "/cdmi/2.0.0/"
LARGE = bytes(range(256)) * 1000
REDUNDANCY = {"metadata": {"cdmi_data_redundancy": "1"}}
LEVELS = ("value", "user", "all")


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def mine(sql: Connection) -> UUID:
    return project(sql, f"mine {uuid4()}")


@pytest.fixture
def client(database: Database, sql: Connection, mine: UUID, tmp_path: Path) -> Client:
    return Client(database, member(sql, mine), tmp_path)


def make(client: Client, level: str = "value", value: str = "1", path: str = "o", **limits: str) -> str:
    """A data object with versions; its URI."""
    items = {"cdmi_versioning": level, **{f"cdmi_versions_{name}": limit for name, limit in limits.items()}}
    made = client.send("PUT", f"{ROOT}{path}", DATAOBJECT, {"value": value, "metadata": items})
    assert made.status_code == 201, made.text
    return f"{ROOT}{path}"


def metadata(client: Client, uri: str, prefix: str = "cdmi_version") -> dict[str, Any]:
    query = f"metadata={prefix}" if prefix else "metadata"
    found = client.send("GET", f"{uri}?{query}", CONTAINER if uri.endswith("/") else DATAOBJECT)
    assert found.status_code == 200, found.text
    return dict(found.json["metadata"])


def own(client: Client, uri: str) -> dict[str, Any]:
    """The user's items."""
    return {name: value for name, value in metadata(client, uri, "").items() if not name.startswith("cdmi_")}


def chain(client: Client, uri: str) -> list[str]:
    """The URIs of the versions, the newest first; all that they say of each other is checked on the way."""
    told = metadata(client, uri)
    current, oldest = told["cdmi_version_current"], told["cdmi_version_oldest"]
    found: list[str] = []
    version: str | None = current
    while version is not None:
        shown = metadata(client, version)
        assert shown["cdmi_version_current"] == current
        assert shown["cdmi_version_oldest"] == oldest
        assert shown["cdmi_version_object"] == told["cdmi_version_object"]
        assert shown["cdmi_version_children"] == found[-1:]
        found.append(version)
        version = shown.get("cdmi_version_parent")
    assert oldest == found[-1:]
    return found


def values(client: Client, uri: str) -> list[str]:
    return [client.plain("GET", version).text for version in chain(client, uri)]


def patch(client: Client, uri: str, body: dict[str, Any], query: str = "", **headers: str) -> None:
    answer = client.send("PATCH", uri + query, DATAOBJECT, body, **headers)
    assert answer.status_code == 204, answer.text


def test_each_change_of_the_value_makes_the_one_before_history(client: Client) -> None:
    uri = make(client)
    told = metadata(client, uri)
    identity = client.send("GET", f"{uri}?objectID", DATAOBJECT).json["objectID"]
    first = told["cdmi_version_current"]
    assert told == {
        "cdmi_versioning": "value",
        "cdmi_versioning_provided": "value",
        "cdmi_version_object": f"{ROOT}cdmi_objectid/{identity}",
        "cdmi_version_current": first,
        "cdmi_version_oldest": [first],
    }
    assert values(client, uri) == ["1"]
    client.plain("PUT", uri, b"2", Content_Type="text/plain;charset=utf-8")
    patch(client, uri, {"value": "3"})
    client.plain("PATCH", uri, b"4", Content_Range="bytes 1-1/*")
    assert values(client, uri) == ["34", "3", "2", "1"]
    assert chain(client, uri)[-1] == first
    assert client.plain("GET", uri).text == "34"
    assert client.plain("GET", chain(client, uri)[0], Range="bytes=1-1").text == "4"


def test_a_version_is_shown_as_a_data_object_in_its_objects_place(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/", CONTAINER, {"metadata": {"cdmi_value_hash": "SHA256"}})
    uri = make(client, path="box/o")
    patch(client, uri, {"value": "second", "mimetype": "text/x"})
    version = chain(client, uri)[1]
    shown, whole = (client.send("GET", one, DATAOBJECT).json for one in (version, uri))
    same = ("objectType", "objectName", "parentURI", "parentID", "domainURI", "completionStatus")
    assert {name: shown[name] for name in same} == {name: whole[name] for name in same}
    assert shown["objectID"] == version.rpartition("/")[2]
    assert shown["objectID"] != whole["objectID"]
    assert shown["capabilitiesURI"] == f"{ROOT}cdmi_capabilities/dataobject/dataobject_version/"
    assert (shown["value"], shown["mimetype"], shown["valuerange"]) == ("1", "text/plain", "0-0")
    assert "cdmi_versioning" not in shown["metadata"]
    assert "cdmi_versioning_provided" not in shown["metadata"]
    assert (shown["metadata"]["cdmi_size"], len(shown["metadata"]["cdmi_hash"])) == ("1", 64)
    assert shown["metadata"]["cdmi_owner"] == whole["metadata"]["cdmi_owner"]
    old = client.send("GET", version.replace("2.0.0/", ""), DATAOBJECT).json
    assert old["metadata"]["cdmi_version_object"] == f"/cdmi/cdmi_objectid/{whole['objectID']}"
    assert client.send("GET", f"{ROOT}box/?children", CONTAINER).json["children"] == ["o"]
    for path in (f"{uri}/1", f"{uri}/None", f"{uri}/"):
        assert client.plain("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("change", "levels"),
    [
        (lambda client, uri: patch(client, uri, {"value": "1"}), LEVELS),
        (lambda client, uri: patch(client, uri, {"mimetype": "text/x"}), LEVELS),
        (lambda client, uri: patch(client, uri, {"valuetransferencoding": "base64"}), LEVELS),
        (lambda client, uri: patch(client, uri, {"metadata": {"a": "1"}}, "?metadata=a"), ("user", "all")),
        (lambda client, uri: patch(client, uri, {"vendor": 5}), ("user", "all")),
        (lambda client, uri: patch(client, uri, REDUNDANCY, "?metadata=cdmi_data_redundancy"), ("all",)),
        (lambda client, uri: patch(client, uri, {"metadata": {}}, "?metadata=a"), ("all",)),
        (lambda client, uri: client.plain("GET", uri), ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("level", LEVELS)
def test_what_makes_a_version_is_as_was_asked(
    client: Client, level: str, change: Callable[[Client, str], object], levels: tuple[str, ...]
) -> None:
    uri = make(client, level)
    change(client, uri)
    assert len(chain(client, uri)) == (2 if level in levels else 1)


@pytest.mark.parametrize("level", LEVELS)
def test_a_move_is_an_update_of_everything_that_is_versioned(client: Client, level: str) -> None:
    uri = make(client, level)
    patch(client, uri, {"value": "2"})
    versions = chain(client, uri)
    assert client.send("PUT", f"{ROOT}moved", DATAOBJECT, {"move": "/o"}).status_code == 201
    found = chain(client, f"{ROOT}moved")
    assert found[-2:] == versions
    assert len(found) == (3 if level == "all" else 2)
    assert client.send("GET", found[-1], DATAOBJECT).json["objectName"] == "moved"
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/again", DATAOBJECT, {"move": "/moved"})
    client.send("PUT", f"{ROOT}tub/", CONTAINER, {"move": "/box/"})
    assert values(client, f"{ROOT}tub/again")[-2:] == ["2", "1"]


def test_what_is_being_written_makes_a_version_when_it_is_whole(client: Client) -> None:
    uri = make(client)
    for number in range(3):
        patch(client, uri, {"value": f"part {number}"}, X_CDMI_Partial="true")
    version = client.send("GET", f"{uri}?metadata=cdmi_version_current", DATAOBJECT)
    assert version.status_code == 202
    assert client.plain("GET", version.json["metadata"]["cdmi_version_current"]).text == "1"
    patch(client, uri, {"value": "whole"})
    assert values(client, uri) == ["whole", "1"]
    items = {"metadata": {"cdmi_versioning": "value"}}
    new = client.send("PUT", f"{ROOT}n", DATAOBJECT, {"value": "x", **items}, X_CDMI_Partial="true")
    assert "cdmi_version_current" not in new.json["metadata"]
    for part in ("0-0", "1-1"):
        client.plain("PATCH", f"{ROOT}n", b"y", Content_Range=f"bytes {part}/*", X_CDMI_Partial="true")
    client.plain("PATCH", f"{ROOT}n", b"z", Content_Range="bytes 2-2/*")
    assert values(client, f"{ROOT}n") == ["yyz"]


@pytest.mark.parametrize("which", [0, 1])
def test_nothing_changes_a_version(client: Client, which: int) -> None:
    uri = make(client)
    patch(client, uri, {"value": "2"})
    version = chain(client, uri)[which]
    path = version.removeprefix("/cdmi/2.0.0")
    before = client.send("GET", version, DATAOBJECT).json
    for refused in (
        client.send("PATCH", version, DATAOBJECT, {"value": "x"}),
        client.send("PATCH", version, DATAOBJECT, {"metadata": {"a": "1"}}),
        client.send("PATCH", f"{version}?value=0-0", DATAOBJECT, {"value": "eA=="}),
        client.send("PUT", version, DATAOBJECT, {"value": "x"}),
        client.send("PUT", version, DATAOBJECT, {"copy": "/o"}),
        client.send("PUT", version, DATAOBJECT, {"deserializevalue": ""}),
        client.send("PUT", version.replace("2.0.0/", ""), DATAOBJECT, {"value": "x"}),
        client.plain("PUT", version, b"x"),
        client.plain("PATCH", version, b"x", Content_Range="bytes 0-0/*"),
        client.send("PUT", version, DATAOBJECT, b"x", Content_Type="multipart/mixed; boundary=e"),
        client.send("PUT", f"{ROOT}n", DATAOBJECT, {"move": path}),
        client.send("POST", f"{ROOT}cdmi_objectid/", DATAOBJECT, {"move": path}),
        client.send("PUT", f"{ROOT}n", DATAOBJECT, {"serialize": path}),
    ):
        assert refused.status_code == 403, refused.text
    assert client.send("GET", version, DATAOBJECT).json == before
    assert len(chain(client, uri)) == 2


def test_a_version_comes_back_by_a_copy_onto_its_object(client: Client) -> None:
    uri = make(client, "user")
    patch(client, uri, {"metadata": {"a": "old"}, "value": "old"}, "?metadata=a&value")
    patch(client, uri, {"metadata": {"a": "new"}, "value": "new", "mimetype": "x/y"}, "?metadata=a&value")
    old = chain(client, uri)[1]
    answer = client.send("PATCH", uri, DATAOBJECT, {"copy": old.removeprefix("/cdmi/2.0.0")})
    assert answer.status_code == 204, answer.text
    assert values(client, uri) == ["old", "new", "old", "1"]
    assert (own(client, uri), metadata(client, uri)["cdmi_versioning"]) == ({"a": "old"}, "user")
    assert client.send("GET", uri, DATAOBJECT).json["mimetype"] == "text/plain"
    only = client.send("PUT", uri, DATAOBJECT, {"copy": f"{old}?value"})
    assert only.status_code == 201, only.text
    assert client.plain("GET", uri).text == "old"
    made = client.send("PUT", f"{ROOT}n", DATAOBJECT, {"copy": old})
    assert (made.status_code, made.json["metadata"]["a"]) == (201, "old")
    assert not metadata(client, f"{ROOT}n")


def test_a_copy_has_versions_of_its_own(client: Client) -> None:
    uri = make(client)
    patch(client, uri, {"value": "2"})
    made = client.send("PUT", f"{ROOT}n", DATAOBJECT, {"copy": "/o"})
    assert made.json["metadata"]["cdmi_version_current"] == chain(client, f"{ROOT}n")[0]
    assert values(client, f"{ROOT}n") == ["2"]
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"copy": "/o"})
    client.send("PUT", f"{ROOT}tub/", CONTAINER, {"copy": "/box/"})
    assert values(client, f"{ROOT}tub/o") == ["2"]
    assert set(chain(client, f"{ROOT}tub/o")).isdisjoint(chain(client, f"{ROOT}box/o"))


def test_snapshots_have_no_versions_and_bring_none_back(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/", CONTAINER, {"metadata": {"cdmi_versioning": "value"}})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "1"})
    patch(client, f"{ROOT}box/o", {"value": "2"})
    client.send("PATCH", f"{ROOT}box/", CONTAINER, {"snapshot": "s"})
    assert metadata(client, f"{ROOT}box/cdmi_snapshots/s/o") == {}
    assert metadata(client, f"{ROOT}box/cdmi_snapshots/s/") == {"cdmi_versioning": "value"}
    patch(client, f"{ROOT}box/o", {"value": "3"})
    assert client.send("PATCH", f"{ROOT}box/", CONTAINER, {"copy": "/box/cdmi_snapshots/s/"}).status_code == 204
    assert values(client, f"{ROOT}box/o") == ["2"]


def test_with_an_object_go_its_versions_and_their_files(client: Client, sql: Connection, mine: UUID) -> None:
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    uri = make(client, path="box/o")
    for number in range(3):
        client.plain("PUT", uri, LARGE + bytes([number]))
    versions = chain(client, uri)
    assert len(client.files()) == 3
    assert client.plain("GET", versions[1]).content == LARGE + b"\1"
    assert client.send("DELETE", f"{ROOT}box/", CONTAINER).status_code == 204
    assert client.files() == []
    assert {client.plain("GET", version).status_code for version in versions} == {404}
    left = sql.execute("SELECT count(*) FROM stored_object WHERE project_id = %s", [mine]).fetchone()
    assert left == (2,)  # the root and disks


def test_a_version_that_is_deleted_leaves_the_others_in_line(client: Client) -> None:
    uri = make(client)
    for value in "2345":
        patch(client, uri, {"value": value})
    fifth, fourth, third, second, first = chain(client, uri)
    for gone, left in (
        (third, [fifth, fourth, second, first]),
        (first, [fifth, fourth, second]),
        (second, [fifth, fourth]),
    ):
        assert client.send("DELETE", gone, DATAOBJECT).status_code == 204
        assert client.send("GET", gone, DATAOBJECT).status_code == 404
        assert chain(client, uri) == left
    assert client.plain("GET", uri).text == "5"


@pytest.mark.parametrize("level", LEVELS)
def test_without_its_current_version_an_object_is_what_it_was_before(client: Client, level: str) -> None:
    uri = make(client, level)
    patch(client, uri, {"metadata": {"a": "old"}, "value": "old", "vendor": "old"}, "?metadata=a&value&vendor")
    new = {"metadata": {"a": "new"}, "value": "new", "mimetype": "x/y", "vendor": "new"}
    patch(client, uri, new, "?metadata=a&value&vendor&mimetype")
    current, before, _ = chain(client, uri)
    count = int(metadata(client, uri, "cdmi_mcount")["cdmi_mcount"])
    assert client.send("DELETE", current, DATAOBJECT).status_code == 204
    assert chain(client, uri)[0] == before
    shown = client.send("GET", uri, DATAOBJECT).json
    assert (shown["value"], shown["mimetype"]) == ("old", "text/plain")
    kept = "new" if level == "value" else "old"
    assert (own(client, uri), shown["vendor"]) == ({"a": kept}, kept)
    assert shown["metadata"]["cdmi_versioning"] == level
    assert int(shown["metadata"]["cdmi_mcount"]) > count
    client.send("DELETE", before, DATAOBJECT)
    only = chain(client, uri)
    refused = client.plain("DELETE", only[0])
    assert (refused.status_code, "only version" in refused.text) == (403, True)
    patch(client, uri, {"value": "next"})
    assert values(client, uri) == ["next", "1"]


def test_versions_stay_when_no_more_are_asked_for(client: Client) -> None:
    uri = make(client, count="5")
    patch(client, uri, {"value": "2"})
    versions = chain(client, uri)
    patch(client, uri, {"metadata": {}}, "?metadata=cdmi_versioning&metadata=cdmi_versions_count")
    patch(client, uri, {"value": "3"})
    assert chain(client, uri) == versions
    assert set(metadata(client, uri)) == {
        "cdmi_version_object", "cdmi_version_current", "cdmi_version_oldest",
    }  # fmt: skip
    assert client.send("DELETE", versions[0], DATAOBJECT).status_code == 204
    assert (values(client, uri), client.plain("GET", uri).text) == (["1"], "3")
    patch(client, uri, {"metadata": {"cdmi_versioning": "value"}}, "?metadata=cdmi_versioning")
    assert values(client, uri) == ["3", "1"]
    patch(client, uri, {"metadata": {"cdmi_versioning": ""}}, "?metadata=cdmi_versioning")
    patch(client, uri, {"metadata": {"cdmi_versioning": "value"}}, "?metadata=cdmi_versioning")
    assert values(client, uri) == ["3", "3", "1"]


def test_a_container_asks_for_all_that_is_in_it(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/in/", CONTAINER, {})
    for name in ("a", "b", "in/c"):
        client.send("PUT", f"{ROOT}box/{name}", DATAOBJECT, {"value": name})
    client.send("PUT", f"{ROOT}box/not", DATAOBJECT, {"value": "n", "metadata": {"cdmi_versioning": ""}})
    client.send("PUT", f"{ROOT}box/q", QUEUE, {})
    asked = {"cdmi_versioning": "value", "cdmi_versions_count": "1"}
    assert client.send("PATCH", f"{ROOT}box/", CONTAINER, {"metadata": asked}).status_code == 204
    provided = {f"{name}_provided": value for name, value in asked.items()}
    assert metadata(client, f"{ROOT}box/") == {**asked, **provided}
    for name in ("a", "in/c"):
        shown = metadata(client, f"{ROOT}box/{name}")
        assert {item: shown.get(item) for item in (*asked, *provided)} == {**dict.fromkeys(asked), **provided}
        patch(client, f"{ROOT}box/{name}", {"value": "2"})
        patch(client, f"{ROOT}box/{name}", {"value": "3"})
        assert values(client, f"{ROOT}box/{name}") == ["3", "2"]
    patch(client, f"{ROOT}box/not", {"value": "2"})
    assert metadata(client, f"{ROOT}box/not") == {"cdmi_versioning": ""}
    client.plain("PUT", f"{ROOT}box/new", b"x")
    client.send("PUT", f"{ROOT}outside", DATAOBJECT, {"value": "o"})
    client.send("PUT", f"{ROOT}box/moved", DATAOBJECT, {"move": "/outside"})
    posted = client.send("POST", f"{ROOT}box/", DATAOBJECT, {"value": "p"})
    for name in ("new", "moved", posted.json["objectName"]):
        assert len(chain(client, f"{ROOT}box/{name}")) == 1
    client.send("PATCH", f"{ROOT}box/", CONTAINER, {"metadata": {}})
    patch(client, f"{ROOT}box/a", {"value": "4"})
    assert values(client, f"{ROOT}box/a") == ["3", "2"]


def test_what_slipped_in_while_a_container_began_to_ask_is_kept_with_its_next_change(
    client: Client, sql: Connection
) -> None:
    made = client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "1"})
    asked = "UPDATE stored_object SET metadata = jsonb_build_object('cdmi_versioning', 'value') WHERE id = %s"
    sql.execute(asked, [UUID(made.json["objectID"][16:])])
    assert metadata(client, f"{ROOT}box/o") == {}
    patch(client, f"{ROOT}box/o", {"value": "2"})
    assert values(client, f"{ROOT}box/o") == ["2", "1"]


def test_only_so_many_versions_are_kept_as_was_asked(client: Client) -> None:
    uri = make(client, count="2")
    for value in "2345":
        patch(client, uri, {"value": value})
    assert metadata(client, uri)["cdmi_versions_count_provided"] == "2"
    assert values(client, uri) == ["5", "4", "3"]
    patch(client, uri, {"metadata": {"cdmi_versions_count": "0"}}, "?metadata=cdmi_versions_count")
    assert values(client, uri) == ["5"]
    patch(client, uri, {"value": "6"})
    assert values(client, uri) == ["6"]


def test_only_so_many_bytes_of_versions_are_kept_as_was_asked(client: Client) -> None:
    uri = make(client, value="1" * 100, size="250")
    for value in "234":
        patch(client, uri, {"value": value * 100})
    assert [value[0] for value in values(client, uri)] == ["4", "3", "2"]
    patch(client, uri, {"value": "5" * 1000})
    patch(client, uri, {"value": "6"})
    assert values(client, uri) == ["6"]


def test_versions_go_when_they_are_too_old(client: Client, database: Database, sql: Connection) -> None:
    client.send("PUT", f"{ROOT}q", QUEUE, listening("cdmi_delete"))
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    uri = make(client, path="box/o", age="1000")
    for value in ("2", LARGE.hex(), "4"):
        patch(client, uri, {"value": value})
    assert metadata(client, uri)["cdmi_versions_age_provided"] == "1000"

    def expire() -> None:
        expire_versions(database, Values(client.folder), Presentation(Site(), Version.V2))

    def age(seconds: int) -> None:
        sql.execute(
            "UPDATE stored_object SET created_at = created_at - make_interval(secs => %s),"
            " expires_at = expires_at - make_interval(secs => %s) WHERE version < 4",
            [seconds, seconds],
        )

    expire()
    assert len(chain(client, uri)) == 4
    age(900)
    expire()
    assert len(chain(client, uri)) == 4
    patch(client, uri, {"metadata": {"cdmi_versions_age": "800"}}, "?metadata=cdmi_versions_age")
    assert values(client, uri) == ["4"]
    assert client.files() == []
    patch(client, uri, {"value": "5"})
    sql.execute("UPDATE stored_object SET expires_at = clock_timestamp() WHERE version IS NOT NULL")
    expire()
    assert values(client, uri) == ["5"]
    told = client.send("GET", f"{ROOT}q?value&values=9", QUEUE).json["value"]
    assert [(one["cdmi_event"], one["cdmi_event_user"]) for one in told][-1] == ("cdmi_delete", "")
    assert len(told) == 4


def test_versions_are_retained_and_held_as_their_object_is(client: Client, database: Database, sql: Connection) -> None:
    uri = make(client, "all", count="1", age="1")
    patch(client, uri, {"value": "2"})
    patch(client, uri, {"metadata": {"cdmi_hold_id": ["case"]}}, "?metadata=cdmi_hold_id")
    versions = chain(client, uri)
    assert len(versions) == 3
    shown = metadata(client, versions[1], "cdmi_hold")
    assert shown == {"cdmi_hold_id_provided": ["case"]}
    for version in versions:
        refused = client.send("DELETE", version, DATAOBJECT)
        assert (refused.status_code, "case" in refused.text) == (403, True)
    sql.execute("UPDATE stored_object SET expires_at = clock_timestamp() WHERE version IS NOT NULL")
    expire_versions(database, Values(client.folder), Presentation(Site(), Version.V2))
    assert chain(client, uri) == versions


def test_the_list_of_the_object_decides_about_its_versions(
    client: Client, database: Database, sql: Connection, mine: UUID, tmp_path: Path
) -> None:
    other = Client(database, member(sql, mine), tmp_path)
    uri = make(client)
    patch(client, uri, {"value": "2"})
    current, first = chain(client, uri)
    assert other.plain("GET", first).text == "1"

    def allow(mask: int) -> None:
        entries = [("OWNER@", 0x1F07FF), ("EVERYONE@", mask)]
        acl = [
            {"acetype": "ALLOW", "identifier": who, "aceflags": "0x0", "acemask": hex(bits)} for who, bits in entries
        ]
        patch(client, uri, {"metadata": {"cdmi_acl": acl}}, "?metadata=cdmi_acl")

    allow(0x8)
    assert (other.plain("GET", first).status_code, other.plain("DELETE", first).status_code) == (403, 403)
    assert metadata(client, first, "cdmi_acl") == metadata(client, uri, "cdmi_acl")
    copied = client.send("PUT", f"{ROOT}n", DATAOBJECT, {"copy": first})
    assert copied.json["metadata"]["cdmi_acl"] == metadata(client, uri, "cdmi_acl")["cdmi_acl"]
    allow(0x1000B)
    assert other.plain("DELETE", first).status_code == 204
    allow(0x10009)
    patch(client, uri, {"value": "3"})
    refused = other.plain("DELETE", chain(client, uri)[0])  # it would write the object
    assert (refused.status_code, client.plain("GET", uri).text) == (403, "3")
    stranger = Client(database, member(sql, project(sql, f"theirs {uuid4()}")), tmp_path)
    for method in ("GET", "DELETE", "PUT"):
        assert stranger.plain(method, current).status_code == 404


def listening(*events: str) -> dict[str, Any]:
    told = ("cdmi_event", "cdmi_event_user", "objectID")
    return {
        "metadata": {
            "cdmi_queue_type": "cdmi_notification_queue",
            "cdmi_notification_events": list(events),
            "cdmi_scope_specification": [],
            "cdmi_results_specification": {
                **dict.fromkeys(told, ""),
                "metadata": {"cdmi_version_parent": ""},
            },
        }
    }


def test_queues_are_told_of_versions(client: Client) -> None:
    client.send("PUT", f"{ROOT}q", QUEUE, listening())
    uri = make(client, count="1")
    identity = client.send("GET", f"{uri}?objectID", DATAOBJECT).json["objectID"]
    (first,) = (version.rpartition("/")[2] for version in chain(client, uri))
    client.send("DELETE", f"{ROOT}q?values=1000", QUEUE)
    patch(client, uri, {"value": "2"})
    second = metadata(client, uri)["cdmi_version_current"]
    client.plain("GET", second)
    patch(client, uri, {"value": "3"})
    third = metadata(client, uri)["cdmi_version_current"]
    client.plain("DELETE", third)
    client.plain("DELETE", uri)
    told = client.send("GET", f"{ROOT}q?value&values=1000", QUEUE).json["value"]
    second, third = (version.rpartition("/")[2] for version in (second, third))
    found = [(one["cdmi_event"].removeprefix("cdmi_"), one["objectID"]) for one in told]
    found = [one for one in found if one != ("read", identity)]
    assert found == [
        ("create_complete", second),
        ("modify_complete", identity),
        ("read", second),
        ("delete", first),
        ("create_complete", third),
        ("modify_complete", identity),
        ("delete", third),
        ("modify_complete", identity),
        ("delete", identity),
        ("delete", second),
    ]
    created = next(one for one in told if one["objectID"] == third)
    assert created["metadata"]["cdmi_version_parent"].endswith(second)


@pytest.mark.parametrize(
    ("items", "names"),
    [
        ({"cdmi_version_children": "*"}, ["b", "b", "c"]),
        ({"cdmi_versioning": "*"}, ["b"]),
        ({"cdmi_version_current": "!*", "cdmi_size": "*"}, ["a"]),
        ({"cdmi_versioning": "!*", "cdmi_version_current": "*", "cdmi_version_children": "!*"}, ["c"]),
    ],
)
def test_queries_find_versions_and_what_has_some(client: Client, items: dict[str, str], names: list[str]) -> None:
    client.send("PUT", f"{ROOT}a", DATAOBJECT, {"value": "x"})
    patch(client, make(client, path="b"), {"value": "2"})
    patch(client, make(client, path="c"), {"metadata": {}})
    body = {
        "cdmi_queue_type": "cdmi_query_queue",
        "cdmi_scope_specification": [{"metadata": items}],
        "cdmi_results_specification": {"objectName": ""},
    }
    client.send("PUT", f"{ROOT}q", QUEUE, {"metadata": body})
    client.run_queries()
    found = client.send("GET", f"{ROOT}q?value&values=99", QUEUE).json["value"]
    assert sorted(one["objectName"] for one in found) == names


def test_bytes_of_old_versions_count_and_those_of_the_current_one_not_again(
    client: Client, sql: Connection, mine: UUID
) -> None:
    quotas.set_limit(sql, mine, "object_bytes", 1000)
    quotas.set_limit(sql, mine, "objects", 100)

    def used() -> dict[str, int]:
        return {one.resource.name: one.used for one in quotas.use(sql, mine)}

    def check(*expected: int) -> None:
        counted = used()
        assert (counted["object_bytes"], counted["objects"]) == expected
        for name in ("object_bytes", "objects"):
            limits = {"object_bytes": 1000, "objects": 100}
            quotas.set_limit(sql, mine, name, None)
            quotas.set_limit(sql, mine, name, limits[name])
        assert used() == counted

    uri = make(client, value="x" * 300)
    check(300, 2)
    patch(client, uri, {"value": "y" * 400})
    check(700, 3)
    refused = client.send("PATCH", uri, DATAOBJECT, {"value": "z" * 301})
    assert refused.status_code == 507
    assert [value[0] for value in values(client, uri)] == ["y", "x"]
    patch(client, uri, {"value": "z" * 300}, X_CDMI_Partial="true")
    check(1000, 3)
    patch(client, uri, {"value": "z"})
    check(701, 4)
    client.plain("DELETE", chain(client, uri)[0])
    check(700, 3)
    client.plain("DELETE", chain(client, uri)[1])
    check(400, 2)
    patch(client, uri, {"metadata": {}})
    patch(client, uri, {"value": "w" * 100})
    check(500, 2)
    client.plain("DELETE", uri)
    check(0, 0)


def test_a_large_value_refused_for_its_versions_leaves_no_file(client: Client, sql: Connection, mine: UUID) -> None:
    uri = make(client)
    client.plain("PUT", uri, LARGE)
    quotas.set_limit(sql, mine, "object_bytes", len(LARGE) + 1000)
    assert client.plain("PUT", uri, LARGE).status_code == 507
    assert (len(client.files()), len(chain(client, uri))) == (1, 2)


def test_serialized_with_its_versions_an_object_comes_back_with_them(client: Client) -> None:
    uri = make(client, "user")
    second = {"value": "aGk=", "valuetransferencoding": "base64", "metadata": {"a": "1"}}
    patch(client, uri, second, "?metadata=a&value&valuetransferencoding")
    patch(client, uri, {"value": "third", "valuetransferencoding": "utf-8", "mimetype": "x/y"})
    before = [client.send("GET", version, DATAOBJECT).json for version in chain(client, uri)]
    assert client.send("PUT", f"{ROOT}saved", DATAOBJECT, {"serialize": "/o"}).status_code == 201
    saved = client.plain("GET", f"{ROOT}saved").json
    assert [one["objectID"] for one in saved["value"]] == [one["objectID"] for one in before]
    assert [one["value"] for one in saved["value"]] == ["third", "aGk=", "1"]
    assert client.send("DELETE", uri, DATAOBJECT).status_code == 204
    made = client.send("PUT", uri, DATAOBJECT, {"deserialize": "/saved"})
    assert (made.status_code, made.json["objectID"]) == (201, saved["objectID"])
    after = [client.send("GET", version, DATAOBJECT).json for version in chain(client, uri)]
    for old, new in zip(before, after, strict=True):
        for one in (old, new):
            for item in ("cdmi_ctime", "cdmi_mtime"):
                one["metadata"].pop(item)
        assert new == old
    assert client.send("GET", uri, DATAOBJECT).json["value"] == "third"
    patch(client, uri, {"value": "4th"})
    assert len(chain(client, uri)) == 4
    one = base64.b64encode(json.dumps(saved["value"][1]).encode()).decode()
    assert client.send("PUT", f"{ROOT}n", DATAOBJECT, {"deserializevalue": one}).status_code == 403
    for wrong in ([], [5], ["x"], [{**saved["value"][0], "value": 5}]):
        text = base64.b64encode(json.dumps({**saved, "value": wrong}).encode()).decode()
        assert client.send("PUT", f"{ROOT}n", DATAOBJECT, {"deserializevalue": text}).status_code == 400


def test_what_comes_back_is_limited_as_ever(client: Client, sql: Connection, mine: UUID) -> None:
    uri = make(client, age="1000", count="2")
    for value in "23":
        patch(client, uri, {"value": value})
    saved = client.send("PUT", f"{ROOT}saved", DATAOBJECT, {"serialize": "/o"})
    text = client.plain("GET", f"{ROOT}saved").json
    for limits, left in (({}, 3), ({"cdmi_versions_count": "1"}, 2)):
        assert client.send("DELETE", uri, DATAOBJECT).status_code == 204
        text["metadata"] |= limits
        again = base64.b64encode(json.dumps(text).encode()).decode()
        assert client.send("PUT", uri, DATAOBJECT, {"deserializevalue": again}).status_code == 201
        assert len(chain(client, uri)) == left
        expiring = "SELECT count(*) FROM stored_object WHERE project_id = %s AND expires_at > clock_timestamp()"
        assert sql.execute(expiring, [mine]).fetchone() == (left,)
    assert saved.status_code == 201


def test_what_no_version_holds_is_serialized_too(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    uri = make(client, path="box/o")
    client.plain("PUT", uri, LARGE)
    patch(client, uri, {"metadata": {"a": "1"}})
    patch(client, uri, {"value": "own", "valuetransferencoding": "utf-8"})
    client.send("PUT", f"{ROOT}saved", DATAOBJECT, {"serialize": "/box/"})
    assert client.send("PUT", f"{ROOT}back/", CONTAINER, {"deserialize": "/saved"}).status_code == 201
    back = f"{ROOT}back/o"
    assert (client.plain("GET", back).text, own(client, back)) == ("own", {"a": "1"})
    assert [client.plain("GET", version).content for version in chain(client, back)] == [LARGE, b"1"]


def test_of_writers_at_once_each_makes_one_version(client: Client) -> None:
    uri = make(client)
    bodies = [f"{number}" * (100_000 if number % 2 else 1) for number in range(10, 26)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda body: client.plain("PUT", uri, body.encode()), bodies))
    assert {answer.status_code for answer in answers} == {204}
    found = values(client, uri)
    assert sorted(found) == sorted([*bodies, "1"])
    assert client.plain("GET", uri).text == found[0]


def test_changes_and_deletions_at_once_leave_one_line(client: Client) -> None:
    uri = make(client, count="3")

    def change(number: int) -> int:
        if number % 3 == 0:
            version = client.send("GET", f"{uri}?metadata=cdmi_version_current", DATAOBJECT).json["metadata"]
            return client.plain("DELETE", version["cdmi_version_current"]).status_code
        if number % 3 == 1:
            oldest = client.send("GET", f"{uri}?metadata=cdmi_version_oldest", DATAOBJECT).json["metadata"]
            return client.send("PATCH", uri, DATAOBJECT, {"copy": oldest["cdmi_version_oldest"][0]}).status_code
        return client.plain("PUT", uri, f"{number}".encode()).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = set(threads.map(change, range(60)))
    assert statuses <= {204, 400, 403, 404}
    found = values(client, uri)
    assert len(found) <= 4
    assert client.plain("GET", uri).text == found[0]


def test_disks_have_no_versions(client: Client) -> None:
    size = {"cdmi_assignedsize": "1048576"}
    body = {"metadata": {**size, "cdmi_versioning": "value"}}
    refused = client.send("PUT", f"{ROOT}disks/d/", CONTAINER, body)
    assert (refused.status_code, "cdmi_versioning" in refused.text) == (400, True)
    client.send("PATCH", f"{ROOT}?metadata=cdmi_versioning", CONTAINER, {"metadata": {"cdmi_versioning": "all"}})
    assert "cdmi_versioning_provided" in metadata(client, ROOT)
    assert metadata(client, f"{ROOT}disks/") == {}
    assert client.send("PUT", f"{ROOT}disks/d/", CONTAINER, {"metadata": size}).status_code == 202
    found = client.send("GET", f"{ROOT}disks/d/?metadata", CONTAINER).json["metadata"]
    assert not [name for name in found if "version" in name]
    nodes = client.send("GET", f"{ROOT}cdmi_capabilities/container/disk/", CAPABILITY).json["capabilities"]
    assert not [name for name in nodes if "version" in name]


@dataclass
class Model:
    """What the versions of one data object should be: the newest last, each with a number and what it holds."""

    level: str = "value"
    most: int | None = None
    value: str = "0"
    colour: str = ""
    versions: list[tuple[int, str, str]] = field(default_factory=list)
    made: int = 0

    def settle(self, *, valued: bool = False, enabled: bool = False, updated: bool = True) -> None:
        if not self.level:
            return
        last = self.versions[-1] if self.versions else None
        is_due = last is None or valued or enabled or self.shown_by is not last[0]
        is_due = is_due or (self.level != "value" and last is not None and last[2] != self.colour)
        if is_due or (self.level == "all" and updated):
            self.made += 1
            self.versions.append((self.made, self.value, self.colour))
            self.shown_by = self.made
        if self.most is not None:
            del self.versions[: max(len(self.versions) - 1 - self.most, 0)]

    shown_by: int | None = None
    """The number of the version whose value the object has."""

    def write(self, value: str) -> None:
        self.value, self.shown_by = value, None
        self.settle()

    def paint(self, colour: str) -> None:
        self.colour = colour
        self.settle()

    def ask(self, level: str) -> None:
        was, self.level = self.level, level
        self.settle(enabled=not was)

    def limit(self, most: int) -> None:
        self.most = most
        self.settle()

    def delete(self, place: int) -> bool:
        """False: it may not."""
        if place < len(self.versions) - 1:
            del self.versions[place]
            return True
        if len(self.versions) == 1:
            return False
        gone = self.versions.pop()
        number, value, colour = self.versions[-1]
        if self.level and self.shown_by == gone[0]:
            self.value, self.shown_by = value, number
            self.colour = self.colour if self.level == "value" else colour
        elif self.shown_by == gone[0]:
            self.shown_by = None
        return True


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abcdef")),
        st.tuples(st.just("paint"), st.sampled_from(["red", "green"])),
        st.tuples(st.just("ask"), st.sampled_from(["", *LEVELS])),
        st.tuples(st.just("limit"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("restore"), st.integers(0, 5)),
    ),
    max_size=14,
)


@settings(max_examples=40)
@given(level=st.sampled_from(LEVELS), steps=STEPS)
def test_whatever_is_done_the_versions_are_those_of_the_model(
    database: Database, tmp_path_factory: pytest.TempPathFactory, level: str, steps: list[tuple[str, Any]]
) -> None:
    with database.connection() as sql:
        client = Client(database, member(sql, project(sql, f"mine {uuid4()}")), tmp_path_factory.mktemp("values"))
    model = Model(level)
    model.settle()
    uri = make(client, level, "0")
    known = {model.made: chain(client, uri)[0]}
    for step, given_ in steps:
        if step == "write":
            model.write(given_)
            assert client.plain("PUT", uri, given_.encode(), Content_Type="text/plain;charset=utf-8").status_code == 204
        elif step == "paint":
            model.paint(given_)
            patch(client, uri, {"metadata": {"colour": given_}}, "?metadata=colour")
        elif step == "ask":
            model.ask(given_)
            patch(client, uri, {"metadata": {"cdmi_versioning": given_}}, "?metadata=cdmi_versioning")
        elif step == "limit":
            model.limit(given_)
            patch(client, uri, {"metadata": {"cdmi_versions_count": str(given_)}}, "?metadata=cdmi_versions_count")
        else:
            place = given_ % len(model.versions)
            version = known[model.versions[place][0]]
            if step == "delete":
                allowed = model.delete(place)
                assert client.plain("DELETE", version).status_code == (204 if allowed else 403)
            else:
                _, value, colour = model.versions[place]
                model.colour = colour
                model.write(value)
                assert client.send("PATCH", uri, DATAOBJECT, {"copy": version}).status_code == 204
        found = chain(client, uri)[::-1]
        known.update({number: version for (number, _, _), version in zip(model.versions, found, strict=True)})
        assert found == [known[number] for number, _, _ in model.versions]
        assert [client.plain("GET", version).text for version in found] == [value for _, value, _ in model.versions]
        assert [own(client, version).get("colour", "") for version in found] == [one[2] for one in model.versions]
        assert (client.plain("GET", uri).text, own(client, uri).get("colour", "")) == (model.value, model.colour)
