"""The door to persistent disks."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TypedDict
from uuid import UUID, uuid4

from backends.acl import AceMask
from backends.cloud.copies import check_no_copies, check_not_copied, check_not_written
from backends.cloud.disk_removal import DiskRemovalDoor
from backends.cloud.disk_rights import READ, WRITE
from backends.cloud.door import check_range, check_text
from backends.cloud.grants import check_not_attached, check_not_exported, fill_with_image
from backends.cloud.images import ImageDoor
from backends.cloud.machines import MOST_DISK_BYTES
from backends.errors import Conflict, Invalid, NotApplicable, OutOfRoom
from backends.jobs import Kind
from backends.model import EVERYTHING, NO_FILTER, Disk, DiskState, Filter, Image, NewDisk, Page, Pool
from backends.placement import Need, choose_host, choose_place, shortage, waiting_message
from backends.states import DISK_ACTIONS, DISK_TARGETS, SNAPSHOT_ACTIONS
from backends.store.database import Connection, query
from backends.store.rows import DISKS

LEAST_DISK_BYTES = 2**20


class DiskChanges(TypedDict, total=False):
    """size_bytes only grows (`Invalid`); image_name, pool and host can't change (`NotApplicable`), read_only not while
    it is attached (`Conflict`), and not together with volatile (`Invalid`)."""

    title: str | None
    summary: str | None
    size_bytes: int
    image_name: str | None
    pool: Pool
    host: str
    read_only: bool
    volatile: bool


class DiskDoor(DiskRemovalDoor, ImageDoor):
    """A disk's life is independent of any machine, unless it is volatile."""

    def disks(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[Disk]:
        return self._many(DISKS, where, page)

    def disk_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(DISKS, where, page)

    def disk(self, disk_id: UUID) -> Disk:
        return self._one(DISKS, disk_id)

    def pools(self) -> Set[Pool]:
        """The kinds that there are."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT pool FROM host UNION SELECT 'shared' FROM host WHERE shared_pool IS NOT NULL"
            ).fetchall()
        return {Pool(row[0]) for row in rows}

    def storage_hosts(self) -> Sequence[str]:
        """By name: one of them may be asked for."""
        with self._read() as connection:
            rows = connection.execute("SELECT name FROM host WHERE pool = 'iscsi' ORDER BY name").fetchall()
        return [row[0] for row in rows]

    def create_disk(self, new: NewDisk) -> Disk:
        check_text("the title", new.title)
        check_text("the summary", new.summary, 8192)
        with self._change() as connection:
            self.require_of_disks(AceMask.ADD_SUBCONTAINER)
            image = self._usable_image(new.image_name) if new.image_name else None
            size_bytes = new.size_bytes or (image.size_bytes if image else 0)
            if image is not None and size_bytes < image.size_bytes:
                raise Invalid(f"the size is {size_bytes} bytes; the image {image.name!r} needs {image.size_bytes}")
            return self._new_disk(connection, new, size_bytes, image=image)

    def _new_disk(
        self,
        connection: Connection,
        new: NewDisk,
        size_bytes: int,
        *,
        image: Image | None = None,
        source: Disk | None = None,
    ) -> Disk:
        """Where the source is, where the caller says, or else where all hosts reach it: on a storage host with room, in
        a shared folder; what is made from an image only beside the machines, unless the caller says otherwise: there it
        stores what differs.
        """
        check_range("the size in bytes", size_bytes, LEAST_DISK_BYTES, MOST_DISK_BYTES)
        _check_has_one_machine(read_only=new.read_only, volatile=new.volatile)
        size_bytes = -(-size_bytes // 512) * 512
        disk_id = new.id or uuid4()
        taken = new.id and connection.execute(query("objects.identity_taken"), {"id": disk_id}).fetchone()
        if taken and taken[0]:
            raise Conflict(f"the identity {disk_id} is taken")
        chosen = source.pool if source else new.pool or (Pool.FILE if image else None)
        for pool in (chosen,) if chosen else (Pool.ISCSI, Pool.SHARED, Pool.FILE):
            tied_to = source.host if source else new.host
            if pool is Pool.SHARED and image is not None:
                tied_to = _host_of_image(connection, image)
            need = Need(disk_bytes=size_bytes, host=tied_to, pool=pool)
            place = choose_place(connection, need)
            if place is not None:
                break
        host = place.host if place else None
        if source is not None and host is None:
            raise OutOfRoom(f"there is no room for a copy: {shortage(connection, need)}")
        if new.host is not None and host is None:
            raise OutOfRoom(f"there is no room on the storage host: {shortage(connection, need)}")
        self._insert(
            connection,
            "disk",
            {
                "id": disk_id,
                "project_id": source.project_id if source else self._caller.project_id,
                "title": new.title,
                "summary": new.summary,
                "size_bytes": size_bytes,
                "image_id": image.id if image else None,
                "source_disk_id": source.id if source else None,
                "host": host,
                "pool": pool.value,
                "shared_pool": place.shared_pool if place else None,
                "owner": self._caller.user_name,
                "read_only": new.read_only,
                "volatile": new.volatile,
                "state_message": "" if host else waiting_message(connection, need),
            },
        )
        if image is not None and pool is Pool.ISCSI:
            fill_with_image(connection, disk_id, image)
        self._tag_new(connection, new.tag_ids, disk_id)
        self._converge(connection, host, Kind.DISK, disk_id)
        return self.disk(disk_id)

    def update_disk(self, disk_id: UUID, changes: DiskChanges) -> Disk:
        with self._change() as connection:
            disk = self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            check_text("the title", changes.get("title"))
            check_text("the summary", changes.get("summary"), 8192)
            values = {name: value for name, value in changes.items() if getattr(disk, name) != value}
            if "image_name" in values:
                raise NotApplicable("a storage is made from an image or not: its image can't change; make a new one")
            if values.keys() & {"pool", "host"}:
                raise NotApplicable(f"the storage {disk_id} is in the pool {disk.pool} and stays there: make a new one")
            _check_has_one_machine(
                read_only=changes.get("read_only", disk.read_only), volatile=changes.get("volatile", disk.volatile)
            )
            if "volatile" in values and disk.snapshot_of is not None:
                raise NotApplicable(f"the storage {disk_id} is a snapshot, which goes with its disk anyway")
            if values:
                self.require_unkept(disk_id)
            if "read_only" in values:
                check_not_attached(connection, disk_id)
                check_not_exported(connection, disk_id)
            if "size_bytes" in values:
                self.resize_disk(disk_id, changes["size_bytes"])
                del values["size_bytes"]
            self._update(connection, "disk", disk_id, values)
            if values:
                self._converge(connection, disk.host, Kind.DISK, disk_id)
            return self.disk(disk_id)

    def delete_disk(self, disk_id: UUID) -> None:
        """With its snapshots; copies of it stay. `Conflict` while attached."""
        with self._change() as connection:
            disk = self._one(DISKS, disk_id, lock=True)
            self.require_deletable(disk_id, disk.snapshot_of)
            machine_id = self._attached_to(connection, disk_id)
            if machine_id is not None:
                raise Conflict(f"the storage {disk_id} is attached to the compute {machine_id}: detach it first")
            self._remove_disk(connection, disk)

    def disk_online(self, disk_id: UUID) -> Disk:
        return self._disk_action(disk_id, "online")

    def disk_offline(self, disk_id: UUID) -> Disk:
        """`Conflict` while attached."""
        with self._change() as connection:
            self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            machine_id = self._attached_to(connection, disk_id)
            if machine_id is not None:
                raise Conflict(f"the storage {disk_id} is attached to the compute {machine_id}: detach it first")
            return self._disk_action(disk_id, "offline")

    def resize_disk(self, disk_id: UUID, size_bytes: int) -> Disk:
        with self._change() as connection:
            self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            disk = self._applicable(disk_id, "resize")
            if disk.read_only:
                raise NotApplicable(f"the storage {disk_id} is read-only, so it can't grow")
            check_range("the size in bytes", size_bytes, LEAST_DISK_BYTES, MOST_DISK_BYTES)
            size_bytes = -(-size_bytes // 512) * 512
            if size_bytes < disk.size_bytes:
                raise Invalid(f"the size is {size_bytes} bytes; a storage of {disk.size_bytes} bytes can only grow")
            if size_bytes == disk.size_bytes:
                return disk
            self.require_unkept(disk_id)
            if disk.host is not None:
                need = Need(disk_bytes=size_bytes - disk.size_bytes, host=disk.host, pool=disk.pool)
                if choose_host(connection, need) is None:
                    raise OutOfRoom(f"the storage can't grow: {shortage(connection, need)}")
            values = {"size_bytes": size_bytes, "state": DiskState.RESIZE.value}
            self._update(connection, "disk", disk_id, values if disk.host else {"size_bytes": size_bytes})
            self._converge(connection, disk.host, Kind.DISK, disk_id)
            machine_id = self._attached_to(connection, disk_id)
            if machine_id is not None and disk.pool is not Pool.ISCSI:  # whose host asks for that in time
                self._converge(connection, disk.host, Kind.MACHINE, machine_id)
            return self.disk(disk_id)

    def snapshot_disk(self, disk_id: UUID) -> Disk:
        """What this one has now, as a disk that belongs to it: it doesn't change, and goes with it."""
        with self._change() as connection:
            disk = self._one(DISKS, disk_id)
            self.require_of_disk(disk_id, AceMask.ADD_SUBCONTAINER)
            snapshot = self._copied(disk_id, "snapshot", _copy_of(disk, "snapshot"))
            connection.execute("UPDATE disk SET snapshot_of = %s WHERE id = %s", [disk_id, snapshot.id])
            return self.disk(snapshot.id)

    def backup_disk(self, disk_id: UUID) -> Disk:
        """A new disk with the content that this one has now, on its own from then on."""
        with self._change():
            self.require_of_disks(AceMask.ADD_SUBCONTAINER)
            return self._copied(disk_id, "backup", _copy_of(self._one(DISKS, disk_id), "backup"))

    def clone_disk(self, disk_id: UUID, new: NewDisk) -> Disk:
        """As `backup_disk`, for a copy of one's own choosing: as large as this one, or larger."""
        check_text("the title", new.title)
        check_text("the summary", new.summary, 8192)
        self.require_of_disks(AceMask.ADD_SUBCONTAINER)
        return self._copied(disk_id, "backup", new)

    def restore_disk(self, disk_id: UUID, source_id: UUID) -> None:
        """Its content becomes that of another disk or snapshot, which must not be larger; its size stays.

        `Conflict` while it is attached or exported.
        """
        with self._change() as connection:
            for each, right in ((disk_id, WRITE), (source_id, READ)):
                self._one(DISKS, each)
                self.require_of_bytes(each, right)
            disk, source = self._applicable(disk_id, "resize"), self._applicable(source_id, "backup")
            self.require_unkept(disk_id)
            machine_id = self._attached_to(connection, disk_id)
            if machine_id is not None:
                raise Conflict(f"the storage {disk_id} is attached to the compute {machine_id}: detach it first")
            check_not_exported(connection, disk_id)
            check_no_copies(connection, disk_id)
            for each in (disk_id, source_id):
                check_not_copied(connection, each)
                check_not_written(connection, each)
            if source_id == disk_id:
                raise Invalid(f"the storage {disk_id} can't be restored from itself")
            if disk.read_only:
                raise NotApplicable(f"the storage {disk_id} is read-only, so it can't be restored")
            if disk.host is None or _place_of(disk) != _place_of(source):
                raise Conflict(f"the storage {source_id} is on {_place_of(source)}, not on {_place_of(disk)}")
            if source.size_bytes > disk.size_bytes:
                raise Invalid(f"the source has {source.size_bytes} bytes; the storage has {disk.size_bytes} only")
            self._update(connection, "disk", source_id, {"state": DiskState.BACKUP.value})
            values = {"source_disk_id": source_id, "state": DiskState.BACKUP.value}
            self._update(connection, "disk", disk_id, values)
            self._converge(connection, disk.host, Kind.DISK, disk_id)

    def _copied(self, disk_id: UUID, action: str, new: NewDisk) -> Disk:
        with self._change() as connection:
            self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.READ_METADATA)
            self.require_of_bytes(disk_id, READ)
            disk = self._applicable(disk_id, action)
            if disk.host is None:
                raise NotApplicable(f"the storage {disk_id} has no content yet: {disk.state_message}")
            check_not_copied(connection, disk_id)
            check_not_written(connection, disk_id)
            if new.pool not in (None, disk.pool) or (new.host is not None and new.host != disk.host):
                raise Invalid(f"a copy of the storage {disk_id} is in its pool, {disk.pool}, not in {new.pool}")
            size_bytes = new.size_bytes or disk.size_bytes
            if size_bytes < disk.size_bytes:
                raise Invalid(f"the size is {size_bytes} bytes; a copy of the storage needs {disk.size_bytes}")
            self._update(connection, "disk", disk_id, {"state": action})
            return self._new_disk(connection, new, size_bytes, source=disk)

    def _disk_action(self, disk_id: UUID, action: str) -> Disk:
        with self._change() as connection:
            self._one(DISKS, disk_id, lock=True)
            self.require_of_disk(disk_id, AceMask.WRITE_METADATA)
            disk = self._applicable(disk_id, action)
            self._update(connection, "disk", disk_id, {"wanted": DISK_TARGETS[action].value})
            self._converge(connection, disk.host, Kind.DISK, disk_id)
            return self.disk(disk_id)

    def _applicable(self, disk_id: UUID, action: str) -> Disk:
        disk = self._one(DISKS, disk_id, lock=True)
        if disk.snapshot_of is not None and action not in SNAPSHOT_ACTIONS[disk.wanted]:
            raise NotApplicable(f"{action} does not apply to the storage {disk_id}: it is a snapshot")
        if action not in DISK_ACTIONS[disk.state] + DISK_ACTIONS[disk.wanted]:
            raise NotApplicable(
                f"{action} does not apply to the storage {disk_id}, which is {disk.state}; what applies is"
                f" {', '.join(DISK_ACTIONS[disk.state]) or 'nothing until that is done'}"
            )
        return disk

    @staticmethod
    def _attached_to(connection: Connection, disk_id: UUID) -> UUID | None:
        row = connection.execute(
            "SELECT a.machine_id FROM attachment a JOIN machine m ON m.id = a.machine_id"
            " WHERE a.disk_id = %s AND NOT m.deleting",
            [disk_id],
        ).fetchone()
        return None if row is None else row[0]


def _host_of_image(connection: Connection, image: Image) -> str | None:
    """The only one that has it; None where any may."""
    row = connection.execute("SELECT host FROM image WHERE id = %s", [image.id]).fetchone()
    return row[0] if row else None


def _check_has_one_machine(*, read_only: bool, volatile: bool) -> None:
    if read_only and volatile:
        raise Invalid("a storage is read-only or volatile, not both: what many computes read ends with none of them")


def _place_of(disk: Disk) -> str:
    return f"host {disk.host}" if disk.shared_pool is None else f"the shared pool {disk.shared_pool}"


def _copy_of(disk: Disk, action: str) -> NewDisk:
    title = f"{action.capitalize()} of {disk.title or disk.id}"
    return NewDisk(title=title[:1024], summary=f"{action} of storage {disk.id}")
