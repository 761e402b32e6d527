"""A worker killed between the value's file and its row: the old or the new is there, and what is left over is swept."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, Client

from backends.cloud import Cloud
from backends.cloud.values import sweep_values
from backends.store.database import Database
from backends.values import Values
from tests.conftest import repository
from tests.system.killed_writer import NEW

OLD = b"o" * 200_000
PATCHED = OLD[:10] + NEW + OLD[100_010:]


@pytest.fixture
def client(database: Database, cloud: Cloud, tmp_path: Path) -> Client:
    return Client(database, cloud.caller, tmp_path)


def kill_writer(conninfo: str, client: Client, cloud: Cloud, moment: str, method: str, path: str) -> None:
    command = [sys.executable, "-m", "tests.system.killed_writer", conninfo, str(client.folder)]
    command += [str(cloud.caller.project_id), moment, method, path]
    folders = f"{repository()}:{repository() / 'tests' / 'system'}"
    done = subprocess.run(
        command, cwd=repository(), env={"PYTHONPATH": folders}, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize(
    ("moment", "method", "left"),
    [
        ("named", "PUT", OLD),
        ("written", "PUT", OLD),
        ("committed", "PUT", NEW),
        ("named", "PATCH", OLD),
        ("committed", "PATCH", PATCHED),
    ],
)
def test_a_value_that_exists_is_the_old_or_the_new(
    client: Client, database: Database, cloud: Cloud, conninfo: str, moment: str, method: str, left: bytes
) -> None:
    client.plain("PUT", "/cdmi/o", OLD)
    kill_writer(conninfo, client, cloud, moment, method, "/cdmi/2.0.0/o")

    assert len(client.files()) == 2
    assert client.plain("GET", "/cdmi/o").content == left
    assert sweep_values(database, Values(client.folder)) == 1
    assert len(client.files()) == 1
    assert client.plain("GET", "/cdmi/o").content == left
    assert client.plain("PUT", "/cdmi/o", b"next").status_code == 204


@pytest.mark.parametrize(
    ("moment", "method", "left"),
    [
        ("named", "PUT", [OLD]),
        ("written", "PUT", [OLD]),
        ("versioned", "PUT", [OLD]),
        ("committed", "PUT", [NEW, OLD]),
        ("versioned", "PATCH", [OLD]),
        ("committed", "PATCH", [PATCHED, OLD]),
    ],
)
def test_a_change_and_its_version_are_there_or_neither(
    client: Client, database: Database, cloud: Cloud, conninfo: str, moment: str, method: str, left: list[bytes]
) -> None:
    client.send("PUT", "/cdmi/2.0.0/", CONTAINER, {"metadata": {"cdmi_versioning": "value"}})
    client.plain("PUT", "/cdmi/o", OLD)
    kill_writer(conninfo, client, cloud, moment, method, "/cdmi/2.0.0/o")

    assert client.plain("GET", "/cdmi/o").content == left[0]
    found = [client.send("GET", "/cdmi/o", DATAOBJECT).json["metadata"]["cdmi_version_current"]]
    while parent := client.send("GET", found[-1], DATAOBJECT).json["metadata"].get("cdmi_version_parent"):
        found.append(parent)
    assert [client.plain("GET", version).content for version in found] == left
    sweep_values(database, Values(client.folder))
    assert len(client.files()) == len(left)
    assert client.plain("PUT", "/cdmi/o", b"next").status_code == 204


@pytest.mark.parametrize("moment", ["named", "inserted"])
def test_a_new_object_is_there_with_its_value_or_not_at_all(
    client: Client, database: Database, cloud: Cloud, conninfo: str, moment: str
) -> None:
    client.plain("GET", "/cdmi/")
    kill_writer(conninfo, client, cloud, moment, "PUT", "/cdmi/o")

    assert len(client.files()) == 1
    read = client.plain("GET", "/cdmi/o")
    is_there = moment == "inserted" and read.status_code == 200
    assert (read.status_code, read.content == NEW) == ((200, True) if is_there else (404, False))
    assert sweep_values(database, Values(client.folder)) == (0 if is_there else 1)
    assert len(client.files()) == (1 if is_there else 0)


def test_what_somebody_is_about_to_point_to_is_not_swept(client: Client) -> None:
    values = Values(client.folder)
    with values.receive() as received:
        received.write(NEW)
        name = values.keep(received)
        assert values.sweep(lambda _: False) == 0
        assert client.files() == [str(name)]
    assert values.sweep(lambda value: value != name) == 1


def test_what_is_rolled_back_leaves_no_files(client: Client) -> None:
    def child(name: object, **fields: object) -> dict[str, object]:
        value = base64.b64encode(NEW).decode()
        whole = {"objectType": DATAOBJECT, "objectName": name, "value": value, "valuetransferencoding": "base64"}
        return {**whole, **fields}

    for bad in (
        child("b", value=5),
        child(".."),
        child("a"),
        child("b", metadata={"cdmi_x": 1}),
        {"objectName": "b"},
        5,
    ):
        tree = {"objectType": CONTAINER, "metadata": {}, "children": [child("a"), bad]}
        serialized = base64.b64encode(json.dumps(tree).encode()).decode()
        refused = client.send("PUT", "/cdmi/tree/", CONTAINER, {"deserializevalue": serialized})
        assert refused.status_code in (400, 409), refused.text
        assert client.files() == []
    assert client.send("GET", "/cdmi/", CONTAINER).json["children"] == ["disks/"]


def test_names_of_files_are_not_for_clients_to_choose(client: Client) -> None:
    for path in ("/cdmi/%2e%2e/%2e%2e/x", "/cdmi/..%2f..%2fx", f"/cdmi/{UUID(int=5)}"):
        client.plain("PUT", path, NEW)
    assert all(UUID(name).version == 4 for name in client.files())
