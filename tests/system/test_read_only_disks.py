"""A disk that nobody writes to, in many machines of one host at a time."""

from __future__ import annotations

from backends.model import Disk, Machine, NewAttachment, NewDisk, NewMachine, Pool
from tests.system.worlds import MIB, World, Worlds, output


def a_reader(world: World, disk: Disk) -> Machine:
    return world.cloud.create_machine(NewMachine(memory_mib=32, attachments=(NewAttachment(disk.id),)))


def plugged(world: World, machine: Machine) -> str:
    """libvirt's description of its first disk."""
    xml = output("virsh", "dumpxml", f"{world.tag}-{machine.id}")
    return xml[xml.index("<disk type='file' device='disk'") :].partition("</disk>")[0]


def test_many_machines_have_a_read_only_disk_and_the_last_one_keeps_it(worlds: Worlds) -> None:
    with worlds.one() as world:
        disk = world.cloud.create_disk(NewDisk(size_bytes=MIB, pool=Pool.FILE, read_only=True))
        first, second = a_reader(world, disk), a_reader(world, disk)
        world.settle()
        for machine in (first, second):
            assert f"{disk.id}.qcow2" in plugged(world, machine)
            assert "<readonly/>" in plugged(world, machine)
        copy = world.cloud.backup_disk(disk.id)
        world.cloud.delete_machine(first.id)
        world.settle()
        third = a_reader(world, disk)
        world.settle()
        assert "<readonly/>" in plugged(world, third)
        assert not world.cloud.disk(copy.id).read_only
        assert world.cloud.machine(second.id).state == world.cloud.machine(third.id).state == "active"
