"""The agent's life: takes the host, converges what its queue asks for, sweeps, listens to libvirt, beats."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn
from uuid import UUID

import procrastinate
import psycopg
import structlog
from procrastinate.jobs import DeleteJobCondition
from psycopg.rows import TupleRow

from backends import jobs
from backends.agent.consoles import Consoles
from backends.agent.disk import converge_disk
from backends.agent.host import DRIVER_ERRORS, Host
from backends.agent.image import converge_image
from backends.agent.machine import converge_machine
from backends.agent.measurements import measure
from backends.agent.network import converge_network
from backends.agent.sweep import sweep
from backends.errors import DatabaseUnavailable
from backends.jobs import Kind
from backends.machines.events import EventKind, MachineEvent
from backends.placement import place_waiting
from backends.store.database import query

log = structlog.get_logger()

CONVERGE: dict[Kind, Callable[[Host, UUID], None]] = {
    Kind.MACHINE: converge_machine,
    Kind.NETWORK: converge_network,
    Kind.DISK: converge_disk,
    Kind.IMAGE: converge_image,
}
CONCURRENCY = 8
HEARTBEAT_S = 10
LOOK_FOR_LOSS_S = 0.5
CONSOLES_S = 1
MEASURE_S = 15
INTERESTING = {EventKind.STOPPED, EventKind.CRASHED, EventKind.DISK_ERROR, EventKind.DEVICE_REMOVED}
"""The events after which a machine may not be as it should be; all others are the agent's own doing."""


class HostTaken(Exception):
    """Another agent runs for this host."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the host offers to machines; overcommitment is in the numbers already."""

    cores: int
    memory_mib: int
    disk_bytes: int


def run(host: Host, conninfo: str, capacity: Capacity, *, sweep_s: float) -> None:
    """Until SIGINT or SIGTERM, which let the running jobs finish. `HostTaken` if another agent has the host.

    Ends the process at once when the connection that holds the host is lost, for then another may take it.
    """
    with psycopg.connect(conninfo, autocommit=True) as holder:
        taken = holder.execute("SELECT pg_try_advisory_lock(hashtext('agent'), hashtext(%s))", [host.name]).fetchone()
        if taken != (True,):
            raise HostTaken(f"another agent runs for the host {host.name}")
        begin(host, capacity)
        stopping, look = threading.Event(), threading.Event()
        consoles = Consoles(host)
        chores = [
            _holding(stopping, holder, host),
            _chore(stopping, "sweep", sweep_s, lambda: sweep(host), look),
            _chore(stopping, "consoles", CONSOLES_S, consoles.bring),
            _chore(stopping, "measurements", MEASURE_S, lambda: measure(host)),
        ]
        watch = host.hypervisor.watch(lambda machine_id, event: _on_event(host, look, machine_id, event))
        log.info("agent ready", host=host.name, domain_type=host.hypervisor.domain_type)
        try:
            asyncio.run(work(host, conninfo))
        except procrastinate.exceptions.ConnectorException as error:
            _give_up(host, str(error))
        finally:
            stopping.set()
            look.set()
            watch.stop()
            for chore in chores:
                chore.join(timeout=30)


def begin(host: Host, capacity: Capacity) -> None:
    """What an agent does first: forgets what the last one was at (the sweep sees to it), and offers the host."""
    host.write("forget_dead_jobs", host=host.name)
    host.write(
        "register_host",
        name=host.name,
        cores=capacity.cores,
        memory_mib=capacity.memory_mib,
        disk_bytes=capacity.disk_bytes,
        domain_type=host.hypervisor.domain_type,
    )
    with host.connection() as connection:
        place_waiting(connection)


async def work(host: Host, conninfo: str, *, until_idle: bool = False) -> None:
    """Does the jobs of the host's queue as they come; with `until_idle`, until none is left."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY))
    application = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))

    def converge(kind: str, resource_id: str, request_id: str) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_id, kind=kind, resource=resource_id):
            CONVERGE[Kind(kind)](host, UUID(resource_id))
            log.debug("converged")

    def converge_later(kind: str, resource_id: str, request_id: str) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_id), host.connection() as connection:
            jobs.defer(connection, host.name, Kind(kind), UUID(resource_id))

    application.task(name=jobs.CONVERGE)(converge)
    application.task(name=jobs.CONVERGE_LATER)(converge_later)
    async with application.open_async():
        await application.run_worker_async(
            queues=[host.name],
            wait=not until_idle,
            concurrency=CONCURRENCY,
            fetch_job_polling_interval=1,
            shutdown_graceful_timeout=60,
            delete_jobs=DeleteJobCondition.ALWAYS,
        )


def _holding(stopping: threading.Event, holder: psycopg.Connection[TupleRow], host: Host) -> threading.Thread:
    """A thread that beats over the connection which holds the host, and ends the agent when that is lost."""

    def hold() -> None:
        try:
            while not stopping.is_set():
                holder.execute(query("agent.heartbeat"), {"name": host.name})
                due = time.monotonic() + HEARTBEAT_S
                while not stopping.is_set() and time.monotonic() < due:
                    list(holder.notifies(timeout=LOOK_FOR_LOSS_S))  # nobody notifies: it raises at a loss
        except psycopg.OperationalError as error:
            if not stopping.is_set():
                _give_up(host, str(error))

    thread = threading.Thread(target=hold, name="heartbeat", daemon=True)
    thread.start()
    return thread


def _give_up(host: Host, reason: str) -> NoReturn:
    """Not even running jobs go on: every step may be cut off, but none may meet another agent's."""
    log.error("the database is gone, and with it the hold on the host", host=host.name, reason=reason.strip())
    os._exit(1)


def _on_event(host: Host, look: threading.Event, machine_id: UUID | None, event: MachineEvent) -> None:
    if event.kind is EventKind.CONNECTED:
        look.set()  # what happened while libvirt was away sends no event any more
    if machine_id is None or event.kind not in INTERESTING:
        return
    with contextlib.suppress(DatabaseUnavailable), host.connection() as connection:
        jobs.defer(connection, host.name, Kind.MACHINE, machine_id)


def _chore(
    stopping: threading.Event,
    name: str,
    period_s: float,
    do: Callable[[], None],
    soon: threading.Event | None = None,
) -> threading.Thread:
    """A thread that does it now, every `period_s`, and whenever `soon` is set; failures are logged and retried."""
    wake = soon or stopping

    def repeat() -> None:
        while not stopping.is_set():
            try:
                do()
            except (*DRIVER_ERRORS, DatabaseUnavailable) as error:
                log.warning(f"{name} failed", reason=str(error))
            if wake.wait(period_s) and not stopping.is_set():
                wake.clear()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    return thread
