"""The pool where it needs root: a file system that is full, and QEMU's own user reading through libvirt."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest

from backends.disks.errors import InUse, PoolFull
from backends.disks.inspect import ImageFormat
from backends.disks.pool import DiskPool, Volume, disk, root_disk

MIB = 1024 * 1024
QEMU_GROUP = "libvirt-qemu"


pytestmark = pytest.mark.usefixtures("libvirt_daemons")


@pytest.fixture
def small_pool(tmp_path: Path) -> Iterator[DiskPool]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", tmp_path], check=True, timeout=20)
    pool = DiskPool(tmp_path / "pool")
    pool.prepare()
    yield pool
    subprocess.run(["umount", tmp_path], check=True, timeout=20)


def files(pool: DiskPool) -> list[Path]:
    return [path for path in pool.folder.rglob("*") if path.is_file()]


def test_full_pool_takes_no_image_and_keeps_no_half(small_pool: DiskPool) -> None:
    with tempfile.NamedTemporaryFile() as source:
        source.write(b"x" * 12 * MIB)
        source.flush()
        with pytest.raises(PoolFull, match="no room"):
            small_pool.import_image(uuid4(), Path(source.name))
    assert files(small_pool) == []


def test_full_pool_makes_no_half_copy(small_pool: DiskPool) -> None:
    volume = disk(uuid4())
    small_pool.ensure_blank(volume, 16 * MIB)
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 5M", str(small_pool.path(volume))]
    subprocess.run(write, check=True, capture_output=True, timeout=20)
    with pytest.raises(PoolFull):
        small_pool.ensure_copy(disk(uuid4()), volume)
    with pytest.raises(PoolFull):
        small_pool.ensure_image_of(uuid4(), volume)
    assert files(small_pool) == [small_pool.path(volume)]
    assert small_pool.capacity().total_bytes == 8 * MIB


@pytest.fixture
def pool() -> Iterator[DiskPool]:
    folder = Path(tempfile.mkdtemp(prefix="altostratus-test-", dir="/var/lib"))
    pool = DiskPool(folder, group=QEMU_GROUP)
    pool.prepare()
    yield pool
    shutil.rmtree(folder)


def domain_xml(pool: DiskPool, volume: Volume) -> str:
    own, base = pool.chain(volume)
    return f"""
<domain type="qemu">
  <name>{pool.folder.name}</name>
  <memory unit="MiB">64</memory>
  <os><type arch="x86_64" machine="q35">hvm</type></os>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="{own.format}"/>
      <source file="{own.path}"/>
      <backingStore type="file">
        <format type="{base.format}"/>
        <source file="{base.path}"><seclabel model="dac" relabel="no"/></source>
        <backingStore/>
      </backingStore>
      <target dev="vda" bus="virtio"/>
    </disk>
  </devices>
</domain>"""


def test_machine_starts_from_a_clone_and_its_image_stays_roots(pool: DiskPool, tmp_path: Path) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(b"not bootable, but readable".ljust(4 * MIB, b"."))
    image, root = uuid4(), root_disk(uuid4())
    facts = pool.import_image(image, source, declared=ImageFormat.RAW)
    pool.ensure_clone(root, image, 8 * MIB)

    connection = libvirt.open("qemu:///system")
    try:
        domain = connection.createXML(domain_xml(pool, root), libvirt.VIR_DOMAIN_START_PAUSED)
        try:
            stored = pool.image_file(image).path
            assert stored.owner() == "root"
            assert stored.stat().st_mode & 0o777 == 0o440
            with pytest.raises(InUse):
                pool.ensure_size(root, 16 * MIB)
            assert pool.facts(root).size_bytes == 8 * MIB
        finally:
            domain.destroy()
    finally:
        connection.close()
    pool.ensure_size(root, 16 * MIB)
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == facts.sha256
