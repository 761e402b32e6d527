"""The agent's life: takes the host, converges what its queue asks for, sweeps, listens to libvirt, beats."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import procrastinate
import structlog
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from backends import jobs
from backends.agent import shared
from backends.agent.consoles import Consoles
from backends.agent.disk import converge_disk
from backends.agent.groups import converge_group
from backends.agent.host import DRIVER_ERRORS, Host
from backends.agent.image import converge_image
from backends.agent.machine import converge_machine
from backends.agent.measurements import measure
from backends.agent.network import converge_network
from backends.agent.queue import chore, do_jobs, give_up, holding, taking
from backends.agent.sweep import sweep
from backends.agent.traffic import count_traffic
from backends.errors import DatabaseUnavailable
from backends.jobs import Kind
from backends.machines.events import EventKind, MachineEvent
from backends.model import NetworkClass
from backends.networks.losses import Losses
from backends.placement import place_waiting

log = structlog.get_logger()

CONVERGE: dict[Kind, Callable[[Host, UUID], object]] = {
    Kind.MACHINE: converge_machine,
    Kind.NETWORK: converge_network,
    Kind.DISK: converge_disk,
    Kind.IMAGE: converge_image,
    Kind.GROUP: converge_group,
}
CONSOLES_S = 1
MEASURE_S = 15
INTERESTING = {EventKind.STOPPED, EventKind.CRASHED, EventKind.DISK_ERROR, EventKind.DEVICE_REMOVED}
"""The events after which a machine may not be as it should be; all others are the agent's own doing."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the host offers to machines; overcommitment is in the numbers already."""

    cores: int
    memory_mib: int
    disk_bytes: int
    classes: Sequence[NetworkClass]
    vlans: Sequence[tuple[int, int]]
    """Each from the first to the last, for users."""


def run(host: Host, conninfo: str, capacity: Capacity, *, sweep_s: float) -> None:
    """Until SIGINT or SIGTERM, which let the running jobs finish. `HostTaken` if another agent has the host.

    Ends the process at once when the connection that holds the host is lost, for then another may take it.
    """
    with taking(conninfo, host.name) as holder:
        begin(host, capacity)
        stopping, look = threading.Event(), threading.Event()
        consoles = Consoles(host)
        chores = [
            holding(stopping, holder, host.name),
            chore(stopping, "sweep", sweep_s, lambda: sweep(host), DRIVER_ERRORS, look),
            chore(stopping, "consoles", CONSOLES_S, consoles.bring, DRIVER_ERRORS),
            chore(stopping, "measurements", MEASURE_S, lambda: measure(host), DRIVER_ERRORS),
            chore(stopping, "traffic", MEASURE_S, lambda: count_traffic(host), DRIVER_ERRORS),
        ]
        losses = Losses(host.networks.is_ours, lambda: look_if_lost(host, look))
        watch = host.hypervisor.watch(lambda machine_id, event: _on_event(host, look, machine_id, event))
        log.info("agent ready", host=host.name, domain_type=host.hypervisor.domain_type)
        try:
            asyncio.run(work(host, conninfo))
        except procrastinate.exceptions.ConnectorException as error:
            give_up(host.name, str(error))
        finally:
            stopping.set()
            look.set()
            watch.stop()
            losses.stop()
            for each in chores:
                each.join(timeout=30)


def begin(host: Host, capacity: Capacity) -> None:
    """What an agent does first: forgets what the last one was at (the sweep sees to it), and offers the host."""
    host.write("forget_dead_jobs", host=host.name)
    host.write(
        "register_host",
        name=host.name,
        cores=capacity.cores,
        memory_mib=capacity.memory_mib,
        disk_bytes=capacity.disk_bytes,
        classes=[network_class.value for network_class in capacity.classes],
        vlans=Multirange([Range(first, last, "[]") for first, last in capacity.vlans]),
        domain_type=host.hypervisor.domain_type,
        tunnel_address=host.networks.tunnel_address,
    )
    host.write("withdraw_site_networks")
    shared.see_folder(host)
    for what in host.networks.lacks():
        log.warning("this host lacks something", what=what)
    with host.connection() as connection:
        place_waiting(connection)


async def work(host: Host, conninfo: str, *, until_idle: bool = False) -> None:
    """Does the jobs of the host's queue as they come; with `until_idle`, until none is left."""

    def converge(kind: Kind, resource_id: UUID) -> None:
        CONVERGE[kind](host, resource_id)

    await do_jobs(host.name, host.database, conninfo, converge, until_idle=until_idle)


def look_if_lost(host: Host, look: threading.Event) -> None:
    """Sets `look` if a table or bridge is gone. What the agent removes, it has when it lets go of the networks."""
    try:
        with host.networks.exclusively():
            is_lost = host.networks.has_lost() or host.groups.has_lost()
    except DRIVER_ERRORS as error:
        log.warning("networks not looked at", reason=str(error))
    else:
        if is_lost:
            look.set()


def _on_event(host: Host, look: threading.Event, machine_id: UUID | None, event: MachineEvent) -> None:
    if event.kind is EventKind.CONNECTED:
        look.set()  # what happened while libvirt was away sends no event any more
    if machine_id is None or event.kind not in INTERESTING:
        return
    with contextlib.suppress(DatabaseUnavailable), host.connection() as connection:
        jobs.defer(connection, host.name, Kind.MACHINE, machine_id)
