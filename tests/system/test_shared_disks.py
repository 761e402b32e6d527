"""The door to disks of a shared folder: where they count, who reaches them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from backends import jobs
from backends.cloud import Cloud
from backends.errors import Conflict, Invalid, OutOfRoom
from backends.jobs import Kind
from backends.model import DiskState, NewAttachment, NewDisk, NewMachine, Pool
from backends.placement import place_waiting
from backends.store.database import Connection

GIB = 2**30


@pytest.fixture
def folder(sql: Connection, host: str) -> UUID:
    """A shared folder of 10 GiB, which the host has and two others, of which one has more memory; a fourth has not."""
    folder = uuid4()
    sql.execute("INSERT INTO shared_pool (id, disk_bytes) VALUES (%s, %s)", [folder, 10 * GIB])
    sql.execute("UPDATE host SET shared_pool = %s", [folder])
    for name, memory_mib, shared in (("rack2", 32768, folder), ("rack3", 8192, folder), ("rack4", 65536, None)):
        sql.execute(
            "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, shared_pool, heartbeat_at)"
            " VALUES (%s, 8, %s, %s, 'qemu', %s, now() + interval '1 day')",
            [name, memory_mib, 2**40, shared],
        )
    return folder


def taken(sql: Connection) -> list[int]:
    rows = sql.execute(
        "SELECT disk_taken_bytes FROM shared_pool UNION ALL SELECT sum(disk_taken_bytes)::bigint FROM host"
    ).fetchall()
    return [row[0] for row in rows]


def test_disk_goes_there_unless_it_is_asked_for_elsewhere_and_counts_once(
    cloud: Cloud, sql: Connection, folder: UUID
) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    assert (disk.pool, disk.shared_pool, disk.host) == (Pool.SHARED, folder, "rack2")
    assert taken(sql) == [GIB, 0]
    sql.execute("UPDATE disk SET host = 'rack1' WHERE id = %s", [disk.id])
    cloud.resize_disk(disk.id, 3 * GIB)
    assert taken(sql) == [3 * GIB, 0]
    assert cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.FILE)).pool is Pool.FILE
    assert taken(sql) == [3 * GIB, GIB]
    sql.execute("DELETE FROM disk")
    assert taken(sql) == [0, 0]


def test_what_does_not_fit_waits_or_is_refused(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    first = cloud.create_disk(NewDisk(size_bytes=6 * GIB, pool=Pool.SHARED))
    waiting = cloud.create_disk(NewDisk(size_bytes=6 * GIB, pool=Pool.SHARED))
    assert (waiting.host, waiting.shared_pool) == (None, None)
    assert waiting.state_message == ("waiting for room: asks for 6 GiB of disk; disk short in every shared folder")
    sql.execute("UPDATE disk SET observed_generation = generation, state = 'online' WHERE id = %s", [first.id])
    with pytest.raises(OutOfRoom, match="can't grow"):
        cloud.resize_disk(first.id, 12 * GIB)
    with pytest.raises(OutOfRoom, match="no room for a copy"):
        cloud.backup_disk(first.id)
    sql.execute("UPDATE shared_pool SET disk_bytes = %s", [20 * GIB])
    sql.execute("UPDATE shared_pool SET is_full = true")
    place_waiting(sql)
    assert cloud.disk(waiting.id).host is None
    sql.execute("UPDATE shared_pool SET is_full = false")
    place_waiting(sql)
    assert cloud.disk(waiting.id).shared_pool == folder


def test_where_no_host_has_a_folder_the_disk_waits_for_one(cloud: Cloud, host: str) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    assert disk.host is None and "no host with the shared folder answered" in disk.state_message
    assert cloud.create_disk(NewDisk(size_bytes=GIB)).pool is Pool.FILE


def test_machine_goes_to_a_host_that_has_the_folder(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    machine = cloud.create_machine(NewMachine(attachments=(NewAttachment(disk.id),)))
    assert machine.host == "rack2"  # rack4, with more memory, hasn't got it
    elsewhere = cloud.create_machine(NewMachine())
    assert elsewhere.host == "rack4"
    other = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    with pytest.raises(Conflict, match="isn't mounted on rack4, the compute's host"):
        cloud.attach(elsewhere.id, NewAttachment(other.id))


def test_machine_that_waits_gets_a_host_that_has_the_folder(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour' WHERE shared_pool IS NOT NULL")
    waiting = cloud.create_machine(NewMachine(attachments=(NewAttachment(disk.id),)))
    assert waiting.host is None
    place_waiting(sql)
    assert cloud.machine(waiting.id).host is None
    sql.execute("UPDATE host SET heartbeat_at = now() WHERE name = 'rack3'")
    place_waiting(sql)
    assert cloud.machine(waiting.id).host == "rack3"


def test_machine_has_disks_of_one_folder_only(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    other = uuid4()
    sql.execute("INSERT INTO shared_pool (id, disk_bytes) VALUES (%s, %s)", [other, 100 * GIB])
    sql.execute("UPDATE host SET shared_pool = %s WHERE name = 'rack4'", [other])
    far = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    assert (far.shared_pool, far.host) == (other, "rack4")  # which has more room
    with pytest.raises(Conflict, match="different shared pools"):
        cloud.create_machine(NewMachine(attachments=(NewAttachment(disk.id), NewAttachment(far.id))))
    sql.execute("UPDATE disk SET observed_generation = generation, state = 'online'")
    with pytest.raises(Conflict, match="is on the shared pool"):
        cloud.restore_disk(disk.id, far.id)


def test_copies_stay_in_the_folder(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    sql.execute("UPDATE disk SET observed_generation = generation, state = 'online'")
    copy = cloud.clone_disk(disk.id, NewDisk())
    assert (copy.pool, copy.shared_pool, copy.host) == (Pool.SHARED, folder, disk.host)
    with pytest.raises(Invalid, match="is in its pool, shared, not in file"):
        cloud.clone_disk(disk.id, NewDisk(pool=Pool.FILE))


def test_restoring_asks_nothing_of_where_both_are_now(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    sql.execute("UPDATE disk SET observed_generation = generation, state = 'online'")
    snapshot = cloud.snapshot_disk(disk.id)
    sql.execute(
        "UPDATE disk SET observed_generation = generation, state = 'online', source_disk_id = NULL,"
        " host = CASE WHEN snapshot_of IS NULL THEN 'rack3' ELSE 'rack1' END"
    )
    cloud.restore_disk(disk.id, snapshot.id)
    assert cloud.disk(disk.id).state is DiskState.BACKUP


def test_machine_started_later_goes_where_its_disks_are(cloud: Cloud, sql: Connection, folder: UUID) -> None:
    """It had no host yet, since it wasn't permitted to have its disk."""
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    sql.execute("UPDATE disk SET restricted = true")
    machine = cloud.create_machine(NewMachine(attachments=(NewAttachment(disk.id),)))
    sql.execute("UPDATE machine SET host = NULL, admitted = false")
    sql.execute("INSERT INTO disk_permit (disk_id, machine_id) VALUES (%s, %s)", [disk.id, machine.id])
    assert cloud.start_machine(machine.id).host == "rack2"


def test_job_that_waits_for_a_dead_host_does_not_hold_up_the_next_one(
    cloud: Cloud, sql: Connection, folder: UUID
) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.SHARED))
    for name in ("rack1", "rack3"):  # the one before is for rack2
        jobs.defer(sql, name, Kind.DISK, disk.id)
        jobs.defer_later(sql, name, Kind.DISK, disk.id, delay_s=0)
    worker = sql.execute("SELECT procrastinate_register_worker_v1()").fetchone()
    fetched = {
        sql.execute(
            "SELECT queue_name FROM procrastinate_fetch_job_v2(ARRAY[%s]::varchar[], %s)", [name, worker and worker[0]]
        ).fetchone()
        for name in ("rack3", "rack1", "rack2")
    }
    assert fetched == {("rack1",), ("rack2",), ("rack3",)}
    later = sql.execute(
        "SELECT queue_name FROM procrastinate_jobs WHERE queueing_lock IS NOT NULL ORDER BY 1"
    ).fetchall()
    assert later == [("rack1",), ("rack3",)]
