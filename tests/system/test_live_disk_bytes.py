"""The bytes of disks through HTTP: read, written in the middle, replaced by an image; parts killed in between.

The disks are at rest: no guest runs, except in the last test.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from conftest import Gateway
from live import User, eventually, make_guest, make_key, removed_at_the_end
from test_live_cdmi import peak_mib, workers

from tests.conftest import GIB, wait_until

MIB = 2**20
CONTAINER = "application/cdmi-container"
DATAOBJECT = "application/cdmi-object"
QCOW2 = "application/x-qcow2"
RAW = "application/octet-stream"
STREAMING_MAX_MIB = 64


class Disk:
    """A disk of the test's own, of some MiB, and what is asked of it."""

    def __init__(self, http: httpx.Client, size_bytes: int) -> None:
        self.http = http
        self.size_bytes = size_bytes
        self.name = f"d-{os.urandom(4).hex()}"
        self.v1, self.v2 = f"/cdmi/disks/{self.name}/", f"/cdmi/2.0.0/disks/{self.name}/"
        self.value = f"{self.v1}value"
        made = http.put(
            self.v2,
            json={"metadata": {"cdmi_assignedsize": str(size_bytes)}},
            headers={"Content-Type": CONTAINER, "Accept": CONTAINER},
        )
        assert made.status_code == 202, made.text
        self.id = UUID(hex=made.json()["objectID"][16:])
        wait_until(lambda: self.shown(self.v2, CONTAINER)["completionStatus"] == "Complete")

    @property
    def storage(self) -> str:
        return f"/storage/{self.id}"

    def shown(self, path: str, media_type: str) -> dict[str, object]:
        headers = {"Accept": media_type, "X-CDMI-Specification-Version": "1.1.1"}
        answer = self.http.get(path, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    def write(self, offset: int, data: bytes) -> httpx.Response:
        ranged = {"Content-Range": f"bytes {offset}-{offset + len(data) - 1}/*"}
        return self.http.put(self.value, content=data, headers=ranged)

    def read(self, offset: int, count: int) -> bytes:
        answer = self.http.get(self.value, headers={"Range": f"bytes={offset}-{offset + count - 1}"})
        assert answer.status_code == 206, answer.text
        return answer.content

    def upload(self, path: Path, media_type: str) -> httpx.Response:
        return self.http.put(self.value, content=path.read_bytes(), headers={"Content-Type": media_type})


@pytest.fixture
def disk(client: httpx.Client) -> Iterator[Disk]:
    disk = Disk(client, 16 * MIB)
    yield disk
    client.delete(disk.v1)


def daemons(gateway: Gateway, name: str = "") -> list[int]:
    """The storage daemons that export disks of this gateway's folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if f"{gateway.state}/opened/{name}".encode() in command and b"--daemonize" in command:
                    found.append(int(folder.name))
    return found


def leftovers(gateway: Gateway) -> list[str]:
    """What reading and writing disks could leave on the host."""
    found = [str(path) for path in (gateway.state / "opened").iterdir()]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"{gateway.state}/opened" in line]
    found += [f"process {number}" for number in daemons(gateway)]
    return found + [str(path) for path in (gateway.state / "pool" / "disks").glob("*.part*")]


def test_a_disk_is_written_in_the_middle_and_read_by_all_dialects(disk: Disk) -> None:
    assert disk.write(1_000_001, b"hello").status_code == 204
    assert disk.read(1_000_000, 7) == b"\0hello\0"
    part = {"value": base64.b64encode(b"world").decode()}
    old = {"Content-Type": DATAOBJECT, "X-CDMI-Specification-Version": "1.1.1"}
    assert disk.http.put(f"{disk.value}?value:2000000-2000004", json=part, headers=old).status_code == 204
    new = {"Content-Type": DATAOBJECT}
    part = {"value": base64.b64encode(b"wide ").decode()}
    answer = disk.http.patch(f"{disk.v2}value?value=1999995-1999999", json=part, headers=new)
    assert answer.status_code == 204, answer.text
    ranged = {"Content-Range": "bytes 0-2/*", "Content-Type": RAW}
    assert disk.http.patch(f"{disk.v2}value", content=b"top", headers=ranged).status_code == 204
    in_parts = (
        b"--e\r\nContent-Type: application/cdmi-object\r\n\r\n{}\r\n"
        b"--e\r\nContent-Range: bytes 5-7/*\r\n\r\nxyz\r\n--e--"
    )
    sent = disk.http.put(
        disk.value, content=in_parts, headers={**old, "Content-Type": "multipart/mixed; boundary=e"}
    )  # fmt: skip
    assert sent.status_code == 204, sent.text

    assert disk.read(0, 9) == b"top\0\0xyz\0"
    for query, path in (("?value:1999995-2000004", disk.value), ("?value=1999995-2000004", f"{disk.v2}value")):
        shown = disk.shown(path + query, DATAOBJECT)
        assert base64.b64decode(str(shown["value"])) == b"wide world"
    whole = disk.shown(f"{disk.v2}value", DATAOBJECT)
    assert whole["valuerange"] == f"0-{disk.size_bytes - 1}"
    assert whole["metadata"]["cdmi_size"] == str(disk.size_bytes)  # type: ignore[index]
    data = base64.b64decode(str(whole["value"]))
    assert (len(data), data[1_000_001:1_000_006]) == (disk.size_bytes, b"hello")
    plain = disk.http.get(disk.value)
    assert (plain.content, plain.headers["Content-Length"]) == (data, str(disk.size_bytes))
    assert disk.http.head(disk.value).headers["Content-Length"] == str(disk.size_bytes)
    parts = disk.http.get(f"{disk.v2}value?value=0-2", headers={"Accept": "multipart/mixed"})
    assert f"Content-Range: bytes 0-2/{disk.size_bytes}\r\n\r\ntop\r\n" in parts.text


def test_the_value_has_an_id_of_its_own_and_is_its_containers_child(disk: Disk) -> None:
    container = disk.shown(disk.v2, CONTAINER)
    assert (container["children"], container["childrenrange"]) == (["value"], "0-0")
    assert disk.shown(f"{disk.v2}?children=0-5", CONTAINER)["children"] == ["value"]
    shown = disk.shown(f"{disk.v2}value?objectID&parentID&parentURI&capabilitiesURI", DATAOBJECT)
    assert shown["objectID"] != container["objectID"] == shown["parentID"]
    assert shown["parentURI"] == disk.v2
    assert disk.write(0, b"here").status_code == 204
    by_id = f"/cdmi/cdmi_objectid/{shown['objectID']}"
    assert disk.http.get(by_id, headers={"Range": "bytes=0-3"}).content == b"here"
    page = disk.http.get(disk.v1, headers={"Accept": "text/html"}).text
    assert 'href="./value"' in page
    assert "attachment" in disk.http.head(disk.value).headers["Content-Disposition"]


def test_what_its_capabilities_claim_is_done_and_nothing_else(disk: Disk) -> None:
    uri = disk.shown(f"{disk.v2}value?capabilitiesURI", DATAOBJECT)["capabilitiesURI"]
    claimed = disk.http.get(str(uri), headers={"Accept": "application/cdmi-capability"}).json()
    assert claimed["objectName"] == "disk/"
    assert set(claimed["capabilities"]) == {
        "cdmi_read_value", "cdmi_read_value_range", "cdmi_modify_value", "cdmi_modify_value_range",
        "cdmi_read_metadata", "cdmi_size", "cdmi_ctime",
    }  # fmt: skip
    body = {"value": base64.b64encode(b"whole").decode(), "valuetransferencoding": "base64"}
    sent = disk.http.put(f"{disk.v2}value", json=body, headers={"Content-Type": DATAOBJECT})
    assert sent.status_code == 204, sent.text
    assert disk.read(0, 6) == b"whole\0"
    assert disk.http.delete(disk.value).status_code == 400
    metadata = {"value": "x", "metadata": {"colour": "red"}}
    answer = disk.http.put(f"{disk.v2}value", json=metadata, headers={"Content-Type": DATAOBJECT})
    assert answer.status_code == 400
    assert disk.http.post(disk.value, content=b"x").status_code == 400
    assert disk.http.get(f"{disk.v1}other").status_code == 404
    assert disk.http.get(f"{disk.value}/").status_code == 404


def test_a_whole_image_replaces_what_there_was(disk: Disk, tmp_path: Path) -> None:
    assert disk.write(8 * MIB, b"old").status_code == 204
    raw = tmp_path / "image.raw"
    raw.write_bytes(os.urandom(3 * MIB + 5))
    assert disk.upload(raw, RAW).status_code == 204
    assert disk.http.get(disk.value).content == raw.read_bytes().ljust(disk.size_bytes, b"\0")

    qcow2 = tmp_path / "image.qcow2"
    other = tmp_path / "other.raw"
    other.write_bytes(os.urandom(4 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", other, qcow2)
    for media_type in ("application/x-qemu-disk", QCOW2):
        disk.write(0, b"changed")
        assert disk.upload(qcow2, media_type).status_code == 204
        assert disk.http.get(disk.value).content == other.read_bytes().ljust(disk.size_bytes, b"\0")


def test_bytes_are_taken_for_an_image_only_where_their_type_says_so(disk: Disk, tmp_path: Path) -> None:
    qcow2 = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", qcow2, "4M")
    assert disk.upload(qcow2, RAW).status_code == 204
    assert disk.read(0, qcow2.stat().st_size) == qcow2.read_bytes()
    unsaid = disk.http.put(disk.value, content=qcow2.read_bytes())
    assert (unsaid.status_code, "Content-Type: application/x-qcow2" in unsaid.text) == (400, True)
    wrong = disk.http.put(disk.value, content=b"x" * MIB, headers={"Content-Type": QCOW2})
    assert (wrong.status_code, "the image is raw, not qcow2" in wrong.text) == (400, True)
    assert disk.http.put(disk.value, content=b"").status_code == 400


def test_what_doesnt_fit_is_refused_with_both_sizes(disk: Disk, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(17):
            yield b"x" * MIB

    for content in (b"x" * (disk.size_bytes + 1), chunks()):
        # The rest of the body is not read: nothing can follow it on the same connection.
        refused = disk.http.put(disk.value, content=content, headers={"Connection": "close"})
        assert refused.status_code == 413
        assert str(disk.size_bytes) in refused.text
    outside = disk.write(disk.size_bytes - 2, b"four")
    assert (outside.status_code, str(disk.size_bytes) in outside.text) == (400, True)
    bomb = tmp_path / "bomb.qcow2"
    qemu_img("create", "-f", "qcow2", bomb, "8T")
    refused = disk.upload(bomb, QCOW2)
    assert (refused.status_code, str(8 * 2**40) in refused.text, str(disk.size_bytes) in refused.text) == (
        400, True, True
    )  # fmt: skip
    beyond = disk.http.get(disk.value, headers={"Range": f"bytes={disk.size_bytes}-"})
    assert beyond.status_code == 416


def test_images_that_refer_to_the_hosts_files_or_are_damaged_change_nothing(disk: Disk, tmp_path: Path) -> None:
    assert disk.write(5, b"mine").status_code == 204
    source = tmp_path / "source.raw"
    source.write_bytes(os.urandom(2 * MIB))
    backing, data, locked, cut = (tmp_path / f"{name}.qcow2" for name in ("backing", "data", "locked", "cut"))
    qemu_img("create", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", backing, "4M")
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'file'},data_file_raw=on", data, "4M")
    qemu_img("create", "-f", "qcow2", locked, "4M")
    with locked.open("r+b") as file:
        file.seek(32)  # crypt_method: 2 is LUKS
        file.write((2).to_bytes(4, "big"))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", source, cut)
    os.truncate(cut, cut.stat().st_size // 2)
    for image, reason in (
        (backing, "backing file, '/etc/shadow'"),
        (data, "another file"),
        (locked, "encrypted"),
        (cut, "damaged"),
    ):
        refused = disk.upload(image, QCOW2)
        assert (refused.status_code, reason in refused.text, "stays as it was" in refused.text) == (400, True, True)
        assert str(disk.shown(f"{disk.v2}value?completionStatus", DATAOBJECT)["completionStatus"]).startswith("Error: ")
        assert disk.shown(f"{disk.v2}?completionStatus", CONTAINER) == {"completionStatus": "Complete"}
        assert disk.read(4, 6) == b"\0mine\0"
    assert disk.write(0, b"x").status_code == 204
    assert disk.shown(f"{disk.v2}value?completionStatus", DATAOBJECT) == {"completionStatus": "Complete"}


def test_an_attached_disk_is_its_computes_alone(gateway: Gateway, disk: Disk) -> None:
    user = User(disk.http)
    assert disk.write(0, b"before").status_code == 204
    assert disk.read(0, 6) == b"before"  # it is open now, and closed for the compute
    compute = user.make("compute", {"occi.compute.memory": 0.0625})
    user.wait_for(compute, "active")
    link = user.link("storagelink", compute, disk.storage)
    for refused in (
        disk.write(0, b"x"),
        disk.http.get(disk.value),
        disk.http.put(disk.value, content=b"x"),
        disk.http.get(f"{disk.v2}value", headers={"Accept": DATAOBJECT}),
    ):
        assert (refused.status_code, compute.rpartition("/")[2] in refused.text) == (409, True)
    assert disk.shown(f"{disk.v2}value?metadata", DATAOBJECT)["metadata"]["cdmi_size"] == str(16 * MIB)  # type: ignore[index]
    assert leftovers(gateway) == []
    disk.http.delete(compute)
    wait_until(lambda: not user.exists(link))
    wait_until(lambda: disk.http.get(disk.value, headers={"Range": "bytes=0-5"}).content == b"before")


def test_another_project_finds_nothing(gateway: Gateway, disk: Disk) -> None:
    name = f"other-{uuid4().hex[:8]}"
    made = gateway.command("user", "add", name, "--project", name)
    assert made.returncode == 0, made.stderr
    password = made.stdout.strip().rpartition(" ")[2]
    shown = disk.shown(f"{disk.v2}value?objectID", DATAOBJECT)
    with httpx.Client(base_url=gateway.url, auth=(name, password), timeout=30) as theirs:
        for path in (disk.value, f"/cdmi/cdmi_objectid/{shown['objectID']}"):
            assert theirs.get(path).status_code == 404
            assert theirs.put(path, content=b"x", headers={"Content-Range": "bytes 0-0/*"}).status_code == 404


def test_who_reads_is_never_shown_half_of_a_write(disk: Disk) -> None:
    """One that began before has all of the old; the write waits for it, and who comes later waits for the write."""
    assert disk.http.put(disk.value, content=b"o" * disk.size_bytes).status_code == 204
    with ThreadPoolExecutor(1) as threads, disk.http.stream("GET", disk.value) as answer:
        chunks = answer.iter_raw(MIB)
        first = next(chunks)
        put = threads.submit(disk.http.put, disk.value, content=b"n" * disk.size_bytes)
        rest = b"".join(chunks)
        assert set(first + rest) == {ord("o")}
        assert put.result().status_code in (202, 204)
    wait_until(lambda: set(disk.http.get(disk.value).content) == {ord("n")})


def test_large_bytes_go_up_and_down_in_little_memory(gateway: Gateway, client: httpx.Client) -> None:
    disk = Disk(client, GIB)
    chunk = bytes(MIB)
    sent, received = hashlib.sha256(), hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for number in range(1024):
            data = number.to_bytes(8, "big") + chunk[8:]
            sent.update(data)
            yield data

    before = {worker: peak_mib(worker) for worker in [*workers(gateway), *gateway.processes("altostratus agent")]}
    assert len(before) > 2
    taken = client.put(disk.value, content=chunks(), timeout=120)
    assert taken.status_code in (202, 204)
    wait_until(lambda: disk.shown(f"{disk.v2}?completionStatus", CONTAINER)["completionStatus"] == "Complete", 120)
    with client.stream("GET", disk.value) as answer:
        for data in answer.iter_raw():
            received.update(data)
    assert received.digest() == sent.digest()
    for process, least in before.items():
        assert peak_mib(process) - least < STREAMING_MAX_MIB
    client.delete(disk.v1)


def test_what_was_written_is_kept_by_a_snapshot_and_comes_back_with_it(disk: Disk) -> None:
    def is_complete() -> bool:
        return disk.shown(disk.v2, CONTAINER)["completionStatus"] == "Complete"

    headers = {"Content-Type": CONTAINER}
    assert disk.write(0, b"first").status_code == 204
    assert disk.read(0, 5) == b"first"  # and it stays open for a while
    assert disk.http.patch(disk.v2, json={"snapshot": "s"}, headers=headers).status_code == 202
    assert disk.write(0, b"later").status_code == 204
    assert disk.read(0, 5) == b"later"
    wait_until(is_complete)
    source = {"copy": f"{disk.v2.removeprefix('/cdmi/2.0.0')}cdmi_snapshots/s/"}
    assert disk.http.patch(disk.v2, json=source, headers=headers).status_code == 202
    wait_until(is_complete)
    assert disk.read(0, 5) == b"first"


def test_the_bytes_of_a_snapshot_are_read_and_never_written(gateway: Gateway, disk: Disk) -> None:
    headers = {"Content-Type": CONTAINER}
    assert disk.write(0, b"first").status_code == 204
    assert disk.http.patch(disk.v2, json={"snapshot": "s"}, headers=headers).status_code == 202
    assert disk.write(0, b"later").status_code == 204
    snapshot = f"{disk.v2}cdmi_snapshots/s/"
    wait_until(lambda: disk.shown(snapshot, CONTAINER)["completionStatus"] == "Complete")
    assert disk.shown(snapshot, CONTAINER)["children"] == ["value"]
    shown = disk.shown(f"{snapshot}value?objectID&parentURI&capabilitiesURI", DATAOBJECT)
    assert shown["parentURI"] == snapshot
    claimed = disk.http.get(str(shown["capabilitiesURI"]), headers={"Accept": "application/cdmi-capability"}).json()
    assert set(claimed["capabilities"]) == {
        "cdmi_read_value", "cdmi_read_value_range", "cdmi_read_metadata", "cdmi_size", "cdmi_ctime",
    }  # fmt: skip
    for path in (f"{snapshot}value", f"{disk.v1}cdmi_snapshots/s/value", f"/cdmi/cdmi_objectid/{shown['objectID']}"):
        assert disk.http.get(path).content == b"first".ljust(disk.size_bytes, b"\0")
        refused = disk.http.put(path, content=b"x", headers={"Content-Range": "bytes 0-0/*"})
        assert (refused.status_code, "never changes" in refused.text) == (409, True)
    part = disk.shown(f"{snapshot}value?value=0-4", DATAOBJECT)
    assert base64.b64decode(str(part["value"])) == b"first"
    assert disk.http.options(f"{snapshot}value").headers["Allow"] == "GET, HEAD"
    assert disk.read(0, 5) == b"later"
    wait_until(lambda: leftovers(gateway) == [])


def test_what_a_read_only_disk_claims_is_reading(disk: Disk) -> None:
    assert disk.write(0, b"fixed").status_code == 204
    fixed = {"metadata": {"altostratus_readonly": "true"}}
    sent = disk.http.patch(f"{disk.v2}?metadata=altostratus_readonly", json=fixed, headers={"Content-Type": CONTAINER})
    assert sent.status_code == 204, sent.text
    refused = disk.write(0, b"x")
    assert (refused.status_code, "read-only" in refused.text) == (409, True)
    uri = str(disk.shown(f"{disk.v2}value?capabilitiesURI", DATAOBJECT)["capabilitiesURI"])
    claimed = disk.http.get(uri, headers={"Accept": "application/cdmi-capability"}).json()["capabilities"]
    assert "cdmi_modify_value" not in claimed
    assert disk.read(0, 5) == b"fixed"


@pytest.mark.parametrize("kind", ["raw", "qcow2", "range"])
def test_how_far_a_write_has_come_is_told_and_only_rises(client: httpx.Client, tmp_path: Path, kind: str) -> None:
    disk = Disk(client, GIB)
    image = tmp_path / "image"
    block = os.urandom(MIB)
    with image.open("wb") as file:
        for _ in range(900):
            file.write(block)
    if kind == "qcow2":
        image.rename(tmp_path / "raw")
        qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "raw", image)

    def chunks() -> Iterator[bytes]:
        with image.open("rb") as file:
            while data := file.read(MIB):
                yield data

    headers = {
        "raw": {"Content-Type": RAW},
        "qcow2": {"Content-Type": QCOW2},
        "range": {"Content-Range": f"bytes {MIB}-{MIB + image.stat().st_size - 1}/*"},
    }[kind]
    seen: list[int] = []

    def is_complete() -> bool:
        """Looks at both, from when the writing has begun."""
        of_container = disk.shown(f"{disk.v1}?completionStatus;percentComplete", CONTAINER)
        shown = disk.shown(f"{disk.v2}value?completionStatus&percentComplete", DATAOBJECT)
        if seen or of_container["completionStatus"] == "Processing":
            seen.extend(int(str(each["percentComplete"])) for each in (of_container, shown))
        assert (shown["completionStatus"] == "Complete") == (shown["percentComplete"] == "100")
        return bool(seen) and shown["completionStatus"] == "Complete"

    with ThreadPoolExecutor(1) as threads:
        put = threads.submit(client.put, disk.value, content=chunks(), headers=headers, timeout=120)
        wait_until(is_complete, 120)
        assert put.result().status_code in (202, 204)
    client.delete(disk.v1)
    assert seen == sorted(seen)
    assert [percent for percent in seen if 0 < percent < 100]


def test_nothing_is_left_open_once_nobody_reads(gateway: Gateway, disk: Disk) -> None:
    assert disk.read(0, 1) == b"\0"
    assert daemons(gateway, str(disk.id)) != []
    wait_until(lambda: leftovers(gateway) == [])
    files = [path.name for path in (gateway.state / "values").iterdir()]
    assert disk.write(0, b"x").status_code == 204
    assert [path.name for path in (gateway.state / "values").iterdir()] == files


def test_a_disk_that_is_read_is_deleted_all_the_same(gateway: Gateway, client: httpx.Client) -> None:
    disk = Disk(client, 64 * MIB)
    with client.stream("GET", disk.value) as answer:
        next(answer.iter_raw(MIB))
        assert client.delete(disk.v1).status_code == 204
        wait_until(lambda: daemons(gateway, str(disk.id)) == [])
        wait_until(lambda: not (gateway.state / "pool" / "disks" / f"{disk.id}.qcow2").exists())
    wait_until(lambda: leftovers(gateway) == [])


@pytest.mark.parametrize("victim", ["agent", "daemon", "workers"])
def test_kills_in_the_middle_leave_the_old_or_the_new(gateway: Gateway, disk: Disk, victim: str) -> None:
    """Each write is all there or not at all, whenever something was killed; what was answered is there."""
    count = 4 * MIB
    values = {disk.read(0, count)}
    for round_number in range(4):
        new = bytes([65 + round_number]) * count
        with ThreadPoolExecutor(1) as threads:
            put = threads.submit(lambda data=new: disk.write(0, data))
            time.sleep(0.05 * round_number)
            for process in _victims(gateway, disk, victim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            try:
                answered = put.result().status_code
            except httpx.TransportError:
                answered = 0
        values.add(new)
        found: list[bytes] = []

        def is_read(found: list[bytes] = found) -> bool:
            try:
                found.append(disk.read(0, count))
            except (httpx.TransportError, AssertionError):
                return False
            return True

        wait_until(is_read, 120)
        assert found[-1] in values
        assert answered not in (202, 204) or found[-1] == new, answered
        values = {found[-1], new} if answered == 0 else {found[-1]}
    wait_until(lambda: leftovers(gateway) == [])
    wait_until(lambda: str(disk.id) not in str(list((gateway.state / "values").iterdir())))


def _victims(gateway: Gateway, disk: Disk, victim: str) -> list[int]:
    if victim == "agent":
        return gateway.processes("altostratus agent")
    return daemons(gateway, str(disk.id)) if victim == "daemon" else workers(gateway)


def test_a_guest_reads_what_was_written_and_what_it_wrote_is_read(
    gateway: Gateway, client: httpx.Client, disk: Disk, tmp_path: Path
) -> None:
    user = User(client)
    assert disk.write(1 * MIB, b"from outside").status_code == 204
    guest = make_guest(user, make_key(tmp_path))
    with removed_at_the_end(user, guest.path):
        guest.wait_for_boot()
        link = user.link("storagelink", guest.path, disk.storage)
        look = "test \"$(dd if=/dev/vdb bs=1M skip=1 count=1 2>/dev/null | head -c 12)\" = 'from outside'"
        eventually(lambda: guest.answers(look), "the bytes in the guest")
        assert guest.answers("printf 'from inside' | dd of=/dev/vdb bs=1M seek=2 conv=notrunc && sync")
        client.delete(link)
        free = {"Range": "bytes=0-0"}
        eventually(lambda: client.get(disk.value, headers=free).status_code == 206, "the disk back from the guest")
        assert disk.read(2 * MIB, 11) == b"from inside"
        assert disk.read(1 * MIB, 12) == b"from outside"


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, timeout=30)
