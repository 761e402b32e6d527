"""Disks of a shared folder, which change hands: the host in a disk's row is the only one whose agent works on it.

A host lets go of a disk itself, when another asks for it and nothing is left to be done. What a host has whose agent
is gone, the others take over while they hold that agent's lock, so that none is started meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import structlog

from backends import jobs
from backends.agent.host import Host
from backends.disks.errors import PoolMissing
from backends.disks.pool import disk as pool_disk
from backends.jobs import Kind
from backends.store.database import Connection, query

log = structlog.get_logger()

FULL = "the shared folder is full: writing fails wherever the disk had nothing yet"


def ask_for(host: Host, disk_id: UUID) -> None:
    """For a disk that another host works on; once, the sweeps see to the rest."""
    with host.connection() as connection, connection.transaction():
        row = connection.execute(query("agent.disk_asked_for"), {"id": disk_id, "host": host.name}).fetchone()
        if row is not None:
            jobs.defer(connection, row[0], Kind.DISK, disk_id)


def hand_over(host: Host, disk_id: UUID, to: str) -> bool:
    """False while something holds it here. The disk must be held, and closed."""
    parameters = {"id": disk_id, "host": host.name, "to": to}
    with host.connection() as connection, connection.transaction():
        connection.execute(query("agent.held_disk"), parameters)
        if connection.execute(query("agent.disk_handed_over"), parameters).rowcount == 0:
            return False
        _tell(connection, disk_id, to)
    log.info("disk handed over", disk=str(disk_id), to=to)
    return True


def another_host(host: Host, shared_pool: UUID) -> str | None:
    """A living one that has the folder."""
    with host.connection() as connection:
        row = connection.execute(
            query("agent.another_host_of_pool"), {"shared_pool": shared_pool, "host": host.name}
        ).fetchone()
    return row[0] if row else None


def see_folder(host: Host) -> UUID | None:
    """Tells the others whether this host has the folder now, and what room there is; None if it hasn't."""
    if host.shared is None:
        host.write("shared_pool_missed", host=host.name)
        return None
    try:
        identity = host.shared.identity()
        with host.connection() as connection:
            if connection.execute(query("agent.shared_pool"), {"id": identity}).fetchone() is None:
                raise PoolMissing(f"the shared folder {host.shared.folder} is the pool {identity} of another cloud")
        host.shared.found(identity)
        room = host.shared.room()
    except (PoolMissing, OSError) as error:
        log.warning("no shared folder", reason=str(error))
        host.write("shared_pool_missed", host=host.name)
        return None
    host.write(
        "shared_pool_seen",
        host=host.name,
        shared_pool=identity,
        disk_bytes=int(room.total_bytes * host.disk_overcommit),
        is_full=room.is_full,
        message=FULL if room.is_full else "",
    )
    return identity


def take_over(host: Host, shared_pool: UUID) -> None:
    """What belongs to hosts whose agents have been gone for long."""
    parameters = {"shared_pool": shared_pool, "host": host.name}
    with host.connection() as connection:
        dead = connection.execute(query("agent.dead_hosts_of_pool"), parameters).fetchall()
        for (name,) in dead:
            with connection.transaction():
                if connection.execute(query("agent.lock_host"), {"host": name}).fetchone() != (True,):
                    continue
                connection.execute(query("agent.held_disks_of_host"), {**parameters, "dead": name})
                taken = connection.execute(query("agent.disks_taken_over"), {**parameters, "dead": name}).fetchall()
                for (disk_id,) in taken:
                    _tell(connection, disk_id, host.name)
                    log.warning("disk taken over", disk=str(disk_id), from_host=name)


def remove_leftovers(host: Host, shared_pool: UUID, found: set[UUID]) -> None:
    """Of what was found in the folder, that which no host's rows account for.

    Of disks that there are, what was cut off goes when they are worked on again.
    """
    if host.shared is None:
        return
    unfinished = host.shared.unfinished()
    with host.connection() as connection:
        rows = connection.execute(query("agent.disks_of_shared_pool"), {"shared_pool": shared_pool}).fetchall()
    known = {row[0] for row in rows}
    with suppress(PoolMissing):
        pool = host.shared.found(shared_pool)
        for disk_id in found - known:
            log.warning("leftover removed", what=str(pool_disk(disk_id)))
            pool.absent(pool_disk(disk_id))
        for path, disk_id in unfinished.items():
            if disk_id not in known:
                path.unlink(missing_ok=True)
        pool.remove_unused_layers()


def _tell(connection: Connection, disk_id: UUID, name: str) -> None:
    jobs.defer(connection, name, Kind.DISK, disk_id)
    for (machine_id,) in connection.execute(
        query("agent.machines_awaiting_disk"), {"id": disk_id, "host": name}
    ).fetchall():
        jobs.defer(connection, name, Kind.MACHINE, machine_id)
