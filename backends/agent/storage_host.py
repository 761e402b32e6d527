"""A storage host as its agent sees it: its volumes, its targets, its database, and who may touch what at one time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from backends.disks.errors import DiskError
from backends.disks.iscsi import Targets
from backends.disks.volumes import Volumes
from backends.errors import CloudError
from backends.store.database import Connection, Database, query

STORAGE_ERRORS = (DiskError, CloudError, OSError)


@dataclass(frozen=True, slots=True)
class StorageHost:
    """`portal` is the ADDRESS:PORT at which others reach the targets."""

    name: str
    database: Database
    targets: Targets
    volumes: Volumes
    portal: str
    _locks: dict[UUID, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    @property
    def full_message(self) -> str:
        return f"the pool of host {self.name} is full: writing fails wherever the disk had nothing yet"

    @contextmanager
    def exclusively(self, disk_id: UUID) -> Iterator[None]:
        with self._locks[disk_id]:
            yield

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self.database.connection() as connection:
            yield connection

    def write(self, statement: str, **parameters: object) -> None:
        """Runs one named statement of its own."""
        with self.database.connection() as connection:
            connection.execute(query(statement), parameters)
