"""A storage host's agent: disks kept as raw files and served by LIO to those that hold a grant.

It has neither machines nor networks. What a compute host does with a served disk is in `machine.py`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from procrastinate.exceptions import ConnectorException

from backends import jobs
from backends.agent.queue import chore, do_jobs, give_up, holding, taking
from backends.disks.errors import DiskError, NotThere
from backends.disks.iscsi import Grant, Targets, TargetSpec
from backends.errors import CloudError
from backends.jobs import Kind
from backends.model import DiskState
from backends.placement import place_waiting
from backends.store.database import Connection, Database, query

log = structlog.get_logger()

STORAGE_ERRORS = (DiskError, CloudError, OSError)
SUFFIX = ".raw"


@dataclass(frozen=True, slots=True)
class StorageHost:
    """`folder` holds the raw files; `portal` is the ADDRESS:PORT at which others reach the targets."""

    name: str
    database: Database
    targets: Targets
    folder: Path
    portal: str
    _locks: dict[UUID, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    def path(self, disk_id: UUID) -> Path:
        return self.folder / f"{disk_id}{SUFFIX}"

    @contextmanager
    def exclusively(self, disk_id: UUID) -> Iterator[None]:
        with self._locks[disk_id]:
            yield

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self.database.connection() as connection:
            yield connection

    def write(self, statement: str, **parameters: object) -> None:
        with self.database.connection() as connection:
            connection.execute(query(f"storage.{statement}"), parameters)

    def prepare(self) -> None:
        """The folder, LIO, and every target as before the reboot: before any job, before anybody is told."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.targets.prepare()
        with self.connection() as connection:
            rows = connection.execute(query("storage.disks"), {"host": self.name}).fetchall()
        served = [_wanted(row) for row in rows]
        specs = [_spec(self, disk) for disk in served if disk.is_made and not disk.deleting]
        for disk_id, reason in self.targets.restore(specs).items():
            log.warning("disk not served", disk=str(disk_id), reason=reason)


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """`is_made`: its file was made once; if it is missing now, it is lost."""

    id: UUID
    size_bytes: int
    wanted: DiskState
    generation: int
    observed_generation: int
    deleting: bool
    grants: tuple[tuple[UUID, Grant], ...]

    @property
    def is_made(self) -> bool:
        return self.observed_generation > 0


def converge_served_disk(host: StorageHost, disk_id: UUID) -> None:
    with host.exclusively(disk_id):
        with host.connection() as connection:
            row = connection.execute(query("storage.disk"), {"id": disk_id, "host": host.name}).fetchone()
        if row is None:
            return
        disk = _wanted(row)
        try:
            if disk.deleting:
                _remove(host, disk)
            else:
                _serve(host, disk)
        except STORAGE_ERRORS as error:
            log.warning("disk not converged", disk=str(disk_id), reason=str(error))
            host.write("disk_failed", id=disk_id, message=str(error))


def _wanted(row: Sequence[Any]) -> WantedDisk:
    disk_id, size_bytes, wanted, generation, observed_generation, deleting, grants = row
    return WantedDisk(
        disk_id,
        size_bytes,
        DiskState(wanted),
        generation,
        observed_generation,
        deleting,
        tuple((UUID(grant_id), Grant(initiator, secret)) for grant_id, initiator, secret in grants or ()),
    )


def _spec(host: StorageHost, disk: WantedDisk) -> TargetSpec:
    grants = tuple(grant for _, grant in disk.grants) if disk.wanted is not DiskState.OFFLINE else ()
    return TargetSpec(disk.id, host.path(disk.id), disk.size_bytes, grants)


def _serve(host: StorageHost, disk: WantedDisk) -> None:
    """The file, the target, and then, to those that wait for it, that it is served."""
    path = host.path(disk.id)
    if disk.is_made and not path.exists():
        raise NotThere(f"disk {disk.id} is lost: {path} was there and is missing")
    _ensure_file(path, disk.size_bytes)
    unit = host.targets.ensure_target(_spec(host, disk))
    with host.connection() as connection, connection.transaction():
        rows = connection.execute(
            query("storage.disk_served"),
            {
                "id": disk.id,
                "state": disk.wanted.value,
                "generation": disk.generation,
                "target": unit.target_identifier,
                "unit": unit.logical_unit_name,
                "grants": [grant_id for grant_id, _ in disk.grants],
            },
        ).fetchall()
        for machine_id, machine_host in rows:
            jobs.defer(connection, machine_host, Kind.MACHINE, machine_id)


def _ensure_file(path: Path, size_bytes: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < size_bytes:
            os.ftruncate(descriptor, size_bytes)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(host: StorageHost, disk: WantedDisk) -> None:
    if disk.grants:
        return  # whoever has it lets go first, and this is asked for again then
    host.targets.absent(disk.id)
    host.path(disk.id).unlink(missing_ok=True)
    with host.connection() as connection, connection.transaction():
        connection.execute("DELETE FROM tagging WHERE resource_id = %s", [disk.id])
        connection.execute("DELETE FROM disk WHERE id = %s", [disk.id])


def run(host: StorageHost, conninfo: str, disk_bytes: int, *, sweep_s: float) -> None:
    """Until SIGINT or SIGTERM, which let the running jobs finish. `HostTaken` if another agent has the host."""
    with taking(conninfo, host.name) as holder:
        host.prepare()
        host.write("forget_dead_jobs", host=host.name)
        host.write("register_host", name=host.name, disk_bytes=disk_bytes, portal=host.portal)
        with host.connection() as connection:
            place_waiting(connection)
        stopping = threading.Event()
        chores = [
            holding(stopping, holder, host.name),
            chore(stopping, "sweep", sweep_s, lambda: sweep(host), STORAGE_ERRORS),
        ]
        log.info("agent ready", host=host.name, portal=host.portal)

        def converge(kind: Kind, resource_id: UUID) -> None:
            _converge(host, kind, resource_id)

        try:
            asyncio.run(do_jobs(host.name, host.database, conninfo, converge))
        except ConnectorException as error:
            give_up(host.name, str(error))
        finally:
            stopping.set()
            for each in chores:
                each.join(timeout=30)


def _converge(host: StorageHost, kind: Kind, resource_id: UUID) -> None:
    if kind is Kind.DISK:
        converge_served_disk(host, resource_id)
    else:
        log.warning("a storage host was asked for what it has not", kind=kind.value, resource=str(resource_id))


def sweep(host: StorageHost) -> None:
    """Defers a job for whatever isn't as it should be; removes what no row accounts for.

    What is here is listed before the rows are read, for a row is always written first.
    """
    served = host.targets.targets()
    files = {UUID(path.stem) for path in host.folder.glob(f"*{SUFFIX}") if _is_uuid(path.stem)}
    with host.connection() as connection:
        rows = connection.execute(query("storage.sweep"), {"host": host.name}).fetchall()
    for disk_id, is_settled in rows:
        if not is_settled or disk_id not in served:
            with host.connection() as connection:
                jobs.defer(connection, host.name, Kind.DISK, disk_id)
    known = {row[0] for row in rows}
    for disk_id in (served | files) - known:
        log.warning("leftover removed", disk=str(disk_id))
        host.targets.absent(disk_id)
        host.path(disk_id).unlink(missing_ok=True)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
