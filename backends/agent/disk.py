"""Converging a persistent disk: made once from nothing, an image or another disk, grown, removed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from backends.agent.host import DRIVER_ERRORS, Host
from backends.disks.pool import disk as pool_disk
from backends.jobs import Kind
from backends.machines.spec import Power
from backends.model import DiskState
from backends.store.database import Connection, query

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """`machine_id` and `device` tell where it is attached; `is_plugged` whether the guest has it."""

    id: UUID
    size_bytes: int
    image_id: UUID | None
    source_disk_id: UUID | None
    wanted: DiskState
    generation: int
    observed_generation: int
    deleting: bool
    machine_id: UUID | None
    device: str | None
    is_plugged: bool


def converge_disk(host: Host, disk_id: UUID) -> None:
    with host.exclusively(Kind.DISK, disk_id):
        with host.connection() as connection:
            disk = _read(connection, disk_id)
        if disk is None:
            return
        try:
            if disk.deleting:
                _remove(host, disk)
                return
            _ensure(host, disk)
        except DRIVER_ERRORS as error:
            log.warning("disk not converged", disk=str(disk_id), reason=str(error))
            _observed(host, disk, DiskState.ERROR, str(error), generation=disk.observed_generation)
            return
        _observed(host, disk, disk.wanted, "", generation=disk.generation)


def _read(connection: Connection, disk_id: UUID) -> WantedDisk | None:
    row = connection.execute(query("agent.disk"), {"id": disk_id}).fetchone()
    if row is None:
        return None
    return WantedDisk(
        row[0], row[1], row[2], row[3], DiskState(row[4]), row[5], row[6], row[7], row[8], row[9], bool(row[10])
    )


def _ensure(host: Host, disk: WantedDisk) -> None:
    volume = pool_disk(disk.id)
    if disk.source_disk_id is not None:
        try:
            copy_disk(host, disk.source_disk_id, disk.id)
        finally:
            host.write("disk_copied", id=disk.id, source_id=disk.source_disk_id)
    elif disk.observed_generation > 0:
        host.pool.facts(volume)
    elif disk.image_id is not None:
        host.pool.ensure_clone(volume, disk.image_id, disk.size_bytes)
    else:
        host.pool.ensure_blank(volume, disk.size_bytes)
    running_in = _running_machine(host, disk)
    if running_in is None:
        host.pool.ensure_size(volume, disk.size_bytes)
    elif disk.is_plugged and disk.device is not None:
        host.hypervisor.grow_disk(running_in, disk.device, disk.size_bytes)


def copy_disk(host: Host, source_id: UUID, target_id: UUID) -> None:
    """A consistent copy of a disk, whether a running guest writes to it or not."""
    with host.exclusively(Kind.DISK, source_id), host.connection() as connection:
        source = _read(connection, source_id)
    running_in = _running_machine(host, source) if source is not None else None
    if source is not None and running_in is not None and source.device is not None:
        with host.pool.receiving(pool_disk(target_id)) as part:
            host.hypervisor.copy_disk(running_in, source.device, part)
    else:
        host.pool.ensure_copy(pool_disk(target_id), pool_disk(source_id))


def _running_machine(host: Host, disk: WantedDisk) -> UUID | None:
    if disk.machine_id is None or not disk.is_plugged:
        return None
    observed = host.hypervisor.observe(disk.machine_id)
    if observed is None or observed.power not in (Power.RUNNING, Power.PAUSED):
        return None
    return disk.machine_id


def _remove(host: Host, disk: WantedDisk) -> None:
    if disk.machine_id is not None:
        return  # the machine being deleted with it defers this again when it is gone
    host.pool.absent(pool_disk(disk.id))
    with host.connection() as connection, connection.transaction():
        connection.execute("DELETE FROM tagging WHERE resource_id = %s", [disk.id])
        connection.execute("DELETE FROM disk WHERE id = %s", [disk.id])


def _observed(host: Host, disk: WantedDisk, state: DiskState, message: str, *, generation: int) -> None:
    host.write("disk_observed", id=disk.id, state=state.value, message=message, generation=generation)
