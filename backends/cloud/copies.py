"""What must not happen to a disk while it is copied or is being made a copy."""

from __future__ import annotations

from uuid import UUID

from backends.errors import Conflict
from backends.store.database import Connection


def check_not_copied(connection: Connection, disk_id: UUID, *, only_restored: bool = False) -> None:
    """`Conflict` while it isn't yet the copy that it is to be; `only_restored`: where that replaces what it was."""
    row = connection.execute(
        "SELECT source_disk_id FROM disk WHERE id = %s AND source_disk_id IS NOT NULL"
        " AND (observed_generation > 0 OR NOT %s)",
        [disk_id, only_restored],
    ).fetchone()
    if row is not None:
        raise Conflict(f"the storage {disk_id} is still being made from {row[0]}: wait until that is done")


def check_no_copies(connection: Connection, disk_id: UUID) -> None:
    """`Conflict` while copies of it are still to be made."""
    row = connection.execute(
        "SELECT id FROM disk WHERE source_disk_id = %s AND NOT deleting LIMIT 1", [disk_id]
    ).fetchone()
    if row is not None:
        raise Conflict(f"the storage {disk_id} is being copied to {row[0]}: wait until that is done")


def check_not_written(connection: Connection, disk_id: UUID) -> None:
    """`Conflict` while something is being written into it by CDMI or HTTP: who knows which of both would be first."""
    row = connection.execute("SELECT 1 FROM disk_write WHERE disk_id = %s AND state = 'pending'", [disk_id]).fetchone()
    if row is not None:
        raise Conflict(f"something is being written into the storage {disk_id}: wait until that is done")
