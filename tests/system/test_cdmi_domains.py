"""The project as a domain: what it is, has and may have, and who is in it; nothing of anybody else's."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from cdmi_client import CAPABILITY, CONTAINER, DATAOBJECT, DOMAIN, QUEUE, Client

from backends import accounts, quotas
from backends.model import Caller, Role
from backends.store.database import Connection, Database
from tests.conftest import project


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


def member(sql: Connection, name: str, project_name: str) -> Caller:
    accounts.add_user(sql, name, "a password", project_name, Role.USER)
    found = accounts.verify(sql, name, "a password")
    assert found is not None
    return found


@pytest.fixture
def me(sql: Connection) -> Caller:
    unique = uuid4().hex[:8]
    return member(sql, f"alice-{unique}", f"physics-{unique}")


@pytest.fixture
def client(database: Database, me: Caller, tmp_path: Path) -> Client:
    return Client(database, me, tmp_path)


@pytest.mark.parametrize("root", ["/cdmi/", "/cdmi/2.0.0/"])
def test_everything_belongs_to_the_projects_domain(client: Client, me: Caller, root: str) -> None:
    domain = f"{root}cdmi_domains/{me.project_name}/"
    client.send("PUT", f"{root}box/", CONTAINER, {})
    client.send("PUT", f"{root}box/o", DATAOBJECT, {"value": "x", "domainURI": domain})
    client.send("PUT", f"{root}box/q", QUEUE, {"domainURI": f"/cdmi_domains/{me.project_name}/"})
    client.send("PUT", f"{root}disks/d/", CONTAINER, {"metadata": {"cdmi_assignedsize": "1048576"}})
    for path, kind in {
        "": CONTAINER, "box/": CONTAINER, "box/o": DATAOBJECT, "box/q": QUEUE, "disks/": CONTAINER,
        "disks/d/": CONTAINER, f"cdmi_domains/{me.project_name}/": DOMAIN, "cdmi_domains/": CONTAINER,
    }.items():  # fmt: skip
        assert client.send("GET", root + path, kind).json["domainURI"] == domain, path
    assert "domainURI" not in client.send("GET", f"{root}cdmi_capabilities/", CAPABILITY).json


def test_a_domain_and_all_in_it_can_be_read_by_path_and_by_id(client: Client, me: Caller) -> None:
    above = client.send("GET", "/cdmi/", CONTAINER).json
    seen = []
    paths = ["/cdmi/cdmi_domains/"]
    while paths:
        path = paths.pop()
        kind = DOMAIN if path.count("/") == 4 else CONTAINER if path.endswith("/") else DATAOBJECT
        read = client.send("GET", path, kind)
        assert read.headers["Content-Type"] == kind
        fields = read.json
        assert fields["parentURI"] + fields["objectName"] == path
        parent_kind = DOMAIN if fields["parentURI"].count("/") == 4 else CONTAINER
        assert fields["parentID"] == client.send("GET", fields["parentURI"], parent_kind).json["objectID"]
        by_id = client.send("GET", f"/cdmi/cdmi_objectid/{fields['objectID']}", kind).json
        by_id.pop("value", None)
        fields.pop("value", None)
        assert by_id == fields
        seen.append(path.removeprefix("/cdmi/cdmi_domains/"))
        for child in fields.get("children", []):
            paths.append(path + child)
            through = client.send("GET", f"/cdmi/cdmi_objectid/{fields['objectID']}/{child}", "*/*")
            assert through.json["objectName"] == child
    domain = f"{me.project_name}/"
    assert set(seen) == {
        "",
        domain,
        f"{domain}cdmi_domain_summary/",
        f"{domain}cdmi_domain_summary/cumulative",
        f"{domain}cdmi_domain_members/",
        f"{domain}cdmi_domain_members/{me.user_name}",
    }
    assert above["objectID"] == client.send("GET", "/cdmi/cdmi_domains/", CONTAINER).json["parentID"]
    assert client.send("GET", f"/cdmi/cdmi_domains/{me.project_name}", DOMAIN).status_code == 301
    assert client.send("GET", "/cdmi/cdmi_domains", CONTAINER).status_code == 301


def test_the_summary_says_what_the_project_has_and_may_have(client: Client, me: Caller, sql: Connection) -> None:
    client.plain("PUT", "/cdmi/o", b"12345")
    quotas.set_limit(sql, me.project_id, "object_bytes", 100)
    path = f"/cdmi/cdmi_domains/{me.project_name}/cdmi_domain_summary/cumulative"
    summary = json.loads(client.send("GET", path, DATAOBJECT).json["value"])
    assert summary["cdmi_domainURI"] == f"/cdmi/cdmi_domains/{me.project_name}/"
    assert summary["cdmi_summary_start"] < summary["cdmi_summary_end"]
    assert summary["altostratus_use"]["object_bytes"] == {"used": "5", "limit": "100"}
    assert summary["altostratus_use"]["objects"] == {"used": "1"}
    plain = client.plain("GET", path)
    assert (plain.headers["Content-Type"], plain.json.keys()) == ("application/json", summary.keys())
    assert client.send("GET", f"{path}?value:0-0", DATAOBJECT).json == {"value": "ew=="}


def test_the_members_are_the_projects_users(client: Client, me: Caller, sql: Connection) -> None:
    other = member(sql, f"bob-{me.project_name}", me.project_name)
    path = f"/cdmi/cdmi_domains/{me.project_name}/cdmi_domain_members/"
    assert client.send("GET", path, CONTAINER).json["children"] == [me.user_name, other.user_name]
    assert client.send("GET", f"{path}?childrenrange;children:1-5", CONTAINER).json == {
        "childrenrange": "1-1",
        "children": [other.user_name],
    }
    told = client.plain("GET", path + other.user_name).json
    assert told["cdmi_member_name"] == told["cdmi_member_principal"] == other.user_name
    assert not [name for name in told if "password" in name or "credential" in name]


def test_nobody_sees_another_projects_domain(
    client: Client, me: Caller, database: Database, sql: Connection, tmp_path: Path
) -> None:
    mine = client.send("GET", f"/cdmi/cdmi_domains/{me.project_name}/", DOMAIN).json
    theirs = project(sql, f"theirs-{uuid4().hex[:8]}")
    for role in Role:
        name = sql.execute("SELECT name FROM project WHERE id = %s", [theirs]).fetchone()
        assert name is not None
        stranger = Client(database, Caller(uuid4(), "mallory", theirs, name[0], role), tmp_path)
        assert stranger.send("GET", "/cdmi/cdmi_domains/", CONTAINER).json["children"] == [f"{name[0]}/"]
        for path in ("", "cdmi_domain_summary/cumulative", f"cdmi_domain_members/{me.user_name}"):
            hidden = stranger.send("GET", f"/cdmi/cdmi_domains/{me.project_name}/{path}", "*/*")
            nothing = stranger.send("GET", f"/cdmi/cdmi_domains/no-such-project/{path}", "*/*")
            assert (hidden.status_code, nothing.status_code) == (404, 404)
            assert hidden.text.replace(me.project_name, "no-such-project") == nothing.text
        assert stranger.send("GET", f"/cdmi/cdmi_objectid/{mine['objectID']}", DOMAIN).status_code == 404
        body = {"value": "x", "domainURI": mine["domainURI"]}
        assert stranger.send("PUT", "/cdmi/o", DATAOBJECT, body).status_code == 403


def test_domains_are_not_made_or_changed_here(client: Client, me: Caller) -> None:
    domain = f"/cdmi/cdmi_domains/{me.project_name}/"
    for method, path, kind in (
        ("PUT", "/cdmi/cdmi_domains/mine/", DOMAIN),
        ("PUT", f"{domain}sub/", DOMAIN),
        ("PUT", domain, DOMAIN),
        ("DELETE", domain, DOMAIN),
        ("DELETE", "/cdmi/cdmi_domains/", CONTAINER),
        ("PUT", f"{domain}cdmi_domain_members/mallory", DATAOBJECT),
        ("POST", f"{domain}cdmi_domain_members/", DATAOBJECT),
        ("PUT", f"{domain}cdmi_domain_summary/cumulative", DATAOBJECT),
    ):
        assert client.send(method, path, kind, {}).status_code == 400, (method, path)
    for source in ("copy", "move", "serialize", "deserialize"):
        body = {source: f"/cdmi_domains/{me.project_name}/cdmi_domain_summary/cumulative"}
        assert client.send("PUT", "/cdmi/o", DATAOBJECT, body).status_code == 400, source
        assert client.send("PUT", "/cdmi/all/", CONTAINER, {source: "/cdmi_domains/"}).status_code == 400, source
    for uri in ("", 5, "/box/", "http://elsewhere.example/cdmi/cdmi_domains/x/", "/cdmi_domains/../x/"):
        refused = client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x", "domainURI": uri})
        assert refused.status_code in (400, 403), uri
    assert client.send("GET", "/cdmi/", CONTAINER).json["children"] == ["disks/"]


def test_the_capabilities_of_domains_are_what_is_done(client: Client, me: Caller) -> None:
    domain = client.send("GET", f"/cdmi/cdmi_domains/{me.project_name}/", DOMAIN).json
    told = client.send("GET", domain["capabilitiesURI"], CAPABILITY).json["capabilities"]
    assert told == {
        "cdmi_list_children": "true",
        "cdmi_read_metadata": "true",
        "cdmi_domain_summary": "true",
        "cdmi_authentication_methods": ["basic"],
    }
    assert domain["metadata"]["cdmi_domain_enabled"] == "true"
    assert domain["metadata"]["cdmi_authentication_methods_provided"] == ["basic"]
    assert client.send("GET", "/cdmi/cdmi_capabilities/", CAPABILITY).json["capabilities"]["cdmi_domains"] == "true"


def test_people_see_domains_in_their_browser(client: Client, me: Caller) -> None:
    page = client.plain("GET", f"/cdmi/cdmi_domains/{me.project_name}/", Accept="text/html")
    assert (page.status_code, "cdmi_domain_summary" in page.text) == (200, True)
    assert client.plain("GET", "/cdmi/cdmi_domains/").text == f"{me.project_name}/\n"
