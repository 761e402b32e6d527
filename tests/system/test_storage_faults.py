"""A storage host's agent killed after each step of what it does; the next one finishes it.

A step is what `stepwise` counts, with the target's changes as one each: the driver's own tests kill it within those
(`tests/lab`). Of steps taken by the same lines of code in one case only the first is one. All cases share one lab
machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from altostratus.postgres import PrivateCluster
from backends import jobs
from backends.cloud import Cloud
from backends.jobs import Kind
from backends.model import DiskState, NewAttachment, NewDisk, NewMachine, Pool
from backends.store.database import Connection, Database
from tests.conftest import SIZES, caller, project, repository, wait_until
from tests.system.conftest import free_port

pytestmark = pytest.mark.timeout(1500)

MIB = 2**20
LIMIT_S = 600
OUTSIDE = "iqn.2026-01.org.example:outside"


@dataclass
class StorageHost:
    """A lab machine in which an agent runs when it is told to, and dies when it is told to."""

    folder: Path
    process: subprocess.Popen[bytes]
    number: int = 0

    def run(self, scenario: str | None) -> dict[str, Any]:
        self.number += 1
        part = self.folder / "wanted.part"
        part.write_text(json.dumps({"number": self.number, "scenario": scenario}))
        part.replace(self.folder / "wanted.json")
        return self.wait_for(self.number)

    def wait_for(self, number: int) -> dict[str, Any]:
        answer: dict[str, Any] = {}

        def is_done() -> bool:
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-3000:]
            if (self.folder / "done.json").exists():
                answer.update(json.loads((self.folder / "done.json").read_text()))
            return answer.get("number") == number

        wait_until(is_done, LIMIT_S)
        assert answer.get("status", 0) == 0, (self.folder / "log").read_text(errors="replace")[-3000:]
        return answer

    def settle(self) -> dict[str, Any]:
        return self.run(None)


@pytest.fixture(scope="module")
def conninfo(cluster: PrivateCluster, template_database: str) -> str:
    """A database of the module's own."""
    with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE storage_faults TEMPLATE {template_database}")
    return cluster.conninfo.replace("dbname=postgres", "dbname=storage_faults")


@pytest.fixture(scope="module")
def storage_host(cluster: PrivateCluster, conninfo: str) -> Iterator[StorageHost]:
    folder, port = Path(tempfile.mkdtemp(prefix="altostratus-storage.")), free_port()
    settings = {
        "ALTOSTRATUS_POOL": "iscsi",
        "ALTOSTRATUS_HOST_NAME": "store1",
        "ALTOSTRATUS_STATE": "/mnt/state",
        "ALTOSTRATUS_ISCSI_PORTAL": f"127.0.0.1:{port}",
        "ALTOSTRATUS_DATABASE": (
            f"host=10.0.2.100 port=5432 user={cluster.owner} dbname=storage_faults sslmode=disable"
        ),
        "PYTHONPATH": str(repository()),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, repository() / "deploy/lab/run", "--seconds", "2400", "--forward", str(port),
                "--reach", cluster.socket, "--share", folder,
                "env", *(f"{name}={value}" for name, value in settings.items()),
                sys.executable, repository() / "tests/lab/storage_steps.py", folder,
            ],
            cwd=repository(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    host = StorageHost(folder, process)
    try:
        host.wait_for(0)
        yield host
    finally:
        if os.environ.get("ALTOSTRATUS_SHOW_LAB"):
            sys.stderr.write((folder / "log").read_text(errors="replace"))
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def a_disk(cloud: Cloud) -> UUID:
    return cloud.create_disk(NewDisk(size_bytes=MIB, pool=Pool.ISCSI)).id


def another_disk(cloud: Cloud) -> UUID:
    """And none of those that are whole besides: each costs every agent's start its time."""
    for disk in cloud.disks():
        if disk.state is DiskState.ONLINE:
            cloud.delete_disk(disk.id)
    return a_disk(cloud)


def an_attached_disk(cloud: Cloud) -> UUID:
    disk_id = a_disk(cloud)
    attach(cloud, disk_id)
    return disk_id


def the_disk(cloud: Cloud) -> UUID:
    return cloud.disks()[0].id


def nothing(_cloud: Cloud) -> UUID:
    return UUID(int=0)


def attach(cloud: Cloud, disk_id: UUID) -> None:
    cloud.attach(cloud.create_machine(NewMachine()).id, NewAttachment(disk_id))


def detach(cloud: Cloud, disk_id: UUID) -> None:
    """As the storage host sees it when the compute host, of which there is none here, has let go."""
    with cloud._change() as connection:
        connection.execute("DELETE FROM attachment WHERE disk_id = %s", [disk_id])
        jobs.defer(connection, "store1", Kind.DISK, disk_id)


def restore(cloud: Cloud, disk_id: UUID) -> None:
    cloud.restore_disk(disk_id, cloud.disks()[1].id)


def copy_and_delete(cloud: Cloud, disk_id: UUID) -> None:
    """Which goes when the copy is made."""
    cloud.backup_disk(disk_id)
    cloud.delete_disk(disk_id)


SCENARIOS: dict[str, tuple[Callable[[Cloud], UUID], Callable[[Cloud, UUID], Any]]] = {
    "made": (nothing, lambda cloud, _: a_disk(cloud)),
    "attached": (another_disk, attach),
    "detached": (an_attached_disk, detach),
    "restored from another": (the_disk, restore),
    "copied and deleted": (another_disk, copy_and_delete),
}
"""What there is, made while the agent before is settling, and a wish that an agent dies over."""


@pytest.fixture(scope="module")
def database(conninfo: str) -> Iterator[Database]:
    made = Database(conninfo, connections=2)
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="module")
def cloud(database: Database, storage_host: StorageHost) -> Iterator[Cloud]:
    """With a host for machines of which there is nothing but its row: jobs for it stay where they are.

    At the end nothing of its disks is left on the storage host.
    """
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, heartbeat_at)"
            " VALUES ('rack1', 1000, 1048576, 0, 'qemu', now() + interval '1 day')"
        )
        connection.execute(
            "INSERT INTO network (id, title, cidr, gateway, allocation, shared, class, state)"
            " VALUES (gen_random_uuid(), 'shared', '10.77.0.0/24', '10.77.0.1', 'dynamic', true, 'local', 'active')"
        )
        made = Cloud(database, caller(project(connection, "mine")), SIZES, "small")
    storage_host.settle()
    yield made
    with database.connection() as connection:
        clear(made, connection)
    found = storage_host.settle()
    assert (found["files"], found["targets"]) == ([], {})


@pytest.fixture
def sql(database: Database) -> Iterator[Connection]:
    with database.connection() as connection:
        yield connection


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_a_storage_agent_was_killed_at_is_finished_by_the_next(
    storage_host: StorageHost, cloud: Cloud, sql: Connection, scenario: str
) -> None:
    arrange, act = SCENARIOS[scenario]
    clear(cloud, sql)
    if arrange is the_disk:
        original = a_disk(cloud)
        storage_host.settle()
        cloud.backup_disk(original)
    disk_id = arrange(cloud)
    check(sql, storage_host.settle())
    deaths, killed = 0, True
    while killed:
        sql.execute("DELETE FROM procrastinate_jobs WHERE queue_name = 'rack1'")
        act(cloud, disk_id)
        killed = bool(storage_host.run(scenario)["killed"])
        if act is not attach:
            disk_id = arrange(cloud)
        check(sql, storage_host.settle())
        if act is attach:
            asked = sql.execute("SELECT count(*) FROM procrastinate_jobs WHERE queue_name = 'rack1'").fetchone()
            assert asked is not None
            assert asked[0] > 2, "by the machine's making, by the attachment, and when the disk is served"
            clear(cloud, sql)
            disk_id = arrange(cloud)
            check(sql, storage_host.settle())
        deaths += killed
    print(f"{scenario}: killed at {deaths} moments")
    assert deaths > 1


def check(sql: Connection, found: dict[str, Any]) -> None:
    """The host has what the rows say, and the rows are settled."""
    rows = sql.execute(
        "SELECT id::text, state = wanted AND generation = observed_generation AND source_disk_id IS NULL"
        " AND NOT deleting, state_message, ARRAY(SELECT initiator FROM disk_grant g WHERE g.disk_id = disk.id"
        " ORDER BY 1), NOT EXISTS (SELECT FROM disk_grant g WHERE g.disk_id = disk.id AND NOT served) FROM disk"
    ).fetchall()
    assert [row for row in rows if not row[1] or not row[4]] == []
    assert found["files"] == sorted(f"{row[0]}.raw" for row in rows)
    assert found["targets"] == {row[0]: row[3] for row in rows}


def clear(cloud: Cloud, sql: Connection) -> None:
    sql.execute("DELETE FROM attachment")
    for machine in cloud.machines():
        sql.execute("DELETE FROM interface WHERE machine_id = %s", [machine.id])
        sql.execute("DELETE FROM machine WHERE id = %s", [machine.id])
    for disk in cloud.disks():
        if disk.snapshot_of is None:
            cloud.export_disk(disk.id, [])
            cloud.delete_disk(disk.id)
