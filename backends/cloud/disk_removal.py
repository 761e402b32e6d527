"""Disks that go: on their own or, if they are volatile, with their machine."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from backends.cloud.disk_rights import DiskRightsDoor
from backends.cloud.grants import check_not_exported
from backends.errors import NotAllowed
from backends.jobs import Kind
from backends.model import Disk
from backends.store.database import Connection, query
from backends.store.rows import DISKS


class DiskRemovalDoor(DiskRightsDoor):
    """What is to go is told to the agent that has it, which waits until no machine and no copy needs it."""

    def _volatile_disks(self, connection: Connection, machine_id: UUID) -> Sequence[Disk]:
        """Held with their snapshots, in the order in which agents hold disks. `NotAllowed`: they can't be deleted.

        The machine must be held. What is being detached from it stays.
        """
        wanted = {"machines": [machine_id]}
        rows = connection.execute(query("disks.volatile_of"), wanted).fetchall()
        connection.execute("SELECT FROM disk WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [[row[0] for row in rows]])
        # By now it may have been said of one that it is to stay, and a snapshot may have gone.
        held = [self._one(DISKS, row[0]) for row in connection.execute(query("disks.volatile_of"), wanted).fetchall()]
        disks = [disk for disk in held if disk.volatile and disk.snapshot_of is None]
        for disk in disks:
            try:
                self.require_deletable(disk.id, None)
            except NotAllowed as error:
                raise NotAllowed(
                    f"the volatile storage {disk.id} goes with the compute {machine_id}, but {error.message}: detach it"
                    " first, then it stays"
                ) from None
        return disks

    def _remove_disk(self, connection: Connection, disk: Disk) -> None:
        """With its snapshots; copies of it stay. `Conflict` while it is exported."""
        check_not_exported(connection, disk.id)
        snapshots = connection.execute(
            "SELECT id FROM disk WHERE snapshot_of = %s AND NOT deleting ORDER BY sequence FOR UPDATE", [disk.id]
        )
        for (snapshot_id,) in snapshots.fetchall():
            self._remove_alone(connection, snapshot_id, disk.host)
        self._remove_alone(connection, disk.id, disk.host)

    def _remove_alone(self, connection: Connection, disk_id: UUID, host: str | None) -> None:
        connection.execute(
            "DELETE FROM disk_lease l USING disk d WHERE d.id = %s AND l.disk_id = d.id AND d.observed_generation = 0",
            [disk_id],
        )
        self._update(connection, "disk", disk_id, {"deleting": True})
        if host is None:
            connection.execute(query("disks.forget"), {"id": disk_id})
            connection.execute("DELETE FROM disk WHERE id = %s", [disk_id])
        self._converge(connection, host, Kind.DISK, disk_id)
