"""The process of a storage host's agent: LIO over files or logical volumes, without libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from altostratus.cloud_tag import cloud_tag
from altostratus.settings import Settings
from backends.agent.storage import run
from backends.agent.storage_host import StorageHost
from backends.disks.iscsi import Portal, Targets
from backends.disks.raw_files import RawFiles
from backends.disks.thin_volumes import ThinVolumes
from backends.disks.volumes import Volumes
from backends.store.database import Database

CONNECTIONS = 12


def run_storage_agent(settings: Settings) -> None:
    """Until it is told to stop; what is served goes on."""
    with opened_storage_host(settings) as host:
        run(host, settings.conninfo, disk_overcommit=settings.disk_overcommit, sweep_s=settings.sweep_s)


@contextmanager
def opened_storage_host(settings: Settings) -> Iterator[StorageHost]:
    """This host with its drivers."""
    address, _, port = settings.iscsi_listen.rpartition(":")
    settings.state.mkdir(mode=0o755, parents=True, exist_ok=True)
    tag = cloud_tag(settings)
    database = Database(settings.conninfo, connections=CONNECTIONS)
    database.open()
    try:
        yield StorageHost(
            name=settings.host_name,
            database=database,
            targets=Targets(tag, [Portal(address.strip("[]"), int(port))]),
            volumes=_volumes(settings, tag),
            portal=settings.iscsi_portal,
        )
    finally:
        database.close()


def _volumes(settings: Settings, tag: str) -> Volumes:
    if settings.iscsi_thin_pool:
        group, _, pool = settings.iscsi_thin_pool.partition("/")
        return ThinVolumes(tag, group, pool)
    return RawFiles(settings.state / "served")
