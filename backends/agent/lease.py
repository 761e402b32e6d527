"""A served disk that this host has to itself for a while, logging in as anybody does: to write its image to it while it
is new, and later for those who read or write its bytes.

It ends when nobody needs it, and then the storage host withdraws its grant; until then it grants to nobody else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog

from backends import jobs
from backends.agent import disk_bytes
from backends.agent.disk_bytes import Opening
from backends.agent.host import DRIVER_ERRORS, Host
from backends.agent.served import answers
from backends.disks.errors import PoolFull, ToolFailed
from backends.disks.pool import Uploaded, overwrite
from backends.disks.pool import disk as pool_disk
from backends.disks.tool import Node, Progress
from backends.disks.unit import Unit
from backends.jobs import Kind
from backends.store.database import query

log = structlog.get_logger()

LOOK_S, PATIENCE_S = 2, 10
"""How often, and for how long in vain, the portal is looked for while something is written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`is_served` once its target knows this host; `image_id`: what is to be written to it before anything else."""

    disk_id: UUID
    storage_host: str
    unit: Unit
    is_served: bool
    size_bytes: int
    image_id: UUID | None
    deleting: bool
    is_full: bool
    """Whether its storage host has no room."""
    opening: Opening | None
    is_written: bool
    """Whether the gateway has left something to be written to it."""
    is_wanted: bool
    """Whether somebody else waits for it."""


@dataclass(frozen=True, slots=True)
class LeasedBytes:
    """A leased disk, to `disk_bytes`."""

    host: Host
    lease: Lease

    @property
    def node(self) -> Node:
        return self.lease.unit.node(self.lease.size_bytes)

    def check_room(self, _size_bytes: int) -> None:
        """How much is left its host knows; what is written where something was needs none."""
        if self.lease.is_full:
            raise PoolFull(f"the pool of host {self.lease.storage_host} is full")

    def replace(self, image: Uploaded, progress: Progress) -> None:
        lease = self.lease
        with self.host.files.writing(lease.disk_id, self.node) as target:
            self.host.pool.write_over(target, pool_disk(lease.disk_id), image, lease.size_bytes, progress)


def converge_leased_disk(host: Host, disk_id: UUID) -> None:
    """Nothing of it stays open here once it isn't leased."""
    lease = _read(host, disk_id)
    if lease is None:
        host.files.close(disk_id, force=True)
        return
    try:
        if lease.deleting:
            disk_bytes.forget(host, disk_id)
            _end(host, lease)
        elif lease.is_served and lease.image_id is not None:
            _fill(host, lease, lease.image_id)
        elif lease.is_served:
            _serve_bytes(host, lease)
    except DRIVER_ERRORS as error:
        log.warning("leased disk not served", disk=str(disk_id), reason=str(error))
        if lease.image_id is not None:
            host.write("disk_not_filled", id=disk_id, message=f"its image could not be written: {error}")
            return
        host.files.cut_off(disk_id)
        host.files.close(disk_id, force=True)
        host.write("disk_waits", id=disk_id, message=str(error) if lease.is_written else "")
        if lease.opening is not None:
            host.write("disk_closed", id=disk_id, until=lease.opening.until, message=str(error))
        if lease.is_written:
            disk_bytes.ask_again(host, disk_id, disk_bytes.WRITE_AGAIN_S, "not written")
        else:
            _end(host, lease)


def _read(host: Host, disk_id: UUID) -> Lease | None:
    with host.connection() as connection:
        row = connection.execute(query("agent.leased_disk"), {"id": disk_id, "host": host.name}).fetchone()
    if row is None:
        return None
    storage_host, portal, target, initiator, secret = row[:5]
    unit = Unit(portal or "", (target or "").partition(",")[0], initiator, secret)
    opening = Opening(row[10]) if row[10] is not None else None
    return Lease(disk_id, storage_host, unit, row[5], row[6], row[7], row[8], row[9], opening, row[11], row[12])


def _fill(host: Host, lease: Lease, image_id: UUID) -> None:
    """What was cut off is begun again."""
    image = host.pool.image_file(image_id)
    with _watched(host, lease), host.files.writing(lease.disk_id, lease.unit.node(lease.size_bytes)) as target:
        overwrite((image,), target, is_zero=True)
    _end(host, lease)


def _serve_bytes(host: Host, lease: Lease) -> None:
    if not answers(lease.unit.portal):
        raise _lost(lease)
    if (lease.is_written or lease.is_wanted) and not disk_bytes.is_released(host, lease.disk_id):
        return
    place = LeasedBytes(host, lease)
    if lease.is_written:
        with _watched(host, lease):
            disk_bytes.write_what_waits(host, lease.disk_id, place)
        host.write("disk_waits", id=lease.disk_id, message="")
    if lease.opening is not None:
        disk_bytes.open_or_close(host, lease.disk_id, lease.opening, place, is_wanted=lease.is_wanted)
    _end(host, lease)


def _end(host: Host, lease: Lease) -> None:
    """Unless somebody reads it, or something more is to be written: whoever asks for that locks the disk's row too."""
    with host.connection() as connection, connection.transaction():
        connection.execute("SELECT FROM disk WHERE id = %s FOR UPDATE", [lease.disk_id])
        parameters = {"id": lease.disk_id, "host": host.name}
        if connection.execute(query("agent.end_disk_lease"), parameters).rowcount:
            jobs.defer(connection, lease.storage_host, Kind.DISK, lease.disk_id)


@contextmanager
def _watched(host: Host, lease: Lease) -> Iterator[None]:
    """QEMU's initiator tries for ever to log in again: who waits for it is cut off when the portal is gone for good."""
    is_done, is_lost = threading.Event(), threading.Event()

    def watch() -> None:
        missed_s = 0
        while not is_done.wait(LOOK_S):
            missed_s = 0 if answers(lease.unit.portal) else missed_s + LOOK_S
            if missed_s >= PATIENCE_S:
                is_lost.set()
                host.files.cut_off(lease.disk_id)

    thread = threading.Thread(target=watch, name="portal", daemon=True)
    thread.start()
    try:
        yield
    except DRIVER_ERRORS:
        if is_lost.is_set():
            raise _lost(lease) from None
        raise
    finally:
        is_done.set()
        thread.join()


def _lost(lease: Lease) -> ToolFailed:
    return ToolFailed(f"the portal {lease.unit.portal} of host {lease.storage_host} does not answer")
