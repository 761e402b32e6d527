"""The door to disks of a storage host: where they go, who may have them, who is told what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from backends.cloud import Cloud, disk_bytes
from backends.cloud.disk_rights import READ
from backends.cloud.named_disks import NamedDisk
from backends.errors import Conflict, Invalid, NotAllowed, NotApplicable, NotFound, OutOfRoom, TryLater
from backends.model import Disk, DiskState, MachineState, NewAttachment, NewDisk, NewMachine, Pool, WriteFormat
from backends.opened import OpenedDisks
from backends.placement import place_waiting
from backends.store.database import Connection, Database, query
from backends.values import Values
from tests.conftest import SIZES, caller, project

GIB = 2**30
OUTSIDE = "iqn.2026-01.org.example:outside"


@pytest.fixture
def storage(sql: Connection, host: str) -> str:
    """A storage host with 1 TiB, whose agent is taken to be alive."""
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal, heartbeat_at)"
        " VALUES ('store1', 0, 0, %s, 'none', 'iscsi', '192.0.2.7:3260', now() + interval '1 day')",
        [2**40],
    )
    return "store1"


def served(cloud: Cloud, sql: Connection) -> Disk:
    """A disk that its storage host has told about."""
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    sql.execute(
        "UPDATE disk SET state = 'online', observed_generation = generation, target_identifier = 'iqn.x,t,0x0001',"
        " logical_unit_name = '0x6001405' WHERE id = %s",
        [disk.id],
    )
    return disk


def jobs_of(sql: Connection, queue: str) -> Sequence[str]:
    rows = sql.execute(
        "SELECT args->>'kind' || ' ' || (args->>'resource_id') FROM procrastinate_jobs"
        " WHERE queue_name = %s ORDER BY id",
        [queue],
    )
    return [row[0] for row in rows.fetchall()]


def test_disk_goes_to_the_storage_host_unless_it_is_asked_for_elsewhere(
    cloud: Cloud, sql: Connection, storage: str
) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    beside = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.FILE))
    assert (disk.pool, disk.host) == (Pool.ISCSI, storage)
    assert (beside.pool, beside.host) == (Pool.FILE, "rack1")
    assert jobs_of(sql, storage) == [f"disk {disk.id}"]


def test_without_a_living_storage_host_it_goes_beside_the_machines(cloud: Cloud, sql: Connection, storage: str) -> None:
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour' WHERE name = %s", [storage])
    assert cloud.create_disk(NewDisk(size_bytes=GIB)).pool is Pool.FILE
    waiting = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.ISCSI))
    assert waiting.host is None
    sql.execute("UPDATE host SET heartbeat_at = now() WHERE name = %s", [storage])
    place_waiting(sql)
    assert cloud.disk(waiting.id).host == storage


def test_disk_made_from_an_image_stays_beside_the_machines_unless_it_is_asked_for_elsewhere(
    cloud: Cloud, sql: Connection, image: str, storage: str
) -> None:
    assert cloud.create_disk(NewDisk(image_name=image)).pool is Pool.FILE
    made = cloud.create_disk(NewDisk(image_name=image, pool=Pool.ISCSI))
    assert (made.pool, made.host, made.size_bytes) == (Pool.ISCSI, storage, GIB)
    leases = sql.execute("SELECT disk_id, host, length(secret) FROM disk_lease").fetchall()
    assert leases == [(made.id, "rack1", 16)]
    assert cloud.export(made.id) is None
    cloud.delete_disk(made.id)
    assert sql.execute("SELECT count(*) FROM disk_lease").fetchone() == (0,)
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour' WHERE name = 'rack1'")
    with pytest.raises(Conflict, match="no host that has the image"):
        cloud.create_disk(NewDisk(image_name=image, pool=Pool.ISCSI))


def test_machines_and_networks_never_run_on_a_storage_host(cloud: Cloud, sql: Connection, storage: str) -> None:
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour' WHERE name = 'rack1'")
    assert cloud.create_machine(NewMachine()).host is None
    place_waiting(sql)
    assert sql.execute("SELECT count(*) FROM machine WHERE host = %s", [storage]).fetchone() == (0,)


def test_attaching_grants_this_attachment_alone_and_its_secret_is_in_no_job(
    cloud: Cloud, sql: Connection, storage: str
) -> None:
    disk, machine = served(cloud, sql), cloud.create_machine(NewMachine())
    attachment = cloud.attach(machine.id, NewAttachment(disk.id))
    grants = sql.execute("SELECT attachment_id, initiator, secret, served FROM disk_grant").fetchall()
    ((granted, initiator, secret, is_served),) = grants
    assert (granted, is_served) == (attachment.id, False)
    assert initiator.endswith(str(attachment.id))
    assert len(secret) == 16
    assert jobs_of(sql, storage)[-1] == f"disk {disk.id}"
    arguments = sql.execute("SELECT args::text FROM procrastinate_jobs").fetchall()
    assert not [row for row in arguments if secret in row[0]]
    other = cloud.create_machine(NewMachine())
    with pytest.raises(Conflict, match="is attached to the compute"):
        cloud.attach(other.id, NewAttachment(disk.id))


def test_deleted_machine_s_grant_goes_with_it(cloud: Cloud, sql: Connection, storage: str) -> None:
    disk, machine = served(cloud, sql), cloud.create_machine(NewMachine())
    cloud.attach(machine.id, NewAttachment(disk.id))
    sql.execute("DELETE FROM attachment")
    assert sql.execute("SELECT count(*) FROM disk_grant").fetchone() == (0,)


def test_export_tells_what_an_initiator_outside_needs(cloud: Cloud, sql: Connection, storage: str) -> None:
    disk = served(cloud, sql)
    assert cloud.export(disk.id) is None
    export = cloud.export_disk(disk.id, [OUTSIDE])
    assert export is not None
    assert (export.portals, export.logical_unit_number) == (("192.0.2.7:3260",), "0")
    assert (export.target_identifier, export.logical_unit_name) == ("iqn.x,t,0x0001", "0x6001405")
    ((initiator),) = export.initiators
    assert (initiator.name, initiator.is_served, len(initiator.secret)) == (OUTSIDE, False, 16)
    assert initiator.secret not in repr(export)
    again = cloud.export_disk(disk.id, [OUTSIDE])
    assert again == export
    assert cloud.export_disk(disk.id, []) is None


def test_disk_is_exported_or_attached_and_neither_twice(cloud: Cloud, sql: Connection, storage: str) -> None:
    disk, machine = served(cloud, sql), cloud.create_machine(NewMachine())
    cloud.export_disk(disk.id, [OUTSIDE])
    with pytest.raises(Conflict, match=f"exported to the initiator {OUTSIDE}"):
        cloud.attach(machine.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match="exported"):
        cloud.delete_disk(disk.id)
    with pytest.raises(Invalid, match="takes one"):
        cloud.export_disk(disk.id, [OUTSIDE, f"{OUTSIDE}2"])
    with pytest.raises(Invalid, match="initiator"):
        cloud.export_disk(disk.id, ["iqn.2026-01.org.example:a/../b"])
    cloud.export_disk(disk.id, [])
    cloud.attach(machine.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match="is attached"):
        cloud.export_disk(disk.id, [OUTSIDE])
    with pytest.raises(Conflict, match="serves no disks"):
        cloud.export_disk(cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.FILE)).id, [OUTSIDE])


def test_read_only_disk_is_exported_to_many_and_stays_so_until_all_are_gone(
    cloud: Cloud, sql: Connection, storage: str
) -> None:
    disk = served(cloud, sql)
    cloud.update_disk(disk.id, {"read_only": True})
    export = cloud.export_disk(disk.id, [f"{OUTSIDE}2", OUTSIDE, OUTSIDE])
    assert export is not None
    assert [one.name for one in export.initiators] == [OUTSIDE, f"{OUTSIDE}2"]
    first, second = export.initiators
    assert first.secret != second.secret
    with pytest.raises(Conflict, match="withdraw that first"):
        cloud.update_disk(disk.id, {"read_only": False})
    left = cloud.export_disk(disk.id, [f"{OUTSIDE}2"])
    assert left is not None
    assert left.initiators == (second,)


def test_nobody_exports_or_permits_what_is_not_theirs(
    cloud: Cloud, other_cloud: Cloud, sql: Connection, storage: str
) -> None:
    disk, theirs = served(cloud, sql), other_cloud.create_machine(NewMachine())
    for call in (
        lambda: other_cloud.export(disk.id),
        lambda: other_cloud.export_disk(disk.id, [OUTSIDE]),
        lambda: other_cloud.permits(disk.id),
        lambda: other_cloud.permit_machines(disk.id, []),
        lambda: cloud.permit_machines(disk.id, [theirs.id]),
    ):
        with pytest.raises(NotFound):
            call()


@pytest.mark.parametrize("pool", list(Pool))
def test_restricted_disk_is_attached_to_and_started_with_those_permitted_only(
    cloud: Cloud, sql: Connection, storage: str, pool: Pool
) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=pool))
    first, second = cloud.create_machine(NewMachine()), cloud.create_machine(NewMachine())
    assert cloud.permits(disk.id) is None
    cloud.permit_machines(disk.id, [])
    with pytest.raises(NotAllowed, match="not in the permissions"):
        cloud.attach(first.id, NewAttachment(disk.id))
    cloud.permit_machines(disk.id, [first.id])
    assert cloud.permits(disk.id) == [first.id]
    cloud.attach(first.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match="detach it first"):
        cloud.permit_machines(disk.id, [second.id])
    cloud.permit_machines(disk.id, None)
    assert cloud.permits(disk.id) is None
    _is_refused_at_the_start(cloud, sql, disk.id, first.id)


def _is_refused_at_the_start(cloud: Cloud, sql: Connection, disk_id: UUID, machine_id: UUID) -> None:
    """The permission may have been taken away by whoever owns the database, or before this rule was there."""
    sql.execute("UPDATE machine SET wanted = 'inactive', state = %s WHERE id = %s", [MachineState.INACTIVE, machine_id])
    sql.execute("UPDATE disk SET restricted = true WHERE id = %s", [disk_id])
    with pytest.raises(NotAllowed, match="not in the permissions"):
        cloud.start_machine(machine_id)


def test_served_disk_grows_and_is_copied_where_it_is(cloud: Cloud, sql: Connection, storage: str) -> None:
    disk = served(cloud, sql)
    assert cloud.resize_disk(disk.id, 2 * GIB).size_bytes == 2 * GIB
    assert jobs_of(sql, storage)[-1] == f"disk {disk.id}"
    sql.execute("UPDATE disk SET state = 'online' WHERE id = %s", [disk.id])
    copy = cloud.snapshot_disk(disk.id)
    assert (copy.pool, copy.host, copy.size_bytes) == (Pool.ISCSI, storage, 2 * GIB)
    assert jobs_of(sql, storage)[-1] == f"disk {copy.id}"
    assert cloud.disk(disk.id).state is DiskState.SNAPSHOT
    sql.execute("UPDATE disk SET source_disk_id = NULL, state = 'online', observed_generation = generation")
    cloud.restore_disk(disk.id, copy.id)
    assert jobs_of(sql, storage)[-1] == f"disk {disk.id}"


def test_full_pool_takes_nothing_more_and_says_so(cloud: Cloud, sql: Connection, storage: str) -> None:
    disk = served(cloud, sql)
    sql.execute("UPDATE host SET is_full = true WHERE name = %s", [storage])
    assert cloud.create_disk(NewDisk(size_bytes=GIB)).pool is Pool.FILE
    waiting = cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.ISCSI))
    assert (waiting.host, waiting.state_message) == (
        None, "waiting for room: asks for 1 GiB of disk; disk short on every host"
    )  # fmt: skip
    with pytest.raises(OutOfRoom, match="disk short on host store1"):
        cloud.snapshot_disk(disk.id)
    with pytest.raises(OutOfRoom, match="can't grow"):
        cloud.resize_disk(disk.id, 2 * GIB)
    sql.execute("UPDATE host SET is_full = false WHERE name = %s", [storage])
    place_waiting(sql)
    assert cloud.disk(waiting.id).host == storage


@pytest.mark.parametrize("pool", list(Pool))
def test_disk_that_can_be_written_has_one_machine_and_a_read_only_one_has_many(
    cloud: Cloud, sql: Connection, storage: str, pool: Pool
) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB, pool=pool))
    first, second = cloud.create_machine(NewMachine()), cloud.create_machine(NewMachine())
    attachment = cloud.attach(first.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match=f"attached to the compute {first.id}"):
        cloud.attach(second.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match=f"attached to the compute {first.id}"):
        cloud.update_disk(disk.id, {"read_only": True})
    cloud.detach(attachment.id)
    sql.execute("DELETE FROM attachment")
    assert cloud.update_disk(disk.id, {"read_only": True}).read_only
    for machine in (first, second):
        cloud.attach(machine.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match=f"attached to the compute {second.id} already"):
        cloud.attach(second.id, NewAttachment(disk.id))
    for change in ({"read_only": False}, {"size_bytes": 2 * GIB}):
        with pytest.raises((Conflict, NotApplicable), match=r"attached to the compute|read-only"):
            cloud.update_disk(disk.id, change)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="is attached"):
        cloud.delete_disk(disk.id)
    with pytest.raises(Conflict, match="detach it first"):
        cloud.permit_machines(disk.id, [first.id])


@pytest.fixture
def beside(database: Database, sql: Connection, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The door of a gateway on the compute host, which waits for no agent."""
    monkeypatch.setattr(disk_bytes, "WAIT_S", 0)
    values = tmp_path / "values"
    values.mkdir()
    opened = OpenedDisks(host, tmp_path / "opened")
    return Cloud(database, caller(project(sql, "mine")), SIZES, "small", Values(values), opened)


def named(cloud: Cloud, sql: Connection) -> NamedDisk:
    return cloud.named_disk(str(served(cloud, sql).id))


def test_who_asks_for_the_bytes_of_a_served_disk_has_it_leased_to_the_gateway_s_host(
    beside: Cloud, sql: Connection, storage: str
) -> None:
    disk = named(beside, sql)
    assert beside.has_bytes(disk)
    with pytest.raises(TryLater):
        beside.open_disk(disk)
    ((host, initiator, secret, is_served),) = sql.execute("SELECT host, initiator, secret, served FROM disk_lease")
    assert (host, len(secret), is_served) == ("rack1", 16, False)
    assert beside.export(disk.id) is None
    assert jobs_of(sql, storage)[-1] == f"disk {disk.id}"
    arguments = sql.execute("SELECT args::text FROM procrastinate_jobs").fetchall()
    assert not [row for row in arguments if secret in row[0]]
    with beside.receive_value() as data:
        data.write(b"x")
        assert beside.write_disk(disk, data, 0, WriteFormat.RAW) is False
    assert sql.execute("SELECT initiator, secret FROM disk_lease").fetchall() == [(initiator, secret)]
    sql.execute("DELETE FROM disk_write")
    sql.execute("UPDATE disk_lease SET host = %s", [storage])
    with pytest.raises(TryLater, match=f"by the host {storage}"):
        beside.open_disk(disk)


def test_bytes_of_a_served_disk_are_refused_to_all_but_its_one_owner(
    beside: Cloud, sql: Connection, storage: str
) -> None:
    disk, machine = named(beside, sql), beside.create_machine(NewMachine())
    beside.export_disk(disk.id, [OUTSIDE])
    with pytest.raises(Conflict, match=f"exported to the initiator {OUTSIDE}"):
        beside.check_bytes(disk, READ)
    beside.export_disk(disk.id, [])
    beside.attach(machine.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match=str(machine.id)):
        beside.open_disk(disk)
    sql.execute("DELETE FROM attachment")
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour' WHERE name = %s", [storage])
    with pytest.raises(TryLater, match=f"the agent of host {storage} does not answer"):
        beside.open_disk(disk)
    sql.execute("UPDATE host SET heartbeat_at = now() + (name = %s)::int * interval '1 day'", [storage])
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour' WHERE name = 'rack1'")
    with pytest.raises(TryLater, match="the agent of host rack1 does not answer"):
        beside.open_disk(disk)
    assert sql.execute("SELECT count(*) FROM disk_lease").fetchone() == (0,)


def test_attaching_and_deleting_leave_it_to_the_holder_to_let_go(beside: Cloud, sql: Connection, storage: str) -> None:
    disk, machine = named(beside, sql), beside.create_machine(NewMachine())
    with pytest.raises(TryLater):
        beside.open_disk(disk)
    attachment = beside.attach(machine.id, NewAttachment(disk.id))
    assert sql.execute("SELECT attachment_id, served FROM disk_grant").fetchall() == [(attachment.id, False)]
    sql.execute("DELETE FROM attachment")
    beside.delete_disk(disk.id)
    assert sql.execute("SELECT host FROM disk_lease").fetchall() == [("rack1",)]


def test_pool_of_a_disk_does_not_change(cloud: Cloud, storage: str) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    assert cloud.update_disk(disk.id, {"pool": Pool.ISCSI}).pool is Pool.ISCSI
    with pytest.raises(NotApplicable, match="in the pool iscsi and stays there"):
        cloud.update_disk(disk.id, {"pool": Pool.FILE})


def test_a_lease_counts_as_served_only_if_its_own_initiator_is(beside: Cloud, sql: Connection, storage: str) -> None:
    """The storage host may have served the one before."""
    disk = named(beside, sql)
    with pytest.raises(TryLater):
        beside.open_disk(disk)
    told = {"id": disk.id, "target": "iqn.x,t,0x0001", "unit": "0x6001405", "message": None}
    sql.execute(query("storage.disk_lent"), {**told, "initiator": "iqn.2026-01.local.altostratus:before"})
    assert sql.execute("SELECT served FROM disk_lease").fetchone() == (False,)
    row = sql.execute("SELECT initiator FROM disk_lease").fetchone()
    assert row is not None
    sql.execute(query("storage.disk_lent"), {**told, "initiator": row[0]})
    assert sql.execute("SELECT served FROM disk_lease").fetchone() == (True,)
