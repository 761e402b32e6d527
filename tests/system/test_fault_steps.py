"""The agent killed after each step of everything that it does; the next one finishes it.

Covered, each after every step (see `stepwise`); those taken by the same lines of code count once, those of disks once
in each case: a machine (with a root disk, an interface, an attached disk) made, started, stopped, restarted, grown,
suspended, hibernated, deleted together with its network and disk, or with a volatile disk and its snapshot; disk and
interface plugged into a running guest, and out of a stopped one; limits of an interface set, changed, lifted; a disk
made, grown at rest and in a running guest, copied from one at rest and from a running guest, opened, written, replaced
by an image, deleted; a network made, taken down, deleted; an image saved from a machine at rest and from a running one.
Not here: unplugging from a running guest, which needs an operating system in it (`test_live_storage`). The machines
have none and halt in their BIOS: quick to make, and as much a domain as any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from backends.cloud import Cloud, disk_bytes
from backends.errors import TryLater
from backends.model import (
    Direction,
    Disk,
    GroupRule,
    Machine,
    NewAttachment,
    NewDisk,
    NewGroup,
    NewGroupLink,
    NewInterface,
    NewMachine,
    NewNetwork,
    RestartMethod,
    SaveMethod,
    StopMethod,
    SuspendMethod,
    WriteFormat,
)
from tests.system import stepwise
from tests.system.worlds import IMAGE, MIB, World, Worlds

AT_ONCE = 4

# What is done while the agent dies: each a state to begin with, and a wish.

Prepare = Callable[[Cloud], Any]
Act = Callable[[Cloud, Any], Any]


def nothing(_cloud: Cloud) -> None:
    return None


def a_network_and_a_disk(cloud: Cloud) -> None:
    a_network(cloud)
    a_disk(cloud)


def a_machine(cloud: Cloud) -> Machine:
    """With a root disk, on a network of its own, and with a disk attached."""
    return cloud.create_machine(
        NewMachine(
            memory_mib=32,
            image_name=IMAGE,
            root_size_bytes=2 * MIB,
            hostname="here",
            interfaces=(NewInterface(the_network(cloud)),),
            attachments=(NewAttachment(the_disk(cloud)),),
        )
    )


def a_volatile_disk(cloud: Cloud) -> Disk:
    return cloud.create_disk(NewDisk(size_bytes=MIB, volatile=True))


def a_machine_with_the_disk(cloud: Cloud) -> Machine:
    return cloud.create_machine(NewMachine(memory_mib=32, attachments=(NewAttachment(the_disk(cloud)),)))


def a_plain_machine(cloud: Cloud) -> Machine:
    return cloud.create_machine(NewMachine(memory_mib=32))


def a_growing_machine(cloud: Cloud) -> Machine:
    return cloud.create_machine(NewMachine(memory_mib=32, size_name="growing"))


def stop(cloud: Cloud) -> None:
    cloud.stop_machine(the_machine(cloud), StopMethod.POWEROFF)


def the_machine(cloud: Cloud) -> UUID:
    return cloud.machines()[0].id


def the_disk(cloud: Cloud) -> UUID:
    return cloud.disks()[0].id


def the_network(cloud: Cloud) -> UUID:
    return next(found.id for found in cloud.networks() if not found.shared)


def a_disk(cloud: Cloud) -> Disk:
    return cloud.create_disk(NewDisk(size_bytes=MIB))


def open_disk(cloud: Cloud) -> None:
    """Asks for it, and doesn't wait for the agent."""
    with contextlib.suppress(TryLater):
        cloud.open_disk(cloud.named_disk(str(the_disk(cloud)))).close()


def write_disk(cloud: Cloud, first_byte: int | None) -> None:
    disk = cloud.named_disk(str(the_disk(cloud)))
    with cloud.receive_value() as received:
        received.write(b"x" * 1000)
        assert not cloud.write_disk(disk, received, first_byte, WriteFormat.RAW)


@pytest.fixture(autouse=True)
def _nobody_waits_for_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_bytes, "WAIT_S", 0)
    monkeypatch.setattr(disk_bytes, "OPEN_S", 1)


def a_network(cloud: Cloud) -> None:
    cloud.create_network(NewNetwork(cidr="192.168.7.0/24"))


def delete_all(cloud: Cloud) -> None:
    cloud.delete_machine(the_machine(cloud))
    cloud.delete_disk(the_disk(cloud))
    cloud.delete_network(the_network(cloud))


def a_snapshot(cloud: Cloud) -> None:
    cloud.snapshot_disk(the_disk(cloud))


def restore(cloud: Cloud) -> None:
    (snapshot,) = (disk.id for disk in cloud.disks() if disk.snapshot_of is not None)
    cloud.restore_disk(the_disk(cloud), snapshot)


def plug_both(cloud: Cloud) -> None:
    cloud.attach(the_machine(cloud), NewAttachment(the_disk(cloud)))
    cloud.create_interface(the_machine(cloud), NewInterface(the_network(cloud)))


def unplug_both(cloud: Cloud) -> None:
    machine = cloud.machines()[0]
    cloud.detach(machine.attachments[0].id)
    cloud.delete_interface(machine.interfaces[0].id)


def a_plain_machine_and_things_to_plug(cloud: Cloud) -> None:
    a_plain_machine(cloud)
    a_disk(cloud)
    a_network(cloud)


def a_group(cloud: Cloud) -> None:
    cloud.create_group(NewGroup(title="web", rules=(GroupRule(Direction.IN, "tcp", (80, 80)),)))


def the_group(cloud: Cloud) -> UUID:
    return next(found.id for found in cloud.groups() if not found.is_default)


def join(cloud: Cloud) -> None:
    cloud.join_group(the_machine(cloud), NewGroupLink(the_group(cloud)))


def change_rules(cloud: Cloud) -> None:
    cloud.update_group(the_group(cloud), {"rules": (GroupRule(Direction.OUT, "udp", (53, 54)),)})


def a_limited_machine(cloud: Cloud) -> Machine:
    network = next(found.id for found in cloud.networks() if found.shared)
    limited = NewInterface(network, ingress_kbit_s=1000, egress_kbit_s=2000)
    return cloud.create_machine(NewMachine(memory_mib=32, interfaces=(limited,)))


def limit(cloud: Cloud, ingress_kbit_s: int | None, egress_kbit_s: int | None) -> None:
    (interface,) = cloud.machines()[0].interfaces
    cloud.update_interface(interface.id, {"ingress_kbit_s": ingress_kbit_s, "egress_kbit_s": egress_kbit_s})


MACHINE = [a_network_and_a_disk, a_machine]
SCENARIOS: dict[str, tuple[list[Any], Callable[[Cloud], Any]]] = {
    "machine made": ([a_network_and_a_disk], a_machine),
    "machine stopped": (MACHINE, stop),
    "machine started": ([*MACHINE, stop], lambda cloud: cloud.start_machine(the_machine(cloud))),
    "machine restarted": (
        [a_plain_machine],
        lambda cloud: cloud.restart_machine(the_machine(cloud), RestartMethod.COLD),
    ),
    "machine grown": ([a_growing_machine], lambda cloud: cloud.update_machine(the_machine(cloud), {"cores": 2})),
    "machine suspended": ([a_plain_machine], lambda cloud: cloud.suspend_machine(the_machine(cloud))),
    "machine hibernated": (
        [a_plain_machine],
        lambda cloud: cloud.suspend_machine(the_machine(cloud), SuspendMethod.HIBERNATE),
    ),
    "machine deleted with all it has": (MACHINE, delete_all),
    "machine deleted with its volatile disk": (
        [a_volatile_disk, a_snapshot, a_machine_with_the_disk],
        lambda cloud: cloud.delete_machine(the_machine(cloud)),
    ),
    "disk and interface plugged": ([a_plain_machine_and_things_to_plug], plug_both),
    "disk and interface unplugged": ([*MACHINE, stop], unplug_both),
    "group joined": ([a_group, a_plain_machine], join),
    "group's rules changed": ([a_group, a_plain_machine, join], change_rules),
    "group left": ([a_group, a_plain_machine, join], lambda cloud: cloud.leave_group(cloud.group_links()[0].id)),
    "limited machine made": ([], a_limited_machine),
    "limited machine stopped": ([a_limited_machine], stop),
    "limits changed": ([a_limited_machine], lambda cloud: limit(cloud, 3000, 4000)),
    "limits lifted": ([a_limited_machine], lambda cloud: limit(cloud, None, None)),
    "disk made": ([], a_disk),
    "disk grown": ([a_disk], lambda cloud: cloud.resize_disk(the_disk(cloud), 3 * MIB)),
    "plugged disk grown": (MACHINE, lambda cloud: cloud.resize_disk(the_disk(cloud), 3 * MIB)),
    "disk copied": ([a_disk], lambda cloud: cloud.backup_disk(the_disk(cloud))),
    "plugged disk copied": (MACHINE, lambda cloud: cloud.backup_disk(the_disk(cloud))),
    "disk's snapshot taken": ([a_disk], lambda cloud: cloud.snapshot_disk(the_disk(cloud))),
    "disk restored": ([a_disk, a_snapshot], restore),
    "disk deleted with its snapshot": ([a_disk, a_snapshot], lambda cloud: cloud.delete_disk(the_disk(cloud))),
    "disk opened": ([a_disk], open_disk),
    "disk written": ([a_disk], lambda cloud: write_disk(cloud, 100)),
    "disk replaced by an image": ([a_disk], lambda cloud: write_disk(cloud, None)),
    "disk deleted": ([a_disk], lambda cloud: cloud.delete_disk(the_disk(cloud))),
    "network made": ([], a_network),
    "network taken down": ([a_network], lambda cloud: cloud.network_down(the_network(cloud))),
    "network deleted": ([a_network], lambda cloud: cloud.delete_network(the_network(cloud))),
    "image saved": (
        [*MACHINE, stop],
        lambda cloud: cloud.save_machine(the_machine(cloud), SaveMethod.HOT, "saved"),
    ),
    "image saved from a running machine": (
        MACHINE,
        lambda cloud: cloud.save_machine(the_machine(cloud), SaveMethod.HOT, "saved"),
    ),
}


@pytest.fixture(scope="module")
def died_at() -> set[str]:
    """Where an agent was killed, in whatever scenario."""
    return set()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_an_agent_was_killed_at_is_finished_by_the_next(worlds: Worlds, died_at: set[str], scenario: str) -> None:
    before, act = SCENARIOS[scenario]

    @contextlib.contextmanager
    def wished(what: str) -> Iterator[World]:
        with worlds.one(what) as world:
            for arrange in before:
                arrange(world.cloud)
                world.settle()
            act(world.cloud)
            yield world
            world.settle()

    with wished("not killed") as world:
        places = stepwise.places_of_steps(world.settings)
    of_disks = {place for place in places if "/backends/disks/" in place or "/backends/agent/disk" in place}
    others = of_disks | set(places) - died_at
    died_at.update(others)

    def is_killed_at(place: str) -> bool:
        with wished(f"killed at {place}") as world:
            return stepwise.dies_after(world.settings, place)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        killed = sum(threads.map(is_killed_at, sorted(others)))
    print(f"{scenario}: killed at {killed} of {len(places)} moments")
