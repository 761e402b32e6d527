"""Converging a disk of a storage host: made once from nothing, an image or another disk, grown, served, removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from backends import jobs
from backends.agent.storage_host import STORAGE_ERRORS, StorageHost
from backends.disks.errors import InUse, NotThere
from backends.disks.iscsi import Grant, TargetSpec
from backends.jobs import Kind
from backends.model import DiskState
from backends.store.database import query

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lease:
    """The host that has the disk to itself, to write its image to it or for its bytes, and how it logs in."""

    host: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """`is_made`: it was whole once; if it is missing now, it is lost.

    `source_id`: what it is to be a copy of; if it is made, what it is to be replaced by.
    """

    id: UUID
    size_bytes: int
    wanted: DiskState
    generation: int
    observed_generation: int
    deleting: bool
    read_only: bool
    source_id: UUID | None
    is_copied: bool
    """Whether copies of it are still to be made."""
    lease: Lease | None
    grants: tuple[tuple[UUID, Grant], ...]

    @property
    def is_made(self) -> bool:
        return self.observed_generation > 0


def served_at_boot(host: StorageHost) -> Sequence[TargetSpec]:
    """What is served before anybody is told: every disk that was made, as its row has it."""
    with host.connection() as connection:
        rows = connection.execute(query("storage.disks"), {"host": host.name}).fetchall()
    return [_spec(host, disk) for disk in map(_wanted, rows) if disk.is_made and not disk.deleting]


def converge_served_disk(host: StorageHost, disk_id: UUID) -> None:
    with host.exclusively(disk_id):
        host.write("storage.end_lost_lease", id=disk_id)
        disk = _read(host, disk_id)
        if disk is None:
            return
        try:
            if disk.deleting:
                _remove(host, disk)
            elif disk.lease is not None and disk.is_made:
                _lend(host, disk, disk.lease)  # whatever else it should become waits for the end of that
            else:
                _ensure(host, disk)
                _serve(host, disk)
        except STORAGE_ERRORS as error:
            log.warning("disk not converged", disk=str(disk_id), reason=str(error))
            host.write("storage.disk_failed", id=disk_id, message=str(error))


def _read(host: StorageHost, disk_id: UUID) -> WantedDisk | None:
    with host.connection() as connection:
        row = connection.execute(query("storage.disk"), {"id": disk_id, "host": host.name}).fetchone()
    return None if row is None else _wanted(row)


def _wanted(row: Sequence[Any]) -> WantedDisk:
    disk_id, size_bytes, wanted, generation, observed, deleting, read_only, source_id, is_copied, lease, grants = row
    return WantedDisk(
        disk_id,
        size_bytes,
        DiskState(wanted),
        generation,
        observed,
        deleting,
        read_only,
        source_id,
        is_copied,
        Lease(lease[0], Grant(lease[1], lease[2], read_only)) if lease else None,
        tuple((UUID(grant_id), Grant(initiator, secret, read_only)) for grant_id, initiator, secret in grants or ()),
    )


def _spec(host: StorageHost, disk: WantedDisk) -> TargetSpec:
    """A host that has it to itself comes before all others."""
    if disk.lease is not None:
        grants: tuple[Grant, ...] = (disk.lease.grant,)
    elif disk.wanted is DiskState.OFFLINE:
        grants = ()
    else:
        grants = tuple(grant for _, grant in disk.grants)
    return TargetSpec(disk.id, host.volumes.path(disk.id), disk.size_bytes, grants)


def _ensure(host: StorageHost, disk: WantedDisk) -> None:
    """The bytes, as large as they should be."""
    if disk.source_id is not None:
        try:
            _copy(host, disk, disk.source_id)
        except STORAGE_ERRORS:
            host.write("agent.disk_not_copied", source_id=disk.source_id)
            raise
        host.write("agent.disk_copied", id=disk.id, source_id=disk.source_id)
        source = _read(host, disk.source_id)
        if source is not None and source.deleting:
            with host.connection() as connection:
                jobs.defer(connection, host.name, Kind.DISK, source.id)
    elif not disk.is_made:
        host.volumes.ensure_blank(disk.id, disk.size_bytes)
    host.volumes.ensure_size(disk.id, disk.size_bytes)


def _copy(host: StorageHost, disk: WantedDisk, source_id: UUID) -> None:
    """Of one instant. Where bytes must be copied one by one, nobody may write meanwhile.

    What the disk was before goes first. Cut off after that, the next attempt finds it missing, and copies.
    """
    with host.exclusively(source_id):
        source = _read(host, source_id)
        if source is None or not source.is_made or not host.volumes.is_there(source_id):
            raise NotThere(f"disk {source_id} is not there, or not yet, so nothing can be copied from it")
        if disk.is_made:
            if disk.grants:
                raise InUse(f"disk {disk.id} is still held by {disk.grants[0][1].initiator}")
            host.targets.absent(disk.id)
            host.volumes.absent(disk.id)
        if not host.volumes.shares(disk.id, source_id):
            with _at_rest(host, source):
                host.volumes.copy(disk.id, source_id)


@contextmanager
def _at_rest(host: StorageHost, disk: WantedDisk) -> Iterator[None]:
    """Nobody can log in to it; `InUse` if somebody is. Who is about to attach it waits for its being served again.

    Who has leased it only reads: the door lets nobody write what is to be copied.
    """
    if disk.lease is not None:
        yield
        return
    if users := host.targets.initiators(disk.id):
        raise InUse(
            f"disk {disk.id} is in use by {min(users)}, and {host.name} has no file system that could copy it then:"
            " it is copied when it is detached"
        )
    host.write("storage.disk_withdrawn", id=disk.id)
    host.targets.close(disk.id)
    try:
        yield
    finally:
        _serve(host, disk)


def _serve(host: StorageHost, disk: WantedDisk) -> None:
    """The target, and then, to those that wait for it, that it is served."""
    if disk.lease is not None:
        _lend(host, disk, disk.lease, f"host {disk.lease.host} writes its image to it")
        return
    unit = host.targets.ensure_target(_spec(host, disk))
    is_full = disk.wanted is DiskState.ONLINE and host.volumes.room().is_full
    with host.connection() as connection, connection.transaction():
        rows = connection.execute(
            query("storage.disk_served"),
            {
                "id": disk.id,
                "state": (DiskState.DEGRADED if is_full else disk.wanted).value,
                "message": host.full_message if is_full else "",
                "generation": disk.generation,
                "target": unit.target_identifier,
                "unit": unit.logical_unit_name,
                "grants": [grant_id for grant_id, _ in disk.grants],
            },
        ).fetchall()
        for machine_id, machine_host in rows:
            jobs.defer(connection, machine_host, Kind.MACHINE, machine_id)


def _lend(host: StorageHost, disk: WantedDisk, lease: Lease, message: str | None = None) -> None:
    """The target for the host that has it to itself, which is told; so it is when somebody else waits."""
    unit = host.targets.ensure_target(_spec(host, disk))
    told = {
        "target": unit.target_identifier,
        "unit": unit.logical_unit_name,
        "initiator": lease.grant.initiator,
        "message": message,
    }
    with host.connection() as connection, connection.transaction():
        connection.execute(query("storage.disk_lent"), {"id": disk.id, **told})
        jobs.defer(connection, lease.host, Kind.DISK, disk.id)


def _remove(host: StorageHost, disk: WantedDisk) -> None:
    if disk.lease is not None:
        with host.connection() as connection:
            jobs.defer(connection, disk.lease.host, Kind.DISK, disk.id)
        return
    if disk.grants or disk.is_copied:
        return  # whoever has it lets go first, or is done copying it, and asks for this again
    host.targets.absent(disk.id)
    host.volumes.absent(disk.id)
    with host.connection() as connection, connection.transaction():
        connection.execute("DELETE FROM tagging WHERE resource_id = %s", [disk.id])
        connection.execute("DELETE FROM disk WHERE id = %s", [disk.id])
