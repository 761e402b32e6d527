"""Making a folder a shared pool: its row first, then the file that names it, which says that the folder is mounted."""

from __future__ import annotations

from uuid import UUID, uuid4

from altostratus.agent import shared_pool_of
from altostratus.settings import Settings
from backends.disks.shared_pool import IDENTITY
from backends.errors import Conflict
from backends.store.database import Connection, Database


def make_shared_pool(settings: Settings, connection: Connection) -> UUID:
    """What it is called from then on; one that is made stays as it is. `Conflict` for another cloud's."""
    pool = shared_pool_of(settings, Database(settings.conninfo, connections=1))
    if pool is None:
        raise Conflict("the setting shared_pool is empty: expected the folder")
    if not pool.folder.is_dir():
        raise Conflict(f"shared_pool is {pool.folder}, but there is no such folder")
    if (pool.folder / IDENTITY).exists():
        present = pool.identity()
        if connection.execute("SELECT FROM shared_pool WHERE id = %s", [present]).rowcount == 1:
            return present
        raise Conflict(f"{pool.folder} is the pool {present} of another cloud, as its file {IDENTITY} says")
    identity = uuid4()
    connection.execute("INSERT INTO shared_pool (id) VALUES (%s)", [identity])
    pool.make(identity)
    return identity
