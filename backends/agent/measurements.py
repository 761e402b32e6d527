"""What each running machine uses, brought to the database so that any gateway can show it."""

from __future__ import annotations

from backends.agent.host import Host
from backends.machines.spec import Statistics
from backends.store.database import query


def measure(host: Host) -> None:
    """One call to libvirt and one transaction for all; machines that don't run lose their measurement."""
    measured = host.hypervisor.statistics()
    with host.connection() as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.execute(query("agent.unmeasured"), {"host": host.name, "measured": list(measured)})
        cursor.executemany(query("agent.measured"), [_row(statistics) for statistics in measured.values()])


def _row(statistics: Statistics) -> dict[str, object]:
    return {
        "id": statistics.id,
        "cpu_seconds": statistics.cpu_seconds,
        "memory_resident_mib": statistics.memory_resident_mib,
        "disk_read_bytes": sum(disk.read_bytes for disk in statistics.disks),
        "disk_written_bytes": sum(disk.written_bytes for disk in statistics.disks),
        "network_received_bytes": sum(interface.received_bytes for interface in statistics.interfaces),
        "network_sent_bytes": sum(interface.sent_bytes for interface in statistics.interfaces),
    }
