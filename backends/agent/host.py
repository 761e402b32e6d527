"""A host as its agent sees it: its drivers, its database, and who may touch what at one time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from backends.disks.errors import DiskError
from backends.disks.pool import DiskPool
from backends.errors import CloudError
from backends.jobs import Kind
from backends.machines.errors import MachineError
from backends.machines.hypervisor import Hypervisor
from backends.networks.driver import Networks
from backends.networks.spec import NetworkSpec
from backends.store.database import Connection, Database, query

DRIVER_ERRORS = (MachineError, DiskError, CloudError, OSError)
"""What a driver raises when the host can't be made so: it ends up in a state message and is tried again."""


@dataclass(frozen=True, slots=True)
class Host:
    """`graceful_stop_s` is how long a guest has to obey the power button before it is cut off."""

    name: str
    database: Database
    hypervisor: Hypervisor
    pool: DiskPool
    networks: Networks
    seeds: Path
    graceful_stop_s: float
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

    def seed_path(self, machine_id: UUID) -> Path:
        return self.seeds / f"{machine_id}.iso"


def network_spec(
    network_id: UUID,
    cidr: str | None,
    gateway: str | None,
    cidr6: str | None,
    masquerade6: bool,
    shared: bool,
    is_up: bool,
) -> NetworkSpec:
    """In the order of the columns that say it."""
    return NetworkSpec(
        network_id, cidr=cidr, gateway=gateway, nat=shared, up=is_up, cidr6=cidr6, masquerade6=masquerade6
    )
