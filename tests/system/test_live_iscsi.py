"""A guest's disk on another host: LIO in a lab machine, reached by QEMU's own initiator through a forwarded port.

The compute host is this machine, the storage host a lab machine (deploy/lab), the guests boot the default image.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backends.machines.errors import HypervisorRefused
from backends.machines.hypervisor import Hypervisor
from backends.machines.seed import write_seed
from backends.machines.spec import DomainDisk, DomainSpec, IscsiSource
from backends.model import Architecture
from tests.conftest import repository, wait_until
from tests.system.conftest import DEFAULT_IMAGE, free_port

pytestmark = [
    pytest.mark.usefixtures("libvirt_daemons"),
    pytest.mark.skipif(not DEFAULT_IMAGE.exists(), reason="the default image is not built: make image"),
    pytest.mark.timeout(900),
]

MIB = 2**20
BOOT_LIMIT_S = 300
"""Two machines are emulated at once on what may be two busy cores."""
WRITER = """#!/bin/sh
echo waiting-for-the-disk
until [ -b /dev/vdb ]; do sleep 0.2; done
mke2fs -q /dev/vdb && mkdir -p /data && mount -t ext4 /dev/vdb /data || exit 1
dd if=/dev/urandom of=/data/first bs=1M count=4 2>/dev/null
sync
echo first-written
i=0
while [ $i -lt 40 ]; do
    dd if=/dev/urandom of=/data/second bs=64k count=1 seek=$i conv=notrunc,fsync 2>/dev/null || exit 1
    i=$((i + 1))
    echo "block $i"
done
sync
sha256sum /data/first /data/second
echo all-written
while :; do sleep 1; done
"""
READER = """#!/bin/sh
mkdir -p /data && mount -t ext4 /dev/vdb /data || exit 1
sha256sum /data/first /data/second
umount /data
echo all-read
while [ -b /dev/vdb ]; do sleep 0.2; done
echo disk-is-gone
"""


@dataclass
class StorageHost:
    """A lab machine that serves what it is told."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    number: int = 0

    def serve(self, *disks: dict[str, object], away_s: float = 0) -> list[str]:
        """The targets' names once nothing but these is served; `away_s` is how long nothing is in between."""
        self.number += 1
        part = self.folder / "wanted.part"
        part.write_text(json.dumps({"number": self.number, "disks": disks, "away_s": away_s}))
        part.replace(self.folder / "wanted.json")
        self.wait_for(self.number)
        return list(json.loads((self.folder / "served.json").read_text())["targets"])

    def wait_for(self, number: int) -> None:
        def is_served() -> bool:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            served = self.folder / "served.json"
            return served.exists() and json.loads(served.read_text())["number"] == number

        wait_until(is_served, BOOT_LIMIT_S)


@pytest.fixture
def storage_host() -> Iterator[StorageHost]:
    folder, port = Path(tempfile.mkdtemp(prefix="altostratus-storage.")), free_port()
    clone = repository()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, clone / "deploy/lab/run", "--seconds", "850", "--forward", str(port),
                "--share", folder, "env", f"PYTHONPATH={clone}", sys.executable,
                clone / "tests/lab/storage_host.py", folder,
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    host = StorageHost(folder, port, process)
    try:
        host.wait_for(0)
        yield host
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where QEMU's own user may go, which pytest's folders don't let it."""
    path = Path(tempfile.mkdtemp(prefix="altostratus-test-", dir="/var/tmp"))
    path.chmod(0o755)
    shutil.copyfile(DEFAULT_IMAGE, path / "base.qcow2")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def hypervisor(folder: Path) -> Iterator[Hypervisor]:
    driver = Hypervisor(
        "qemu:///system", f"t{secrets.token_hex(3)}", domain_type="qemu", console_directory=folder / "consoles"
    )
    yield driver
    for machine_id in driver.machines():
        driver.absent(machine_id)
    for secret_id in driver.secrets():
        driver.secret_absent(secret_id)
    assert driver.secrets() == set()
    driver.close()


@dataclass
class Guest:
    """A machine of the default image that runs a script at its first start."""

    hypervisor: Hypervisor
    spec: DomainSpec
    seen: list[str] = field(default_factory=list)

    @property
    def console(self) -> str:
        return self.hypervisor.console_log_path(self.spec.id).read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        def has_said() -> bool:
            assert "user-data: finished with status 1" not in self.console, self.console[-2000:]
            return words in self.console

        wait_until(has_said, BOOT_LIMIT_S)

    def sums(self) -> dict[str, str]:
        return {name: digest for digest, name in re.findall(r"([0-9a-f]{64})  (/data/\w+)", self.console)}

    def kill(self) -> None:
        """As a loss of power would: nothing is flushed any more."""
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and (process / "cmdline").exists():
                command = (process / "cmdline").read_bytes()
                if command.startswith(b"/usr/bin/qemu-system") and str(self.spec.id).encode() in command:
                    os.kill(int(process.name), signal.SIGKILL)
                    return
        raise AssertionError(f"no emulator of machine {self.spec.id}")


def make_guest(hypervisor: Hypervisor, folder: Path, script: str, *disks: DomainDisk) -> Guest:
    machine_id = uuid4()
    root, seed = folder / f"{machine_id}.qcow2", folder / f"{machine_id}.iso"
    backing = ["-b", str(folder / "base.qcow2"), "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(root)], check=True, timeout=60)
    write_seed(seed, instance_id=str(machine_id), hostname="guest", ssh_keys=(), user_data=script.encode())
    spec = DomainSpec(
        machine_id, None, 1, 256, None, Architecture.X64, (DomainDisk(root, "qcow2", "vda"), *disks), (), seed
    )
    return Guest(hypervisor, spec)


def test_what_a_guest_wrote_survives_the_target_s_restart_and_the_guest_s_death(
    storage_host: StorageHost, hypervisor: Hypervisor, folder: Path
) -> None:
    disk_id, attachment = uuid4(), uuid4()
    secret, initiator = secrets.token_hex(8), f"iqn.2026-01.local.altostratus:{hypervisor.cloud_tag}.{attachment}"
    served = {"id": str(disk_id), "size_bytes": 64 * MIB, "initiator": initiator, "secret": secret}
    (target,) = storage_host.serve(served)
    disk = DomainDisk(
        IscsiSource("127.0.0.1", storage_host.port, target, initiator, attachment), "raw", "vdb", disk_id.hex[:20]
    )
    writer = make_guest(hypervisor, folder, WRITER)
    hypervisor.ensure_running(writer.spec)
    writer.wait_for("waiting-for-the-disk")
    _is_refused_with_another_secret(hypervisor, writer, disk, attachment)
    hypervisor.ensure_secret(attachment, secret)
    for _ in range(2):
        hypervisor.ensure_disk_attached(writer.spec.id, disk)
    observed = hypervisor.observe(writer.spec.id)
    assert observed is not None
    assert [(each.device, each.source) for each in observed.disks][1:] == [("vdb", disk.source)]
    writer.wait_for("first-written")
    storage_host.serve(served, away_s=3)
    writer.wait_for("all-written")
    written = writer.sums()
    assert set(written) == {"/data/first", "/data/second"}
    writer.kill()
    wait_until(lambda: not _is_running(hypervisor, writer.spec.id))
    hypervisor.absent(writer.spec.id)

    reader = make_guest(hypervisor, folder, READER, disk)
    hypervisor.ensure_running(reader.spec)
    reader.wait_for("all-read")
    assert reader.sums() == written
    wait_until(lambda: hypervisor.ensure_disk_detached(reader.spec.id, "vdb"), BOOT_LIMIT_S)
    reader.wait_for("disk-is-gone")


def _is_refused_with_another_secret(hypervisor: Hypervisor, guest: Guest, disk: DomainDisk, secret_id: UUID) -> None:
    hypervisor.ensure_secret(secret_id, "not-the-secret")
    with pytest.raises(HypervisorRefused, match="iSCSI") as refused:
        hypervisor.ensure_disk_attached(guest.spec.id, disk)
    assert "not-the-secret" not in refused.value.message
    assert isinstance(disk.source, IscsiSource)
    stranger = replace(disk.source, initiator=f"{disk.source.initiator}0")
    with pytest.raises(HypervisorRefused, match="iSCSI"):
        hypervisor.ensure_disk_attached(guest.spec.id, replace(disk, source=stranger))


def _is_running(hypervisor: Hypervisor, machine_id: UUID) -> bool:
    observed = hypervisor.observe(machine_id)
    return observed is not None and observed.power == "running"
