"""What a storage host keeps its disks in, on real file systems and a real thin pool, as initiators see it."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backends.disks.errors import NotThere, PoolFull
from backends.disks.iscsi import Grant, Targets, TargetSpec
from backends.disks.raw_files import RawFiles
from backends.disks.thin_volumes import ThinVolumes
from backends.disks.volumes import Volumes
from tests.lab.conftest import ADDRESS, MIB, as_shown, grant, initiator, log_in, portal_url, traces

POOL = "pool"
POOL_BYTES = 48 * MIB


@contextmanager
def loop_device(folder: Path, size_bytes: int) -> Iterator[str]:
    file = folder / "device"
    with file.open("wb") as made:
        made.truncate(size_bytes)
    device = run("losetup", "--find", "--show", str(file)).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A volume group with a thin pool that answers with an error when it is full; no udev serves it here."""
    name = f"lab{secrets.token_hex(4)}"
    with loop_device(tmp_path_factory.mktemp("group"), 80 * MIB) as device:
        lvm("vgcreate", name, device)
        how = ("--type", "thin-pool", "--poolmetadatasize", "4m", "--size", f"{POOL_BYTES}b")
        lvm("lvcreate", "--yes", *how, "--name", POOL, name)
        lvm("lvchange", "--errorwhenfull", "y", f"{name}/{POOL}")
        yield name
        assert not [path for path in Path("/dev/mapper").iterdir() if "as1ab0" in path.name]
        lvm("vgremove", "--yes", name)


@pytest.fixture
def thin(group: str) -> Iterator[ThinVolumes]:
    made = ThinVolumes("as1ab0", group, POOL)
    yield made
    for disk in made.disks():
        made.absent(disk)


@pytest.fixture(scope="module")
def cloning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawFiles]:
    """Files on XFS, which clones them."""
    folder = tmp_path_factory.mktemp("xfs")
    with loop_device(folder, 320 * MIB) as device:
        run("mkfs.xfs", "-q", device)
        (folder / "mounted").mkdir()
        run("mount", device, str(folder / "mounted"))
        files = RawFiles(folder / "mounted" / "served")
        files.prepare()
        yield files
        run("umount", str(folder / "mounted"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RawFiles]:
    """Files on a file system of 8 MiB that doesn't clone."""
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path))
    files = RawFiles(tmp_path / "served")
    files.prepare()
    yield files
    run("umount", str(tmp_path))


def test_volumes_of_others_in_the_group_are_left_alone(thin: ThinVolumes, group: str) -> None:
    other, disk = ThinVolumes("as0f0f", group, POOL), uuid4()
    other.ensure_blank(disk, 4 * MIB)
    assert thin.disks() == set()
    thin.absent(disk)
    with pytest.raises(NotThere, match=str(disk)):
        thin.shares(uuid4(), disk)
    assert other.disks() == {disk}
    other.absent(disk)


def test_pool_that_is_none_or_shows_what_was_in_it_is_refused(group: str) -> None:
    with pytest.raises(NotThere, match="is no thin pool"):
        ThinVolumes("as1ab0", group, "nothing").prepare()
    lvm("lvchange", "--yes", "--zero", "n", f"{group}/{POOL}")
    try:
        with pytest.raises(NotThere, match="doesn't zero"):
            ThinVolumes("as1ab0", group, POOL).prepare()
    finally:
        lvm("lvchange", "--yes", "--zero", "y", f"{group}/{POOL}")


def test_volume_that_is_not_active_becomes_so(thin: ThinVolumes, group: str) -> None:
    """As after a boot, and after a crash between the making and the activation."""
    disk = uuid4()
    thin.ensure_blank(disk, 4 * MIB)
    for step in (thin.prepare, lambda: thin.ensure_blank(disk, 4 * MIB)):
        lvm("lvchange", "--activate", "n", f"{group}/{thin.path(disk).name}")
        assert not thin.path(disk).is_block_device()
        step()
        assert thin.path(disk).is_block_device()


def test_volume_is_served_grown_and_copied_as_a_file_is(targets: Targets, thin: ThinVolumes) -> None:
    served_grown_and_copied(targets, thin)


def test_file_is_served_grown_and_copied_while_it_is_written_where_the_file_system_clones(
    targets: Targets, cloning: RawFiles
) -> None:
    served_grown_and_copied(targets, cloning)


def served_grown_and_copied(targets: Targets, volumes: Volumes) -> None:
    disk, copy, guest = uuid4(), uuid4(), grant()
    for _ in range(2):
        volumes.ensure_blank(disk, 16 * MIB)
    unit = targets.ensure_target(TargetSpec(disk, volumes.path(disk), 16 * MIB, (guest,)))
    assert as_shown(unit.logical_unit_name) in log_in(targets, disk, guest)
    url = portal_url(guest, f"{targets.target_name(disk)}/0")
    assert put(targets, disk, guest, 1)
    assert volumes.shares(copy, disk)
    assert put(targets, disk, guest, 2)
    assert read(volumes, copy, 4096) == b"\1" * 4096
    for _ in range(2):
        volumes.ensure_size(disk, 32 * MIB)
    targets.ensure_target(TargetSpec(disk, volumes.path(disk), 32 * MIB, (guest,)))
    assert str(32 * MIB) in initiator("iscsi-readcapacity16", guest, url, "-s").stdout
    targets.absent(disk)
    assert read(volumes, disk, 4096) == b"\2" * 4096
    assert traces(targets) == []
    assert volumes.disks() == {disk, copy}
    for _ in range(2):
        volumes.absent(disk)
    assert (volumes.disks(), size_of(volumes, copy)) == ({copy}, 16 * MIB)
    assert read(volumes, copy, 4096) == b"\1" * 4096
    volumes.absent(copy)


def test_readers_of_a_shared_disk_can_not_write(targets: Targets, small: RawFiles) -> None:
    disk, readers = uuid4(), (grant("first", read_only=True), grant("second", read_only=True))
    small.ensure_blank(disk, MIB)
    targets.ensure_target(TargetSpec(disk, small.path(disk), MIB, readers))
    for reader in readers:
        url = portal_url(reader, f"{targets.target_name(disk)}/0")
        assert str(MIB) in initiator("iscsi-readcapacity16", reader, url, "-s").stdout
        assert not put(targets, disk, reader, 1)
    assert read(small, disk, 4096) == bytes(4096)
    targets.absent(disk)


def test_full_file_system_fails_writes_and_copies_and_spoils_nothing(targets: Targets, small: RawFiles) -> None:
    assert not small.room().is_full
    keep, fill, guest = uuid4(), uuid4(), grant()
    for disk in (keep, fill):
        small.ensure_blank(disk, 64 * MIB)
    write(small, keep, b"kept" * 2**20)
    assert not small.shares(uuid4(), keep)
    targets.ensure_target(TargetSpec(fill, small.path(fill), 64 * MIB, (guest,)))
    assert not put(targets, fill, guest, 1, size_bytes=16 * MIB)
    assert small.room().is_full
    with pytest.raises(PoolFull):
        small.copy(uuid4(), keep)
    assert small.disks() == {keep, fill}
    assert read(small, keep, 4 * MIB) == b"kept" * 2**20
    assert read(small, fill, 4096) == b"\1" * 4096
    targets.absent(fill)
    small.absent(fill)
    assert not small.room().is_full
    small.copy(fill, keep)


def test_full_thin_pool_fails_writes_and_says_so(targets: Targets, thin: ThinVolumes) -> None:
    keep, fill, guest = uuid4(), uuid4(), grant()
    thin.ensure_blank(keep, 16 * MIB)
    write(thin, keep, b"kept" * 2**20)
    assert not thin.room().is_full
    thin.ensure_blank(fill, 4 * POOL_BYTES)
    targets.ensure_target(TargetSpec(fill, thin.path(fill), 4 * POOL_BYTES, (guest,)))
    assert not put(targets, fill, guest, 1, size_bytes=POOL_BYTES)
    assert thin.room().is_full
    assert read(thin, keep, 4 * MIB) == b"kept" * 2**20
    targets.absent(fill)
    thin.absent(fill)
    assert not thin.room().is_full


@pytest.mark.parametrize("kind", ["cloning", "thin"])
def test_killed_at_any_moment_of_a_copy_it_is_whole_or_not_there(kind: str, request: pytest.FixtureRequest) -> None:
    """The process dies before each program that it runs, each clone, and each renaming."""
    volumes: Volumes = request.getfixturevalue(kind)
    source = uuid4()
    volumes.ensure_blank(source, 8 * MIB)
    write(volumes, source, b"whole" * 1000)
    step, copy = 0, uuid4()
    while killed_before_step(step, lambda: volumes.shares(copy, source)):
        if kind == "cloning":
            volumes.prepare()
        volumes.shares(copy, source)
        assert read(volumes, copy, 5000) == b"whole" * 1000
        volumes.absent(copy)
        step += 1
    assert step > 1
    volumes.absent(copy)
    volumes.absent(source)
    assert volumes.disks() == set()


def killed_before_step(step: int, call: Callable[[], object]) -> bool:
    """In a child that kills itself before its program, clone or renaming of that number; False if it got to the end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*arguments: object, **named: object) -> object:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*arguments, **named)

            return wrapped

        subprocess.run = counted(subprocess.run)  # type: ignore[assignment]
        fcntl.ioctl = counted(fcntl.ioctl)  # type: ignore[assignment]
        Path.replace = counted(Path.replace)  # type: ignore[method-assign,assignment]
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def put(targets: Targets, disk: UUID, guest: Grant, byte: int, *, size_bytes: int = 4096) -> bool:
    """Whether so many of this byte, written to the start of the disk by its initiator, were taken."""
    options = {
        "driver": "iscsi", "transport": "tcp", "portal": f"{ADDRESS}:3260", "target": targets.target_name(disk),
        "lun": "0", "initiator-name": guest.initiator, "user": guest.initiator, "password-secret": "chap",
    }  # fmt: skip
    done = subprocess.run(
        [
            "qemu-io", "--object", f"secret,id=chap,data={guest.secret}",
            "-c", f"write -P {byte} 0 {size_bytes}", "-c", "flush",
            "--image-opts", ",".join(f"{name}={value}" for name, value in options.items()),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert re.search("wrote|write failed|write protected", done.stdout + done.stderr), done
    return done.returncode == 0


def write(volumes: Volumes, disk: UUID, content: bytes) -> None:
    with volumes.path(disk).open("r+b", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())


def read(volumes: Volumes, disk: UUID, length: int) -> bytes:
    """Past the page cache of what else has it open."""
    with volumes.path(disk).open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read(length)


def size_of(volumes: Volumes, disk: UUID) -> int:
    with volumes.path(disk).open("rb") as file:
        return file.seek(0, os.SEEK_END)


def lvm(program: str, *arguments: str) -> str:
    return run(program, "--config", "activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }", *arguments)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
