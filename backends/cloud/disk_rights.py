"""What access lists, holds and retention let the caller do with disks: by CDMI, by HTTP and by OCCI alike.

A disk has no list of its own; it inherits that of the container `disks`, and its bytes inherit the disk's.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from backends import acl as acls
from backends import retention
from backends.acl import ALL_PERMS, AceMask, Acl
from backends.cloud.ways import WayDoor
from backends.errors import NotAllowed
from backends.objects import DISKS
from backends.store import ways
from backends.store.database import query

READ = AceMask.READ_OBJECT
WRITE = AceMask.WRITE_OBJECT
WHY = (", as all in the root container", f", as all in the container {DISKS!r}", ", as its disk", "")
"""A disk is kept: what is above it, of a snapshot its disk, and itself."""


@dataclass(frozen=True, slots=True)
class DiskRights:
    """In the container of disks, with the disk, and with its bytes."""

    container: AceMask
    disk: AceMask
    value: AceMask
    acl: Acl
    """The list in force for the disk."""


ALL_RIGHTS = DiskRights(ALL_PERMS, ALL_PERMS, ALL_PERMS, acls.inherited(acls.DEFAULT_ACL, container=True))


class DiskRightsDoor(WayDoor):
    """Lists are about the users of their project: a cloud admin from another one isn't bound by them."""

    def disk_rights(self, disk_id: UUID | None = None) -> DiskRights:
        """Without a disk, of one that the caller makes. A snapshot is its disk's."""
        owner = self._caller.user_name
        if disk_id is not None:
            with self._read() as connection:
                row = connection.execute(query("disks.owner"), {"id": disk_id}).fetchone()
            if row is None or row[0] != self._caller.project_id:
                return ALL_RIGHTS
            owner = row[1]
        return self.rights_by_owner({owner})[owner]

    def rights_by_owner(self, owners: Set[str]) -> Mapping[str, DiskRights]:
        """In the caller's project, where disks differ in their owners alone."""
        project_id = self._caller.project_id
        with self._read() as connection:
            # The root isn't made for that: two who do so while they hold disks could wait for each other.
            way = ways.descend(connection, project_id, project_id, (DISKS,), valued=False)
        if len(way) < 2:
            return dict.fromkeys(owners, ALL_RIGHTS)
        above = self.found(way)
        of_disk = acls.inherited(above.acl, container=True)
        of_value = acls.inherited(of_disk, container=False)
        return {
            owner: DiskRights(
                above.rights,
                acls.allowed(of_disk, self._caller, owner),
                acls.allowed(of_value, self._caller, owner),
                of_disk,
            )
            for owner in owners
        }

    def require_of_disks(self, right: AceMask) -> None:
        """In the container of them all. `NotAllowed` without, as the others."""
        self._require(self.disk_rights().container, right, "it")

    def require_of_disk(self, disk_id: UUID, right: AceMask) -> None:
        self._require(self.disk_rights(disk_id).disk, right, f"the storage {disk_id}")

    def require_of_bytes(self, disk_id: UUID, right: AceMask) -> None:
        self._require(self.disk_rights(disk_id).value, right, f"the bytes of the storage {disk_id}")

    def require_deletable(self, disk_id: UUID, snapshot_of: UUID | None) -> None:
        """1.1.1 §16.1.5: DELETE on it and DELETE_SUBCONTAINER on its container, which of a snapshot is its disk."""
        rights = self.disk_rights(disk_id)
        self._require(rights.disk, AceMask.DELETE, f"the storage {disk_id}")
        above = rights.container if snapshot_of is None else rights.disk
        self._require(above, AceMask.DELETE_SUBCONTAINER, f"what the storage {disk_id} is in")
        self.require_unkept(disk_id)

    def require_unkept(self, disk_id: UUID) -> None:
        """`NotAllowed` while it is on hold or retained, for everybody; its row must be locked."""
        with self._read() as connection:
            kept_by = connection.execute(query("disks.kept_by"), {"id": disk_id}).fetchone() or ()
        now = datetime.now(UTC)
        for metadata, why in zip(kept_by, WHY, strict=False):
            reason = retention.reason_to_keep(metadata or {}, now)
            if reason is not None:
                raise NotAllowed(f"the storage {disk_id} can't be changed or deleted: {reason}{why}")

    def _require(self, granted: AceMask, wanted: AceMask, what: str) -> None:
        missing = wanted & ~granted
        if missing:
            names = " and ".join(str(one.name) for one in missing)
            raise NotAllowed(
                f"the access control list of the container {DISKS!r} doesn't let {self._caller.user_name} do that with"
                f" {what}: it takes {names}"
            )
