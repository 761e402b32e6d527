"""The door on a real PostgreSQL: who sees what, what is refused, what waits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
import yoyo

from altostratus.postgres import PrivateCluster
from backends import jobs
from backends.cloud import Cloud, MachineChanges
from backends.errors import Conflict, DatabaseUnavailable, Invalid, NotApplicable, NotFound, OutOfRoom
from backends.jobs import Kind
from backends.model import (
    Allocation,
    DiskState,
    Filter,
    MachineState,
    NewAttachment,
    NewDisk,
    NewInterface,
    NewMachine,
    NewNetwork,
    StopMethod,
)
from backends.placement import place_waiting
from backends.store.database import Connection, Database, _yoyo_uri, migrate
from tests.conftest import repository, wait_until

GIB = 2**30


def test_a_new_machine_is_wanted_active_and_its_job_is_deferred_with_it(cloud: Cloud, sql: Connection) -> None:
    machine = cloud.create_machine(NewMachine(title="one"))

    assert (machine.wanted, machine.state) == (MachineState.ACTIVE, MachineState.INACTIVE)
    assert [interface.address for interface in machine.interfaces] == ["10.77.0.2"]
    jobs = sql.execute("SELECT queue_name, args->>'resource_id' FROM procrastinate_jobs").fetchall()
    assert jobs == [("rack1", str(machine.id))]


def test_nothing_stays_of_a_machine_that_is_refused(cloud: Cloud, sql: Connection) -> None:
    with pytest.raises(NotFound):
        cloud.create_machine(NewMachine(interfaces=(NewInterface(uuid4()),)))

    assert sql.execute("SELECT count(*) FROM machine").fetchone() == (0,)
    assert sql.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)


def test_another_projects_things_are_not_there(cloud: Cloud, other_cloud: Cloud) -> None:
    machine = cloud.create_machine(NewMachine())
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/24"))
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    attachment = cloud.attach(machine.id, NewAttachment(disk.id))
    interface = machine.interfaces[0]
    theirs = other_cloud.create_machine(NewMachine())

    refused = [
        lambda: other_cloud.machine(machine.id),
        lambda: other_cloud.stop_machine(machine.id),
        lambda: other_cloud.update_machine(machine.id, {"title": "mine now"}),
        lambda: other_cloud.delete_machine(machine.id),
        lambda: other_cloud.network(network.id),
        lambda: other_cloud.network_down(network.id),
        lambda: other_cloud.delete_network(network.id),
        lambda: other_cloud.disk(disk.id),
        lambda: other_cloud.resize_disk(disk.id, 2 * GIB),
        lambda: other_cloud.delete_disk(disk.id),
        lambda: other_cloud.backup_disk(disk.id),
        lambda: other_cloud.interface(interface.id),
        lambda: other_cloud.delete_interface(interface.id),
        lambda: other_cloud.attachment(attachment.id),
        lambda: other_cloud.detach(attachment.id),
        lambda: other_cloud.attach(theirs.id, NewAttachment(disk.id)),
        lambda: other_cloud.create_interface(theirs.id, NewInterface(network.id)),
        lambda: other_cloud.create_interface(machine.id, NewInterface(theirs.interfaces[0].network_id)),
        lambda: other_cloud.tag(other_cloud.create_tag("http://t#", "t", "/t/", "", "").id, [machine.id]),
    ]
    for attempt in refused:
        with pytest.raises(NotFound):
            attempt()
    assert [found.id for found in other_cloud.machines()] == [theirs.id]
    assert list(other_cloud.disks()) == []
    assert [found.shared for found in other_cloud.networks()] == [True]
    assert cloud.machine(machine.id).title is None


def test_an_address_is_given_once_even_to_twenty_clients_at_once(cloud: Cloud) -> None:
    doors = [Cloud(cloud._database, cloud.caller, cloud._sizes, "small") for _ in range(20)]
    tiny = NewMachine(cores=1, memory_mib=16)
    with ThreadPoolExecutor(20) as pool:
        machines = list(pool.map(lambda door: door.create_machine(tiny), doors))

    addresses = [machine.interfaces[0].address for machine in machines]
    assert len(set(addresses)) == 20
    assert "10.77.0.1" not in addresses


def test_a_chosen_address_is_honoured_or_refused_with_the_reason(cloud: Cloud) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/24"))
    first = cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id, address="10.1.0.77"),)))

    assert first.interfaces[0].address == "10.1.0.77"
    with pytest.raises(Conflict, match=r"10\.1\.0\.77 is taken"):
        cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id, address="10.1.0.77"),)))
    with pytest.raises(Invalid):
        cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id, address="10.2.0.1"),)))


def test_a_machine_has_as_many_interfaces_from_the_start_as_can_be_plugged_in(cloud: Cloud) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/24"))
    with pytest.raises(Conflict, match="9 network interfaces are asked for; at most 8 fit"):
        cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),) * 9))
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),) * 8))
    assert [interface.address for interface in machine.interfaces] == [f"10.1.0.{last}" for last in range(1, 9)]
    with pytest.raises(Conflict, match="at most 8 fit"):
        cloud.create_interface(machine.id, NewInterface(network.id))


def test_a_chosen_address_changes_nothing_about_the_next_ones(cloud: Cloud, sql: Connection) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/16"))
    machine = cloud.create_machine(NewMachine(cores=1, memory_mib=16, interfaces=(NewInterface(network.id),)))
    for chosen, allocation in (("10.1.255.253", None), ("10.1.0.3", None), ("10.1.255.252", Allocation.DYNAMIC)):
        cloud.create_interface(machine.id, NewInterface(network.id, address=chosen, allocation=allocation))
    given = [cloud.create_interface(machine.id, NewInterface(network.id)) for _ in range(2)]
    assert [interface.address for interface in given] == ["10.1.0.2", "10.1.0.4"]
    sql.execute("DELETE FROM interface WHERE id = %s", [given[0].id])
    assert cloud.create_interface(machine.id, NewInterface(network.id)).address == "10.1.0.5"  # 10.1.0.2 rests


def test_gaps_are_used_when_the_range_is_at_its_end(cloud: Cloud, sql: Connection) -> None:
    network = cloud.create_network(NewNetwork(cidr="10.1.0.0/29"))
    machine = cloud.create_machine(NewMachine(cores=1, memory_mib=16, interfaces=(NewInterface(network.id),)))
    given = {machine.interfaces[0].address}
    while True:
        try:
            given.add(cloud.create_interface(machine.id, NewInterface(network.id)).address)
        except OutOfRoom:
            break
    assert len(given) >= 4
    victim = machine.interfaces[0]
    sql.execute("DELETE FROM interface WHERE id = %s", [victim.id])
    assert cloud.create_interface(machine.id, NewInterface(network.id)).address == victim.address


def test_a_machine_without_room_waits_and_says_so_and_starts_when_there_is(cloud: Cloud, sql: Connection) -> None:
    large = cloud.create_machine(NewMachine(cores=8, memory_mib=1024))
    waiting = cloud.create_machine(NewMachine(cores=4, memory_mib=1024))

    assert waiting.host is None
    assert waiting.state_message == (
        "waiting for room: asks for 4 cores and 1024 MiB of memory; cores short on every host"
    )
    sql.execute("UPDATE host SET heartbeat_at = now() - interval '1 hour'")
    assert cloud.create_disk(NewDisk(size_bytes=GIB)).state_message == (
        "waiting for room: asks for 1 GiB of disk; no host answered"
    )
    sql.execute("UPDATE host SET heartbeat_at = now()")
    assert list(place_waiting(sql)) == []
    sql.execute("UPDATE machine SET admitted = false, wanted = 'inactive' WHERE id = %s", [large.id])
    assert list(place_waiting(sql)) == [waiting.id]
    assert cloud.machine(waiting.id).host == "rack1"


def test_hosts_are_never_filled_beyond_capacity_by_many_at_once(cloud: Cloud, sql: Connection) -> None:
    doors = [Cloud(cloud._database, cloud.caller, cloud._sizes, "small") for _ in range(24)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda door: door.create_machine(NewMachine(cores=1, memory_mib=16)), doors))

    assert sql.execute("SELECT sum(cores) FROM machine WHERE admitted").fetchone() == (8,)


def test_a_disk_is_attached_once_and_not_deleted_while_it_is(cloud: Cloud) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    machine = cloud.create_machine(NewMachine(attachments=(NewAttachment(disk.id),)))
    other = cloud.create_machine(NewMachine())

    assert machine.attachments[0].device == "vda"
    with pytest.raises(Conflict, match="attached to the compute"):
        cloud.attach(other.id, NewAttachment(disk.id))
    with pytest.raises(Conflict, match="detach it first"):
        cloud.delete_disk(disk.id)


def test_a_root_disk_takes_vda_and_the_size_its_image_needs(cloud: Cloud, image: str) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    machine = cloud.create_machine(NewMachine(image_name=image, attachments=(NewAttachment(disk.id),)))

    assert machine.root_size_bytes == 10 * GIB
    assert machine.attachments[0].device == "vdb"
    with pytest.raises(Invalid, match="needs"):
        cloud.create_machine(NewMachine(image_name=image, root_size_bytes=GIB // 2))


def test_a_network_with_interfaces_is_not_deleted_but_one_whose_machines_are_deleted_is(cloud: Cloud) -> None:
    network = cloud.create_network(NewNetwork())
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),)))

    with pytest.raises(Conflict):
        cloud.delete_network(network.id)
    cloud.delete_machine(machine.id)
    cloud.delete_network(network.id)
    with pytest.raises(NotFound):
        cloud.network(network.id)


def test_actions_that_do_not_apply_are_refused_with_those_that_do(cloud: Cloud, sql: Connection) -> None:
    machine = cloud.create_machine(NewMachine())
    stopped = cloud.stop_machine(machine.id, StopMethod.POWEROFF)
    assert stopped.wanted is MachineState.INACTIVE

    with pytest.raises(NotApplicable, match="what applies is start"):
        cloud.suspend_machine(machine.id)
    sql.execute("UPDATE machine SET admitted = false")
    assert cloud.update_machine(machine.id, {"cores": 2, "memory_mib": 2048}).cores == 2


def test_a_compute_that_is_still_stopping_keeps_its_hardware(cloud: Cloud, sql: Connection) -> None:
    machine = cloud.create_machine(NewMachine())
    sql.execute("UPDATE machine SET state = 'active', observed_generation = generation")
    cloud.stop_machine(machine.id)

    with pytest.raises(NotApplicable, match="only while the compute is inactive; it is active"):
        cloud.update_machine(machine.id, {"cores": 2})


def test_an_empty_ssh_key_is_refused(cloud: Cloud) -> None:
    with pytest.raises(Invalid, match="the SSH key is empty"):
        cloud.create_machine(NewMachine(ssh_key=" "))


def test_actions_on_many_are_done_for_all_or_for_none(cloud: Cloud) -> None:
    first, second = cloud.create_machine(NewMachine()), cloud.create_machine(NewMachine())
    cloud.stop_machine(second.id)

    with pytest.raises(NotApplicable), cloud.atomically():
        cloud.suspend_machine(first.id)
        cloud.suspend_machine(second.id)
    assert cloud.machine(first.id).wanted is MachineState.ACTIVE


def test_who_changes_many_and_an_agent_that_gives_back_room_do_not_wait_for_each_other(
    cloud: Cloud, sql: Connection, conninfo: str
) -> None:
    first, second = (cloud.create_machine(NewMachine()).id for _ in range(2))
    for machine_id in (first, second):
        cloud.stop_machine(machine_id, StopMethod.POWEROFF)
    sql.execute("UPDATE machine SET admitted = id = %s, state = 'inactive'", [second])

    def give_back() -> None:
        with psycopg.connect(conninfo) as agent:
            agent.execute("UPDATE machine SET admitted = false WHERE id = %s", [second])

    def somebody_waits() -> bool:
        return sql.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone() is not None

    with ThreadPoolExecutor() as pool:
        with cloud.atomically():
            cloud.hold([second, first])
            cloud.start_machine(first)  # takes the row of the host
            given_back = pool.submit(give_back)
            wait_until(somebody_waits)
            cloud.start_machine(second)
        given_back.result()


@pytest.fixture
def growing(cloud: Cloud, sql: Connection) -> UUID:
    """A machine of one core that runs, as far as the database knows, and may grow to eight."""
    machine_id = cloud.create_machine(NewMachine(size_name="growing")).id
    sql.execute("UPDATE machine SET state = 'active' WHERE id = %s", [machine_id])
    return machine_id


def test_an_active_machine_grows_up_to_what_its_template_allows(cloud: Cloud, sql: Connection, growing: UUID) -> None:
    sql.execute("DELETE FROM procrastinate_jobs")
    assert cloud.update_machine(growing, {"cores": 3}).cores == 3
    assert sql.execute("SELECT args->>'resource_id' FROM procrastinate_jobs").fetchall() == [(str(growing),)]
    assert sql.execute("SELECT cores_taken FROM host").fetchone() == (3,)

    refused: list[MachineChanges] = [
        {"cores": 9},
        {"cores": 2},
        {"cores": None},
        {"memory_mib": 2048},
        {"cores": 4, "memory_mib": 2048},
        {"size_name": "large"},
    ]
    for changes in refused:
        with pytest.raises(NotApplicable, match=r"inactive; it is active; while active, .* from 3 to at most 8 cores"):
            cloud.update_machine(growing, changes)
    assert cloud.update_machine(growing, {"cores": 8}).cores == 8
    for state in ("suspended", "error"):
        sql.execute("UPDATE machine SET state = %s, cores = 1 WHERE id = %s", [state, growing])
        with pytest.raises(NotApplicable, match=f"it is {state}; while active"):
            cloud.update_machine(growing, {"cores": 2})


def test_an_active_machine_of_another_template_does_not_grow(cloud: Cloud, sql: Connection) -> None:
    machine = cloud.create_machine(NewMachine())
    sql.execute("UPDATE machine SET state = 'active' WHERE id = %s", [machine.id])
    with pytest.raises(NotApplicable, match=r"cores can change only while the compute is inactive; it is active$"):
        cloud.update_machine(machine.id, {"cores": 2})


def test_a_machine_grows_only_where_there_is_room(cloud: Cloud, sql: Connection, growing: UUID) -> None:
    cloud.create_machine(NewMachine(cores=5))
    with pytest.raises(Conflict, match="can't grow: asks for 3 cores; cores short on host rack1"):
        cloud.update_machine(growing, {"cores": 4})
    assert cloud.machine(growing).cores == 1
    assert cloud.update_machine(growing, {"cores": 3}).cores == 3


def test_a_root_disk_grows_with_a_template_only_where_there_is_room(cloud: Cloud, image: str, sql: Connection) -> None:
    machine = cloud.create_machine(NewMachine(image_name=image))
    sql.execute("UPDATE machine SET state = 'inactive', wanted = 'inactive', admitted = false")
    sql.execute("UPDATE host SET disk_bytes = %s", [39 * GIB])

    with pytest.raises(Conflict, match="can't grow: asks for 30 GiB of disk; disk short on host rack1"):
        cloud.update_machine(machine.id, {"size_name": "large"})
    sql.execute("UPDATE host SET disk_bytes = %s", [40 * GIB])
    assert cloud.update_machine(machine.id, {"size_name": "large"}).root_size_bytes == 40 * GIB


def test_a_machine_that_is_just_stopping_takes_no_more_than_there_is(
    cloud: Cloud, sql: Connection, growing: UUID
) -> None:
    cloud.create_machine(NewMachine(cores=5))
    cloud.stop_machine(growing)
    with pytest.raises(NotApplicable, match="only while the compute is inactive"):
        cloud.update_machine(growing, {"cores": 4})
    sql.execute("UPDATE machine SET state = 'inactive', admitted = false WHERE id = %s", [growing])
    assert cloud.update_machine(growing, {"cores": 4}).cores == 4
    assert cloud.start_machine(growing).state_message.startswith("waiting for room")


def test_another_template_brings_its_own_limit(cloud: Cloud, sql: Connection, growing: UUID) -> None:
    sql.execute("UPDATE machine SET state = 'inactive', wanted = 'inactive', admitted = false")
    assert cloud.update_machine(growing, {"size_name": "large"}).max_cores is None
    assert cloud.update_machine(growing, {"size_name": "growing"}).max_cores == 8


def test_disks_grow_and_never_shrink(cloud: Cloud) -> None:
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    assert cloud.resize_disk(disk.id, 2 * GIB).state is DiskState.RESIZE
    with pytest.raises(Invalid, match="only grow"):
        cloud.update_disk(disk.id, {"size_bytes": GIB})


def test_tags_group_resources_of_all_kinds(cloud: Cloud) -> None:
    machine, disk = cloud.create_machine(NewMachine()), cloud.create_disk(NewDisk(size_bytes=GIB))
    tag = cloud.create_tag("http://example.org/tags#", "mine", "/mine/", "Mine", "")
    cloud.tag(tag.id, [machine.id, disk.id, machine.interfaces[0].id])

    assert list(cloud.machine_ids(Filter(tag_ids=(tag.id,)))) == [machine.id]
    assert cloud.machine(machine.id).interfaces[0].tags == (tag,)
    with pytest.raises(Conflict):
        cloud.create_tag("http://example.org/tags#", "mine", "/other/", "", "")
    with pytest.raises(NotFound):
        cloud.tag(tag.id, [machine.id, uuid4()])
    cloud.delete_tag(tag.id)
    assert cloud.disk(disk.id).tags == ()


def test_filters_and_pages_keep_the_order_of_creation(cloud: Cloud) -> None:
    made = [cloud.create_machine(NewMachine(hostname=f"h{index % 2}", memory_mib=16)).id for index in range(6)]

    assert list(cloud.machine_ids()) == made
    assert list(cloud.machine_ids(Filter(equals={"hostname": "h1"}))) == made[1::2]


def test_what_is_taken_of_a_host_is_what_its_machines_and_disks_take(cloud: Cloud, sql: Connection, image: str) -> None:
    def taken() -> tuple[int, ...] | None:
        return sql.execute("SELECT cores_taken, memory_taken_mib, disk_taken_bytes FROM host").fetchone()

    machine = cloud.create_machine(NewMachine(cores=2, memory_mib=512, image_name=image, root_size_bytes=3 * GIB))
    disk = cloud.create_disk(NewDisk(size_bytes=GIB))
    assert taken() == (2, 512, 4 * GIB)

    cloud.resize_disk(disk.id, 2 * GIB)
    sql.execute("UPDATE machine SET admitted = false WHERE id = %s", [machine.id])
    assert taken() == (0, 0, 5 * GIB)

    cloud.update_machine(machine.id, {"title": "counts once"})
    cloud.start_machine(machine.id)
    assert taken() == (2, 512, 5 * GIB)

    sql.execute("DELETE FROM interface; DELETE FROM machine; DELETE FROM disk")
    assert taken() == (0, 0, 0)


def test_what_was_taken_of_a_host_before_it_was_counted_is_counted(cluster: PrivateCluster) -> None:
    name = f"test_{uuid4().hex}"
    conninfo = cluster.conninfo.replace("dbname=postgres", f"dbname={name}")
    folder = repository() / "backends" / "store" / "migrations"
    with psycopg.connect(cluster.conninfo, autocommit=True) as holder:
        holder.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            backend = yoyo.get_backend(_yoyo_uri(conninfo))
            older = yoyo.read_migrations(str(folder)).filter(lambda migration: migration.id < "0004")
            backend.apply_migrations(backend.to_apply(older))
            backend.connection.close()
            connection.execute(
                "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type)"
                " VALUES ('rack1', 8, 4096, 0, 'qemu');"
                "INSERT INTO project (name) VALUES ('mine');"
                "INSERT INTO disk (id, project_id, size_bytes, host)"
                " SELECT gen_random_uuid(), id, 512, 'rack1' FROM project;"
                "INSERT INTO machine"
                " (id, project_id, architecture, cores, memory_mib, root_size_bytes, wanted, host, admitted)"
                " SELECT gen_random_uuid(), id, 'x64', 2, 256, 1024, 'active', 'rack1', is_on"
                " FROM project, unnest(ARRAY[true, true, false]) is_on"
            )
            migrate(conninfo)
            row = connection.execute("SELECT cores_taken, memory_taken_mib, disk_taken_bytes FROM host").fetchone()
            disks = connection.execute("SELECT d.pool, d.restricted, h.pool FROM disk d JOIN host h ON h.name = d.host")
            assert disks.fetchall() == [("file", False, "file")]
        holder.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert row == (4, 512, 3 * 1024 + 512)


def test_a_database_that_goes_away_while_a_job_is_deferred_is_said_to_be_unavailable(
    database: Database, sql: Connection
) -> None:
    with pytest.raises(DatabaseUnavailable), database.connection() as connection:
        sql.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        jobs.defer(connection, "rack1", Kind.DISK, uuid4())
