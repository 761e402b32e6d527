"""Which host: where there is room, and never beyond it.

A machine that is *admitted* counts on its host with its cores and memory; its root disk counts as long as it
exists. All decisions are taken one after the other, under one lock, so that two never take the same room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from backends import jobs
from backends.jobs import Kind
from backends.model import Pool
from backends.store.database import Connection, query

PLACEMENT_LOCK = 7_204_312


@dataclass(frozen=True, slots=True)
class Need:
    """What is asked of a host. `host` names the only one possible, where its disk or network is."""

    cores: int = 0
    memory_mib: int = 0
    disk_bytes: int = 0
    host: str | None = None
    pool: Pool = Pool.FILE
    """The kind of host: machines, networks and their files are on one, disks served to others on another."""


def choose_host(connection: Connection, need: Need) -> str | None:
    """The living host with the most free memory that has room, or None. Holds the lock until commit."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [PLACEMENT_LOCK])
    row = connection.execute(
        query("placement.choose_host"),
        {
            "cores": need.cores,
            "memory_mib": need.memory_mib,
            "disk_bytes": need.disk_bytes,
            "host": need.host,
            "pool": need.pool.value,
        },
    ).fetchone()
    return None if row is None else str(row[0])


def waiting_message(need: Need) -> str:
    """The state message of what has to wait."""
    asked = f"{need.cores} cores, {need.memory_mib} MiB of memory and {need.disk_bytes / 2**30:g} GiB of disk"
    where = f"on host {need.host}" if need.host else "on any host"
    return f"waiting for room: asks for {asked}, which are not free {where} now"


def place_waiting(connection: Connection) -> Sequence[UUID]:
    """Gives room to what waits for it, oldest first; returns the machines admitted.

    One that doesn't fit is passed over, so a small one may overtake a large one.
    """
    with connection.transaction():
        placed = []
        for kind in (Kind.NETWORK, Kind.DISK):
            for resource_id, size_bytes, pool in connection.execute(query(f"placement.homeless_{kind}")).fetchall():
                host = choose_host(connection, Need(disk_bytes=size_bytes, pool=Pool(pool)))
                if host is not None:
                    connection.execute(query(f"placement.settle_{kind}"), {"id": resource_id, "host": host})
                    jobs.defer(connection, host, kind, resource_id)
        for row in connection.execute(query("placement.waiting_machines")).fetchall():
            machine_id, cores, memory_mib, disk_bytes, host, pinned_host = row
            need = Need(cores, memory_mib, 0 if host else disk_bytes, host or pinned_host)
            chosen = choose_host(connection, need)
            if chosen is not None:
                connection.execute(query("placement.admit_machine"), {"id": machine_id, "host": chosen})
                jobs.defer(connection, chosen, Kind.MACHINE, machine_id)
                placed.append(machine_id)
        return placed
