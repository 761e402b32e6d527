"""Two hosts with a shared folder: agents that run one at a time, on real files, with machines of both."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from altostratus.settings import Settings
from altostratus.shared_folder import make_shared_pool
from backends import jobs
from backends.agent.queue import taking
from backends.cloud import Cloud
from backends.errors import Conflict
from backends.jobs import Kind
from backends.model import (
    Disk,
    DiskState,
    MachineState,
    NewAttachment,
    NewDisk,
    NewInterface,
    NewMachine,
    NewNetwork,
    Pool,
    StopMethod,
)
from backends.networks.driver import Networks
from backends.store.database import Connection
from tests.system import stepwise
from tests.system.worlds import IMAGE, World, Worlds, delete_everything, output

MIB = 2**20
FIRST, SECOND = "rack1", "rack2"


@dataclass(frozen=True)
class Pair:
    """Each host has the folder mounted at a place of its own, so that one alone can lose it."""

    world: World
    folder: Path
    hosts: dict[str, dict[str, Any]]
    dead: set[str] = field(default_factory=set)
    """Those whose agents are to be taken for gone: between its turns none is there."""

    @property
    def cloud(self) -> Cloud:
        return self.world.cloud

    def settle(self, *names: str) -> None:
        """One agent after the other does all that is to be done now; without names, until nothing is left for both."""
        for name in names or (FIRST, SECOND) * 3:
            self.tell_who_is_alive()
            stepwise.work_now(self.hosts[name])

    def set_alive(self, name: str, is_alive: bool = True) -> None:
        (self.dead.discard if is_alive else self.dead.add)(name)
        self.tell_who_is_alive()

    def tell_who_is_alive(self) -> None:
        with self.world.database.connection() as connection:
            connection.execute(
                "UPDATE host SET heartbeat_at = now()"
                " + CASE WHEN name = ANY(%s) THEN '-1 hour' ELSE '1 day' END::interval",
                [list(self.dead)],
            )

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """What is made inside goes there."""
        others = self.hosts.keys() - {name}
        for other in others:
            self.set_alive(other, False)
        self.set_alive(name)
        yield
        for other in others:
            self.set_alive(other)

    def make_disk(self, at: str = FIRST, **asked: Any) -> Disk:
        with self.only(at):
            disk = self.cloud.create_disk(NewDisk(size_bytes=4 * MIB, pool=Pool.SHARED, **asked))
        assert disk.host == at
        return disk

    def make_machine(self, at: str, *disks: UUID) -> UUID:
        """On a network of that host alone."""
        network = next(network for network in self.cloud.networks() if network.title == at)
        machine = self.cloud.create_machine(
            NewMachine(
                image_name=IMAGE,
                memory_mib=32,
                cores=1,
                interfaces=(NewInterface(network.id),),
                attachments=tuple(NewAttachment(disk) for disk in disks),
            )
        )
        assert machine.host == at, machine.state_message
        return machine.id

    def path(self, disk_id: UUID) -> Path:
        return self.folder / "disks" / f"{disk_id}.qcow2"

    def write(self, disk_id: UUID, pattern: int) -> None:
        """As a guest would: refused while somebody has it open."""
        command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} 0 1M", self.path(disk_id)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + done.stdout

    def reads(self, disk_id: UUID, pattern: int) -> bool:
        return "Pattern verification failed" not in output(
            "qemu-io", "-U", "-r", "-f", "qcow2", "-c", f"read -P {pattern} 0 1M", str(self.path(disk_id))
        )

    def files(self, kind: str) -> set[str]:
        return {path.name for path in (self.folder / kind).iterdir()}

    def sources(self, machine_id: UUID) -> str:
        """Of the disks of the running domain, whichever host's it is."""
        names = [name for name in output("virsh", "-q", "list", "--name").split() if name.endswith(str(machine_id))]
        return output("virsh", "-q", "domblklist", names[0]) if names else ""


@pytest.fixture(scope="module")
def pairs(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with worlds.one() as world:
        base = world.state.parent
        folder = base / "exported"
        folder.mkdir(mode=0o755)
        first = {**world.settings, "shared_pool": str(base / "first")}
        second = {
            **first, "host_name": SECOND, "state": base / "second-state", "tag": "as0b0b",
            "shared_pool": str(base / "second"),
        }  # fmt: skip
        second["state"].mkdir(mode=0o755)
        (second["state"] / "values").mkdir()
        for settings in (first, second):
            Path(settings["shared_pool"]).mkdir()
            subprocess.run(["mount", "--bind", folder, settings["shared_pool"]], check=True)
        with world.database.connection() as connection:
            make_shared_pool(Settings(**first), connection)
        subprocess.run(["cp", "-r", world.state / "pool", second["state"] / "pool"], check=True)
        pair = Pair(world, folder, {FIRST: first, SECOND: second})
        pair.settle(FIRST, SECOND)
        yield pair
        Networks(second["tag"], second["state"] / "networks").restore([], [])
        for settings in (first, second):
            subprocess.run(["umount", settings["shared_pool"]], check=True)


@pytest.fixture
def pair(pairs: Pair) -> Iterator[Pair]:
    """Empty, and at the end nothing of it is left."""
    for name in pairs.hosts:
        pairs.set_alive(name)
    for name in pairs.hosts:
        with pairs.only(name):
            pairs.cloud.create_network(NewNetwork(title=name))
    pairs.settle(*pairs.hosts)
    try:
        yield pairs
        delete_everything(pairs.world)
        for name in pairs.hosts:
            pairs.set_alive(name)
        pairs.settle()
        assert pairs.world.rows("SELECT id, host, state_message FROM disk") == []
        assert pairs.world.rows("SELECT id FROM machine") == []
        assert pairs.files("disks") == pairs.files("layers") == set()
        assert pairs.world.rows("SELECT disk_taken_bytes FROM shared_pool") == [(0,)]
    except BaseException as error:
        for settings in pairs.hosts.values():
            error.add_note((settings["state"] / "agent.log").read_text()[-6000:])
        raise


@pytest.fixture
def sql(pair: Pair) -> Iterator[Connection]:
    with psycopg.connect(str(pair.hosts[FIRST]["database"]), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("first", "second"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_disk_goes_from_a_machine_of_one_host_to_one_of_the_other_with_its_bytes(
    pair: Pair, first: str, second: str
) -> None:
    disk = pair.make_disk(at=first)
    pair.settle(first)
    pair.write(disk.id, 0x5A)
    machine = pair.make_machine(first, disk.id)
    pair.settle()
    assert pair.cloud.machine(machine).state is MachineState.ACTIVE
    with pytest.raises(Conflict, match="is attached to the compute"):
        pair.make_machine(second, disk.id)
    pair.cloud.delete_machine(machine)
    pair.settle(second, first)
    other = pair.make_machine(second, disk.id)
    pair.settle(second)
    assert f"which host {first} still works on" in pair.cloud.machine(other).state_message
    pair.settle(first, second)
    assert pair.cloud.machine(other).state is MachineState.ACTIVE, pair.cloud.machine(other).state_message
    assert (pair.cloud.disk(disk.id).host, pair.cloud.disk(disk.id).state) == (second, DiskState.ONLINE)
    assert str(disk.id) in pair.sources(other)
    assert pair.reads(disk.id, 0x5A)


def test_disk_is_given_away_whole_wherever_its_agent_is_killed(pair: Pair, sql: Connection) -> None:
    """Each to and fro, after each step of the host that lets go."""
    disk = pair.make_disk()
    pair.settle(FIRST)
    pair.write(disk.id, 0x33)
    for steps, names in zip(itertools.count(1), itertools.cycle([(FIRST, SECOND), (SECOND, FIRST)])):
        present, following = names
        with sql.transaction():
            sql.execute("UPDATE disk SET next_host = %s, open_until = now() + interval '5 seconds'", [following])
            jobs.defer(sql, present, Kind.DISK, disk.id)
        dies = stepwise.dies_after(pair.hosts[present], steps)
        pair.settle(present, following)
        found = pair.cloud.disk(disk.id)
        assert (found.host, found.state, found.state_message) == (following, DiskState.ONLINE, ""), steps
        assert pair.reads(disk.id, 0x33)
        if not dies:
            break
    assert steps > 3


@pytest.mark.parametrize("steps", range(1, 40, 6))
def test_disk_is_taken_whole_wherever_the_agent_is_killed(pair: Pair, steps: int) -> None:
    disk = pair.make_disk()
    pair.settle(FIRST)
    pair.write(disk.id, 0x33)
    machine = pair.make_machine(SECOND, disk.id)
    pair.settle(SECOND, FIRST)
    stepwise.dies_after(pair.hosts[SECOND], steps)
    pair.settle(SECOND)
    found = pair.cloud.machine(machine)
    assert found.state is MachineState.ACTIVE, found.state_message
    assert pair.cloud.disk(disk.id).host == SECOND
    assert str(disk.id) in pair.sources(machine)
    assert pair.reads(disk.id, 0x33)


def test_sweep_removes_what_nobody_has_and_nothing_of_another_hosts(pair: Pair) -> None:
    disk = pair.make_disk()
    pair.settle(FIRST)
    snapshot = pair.cloud.snapshot_disk(disk.id)
    pair.settle(FIRST)
    unfinished = pair.folder / "disks" / f"{disk.id}.qcow2.part"
    leftovers = [pair.path(uuid4()), pair.folder / "disks" / f"{uuid4()}.uploaded.part"]
    unused = pair.folder / "layers" / f"{uuid4()}.qcow2"
    for path in (unfinished, *leftovers, unused):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True, timeout=30)
    kept = pair.files("layers") - {unused.name}
    pair.settle(SECOND)
    assert pair.files("disks") == {f"{disk.id}.qcow2", f"{snapshot.id}.qcow2", unfinished.name}
    assert pair.files("layers") == kept and len(kept) == 1
    unfinished.unlink()


def test_snapshots_and_copies_share_layers_and_go_back_on_the_other_host(pair: Pair) -> None:
    disk = pair.make_disk()
    pair.settle(FIRST)
    pair.write(disk.id, 0x11)
    snapshot = pair.cloud.snapshot_disk(disk.id)
    pair.settle(FIRST)
    clone = pair.cloud.clone_disk(snapshot.id, NewDisk())
    pair.settle(FIRST)
    assert len(pair.files("layers")) == 1  # which all three are on
    machine = pair.make_machine(SECOND, disk.id)
    pair.settle(SECOND, FIRST, SECOND)
    assert pair.cloud.machine(machine).state is MachineState.ACTIVE
    pair.cloud.stop_machine(machine, StopMethod.POWEROFF)
    pair.settle(SECOND)
    pair.write(disk.id, 0x22)
    pair.cloud.delete_machine(machine)
    pair.settle(SECOND)

    assert (pair.cloud.disk(disk.id).host, pair.cloud.disk(snapshot.id).host) == (SECOND, FIRST)
    pair.cloud.restore_disk(disk.id, snapshot.id)
    pair.settle(SECOND, FIRST)
    assert pair.cloud.disk(disk.id).host == FIRST  # where the snapshot is
    assert pair.reads(disk.id, 0x11) and pair.reads(clone.id, 0x11)
    pair.cloud.delete_disk(disk.id)
    pair.settle()
    assert pair.reads(clone.id, 0x11)


def test_copy_of_a_disk_in_use_is_made_where_its_machine_is(pair: Pair) -> None:
    disk = pair.make_disk()
    pair.settle(FIRST)
    pair.write(disk.id, 0x44)
    machine = pair.make_machine(SECOND, disk.id)
    pair.settle()
    snapshot = pair.cloud.snapshot_disk(disk.id)
    pair.settle(FIRST)
    assert not pair.path(snapshot.id).exists()
    pair.settle(SECOND)
    assert pair.reads(snapshot.id, 0x44)
    pair.cloud.resize_disk(disk.id, 8 * MIB)
    pair.settle(SECOND)
    assert pair.cloud.disk(disk.id).state is DiskState.ONLINE
    assert "8388608" in output("virsh", "-q", "domblkinfo", f"{pair.hosts[SECOND]['tag']}-{machine}", "vdb")
    with pytest.raises(Conflict, match="is attached"):
        pair.cloud.restore_disk(disk.id, snapshot.id)


def test_disk_that_nobody_writes_to_is_read_by_machines_of_both_hosts(pair: Pair) -> None:
    disk = pair.make_disk()
    pair.settle(FIRST)
    pair.write(disk.id, 0x66)
    pair.cloud.update_disk(disk.id, {"read_only": True})
    pair.settle(FIRST)
    machines = [pair.make_machine(name, disk.id) for name in (FIRST, SECOND)]
    pair.settle(SECOND, FIRST)
    for machine in machines:
        assert pair.cloud.machine(machine).state is MachineState.ACTIVE, pair.cloud.machine(machine).state_message
        assert str(disk.id) in pair.sources(machine)
    assert pair.cloud.disk(disk.id).host == FIRST


def test_where_the_folder_is_not_mounted_nothing_is_made_and_nothing_is_lost(pair: Pair, sql: Connection) -> None:
    disk = pair.make_disk(at=SECOND)
    pair.settle(SECOND)
    pair.write(disk.id, 0x77)
    machine = pair.make_machine(SECOND, disk.id)
    pair.settle(SECOND)
    assert pair.cloud.machine(machine).state is MachineState.ACTIVE
    other = pair.make_disk(at=SECOND)
    mount = Path(pair.hosts[SECOND]["shared_pool"])
    subprocess.run(["umount", "--lazy", mount], check=True)
    try:
        pair.settle(SECOND)
        assert list(mount.iterdir()) == []
        assert f"{mount} isn't mounted on rack2" in pair.cloud.disk(disk.id).state_message
        assert str(disk.id) in pair.sources(machine)  # it goes on with what it has open
        assert sql.execute("SELECT name FROM host WHERE shared_pool IS NOT NULL").fetchall() == [(FIRST,)]
        assert pair.cloud.disk(other.id).host == FIRST  # which has the folder
        with pytest.raises(Conflict, match="isn't mounted on rack2"):
            pair.cloud.attach(machine, NewAttachment(other.id))
        pair.settle(FIRST)
        assert pair.cloud.disk(other.id).state is DiskState.ONLINE

        (mount / "altostratus-pool").write_text(f"{uuid4()}\n")
        pair.settle(SECOND)
        assert "of another cloud" in (pair.hosts[SECOND]["state"] / "agent.log").read_text()
        assert [path.name for path in mount.iterdir()] == ["altostratus-pool"]
        (mount / "altostratus-pool").unlink()
    finally:
        subprocess.run(["mount", "--bind", pair.folder, mount], check=True)
    pair.settle(SECOND)
    found = pair.cloud.disk(disk.id)
    assert (found.state, found.state_message, found.host) == (DiskState.ONLINE, "", SECOND)
    assert pair.reads(disk.id, 0x77)


def test_disks_of_a_dead_host_are_taken_over_but_not_from_under_its_agent_or_its_machines(pair: Pair) -> None:
    disk, attached = pair.make_disk(), pair.make_disk()
    pair.settle(FIRST)
    pair.write(disk.id, 0x12)
    pair.make_machine(FIRST, attached.id)
    pair.settle(FIRST)
    pair.set_alive(FIRST, False)
    with taking(str(pair.hosts[FIRST]["database"]), FIRST):
        pair.settle(SECOND)
        assert pair.cloud.disk(disk.id).host == FIRST
    machine = pair.make_machine(SECOND, disk.id)
    pair.settle(SECOND)
    assert pair.cloud.disk(attached.id).host == FIRST
    assert pair.cloud.disk(disk.id).host == SECOND
    assert pair.cloud.machine(machine).state is MachineState.ACTIVE
    pair.settle(FIRST)  # comes back, and finds that it is another's
    assert pair.cloud.disk(disk.id).host == SECOND
    assert pair.reads(disk.id, 0x12)


def test_what_a_gateway_has_received_keeps_its_disk_on_its_host(pair: Pair, sql: Connection) -> None:
    disk = pair.make_disk()
    pair.settle(FIRST)
    received = uuid4()
    (pair.world.state / "values" / str(received)).write_bytes(b"x" * 512)
    sql.execute(
        "INSERT INTO disk_write (id, disk_id, value_file, size_bytes, first_byte, format)"
        " VALUES (gen_random_uuid(), %s, %s, 512, 0, 'raw')",
        [disk.id, received],
    )
    pair.set_alive(FIRST, False)
    machine = pair.make_machine(SECOND, disk.id)
    pair.settle(SECOND)
    assert pair.cloud.disk(disk.id).host == FIRST
    pair.set_alive(FIRST)
    pair.settle(FIRST, SECOND)
    assert pair.cloud.machine(machine).state is MachineState.ACTIVE
    assert "Pattern verification failed" not in output(
        "qemu-io", "-U", "-r", "-f", "qcow2", "-c", "read -P 0x78 0 512", str(pair.path(disk.id))
    )


def test_disk_made_from_an_image_has_all_of_it(pair: Pair) -> None:
    disk = pair.make_disk(image_name=IMAGE)
    pair.settle(FIRST)
    assert pair.cloud.disk(disk.id).state is DiskState.ONLINE
    assert "backing file" not in output("qemu-img", "info", str(pair.path(disk.id)))
