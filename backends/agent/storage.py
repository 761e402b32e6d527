"""A storage host's agent: disks kept as files or logical volumes, and served by LIO to those that hold a grant.

It has neither machines nor networks. What a compute host does with a served disk is in `machine.py`.
"""

from __future__ import annotations

import asyncio
import threading
from uuid import UUID

import structlog
from procrastinate.exceptions import ConnectorException

from backends import jobs
from backends.agent.queue import chore, do_jobs, give_up, holding, taking
from backends.agent.served_disk import converge_served_disk, served_at_boot
from backends.agent.storage_host import STORAGE_ERRORS, StorageHost
from backends.jobs import Kind
from backends.placement import place_waiting
from backends.store.database import query

log = structlog.get_logger()


def run(host: StorageHost, conninfo: str, *, disk_overcommit: float, sweep_s: float) -> None:
    """Until SIGINT or SIGTERM, which let the running jobs finish. `HostTaken` if another agent has the host."""
    with taking(conninfo, host.name) as holder:
        begin(host, disk_overcommit)
        stopping = threading.Event()
        chores = [
            holding(stopping, holder, host.name),
            chore(stopping, "sweep", sweep_s, lambda: sweep(host), STORAGE_ERRORS),
        ]
        log.info("agent ready", host=host.name, portal=host.portal)
        try:
            asyncio.run(work(host, conninfo))
        except ConnectorException as error:
            give_up(host.name, str(error))
        finally:
            stopping.set()
            for each in chores:
                each.join(timeout=30)


def begin(host: StorageHost, disk_overcommit: float) -> None:
    """The volumes, LIO, and every target as before the reboot: before any job, before the host is offered."""
    host.volumes.prepare()
    host.targets.prepare()
    for disk_id, reason in host.targets.restore(served_at_boot(host)).items():
        log.warning("disk not served", disk=str(disk_id), reason=reason)
    host.write("storage.forget_dead_jobs", host=host.name)
    disk_bytes = int(host.volumes.room().total_bytes * disk_overcommit)
    host.write("storage.register_host", name=host.name, disk_bytes=disk_bytes, portal=host.portal)
    with host.connection() as connection:
        place_waiting(connection)


async def work(host: StorageHost, conninfo: str, *, until_idle: bool = False) -> None:
    """Does the jobs of the host's queue as they come; with `until_idle`, until none is left."""

    def converge(kind: Kind, resource_id: UUID) -> None:
        if kind is Kind.DISK:
            converge_served_disk(host, resource_id)
        else:
            log.warning("a storage host was asked for what it has not", kind=kind.value, resource=str(resource_id))

    await do_jobs(host.name, host.database, conninfo, converge, until_idle=until_idle)


def sweep(host: StorageHost) -> None:
    """Defers a job for whatever isn't as it should be; removes what no row accounts for; tells whether room is left.

    What is here is listed before the rows are read, for a row is always written first.
    """
    served, volumes = host.targets.targets(), host.volumes.disks()
    with host.connection() as connection:
        rows = connection.execute(query("storage.sweep"), {"host": host.name}).fetchall()
    for disk_id, is_settled in rows:
        if not is_settled or disk_id not in served or disk_id not in volumes:
            with host.connection() as connection:
                jobs.defer(connection, host.name, Kind.DISK, disk_id)
    known = {row[0] for row in rows}
    for disk_id in (served | volumes) - known:
        log.warning("leftover removed", disk=str(disk_id))
        host.targets.absent(disk_id)
        host.volumes.absent(disk_id)
    is_full = host.volumes.room().is_full
    message = host.full_message if is_full else ""
    host.write("storage.pool_seen", host=host.name, is_full=is_full, message=message)
