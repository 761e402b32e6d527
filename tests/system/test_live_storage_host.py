"""A cloud of two hosts: machines on this one, disks on a lab machine whose agent drives LIO; all of it through OCCI.

The storage host's agent reaches the gateway's PostgreSQL through the lab's relay, and guests reach its targets through
a forwarded port.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from live import Guest, User, eventually, inline_link, make_guest, make_key, remove
from test_live_disk_bytes import QCOW2, RAW, Disk, daemons, leftovers, qemu_img

from conformance.cdmi.dialect import DIALECTS
from conformance.command import run_cdmi, run_interop
from conformance.suite import Level, Outcome
from conformance.wire import Wire
from tests.conftest import repository, wait_until
from tests.system.conftest import AGENTS, DEFAULT_IMAGE, OS_TEMPLATE, Gateway, free_port, make_gateway

pytestmark = pytest.mark.timeout(1200)

MIB = 2**20
SERVED = "http://altostratus.local/occi/storage_tpl#iscsi"
READ_ONLY = "local.altostratus.storage.readonly"
WRITE = """
i=0
while [ $i -lt 24 ]; do
    dd if=/dev/urandom of=/data/file bs=64k count=1 seek=$i conv=notrunc,fsync 2>/dev/null || exit 1
    i=$((i + 1))
done
"""
IN_GUESTS = "permissions/standard-order,permissions/running,removal/detached"
"""What the suite of OCCI and CDMI does with a disk in a guest, and after."""
CONTAINER = "application/cdmi-container"
DATAOBJECT = "application/cdmi-object"
BOOT_LIMIT_S = 400
"""The lab and guests are emulated at once on what may be two busy cores."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of its own: with a storage host, new disks go there."""
    if os.geteuid() != 0:
        pytest.skip("the gateway makes domains and bridges, which needs root")
    gateway = make_gateway(tmp_path_factory.mktemp("two-hosts"), ALTOSTRATUS_SWEEP_S="5")
    gateway.start()
    yield gateway
    gateway.stop()


@dataclass(frozen=True)
class StorageHost:
    """A lab machine in which an agent is started again whenever it ends. It ends by kill -9 when `kill` is called."""

    name: str
    folder: Path

    def kill(self) -> None:
        (self.folder / "kill").touch()
        wait_until(lambda: not (self.folder / "kill").exists(), BOOT_LIMIT_S)


@pytest.fixture(scope="module")
def storage_host(gateway: Gateway) -> Iterator[StorageHost]:
    """Its agent is alive."""
    folder, port = Path(tempfile.mkdtemp(prefix="altostratus-storage.")), free_port()
    settings = {
        "ALTOSTRATUS_POOL": "iscsi",
        "ALTOSTRATUS_HOST_NAME": "store1",
        "ALTOSTRATUS_STATE": "/mnt/state",
        "ALTOSTRATUS_ISCSI_PORTAL": f"127.0.0.1:{port}",
        "ALTOSTRATUS_DATABASE": "host=10.0.2.100 port=5432 user=altostratus dbname=postgres sslmode=disable",
        "ALTOSTRATUS_SWEEP_S": "5",
        "ALTOSTRATUS_LOG_FORMAT": "json",
        "PYTHON": sys.executable,
        "FOLDER": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, repository() / "deploy/lab/run", "--seconds", "2000", "--forward", str(port),
                "--reach", gateway.state / "postgres/.s.PGSQL.5432",
                "--share", folder,
                "env", *(f"{name}={value}" for name, value in settings.items()), "sh", "-c", AGENTS,
            ],
            cwd=repository(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    def is_alive() -> bool:
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        with gateway.connect() as connection:
            return connection.execute("SELECT 1 FROM host WHERE name = 'store1'").fetchone() is not None

    try:
        wait_until(is_alive, BOOT_LIMIT_S)
        yield StorageHost("store1", folder)
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


def secrets_of(gateway: Gateway) -> list[str]:
    """libvirt's secrets in the cloud's name."""
    listed = subprocess.run(["virsh", "-q", "secret-list"], capture_output=True, text=True, timeout=30, check=True)
    return [line for line in listed.stdout.splitlines() if gateway.cloud_tag() in line]


def test_disk_of_a_storage_host_outlives_the_guests_that_write_and_read_it(
    gateway: Gateway, storage_host: StorageHost, user: User, tmp_path: Path
) -> None:
    made_from_image = user.make("storage", {"occi.storage.size": 0.5}, [OS_TEMPLATE, SERVED])
    disk = user.make_storage(0.0625, "served")
    eventually(lambda: user.state(disk) == "online", "the disk's being served", BOOT_LIMIT_S)
    with gateway.connect() as connection:
        row = connection.execute("SELECT host, pool FROM disk WHERE id = %s", [disk.rpartition("/")[2]]).fetchone()
    assert row == (storage_host.name, "iscsi")

    key = make_key(tmp_path)
    writer = make_guest(user, key)
    writer.wait_for_boot()
    link = _attached_when_its_portal_answers(gateway, user, writer.path, disk)
    eventually(lambda: writer.has_disk(disk), "the disk in the guest")
    device = writer.device(link)
    writer.output(f"mke2fs -q {device} && mkdir -p /data && mount -t ext4 {device} /data")
    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(writer.output, WRITE)
        storage_host.kill()
        _kill_agent(gateway)
        writing.result()
    written = writer.output("sha256sum /data/file")
    user.change(disk, {"occi.storage.size": 0.125})
    writer.wait_for(f"[ $(cat /sys/class/block/{device.rpartition('/')[2]}/size) = {128 * MIB // 512} ]", BOOT_LIMIT_S)
    user.wait_for(disk, "online")
    copy = _location(user.act(disk, "backup"))
    eventually(lambda: "it is copied when it is detached" in user.message(copy), "the copy's refusal", BOOT_LIMIT_S)
    eventually(lambda: user.state(disk) == "online", "the disk's being itself again")
    (emulator,) = [found for found in emulators() if writer.id in found[1]]
    os.kill(emulator[0], signal.SIGKILL)
    remove(user, writer.path)
    eventually(lambda: not _is_attached(gateway, disk), "the disk's coming free")

    user.wait_for(copy, "online", BOOT_LIMIT_S)
    user.wait_for(made_from_image, "online", BOOT_LIMIT_S)
    reader = make_guest(user, key, links=[inline_link(disk), inline_link(copy), inline_link(made_from_image)])
    _kill_agent(gateway)
    reader.wait_for_boot()
    links = user.link_paths(reader.path, "storagelink")
    for each in links[:2]:
        reader.output(f"mkdir -p /data && mount -t ext4 {reader.device(each)} /data")
        assert reader.output("sha256sum /data/file") == written
        reader.output("umount /data")
    read = reader.output(f"head -c {4 * MIB} {reader.device(links[2])} | sha256sum")
    assert read.split()[0] == _sha256_of_image(tmp_path, 4 * MIB)
    assert len(secrets_of(gateway)) == 3

    user.delete(links[0])
    eventually(lambda: not reader.has_disk(disk), "the disk's leaving the guest")
    eventually(lambda: not user.exists(links[0]), "the link's end")
    assert len(secrets_of(gateway)) == 2
    _many_read_and_none_writes(user, reader, disk)
    remove(user, reader.path)
    for each in (disk, copy, made_from_image):
        eventually(lambda each=each: not _is_attached(gateway, each), "the disk's coming free")  # type: ignore[misc]
        remove(user, each)
        eventually(lambda each=each: _is_forgotten(gateway, each), "the disk's end on its host")  # type: ignore[misc]
    assert secrets_of(gateway) == []
    eventually(lambda: not machines_left(gateway), "the end of all that was made")


def test_a_disk_exported_by_cdmi_is_written_and_read_by_that_initiator_outside_and_by_no_other(
    gateway: Gateway, storage_host: StorageHost, user: User
) -> None:
    initiator = "iqn.2026-01.org.example:outside"
    url, cdmi = "/cdmi/2.0.0/disks/outside/", {"Accept": CONTAINER, "Content-Type": CONTAINER}
    exports = {"mine": {"type": "iSCSI", "permissions": [initiator]}}
    body = {"metadata": {"cdmi_assignedsize": str(64 * MIB)}, "exports": exports}

    def completion() -> str:
        return str(user.http.get(url, headers=cdmi).json().get("completionStatus"))

    made = user.http.put(url, json=body, headers=cdmi)
    assert made.status_code == 202, made.text
    eventually(lambda: completion() == "Complete", "the export", BOOT_LIMIT_S)
    export = user.http.get(url, headers=cdmi).json()["exports"]["mine"]
    secret = export["chap_secrets"][initiator]

    write, read = "write -q -P 0x5a 1M 4M", "read -q -P 0x5a 1M 4M"
    assert initiate(export, initiator, secret, write) == (0, "")
    assert initiate(export, initiator, secret, read, "read -q -P 0 0 1M") == (0, "")
    for stranger, word in ((f"{initiator}2", secret), (initiator, "0123456789abcdef")):
        status, reason = initiate(export, stranger, word, read)
        assert status != 0
        assert "uthenti" in reason or "uthoriz" in reason, reason

    assert user.http.delete(url).status_code == 409
    assert user.http.patch(url, json={"exports": {}}, headers=cdmi).status_code in (202, 204)
    eventually(lambda: completion() == "Complete", "the end of the export", BOOT_LIMIT_S)
    assert initiate(export, initiator, secret, read)[0] != 0
    assert user.http.delete(url).status_code == 204
    assert secret not in gateway.log.read_text()


def test_what_is_claimed_of_exports_holds_where_disks_are_served(gateway: Gateway, storage_host: StorageHost) -> None:
    """By the suites that anybody can run; that of OCCI and CDMI runs in full where disks are files."""
    wire = Wire(gateway.url, gateway.credentials, 60.0)
    try:
        exports = run_cdmi(wire, BOOT_LIMIT_S, Level.MAY, "exports/", tuple(DIALECTS.values()))
        together = run_interop(wire, wire, BOOT_LIMIT_S, Level.MAY, IN_GUESTS, (DIALECTS["2.0"],))
    finally:
        wire.close()
    for report in (exports, together):
        assert [f"{one.identifier} ({one.clause}): {one.message}" for one in report.failures()] == []
        assert report.left_behind == ()
    passed = {one.identifier for one in exports.results if one.outcome is Outcome.PASSED}
    left_out = {one.identifier for one in exports.results} - passed
    assert left_out == {"exports/several"}  # a disk that can be written has one initiator


def test_the_bytes_of_a_served_disk_go_up_and_down_and_a_guest_has_them_after(
    gateway: Gateway, storage_host: StorageHost, user: User, tmp_path: Path
) -> None:
    disk = Disk(user.http, 32 * MIB)
    with gateway.connect() as connection:
        assert connection.execute("SELECT pool FROM disk WHERE id = %s", [disk.id]).fetchone() == ("iscsi",)
    raw, qcow2, other = (tmp_path / name for name in ("image.raw", "image.qcow2", "other.raw"))
    raw.write_bytes(os.urandom(5 * MIB + 512))
    other.write_bytes(os.urandom(3 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", other, qcow2)

    _is_written(disk, disk.upload(raw, RAW))
    assert _downloaded(disk) == raw.read_bytes().ljust(disk.size_bytes, b"\0")
    _is_written(disk, disk.upload(qcow2, QCOW2))
    expected = bytearray(other.read_bytes().ljust(disk.size_bytes, b"\0"))
    assert _downloaded(disk) == expected
    _is_written(disk, disk.write(2 * MIB + 3, b"in the middle"))
    expected[2 * MIB + 3 : 2 * MIB + 16] = b"in the middle"
    assert _downloaded(disk) == expected
    backed = tmp_path / "backed.qcow2"
    qemu_img("create", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", backed, "4M")
    refused = disk.upload(backed, QCOW2)
    assert refused.status_code in (202, 400)
    wait_until(
        lambda: "backing file" in str(disk.shown(f"{disk.v2}value", DATAOBJECT)["completionStatus"]), BOOT_LIMIT_S
    )

    snapshot = user.http.patch(disk.v2, json={"snapshot": "s"}, headers={"Content-Type": CONTAINER})
    assert snapshot.status_code == 202, snapshot.text
    wait_until(
        lambda: disk.shown(f"{disk.v2}cdmi_snapshots/s/", CONTAINER)["completionStatus"] == "Complete", BOOT_LIMIT_S
    )
    _is_written(disk, disk.write(0, b"later"))
    assert _downloaded(disk, f"{disk.v1}cdmi_snapshots/s/value") == expected
    expected[:5] = b"later"

    _change_exports(disk, {"mine": {"type": "iSCSI", "permissions": ["iqn.2026-01.org.example:outside"]}})
    refused = user.http.get(disk.value)
    assert (refused.status_code, "exported to the initiator" in refused.text) == (409, True)
    _change_exports(disk, {})

    guest = make_guest(user, make_key(tmp_path), links=[inline_link(disk.storage)])
    refused = disk.write(0, b"x")
    assert (refused.status_code, guest.id in refused.text) == (409, True)
    guest.wait_for_boot()
    (link,) = user.link_paths(guest.path, "storagelink")
    read = guest.output(f"head -c {disk.size_bytes} {guest.device(link)} | sha256sum")
    assert read.split()[0] == hashlib.sha256(expected).hexdigest()
    guest.output(f"printf inside | dd of={guest.device(link)} bs=1M seek=1 conv=notrunc,fsync 2>&1")
    remove(user, guest.path)
    eventually(lambda: not _is_attached(gateway, disk.storage), "the disk's coming free")
    expected[MIB : MIB + 6] = b"inside"
    assert _downloaded(disk) == expected
    _nothing_is_left(gateway, storage_host, user, disk)


def test_kills_while_a_served_disk_is_read_and_written_leave_the_new(
    gateway: Gateway, storage_host: StorageHost, user: User
) -> None:
    """What was received is written, whoever of the agents is killed, and the last host to have it is let out."""
    disk = Disk(user.http, 16 * MIB)
    for round_number, kill in enumerate(
        (lambda: _kill_agent(gateway), storage_host.kill, lambda: _kill_agent(gateway))
    ):
        new = bytes([65 + round_number]) * disk.size_bytes
        with ThreadPoolExecutor(1) as threads:
            put = threads.submit(user.http.put, disk.value, content=new, headers={"Content-Type": RAW})
            time.sleep(0.2 * round_number)
            kill()
            _is_written(disk, put.result())
        assert _downloaded(disk) == new
    with user.http.stream("GET", disk.value) as answer:
        next(answer.iter_raw(MIB))
        _kill_agent(gateway)
    assert _downloaded(disk) == new
    _nothing_is_left(gateway, storage_host, user, disk)


def test_a_portal_that_is_away_is_told_and_what_was_received_is_written_when_it_is_back(
    gateway: Gateway, storage_host: StorageHost, user: User
) -> None:
    disk = Disk(user.http, 16 * MIB)
    with _portal_away(gateway):
        for _ in range(2):
            refused = user.http.get(disk.value)
            assert (refused.status_code, refused.headers.get("Retry-After")) == (503, "1"), refused.text[:300]
        assert "portal 127.0.0.1:1 of host store1 does not answer" in refused.text
        assert disk.write(0, b"kept").status_code == 202
        eventually(lambda: "127.0.0.1:1" in user.message(disk.storage), "what the disk waits for", BOOT_LIMIT_S)
        assert disk.shown(f"{disk.v2}?completionStatus", CONTAINER)["completionStatus"] == "Processing"
    _is_written(disk, None)
    assert user.message(disk.storage) == ""
    with user.http.stream("GET", disk.value) as answer:
        chunks = answer.iter_raw(64 << 10)
        assert next(chunks)[:4] == b"kept"
        with _portal_away(gateway):
            wait_until(lambda: daemons(gateway, str(disk.id)) == [], BOOT_LIMIT_S)
    assert _downloaded(disk)[:4] == b"kept"
    _nothing_is_left(gateway, storage_host, user, disk)


@contextmanager
def _portal_away(gateway: Gateway) -> Iterator[None]:
    set_portal = "UPDATE host SET portal = %s WHERE name = 'store1'"
    with gateway.connect() as connection:
        portal = connection.execute("SELECT portal FROM host WHERE name = 'store1'").fetchone()
        connection.execute(set_portal, ["127.0.0.1:1"])
        try:
            yield
        finally:
            connection.execute(set_portal, portal)


def _change_exports(disk: Disk, exports: dict[str, Any]) -> None:
    """202 if that takes the storage host long."""
    changed = disk.http.patch(disk.v2, json={"exports": exports}, headers={"Content-Type": CONTAINER})
    assert changed.status_code in (202, 204), changed.text


def _is_written(disk: Disk, answer: httpx.Response | None) -> None:
    assert answer is None or answer.status_code in (202, 204), answer.text

    def is_complete() -> bool:
        completion = disk.shown(f"{disk.v2}value?completionStatus", DATAOBJECT)["completionStatus"]
        assert completion in ("Complete", "Processing")
        return completion == "Complete"

    wait_until(is_complete, BOOT_LIMIT_S)


def _downloaded(disk: Disk, path: str = "") -> bytes:
    """Asked again while it isn't at hand."""
    found: list[bytes] = []

    def is_read() -> bool:
        answer = disk.http.get(path or disk.value)
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            found.append(answer.content)
        return bool(found)

    wait_until(is_read, BOOT_LIMIT_S)
    return found[0]


def _nothing_is_left(gateway: Gateway, storage_host: StorageHost, user: User, disk: Disk) -> None:
    """Of the disk, here and on its host: no session, no secret, no file."""
    with gateway.connect() as connection:
        wait_until(lambda: connection.execute("SELECT FROM disk_lease").fetchone() is None, BOOT_LIMIT_S)
        wait_until(lambda: leftovers(gateway) == [], BOOT_LIMIT_S)
        assert user.http.delete(disk.v2).status_code == 204
        wait_until(lambda: _is_forgotten(gateway, disk.storage), BOOT_LIMIT_S)
        assert connection.execute("SELECT FROM disk_lease").fetchone() is None


def initiate(export: dict[str, Any], initiator: str, secret: str, *commands: str) -> tuple[int, str]:
    """What becomes of these commands of qemu-io's, whose own initiator knows nothing but what it is told here."""
    target = export["target_identifier"].partition(",")[0]
    options = {
        "driver": "iscsi", "transport": "tcp", "portal": export["portals"][0], "target": target,
        "lun": export["logical_unit_number"], "initiator-name": initiator, "user": initiator, "password-secret": "chap",
    }  # fmt: skip
    image = ",".join(["driver=raw", *(f"file.{name}={value}" for name, value in options.items())])
    done = subprocess.run(
        ["qemu-io", "--object", f"secret,id=chap,data={secret}", "--image-opts", image,
         *(part for command in commands for part in ("-c", command))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _attached_when_its_portal_answers(gateway: Gateway, user: User, compute: str, disk: str) -> str:
    """The link of a disk whose portal is away for a while, and whose compute's agent is killed when it is back."""
    set_portal = "UPDATE host SET portal = %s WHERE name = 'store1'"
    with gateway.connect() as connection:
        portal = connection.execute("SELECT portal FROM host WHERE name = 'store1'").fetchone()
        connection.execute(set_portal, ["127.0.0.1:1"])
        link = user.make("storagelink", {"occi.core.source": compute, "occi.core.target": disk})
        eventually(lambda: "portal 127.0.0.1:1" in user.message(link), "what the link waits for", BOOT_LIMIT_S)
        assert (user.state(link), user.state(compute)) == ("inactive", "active")
        connection.execute(set_portal, portal)
    _kill_agent(gateway)
    user.wait_for(link, "active")
    assert user.message(link) == ""
    return link


def _kill_agent(gateway: Gateway) -> None:
    for process in gateway.processes("altostratus agent"):
        os.kill(process, signal.SIGKILL)


def _many_read_and_none_writes(user: User, guest: Guest, disk: str) -> None:
    """The guest, and a machine without an operating system."""
    user.change(disk, {READ_ONLY: True})
    user.wait_for(disk, "online")
    other = user.make("compute", {"occi.compute.memory": 0.0625}, links=[inline_link(disk)])
    link = user.link("storagelink", guest.path, disk)
    user.wait_for(other, "active")
    device = guest.device(link)
    assert guest.output(f"cat /sys/class/block/{device.rpartition('/')[2]}/ro") == "1"
    assert guest.output(f"mount -t ext4 -o ro,noload {device} /data && ls /data/file") == "/data/file"
    assert not guest.answers(f"dd if=/dev/zero of={device} bs=4096 count=1 oflag=direct")
    refused = user.send("POST", disk, {"attributes": {READ_ONLY: False}})
    assert (refused.status_code, "detach it first" in refused.text) == (409, True)
    remove(user, other)


def _location(made: httpx.Response) -> str:
    return httpx.URL(made.headers["Location"]).path


def _sha256_of_image(folder: Path, length: int) -> str:
    """Of its first bytes, where a boot loader and a file system begin."""
    raw = folder / "image.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", DEFAULT_IMAGE, raw], check=True, timeout=60)
    with raw.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


def machines_left(gateway: Gateway) -> list[str]:
    """Domains and files in the cloud's name; the shared network stays as long as the gateway runs."""
    return [found for found in gateway.leftovers() if found.startswith(("domain", "/"))]


def emulators() -> list[tuple[int, str]]:
    """Processes of QEMU that run guests of libvirt's, with their command lines."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (process / "cmdline").exists():
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "qemu-system" in command and "-name guest=" in command:
                found.append((int(process.name), command))
    return found


def _is_attached(gateway: Gateway, disk: str) -> bool:
    with gateway.connect() as connection:
        row = connection.execute("SELECT 1 FROM attachment WHERE disk_id = %s", [disk.rpartition("/")[2]]).fetchone()
    return row is not None


def _is_forgotten(gateway: Gateway, disk: str) -> bool:
    with gateway.connect() as connection:
        return connection.execute("SELECT 1 FROM disk WHERE id = %s", [disk.rpartition("/")[2]]).fetchone() is None
