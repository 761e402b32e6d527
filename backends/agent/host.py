"""A host as its agent sees it: its drivers, its database, and who may touch what at one time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from backends import jobs
from backends.disks.errors import DiskError, PoolMissing
from backends.disks.files import DiskFiles
from backends.disks.pool import DiskPool
from backends.disks.shared_pool import SharedPool
from backends.errors import CloudError
from backends.jobs import Kind
from backends.machines.errors import MachineError
from backends.machines.hypervisor import Hypervisor
from backends.model import NetworkClass
from backends.networks.bandwidth import Limits
from backends.networks.driver import Networks
from backends.networks.groups import Groups
from backends.networks.spec import NetworkSpec, Tunnel
from backends.networks.traffic import Meter
from backends.store.database import Connection, Database, query

DRIVER_ERRORS = (MachineError, DiskError, CloudError, OSError)
"""What a driver raises when the host can't be made so: it ends up in a state message and is tried again."""


@dataclass(frozen=True, slots=True)
class Host:
    """`graceful_stop_s` is how long a guest has to obey the power button before it is cut off.

    `values` is where a gateway on this host leaves what is to be written to disks. `shared` is the folder that other
    hosts have too, if this one is to have it; `disk_overcommit` is what each byte of it is offered as.
    """

    name: str
    database: Database
    hypervisor: Hypervisor
    pool: DiskPool
    networks: Networks
    files: DiskFiles
    groups: Groups
    limits: Limits
    meter: Meter
    seeds: Path
    values: Path
    graceful_stop_s: float
    shared: SharedPool | None = None
    disk_overcommit: float = 1
    _locks: dict[tuple[Kind, UUID], threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    @contextmanager
    def exclusively(self, kind: Kind, resource_id: UUID) -> Iterator[None]:
        """One thread at a time per resource: a machine's job also makes the networks and disks that it needs."""
        with self._locks[(kind, resource_id)]:
            yield

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self.database.connection() as connection:
            yield connection

    def write(self, statement: str, **parameters: object) -> None:
        """Runs one named statement of its own."""
        with self.database.connection() as connection:
            connection.execute(query(f"agent.{statement}"), parameters)

    def pool_with(self, shared_pool: UUID | None) -> DiskPool:
        """The host's own, or that of the shared folder: `PoolMissing` where that isn't mounted now."""
        if shared_pool is None:
            return self.pool
        if self.shared is None:
            raise PoolMissing(f"{self.name} has no shared folder (its setting shared_pool is empty)")
        return self.shared.found(shared_pool)

    def seed_path(self, machine_id: UUID) -> Path:
        return self.seeds / f"{machine_id}.iso"


FIRST_VNI = 4096
VNIS = 2**24 - FIRST_VNI


def network_spec(
    network_id: UUID | str,
    cidr: str | None,
    gateway: str | None,
    cidr6: str | None,
    masquerade6: bool,
    network_class: str | None,
    is_up: bool,
    vlan: int | None,
    sequence: int,
) -> NetworkSpec:
    """In the order of the columns that say it. What goes to other hosts goes by VLAN, or else by a tunnel."""
    is_tunnelled = vlan is None and network_class in (None, NetworkClass.LOCAL)
    return NetworkSpec(
        network_id if isinstance(network_id, UUID) else UUID(network_id),
        cidr=cidr,
        gateway=gateway,
        nat=network_class in (NetworkClass.LOCAL, NetworkClass.PRIVATE),
        up=is_up,
        cidr6=cidr6,
        masquerade6=masquerade6,
        public=network_class == NetworkClass.PUBLIC,
        vlan=vlan,
        tunnel=Tunnel(FIRST_VNI + sequence % VNIS) if is_tunnelled else None,
    )


def with_remotes(host: Host, connection: Connection, specs: Iterable[NetworkSpec]) -> list[NetworkSpec]:
    """The same, with who is behind which other host, if this one reaches any."""
    specs = list(specs)
    if host.networks.tunnel_address is None:
        return specs
    remotes: dict[UUID, list[tuple[str, str]]] = defaultdict(list)
    parameters = {"ids": [spec.id for spec in specs if spec.tunnel is not None], "host": host.name}
    for network_id, mac, address in connection.execute(query("agent.remotes"), parameters):
        remotes[network_id].append((mac, address))
    return [
        spec if spec.tunnel is None else replace(spec, tunnel=replace(spec.tunnel, remotes=tuple(remotes[spec.id])))
        for spec in specs
    ]


def tell_other_hosts(host: Host, network_id: UUID) -> None:
    """Has the others that this network is on learn of an interface that came, went or changed here."""
    if host.networks.tunnel_address is None:
        return
    with host.connection() as connection:
        parameters = {"id": network_id, "host": host.name}
        for row in connection.execute(query("agent.other_hosts_of_network"), parameters).fetchall():
            jobs.defer(connection, row[0], Kind.NETWORK, network_id)
