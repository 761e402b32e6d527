"""The agent's process: opens the drivers of this host and hands them to the converge loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from altostratus.cloud_tag import cloud_tag
from altostratus.settings import Settings
from backends.agent.host import Host
from backends.agent.loop import Capacity, run
from backends.disks.files import DiskFiles
from backends.disks.pool import DiskPool
from backends.disks.shared_pool import SharedPool
from backends.machines.hypervisor import Hypervisor
from backends.machines.probe import probe
from backends.machines.spec import DomainType
from backends.networks.addresses import default_gateway
from backends.networks.bandwidth import Limits
from backends.networks.driver import Networks
from backends.networks.groups import Groups
from backends.networks.traffic import Meter
from backends.store.database import Database

log = structlog.get_logger()

QEMU_GROUP = "libvirt-qemu"
"""Debian's group of QEMU's processes: it may open the pool's files and enter its folders."""
CONNECTIONS = 16
DEFAULT_IMAGE = "default"


def pool_of(settings: Settings) -> DiskPool:
    return DiskPool(settings.state / "pool", group=QEMU_GROUP)


def shared_pool_of(settings: Settings, database: Database) -> SharedPool | None:
    """None where the settings name none; whether it is mounted is another question."""
    if not settings.shared_pool:
        return None

    @contextmanager
    def alone() -> Iterator[None]:
        with database.connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('shared pools'))")
            yield

    return SharedPool(Path(settings.shared_pool), settings.host_name, alone, group=QEMU_GROUP)


def run_agent(settings: Settings) -> None:
    """Until it is told to stop."""
    with opened_host(settings) as host:
        capacity = capacity_of(settings, can_filter_vlans=host.networks.can_filter_vlans())
        run(host, settings.conninfo, capacity, sweep_s=settings.sweep_s)


@contextmanager
def opened_host(settings: Settings) -> Iterator[Host]:
    """This host with its drivers; what an earlier agent left unfinished in the pool is gone."""
    tag = cloud_tag(settings)
    pool = pool_of(settings)
    pool.prepare()
    pool.sweep()
    for name in ("seeds", "consoles", "networks"):
        (settings.state / name).mkdir(mode=0o711, exist_ok=True)
    database = Database(settings.conninfo, connections=CONNECTIONS)
    database.open()
    try:
        hypervisor = Hypervisor(
            settings.libvirt_uri,
            tag,
            domain_type=_domain_type(settings, database, pool),
            console_directory=settings.state / "consoles",
        )
        files = DiskFiles(settings.opened_folder, settings.user)
        files.prepare()
        host = Host(
            name=settings.host_name,
            database=database,
            hypervisor=hypervisor,
            pool=pool,
            networks=Networks(tag, settings.state / "networks", settings.wiring),
            files=files,
            groups=Groups(tag),
            limits=Limits(tag),
            meter=Meter(tag),
            seeds=settings.state / "seeds",
            values=settings.values_folder,
            graceful_stop_s=settings.graceful_stop_s,
            shared=shared_pool_of(settings, database),
            disk_overcommit=settings.disk_overcommit,
        )
        for network in settings.site_networks:
            host.write(
                "ensure_site_network",
                **{"class": network.network_class.value},
                title=network.title,
                summary=network.summary,
                cidr=network.cidr,
                gateway=default_gateway(network.cidr),
                cidr6=network.cidr6 or None,
                masquerade6=settings.shared_network6_nat,
            )
        try:
            yield host
        finally:
            files.end()
            host.meter.close()
            hypervisor.close()
    finally:
        database.close()


def _domain_type(settings: Settings, database: Database, pool: DiskPool) -> DomainType:
    """KVM only after a guest has really run under it, found out once per boot of the host."""
    if settings.domain_type != "auto":
        return settings.domain_type
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    image = _default_image(database, pool)
    remembered = settings.state / "domain-type"
    key = f"{boot_id} {image.name if image else 'no image'}"
    if remembered.exists():
        known, _, domain_type = remembered.read_text().strip().rpartition(" ")
        if known == key:
            return "kvm" if domain_type == "kvm" else "qemu"
    found = probe(image)
    log.info("probed for KVM", domain_type=found.domain_type, reason=found.reason)
    remembered.write_text(f"{key} {found.domain_type}\n")
    return found.domain_type


def _default_image(database: Database, pool: DiskPool) -> Path | None:
    """The default image shows its kernel's and its own messages on the serial port, which the probe needs."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT id FROM image WHERE name = %s AND state = 'ready' AND format = 'qcow2' AND NOT deleting",
            [DEFAULT_IMAGE],
        ).fetchone()
    return pool.image_file(row[0]).path if row else None


def capacity_of(settings: Settings, *, can_filter_vlans: bool) -> Capacity:
    """What this host offers, by the settings and what its kernel can do."""
    memory_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    present = pool_of(settings).capacity()
    return Capacity(
        cores=int((os.cpu_count() or 1) * settings.cores_overcommit),
        memory_mib=max(0, memory_mib - settings.memory_reserve_mib),
        disk_bytes=int(present.total_bytes * settings.disk_overcommit),
        classes=[network.network_class for network in settings.site_networks],
        vlans=settings.wiring.vlans if can_filter_vlans else (),
    )
