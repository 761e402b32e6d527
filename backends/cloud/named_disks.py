"""The door to disks by their names: as CDMI sees them, children of the container `disks` of their project.

They are the same rows as everywhere: nothing of a disk is kept twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypedDict, cast
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from backends import retention
from backends.acl import AceMask
from backends.cloud.copies import check_not_copied, check_not_written
from backends.cloud.disks import DiskChanges, DiskDoor
from backends.cloud.grants import check_not_attached, check_not_exported
from backends.cloud.objects import check_name
from backends.errors import Conflict, Invalid, NotFound
from backends.model import DiskState, NewDisk, Pool, WriteState
from backends.objects import ObjectKind
from backends.store.database import Connection, query
from backends.store.rows import DISKS, Row

UUID_LIKE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


SNAPSHOTS_BIT = 1 << 79
"""Of the container of a disk's snapshots: its UUID is the disk's but for this bit of the version."""


def identity_of_snapshots(disk_id: UUID) -> UUID:
    """Of the container of its snapshots; and the other way round."""
    return UUID(int=disk_id.int ^ SNAPSHOTS_BIT)


@dataclass(frozen=True, slots=True)
class NamedDisk:
    """A disk, or a snapshot of one."""

    id: UUID
    way: tuple[str, ...]
    """The names from the root to it. Its own is chosen at its creation by CDMI; else its UUID."""
    size_bytes: int
    state: DiskState
    state_message: str
    is_made: bool
    """Whether it has ever been what it should be; a served one, whether its target is."""
    metadata: Mapping[str, Any]
    """The user's own, and what is asked for as for any container."""
    created_at: datetime
    pool: Pool
    export_names: Mapping[str, str]
    """Those that a client has given to its exports (CDMI 2.0 §13.1), by protocol."""
    fields: Mapping[str, Any]
    """Those that the standard doesn't define."""
    snapshot_of: UUID | None
    read_only: bool
    value_id: UUID
    """Of the data object that its bytes are."""
    host: str | None
    owner: str
    """The name of the user who made it, of a snapshot its disk; empty where that wasn't kept."""
    write_state: WriteState | None
    """Of what was last written into it by CDMI or HTTP."""
    write_message: str
    write_percent: int
    """How far that has come."""
    is_within_reach: bool
    """Of this gateway's own host, which has its pool, or logs in where it is served."""
    volatile: bool
    is_restricted: bool
    """To certain machines."""
    is_exported: bool
    """To initiators outside."""
    is_attached: bool
    disk_metadata: Mapping[str, Any]
    """Of a snapshot those of its disk, whose holds and retention keep it; else its own."""

    @property
    def name(self) -> str:
        return self.way[-1]

    @property
    def is_others_to_write(self) -> bool:
        """Who has it goes on when something above it is put on hold."""
        return (self.is_attached or self.is_exported) and not self.read_only


class DiskWishes(TypedDict, total=False):
    """What is left out is chosen, or stays as it was."""

    size_bytes: int
    pool: Pool
    host: str
    read_only: bool
    volatile: bool


class NamedDiskDoor(DiskDoor):
    """Names are unique in a project; a cloud admin's are those of the own project."""

    def disk_names(self, offset: int = 0, limit: int | None = None) -> Sequence[str]:
        self.require_of_disks(AceMask.LIST_CONTAINER)
        parameters = {"project": self._caller.project_id, "offset": offset, "limit": limit}
        with self._read() as connection:
            return [row[0] for row in connection.execute(query("disks.names"), parameters).fetchall()]

    def count_disks(self) -> int:
        with self._read() as connection:
            row = connection.execute(query("disks.count"), {"project": self._caller.project_id}).fetchone()
        return 0 if row is None else int(row[0])

    def disk_way(self, identity: UUID | None) -> tuple[str, ...] | None:
        """The names below the project's root of a disk, a snapshot, the container of its snapshots, or that of disks.

        `()` is the root, which has no need of an ID; None is anything else.
        """
        if identity is None or identity == self._caller.project_id:
            return ()
        parameters = {"project": self._caller.project_id, "id": identity, "above": identity_of_snapshots(identity)}
        with self._read() as connection:
            row = connection.execute(query("disks.way"), parameters).fetchone()
        return None if row is None else tuple(row[0])

    def named_disk(self, name: str, snapshot: str | None = None) -> NamedDisk:
        """The disk, or its snapshot of that name."""
        found = self._named([name], snapshot)
        if not found:
            what = f"snapshot {snapshot[:300]!r} of a disk" if snapshot is not None else "disk"
            raise NotFound(f"there is no {what} {name[:300]!r}")
        return found[0]

    def named_disks(self, offset: int, limit: int) -> Sequence[NamedDisk]:
        """By name, a page of them by two queries."""
        return self._named(self.disk_names(offset, limit))

    def _named(self, names: Sequence[str], snapshot: str | None = None) -> Sequence[NamedDisk]:
        here = self._opened.host if self._opened is not None else None
        parameters = {"project": self._caller.project_id, "names": list(names), "snapshot": snapshot, "here": here}
        with self._read() as connection:
            rows = connection.execute(query("disks.named"), parameters).fetchall()
        return [_named_disk(row) for row in rows]

    def disk_tag(self, disk: NamedDisk) -> str:
        """Another one after each change that a user makes of it."""
        with self._read() as connection:
            row = connection.execute(query("disks.tag"), {"id": disk.id}).fetchone()
        if row is None:
            raise NotFound(f"the disk {disk.name!r} has just been deleted")
        return str(row[0])

    def disk_snapshots(self, disk: NamedDisk) -> Sequence[str]:
        """Their names, in the order in which they were taken."""
        with self._read() as connection:
            return [row[0] for row in connection.execute(query("disks.snapshots"), {"id": disk.id}).fetchall()]

    def snapshot_named_disk(self, disk: NamedDisk, name: str) -> NamedDisk:
        """One of the same name is replaced. See `snapshot_disk`."""
        check_name(name, ObjectKind.CONTAINER)
        if UUID_LIKE.fullmatch(name):
            raise Invalid(f"the name is {name}: UUIDs are the names of snapshots that were given none")
        with self._change() as connection:
            snapshot = self.snapshot_disk(disk.id)
            if name in self.disk_snapshots(disk):
                self.delete_disk(self.named_disk(disk.name, name).id)
            parameters = {
                "id": snapshot.id,
                "name": name,
                "metadata": Jsonb({n: value for n, value in disk.metadata.items() if n not in retention.RIGHTS}),
                "fields": Jsonb(dict(disk.fields)),
            }
            connection.execute(query("disks.set_name"), parameters)
            return self.named_disk(disk.name, name)

    def create_named_disk(
        self,
        name: str,
        wishes: DiskWishes,
        metadata: Mapping[str, Any],
        source: NamedDisk | None = None,
        fields: Mapping[str, Any] = MappingProxyType({}),
    ) -> NamedDisk:
        """Blank, or a full copy of `source`, whose size is the least and the default, and whose pool the only one.

        `Conflict`: the name is taken.
        """
        check_name(name, ObjectKind.CONTAINER)
        if UUID_LIKE.fullmatch(name):
            raise Invalid(f"the name is {name}: UUIDs are the names of disks that were given none")
        retention.check_metadata(metadata)
        new = NewDisk(title=name, **wishes)
        with self._change() as connection:
            disk = self.create_disk(new) if source is None else self.clone_disk(source.id, new)
            try:
                with connection.transaction():
                    parameters = {
                        "id": disk.id,
                        "name": name,
                        "metadata": Jsonb(dict(metadata)),
                        "fields": Jsonb(dict(fields)),
                    }
                    connection.execute(query("disks.set_name"), parameters)
            except psycopg.errors.UniqueViolation:
                raise Conflict(f"there is a disk called {name!r} already") from None
            for item in sorted(metadata.keys() & retention.RIGHTS.keys()):
                self.require_of_disk(disk.id, retention.RIGHTS[item])
            return self.named_disk(name)

    def name_exports(self, disk_id: UUID, names: Mapping[str, str]) -> None:
        """As the client calls them, by protocol; those left out go by their protocol."""
        with self._change() as connection:
            self._one(DISKS, disk_id)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            connection.execute(query("disks.name_exports"), {"id": disk_id, "names": Jsonb(dict(names))})

    def change_named_disk(
        self,
        disk: NamedDisk,
        wishes: DiskWishes,
        metadata: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """None: as it was. It only grows (`Invalid`)."""
        with self._change() as connection:
            size_bytes = wishes.get("size_bytes", disk.size_bytes)
            if size_bytes < disk.size_bytes:
                self.require_of_disk(disk.id, AceMask.WRITE_METADATA)  # the refusal tells the size
                raise Invalid(f"cdmi_assignedsize is {size_bytes}: a disk of {disk.size_bytes} bytes can only grow")
            if any(getattr(disk, name) != value for name, value in wishes.items()):
                self.update_disk(disk.id, cast(DiskChanges, wishes))
            if metadata is not None or fields is not None:
                self._check_disk_change(connection, disk, metadata, fields)
                parameters = {
                    "id": disk.id,
                    "metadata": None if metadata is None else Jsonb(dict(metadata)),
                    "fields": None if fields is None else Jsonb(dict(fields)),
                }
                connection.execute(query("disks.set_metadata"), parameters)

    def _check_disk_change(
        self,
        connection: Connection,
        disk: NamedDisk,
        metadata: Mapping[str, Any] | None,
        fields: Mapping[str, Any] | None,
    ) -> None:
        """Each item takes a right of its own; what is kept changes in nothing but what keeps it."""
        old, new = disk.metadata, disk.metadata if metadata is None else metadata
        changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        keeping = changed & retention.RIGHTS.keys()
        for name in sorted(keeping):
            self.require_of_disk(disk.id, retention.RIGHTS[name])
        is_more = changed != keeping or fields not in (None, disk.fields)
        if is_more or not keeping:
            self.require_of_disk(disk.id, AceMask.WRITE_METADATA)
        retention.check_change(old, new, datetime.now(UTC))
        if is_more:
            self.require_unkept(disk.id)
        if keeping and not disk.read_only:
            check_not_attached(connection, disk.id)
            check_not_exported(connection, disk.id)
            check_not_written(connection, disk.id)
            check_not_copied(connection, disk.id, only_restored=True)


def _named_disk(row: Row) -> NamedDisk:
    return NamedDisk(
        row[0], tuple(row[1]), row[2], DiskState(row[3]), row[4], row[5], row[6], row[7], Pool(row[8]), row[9],
        row[10], row[11], row[12], row[13], row[14], row[15], WriteState(row[16]) if row[16] else None,
        row[17] or "", row[18] or 0, row[19], row[20], row[21], row[22], row[23], row[24],
    )  # fmt: skip
