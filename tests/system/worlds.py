"""Small clouds for tests that drive agents one step at a time: database, tag, folder and door, without a gateway.

What must hold when an agent has nothing left to do is checked here, in the database and on the host.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID, uuid4

import psycopg

from altostratus.agent import cloud_tag
from altostratus.postgres import PrivateCluster
from altostratus.settings import Settings
from backends.cloud import Cloud
from backends.disks.pool import DiskPool
from backends.networks.driver import Networks
from backends.networks.groups import Policy
from backends.networks.links import links
from backends.networks.spec import tap_name
from backends.opened import OpenedDisks
from backends.store.database import Database
from backends.values import Values
from tests.conftest import SIZES, caller, project
from tests.system import stepwise

MIB = 2**20
IMAGE = "blank"


@dataclass(frozen=True)
class World:
    """A cloud of its own: database, tag, folder, and the door for one of its users."""

    settings: dict[str, Any]
    tag: str
    cloud: Cloud
    database: Database

    @property
    def state(self) -> Path:
        folder: Path = self.settings["state"]
        return folder

    @property
    def log(self) -> str:
        return (self.state / "agent.log").read_text()

    def settle(self) -> None:
        stepwise.settle(self.settings)

    def work(self) -> None:
        """One look at everything, and the jobs that come of it, whether all ends well or not."""
        stepwise.work_once(self.settings)

    def rows(self, statement: str) -> list[Any]:
        with self.database.connection() as connection:
            return connection.execute(statement).fetchall()

    def identities(self, statement: str) -> set[str]:
        return {str(row[0]) for row in self.rows(statement)}


class Worlds:
    """As many as are used at once, each used again by the next case: what a case leaves, the next would stumble on."""

    def __init__(self, cluster: PrivateCluster, template: str, folder: Path) -> None:
        self._cluster, self._template, self._folder = cluster, template, folder
        self._made = itertools.count()
        self._free: SimpleQueue[World] = SimpleQueue()

    @contextmanager
    def one(self, what: str = "") -> Iterator[World]:
        """Empty, and emptied at the end, when nothing of it may be left. One that failed isn't used again.

        `what` is told beside a failure.
        """
        try:
            world = self._free.get_nowait()
        except Empty:
            world = self._new()
        try:
            yield world
            check_as_wanted(world)
            delete_everything(world)
            world.settle()
            check_as_wanted(world)
        except BaseException as error:
            error.add_note(f"{what} in {world.state}:\n{world.log}")
            raise
        self._free.put(world)

    def end(self) -> list[str]:
        """What is left of them on the host when they are taken down."""
        left: list[str] = []
        while not self._free.empty():
            world = self._free.get()
            with world.database.connection() as connection:
                connection.execute("UPDATE image SET deleting = true")
            world.settle()
            Networks(world.tag, world.state / "networks").restore([], [])
            left += left_of(world)
            world.database.close()
        return left

    def _new(self) -> World:
        number = next(self._made)
        name = f"world_{uuid4().hex[:12]}"
        with psycopg.connect(self._cluster.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        conninfo = self._cluster.conninfo.replace("dbname=postgres", f"dbname={name}")
        settings = {
            "state": self._folder / name,
            "database": conninfo,
            "host_name": "rack1",
            "domain_type": "qemu",
            "shared_network": f"10.64.{number}.0/24",
            "cores_overcommit": 64,
        }
        settings["state"].mkdir(mode=0o755)
        values = settings["state"] / "values"
        values.mkdir()
        database = Database(conninfo, connections=1)
        database.open()
        with database.connection() as connection:
            user = caller(project(connection, "mine"))
        opened = OpenedDisks("rack1", settings["state"] / "opened")
        cloud = Cloud(database, user, SIZES, "small", Values(values), opened)
        world = World(settings, cloud_tag(Settings(**settings)), cloud, database)
        world.settle()
        add_blank_image(world)
        return world


def add_blank_image(world: World) -> None:
    """An image of one MiB of zeros: something to make root disks from, and nothing that boots."""
    source = world.state / "blank.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", source, str(MIB)], check=True, timeout=30)
    with world.database.connection() as connection:
        row = connection.execute(
            "INSERT INTO image (id, name, title, size_bytes, sha256, state) VALUES"
            " (gen_random_uuid(), %s, 'Blank', %s, '', 'ready') RETURNING id",
            [IMAGE, MIB],
        ).fetchone()
    assert row is not None
    DiskPool(world.state / "pool", group="libvirt-qemu").import_image(row[0], source)


def delete_everything(world: World) -> None:
    for machine in world.cloud.machines():
        world.cloud.delete_machine(machine.id)
    for disk in reversed(world.cloud.disks()):  # snapshots first
        world.cloud.delete_disk(disk.id)
    for network in world.cloud.networks():
        if not network.shared:
            world.cloud.delete_network(network.id)
    for group in world.cloud.groups():
        if not group.is_default:
            world.cloud.delete_group(group.id)
    with world.database.connection() as connection:
        connection.execute("UPDATE image SET deleting = true WHERE name <> %s", [IMAGE])


POWER = {"active": "running", "inactive": "shut off", "suspended": "paused"}


def check_as_wanted(world: World) -> None:
    """Every resource is in its wanted state, in the database and on the host, and the host has nothing besides."""
    for table in ("machine", "network", "disk", "interface", "attachment", "image"):
        assert world.rows(f"SELECT id FROM {table} WHERE deleting") == [], table
    for table in ("machine", "network", "disk"):
        unsettled = world.rows(
            f"SELECT id, state, wanted, state_message FROM {table}"
            " WHERE state <> wanted OR generation <> observed_generation"
        )
        assert [row for row in unsettled if not _is_shared(world, row[0])] == [], table
    assert world.rows("SELECT id, state, state_message FROM image WHERE state <> 'ready'") == []
    domains = domains_of(world)
    for machine_id, wanted, method, cores in world.rows("SELECT id, wanted, suspend_method, cores FROM machine"):
        hibernated = wanted == "suspended" and method == "hibernate"
        power = domains.pop(str(machine_id), "shut off")
        assert power == ("shut off" if hibernated else POWER[wanted]), machine_id
        if wanted == "active":
            had = output("virsh", "-q", "vcpucount", "--live", "--active", f"{world.tag}-{machine_id}")
            assert int(had) == cores, machine_id
    assert domains == {}

    pool = world.state / "pool"
    assert names_in(pool / "disks") == world.identities("SELECT id || '.qcow2' FROM disk")
    assert names_in(pool / "machines") == world.identities(
        "SELECT id || '.qcow2' FROM machine WHERE root_image_id IS NOT NULL"
    )
    assert names_in(pool / "images") == world.identities(
        "SELECT id || suffix FROM image, (VALUES ('.json'), ('.qcow2')) AS files (suffix)"
    )
    assert world.rows("SELECT disk_id, state FROM disk_write WHERE kept OR state <> 'done'") == []
    assert world.rows("SELECT id, open_until, open_message FROM disk WHERE open_until IS NOT NULL") == []
    assert names_in(world.state / "values") == names_in(world.state / "opened") == set()
    assert output("pgrep", "-af", f"qemu-storage-daemon.*{world.state}/opened") == ""
    machines = world.identities("SELECT id FROM machine")
    assert {name.removesuffix(".iso") for name in names_in(world.state / "seeds")} <= machines
    assert {name[len(world.tag) + 1 :].partition(".log")[0] for name in names_in(world.state / "consoles")} <= machines

    networks = Networks(world.tag, world.state / "networks")
    assert {str(found) for found in networks.networks()} == world.identities("SELECT id FROM network")
    assert {str(found) for found in networks.ports()} == world.identities("SELECT id FROM interface")
    assert list((world.state / "networks").rglob("*.new")) == []
    on = "SELECT i.id FROM interface i JOIN machine m ON m.id = i.machine_id WHERE m.wanted = 'active'"
    taps = {networks.tap_name(UUID(found)) for found in world.identities(on)}
    present = {found.name for found in links() if found.name.startswith(f"{world.tag}t")}
    assert present - taps == set() or world.rows("SELECT 1 FROM machine WHERE wanted = 'suspended'")
    assert taps - present == set()
    check_groups(world)
    check_limits(world)
    for row in world.rows("SELECT id, cidr IS NOT NULL AND wanted = 'active' FROM network"):
        assert len(dhcp_servers_of(world, str(row[0]))) == int(row[1]), row


def check_groups(world: World) -> None:
    """Each interface is at the policy of its machine's groups, and the rules are theirs."""
    wanted = {}
    for interface_id, *of in world.rows("SELECT interface_id, project_id, network_id, group_ids FROM interface_groups"):
        wanted[tap_name(world.tag, interface_id)] = Policy(*of).chain("receiving")
    listing = output("nft", "-j", "list", "map", "bridge", f"altostratus_{world.tag}_groups", "receiving")
    elements = json.loads(listing)["nftables"][1]["map"].get("elem", []) if listing else []
    assert {tap: verdict["goto"]["target"] for tap, verdict in elements} == wanted


def check_limits(world: World) -> None:
    """Each interface is limited as its row says, and no other; taps are there only while machines run."""
    policed, shaped = {}, {}
    present = {found.name for found in links()}
    for interface_id, ingress, egress in world.rows("SELECT id, ingress_kbit_s, egress_kbit_s FROM interface"):
        tap = tap_name(world.tag, interface_id)
        if egress is not None:
            policed[tap] = f"{tap}_{egress}"
        if ingress is not None and tap in present:
            shaped[tap] = ingress * 125
    listing = output("nft", "-j", "list", "map", "bridge", f"altostratus_{world.tag}_limits", "taps")
    assert dict(json.loads(listing)["nftables"][1]["map"].get("elem", []) if listing else []) == policed
    found = json.loads(output("tc", "-j", "qdisc", "show"))
    of_taps = {one["dev"]: one["options"]["rate"] for one in found if one["kind"] == "tbf"}
    assert {tap: rate for tap, rate in of_taps.items() if tap.startswith(world.tag)} == shaped


def _is_shared(world: World, network_id: UUID) -> bool:
    return str(network_id) in world.identities("SELECT id FROM network WHERE shared")


def left_of(world: World) -> list[str]:
    """Whatever on the host carries this cloud's name, and whatever is in its folders."""
    found = [f"link {link.name}" for link in links() if link.name.startswith(world.tag)]
    found += [f"namespace {line}" for line in output("ip", "netns").splitlines() if world.tag in line]
    found += [f"table {line}" for line in output("nft", "list", "tables").splitlines() if world.tag in line]
    found += [f"process {line}" for line in output("pgrep", "-a", "dnsmasq|qemu").splitlines() if world.tag in line]
    found += [f"process {line}" for line in output("pgrep", "-a", "dnsmasq").splitlines() if str(world.state) in line]
    found += [str(path) for path in Path("/var/log/libvirt/qemu").glob(f"*{world.tag}*")]
    kept = {"agent.log", "blank.qcow2", "places.json"}
    return found + [str(path) for path in world.state.rglob("*") if path.is_file() and path.name not in kept]


def domains_of(world: World) -> dict[str, str]:
    found = {}
    for line in output("virsh", "-q", "list", "--all").splitlines():
        _, name, power = line.split(maxsplit=2)
        if name.startswith(f"{world.tag}-"):
            found[name.removeprefix(f"{world.tag}-")] = power.strip()
    return found


def dhcp_servers_of(world: World, network_id: str) -> list[str]:
    folder = f"{world.state}/networks/networks/{network_id}/"
    return [line for line in output("pgrep", "-a", "dnsmasq").splitlines() if folder in line]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
