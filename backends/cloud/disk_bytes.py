"""The door to the bytes of disks: as files that their agent opens to be read, and what is to be written to them.

A disk is its machine's alone while it is attached. The gateway must be on the disk's own host: they share files. Its
host asks for a disk of a shared folder that is with another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID, uuid4

from backends.cloud.named_disks import NamedDisk, NamedDiskDoor
from backends.errors import CloudError, Conflict, Invalid, NoCapacity, NotApplicable, NotFound, TryLater
from backends.jobs import Kind
from backends.model import DiskState, Pool, WriteFormat, WriteState
from backends.store.database import Connection, query
from backends.store.rows import DISKS
from backends.values import Received

OPEN_S = 5
"""How long the agent keeps a disk open that nobody reads."""
WAIT_S = 5
"""How long a request waits for the agent."""
LOOK_S = (0.01, 0.02, 0.05, 0.1)
"""How long until it looks again; the last is for all that follow."""


@dataclass(frozen=True, slots=True)
class _Bytes:
    host: str | None
    pool: Pool
    size_bytes: int
    state: DiskState
    wanted: DiskState
    is_made: bool
    deleting: bool
    open_message: str
    machine_id: UUID | None
    is_written: bool
    is_copied: bool
    """Whether copies of what is in it now are still to be made."""


class DiskBytesDoor(NamedDiskDoor):
    def has_bytes(self, disk: NamedDisk) -> bool:
        """Whether this gateway can reach them at all."""
        return disk.is_within_reach and disk.snapshot_of is None

    def check_bytes(self, disk: NamedDisk) -> None:
        """Whether they may be read and written; `Conflict` while it is attached, `NotApplicable` for what it is."""
        with self._read() as connection:
            self._usable(connection, disk)

    def open_disk(self, disk: NamedDisk) -> BinaryIO:
        """All of the disk's bytes, as they are, for as long as the file is open; `TryLater` if that takes too long."""
        is_asked = False
        for _ in _looks():
            with self._read() as connection:
                found = self._usable(connection, disk)
            if not self._is_here(disk, found):
                continue
            if self._opened is None or found.is_written or not found.is_made or found.state is DiskState.RESIZE:
                continue
            file = self._opened.open(disk.id, found.size_bytes)
            if file is not None:
                return file
            if is_asked and found.open_message:
                raise TryLater(found.open_message)
            if not is_asked:
                self._ask_to_open(disk)
                is_asked = True
        raise TryLater(f"the bytes of the disk {disk.name!r} are not at hand yet: something is being done with it")

    def write_disk(self, disk: NamedDisk, data: Received, first_byte: int | None, form: WriteFormat) -> bool:
        """Puts the data where it belongs or, with None, makes the disk what the image holds.

        False while it is under way: then `NamedDisk.write_state` tells. `Invalid` if the agent refuses it.
        """
        if disk.read_only:
            raise NotApplicable(f"the disk {disk.name!r} is read-only")
        if first_byte is not None and first_byte + data.size_bytes > disk.size_bytes:
            last = first_byte + data.size_bytes - 1
            raise Invalid(f"the range is {first_byte}-{last}, but the disk {disk.name!r} has {disk.size_bytes} bytes")
        write_id = uuid4()
        file = self._values.keep(data)
        values = {
            "id": write_id, "disk": disk.id, "file": file, "size_bytes": data.size_bytes, "first_byte": first_byte,
            "format": form.value,
        }  # fmt: skip
        try:
            self._add_write(disk, values)
        except CloudError:
            # Whatever else happens may have happened after the commit: the sweep decides.
            self._values.remove(file)
            raise
        return self._is_written(disk, write_id)

    def _add_write(self, disk: NamedDisk, values: dict[str, object]) -> None:
        for _ in _looks():
            with self._change() as connection:
                self._one(DISKS, disk.id, lock=True)
                found = self._usable(connection, disk)
                if not self._is_here(disk, found) or not found.is_made or found.is_copied:
                    continue
                connection.execute(query("disks.forget_writes"), values)
                if connection.execute(query("disks.add_write"), values).rowcount == 1:
                    self._converge(connection, found.host, Kind.DISK, disk.id)
                    return
        raise TryLater(f"something else is being done with the disk {disk.name!r}: it is made, copied or written")

    def _is_written(self, disk: NamedDisk, write_id: UUID) -> bool:
        for _ in _looks():
            with self._read() as connection:
                row = connection.execute(query("disks.write"), {"id": write_id}).fetchone()
            if row is None:
                raise NotFound(f"the disk {disk.name!r} has just been deleted")
            match WriteState(row[0]):
                case WriteState.DONE:
                    return True
                case WriteState.REFUSED:
                    raise Invalid(f"the disk {disk.name!r} stays as it was: {row[1]}")
                case WriteState.FULL:
                    raise NoCapacity(f"the disk {disk.name!r} stays as it was: {row[1]}")
        return False

    def _ask_to_open(self, disk: NamedDisk) -> None:
        with self._change() as connection:
            self._one(DISKS, disk.id, lock=True)
            found = self._usable(connection, disk)
            connection.execute(query("disks.ask_to_open"), {"id": disk.id, "seconds": OPEN_S})
            self._converge(connection, found.host, Kind.DISK, disk.id)

    def _is_here(self, disk: NamedDisk, found: _Bytes) -> bool:
        """Whether this host works on it; else it asks for it, for as long as nobody has it attached."""
        here = self._opened.host if self._opened is not None else None
        if found.pool is not Pool.SHARED or found.host == here:
            return True
        with self._change() as connection:
            row = connection.execute(query("disks.ask_for"), {"id": disk.id, "here": here}).fetchone()
            if row is not None:
                self._converge(connection, row[0], Kind.DISK, disk.id)
        return False

    def _usable(self, connection: Connection, disk: NamedDisk) -> _Bytes:
        row = connection.execute(query("disks.bytes"), {"id": disk.id}).fetchone()
        if row is None or row[6]:
            raise NotFound(f"there is no disk {disk.name!r}")
        found = _Bytes(row[0], Pool(row[1]), row[2], DiskState(row[3]), DiskState(row[4]), *row[5:])
        if not self.has_bytes(disk):
            where = "a storage host" if found.pool is Pool.ISCSI else f"the host {found.host or 'that has room for it'}"
            where = "hosts that have its shared folder" if found.pool is Pool.SHARED else where
            raise NotApplicable(f"the bytes of the disk {disk.name!r} can't be had here: it is kept by {where}")
        if found.machine_id is not None:
            raise Conflict(
                f"the disk {disk.name!r} is attached to the compute {found.machine_id}, which alone reads and writes"
                " it: detach it first"
            )
        if found.wanted is DiskState.OFFLINE:
            raise Conflict(f"the disk {disk.name!r} is offline: take it online first")
        return found


def _looks() -> Iterator[None]:
    """At once, and again for as long as a request may wait."""
    deadline = time.monotonic() + WAIT_S
    count = 0
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(LOOK_S[min(count, len(LOOK_S) - 1)])
        count += 1
