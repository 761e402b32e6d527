"""Writing an image to a new disk of a storage host: by a host that has the image, which logs in as anybody does."""

from __future__ import annotations

from uuid import UUID

import structlog

from backends import jobs
from backends.agent.host import DRIVER_ERRORS, Host
from backends.disks.iscsi_writer import Unit, write_image
from backends.jobs import Kind
from backends.store.database import query

log = structlog.get_logger()


def fill_disk(host: Host, disk_id: UUID) -> None:
    """If this host is to do it. What was cut off is begun again, and what still writes then loses its session when
    the storage host withdraws the grant, before anybody gets the disk.
    """
    with host.connection() as connection:
        row = connection.execute(query("agent.disk_to_fill"), {"id": disk_id, "host": host.name}).fetchone()
    if row is None:
        return
    image_id, storage_host, portal, target, initiator, secret = row
    unit = Unit(portal, target.partition(",")[0], initiator, secret)
    try:
        write_image(host.pool.image_file(image_id), unit)
    except DRIVER_ERRORS as error:
        log.warning("disk not filled", disk=str(disk_id), reason=str(error))
        host.write("disk_not_filled", id=disk_id, message=f"its image could not be written: {error}")
        return
    with host.connection() as connection, connection.transaction():
        connection.execute(query("agent.disk_filled"), {"id": disk_id})
        jobs.defer(connection, storage_host, Kind.DISK, disk_id)
