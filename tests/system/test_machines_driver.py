"""The libvirt driver against a real libvirt: root, and a guest that needs no operating system.

`ALTOSTRATUS_TEST_LIBVIRT` names another libvirt than qemu:///system. `ALTOSTRATUS_TEST_IMAGE` is a qcow2 that
boots Linux to its serial console and heeds ACPI: what needs a guest's help is tested with it, else skipped.
"""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
import pytest

from backends.machines import probe
from backends.machines.domain_xml import backup_xml, domain_name
from backends.machines.errors import (
    DeviceConflict,
    HypervisorRefused,
    HypervisorUnavailable,
    MachineAbsent,
    MachineError,
    NotOurs,
    WrongPower,
)
from backends.machines.events import EventKind, MachineEvent
from backends.machines.hypervisor import LIBVIRT_LOGS, Hypervisor
from backends.machines.seed import write_seed
from backends.machines.spec import BaseImage, DomainDisk, DomainInterface, DomainSpec, Power, Reason
from backends.model import Architecture

URI = os.environ.get("ALTOSTRATUS_TEST_LIBVIRT", "qemu:///system")
IMAGE = os.environ.get("ALTOSTRATUS_TEST_IMAGE", str(Path(__file__).parents[2] / ".cache" / "default.qcow2"))
LIBVIRT_SOCKET = Path("/run/libvirt/libvirt-sock")
GREETING = b"a guest of the test"
SAVES = Path("/var/lib/libvirt/qemu/save")
MIB = 1 << 20

needs_image = pytest.mark.skipif(not Path(IMAGE).exists(), reason="the default image is not built: make image")
VNC_AUTHENTICATION = 2
"""RFC 6143 §7.1.2; 1 would be none."""


pytestmark = pytest.mark.usefixtures("libvirt_daemons")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where QEMU's own user may go, which pytest's folders don't let it."""
    path = Path(tempfile.mkdtemp(prefix="altostratus-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def hypervisor(folder: Path) -> Iterator[Hypervisor]:
    driver = Hypervisor(URI, f"t{secrets.token_hex(3)}", domain_type="qemu", console_directory=folder / "consoles")
    yield driver
    for machine_id in driver.machines():
        driver.absent(machine_id)
    assert driver.machines() == set()
    assert list(LIBVIRT_LOGS.glob(f"{driver.cloud_tag}-*")) == []
    driver.close()


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"tbr{secrets.token_hex(3)}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True, timeout=10)
    subprocess.run(["ip", "link", "set", name, "up"], check=True, timeout=10)
    yield name
    subprocess.run(["ip", "link", "del", name], check=True, timeout=10)


@pytest.fixture
def spec(folder: Path) -> DomainSpec:
    """A machine whose disk greets on the serial port and halts."""
    disk = folder / "root.raw"
    disk.write_bytes(probe.boot_sector(GREETING))
    return DomainSpec(
        id=uuid4(),
        title="test",
        cores=1,
        memory_mib=64,
        share=None,
        architecture=Architecture.X64,
        disks=(DomainDisk(disk, "raw", "vda", "root"),),
    )


@pytest.fixture
def linux(folder: Path, spec: DomainSpec) -> DomainSpec:
    disk = folder / "linux.qcow2"
    base = folder / "base.qcow2"  # the clone's own may lie where QEMU's user can't go
    shutil.copyfile(IMAGE, base)
    backing = ["-b", str(base), "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(disk)], check=True, timeout=30)
    return replace(spec, memory_mib=256, disks=(DomainDisk(disk, "qcow2", "vda", "root"),))


def eventually(condition: Callable[[], object], limit_seconds: float = 30) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {limit_seconds:g} s"
        time.sleep(0.1)


def power(hypervisor: Hypervisor, machine_id: UUID) -> Power | None:
    observed = hypervisor.observe(machine_id)
    return None if observed is None else observed.power


def console(hypervisor: Hypervisor, machine_id: UUID) -> bytes:
    path = hypervisor.console_log_path(machine_id)
    return path.read_bytes() if path.exists() else b""


def greeted(hypervisor: Hypervisor, machine_id: UUID, times: int = 1) -> bool:
    return console(hypervisor, machine_id).count(GREETING) >= times


def start_linux(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    eventually(lambda: probe.USER_SPACE_SIGN.search(console(hypervisor, spec.id)), 90)
    time.sleep(5)  # its modules and its acpid have no sign of their own


def raw_disk(folder: Path, device: str) -> DomainDisk:
    path = folder / f"{device}.raw"
    with path.open("wb") as file:
        file.truncate(MIB)
    return DomainDisk(path, "raw", device, f"serial-{device}")


# Lifecycle


def test_started_machine_runs_its_disk_and_logs_its_console(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    eventually(lambda: greeted(hypervisor, spec.id))
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert (observed.power, observed.reason) == (Power.RUNNING, None)
    assert [disk.device for disk in observed.disks] == ["vda"]
    assert observed.vnc is not None
    host, port = observed.vnc.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as display:
        assert display.recv(4) == b"RFB "


def test_a_display_has_a_password_that_is_new_at_each_start(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    def password() -> str | None:
        hypervisor.ensure_running(spec)
        observed = hypervisor.observe(spec.id)
        assert observed is not None
        return observed.vnc_password

    hypervisor.ensure_running(spec)
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert observed.vnc is not None
    assert len(observed.vnc_password or "") == 8
    assert observed.vnc_password not in repr(observed)
    host, port = observed.vnc.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as display:
        version = display.recv(12)
        display.sendall(version)
        offered = display.recv(2)
    assert offered == bytes([1, VNC_AUTHENTICATION])
    assert password() == observed.vnc_password
    hypervisor.ensure_off(spec.id)
    assert password() not in (None, observed.vnc_password)


def test_every_call_may_be_repeated(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    for call in (hypervisor.ensure_defined, hypervisor.ensure_running):
        call(spec)
        call(spec)
    for ensure in (hypervisor.ensure_paused, hypervisor.ensure_hibernated, hypervisor.ensure_off):
        ensure(spec.id)
        ensure(spec.id)
    hypervisor.absent(spec.id)
    hypervisor.absent(spec.id)
    hypervisor.ensure_off(spec.id)
    assert hypervisor.observe(spec.id) is None


def test_defined_machine_is_off(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_defined(spec)
    assert power(hypervisor, spec.id) is Power.OFF
    assert hypervisor.machines() == {spec.id}


def test_new_definition_leaves_the_running_guest_alone(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    before = hypervisor.observe(spec.id)
    hypervisor.ensure_running(replace(spec, cores=2, memory_mib=96))
    assert hypervisor.observe(spec.id) == before
    hypervisor.ensure_off(spec.id)
    after = hypervisor.observe(spec.id)
    assert after is not None
    assert (after.cores, after.memory_mib) == (2, 96)


def test_running_machine_gets_cores_and_keeps_them(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    def cores() -> int:
        observed = hypervisor.observe(spec.id)
        assert observed is not None
        return observed.cores

    growing = replace(spec, max_cores=3)
    hypervisor.ensure_running(growing)
    assert cores() == 1
    for _ in range(2):
        hypervisor.ensure_cores(spec.id, 2)
        assert cores() == 2
    hypervisor.ensure_cores(spec.id, 1)
    assert cores() == 2
    hypervisor.ensure_cores(spec.id, 9)
    assert cores() == 3
    hypervisor.reset(spec.id)
    hypervisor.ensure_hibernated(spec.id)
    assert cores() == 3
    hypervisor.ensure_running(growing)
    assert cores() == 3
    hypervisor.ensure_off(spec.id)
    hypervisor.ensure_running(replace(growing, cores=2))
    assert cores() == 2


def test_machine_without_room_to_grow_is_left_as_it_is(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    with pytest.raises(MachineAbsent):
        hypervisor.ensure_cores(spec.id, 2)
    hypervisor.ensure_defined(spec)
    with pytest.raises(WrongPower, match="is off"):
        hypervisor.ensure_cores(spec.id, 2)
    hypervisor.ensure_running(spec)
    before = hypervisor.observe(spec.id)
    hypervisor.ensure_cores(spec.id, 2)
    assert hypervisor.observe(spec.id) == before


def test_machine_whose_power_is_cut_says_so(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_off(spec.id)
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert (observed.power, observed.reason, observed.run) == (Power.OFF, Reason.DESTROYED, None)


def test_paused_machine_is_resumed_not_restarted(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    running = hypervisor.observe(spec.id)
    hypervisor.ensure_paused(spec.id)
    paused = hypervisor.observe(spec.id)
    assert paused is not None
    assert (paused.power, paused.reason) == (Power.PAUSED, Reason.ASKED)
    hypervisor.ensure_running(spec)
    assert hypervisor.observe(spec.id) == running


def test_hibernated_machine_wakes_where_it_was(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    eventually(lambda: greeted(hypervisor, spec.id))
    hypervisor.ensure_hibernated(spec.id)
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert (observed.power, observed.reason) == (Power.HIBERNATED, Reason.SAVED)
    hypervisor.ensure_running(spec)
    assert power(hypervisor, spec.id) is Power.RUNNING
    time.sleep(2)
    assert not greeted(hypervisor, spec.id, times=2)


def test_machine_paused_when_hibernated_wakes_running(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_paused(spec.id)
    hypervisor.ensure_hibernated(spec.id)
    hypervisor.ensure_running(spec)
    assert power(hypervisor, spec.id) is Power.RUNNING


def test_save_that_was_cut_off_is_no_hibernation(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_hibernated(spec.id)
    saved = SAVES / f"{domain_name(hypervisor.cloud_tag, spec.id)}.save"
    with saved.open("r+b") as file:
        file.write(b"LibvirtQemudPart")
    assert power(hypervisor, spec.id) is Power.OFF
    hypervisor.ensure_running(spec)
    assert power(hypervisor, spec.id) is Power.RUNNING
    assert not saved.exists()


def test_hibernated_machine_forgets_its_memory_when_powered_off(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_hibernated(spec.id)
    hypervisor.ensure_off(spec.id)
    assert power(hypervisor, spec.id) is Power.OFF


def test_hibernated_machine_leaves_nothing_when_removed(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_hibernated(spec.id)
    hypervisor.absent(spec.id)
    assert list(SAVES.glob(f"*{spec.id}*")) == []
    assert list(hypervisor.console_log_path(spec.id).parent.iterdir()) == []
    assert list(LIBVIRT_LOGS.glob(f"*{spec.id}*")) == []


def test_reset_starts_the_guest_anew_in_its_domain(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    eventually(lambda: greeted(hypervisor, spec.id))
    before = hypervisor.observe(spec.id)
    hypervisor.reset(spec.id)
    eventually(lambda: greeted(hypervisor, spec.id, times=2))
    assert hypervisor.observe(spec.id) == before


def test_killed_emulator_is_a_crash(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    pid_file = Path("/run/libvirt/qemu") / f"{domain_name(hypervisor.cloud_tag, spec.id)}.pid"
    os.kill(int(pid_file.read_text()), 9)
    eventually(lambda: power(hypervisor, spec.id) is Power.OFF)
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert observed.reason is Reason.CRASHED
    hypervisor.ensure_running(spec)
    assert power(hypervisor, spec.id) is Power.RUNNING


def test_threads_may_start_one_machine_together(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hypervisor.ensure_running, [spec] * 4))
    assert power(hypervisor, spec.id) is Power.RUNNING


def test_share_is_given_where_the_host_can_or_left_out(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(replace(spec, share=512))
    assert power(hypervisor, spec.id) is Power.RUNNING


def test_32_bit_machine_runs(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(replace(spec, architecture=Architecture.X86))
    eventually(lambda: greeted(hypervisor, spec.id))


def test_machine_with_a_seed_starts_and_its_seed_stays_private(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path
) -> None:
    seed = folder / "seed.iso"
    write_seed(seed, instance_id=str(spec.id), hostname="test")
    hypervisor.ensure_running(replace(spec, seed=seed))
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert observed.seed == seed
    assert seed.stat().st_mode & 0o007 == 0


# What can't be


def test_calls_on_a_machine_that_is_not_there_say_so(hypervisor: Hypervisor) -> None:
    nobody = uuid4()
    for call in (
        hypervisor.request_shutdown,
        hypervisor.reset,
        hypervisor.ensure_paused,
        hypervisor.ensure_hibernated,
    ):
        with pytest.raises(MachineAbsent, match=str(nobody)):
            call(nobody)


def test_machine_that_is_off_can_be_neither_paused_nor_saved_nor_reset(
    hypervisor: Hypervisor, spec: DomainSpec
) -> None:
    hypervisor.ensure_defined(spec)
    for call in (hypervisor.ensure_paused, hypervisor.ensure_hibernated, hypervisor.reset):
        with pytest.raises(WrongPower, match="is off"):
            call(spec.id)
    hypervisor.request_shutdown(spec.id)


def test_missing_disk_is_named_when_the_machine_starts(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    spec.disks[0].source.unlink()
    with pytest.raises(HypervisorRefused, match=r"could not start machine .*root\.raw"):
        hypervisor.ensure_running(spec)
    assert power(hypervisor, spec.id) is Power.OFF


def test_missing_bridge_is_named_when_the_machine_starts(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    interface = DomainInterface(f"t{secrets.token_hex(4)}", "nosuchbridge", "52:54:00:00:00:01")
    with pytest.raises(HypervisorRefused, match="nosuchbridge"):
        hypervisor.ensure_running(replace(spec, interfaces=(interface,)))


def test_another_clouds_machines_are_neither_seen_nor_touched(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path
) -> None:
    hypervisor.ensure_defined(spec)
    other = Hypervisor(URI, f"t{secrets.token_hex(3)}", domain_type="qemu", console_directory=folder / "other")
    assert other.machines() == set()
    for call in (other.absent, other.ensure_off, other.observe):
        with pytest.raises(NotOurs):
            call(spec.id)
    with pytest.raises(NotOurs):
        other.ensure_defined(spec)
    other.close()
    assert hypervisor.machines() == {spec.id}


def test_domain_of_our_name_without_our_mark_is_not_ours(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    connection = libvirt.open(URI)
    name = domain_name(hypervisor.cloud_tag, spec.id)
    domain = connection.defineXML(
        f"<domain type='qemu'><name>{name}</name><uuid>{spec.id}</uuid><memory>65536</memory>"
        "<os><type>hvm</type></os></domain>"
    )
    try:
        assert hypervisor.machines() == set()
        with pytest.raises(NotOurs):
            hypervisor.absent(spec.id)
    finally:
        domain.undefine()
        connection.close()


# Devices


def test_disk_is_plugged_now_and_for_the_next_start(hypervisor: Hypervisor, spec: DomainSpec, folder: Path) -> None:
    disk = raw_disk(folder, "vdb")
    hypervisor.ensure_running(spec)
    for _ in range(2):
        hypervisor.ensure_disk_attached(spec.id, disk)
        observed = hypervisor.observe(spec.id)
        assert observed is not None
        assert [(each.device, each.source) for each in observed.disks][1:] == [("vdb", disk.source)]
    hypervisor.ensure_off(spec.id)
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert [each.device for each in observed.disks] == ["vda", "vdb"]


def test_eight_disks_fit_into_a_running_machine(hypervisor: Hypervisor, spec: DomainSpec, folder: Path) -> None:
    hypervisor.ensure_running(spec)
    for letter in "bcdefghi":
        hypervisor.ensure_disk_attached(spec.id, raw_disk(folder, f"vd{letter}"))
    with pytest.raises(HypervisorRefused, match="could not plug disk vdj"):
        hypervisor.ensure_disk_attached(spec.id, raw_disk(folder, "vdj"))
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert len(observed.disks) == 9


def test_disk_at_a_taken_device_is_refused(hypervisor: Hypervisor, spec: DomainSpec, folder: Path) -> None:
    hypervisor.ensure_running(spec)
    with pytest.raises(DeviceConflict, match="vda is taken"):
        hypervisor.ensure_disk_attached(spec.id, replace(raw_disk(folder, "vdb"), device="vda"))


def test_guest_that_does_not_let_go_of_a_disk_is_still_waited_for(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path
) -> None:
    hypervisor.ensure_running(spec)
    eventually(lambda: greeted(hypervisor, spec.id))
    hypervisor.ensure_disk_attached(spec.id, raw_disk(folder, "vdb"))
    for _ in range(2):
        assert hypervisor.ensure_disk_detached(spec.id, "vdb", patience_seconds=0.5) is False
    hypervisor.ensure_off(spec.id)
    assert hypervisor.ensure_disk_detached(spec.id, "vdb") is True
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert [each.device for each in observed.disks] == ["vda"]


def test_disk_of_a_hibernated_machine_can_not_be_unplugged(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_hibernated(spec.id)
    with pytest.raises(WrongPower, match="hibernated"):
        hypervisor.ensure_disk_detached(spec.id, "vda")


def test_interface_is_plugged_into_its_bridge_under_its_name(
    hypervisor: Hypervisor, spec: DomainSpec, bridge: str
) -> None:
    first = DomainInterface(f"t{secrets.token_hex(4)}", bridge, "52:54:00:00:00:01")
    second = DomainInterface(f"t{secrets.token_hex(4)}", bridge, "52:54:00:00:00:02")
    hypervisor.ensure_running(replace(spec, interfaces=(first,)))
    for _ in range(2):
        hypervisor.ensure_interface_attached(spec.id, second)
    assert {path.name for path in Path(f"/sys/class/net/{bridge}/brif").iterdir()} == {first.tap, second.tap}
    observed = hypervisor.observe(spec.id)
    assert observed is not None
    assert [(each.tap, each.mac) for each in observed.interfaces] == [
        (first.tap, first.mac),
        (second.tap, second.mac),
    ]
    with pytest.raises(DeviceConflict, match=second.tap):
        hypervisor.ensure_interface_attached(spec.id, replace(second, mac="52:54:00:00:00:03"))
    hypervisor.ensure_off(spec.id)
    assert not Path(f"/sys/class/net/{second.tap}").exists()
    assert hypervisor.ensure_interface_detached(spec.id, second.tap) is True


def test_clone_leaves_its_image_to_its_owner(hypervisor: Hypervisor, spec: DomainSpec, folder: Path) -> None:
    image, clones = folder / "image.qcow2", []
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(spec.disks[0].source), str(image)]
    subprocess.run(convert, check=True, timeout=30)
    image.chmod(0o444)
    for device in ("vda", "vdb"):
        path = folder / f"{device}.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2", str(path)]
        subprocess.run(create, check=True, timeout=30)
        clones.append(DomainDisk(path, "qcow2", device, bases=(BaseImage(image, "qcow2"),)))
    hypervisor.ensure_running(replace(spec, disks=(clones[0],)))
    hypervisor.ensure_disk_attached(spec.id, clones[1])
    eventually(lambda: greeted(hypervisor, spec.id))
    assert image.stat().st_uid == 0
    assert clones[1].source.stat().st_uid != 0
    hypervisor.copy_disk(spec.id, "vda", folder / "copy.qcow2")
    hypervisor.ensure_hibernated(spec.id)
    hypervisor.ensure_running(spec)
    assert image.stat().st_uid == 0


def test_running_disk_grows_and_never_shrinks(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    hypervisor.ensure_running(spec)
    for size_bytes in (4 * MIB, 4 * MIB, 2 * MIB):
        hypervisor.grow_disk(spec.id, "vda", size_bytes)
        assert spec.disks[0].source.stat().st_size == 4 * MIB


def test_copy_of_a_running_disk_is_whole_and_leaves_nothing_else(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path
) -> None:
    hypervisor.ensure_running(spec)
    hypervisor.ensure_disk_attached(spec.id, raw_disk(folder, "vdb"))
    copies = folder / "copies"
    copies.mkdir()
    for name in ("first.qcow2", "second.qcow2"):
        hypervisor.copy_disk(spec.id, "vda", copies / name)
    assert {path.name for path in copies.iterdir()} == {"first.qcow2", "second.qcow2"}
    hypervisor.ensure_off(spec.id)
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2"]
    subprocess.run([*compare, str(spec.disks[0].source), str(copies / "first.qcow2")], check=True, timeout=30)


def test_copy_that_fails_leaves_nothing_and_the_guest_running(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path
) -> None:
    hypervisor.ensure_running(spec)
    with pytest.raises(MachineError):
        hypervisor.copy_disk(spec.id, "vda", folder / "nowhere" / "copy.qcow2")
    with pytest.raises(MachineError, match="vdz"):
        hypervisor.copy_disk(spec.id, "vdz", folder / "copy.qcow2")
    assert power(hypervisor, spec.id) is Power.RUNNING
    hypervisor.copy_disk(spec.id, "vda", folder / "copy.qcow2")


@pytest.fixture
def large_disk(folder: Path) -> DomainDisk:
    """So large that its copy takes a moment."""
    path = folder / "large.raw"
    with path.open("wb") as file:
        for _ in range(256):
            file.write(secrets.token_bytes(MIB))
    return DomainDisk(path, "raw", "vdb")


def test_copy_that_a_crash_left_running_gives_way_to_the_next(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path, large_disk: DomainDisk
) -> None:
    hypervisor.ensure_running(replace(spec, disks=(*spec.disks, large_disk)))
    target = folder / "copy.qcow2"
    begin = (
        "import libvirt, os, sys\n"
        "libvirt.open(sys.argv[1]).lookupByUUIDString(sys.argv[2]).backupBegin(sys.argv[3], None)\n"
        "os._exit(9)"
    )
    xml = backup_xml("vdb", folder / ".copy.qcow2.partial", ("vda", "vdb"))
    crashed = subprocess.run([sys.executable, "-c", begin, URI, str(spec.id), xml], check=False, timeout=60)
    assert crashed.returncode == 9
    hypervisor.copy_disk(spec.id, "vdb", target)
    hypervisor.ensure_off(spec.id)
    compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2"]
    subprocess.run([*compare, str(large_disk.source), str(target)], check=True, timeout=60)
    assert not (folder / ".copy.qcow2.partial").exists()


def test_copy_that_takes_too_long_is_aborted(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path, large_disk: DomainDisk
) -> None:
    hypervisor.ensure_running(replace(spec, disks=(*spec.disks, large_disk)))
    with pytest.raises(MachineError, match="longer than"):
        hypervisor.copy_disk(spec.id, "vdb", folder / "copy.qcow2", limit_seconds=0)
    assert {path.name for path in folder.iterdir()} == {"consoles", "large.raw", "root.raw"}
    hypervisor.copy_disk(spec.id, "vda", folder / "copy.qcow2")


def test_running_machine_is_measured(hypervisor: Hypervisor, spec: DomainSpec, bridge: str) -> None:
    interface = DomainInterface(f"t{secrets.token_hex(4)}", bridge, "52:54:00:00:00:01")
    hypervisor.ensure_running(replace(spec, interfaces=(interface,)))
    eventually(lambda: greeted(hypervisor, spec.id))
    measured_machines = hypervisor.statistics()
    assert set(measured_machines) == {spec.id}
    measured = measured_machines[spec.id]
    assert measured.cpu_seconds > 0
    assert measured.memory_mib == 64
    assert [(disk.device, disk.capacity_bytes) for disk in measured.disks] == [("vda", MIB)]
    assert measured.disks[0].read_bytes >= 512
    assert [each.tap for each in measured.interfaces] == [interface.tap]


# Events and losses


@dataclass
class Seen:
    events: queue.SimpleQueue[tuple[UUID | None, MachineEvent]]

    def wait_for(self, machine_id: UUID | None, kind: EventKind, limit_seconds: float = 30) -> None:
        deadline = time.monotonic() + limit_seconds
        while (remaining := deadline - time.monotonic()) > 0:
            seen_id, event = self.events.get(timeout=remaining)
            if (seen_id, event.kind) == (machine_id, kind):
                return
        pytest.fail(f"no {kind} of {machine_id}")


@pytest.fixture
def seen(hypervisor: Hypervisor) -> Iterator[Seen]:
    events: queue.SimpleQueue[tuple[UUID | None, MachineEvent]] = queue.SimpleQueue()
    watch = hypervisor.watch(lambda machine_id, event: events.put((machine_id, event)))
    yield Seen(events)
    watch.stop()


def test_life_of_a_machine_is_told(hypervisor: Hypervisor, spec: DomainSpec, seen: Seen) -> None:
    seen.wait_for(None, EventKind.CONNECTED)
    hypervisor.ensure_running(spec)
    seen.wait_for(spec.id, EventKind.STARTED)
    hypervisor.ensure_paused(spec.id)
    seen.wait_for(spec.id, EventKind.PAUSED)
    hypervisor.ensure_running(spec)
    seen.wait_for(spec.id, EventKind.RESUMED)
    hypervisor.reset(spec.id)
    seen.wait_for(spec.id, EventKind.REBOOTED)
    hypervisor.absent(spec.id)
    seen.wait_for(spec.id, EventKind.STOPPED)
    seen.wait_for(spec.id, EventKind.UNDEFINED)


def test_definitions_are_not_told_so_that_converging_upon_events_rests(
    hypervisor: Hypervisor, spec: DomainSpec, seen: Seen
) -> None:
    hypervisor.ensure_running(spec)
    seen.wait_for(spec.id, EventKind.STARTED)
    for _ in range(3):
        hypervisor.ensure_running(spec)
    hypervisor.ensure_paused(spec.id)
    while (event := seen.events.get(timeout=10)[1].kind) is not EventKind.PAUSED:
        assert event in (EventKind.RESUMED, EventKind.GUEST_AGENT)


class Relay:
    """A socket before libvirt's own, which can be cut: a libvirtd that goes away and comes back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def up(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._path.unlink(missing_ok=True)
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other side was faster
                continue
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # cut
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(LIBVIRT_SOCKET))
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:  # cut
            return


def test_lost_hypervisor_is_said_to_be_unavailable_and_found_again(
    hypervisor: Hypervisor, spec: DomainSpec, folder: Path
) -> None:
    relay = Relay(folder / "relay")
    relay.up()
    uri = f"qemu+unix:///system?socket={folder / 'relay'}"
    driver = Hypervisor(uri, hypervisor.cloud_tag, domain_type="qemu", console_directory=folder / "consoles")
    events: queue.SimpleQueue[tuple[UUID | None, MachineEvent]] = queue.SimpleQueue()
    seen = Seen(events)
    watch = driver.watch(lambda machine_id, event: events.put((machine_id, event)))
    seen.wait_for(None, EventKind.CONNECTED)
    driver.ensure_running(spec)
    relay.down()
    with pytest.raises(HypervisorUnavailable, match="could not"):
        driver.machines()
    relay.up()
    seen.wait_for(None, EventKind.CONNECTED)
    assert driver.machines() == {spec.id}
    driver.ensure_paused(spec.id)
    seen.wait_for(spec.id, EventKind.PAUSED)
    watch.stop()
    driver.close()
    relay.down()


# With a guest that has an operating system


@needs_image
def test_guest_that_is_asked_shuts_down_by_itself(hypervisor: Hypervisor, linux: DomainSpec) -> None:
    start_linux(hypervisor, linux)
    hypervisor.request_shutdown(linux.id)
    eventually(lambda: power(hypervisor, linux.id) is Power.OFF, 60)
    observed = hypervisor.observe(linux.id)
    assert observed is not None
    assert observed.reason is Reason.GUEST_SHUTDOWN


@needs_image
def test_guest_lets_go_of_what_is_unplugged(
    hypervisor: Hypervisor, linux: DomainSpec, folder: Path, bridge: str
) -> None:
    interface = DomainInterface(f"t{secrets.token_hex(4)}", bridge, "52:54:00:00:00:02")
    start_linux(hypervisor, linux)
    hypervisor.ensure_disk_attached(linux.id, raw_disk(folder, "vdb"))
    hypervisor.ensure_interface_attached(linux.id, interface)
    time.sleep(2)
    assert hypervisor.ensure_disk_detached(linux.id, "vdb", patience_seconds=30) is True
    assert hypervisor.ensure_interface_detached(linux.id, interface.tap, patience_seconds=30) is True
    observed = hypervisor.observe(linux.id)
    assert observed is not None
    assert [each.device for each in observed.disks] == ["vda"]
    assert observed.interfaces == ()
    hypervisor.ensure_disk_attached(linux.id, raw_disk(folder, "vdb"))


@needs_image
def test_copy_of_a_clone_needs_nothing_of_its_image(hypervisor: Hypervisor, linux: DomainSpec, folder: Path) -> None:
    hypervisor.ensure_running(linux)
    copy = folder / "copy.qcow2"
    hypervisor.copy_disk(linux.id, "vda", copy)
    hypervisor.ensure_off(linux.id)
    info = subprocess.run(["qemu-img", "info", "-f", "qcow2", str(copy)], check=True, timeout=30, capture_output=True)
    assert b"backing file" not in info.stdout
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(copy)], check=True, timeout=60)


@needs_image
def test_guest_reads_its_seed(hypervisor: Hypervisor, linux: DomainSpec, folder: Path) -> None:
    seed, name = folder / "seed.iso", f"n{secrets.token_hex(4)}"
    write_seed(seed, instance_id=str(linux.id), hostname=name)
    hypervisor.ensure_running(replace(linux, seed=seed))
    eventually(lambda: f"{name} login:".encode() in console(hypervisor, linux.id), 90)


# The probe


def test_boot_sector_runs_under_emulation() -> None:
    assert probe.boot_sector_failure("tcg") is None


def test_probe_answers_with_a_reason() -> None:
    answer = probe.probe()
    assert answer.domain_type in ("kvm", "qemu")
    assert answer.reason


@needs_image
def test_image_runs_under_emulation_and_is_not_written_to() -> None:
    image = Path(str(IMAGE))
    before = image.stat().st_mtime_ns
    assert probe.image_failure(image, 120, "tcg") is None
    assert image.stat().st_mtime_ns == before


def test_image_that_does_not_come_up_is_a_failure(folder: Path) -> None:
    empty = folder / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "1M"], check=True, timeout=30)
    failure = probe.image_failure(empty, 1, "tcg")
    assert failure is not None
    assert "empty.qcow2" in failure
