"""What interfaces receive and send, added up in the database, where it outlives taps, agents, hosts and interfaces."""

from __future__ import annotations

from dataclasses import asdict, astuple
from uuid import UUID

from backends.agent.host import Host
from backends.model import Traffic
from backends.networks.traffic import Counted, accumulate
from backends.store.database import query


def begin_counting(host: Host, interface_id: UUID) -> None:
    """Before its tap is there, so that the end of the shortest life is known to be its own."""
    for _ in range(2):
        with host.connection() as connection:
            if connection.execute(query("traffic.begin"), {"id": interface_id, "host": host.name}).rowcount:
                return
        count_traffic(host)  # what another project's interface of the same identity has left is added up


def count_traffic(host: Host) -> None:
    """All taps of this host, in one transaction: whoever is killed has counted nothing, and the next counts it all.

    Taps are read after the lock is there, and rows after the taps: no reading is older than what it is added to, and
    each tap that was read has its row. An interface that is gone leaves its counts to its project with its tap.
    """
    with host.connection() as connection, connection.transaction():
        connection.execute(query("traffic.counting"), {"host": host.name})
        readings = host.meter.readings()
        present = {reading.tap for reading in readings if not reading.is_last}
        rows = connection.execute(query("traffic.of_host"), {"host": host.name}).fetchall()
        before = {row[0]: Counted(Traffic(*row[3:7]), row[1], row[2], Traffic(*row[7])) for row in rows}
        rows.sort(key=lambda row: not row[8])  # a name may have passed on to another interface
        taps = {host.networks.tap_name(row[0]): row[0] for row in rows}
        after = dict(before)
        for reading in readings:
            if (interface_id := taps.get(reading.tap)) is not None:
                after[interface_id] = accumulate(after[interface_id], reading)
        with connection.cursor() as cursor:
            changed = [(one, now) for one, now in after.items() if now != before[one]]
            cursor.executemany(query("traffic.counted"), [_parameters(one, now) for one, now in changed])
        present_ids = {taps[tap] for tap in present & taps.keys()}
        gone = [row[0] for row in rows if row[8] and row[0] not in present_ids]
        connection.execute(query("traffic.settle"), {"ids": gone})
    host.meter.done(readings)


def _parameters(interface_id: UUID, counted: Counted) -> dict[str, object]:
    seen = list(astuple(counted.seen))
    return asdict(counted.total) | {"id": interface_id, "boot": counted.boot, "link": counted.link, "seen": seen}
