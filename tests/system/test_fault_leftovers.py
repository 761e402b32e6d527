"""What agents that were cut off leave behind, and what goes wrong for a while, told by the bugs that it once made."""

from __future__ import annotations

from uuid import uuid4

from altostratus.agent import opened_host
from altostratus.settings import Settings
from backends.agent.disk import converge_disk
from backends.agent.image import converge_image
from backends.disks.pool import disk as volume
from backends.model import NewAttachment, NewDisk, NewInterface, NewMachine, NewNetwork, SaveMethod, StopMethod
from backends.store.database import query
from tests.system.worlds import IMAGE, MIB, Worlds


def test_unfinished_files_of_what_no_longer_exists_go(worlds: Worlds) -> None:
    with worlds.one() as world:
        kept = world.cloud.create_machine(NewMachine(memory_mib=32))
        world.settle()
        unfinished = [
            world.state / "seeds" / f".{uuid4()}.iso.partial",
            world.state / "pool" / "disks" / f".{uuid4()}.qcow2.part.partial",
            world.state / "pool" / "images" / f"{uuid4()}.qcow2.part",
            world.state / "networks" / ".asaaaatbbbbbbbb.new",
        ]
        for path in unfinished:
            path.write_bytes(b"half of it")

        world.settle()

        assert [path for path in unfinished if path.exists()] == []
        assert (world.state / "seeds" / f"{kept.id}.iso").exists()


def test_a_copy_that_fails_does_not_become_an_empty_disk(worlds: Worlds) -> None:
    with worlds.one() as world:
        source = world.cloud.create_disk(NewDisk(size_bytes=MIB))
        world.settle()
        path = world.state / "pool" / "disks" / f"{source.id}.qcow2"
        moved = path.rename(world.state / "elsewhere.qcow2")

        copy = world.cloud.backup_disk(source.id)
        for _ in range(2):
            world.work()
            shown = world.cloud.disk(copy.id)
            assert (shown.state, shown.state_message) == ("error", f"disk {source.id} is not in the pool")
            assert not (world.state / "pool" / "disks" / f"{copy.id}.qcow2").exists()

        moved.rename(path)
        world.settle()
        assert world.cloud.disk(copy.id).state == "online"


def test_a_copy_that_waits_for_another_of_its_machine_is_no_error(worlds: Worlds) -> None:
    with worlds.one() as world:
        disk = world.cloud.create_disk(NewDisk(size_bytes=MIB))
        machine = world.cloud.create_machine(NewMachine(memory_mib=32, attachments=(NewAttachment(disk.id),)))
        world.settle()
        copy = world.cloud.backup_disk(disk.id)

        with opened_host(Settings(**world.settings)) as host, host.hypervisor._one_copy_at_a_time(machine.id):
            assert not converge_disk(host, copy.id)

        shown = world.cloud.disk(copy.id)
        assert (shown.state, shown.state_message) == ("offline", "")
        world.settle()
        assert world.cloud.disk(copy.id).state == "online"


def test_a_disk_file_that_is_lost_is_told(worlds: Worlds) -> None:
    with worlds.one() as world:
        disk = world.cloud.create_disk(NewDisk(size_bytes=MIB))
        world.settle()
        path = world.state / "pool" / "disks" / f"{disk.id}.qcow2"
        moved = path.rename(world.state / "elsewhere.qcow2")

        world.work()

        shown = world.cloud.disk(disk.id)
        assert (shown.state, shown.state_message) == ("error", f"{volume(disk.id)} is not in the pool")
        assert not path.exists()
        moved.rename(path)
        world.settle()
        assert world.cloud.disk(disk.id).state == "online"


def test_an_image_is_saved_when_libvirt_is_back(worlds: Worlds) -> None:
    with worlds.one() as world:
        machine = world.cloud.create_machine(NewMachine(memory_mib=32, image_name=IMAGE, root_size_bytes=MIB))
        world.settle()
        image = world.cloud.save_machine(machine.id, SaveMethod.HOT, "saved")
        nowhere = f"qemu+unix:///system?socket={world.state}/nobody"

        with opened_host(Settings(**world.settings | {"libvirt_uri": nowhere})) as host:
            converge_image(host, image.id)

        shown = world.cloud.image("saved")
        assert shown.state == "pending"
        assert "could not connect to the hypervisor" in shown.state_message
        world.settle()
        assert world.cloud.image("saved").state == "ready"


def test_ports_of_what_is_being_deleted_are_not_made_anew(worlds: Worlds) -> None:
    """The job may have taken them away already, and its deletion of the row not be committed yet."""
    with worlds.one() as world:
        network = world.cloud.create_network(NewNetwork(cidr="192.168.7.0/24"))
        first, second = (
            world.cloud.create_machine(NewMachine(memory_mib=32, interfaces=(NewInterface(network.id),)))
            for _ in range(2)
        )
        world.settle()
        world.cloud.stop_machine(second.id, StopMethod.POWEROFF)
        world.settle()

        world.cloud.delete_machine(first.id)
        world.cloud.delete_interface(second.interfaces[0].id)

        with world.database.connection() as connection:
            assert connection.execute(query("agent.sweep_ports"), {"host": "rack1"}).fetchall() == []
        world.settle()
