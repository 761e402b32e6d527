"""The process of a storage host's agent: LIO and a folder of raw files, without libvirt."""

from __future__ import annotations

import os

from altostratus.cloud_tag import cloud_tag
from altostratus.settings import Settings
from backends.agent.storage import StorageHost, run
from backends.disks.iscsi import Portal, Targets
from backends.store.database import Database

CONNECTIONS = 12


def run_storage_agent(settings: Settings) -> None:
    """Until it is told to stop; what is served goes on."""
    address, _, port = settings.iscsi_listen.rpartition(":")
    settings.state.mkdir(mode=0o755, parents=True, exist_ok=True)
    database = Database(settings.conninfo, connections=CONNECTIONS)
    database.open()
    host = StorageHost(
        name=settings.host_name,
        database=database,
        targets=Targets(cloud_tag(settings), [Portal(address.strip("[]"), int(port))]),
        folder=settings.state / "served",
        portal=settings.iscsi_portal,
    )
    try:
        run(host, settings.conninfo, _disk_bytes(settings), sweep_s=settings.sweep_s)
    finally:
        database.close()


def _disk_bytes(settings: Settings) -> int:
    system = os.statvfs(settings.state)
    return int(system.f_blocks * system.f_frsize * settings.disk_overcommit)
