"""Who may log in to a disk that is served: rows that its storage host's agent makes into entries of the target."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from uuid import UUID, uuid4

from backends.errors import Conflict, NotAllowed, TryLater
from backends.model import Disk, Image
from backends.store.database import Connection

INITIATOR_PREFIX = "iqn.2026-01.local.altostratus:"
SECRET_BYTES = 8
"""Sixteen characters: more than some initiators outside would take."""


def new_secret() -> str:
    return secrets.token_hex(SECRET_BYTES)


def grant_attachment(connection: Connection, disk_id: UUID, attachment_id: UUID) -> None:
    """An initiator for this attachment alone, with a secret of its own."""
    connection.execute(
        "INSERT INTO disk_grant (id, disk_id, attachment_id, initiator, secret) VALUES (%s, %s, %s, %s, %s)",
        [uuid4(), disk_id, attachment_id, f"{INITIATOR_PREFIX}{attachment_id}", new_secret()],
    )


def check_not_exported(connection: Connection, disk_id: UUID) -> None:
    row = connection.execute(
        "SELECT initiator FROM disk_grant WHERE disk_id = %s AND attachment_id IS NULL LIMIT 1", [disk_id]
    ).fetchone()
    if row is not None:
        raise Conflict(f"the storage {disk_id} is exported to the initiator {row[0]}: withdraw that first")


def check_not_attached(connection: Connection, disk_id: UUID) -> None:
    row = connection.execute("SELECT machine_id FROM attachment WHERE disk_id = %s LIMIT 1", [disk_id]).fetchone()
    if row is not None:
        raise Conflict(f"the storage {disk_id} is attached to the compute {row[0]}: detach it first")


def fill_with_image(connection: Connection, disk_id: UUID, image: Image) -> None:
    """Asks a host that has the image to write it to a new served disk: the one where it was saved, else the first.

    `Conflict` where none is alive.
    """
    made = connection.execute(
        "INSERT INTO disk_lease (disk_id, host, initiator, secret)"
        " SELECT %s, h.name, %s, %s FROM host h, image i WHERE i.id = %s AND h.pool = 'file'"
        " AND h.name = coalesce(i.host, h.name) AND h.heartbeat_at > now() - interval '60 seconds'"
        " ORDER BY h.name LIMIT 1",
        [disk_id, f"{INITIATOR_PREFIX}{disk_id}", new_secret(), image.id],
    )
    if made.rowcount == 0:
        raise Conflict(f"no host that has the image {image.name!r} answers, so no storage can be made from it now")


def lease_disk(connection: Connection, disk_id: UUID, host: str) -> None:
    """The served disk is this host's alone until its agent lets go; `TryLater` while another host has it so.

    The disk's row must be locked.
    """
    connection.execute(
        "INSERT INTO disk_lease (disk_id, host, initiator, secret) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [disk_id, host, f"{INITIATOR_PREFIX}{uuid4()}", new_secret()],
    )
    row = connection.execute("SELECT host FROM disk_lease WHERE disk_id = %s", [disk_id]).fetchone()
    if row is not None and row[0] != host:
        raise TryLater(f"the storage {disk_id} is read or written by the host {row[0]} just now")


def check_permit(connection: Connection, disk: Disk, machine_id: UUID) -> None:
    """`NotAllowed` when the disk is for other machines only, unless this one is off: its start asks again.

    So a client may attach first and permit then, which is the order of CDMI 1.1.1 §13.1.
    """
    if not disk.restricted:
        return
    row = connection.execute(
        "SELECT 1 FROM disk_permit WHERE disk_id = %(disk)s AND machine_id = %(machine)s UNION ALL"
        " SELECT 1 FROM machine WHERE id = %(machine)s AND wanted = 'inactive' AND state = 'inactive'",
        {"disk": disk.id, "machine": machine_id},
    ).fetchone()
    if row is None:
        raise NotAllowed(f"the compute {machine_id} is not in the permissions of the storage {disk.id}")


def first_restricted(connection: Connection, disk_ids: Sequence[UUID]) -> UUID | None:
    """One of these disks that is for certain machines only; a new machine is none of them."""
    if not disk_ids:
        return None
    row = connection.execute(
        "SELECT id FROM disk WHERE id = ANY(%s) AND restricted ORDER BY id LIMIT 1", [list(disk_ids)]
    ).fetchone()
    return None if row is None else row[0]


def check_permits(connection: Connection, machine_id: UUID) -> None:
    """As `check_permit`, for all disks that are attached."""
    row = connection.execute(
        "SELECT d.id FROM attachment a JOIN disk d ON d.id = a.disk_id WHERE a.machine_id = %(machine)s"
        " AND NOT a.deleting AND d.restricted AND NOT EXISTS"
        " (SELECT FROM disk_permit p WHERE p.disk_id = d.id AND p.machine_id = %(machine)s) LIMIT 1",
        {"machine": machine_id},
    ).fetchone()
    if row is not None:
        raise NotAllowed(f"the compute {machine_id} is not in the permissions of the storage {row[0]}")
