"""A storage host's agent on a lab machine, told what should be through the door; this machine is the initiator outside.

No libvirt and no gateway: what machines do with such disks is in test_live_storage_host.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from altostratus.postgres import PrivateCluster
from backends.cloud import Cloud
from backends.model import DiskState, Export, NewDisk, Pool
from backends.store.database import Connection
from tests.conftest import repository, wait_until
from tests.system.conftest import AGENTS, free_port

pytestmark = pytest.mark.timeout(900)

MIB = 2**20
GIB = 2**30
LIMIT_S = 300
OUTSIDE = "iqn.2026-01.org.example:outside"


@dataclass
class StorageHost:
    """A lab machine in which an agent is started again whenever it ends. It ends by kill -9 when `kill` is called."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        (self.folder / "kill").touch()
        wait_until(lambda: not (self.folder / "kill").exists(), LIMIT_S)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@pytest.fixture
def storage_host(cluster: PrivateCluster, conninfo: str, sql: Connection) -> Iterator[StorageHost]:
    folder, port = Path(tempfile.mkdtemp(prefix="altostratus-storage.")), free_port()
    name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
    settings = {
        "ALTOSTRATUS_POOL": "iscsi",
        "ALTOSTRATUS_HOST_NAME": "store1",
        "ALTOSTRATUS_STATE": "/mnt/state",
        "ALTOSTRATUS_ISCSI_PORTAL": f"127.0.0.1:{port}",
        "ALTOSTRATUS_DATABASE": f"host=10.0.2.100 port=5432 user={cluster.owner} dbname={name} sslmode=disable",
        "ALTOSTRATUS_SWEEP_S": "5",
        "ALTOSTRATUS_LOG_FORMAT": "json",
        "PYTHON": sys.executable,
        "FOLDER": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, repository() / "deploy/lab/run", "--seconds", "850", "--forward", str(port),
                "--reach", cluster.socket, "--share", folder,
                "env", *(f"{name}={value}" for name, value in settings.items()), "sh", "-c", AGENTS,
            ],
            cwd=repository(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    host = StorageHost(folder, port, process)

    def is_alive() -> bool:
        assert process.poll() is None, host.log()[-3000:]
        return sql.execute("SELECT 1 FROM host WHERE name = 'store1'").fetchone() is not None

    try:
        wait_until(is_alive, LIMIT_S)
        yield host
    finally:
        if os.environ.get("ALTOSTRATUS_SHOW_LAB"):
            sys.stderr.write(host.log())
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def reads(export: Export, *, secret: str | None = None) -> str:
    """What an initiator outside learns of the disk's size, or the refusal; one whose target goes meanwhile tries on."""
    (initiator, *_) = export.initiators
    target = export.target_identifier.partition(",")[0]
    url = f"iscsi://{initiator.name}%{secret or initiator.secret}@{export.portals[0]}/{target}/0"
    done = subprocess.run(
        ["timeout", "30", "iscsi-readcapacity16", "-s", "-i", initiator.name, url],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def served(cloud: Cloud, disk_id: UUID) -> Export:
    """Its export, once the target knows the initiator."""

    def is_served() -> bool:
        export = cloud.export(disk_id)
        return export is not None and all(initiator.is_served for initiator in export.initiators)

    wait_until(is_served, LIMIT_S)
    export = cloud.export(disk_id)
    assert export is not None
    return export


def test_what_the_door_says_is_served_grown_withdrawn_and_removed(
    storage_host: StorageHost, cloud: Cloud, sql: Connection
) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    assert (disk.pool, disk.host) == (Pool.ISCSI, "store1")
    wait_until(lambda: cloud.disk(disk.id).state is DiskState.ONLINE, LIMIT_S)
    cloud.export_disk(disk.id, [OUTSIDE])
    export = served(cloud, disk.id)
    assert str(GIB) in reads(export)
    assert str(GIB) not in reads(export, secret="0123456789abcdef")

    storage_host.kill()
    assert str(GIB) in reads(export)  # who is served doesn't notice
    cloud.resize_disk(disk.id, 2 * GIB)
    wait_until(lambda: cloud.disk(disk.id).state is DiskState.ONLINE, LIMIT_S)
    assert str(2 * GIB) in reads(export)

    cloud.export_disk(disk.id, [f"{OUTSIDE}2"])
    other = served(cloud, disk.id)
    assert str(2 * GIB) in reads(other)
    assert str(2 * GIB) not in reads(export)

    cloud.export_disk(disk.id, [])
    wait_until(lambda: str(2 * GIB) not in reads(other), LIMIT_S)
    cloud.update_disk(disk.id, {"read_only": True})
    cloud.export_disk(disk.id, [OUTSIDE, f"{OUTSIDE}2"])
    many = served(cloud, disk.id)
    for each in many.initiators:
        assert str(2 * GIB) in reads(replace(many, initiators=(each,)))
    cloud.export_disk(disk.id, [])
    wait_until(lambda: str(2 * GIB) not in reads(many), LIMIT_S)
    _lease_of_a_lost_host(sql, disk.id)
    wait_until(lambda: sql.execute("SELECT FROM disk_lease").fetchone() is None, LIMIT_S)
    cloud.delete_disk(disk.id)
    wait_until(lambda: not _row_exists(cloud, disk.id), LIMIT_S)
    assert other.initiators[0].secret not in storage_host.log()


def _lease_of_a_lost_host(sql: Connection, disk_id: UUID) -> None:
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, heartbeat_at)"
        " VALUES ('lost', 1, 1, 1, 'qemu', now() - interval '1 hour')"
    )
    sql.execute(
        "INSERT INTO disk_lease (disk_id, host, initiator, secret) VALUES (%s, 'lost', %s, '0123456789abcdef')",
        [disk_id, OUTSIDE],
    )


def _row_exists(cloud: Cloud, disk_id: UUID) -> bool:
    with cloud._read() as connection:
        return connection.execute("SELECT 1 FROM disk WHERE id = %s", [disk_id]).fetchone() is not None
