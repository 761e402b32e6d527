"""Disks that end with the machine that has them: at the door, by both standards, and down to the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from cdmi_client import CONTAINER
from cdmi_client import Client as CdmiClient
from occi_client import COMPUTE, STORAGE, STORAGE_LINK, action
from occi_client import Client as OcciClient
from test_cdmi_disks import make, settle, storage_of

from backends.cloud import Cloud
from backends.errors import Invalid, NotApplicable, NotFound
from backends.model import Disk, Machine, NewAttachment, NewDisk, NewMachine, Pool, StopMethod
from backends.store.database import Connection, Database, query
from tests.conftest import GIB, SIZES
from tests.system.worlds import MIB, World, Worlds, names_in

VOLATILE = 'volatile; scheme="http://altostratus.local/occi/storage#"; class="mixin"'
ATTRIBUTE = "local.altostratus.storage.volatile"
ITEM = "altostratus_volatile"


def scratch(cloud: Cloud, size_bytes: int = GIB, pool: Pool | None = Pool.FILE) -> Disk:
    return cloud.create_disk(NewDisk(size_bytes=size_bytes, pool=pool, volatile=True))


def machine_with(cloud: Cloud, *disks: Disk, cores: int = 1) -> Machine:
    return cloud.create_machine(NewMachine(cores=cores, attachments=tuple(NewAttachment(disk.id) for disk in disks)))


def going(sql: Connection) -> set[UUID]:
    return {row[0] for row in sql.execute("SELECT id FROM disk WHERE deleting").fetchall()}


def jobs(sql: Connection) -> set[tuple[str, str, str]]:
    rows = sql.execute("SELECT queue_name, args->>'kind', args->>'resource_id' FROM procrastinate_jobs").fetchall()
    return {(row[0], row[1], row[2]) for row in rows}


def stop(cloud: Cloud, machine: Machine) -> None:
    cloud.stop_machine(machine.id, StopMethod.POWEROFF)


def detach(cloud: Cloud, machine: Machine) -> None:
    cloud.detach(machine.attachments[0].id)


def detach_and_delete(cloud: Cloud, machine: Machine) -> None:
    detach(cloud, machine)
    cloud.delete_machine(machine.id)


def keep_and_delete(cloud: Cloud, machine: Machine) -> None:
    cloud.update_disk(machine.attachments[0].disk_id, {"volatile": False})
    cloud.delete_machine(machine.id)


@pytest.mark.parametrize("act", [stop, detach, detach_and_delete, keep_and_delete])
def test_volatile_disk_stays_unless_the_machine_that_has_it_is_deleted(
    cloud: Cloud, sql: Connection, act: Callable[[Cloud, Machine], None]
) -> None:
    disk, alone = scratch(cloud), scratch(cloud)
    settle(sql)
    machine = machine_with(cloud, disk)
    sql.execute("UPDATE machine SET state = 'active'")
    act(cloud, machine)
    assert going(sql) == set()
    assert {one.id for one in cloud.disks()} == {disk.id, alone.id}


def test_volatile_disk_goes_with_its_machine_and_its_snapshots_and_nothing_else_does(
    cloud: Cloud, sql: Connection
) -> None:
    disk, kept = scratch(cloud), cloud.create_disk(NewDisk(size_bytes=GIB, pool=Pool.FILE))
    settle(sql)
    snapshot = cloud.snapshot_disk(disk.id)
    settle(sql)
    copy = cloud.backup_disk(disk.id)
    settle(sql)
    assert not copy.volatile
    assert not snapshot.volatile
    machine = machine_with(cloud, disk, kept)
    cloud.delete_machine(machine.id)
    assert going(sql) == {disk.id, snapshot.id}
    assert {("rack1", "disk", str(one.id)) for one in (disk, snapshot)} <= jobs(sql)
    assert {one.id for one in cloud.disks()} == {kept.id, copy.id}
    with pytest.raises(NotFound):
        cloud.disk(disk.id)


def test_machine_that_no_host_has_yet_takes_its_volatile_disk_along(cloud: Cloud, sql: Connection) -> None:
    machine_with(cloud, cores=8)
    disk = scratch(cloud)
    waiting = machine_with(cloud, disk, cores=8)
    assert waiting.host is None
    cloud.delete_machine(waiting.id)
    assert going(sql) == {disk.id}
    assert ("rack1", "disk", str(disk.id)) in jobs(sql)
    assert sql.execute("SELECT count(*) FROM attachment").fetchone() == (0,)


def test_volatile_disk_that_waits_for_room_is_gone_with_its_machine_at_once(cloud: Cloud, sql: Connection) -> None:
    machine = machine_with(cloud)
    disk = scratch(cloud, 2**41)
    assert disk.host is None
    assert machine.host is not None
    link = cloud.attach(machine.id, NewAttachment(disk.id))
    tag = cloud.create_tag("http://example.com/occi#", "mine", "/mine/", "Mine", "")
    cloud.tag(tag.id, [disk.id, link.id])
    cloud.delete_machine(machine.id)
    assert [sql.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("disk", "attachment", "tagging")] == [
        (0,)
    ] * 3


def test_served_disk_stays_until_the_machines_host_has_let_go_of_it(cloud: Cloud, sql: Connection) -> None:
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal, heartbeat_at)"
        " VALUES ('store1', 0, 0, %s, 'none', 'iscsi', '192.0.2.7:3260', now() + interval '1 day')",
        [2**40],
    )
    disk = scratch(cloud, pool=Pool.ISCSI)
    machine = machine_with(cloud, disk)
    cloud.delete_machine(machine.id)
    (row,) = sql.execute(query("storage.disk"), {"id": disk.id, "host": "store1"}).fetchall()
    assert (row[5], len(row[10])) == (True, 1), "it is going, and its guest may still be logged in"
    parameters = {"id": machine.id}
    assert sql.execute(query("agent.disks_left"), parameters).fetchall() == [(disk.id, "store1")]
    sql.execute(query("agent.forget_machine"), parameters)
    (row,) = sql.execute(query("storage.disk"), {"id": disk.id, "host": "store1"}).fetchall()
    assert (row[5], row[10]) == (True, None)


def test_who_says_meanwhile_that_a_disk_is_to_stay_is_heard_or_late(
    database: Database, cloud: Cloud, sql: Connection
) -> None:
    def keep(disk: Disk) -> bool:
        try:
            Cloud(database, cloud.caller, SIZES, "small").update_disk(disk.id, {"volatile": False})
        except NotFound:
            return False
        return True

    disks = [scratch(cloud, MIB) for _ in range(20)]
    machines = [machine_with(cloud, disk) for disk in disks]
    with ThreadPoolExecutor(4) as at_once:
        deleted = [
            at_once.submit(Cloud(database, cloud.caller, SIZES, "small").delete_machine, machine.id)
            for machine in machines
        ]
        kept = list(at_once.map(keep, disks))
        for one in deleted:
            one.result()
    assert cloud.machines() == []
    assert {disk.id for disk, is_kept in zip(disks, kept, strict=True) if not is_kept} == going(sql)


def test_what_many_machines_read_ends_with_none(cloud: Cloud, sql: Connection, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="read-only or volatile"):
        cloud.create_disk(NewDisk(size_bytes=GIB, read_only=True, volatile=True))
    disk = scratch(cloud)
    settle(sql)
    for changes in ({"read_only": True}, {"read_only": True, "volatile": True}):
        with pytest.raises(Invalid, match="read-only or volatile"):
            cloud.update_disk(disk.id, changes)  # type: ignore[arg-type]
    assert cloud.update_disk(disk.id, {"read_only": True, "volatile": False}).read_only
    snapshot = cloud.snapshot_disk(disk.id)
    with pytest.raises(NotApplicable, match="snapshot"):
        cloud.update_disk(snapshot.id, {"volatile": True})


def test_both_standards_say_and_show_that_a_disk_is_volatile(
    database: Database, cloud: Cloud, sql: Connection, tmp_path: Path
) -> None:
    cdmi, occi = CdmiClient(database, cloud.caller, tmp_path), OcciClient(cloud)

    def item(name: str) -> object:
        return cdmi.send("GET", f"/cdmi/disks/{name}/", CONTAINER).json["metadata"][ITEM]

    both = {"cdmi_assignedsize": str(GIB), "altostratus_readonly": "true", ITEM: "true"}
    for wrong in (both, {"cdmi_assignedsize": str(GIB), ITEM: 1}):
        refused = cdmi.send("PUT", "/cdmi/disks/wrong/", CONTAINER, {"metadata": wrong})
        assert refused.status_code == 400, refused.text
    path = storage_of(make(cdmi, "data", metadata={"cdmi_assignedsize": str(GIB), ITEM: "true"}))
    settle(sql)
    assert item("data") == "true"
    assert occi.document(path)["attributes"][ATTRIBUTE] is True  # type: ignore[index]
    assert occi.send("GET", "/mixin/volatile/", accept="text/uri-list").text.split()[0].endswith(path)
    refused = occi.send("POST", path, attributes="local.altostratus.storage.readonly=true")
    assert (refused.status_code, "read-only or volatile" in refused.text) == (400, True)
    assert occi.send("POST", path, attributes=f"{ATTRIBUTE}=false").status_code == 200
    assert item("data") == "false"

    made = occi.make("/storage/", STORAGE, VOLATILE, attributes=f"occi.storage.size=1.0, {ATTRIBUTE}=true")
    assert item(made.removeprefix("/storage/")) == "true"


@pytest.mark.parametrize("where", ["/", "/compute/"])
def test_collections_are_deleted_with_what_their_members_take_along(cloud: Cloud, sql: Connection, where: str) -> None:
    occi = OcciClient(cloud)
    disks = [scratch(cloud) for _ in range(3)]
    settle(sql)
    cloud.snapshot_disk(disks[0].id)
    machine_with(cloud, *disks[:2], cores=8)
    assert machine_with(cloud, disks[2], cores=8).host is None
    assert occi.send("DELETE", where).status_code == 200
    assert [occi.text(path) for path in ("/compute/", "/storage/")] == ["", ""]


def test_files_of_volatile_disks_are_gone_when_their_compute_is(worlds: Worlds) -> None:
    with worlds.one() as world:
        occi = OcciClient(world.cloud)
        size = "occi.storage.size=0.001"
        volatile = occi.make("/storage/", STORAGE, VOLATILE, attributes=f"{size}, {ATTRIBUTE}=true")
        kept = occi.make("/storage/", STORAGE, attributes=size)
        world.settle()
        snapshot = occi.send("POST", f"{volatile}?action=snapshot", action("storage", "snapshot"))
        assert snapshot.status_code in (200, 201), snapshot.text
        world.settle()
        compute = occi.make("/compute/", COMPUTE, attributes="occi.compute.memory=0.03125")
        for disk in (volatile, kept):
            occi.make("/storagelink/", STORAGE_LINK, attributes=link(compute, disk))
        world.settle()
        assert len(files(world)) == 3
        used = disks_used(world)
        assert occi.send("DELETE", compute).status_code == 200
        assert occi.send("GET", volatile).status_code == 404
        world.settle()
        assert files(world) == [f"{kept.removeprefix('/storage/')}.qcow2"]
        assert disks_used(world) == used - 2


def link(compute: str, storage: str) -> str:
    return f'occi.core.source="{compute}", occi.core.target="{storage}"'


def files(world: World) -> Sequence[str]:
    return sorted(names_in(world.state / "pool" / "disks"))


def disks_used(world: World) -> int:
    return next(one.used for one in world.cloud.use() if one.resource.name == "disks")
