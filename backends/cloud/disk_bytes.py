"""The door to the bytes of disks: as files that their agent opens to be read, and what is to be written to them.

A disk is its machine's alone while it is attached. The gateway shares files with the agent of its own host, which
reaches the disks of that host, and those that storage hosts serve, and asks for those of a shared folder that are with
another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID, uuid4

from backends.acl import AceMask
from backends.cloud.disk_rights import READ, WRITE
from backends.cloud.grants import lease_disk
from backends.cloud.named_disks import NamedDisk, NamedDiskDoor
from backends.errors import CloudError, Conflict, Invalid, NoCapacity, NotApplicable, NotFound, TryLater
from backends.jobs import Kind
from backends.model import DiskState, Pool, WriteFormat, WriteState
from backends.store.database import Connection, query
from backends.store.rows import DISKS
from backends.values import Received

OPEN_S = 5
"""How long the agent keeps a disk open that nobody reads."""
LEASED_OPEN_S = 30
"""As long for one that another host serves, whose agent comes first; it is let go when somebody else wants it."""
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
    state_message: str
    is_made: bool
    deleting: bool
    open_message: str
    machine_id: UUID | None
    is_written: bool
    is_copied: bool
    """Whether copies of what is in it now are still to be made."""
    exported_to: str | None
    alive: list[str]
    """Which of its host and the gateway's answer."""


class DiskBytesDoor(NamedDiskDoor):
    def has_bytes(self, disk: NamedDisk) -> bool:
        """Whether this gateway can reach them at all."""
        return disk.is_within_reach

    def check_reachable(self, disk: NamedDisk) -> None:
        """`NotApplicable` for where it is; one that has no host yet may come to be anywhere."""
        if disk.host is not None and not self.has_bytes(disk):
            where = {
                Pool.FILE: f"on the host {disk.host}",
                Pool.SHARED: "with hosts that have its shared folder",
                Pool.ISCSI: f"on the storage host {disk.host}, and this gateway's host runs no agent",
            }[disk.pool]
            raise NotApplicable(f"the bytes of the disk {disk.name!r} can't be had here: it is {where}")

    @staticmethod
    def may_be_written(disk: NamedDisk) -> bool:
        """Whether its bytes ever change."""
        return not disk.read_only and disk.snapshot_of is None

    def check_bytes(self, disk: NamedDisk, right: AceMask) -> None:
        """Whether they may be read now; `Conflict` while somebody else has it, `NotApplicable` for where it is."""
        self.require_of_bytes(disk.id, right)
        with self._read() as connection:
            self._usable(connection, disk)

    def check_writable(self, disk: NamedDisk) -> None:
        """As `check_bytes`, and whether they may be written; `NotApplicable` for what it is."""
        if not self.may_be_written(disk):
            what = "read-only" if disk.read_only else "a snapshot, which never changes"
            raise NotApplicable(f"the disk {disk.name!r} is {what}")
        self.require_unkept(disk.id)
        self.check_bytes(disk, WRITE)

    def open_disk(self, disk: NamedDisk) -> BinaryIO:
        """All of the disk's bytes, as they are, for as long as the file is open; `TryLater` if that takes too long."""
        self.require_of_bytes(disk.id, READ)
        is_asked = False
        for _ in looks():
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
        for _ in looks():
            with self._change() as connection:
                self._one(DISKS, disk.id, lock=True)
                self.require_of_bytes(disk.id, WRITE)
                self.require_unkept(disk.id)
                found = self._usable(connection, disk)
                if not self._is_here(disk, found) or not found.is_made or found.is_copied:
                    continue
                connection.execute(query("disks.forget_writes"), values)
                if connection.execute(query("disks.add_write"), values).rowcount == 1:
                    self._ask_agent(connection, disk, found)
                    return
        raise TryLater(f"something else is being done with the disk {disk.name!r}: it is made, copied or written")

    def _is_written(self, disk: NamedDisk, write_id: UUID) -> bool:
        for _ in looks():
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
                    raise NoCapacity(f"the disk {disk.name!r} is not what was sent: {row[1]}")
        return False

    def _ask_to_open(self, disk: NamedDisk) -> None:
        with self._change() as connection:
            self._one(DISKS, disk.id, lock=True)
            found = self._usable(connection, disk)
            seconds = LEASED_OPEN_S if disk.pool is Pool.ISCSI else OPEN_S
            connection.execute(query("disks.ask_to_open"), {"id": disk.id, "seconds": seconds})
            self._ask_agent(connection, disk, found)

    def _ask_agent(self, connection: Connection, disk: NamedDisk, found: _Bytes) -> None:
        """A served disk is first its host's agent's, which lets in ours."""
        if disk.pool is Pool.ISCSI and self._opened is not None:
            lease_disk(connection, disk.id, self._opened.host)
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
        here = self._opened.host if self._opened is not None else None
        row = connection.execute(query("disks.bytes"), {"id": disk.id, "here": here}).fetchone()
        if row is None or row[7]:
            raise NotFound(f"there is no disk {disk.name!r}")
        found = _Bytes(row[0], Pool(row[1]), row[2], DiskState(row[3]), DiskState(row[4]), *row[5:])
        self.check_reachable(disk)
        if found.host is None:
            raise TryLater(f"the disk {disk.name!r} is on no host yet: {found.state_message}")
        alone = "" if disk.read_only else ", which alone reads and writes it"
        if found.machine_id is not None:
            raise Conflict(
                f"the disk {disk.name!r} is attached to the compute {found.machine_id}{alone}: detach it first"
            )
        if found.exported_to is not None:
            raise Conflict(
                f"the disk {disk.name!r} is exported to the initiator {found.exported_to}{alone}: withdraw that first"
            )
        for host in (found.host, here) if found.pool is Pool.ISCSI else ():
            if host not in found.alive:
                raise TryLater(f"the disk {disk.name!r} can't be reached: the agent of host {host} does not answer")
        if found.wanted is DiskState.OFFLINE:
            raise Conflict(f"the disk {disk.name!r} is offline: take it online first")
        return found


def looks() -> Iterator[None]:
    """At once, and again for as long as a request may wait."""
    deadline = time.monotonic() + WAIT_S
    count = 0
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(LOOK_S[min(count, len(LOOK_S) - 1)])
        count += 1
