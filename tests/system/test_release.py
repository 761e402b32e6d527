"""`altostratus project release`: the only end of holds and retention, which CDMI leaves to the operator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, Client
from click.testing import CliRunner, Result
from test_cdmi_disks import make, settle
from test_disks_on_hold import DISK, HOLD, PERIOD, V

from altostratus.command import main
from backends.model import Role
from backends.store.database import Connection, Database
from tests.conftest import member, project

Release = Callable[..., Result]


@pytest.fixture
def name() -> str:
    return f"mine-{uuid4()}"


@pytest.fixture
def client(database: Database, sql: Connection, host: str, tmp_path: Path, name: str) -> Client:
    return Client(database, member(sql, project(sql, name), role=Role.PROJECT_ADMIN), tmp_path / "values")


@pytest.fixture
def release(conninfo: str, tmp_path: Path, name: str) -> Release:
    (tmp_path / "values").mkdir()
    runner = CliRunner(env={"ALTOSTRATUS_DATABASE": conninfo, "ALTOSTRATUS_STATE": str(tmp_path), "SUDO_USER": "olga"})
    return lambda *arguments: runner.invoke(main, ["project", "release", name, *arguments])


def keep(client: Client, path: str, media_type: str = CONTAINER, metadata: object = None) -> None:
    body = {"metadata": metadata or {**HOLD, **PERIOD}}
    query = "metadata=cdmi_hold_id&metadata=cdmi_retention_period"
    assert client.send("PATCH", f"{path}?{query}", media_type, body).status_code == 204


def test_the_operator_unlocks_a_tree_that_somebody_locked_for_ever(
    release: Release, client: Client, name: str, tmp_path: Path
) -> None:
    client.send("PUT", f"{V}box/", CONTAINER, {})
    keep(client, V)
    assert client.send("DELETE", f"{V}box/", CONTAINER).status_code == 403
    done = release("/")
    assert (done.exit_code, "released /: " in done.output) == (0, True), done.output
    assert client.send("DELETE", f"{V}box/", CONTAINER).status_code == 204
    (line,) = (tmp_path / "log" / "releases.log").read_text().splitlines()
    noted = json.loads(line)
    assert (noted["by"], noted["project"], noted["path"]) == ("olga", name, "/")
    assert noted.items() >= {**HOLD, **PERIOD}.items()
    assert "nothing there" in release("/").output


def test_one_object_is_released_by_its_path_or_its_id_and_what_is_below_only_when_asked(
    release: Release, client: Client
) -> None:
    client.send("PUT", f"{V}box/", CONTAINER, {"metadata": {"colour": "red"}})
    made = client.send("PUT", f"{V}box/o", DATAOBJECT, {"value": "x"}).json["objectID"]
    keep(client, f"{V}box/o", DATAOBJECT)
    keep(client, f"{V}box/")
    assert release("/box/").exit_code == 0
    assert client.send("DELETE", f"{V}box/o", DATAOBJECT).status_code == 403
    assert client.send("GET", f"{V}box/", CONTAINER).json["metadata"]["colour"] == "red"
    keep(client, f"{V}box/")
    done = release("/", "--below")
    assert ("released /box: " in done.output, "released /box/o: " in done.output) == (True, True), done.output
    keep(client, f"{V}box/o", DATAOBJECT)
    assert release(f"/cdmi_objectid/{made}").exit_code == 0
    assert client.send("DELETE", f"{V}box/", CONTAINER).status_code == 204


def test_disks_are_released_one_by_one_or_all_of_a_project(release: Release, client: Client, sql: Connection) -> None:
    made = make(client, "data")
    settle(sql)
    for place in ("/disks/data/", f"/cdmi_objectid/{made}/"):
        keep(client, DISK)
        assert client.send("DELETE", DISK, CONTAINER).status_code == 403
        done = release(place)
        assert done.exit_code == 0, done.output
        assert client.send("PATCH", f"{DISK}?metadata=a", CONTAINER, {"metadata": {"a": place}}).status_code == 204
    for place, shown in (("/", "/disks/data"), ("/disks", "/disks/data")):
        keep(client, DISK)
        assert f"released {shown}: " in release(place, "--below").output
        assert client.send("PATCH", f"{DISK}?metadata=a", CONTAINER, {"metadata": {"a": place}}).status_code == 204
    keep(client, f"{V}disks/")
    assert client.send("DELETE", DISK, CONTAINER).status_code == 403
    assert release("/disks/").exit_code == 0
    assert client.send("DELETE", DISK, CONTAINER).status_code == 204


def test_what_is_not_there_is_said_and_nothing_of_another_project_is_released(
    release: Release, client: Client, database: Database, sql: Connection, tmp_path: Path
) -> None:
    other = Client(database, member(sql, project(sql, "other"), role=Role.PROJECT_ADMIN), tmp_path / "values")
    theirs = other.send("PUT", f"{V}box/", CONTAINER, {"metadata": HOLD}).json["objectID"]
    client.send("GET", V, CONTAINER)
    for path in ("/box/", "/disks/data/", "/box/o", "/cdmi_objectid/00"):
        refused = release(path)
        assert (refused.exit_code, refused.output.startswith("Error: ")) == (1, True), (path, refused.output)
    assert "nothing there" in release(f"/cdmi_objectid/{theirs}").output
    assert "nothing there" in release("/", "--below").output
    assert other.send("DELETE", f"{V}box/", CONTAINER).status_code == 403
