"""The default image on bare QEMU, without libvirt: what its guests promise to whoever starts one."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from tests.system.conftest import DEFAULT_IMAGE

BOOT_SECONDS = 300
STEP_SECONDS = 120


def wait_for(condition: Callable[[], Any], what: str, seconds: float = STEP_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen within {seconds} seconds")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_seed(path: Path, meta_data: str, user_data: str) -> None:
    seed = pycdlib.PyCdlib()
    seed.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in (("meta-data", meta_data), ("user-data", user_data)):
        content = text.encode()
        iso_name = f"/{name.replace('-', '').upper()}.;1"
        seed.add_fp(io.BytesIO(content), len(content), iso_name, rr_name=name, joliet_path=f"/{name}")
    seed.write(str(path))
    seed.close()


@dataclass
class Guest:
    """A running QEMU with the image's copy as its disk and a seed; SSH comes by a forwarded loopback port."""

    folder: Path
    disk: Path
    seed_device: str = "virtio-blk-pci"

    def __post_init__(self) -> None:
        self.port = free_port()
        self.console_path = self.folder / "console"
        self.console_path.write_text("")
        self.key = self.folder / "key"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True, timeout=20)
        self.monitor_path = self.folder / "monitor"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text().strip()

    def write_seed(self, instance: str, user_data: str) -> None:
        meta_data = f"instance-id: {instance}\nlocal-hostname: web-1\npublic-keys:\n  - {self.public_key}\n"
        write_seed(self.folder / "seed.iso", meta_data, user_data)

    def start(self) -> None:
        command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "256", "-nodefaults"]
        command += ["-display", "none", "-serial", f"file:{self.console_path}"]
        command += ["-qmp", f"unix:{self.monitor_path},server=on,wait=off"]
        command += ["-drive", f"file={self.disk},format=qcow2,if=none,id=root"]
        command += ["-device", "virtio-blk-pci,drive=root,bootindex=0"]
        command += ["-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci"]
        command += [
            "-device",
            "pcie-root-port,id=spare0,chassis=1",
            "-device",
            "pcie-root-port,id=spare1,chassis=2",
        ]
        seed = self.folder / "seed.iso"
        if seed.exists():
            command += ["-drive", f"file={seed},format=raw,if=none,id=seed,readonly=on"]
            if self.seed_device == "scsi-cd":
                command += ["-device", "virtio-scsi-pci"]
            command += ["-device", f"{self.seed_device},drive=seed"]
        self.process = subprocess.Popen(command)

    def console(self) -> str:
        return self.console_path.read_text(errors="replace")

    def wait_for_console(self, text: str, seconds: float = BOOT_SECONDS) -> None:
        wait_for(lambda: text in self.console(), f"{text!r} on the console", seconds)

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        options = "BatchMode=yes StrictHostKeyChecking=no UserKnownHostsFile=/dev/null ConnectTimeout=4"
        arguments = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.port)]
        arguments += [part for option in options.split() for part in ("-o", option)]
        arguments += ["root@127.0.0.1", command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)

    def output(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.console()}"
        return done.stdout.strip()

    def wait_for_ssh(self) -> None:
        wait_for(lambda: self.ssh("true").returncode == 0, "SSH with the seed's key", BOOT_SECONDS)

    def monitor(self, *commands: tuple[str, dict[str, Any]]) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STEP_SECONDS)
            connection.connect(str(self.monitor_path))
            lines = connection.makefile("rw")
            lines.readline()
            for name, arguments in (("qmp_capabilities", {}), *commands):
                lines.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    assert "error" not in answer, f"{name}: {answer}"

    def wait_until_off(self) -> None:
        assert self.process is not None
        assert self.process.wait(timeout=STEP_SECONDS) == 0
        self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=STEP_SECONDS)
            self.process = None


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    disk = tmp_path / "disk.qcow2"
    shutil.copyfile(DEFAULT_IMAGE, disk)
    machine = Guest(tmp_path, disk)
    yield machine
    machine.kill()


def test_seed_gives_name_key_and_a_script_that_runs_once(guest: Guest) -> None:
    guest.write_seed("one", "#!/bin/bash\necho ran as $(id -un) on $(hostname)\necho once >>/root/count\n")
    guest.start()
    guest.wait_for_ssh()
    guest.wait_for_console("user-data: finished with status 0")

    assert "ran as root on web-1" in guest.console()
    assert guest.output("hostname") == "web-1"
    assert guest.output("ip -4 -o address show dev eth0").split()[3] == "10.0.2.15/24"
    fingerprint = re.search(r"SHA256:\S+", guest.console())
    assert fingerprint is not None
    for _ in range(5):  # one connection may still meet the server busy making its key
        scan = subprocess.run(
            ["ssh-keyscan", "-T", "30", "-t", "ed25519", "-p", str(guest.port), "127.0.0.1"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if scan.stdout:
            break
    listing = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"],
        input=scan.stdout,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert fingerprint.group() in listing.stdout

    guest.output("echo kept >/root/kept; sync; poweroff")
    guest.wait_until_off()
    guest.start()
    guest.wait_for_ssh()
    assert guest.output("cat /root/kept /root/count") == "kept\nonce"


def test_power_button_shuts_it_down_cleanly(guest: Guest) -> None:
    guest.write_seed("one", "")
    guest.start()
    guest.wait_for_ssh()
    guest.output("echo unsynced >/root/unsynced")
    guest.monitor(("system_powerdown", {}))
    guest.wait_until_off()
    guest.start()
    guest.wait_for_ssh()
    assert guest.output("cat /root/unsynced") == "unsynced"
    guest.ssh("reboot")
    wait_for(lambda: guest.console().count("web-1 login:") >= 2, "the login prompt after a reboot", BOOT_SECONDS)


def test_nobody_logs_in_with_a_password_or_without_a_seed(guest: Guest) -> None:
    guest.start()
    guest.wait_for_console("login:")
    guest.wait_for_console("eth0: 10.0.2.15")
    refused = wait_for(
        lambda: (answer := guest.ssh("true")).stderr.strip() and "refused" not in answer.stderr and answer,
        "an answer from the SSH server",
    )
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_cloud_config_on_a_scsi_cd(guest: Guest) -> None:
    guest.seed_device = "scsi-cd"
    other_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7cXqfYvGHgq1Wkq7Jm3n8Rl0V5cTg7x2l9yS1Qw2aB second@example.org"
    guest.write_seed(
        "two",
        f"""#cloud-config
# a comment
hostname: 'db-1'
ssh_authorized_keys:
  - {other_key}
packages: [nginx]
password: for the console only
write_files:
  - path: /etc/app/settings.ini
    permissions: '0640'
    content: |
      [main]
        indented = "yes"

      last = 1
  - path: /etc/app/line
    content: "a\\tb"
runcmd:
  - echo "plain $HOME" > /root/plain   # with a shell
  - [sh, -c, 'echo "listed, $0" > /root/listed', it's]
  - |
    for word in x y; do
      echo $word
    done > /root/block
""",
    )
    guest.start()
    guest.wait_for_console("user-data: finished with status 0")
    guest.wait_for_ssh()
    assert "seed: packages is not supported" in guest.console()
    assert guest.output("hostname") == "db-1"
    assert guest.output("grep -c '^root:[$]6[$]' /etc/shadow") == "1"
    assert other_key in guest.output("cat /root/.ssh/authorized_keys")
    assert guest.output("cat /etc/app/settings.ini") == '[main]\n  indented = "yes"\n\nlast = 1'
    assert guest.output("stat -c %a /etc/app/settings.ini") == "640"
    assert guest.output("cat /etc/app/line") == "a\tb"
    assert guest.output("cat /root/plain /root/listed /root/block") == "plain /root\nlisted, it's\nx\ny"


def test_root_file_system_fills_a_larger_disk(guest: Guest) -> None:
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", guest.disk, "3G"], check=True, timeout=20)
    guest.write_seed("one", "")
    guest.start()
    guest.wait_for_ssh()
    assert int(guest.output("df -m / | tail -n 1").split()[1]) > 2700


def test_disk_and_network_card_are_hot_plugged(guest: Guest) -> None:
    extra = guest.folder / "extra.raw"
    with extra.open("wb") as blank:
        blank.truncate(16 * 1024 * 1024)
    guest.write_seed("one", "")
    guest.start()
    guest.wait_for_ssh()
    node = {"driver": "raw", "node-name": "extra", "file": {"driver": "file", "filename": str(extra)}}
    disk = {"driver": "virtio-blk-pci", "id": "extra", "drive": "extra", "bus": "spare0", "serial": "extra"}
    card = {"driver": "virtio-net-pci", "id": "card", "netdev": "n1", "bus": "spare1"}
    guest.monitor(
        ("blockdev-add", node),
        ("device_add", disk),
        ("netdev_add", {"type": "user", "id": "n1", "net": "10.7.0.0/24", "ipv6-prefix": "fd00:7::"}),
        ("device_add", card),
    )
    wait_for(lambda: guest.ssh("grep -l extra /sys/block/vd*/serial").returncode == 0, "the new disk")
    guest.wait_for_console("eth1: 10.7.0.15/24", STEP_SECONDS)
    answers_by_eth1 = "ip route get 10.0.2.99 from 10.7.0.15 | grep 'dev eth1' && ip -6 rule | grep 'from fd00:7:'"
    wait_for(lambda: guest.ssh(answers_by_eth1).returncode == 0, "the new card's own routes")
    guest.monitor(("device_del", {"id": "extra"}), ("device_del", {"id": "card"}))
    wait_for(lambda: guest.ssh("grep -l extra /sys/block/vd*/serial").returncode != 0, "the disk's removal")
    wait_for(lambda: guest.ssh("test -e /sys/class/net/eth1").returncode == 1, "the card's removal")
    assert guest.ssh("ps | grep '[u]dhcpc -i eth1'").returncode == 1
    wait_for(lambda: guest.ssh("ip rule | grep 10.7.0.15").returncode == 1, "the end of the card's own routes")
