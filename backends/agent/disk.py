"""Converging a persistent disk: made once from nothing, an image or another disk, grown, removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog

from backends import jobs
from backends.agent import disk_bytes, shared
from backends.agent.disk_bytes import Opening, PoolBytes
from backends.agent.host import DRIVER_ERRORS, Host
from backends.agent.lease import converge_leased_disk
from backends.disks.errors import NotThere, PoolMissing
from backends.disks.pool import DiskPool
from backends.disks.pool import disk as pool_disk
from backends.disks.shared_pool import SharedPool
from backends.jobs import Kind
from backends.machines.errors import AnotherCopyRuns
from backends.machines.spec import Power
from backends.model import DiskState
from backends.store.database import Connection, query

log = structlog.get_logger()

COPY_AGAIN_S = 1
"""What failed in the middle."""


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """`machine_id` is where it is attached, one of them if it is read-only; whether the guest has it by now is for
    libvirt to say.

    `source_disk_id`: what it is to be a copy of; if it was made before, what it is to be replaced by.
    """

    id: UUID
    size_bytes: int
    image_id: UUID | None
    source_disk_id: UUID | None
    wanted: DiskState
    generation: int
    observed_generation: int
    deleting: bool
    machine_id: UUID | None
    is_copied: bool
    """Whether copies of it are still to be made."""
    read_only: bool
    is_snapshot: bool
    """Whether it never changes."""
    opening: Opening | None
    is_written: bool
    """Whether the gateway has left something to be written to it."""
    shared_pool: UUID | None
    """The shared folder that it is in; None: the host's own pool."""
    next_host: str | None
    """One that asks for it."""
    source_host: str | None
    """The one that works on what it is to be a copy of: that makes the copy too."""


def converge_disk(host: Host, disk_id: UUID) -> bool:
    """False while it can't become what it should be: somebody reads its bytes, or its machine's other disk is copied.

    Then it is tried again.
    """
    with _exclusively(host, disk_id), host.exclusively(Kind.DISK, disk_id):
        with host.connection() as connection:
            disk = _read(host, connection, disk_id)
        if disk is None:
            converge_leased_disk(host, disk_id)
            return True
        try:
            pool = host.pool_with(disk.shared_pool)
            if disk.deleting:
                _remove(host, pool, disk)
                return True
            if disk.source_host not in (None, host.name):
                return _hand_over(host, disk, disk.source_host)
            if not _ensure(host, pool, disk):
                return False
        except AnotherCopyRuns:
            disk_bytes.ask_again(host, disk_id, COPY_AGAIN_S, "not copied")
            return False
        except DRIVER_ERRORS as error:
            _failed(host, disk, error)
            return True
        _settled(host, pool, disk)
        return True


def _settled(host: Host, pool: DiskPool, disk: WantedDisk) -> None:
    is_full = isinstance(pool, SharedPool) and disk.wanted is DiskState.ONLINE and pool.room().is_full
    state, message = (DiskState.DEGRADED, shared.FULL) if is_full else (disk.wanted, "")
    _observed(host, disk, state, message, generation=disk.generation)
    if disk.next_host not in (None, host.name) and _hand_over(host, disk, disk.next_host):
        return
    if disk.opening is not None:
        place = PoolBytes(host, pool, disk.id, disk.size_bytes)
        disk_bytes.open_or_close(host, disk.id, disk.opening, place, is_wanted=disk.machine_id is not None)


def _failed(host: Host, disk: WantedDisk, error: Exception) -> None:
    """Of a disk whose folder isn't mounted here, another host that has it may make more."""
    log.warning("disk not converged", disk=str(disk.id), reason=str(error))
    if isinstance(error, PoolMissing) and disk.shared_pool is not None:
        other = shared.another_host(host, disk.shared_pool)
        if other is not None and _hand_over(host, disk, other):
            return
    _observed(host, disk, DiskState.ERROR, str(error), generation=disk.observed_generation)


def _hand_over(host: Host, disk: WantedDisk, to: str | None) -> bool:
    return to is not None and disk_bytes.is_released(host, disk.id) and shared.hand_over(host, disk.id, to)


@contextmanager
def _exclusively(host: Host, disk_id: UUID) -> Iterator[None]:
    """The machine that the disk is attached to is held before it, so that none plugs it in or out meanwhile."""
    with host.connection() as connection:
        disk = _read(host, connection, disk_id)
    if disk is None or disk.machine_id is None:
        yield
        return
    with host.exclusively(Kind.MACHINE, disk.machine_id):
        yield


def _read(host: Host, connection: Connection, disk_id: UUID) -> WantedDisk | None:
    row = connection.execute(query("agent.disk"), {"id": disk_id, "host": host.name}).fetchone()
    if row is None:
        return None
    opening = Opening(row[12]) if row[12] is not None else None
    return WantedDisk(
        row[0], row[1], row[2], row[3], DiskState(row[4]), row[5], row[6], row[7], row[8], row[9], row[10], row[11],
        opening, row[13], row[14], row[15], row[16],
    )  # fmt: skip


def _ensure(host: Host, pool: DiskPool, disk: WantedDisk) -> bool:
    """False while somebody reads it."""
    volume = pool_disk(disk.id)
    if disk.source_disk_id is not None:
        if not disk_bytes.is_released(host, disk.id):
            return False
        try:
            copy_disk(host, pool, disk.source_disk_id, disk.id, replaces=disk.observed_generation > 0)
        except DRIVER_ERRORS:
            host.write("disk_not_copied", source_id=disk.source_disk_id)
            raise
        host.write("disk_copied", id=disk.id, source_id=disk.source_disk_id)
        with host.connection() as connection:
            source = _read(host, connection, disk.source_disk_id)
            if source is not None and (source.deleting or source.next_host is not None):
                jobs.defer(connection, host.name, Kind.DISK, source.id)
    elif disk.observed_generation > 0:
        pool.facts(volume)
    elif disk.image_id is not None and isinstance(pool, SharedPool):
        pool.ensure_made_from(volume, host.pool.image_file(disk.image_id), disk.size_bytes)
    elif disk.image_id is not None:
        pool.ensure_clone(volume, disk.image_id, disk.size_bytes)
    else:
        pool.ensure_blank(volume, disk.size_bytes)
    plugged = _plugged(host, pool, disk)
    if plugged is None:
        return _ensure_at_rest(host, pool, disk)
    host.hypervisor.grow_disk(*plugged, disk.size_bytes)
    return True


def _ensure_at_rest(host: Host, pool: DiskPool, disk: WantedDisk) -> bool:
    """Its size, what is to be written to it, and that nobody reads what a machine is to have."""
    volume = pool_disk(disk.id)
    grows = pool.facts(volume).size_bytes < disk.size_bytes
    if (grows or disk.is_written or disk.machine_id is not None) and not disk_bytes.is_released(host, disk.id):
        return False
    if grows:
        pool.ensure_size(volume, disk.size_bytes)
    if disk.is_written:
        try:
            disk_bytes.write_what_waits(host, disk.id, PoolBytes(host, pool, disk.id, disk.size_bytes))
        except DRIVER_ERRORS as error:
            log.warning("disk not written", disk=str(disk.id), reason=str(error))
            disk_bytes.ask_again(host, disk.id, disk_bytes.WRITE_AGAIN_S, "not written")
            return False
    return True


def copy_disk(host: Host, pool: DiskPool, source_id: UUID, target_id: UUID, *, replaces: bool) -> None:
    """A consistent copy of a disk, whether a running guest writes to it or not. `replaces`: what the target was.

    Without a machine there is none that could open it while it is held, and one that hibernates knows no new layers.
    """
    target = pool_disk(target_id)
    with host.exclusively(Kind.DISK, source_id):
        with host.connection() as connection:
            source = _read(host, connection, source_id)
        if source is None and isinstance(pool, SharedPool):
            raise NotThere(f"disk {source_id} is not here, so nothing can be copied from it")
        if source is None or source.machine_id is None:
            is_snapshot = source is not None and source.is_snapshot
            pool.ensure_branch(target, pool_disk(source_id), changes=not is_snapshot, replaces=replaces)
            return
    plugged = _plugged(host, pool, source)
    if plugged is not None:
        with pool.receiving(target) as part:
            host.hypervisor.copy_disk(*plugged, part)
    else:
        pool.ensure_copy(target, pool_disk(source_id), replaces=replaces)


def _plugged(host: Host, pool: DiskPool, disk: WantedDisk) -> tuple[UUID, str] | None:
    """The running machine that has it open, and the device that it is there; None for a disk at rest."""
    if disk.machine_id is None or disk.read_only:  # what nobody writes to is always at rest
        return None
    observed = host.hypervisor.observe(disk.machine_id)
    if observed is None or observed.power not in (Power.RUNNING, Power.PAUSED):
        return None
    path = pool.path(pool_disk(disk.id))
    return next(((observed.id, plugged.device) for plugged in observed.disks if plugged.source == path), None)


def _remove(host: Host, pool: DiskPool, disk: WantedDisk) -> None:
    if disk.machine_id is not None or disk.is_copied:
        return  # the machine being deleted with it, or who is copying it, defers this again
    disk_bytes.forget(host, disk.id)
    pool.absent(pool_disk(disk.id))
    with host.connection() as connection, connection.transaction():
        connection.execute("DELETE FROM tagging WHERE resource_id = %s", [disk.id])
        connection.execute("DELETE FROM disk WHERE id = %s", [disk.id])


def _observed(host: Host, disk: WantedDisk, state: DiskState, message: str, *, generation: int) -> None:
    host.write("disk_observed", id=disk.id, state=state.value, message=message, generation=generation)
