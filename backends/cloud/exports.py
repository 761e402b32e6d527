"""The door to disks from outside: initiators that log in over the network, and the machines that may have a disk."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

from backends.acl import AceMask
from backends.cloud.disk_bytes import looks
from backends.cloud.disk_rights import READ, WRITE, DiskRightsDoor
from backends.cloud.grants import new_secret
from backends.errors import Conflict, Invalid
from backends.jobs import Kind
from backends.model import Disk, DiskState, Export, Initiator, Pool
from backends.store.database import Connection
from backends.store.rows import DISKS, MACHINES
from backends.terms import check_initiator


class ExportDoor(DiskRightsDoor):
    """Both are complete lists, as CDMI's exports are (1.1.1 §13)."""

    def export(self, disk_id: UUID) -> Export | None:
        """None when it is exported to nobody."""
        with self._read() as connection:
            self._one(DISKS, disk_id)
            rows = connection.execute(
                "SELECT g.initiator, g.secret, g.served, h.portal, d.target_identifier, d.logical_unit_name"
                " FROM disk_grant g JOIN disk d ON d.id = g.disk_id LEFT JOIN host h ON h.name = d.host"
                " WHERE d.id = %s AND g.attachment_id IS NULL ORDER BY g.initiator",
                [disk_id],
            ).fetchall()
        if not rows:
            return None
        _, _, _, portal, target, unit = rows[0]
        initiators = tuple(Initiator(row[0], row[1], row[2]) for row in rows)
        return Export((portal,) if portal else (), target or "", "0", unit or "", initiators)

    def export_disk(self, disk_id: UUID, initiators: Sequence[str]) -> Export | None:
        """To exactly these, each with a secret that it keeps while it stays in the list; none withdraws it.

        `Conflict` while attached, or on a host that serves nothing; `Invalid` for more than one that could write.
        """
        initiators = sorted(set(initiators))
        for name in initiators:
            check_initiator(name)
        with self._change() as connection:
            disk = self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            if initiators:
                self.require_of_bytes(disk_id, READ if disk.read_only else READ | WRITE)
            if len(initiators) > 1 and not disk.read_only:
                raise Invalid(f"{len(initiators)} initiators are given; a disk that can be written takes one")
            present = self.export(disk_id)
            if set(initiators) == {one.name for one in (present.initiators if present else ())}:
                return present
            if initiators:
                self._check_exportable(connection, disk)
            connection.execute(
                "DELETE FROM disk_grant WHERE disk_id = %s AND attachment_id IS NULL AND initiator <> ALL(%s)",
                [disk_id, list(initiators)],
            )
            for name in initiators:
                connection.execute(
                    "INSERT INTO disk_grant (id, disk_id, initiator, secret) VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT (disk_id, initiator) DO NOTHING",
                    [uuid4(), disk_id, name, new_secret()],
                )
            connection.execute("UPDATE disk SET generation = generation + 1 WHERE id = %s", [disk_id])
            self._converge(connection, disk.host, Kind.DISK, disk_id)
            return self.export(disk_id)

    def is_export_done(self, disk_id: UUID) -> bool:
        """Whether its storage host has done what it should before a request may wait no longer."""
        for _ in looks():
            with self._read() as connection:
                row = connection.execute(
                    "SELECT observed_generation >= generation FROM disk WHERE id = %s", [disk_id]
                ).fetchone()
            if row is None or row[0]:
                return True
        return False

    def _check_exportable(self, connection: Connection, disk: Disk) -> None:
        if not disk.read_only:
            self.require_unkept(disk.id)
        if disk.pool is not Pool.ISCSI:
            raise Conflict(f"the storage {disk.id} is on a host that serves no disks to others")
        if disk.snapshot_of is not None:
            raise Conflict(f"the storage {disk.id} is a snapshot of {disk.snapshot_of}: export a copy of it")
        if disk.wanted is DiskState.OFFLINE:
            raise Conflict(f"the storage {disk.id} is offline: take it online first")
        attached = connection.execute("SELECT machine_id FROM attachment WHERE disk_id = %s", [disk.id]).fetchone()
        if attached is not None:
            raise Conflict(f"the storage {disk.id} is attached to the compute {attached[0]}: detach it first")

    def serves_disks(self) -> bool:
        """Whether the cloud has a storage host, so that disks can be exported at all."""
        with self._read() as connection:
            return connection.execute("SELECT 1 FROM host WHERE pool = 'iscsi' LIMIT 1").fetchone() is not None

    def permits(self, disk_id: UUID) -> Sequence[UUID] | None:
        """The machines that may have it; None when all of its project may."""
        with self._read() as connection:
            if not self._one(DISKS, disk_id).restricted:
                return None
            rows = connection.execute("SELECT machine_id FROM disk_permit WHERE disk_id = %s ORDER BY 1", [disk_id])
            return [row[0] for row in rows.fetchall()]

    def permit_machines(self, disk_id: UUID, machine_ids: Sequence[UUID] | None) -> None:
        """These machines only, or, by None, all again. `Conflict` if it is attached to one that isn't among them and
        isn't off.
        """
        attached_on = (
            "SELECT m.id, m.wanted = 'inactive' AND m.state = 'inactive' FROM attachment a"
            " JOIN machine m ON m.id = a.machine_id WHERE a.disk_id = %s AND NOT a.deleting"
        )
        with self._change() as connection:
            # The machine is held before the disk, as in attaching, so that it isn't started meanwhile.
            connection.execute(f"{attached_on} FOR UPDATE OF m", [disk_id])
            disk = self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            for machine_id in machine_ids or ():
                self._one(MACHINES, machine_id)
            for machine_id, is_off in connection.execute(attached_on, [disk_id]).fetchall():
                if machine_ids is not None and machine_id not in machine_ids and not is_off:
                    raise Conflict(f"the storage {disk_id} is attached to the compute {machine_id}: detach it first")
            connection.execute("DELETE FROM disk_permit WHERE disk_id = %s", [disk_id])
            for machine_id in machine_ids or ():
                connection.execute(
                    "INSERT INTO disk_permit (disk_id, machine_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    [disk_id, machine_id],
                )
            if disk.restricted is not (machine_ids is not None):
                self._update(connection, "disk", disk_id, {"restricted": machine_ids is not None})
                self._converge(connection, disk.host, Kind.DISK, disk_id)
