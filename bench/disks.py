"""The rows of disks: cloned, plugged into a running domain, and served, next to what a person at a shell would type."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
from lxml import etree

from bench.guests import COMPUTE, EMPTY, create, delete, described, run, start_twin, twin_folder, wait_running
from bench.measure import BenchError, Row, alternate
from bench.requests import TEXT
from bench.site import REPOSITORY, Client, Site

CONTAINER = "application/cdmi-container"
CLONED_GIB = 10
PLUGGED_GIB = 1
PORTS = 8
"""For so many disks a domain has room while it runs."""
POLL_S, LIMIT_S = 0.002, 60
LINK = """Category: storagelink; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"
X-OCCI-Attribute: occi.core.source="/compute/{machine}"
X-OCCI-Attribute: occi.core.target="/storage/{disk}"
"""
FROM_IMAGE = f"""{COMPUTE.replace("compute", "storage")}
Category: default; scheme="http://altostratus.local/occi/os_tpl#"; class="mixin"
X-OCCI-Attribute: occi.storage.size={CLONED_GIB}.0
"""
LAB = """import json, sys
from bench.lab import measured
print("measured", json.dumps(measured(int(sys.argv[1]))))
"""


def disk_rows(site: Site, rounds: int) -> Iterator[Row]:
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open("qemu:///system")
    client = site.client()
    try:
        yield _cloning(site, client, rounds)
        yield _plugging(site, client, connection, min(rounds, PORTS))
    finally:
        client.close()
        connection.close()


def _cloning(site: Site, client: Client, rounds: int) -> Row:
    """Through HTTP, database and agent."""
    original = client.send("POST", "/storage/", FROM_IMAGE.encode(), Content_Type=TEXT, Accept=TEXT).decode()
    name = original.strip().rpartition("/")[2]
    _wait_made(client, name)
    base = next((site.state / "pool" / "images").glob("*.qcow2"))
    folder, numbers = twin_folder(site), count()

    def through_the_gateway() -> float:
        clone = f"clone-{next(numbers)}"
        started = time.perf_counter()
        body = json.dumps({"copy": f"/disks/{name}/"}).encode()
        client.send("PUT", f"/cdmi/2.0.0/disks/{clone}/", body, Content_Type=CONTAINER)
        _wait_made(client, clone)
        took_ms = (time.perf_counter() - started) * 1000
        client.send("DELETE", f"/cdmi/2.0.0/disks/{clone}/")
        return took_ms

    def by_hand() -> float:
        file = folder / f"clone-{next(numbers)}.qcow2"
        started = time.perf_counter()
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(file), f"{CLONED_GIB}G")
        return (time.perf_counter() - started) * 1000

    value, yardstick = alternate(through_the_gateway, by_hand, rounds)
    client.send("DELETE", f"/cdmi/2.0.0/disks/{name}/")
    return Row(
        f"PUT a clone of a disk of {CLONED_GIB} GiB, until Complete", value, "ms", "qemu-img create -b", yardstick, 1.5
    )


def _plugging(site: Site, client: Client, connection: libvirt.virConnect, rounds: int) -> Row:
    """Until QEMU has the device, which is when virsh answers; nothing in the domain slows either down."""
    machine = create(site, EMPTY)
    wait_running(connection, {machine})
    twin = start_twin(described(connection, machine), twin_folder(site))
    disks = [f"plugged-{number}" for number in range(rounds)]
    for name in disks:
        body = json.dumps({"metadata": {"cdmi_assignedsize": str(PLUGGED_GIB << 30)}}).encode()
        client.send("PUT", f"/cdmi/2.0.0/disks/{name}/", body, Content_Type=CONTAINER)
        _wait_made(client, name)
    unplugged = [_identity(client, name) for name in disks]
    plugged: list[str] = []

    def through_the_gateway() -> float:
        disk = unplugged.pop()
        message = LINK.format(machine=machine, disk=disk).encode()
        started = time.perf_counter()
        client.send("POST", "/storagelink/", message, Content_Type=TEXT, Accept=TEXT)
        deadline = time.monotonic() + LIMIT_S
        domain = connection.lookupByUUID(machine.bytes)
        while str(disk) not in (xml := domain.XMLDesc()):
            _go_on(deadline, f"{disk} did not appear in the domain of {machine}")
        took_ms = (time.perf_counter() - started) * 1000
        plugged.append(_element_of(xml, disk))
        return took_ms

    def by_hand() -> float:
        xml = _plugged_twin(plugged[-1] if plugged else "", twin_folder(site), len(plugged))
        started = time.perf_counter()
        run("virsh", "-q", "attach-device", twin, str(xml))
        return (time.perf_counter() - started) * 1000

    # The yardstick plugs in what ours has plugged in, so ours begins each round.
    pairs = [(through_the_gateway(), by_hand()) for _ in range(rounds)]
    run("virsh", "-q", "destroy", twin)
    run("virsh", "-q", "undefine", twin)
    delete(site, connection, [machine])
    for name in disks:
        client.send("DELETE", f"/cdmi/2.0.0/disks/{name}/")
    value, yardstick = (sorted(side)[rounds // 2] for side in zip(*pairs, strict=True))
    return Row("plug a disk into a running compute", value, "ms", "virsh attach-device of the same", yardstick, 1.2)


def lab_rows(rounds: int) -> Iterator[Row]:
    """In a lab machine, whose kernel has LIO: emulated, so only the ratio means something."""
    command = [str(REPOSITORY / "deploy" / "lab" / "run"), "--seconds", "110", sys.executable, "-c", LAB, str(rounds)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=150, cwd=REPOSITORY)
    printed = [line for line in done.stdout.splitlines() if line.startswith("measured ")]
    if done.returncode != 0 or not printed:
        raise BenchError(f"the lab machine says: {(done.stdout + done.stderr).strip()[-2000:]}")
    value, yardstick = json.loads(printed[0].removeprefix("measured "))
    yield Row("make a disk and its target, in the lab", value, "ms", "the same calls of rtslib", yardstick, 1.3)


def _wait_made(client: Client, name: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while b'"Complete"' not in (
        seen := client.send("GET", f"/cdmi/2.0.0/disks/{name}/?completionStatus", Accept=CONTAINER)
    ):
        if b'"Error' in seen:
            raise BenchError(f"the disk {name} says {seen.decode()}")
        _go_on(deadline, f"the disk {name} was not made in time")


def _identity(client: Client, name: str) -> UUID:
    seen = client.send("GET", f"/cdmi/2.0.0/disks/{name}/?objectID", Accept=CONTAINER)
    return UUID(json.loads(seen)["objectID"][-32:])


def _go_on(deadline: float, sentence: str) -> None:
    if time.monotonic() > deadline:
        raise BenchError(sentence)
    time.sleep(POLL_S)


def _element_of(xml: str, disk: UUID) -> str:
    for element in etree.fromstring(xml.encode()).iterfind("devices/disk"):
        if str(disk) in etree.tostring(element, encoding="unicode"):
            return etree.tostring(element, encoding="unicode")
    raise BenchError(f"the domain has no disk {disk}")


def _plugged_twin(xml: str, folder: Path, number: int) -> Path:
    """The same device for another domain: what libvirt adds is taken away, and the file is one of its own."""
    disk = etree.fromstring(xml)
    for name in ("alias", "address", "backingStore"):
        for element in disk.findall(name):
            disk.remove(element)
    file = folder / f"plugged-{uuid4()}.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", str(file), f"{PLUGGED_GIB}G")
    source, target = disk.find("source"), disk.find("target")
    if source is None or target is None:
        raise BenchError(f"the disk has no source or target: {xml}")
    source.attrib.clear()
    source.set("file", str(file))
    written = folder / f"plugged-{number}.xml"
    written.write_bytes(etree.tostring(disk))
    return written
