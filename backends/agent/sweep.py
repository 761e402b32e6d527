"""Looking at everything at once: drift heals, waiting machines are placed, leftovers of ours go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from backends import jobs
from backends.agent import shared
from backends.agent.bandwidth import restore_limits
from backends.agent.groups import restore_groups
from backends.agent.host import DRIVER_ERRORS, Host, network_spec, with_remotes
from backends.disks.pool import disk, root_disk
from backends.jobs import Kind
from backends.machines.spec import Observed, Power
from backends.model import DiskState, ImageState, LinkState, MachineState
from backends.networks.spec import Port
from backends.placement import place_waiting
from backends.store.database import query
from backends.store.rows import Row

log = structlog.get_logger()

SETTLED_POWER: dict[MachineState, set[Power | None]] = {
    MachineState.ACTIVE: {Power.RUNNING},
    MachineState.SUSPENDED: {Power.PAUSED, Power.HIBERNATED},
    MachineState.INACTIVE: {Power.OFF, None},
}


@dataclass(frozen=True, slots=True)
class _Rows:
    machines: Sequence[Row]
    networks: Sequence[Row]
    ports: Sequence[Row]
    disks: Sequence[Row]
    images: Sequence[Row]
    leases: Sequence[Row]


def sweep(host: Host) -> None:
    """Defers a job for whatever isn't as it should be; restores the networks; removes what no row accounts for.

    What is here is listed before the rows are read: a row is always written before its thing is made, so
    whatever is here without a row is a leftover and not something new.
    """
    domains = host.hypervisor.machines()
    roots, disks = host.pool.machines(), host.pool.disks()
    folder = shared.see_folder(host)
    shared_disks = host.shared.disks() if folder is not None and host.shared is not None else set()
    opened = host.files.opened()
    image_files = host.pool.images()
    seeds = set(host.seeds.iterdir())
    taps = host.networks.taps()
    with host.networks.exclusively():  # a port made after its row was read would pass for a leftover
        rows = _read(host)
        _restore(host, rows)
    for kind, resource_id in _unsettled(host, rows, disks | shared_disks, taps):
        with host.connection() as connection:
            jobs.defer(connection, host.name, kind, resource_id)
    with host.connection() as connection:
        place_waiting(connection)
    machine_ids = {row[0] for row in rows.machines}
    for machine_id in domains - machine_ids:
        log.warning("leftover domain removed", machine=str(machine_id))
        host.hypervisor.absent(machine_id)
    for leftover in [root_disk(found) for found in roots - machine_ids] + [
        disk(found) for found in disks - {row[0] for row in rows.disks}
    ]:
        log.warning("leftover removed", what=str(leftover))
        host.pool.absent(leftover)
    host.pool.remove_unused_layers()
    if folder is not None:
        shared.remove_leftovers(host, folder, shared_disks)
        shared.take_over(host, folder)
    for disk_id in opened - {row[0] for row in (*rows.disks, *rows.leases)}:
        log.warning("leftover opening closed", disk=str(disk_id))
        host.files.close(disk_id, force=True)
    for image_id in image_files - {row[0] for row in rows.images}:
        log.warning("leftover image removed", image=str(image_id))
        host.pool.absent_image(image_id)
    for seed in seeds:
        if not any(str(machine_id) in seed.name for machine_id in machine_ids):  # an unfinished one has it too
            seed.unlink(missing_ok=True)


def _read(host: Host) -> _Rows:
    with host.connection() as connection:
        machines, networks, ports, disks, images, leases = (
            connection.execute(query(f"agent.sweep_{name}"), {"host": host.name}).fetchall()
            for name in ("machines", "networks", "ports", "disks", "images", "leases")
        )
    return _Rows(machines, networks, ports, disks, images, leases)


def _restore(host: Host, rows: _Rows) -> None:
    for restore in (_restore_networks, _restore_groups, _restore_limits):
        try:
            restore(host, rows)
        except DRIVER_ERRORS as error:  # everything else is to be looked at all the same
            log.warning("networks not restored", reason=str(error))


def _restore_networks(host: Host, rows: _Rows) -> None:
    with host.connection() as connection:
        specs = with_remotes(host, connection, [network_spec(*row[:9]) for row in rows.networks])
    ports = [Port(*row) for row in rows.ports]
    restored = host.networks.restore(specs, ports)
    for what in restored.repaired:
        log.warning("network repaired", what=what)
    for network_id, reason in restored.failed.items():
        log.warning("network not restored", network=str(network_id), reason=reason)
    at_home = {row[0] for row in rows.networks if row[-1]}
    with host.connection() as connection:
        for network_id in restored.failed.keys() & at_home:  # its job finds out as well, and says so
            jobs.defer(connection, host.name, Kind.NETWORK, network_id)


def _restore_groups(host: Host, _rows: _Rows) -> None:
    for what in restore_groups(host):
        log.warning("network repaired", what=what)


def _restore_limits(host: Host, _rows: _Rows) -> None:
    for what in restore_limits(host):
        log.warning("network repaired", what=what)


def _unsettled(host: Host, rows: _Rows, disk_files: set[UUID], taps: set[str]) -> list[tuple[Kind, UUID]]:
    found: list[tuple[Kind, UUID]] = []
    for machine_id, wanted, state, is_seen, deleting, admitted, is_booted in rows.machines:
        observed = host.hypervisor.observe(machine_id)
        power = observed.power if observed else None
        is_settled = state == wanted and is_seen and is_booted and power in SETTLED_POWER[MachineState(wanted)]
        is_cut_off = power is Power.RUNNING and observed is not None and _taps_of(observed) - taps
        is_waiting = wanted == MachineState.ACTIVE and not admitted and power in (None, Power.OFF)
        if deleting or is_cut_off or not (is_settled or is_waiting):
            found.append((Kind.MACHINE, machine_id))
    for network_id, *facts, state, is_seen, deleting, is_at_home in rows.networks:
        network_class, is_up = facts[4:6]
        wanted_state = LinkState.ACTIVE if is_up else LinkState.INACTIVE
        if is_at_home and (deleting or state != wanted_state or not (is_seen or network_class)):
            found.append((Kind.NETWORK, network_id))
    found += [
        (Kind.DISK, disk_id)
        for disk_id, wanted, state, is_seen, deleting, has_bytes_to_move in rows.disks
        if deleting
        or not is_seen
        or DiskState(state) not in (DiskState(wanted), DiskState.DEGRADED)
        or disk_id not in disk_files
        or has_bytes_to_move
    ]
    found += [
        (Kind.IMAGE, image_id)
        for image_id, state, deleting, is_saved in rows.images
        if deleting or (is_saved and state == ImageState.PENDING)
    ]
    return found


def _taps_of(observed: Observed) -> set[str]:
    return {card.tap for card in observed.interfaces if card.tap is not None}
