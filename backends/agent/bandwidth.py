"""The limits of interfaces: what the database says of them, at the taps of this host."""

from __future__ import annotations

from uuid import UUID

from backends.agent.host import Host
from backends.networks.bandwidth import Bandwidth
from backends.store.database import query


def limit_port(host: Host, interface_id: UUID, bandwidth: Bandwidth) -> None:
    """Before the tap is there, for what it sends, and again afterwards, for what it receives."""
    with host.networks.exclusively():
        if not host.limits.ensure_port(interface_id, bandwidth):
            restore_limits(host)


def restore_limits(host: Host) -> list[str]:
    """All of this host; says what had been changed by others."""
    with host.networks.exclusively():
        with host.connection() as connection:
            rows = connection.execute(query("links.bandwidths"), {"host": host.name}).fetchall()
        return host.limits.restore({row[0]: Bandwidth(row[1], row[2]) for row in rows})
