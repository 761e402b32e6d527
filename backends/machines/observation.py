"""What libvirt answers about a domain, in the terms of this driver: power, reason, devices, counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

import libvirt

from backends.machines.domain_xml import Description, parse_domain
from backends.machines.errors import is_connection_loss
from backends.machines.spec import (
    DiskStatistics,
    InterfaceStatistics,
    Observed,
    Power,
    Reason,
    Statistics,
)

_OFF_REASONS = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: Reason.GUEST_SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: Reason.DESTROYED,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: Reason.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: Reason.SAVED,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: Reason.FAILED,
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: Reason.FAILED,
}
_PAUSE_REASONS = {
    libvirt.VIR_DOMAIN_PAUSED_USER: Reason.ASKED,
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: Reason.DISK_ERROR,
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: Reason.CRASHED,
    libvirt.VIR_DOMAIN_PAUSED_SAVE: Reason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_DUMP: Reason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: Reason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: Reason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: Reason.BUSY,
}
_RUNNING_STATES = frozenset(
    {
        libvirt.VIR_DOMAIN_RUNNING,
        libvirt.VIR_DOMAIN_BLOCKED,
        libvirt.VIR_DOMAIN_SHUTDOWN,
        libvirt.VIR_DOMAIN_PMSUSPENDED,
    }
)
_STATISTICS = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)


def power_of(domain: libvirt.virDomain) -> tuple[Power, Reason | None]:
    state, reason = domain.state()
    if state in _RUNNING_STATES:
        return Power.RUNNING, None
    if state == libvirt.VIR_DOMAIN_PAUSED:
        why = _PAUSE_REASONS.get(reason, Reason.UNKNOWN)
        return (Power.CRASHED if why is Reason.CRASHED else Power.PAUSED), why
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return Power.CRASHED, Reason.CRASHED
    if _can_wake(domain):
        return Power.HIBERNATED, Reason.SAVED
    return Power.OFF, _OFF_REASONS.get(reason, Reason.UNKNOWN)


def _can_wake(domain: libvirt.virDomain) -> bool:
    """A save that was cut off leaves a file which libvirt refuses to read, and discards at the next start."""
    if not domain.hasManagedSaveImage():
        return False
    try:
        domain.managedSaveGetXMLDesc()
    except libvirt.libvirtError as error:
        if is_connection_loss(error):
            raise
        return False
    return True


def describe(domain: libvirt.virDomain, power: Power) -> Description:
    """A hibernated guest has the devices it was saved with, whatever its definition says by now."""
    if power is Power.HIBERNATED:
        return parse_domain(domain.managedSaveGetXMLDesc())
    return parse_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))


def describe_definition(domain: libvirt.virDomain) -> Description:
    return parse_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


def observe(domain: libvirt.virDomain, machine_id: UUID) -> Observed:
    power, reason = power_of(domain)
    description = describe(domain, power)
    active = power in (Power.RUNNING, Power.PAUSED, Power.CRASHED)
    return Observed(
        id=machine_id,
        power=power,
        reason=reason,
        run=domain.ID() if active else None,
        vnc=description.vnc,
        vnc_password=description.vnc_password if active else None,
        guest_agent=description.guest_agent,
        disks=tuple(disk for disk, _ in description.disks.values()),
        interfaces=tuple(interface for interface, _ in description.interfaces.values()),
        seed=description.seed,
        cores=description.cores,
        memory_mib=description.memory_mib,
    )


def statistics_of(connection: libvirt.virConnect, domains: Mapping[UUID, libvirt.virDomain]) -> dict[UUID, Statistics]:
    """One call to libvirt for all of them."""
    if not domains:
        return {}
    answers = connection.domainListGetStats(list(domains.values()), _STATISTICS)
    return {UUID(domain.UUIDString()): _statistics(UUID(domain.UUIDString()), raw) for domain, raw in answers}


def _statistics(machine_id: UUID, raw: Mapping[str, object]) -> Statistics:
    resident, unused = _optional(raw, "balloon.rss"), _optional(raw, "balloon.unused")
    return Statistics(
        id=machine_id,
        cpu_seconds=_number(raw, "cpu.time") / 1e9,
        memory_mib=_number(raw, "balloon.current") // 1024,
        memory_resident_mib=None if resident is None else resident // 1024,
        memory_unused_mib=None if unused is None else unused // 1024,
        disks=tuple(
            DiskStatistics(
                device=name,
                read_bytes=_number(raw, f"{prefix}.rd.bytes"),
                read_requests=_number(raw, f"{prefix}.rd.reqs"),
                written_bytes=_number(raw, f"{prefix}.wr.bytes"),
                write_requests=_number(raw, f"{prefix}.wr.reqs"),
                capacity_bytes=_number(raw, f"{prefix}.capacity"),
                allocated_bytes=_number(raw, f"{prefix}.allocation"),
            )
            for prefix, name in _entries(raw, "block")
            if name.startswith("vd")
        ),
        interfaces=tuple(
            InterfaceStatistics(
                tap=name,
                received_bytes=_number(raw, f"{prefix}.rx.bytes"),
                received_packets=_number(raw, f"{prefix}.rx.pkts"),
                received_dropped=_number(raw, f"{prefix}.rx.drop"),
                sent_bytes=_number(raw, f"{prefix}.tx.bytes"),
                sent_packets=_number(raw, f"{prefix}.tx.pkts"),
                sent_dropped=_number(raw, f"{prefix}.tx.drop"),
            )
            for prefix, name in _entries(raw, "net")
        ),
    )


def _entries(raw: Mapping[str, object], kind: str) -> Iterator[tuple[str, str]]:
    for index in range(_number(raw, f"{kind}.count")):
        prefix = f"{kind}.{index}"
        name = raw.get(f"{prefix}.name")
        if isinstance(name, str):
            yield prefix, name


def _number(raw: Mapping[str, object], key: str) -> int:
    return _optional(raw, key) or 0


def _optional(raw: Mapping[str, object], key: str) -> int | None:
    value = raw.get(key)
    return value if isinstance(value, int) else None
