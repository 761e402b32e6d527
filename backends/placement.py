"""Which host: where there is room, and never beyond it.

A machine that is *admitted* counts on its host with its cores and memory; its root disk, disks and
saved images count as long as they exist. All decisions are taken one after the other, under one lock, so that two never
take the same room.
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
    networks: Sequence[UUID] = ()
    """Those that its machine is to be on."""
    pool: Pool = Pool.FILE
    """The kind of host: machines, networks and their files are on one, disks served to others on another. What is in
    a shared folder counts there, and is worked on by a host that has it.
    """
    shared_pool: UUID | None = None
    """The folder that the host must have."""

    @property
    def parameters(self) -> dict[str, object]:
        return {
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "disk_bytes": self.disk_bytes,
            "host": self.host,
            "networks": list(self.networks),
            "pool": self.pool.value,
            "shared_pool": self.shared_pool,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Of a disk."""

    host: str
    shared_pool: UUID | None


def choose_host(connection: Connection, need: Need) -> str | None:
    """The living host with the most free memory that has room, or None. Holds the lock until commit."""
    place = choose_place(connection, need)
    return None if place is None else place.host


def choose_place(connection: Connection, need: Need) -> Place | None:
    """As `choose_host`, with the shared folder, of several the one with the most room left."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [PLACEMENT_LOCK])
    row = connection.execute(query(f"placement.choose_{_chosen(need)}"), need.parameters).fetchone()
    return None if row is None else Place(*row)


def _chosen(need: Need) -> str:
    return "shared_pool" if need.pool is Pool.SHARED else "host"


def not_offered(connection: Connection, networks: Sequence[UUID], host: str | None) -> Sequence[str]:
    """Names of the networks that no machine of the host (None: of any) can be on."""
    parameters = {"networks": list(networks), "host": host}
    return [name for (name,) in connection.execute(query("placement.not_offered"), parameters)]


def settle_network(connection: Connection, network_id: UUID) -> str | None:
    """The host that it is at home on from now: one that has its VLAN, or else one that can say that it hasn't."""
    host = choose_host(connection, Need(networks=(network_id,))) or choose_host(connection, Need())
    connection.execute(query("placement.settle_network"), {"id": network_id, "host": host})
    return host


def waiting_message(connection: Connection, need: Need) -> str:
    """The state message of what has to wait."""
    return f"waiting for room: {shortage(connection, need)}"


def shortage(connection: Connection, need: Need) -> str:
    """What is asked for, and what of it no host had: words for who got None of `choose_host`."""
    row = connection.execute(query(f"placement.most_free_{_chosen(need)}"), need.parameters).fetchone()
    asked = {
        "cores": (need.cores, f"{need.cores} core{'' if need.cores == 1 else 's'}"),
        "memory": (need.memory_mib, f"{need.memory_mib} MiB of memory"),
        "disk": (need.disk_bytes, f"{need.disk_bytes / 2**30:g} GiB of disk"),
    }
    wanted = [words for amount, words in asked.values() if amount]
    free = (None, None, None) if row is None else row
    short = [
        name
        for (name, (amount, _)), most in zip(asked.items(), free, strict=True)
        if amount and most is not None and amount > most
    ]
    missing = not_offered(connection, need.networks, need.host)
    if missing and None not in free:
        whose = f"host {need.host} doesn't have" if need.host else "no host has"
        lacking = f"{whose} the network {' or '.join(missing)}"
    elif None in free:
        who = "no host with the shared folder" if need.pool is Pool.SHARED or need.shared_pool else "no host"
        lacking = f"host {need.host} did not answer" if need.host else f"{who} answered"
    elif short and need.pool is Pool.SHARED:
        lacking = f"{' and '.join(short)} short in every shared folder"
    elif short:
        lacking = f"{' and '.join(short)} short on {f'host {need.host}' if need.host else 'every host'}"
    else:
        lacking = "no host had all of it"
    return f"asks for {_listed(wanted)}; {lacking}" if wanted else lacking


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def place_waiting(connection: Connection) -> Sequence[UUID]:
    """Gives room to what waits for it, oldest first; returns the machines admitted.

    One that doesn't fit is passed over, so a small one may overtake a large one.
    """
    with connection.transaction():
        placed = []
        for (network_id,) in connection.execute(query("placement.homeless_networks")).fetchall():
            host = settle_network(connection, network_id)
            if host is not None:
                jobs.defer(connection, host, Kind.NETWORK, network_id)
        for disk_id, size_bytes, pool in connection.execute(query("placement.homeless_disks")).fetchall():
            place = choose_place(connection, Need(disk_bytes=size_bytes, pool=Pool(pool)))
            if place is not None:
                settled = {"id": disk_id, "host": place.host, "shared_pool": place.shared_pool}
                connection.execute(query("placement.settle_disk"), settled)
                jobs.defer(connection, place.host, Kind.DISK, disk_id)
        for row in connection.execute(query("placement.waiting_machines")).fetchall():
            machine_id, cores, memory_mib, disk_bytes, host, pinned_host, shared_pool, networks = row
            need = Need(
                cores,
                memory_mib,
                0 if host else disk_bytes,
                host or pinned_host,
                networks,
                shared_pool=shared_pool,
            )
            chosen = choose_host(connection, need)
            if chosen is not None:
                connection.execute(query("placement.admit_machine"), {"id": machine_id, "host": chosen})
                jobs.defer(connection, chosen, Kind.MACHINE, machine_id)
                placed.append(machine_id)
        return placed
