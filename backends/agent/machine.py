"""Converging a machine: its domain, root disk, seed, ports and plugged disks.

Level-triggered: looks at wanted and actual, takes the missing steps, may be cut off anywhere and called again.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from backends import jobs
from backends.agent import shared
from backends.agent.bandwidth import limit_port
from backends.agent.disk import converge_disk
from backends.agent.groups import Unwanted, absent_port, ensure_port_groups
from backends.agent.host import DRIVER_ERRORS, Host, network_spec, tell_other_hosts, with_remotes
from backends.agent.served import ServedDisk, answers, iscsi_source, served_disk
from backends.agent.traffic import begin_counting
from backends.disks.inspect import ImageFormat
from backends.disks.pool import DiskPool, Volume, root_disk
from backends.disks.pool import disk as pool_disk
from backends.jobs import Kind
from backends.machines.seed import write_seed
from backends.machines.spec import (
    BaseImage,
    DiskFormat,
    DomainDisk,
    DomainInterface,
    DomainSpec,
    IscsiSource,
    Observed,
    PluggedDisk,
    Power,
    Reason,
)
from backends.model import Architecture, LinkState, MachineState, Pool, RestartMethod, StopMethod, SuspendMethod
from backends.networks.bandwidth import Bandwidth
from backends.networks.spec import NetworkSpec, Port
from backends.placement import place_waiting
from backends.store.database import Connection, query

log = structlog.get_logger()

PRESS_AGAIN_S = 5
"""A guest that is still booting misses the power button: it is pressed again until the time limit."""
LOOK_AGAIN_S = 5
"""After which a portal that didn't answer is asked again."""
STILL_READ_S = 1
"""After which it looks again at a disk whose bytes were being read or written."""
ROOT_DEVICE = "vda"
DOMAIN_FORMATS: dict[ImageFormat, DiskFormat] = {ImageFormat.QCOW2: "qcow2", ImageFormat.RAW: "raw"}


@dataclass(frozen=True, slots=True)
class WantedInterface:
    id: UUID
    network: NetworkSpec
    mac: str
    address: str | None
    is_active: bool
    deleting: bool
    address6: str | None
    plugged_addresses: tuple[str | None, str | None]
    """The addresses that its card in a running guest was plugged in with, as far as the agent has noted them."""
    bandwidth: Bandwidth

    @property
    def has_moved(self) -> bool:
        """Whether a running guest has to ask for its addresses anew."""
        is_noted = self.plugged_addresses != (None, None)
        return is_noted and self.plugged_addresses != (self.address, self.address6)


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """`served` is None for a disk of this host's own pool or a shared one. `host` is whose agent works on it."""

    id: UUID
    disk_id: UUID
    device: str
    deleting: bool
    read_only: bool
    served: ServedDisk | None
    host: str | None
    shared_pool: UUID | None
    is_settled: bool
    """Whether it is what it should be, with nothing to be written to it or made of it."""

    @property
    def is_awaited(self) -> bool:
        return self.served is not None and not self.served.is_ready and not self.deleting


@dataclass(frozen=True, slots=True)
class WantedMachine:
    """What should be, as the database has it, with what the agent has noted of it so far."""

    id: UUID
    title: str | None
    hostname: str | None
    architecture: Architecture
    cores: int
    memory_mib: int
    share: int | None
    root_size_bytes: int | None
    image_id: UUID | None
    root_image_id: UUID | None
    ssh_key: str | None
    user_data: str | None
    wanted: MachineState
    stop_method: StopMethod
    suspend_method: SuspendMethod
    restart_method: RestartMethod
    boots_wanted: int
    boots_done: int
    asked_to_stop_at: datetime | None
    host: str | None
    admitted: bool
    generation: int
    observed_generation: int
    state: MachineState
    deleting: bool
    max_cores: int | None
    power_pressed_at: datetime | None
    interfaces: tuple[WantedInterface, ...]
    disks: tuple[WantedDisk, ...]

    @property
    def restart_pending(self) -> bool:
        return self.boots_done < self.boots_wanted


class StillRead(Exception):
    """A disk can't be plugged in before those who read its bytes have ended."""


def converge_machine(host: Host, machine_id: UUID) -> None:
    """Makes the machine what it should be, as far as that goes without waiting."""
    with host.exclusively(Kind.MACHINE, machine_id):
        with host.connection() as connection:
            machine = _read(host, connection, machine_id)
        if machine is None or machine.host != host.name:
            return
        try:
            _converge(host, machine)
        except Unwanted as reason:
            log.info("machine left to its next job", machine=str(machine_id), reason=str(reason))
        except StillRead as reason:
            host.write("machine_waits", id=machine_id, message=str(reason))
            with host.connection() as connection:
                jobs.defer_later(connection, host.name, Kind.MACHINE, machine_id, delay_s=STILL_READ_S)
        except DRIVER_ERRORS as error:
            log.warning("machine not converged", machine=str(machine_id), reason=str(error))
            host.write("machine_failed", id=machine_id, message=str(error))


def _read(host: Host, connection: Connection, machine_id: UUID) -> WantedMachine | None:
    row = connection.execute(query("agent.machine"), {"id": machine_id}).fetchone()
    if row is None:
        return None
    networks = with_remotes(host, connection, [network_spec(*item[6]) for item in row[27] or ()])
    interfaces = tuple(
        WantedInterface(
            UUID(item[0]),
            network,
            item[2],
            item[3],
            item[4] == LinkState.ACTIVE,
            item[5],
            item[8],
            (item[7], item[9]),
            Bandwidth(item[10], item[11]),
        )
        for item, network in zip(row[27] or (), networks, strict=True)
    )
    disks = tuple(
        WantedDisk(
            UUID(item[0]),
            UUID(item[1]),
            item[2],
            item[4],
            item[5],
            served_disk(item[6:14]),
            item[8],
            UUID(item[14]) if item[14] else None,
            item[15],
        )
        for item in row[28] or ()
    )
    return WantedMachine(
        row[0], row[1], row[2], Architecture(row[3]), row[4], row[5], row[6], row[7], row[8], row[9], row[10],
        row[11], MachineState(row[12]), StopMethod(row[13]), SuspendMethod(row[14]), RestartMethod(row[15]),
        row[16], row[17], row[18], row[19], row[20], row[21], row[22], MachineState(row[23]), row[24],
        row[25], row[26], interfaces, disks,
    )  # fmt: skip


def _converge(host: Host, machine: WantedMachine) -> None:
    observed = host.hypervisor.observe(machine.id)
    if machine.deleting:
        _remove(host, machine)
    elif _guest_shut_itself_down(machine, observed, host.graceful_stop_s):
        host.write("guest_stopped", id=machine.id, generation=machine.generation)
        _settle_inactive(host, machine, "the guest shut itself down")
    elif machine.wanted is MachineState.ACTIVE and machine.admitted:
        _activate(host, machine, observed)
    elif machine.wanted is MachineState.SUSPENDED and machine.admitted:
        if machine.state is MachineState.INACTIVE and not _is_on(observed):  # asked for before it had started
            _activate(host, machine, observed)
            observed = host.hypervisor.observe(machine.id)
        _suspend(host, machine, observed)
    elif machine.wanted is MachineState.INACTIVE:
        _deactivate(host, machine, observed)


def _guest_shut_itself_down(machine: WantedMachine, observed: Observed | None, graceful_stop_s: float) -> bool:
    """Of its own wish: not because its power button was pressed before a start was asked for."""
    pressed_at = machine.power_pressed_at
    if pressed_at is not None and (datetime.now(UTC) - pressed_at).total_seconds() < graceful_stop_s:
        return False
    return (
        observed is not None
        and observed.power is Power.OFF
        and observed.reason is Reason.GUEST_SHUTDOWN
        and machine.wanted is MachineState.ACTIVE
        and machine.state is MachineState.ACTIVE
        and machine.generation == machine.observed_generation  # else it may have been stopped and started meanwhile
        and not machine.restart_pending
    )


def _is_on(observed: Observed | None) -> bool:
    return observed is not None and observed.power in (Power.RUNNING, Power.PAUSED, Power.CRASHED)


def _activate(host: Host, machine: WantedMachine, observed: Observed | None) -> None:
    if machine.restart_pending and _is_on(observed) and not _restart(host, machine, observed):
        return
    if machine.restart_pending:
        observed = host.hypervisor.observe(machine.id)
    held: set[UUID] = set()
    if _is_on(observed) and observed is not None and observed.power is Power.RUNNING:
        held = _plug(host, machine, observed)
    else:
        if awaited := [disk.disk_id for disk in machine.disks if disk.is_awaited]:
            message = f"waiting for the storage {awaited[0]}, which is not served yet"
            host.write("machine_waits", id=machine.id, message=message)
            return
        if silent := _unreachable(machine):
            host.write("machine_waits", id=machine.id, message=f"waiting for the storage {silent}")
            _look_again(host, machine)
            return
        is_off = observed is None or observed.power is Power.OFF
        for interface in machine.interfaces:
            _ensure_port(host, machine, interface)
        host.hypervisor.ensure_running(_spec(host, machine))
        _limit_ports(host, machine)
        observed = host.hypervisor.observe(machine.id)
        if is_off:
            host.write("machine_started", id=machine.id)
        elif observed is not None:  # one that was off has started with the devices of its specification
            held = _plug(host, machine, observed)
    if machine.restart_pending or machine.asked_to_stop_at is not None:
        host.write("machine_booted", id=machine.id, boots=machine.boots_wanted)
    _settle(host, machine, MachineState.ACTIVE, running=observed, held=held)


def _restart(host: Host, machine: WantedMachine, observed: Observed | None) -> bool:
    """False while the guest is still shutting down; True once it is off or has been reset."""
    match machine.restart_method:
        case RestartMethod.WARM if observed is not None and observed.power is Power.RUNNING:
            host.hypervisor.reset(machine.id)
            return True
        case RestartMethod.GRACEFUL if observed is not None and observed.power is Power.RUNNING:
            return _press_power_button(host, machine, forces=True)
        case _:
            host.hypervisor.ensure_off(machine.id)
            return True


def _press_power_button(host: Host, machine: WantedMachine, *, forces: bool) -> bool:
    """True once the guest is off, which it is at the end of the time limit if `forces`."""
    asked_at = machine.asked_to_stop_at
    if asked_at is not None and (datetime.now(UTC) - asked_at).total_seconds() >= host.graceful_stop_s:
        if not forces:
            return False
        host.hypervisor.ensure_off(machine.id)
        return True
    host.write("machine_asked_to_stop", id=machine.id, message="waiting for the guest to shut down")
    host.hypervisor.request_shutdown(machine.id)
    with host.connection() as connection:
        jobs.defer_later(connection, host.name, Kind.MACHINE, machine.id, delay_s=PRESS_AGAIN_S)
    return False


def _suspend(host: Host, machine: WantedMachine, observed: Observed | None) -> None:
    if machine.suspend_method is SuspendMethod.HIBERNATE:
        if _is_on(observed):
            host.hypervisor.ensure_hibernated(machine.id)
    elif observed is not None and observed.power is Power.RUNNING:
        host.hypervisor.ensure_paused(machine.id)
    if observed is None or observed.power is Power.OFF:
        _settle(host, machine, MachineState.ERROR, "there is no running guest to suspend: start it first")
        return
    _settle(host, machine, MachineState.SUSPENDED)


def _deactivate(host: Host, machine: WantedMachine, observed: Observed | None) -> None:
    if observed is not None and observed.power is Power.RUNNING and machine.stop_method is not StopMethod.POWEROFF:
        forces = machine.stop_method is StopMethod.GRACEFUL
        asked_at = machine.asked_to_stop_at
        if not _press_power_button(host, machine, forces=forces):
            if asked_at is None or (datetime.now(UTC) - asked_at).total_seconds() < host.graceful_stop_s:
                return
            host.write("guest_ignored_stop", id=machine.id, generation=machine.generation)
            message = f"the guest did not react to the power button within {host.graceful_stop_s:g} s"
            _settle(host, machine, MachineState.ACTIVE, message, running=observed)
            return
    host.hypervisor.ensure_off(machine.id)
    _settle_inactive(host, machine, "")


def _settle_inactive(host: Host, machine: WantedMachine, message: str) -> None:
    for interface in machine.interfaces:
        if interface.deleting:
            absent_port(host, interface.id)
            _forget_link(host, "interface", interface.id)
    for disk in machine.disks:
        if disk.deleting:
            _forget_link(host, "attachment", disk.id)
    host.write("machine_booted", id=machine.id, boots=machine.boots_wanted)
    _settle(host, machine, MachineState.INACTIVE, message)
    with host.connection() as connection:
        place_waiting(connection)
        for row in connection.execute(query("agent.images_to_save"), {"id": machine.id}).fetchall():
            jobs.defer(connection, host.name, Kind.IMAGE, row[0])


def _settle(
    host: Host,
    machine: WantedMachine,
    state: MachineState,
    message: str = "",
    *,
    running: Observed | None = None,
    held: Collection[UUID] = (),
) -> None:
    """`held` are the links that the guest hasn't released yet: they stay as they are."""
    link_state = LinkState.ACTIVE if state is MachineState.ACTIVE else LinkState.INACTIVE
    host.write(
        "machine_observed",
        id=machine.id,
        state=state.value,
        message=message,
        console=running.vnc if running else None,
        console_password=running.vnc_password if running else None,
        generation=machine.generation,
        link_state=link_state.value,
        held=list(held),
    )


def _remove(host: Host, machine: WantedMachine) -> None:
    host.hypervisor.absent(machine.id)
    for interface in machine.interfaces:
        absent_port(host, interface.id)
    for disk in machine.disks:
        host.hypervisor.secret_absent(disk.id)
    host.pool.absent(root_disk(machine.id))
    host.seed_path(machine.id).unlink(missing_ok=True)
    parameters = {"id": machine.id}
    with host.connection() as connection, connection.transaction():
        networks = connection.execute(query("agent.networks_left"), parameters).fetchall()
        disks = connection.execute(query("agent.disks_left"), parameters).fetchall()
        connection.execute(query("agent.forget_machine"), parameters)
        connection.execute("DELETE FROM machine WHERE id = %(id)s", parameters)
        for network_id, network_host in networks:
            jobs.defer(connection, network_host, Kind.NETWORK, network_id)
        for disk_id, disk_host in disks:
            jobs.defer(connection, disk_host, Kind.DISK, disk_id)
        place_waiting(connection)
    for network_id in {interface.network.id for interface in machine.interfaces}:
        tell_other_hosts(host, network_id)


def _spec(host: Host, machine: WantedMachine) -> DomainSpec:
    disks = []
    if machine.root_size_bytes is not None:
        _ensure_root(host, machine)
        disks.append(
            DomainDisk(host.pool.path(root_disk(machine.id)), "qcow2", ROOT_DEVICE, serial=machine.id.hex[:20])
        )
    for disk in machine.disks:
        if disk.deleting:
            _forget_link(host, "attachment", disk.id)
        else:
            disks.append(_plugged_disk(host, disk))
    seed = host.seed_path(machine.id)
    write_seed(
        seed,
        instance_id=str(machine.id),
        hostname=machine.hostname or f"vm-{machine.id.hex[:8]}",
        ssh_keys=tuple(line for line in (machine.ssh_key or "").splitlines() if line.strip()),
        user_data=base64.b64decode(machine.user_data) if machine.user_data else None,
    )
    return DomainSpec(
        machine.id,
        machine.title,
        machine.cores,
        machine.memory_mib,
        machine.share,
        machine.architecture,
        tuple(disks),
        tuple(_plugged_interface(host, interface) for interface in machine.interfaces if not interface.deleting),
        seed,
        machine.max_cores,
    )


def _ensure_root(host: Host, machine: WantedMachine) -> None:
    """The root disk, cloned from its image once; a lost one is never replaced in silence."""
    if machine.image_id is None or machine.root_size_bytes is None:
        return
    root = root_disk(machine.id)
    if machine.root_image_id == machine.image_id:
        host.pool.facts(root)
    else:
        if machine.root_image_id is not None:
            host.pool.absent(root)
        host.pool.ensure_clone(root, machine.image_id, machine.root_size_bytes)
        host.write("root_made", id=machine.id, image_id=machine.image_id)
    host.pool.ensure_size(root, machine.root_size_bytes)


def _plugged_disk(host: Host, disk: WantedDisk) -> DomainDisk:
    if disk.served is not None:
        host.hypervisor.ensure_secret(disk.id, disk.served.secret)
        source, serial = iscsi_source(disk.id, disk.served), disk.disk_id.hex[:20]
        return DomainDisk(source, "raw", disk.device, serial=serial, read_only=disk.read_only)
    if disk.shared_pool is not None and disk.host != host.name:
        _await_shared(host, disk)
    elif not converge_disk(host, disk.disk_id):
        raise StillRead(f"waiting for the storage {disk.disk_id}, whose bytes are being read or written")
    pool = host.pool_with(disk.shared_pool)
    return replace(_domain_disk(pool, pool_disk(disk.disk_id), disk.device), read_only=disk.read_only)


def _await_shared(host: Host, disk: WantedDisk) -> None:
    """`StillRead` until the host that works on it has let go of it; what nobody writes to stays with that one."""
    if disk.read_only and disk.is_settled:
        return
    if not disk.read_only:
        shared.ask_for(host, disk.disk_id)
    raise StillRead(f"waiting for the storage {disk.disk_id}, which host {disk.host} still works on")


def _domain_disk(pool: DiskPool, volume: Volume, device: str) -> DomainDisk:
    """With its whole chain, so that QEMU opens the files and formats known here and none that a guest names."""
    own, *bases = pool.chain(volume)
    return DomainDisk(
        own.path,
        DOMAIN_FORMATS[own.format],
        device,
        serial=volume.id.hex[:20],
        bases=tuple(BaseImage(base.path, DOMAIN_FORMATS[base.format]) for base in bases),
    )


def _plugged_interface(host: Host, interface: WantedInterface) -> DomainInterface:
    return DomainInterface(
        host.networks.tap_name(interface.id), host.networks.bridge_name(interface.network.id), interface.mac
    )


def _ensure_port(host: Host, machine: WantedMachine, interface: WantedInterface) -> None:
    if interface.deleting:
        absent_port(host, interface.id)
        _forget_link(host, "interface", interface.id)
        return
    with host.exclusively(Kind.NETWORK, interface.network.id):
        host.networks.ensure_network(interface.network)
    port = Port(
        interface.id, interface.network.id, interface.mac, interface.address, machine.hostname, interface.address6
    )
    ensure_port_groups(host, interface.id)
    limit_port(host, interface.id, interface.bandwidth)
    begin_counting(host, interface.id)
    known = host.networks.port(interface.id)
    host.networks.ensure_port(interface.network, port)
    if known is None or known.mac != port.mac:
        tell_other_hosts(host, interface.network.id)


def _limit_ports(host: Host, machine: WantedMachine) -> None:
    for interface in machine.interfaces:
        if not interface.deleting:
            limit_port(host, interface.id, interface.bandwidth)


def _plug(host: Host, machine: WantedMachine, observed: Observed) -> set[UUID]:
    """Brings the devices of a running guest in line: out with what is to go, in with what is new.

    The links whose devices the guest still holds are returned; they are tried again after a while.
    """
    if observed.cores < machine.cores:
        host.hypervisor.ensure_cores(machine.id, machine.cores)
    held = {link.id for link in machine.disks if not _plug_disk(host, machine, observed, link)}
    return held | {link.id for link in machine.interfaces if not _plug_interface(host, machine, observed, link)}


def _plug_interface(host: Host, machine: WantedMachine, observed: Observed, interface: WantedInterface) -> bool:
    """False while the guest holds it. A card with a new address is plugged anew, so that the guest asks for it."""
    tap = host.networks.tap_name(interface.id)
    plugged = next((card for card in observed.interfaces if card.tap == tap), None)
    is_cut_off = tap not in host.networks.taps()  # somebody deleted it under the guest
    if plugged is not None and (
        interface.deleting or interface.has_moved or is_cut_off or plugged.mac != interface.mac
    ):
        if not host.hypervisor.ensure_interface_detached(machine.id, tap):
            _retry_unplug(host, machine, "interface", interface.id)
            return False
        plugged = None
    if plugged is None or not interface.is_active:
        _ensure_port(host, machine, interface)
    elif not interface.deleting:
        ensure_port_groups(host, interface.id)
    if plugged is None and not interface.deleting:
        host.hypervisor.ensure_interface_attached(machine.id, _plugged_interface(host, interface))
    if not interface.deleting:
        limit_port(host, interface.id, interface.bandwidth)
    return True


def _plug_disk(host: Host, machine: WantedMachine, observed: Observed, disk: WantedDisk) -> bool:
    """False while the guest holds it."""
    devices = {plugged.device for plugged in observed.disks if _is_plugged(host, plugged, disk)}
    wanted = set() if disk.deleting else {disk.device}
    for device in devices - wanted:
        if not host.hypervisor.ensure_disk_detached(machine.id, device):
            _retry_unplug(host, machine, "attachment", disk.id)
            return False
    if disk.deleting:
        _forget_link(host, "attachment", disk.id)
    elif disk.is_awaited:
        return False  # its storage host asks for this again
    elif not devices & wanted:
        if disk.served is not None and not answers(disk.served.portal):
            host.write("link_waits", id=disk.id, message=f"waiting for the storage's portal {disk.served.portal}")
            _look_again(host, machine)
            return False
        host.hypervisor.ensure_disk_attached(machine.id, _plugged_disk(host, disk))
    elif disk.served is not None:
        host.hypervisor.grow_disk(machine.id, disk.device, disk.served.size_bytes)
    return True


def _is_plugged(host: Host, plugged: PluggedDisk, disk: WantedDisk) -> bool:
    """A served one is known by its secret, which is the attachment's own: its portal may have moved."""
    if isinstance(plugged.source, IscsiSource):
        return plugged.source.secret_id == disk.id
    pool = host.pool if disk.shared_pool is None else host.shared
    return disk.served is None and pool is not None and plugged.source == pool.path(pool_disk(disk.disk_id))


def _unreachable(machine: WantedMachine) -> str:
    """Which of its disks are on a host that doesn't answer, in words; empty if none."""
    for disk in machine.disks:
        if disk.served is not None and not disk.deleting and not answers(disk.served.portal):
            return f"{disk.disk_id}, whose portal {disk.served.portal} does not answer"
    return ""


def _look_again(host: Host, machine: WantedMachine) -> None:
    with host.connection() as connection:
        jobs.defer_later(connection, host.name, Kind.MACHINE, machine.id, delay_s=LOOK_AGAIN_S)


def _retry_unplug(host: Host, machine: WantedMachine, table: str, link_id: UUID) -> None:
    with host.connection() as connection:
        connection.execute(
            f"UPDATE {table} SET state_message = 'the guest has not released it yet' WHERE id = %s", [link_id]
        )
        jobs.defer_later(connection, host.name, Kind.MACHINE, machine.id, delay_s=PRESS_AGAIN_S)


def _forget_link(host: Host, table: str, link_id: UUID) -> None:
    with host.connection() as connection, connection.transaction():
        disk = connection.execute(query("agent.disk_of_attachment"), {"id": link_id}).fetchone()
        network = connection.execute("SELECT network_id FROM interface WHERE id = %s", [link_id]).fetchone()
        connection.execute("DELETE FROM tagging WHERE resource_id = %s", [link_id])
        connection.execute(f"DELETE FROM {table} WHERE id = %s AND deleting", [link_id])
        if disk is not None and disk[1] is not None and disk[2] == Pool.ISCSI:
            jobs.defer(connection, disk[1], Kind.DISK, disk[0])  # whose target is to forget the initiator
    if disk is not None:
        host.hypervisor.secret_absent(link_id)
    if network is not None:
        tell_other_hosts(host, network[0])
